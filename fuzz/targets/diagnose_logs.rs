#![no_main]
//! Log lines, conversations and prose in a document, wherever they stand.

use std::sync::LazyLock;
use waypost_base::Timestamp;
use waypost_diagnose::phrases::Phrases;
use waypost_diagnose::read::{Doc, conversation, logs, prose};
use waypost_diagnose::{Case, Sink};

static PHRASES: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::new(["LOGIN failed", "Unable to relay", "ProxyNotAuthenticated", "STARTTLS"]));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut case = Case::new(Timestamp(1_772_530_000_000));
    let file = case.file_named("IMAP4.LOG");
    let mut sink = Sink::new(file, &PHRASES, &mut case);
    logs::read_text("IMAP4.LOG", &text, &mut sink);
    let mut doc = Doc::of_text(file, &text, 1);
    for reader in [logs::reader, conversation::reader, prose::reader] {
        reader(&mut doc, &mut sink);
    }
});
