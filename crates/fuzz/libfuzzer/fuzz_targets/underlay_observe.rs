//! `helio_fuzz::underlay_observe` with inputs of libFuzzer's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helio_fuzz::underlay_observe::run(data);
});
