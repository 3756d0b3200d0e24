//! `helio_fuzz::receive_buffers` with inputs of libFuzzer's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    helio_fuzz::receive_buffers::run(data);
});
