//! `helio_fuzz::transmit_chain` with inputs of libFuzzer's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helio_fuzz::transmit_chain::run(data);
});
