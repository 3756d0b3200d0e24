//! `helio_fuzz::config_text` with inputs of libFuzzer's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helio_fuzz::config_text::run(data);
});
