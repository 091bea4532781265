//! All phrases of all rules in one automaton: a line is looked through once, whatever the number of rules.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// The phrases, in any case of ASCII letters.
#[derive(Clone, Debug)]
pub struct Phrases {
    automaton: Option<AhoCorasick>,
}

impl Phrases {
    pub fn new<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Phrases {
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
        Phrases { automaton: automaton.filter(|_| !list.is_empty()) }
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
