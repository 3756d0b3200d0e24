//! `helio_fuzz::encap_parse` with inputs of libFuzzer's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helio_fuzz::encap_parse::run(data);
});
