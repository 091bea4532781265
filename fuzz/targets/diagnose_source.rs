#![no_main]
//! Bytes of any kind as a file of evidence: archives, encodings, logs, texts. The first byte picks the name.

use std::sync::LazyLock;
use waypost_base::Timestamp;
use waypost_diagnose::phrases::Phrases;
use waypost_diagnose::source::collect_files;

static PHRASES: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::new(["LOGIN failed", "Unable to relay", "ProxyNotAuthenticated", "STARTTLS", "event"]));

const NAMES: &[&str] = &[
    "a.zip",
    "MBX01/Imap4/IMAP4BE2026030308-1.LOG",
    "RECV2026030308-1.LOG",
    "MSGTRK2026030308-1.LOG",
    "CONNECTLOG20260303-1.LOG",
    "HttpProxy.LOG",
    "u_ex260303.log",
    "ExchangeSetup.log",
    "notes.txt",
    "events.xml",
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let name = NAMES[usize::from(*which) % NAMES.len()];
    let _ = collect_files(&[(name, bytes)], &PHRASES, Timestamp(1_772_530_000_000));
});
