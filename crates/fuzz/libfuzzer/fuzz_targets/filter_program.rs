//! `helio_fuzz::filter_program` with inputs of libFuzzer's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helio_fuzz::filter_program::run(data);
});
