#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| burdock::fuzz::feed("head", data));
