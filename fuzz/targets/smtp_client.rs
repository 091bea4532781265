#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| waypost_smtp::client::fuzz_one(data));
