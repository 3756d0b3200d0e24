//! `helio_fuzz::frame_parse` with inputs of libFuzzer's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helio_fuzz::frame_parse::run(data);
});
