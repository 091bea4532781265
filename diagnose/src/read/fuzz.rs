//! What fuzzing drives: each group of readers over arbitrary bytes. Nothing may panic, whatever stands there.

use super::{Doc, events, objects, tools};
use crate::case::Case;
use crate::phrases::Phrases;
use crate::sink::Sink;
use waypost_base::Timestamp;

fn with(data: &[u8], go: impl FnOnce(&str, &mut Doc<'_>, &mut Sink<'_>)) {
    let text = String::from_utf8_lossy(data);
    let phrases = Phrases::new(["failed", "0x8004"]);
    let mut case = Case::new(Timestamp(1_900_000_000_000));
    let file = case.file_named("MBX01_Get-Queue.txt");
    let mut doc = Doc::new(file, text.lines().collect(), 1);
    go(&text, &mut doc, &mut Sink::new(file, &phrases, &mut case));
}

/// Objects in every form.
pub fn objects(data: &[u8]) {
    with(data, |text, doc, sink| {
        objects::json::read(text, sink);
        objects::clixml::read(text, sink);
        objects::errors::read(doc, sink);
        objects::checker::read(doc, sink);
        objects::read(doc, sink);
    });
}

/// Events in every form; bytes that begin as a log does are read as one, and all others as the content of one.
pub fn events(data: &[u8]) {
    with(data, |text, doc, sink| {
        events::evtx::read(data, sink);
        events::evtx::read_bare(data, sink);
        events::xml::read(text, sink);
        events::xml::read_doc(doc, sink);
        events::text::read(doc, sink);
        events::read_prose(doc, sink);
    });
}

/// What tools print.
pub fn tools(data: &[u8]) {
    with(data, |_, doc, sink| tools::read(doc, sink));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    /// The inputs that fuzzing keeps.
    fn kept(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().take(64).map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// A kept input, with some bytes changed, and cut or doubled.
    fn changed(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
        let all = kept(target);
        let spots = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
        (prop::sample::select(all), spots, any::<prop::sample::Index>(), 0..3_u8).prop_map(
            |(mut bytes, spots, cut, how)| {
                for (at, byte) in spots {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = byte;
                    }
                }
                match how {
                    1 => bytes.truncate(cut.index(bytes.len() + 1)),
                    2 => bytes.extend_from_within(cut.index(bytes.len() + 1)..),
                    _ => {}
                }
                bytes
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn changed_objects(bytes in changed("diagnose_objects")) {
            objects(&bytes);
        }

        #[test]
        fn changed_events(bytes in changed("diagnose_events")) {
            events(&bytes);
        }

        #[test]
        fn changed_files(bytes in changed("diagnose_source")) {
            let phrases = Phrases::new(["LOGIN failed", "Unable to relay"]);
            let rest = bytes.get(1..).unwrap_or_default();
            crate::source::collect_files(&[("evidence", rest)], &phrases, Timestamp(0));
        }

        #[test]
        fn changed_listings(bytes in changed("diagnose_tools")) {
            tools(&bytes);
        }
    }
}
