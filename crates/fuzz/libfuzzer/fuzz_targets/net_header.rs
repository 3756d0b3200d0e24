//! `helio_fuzz::net_header` with inputs of libFuzzer's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helio_fuzz::net_header::run(data);
});
