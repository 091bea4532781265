#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| waypost_trust::kerberos::fuzz_keytab(data));
