//! All phrases of all rules in one automaton: a line is looked through once, whatever the number of rules.
//!
//! Lines of logs are looked through for less: what a rule seeks in prose, in events or in objects alone does not keep one.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// The phrases, in any case of ASCII letters.
#[derive(Clone, Debug)]
pub struct Phrases {
    automaton: Option<AhoCorasick>,
    /// Those that may decide in a log.
    logs: Option<AhoCorasick>,
}

fn build<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Option<AhoCorasick> {
    let list: std::collections::BTreeSet<String> =
        phrases.into_iter().filter(|p| p.len() >= 3).map(str::to_ascii_lowercase).collect();
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .build(&list);
    // Too many phrases for a table: the slower form always fits.
    let automaton =
        automaton.or_else(|_| AhoCorasick::builder().ascii_case_insensitive(true).build(&list)).ok();
    automaton.filter(|_| !list.is_empty())
}

impl Phrases {
    pub fn new<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Phrases {
        let automaton = build(phrases);
        Phrases { logs: automaton.clone(), automaton }
    }

    /// Fewer for logs than for the rest.
    #[must_use]
    pub fn with_logs<'a>(mut self, phrases: impl IntoIterator<Item = &'a str>) -> Phrases {
        self.logs = build(phrases);
        self
    }

    /// As [`Phrases::find`], for lines of logs.
    pub fn find_in_logs(&self, text: &[u8]) -> Option<std::ops::Range<usize>> {
        self.logs.as_ref().and_then(|a| a.find(text)).map(|m| m.range())
    }

    /// Whether any phrase occurs.
    pub fn any(&self, text: &str) -> bool {
        self.any_bytes(text.as_bytes())
    }

    /// As [`Phrases::any`], for bytes that are not known to be UTF-8.
    pub fn any_bytes(&self, text: &[u8]) -> bool {
        self.automaton.as_ref().is_some_and(|a| a.is_match(text))
    }

    /// Whether any phrase ends in this block, and where the first one is: for looking through many lines at once.
    pub fn find(&self, text: &[u8]) -> Option<std::ops::Range<usize>> {
        self.automaton.as_ref().and_then(|a| a.find(text)).map(|m| m.range())
    }
}
