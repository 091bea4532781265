#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| waypost_pop3::fuzz_one(data));
