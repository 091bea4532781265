//! Everything that is known of an incident: all facts, by kind, capped and without repetitions.

use crate::fact::{Fact, FileId, Place};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use waypost_base::Timestamp;

/// Facts that are kept of one shape (kind, server, text without its numbers); the rest are counted on the last of them.
const ALIKE_MAX: u32 = 24;
/// Facts that are kept in all: about 300 MiB at their usual size.
const FACTS_MAX: usize = 150_000;
/// Shapes that are remembered.
const SHAPES_MAX: usize = 100_000;

/// The facts of an incident.
#[derive(Debug, Default)]
pub struct Case {
    facts: Vec<Fact>,
    by_kind: BTreeMap<String, Vec<u32>>,
    shapes: HashMap<u64, Shape>,
    files: Vec<Arc<str>>,
    last_time: Option<Timestamp>,
    clock: Option<Timestamp>,
    /// Facts that were not kept, since there were too many.
    pub dropped: u64,
}

#[derive(Debug)]
struct Shape {
    kept: u32,
    last: u32,
}

impl Case {
    /// `clock` is the time where the evidence has none.
    pub fn new(clock: Timestamp) -> Case {
        Case { clock: Some(clock), ..Case::default() }
    }

    /// A file of the evidence, by its path in it.
    pub fn file_named(&mut self, name: &str) -> FileId {
        self.files.push(name.into());
        FileId::try_from(self.files.len() - 1).unwrap_or(FileId::MAX)
    }

    pub fn file(&self, id: FileId) -> &str {
        usize::try_from(id).ok().and_then(|id| self.files.get(id)).map_or("?", |name| name)
    }

    /// Takes a fact; see [`ALIKE_MAX`].
    pub fn add(&mut self, fact: Fact) {
        if let Some(time) = fact.time {
            self.saw_time(time);
        }
        let shape = shape(&fact);
        let next = u32::try_from(self.facts.len()).unwrap_or(u32::MAX);
        let full = self.facts.len() >= FACTS_MAX;
        let room = self.shapes.len() < SHAPES_MAX;
        match self.shapes.entry(shape) {
            Entry::Occupied(mut seen) => {
                let seen = seen.get_mut();
                if full || seen.kept >= ALIKE_MAX {
                    if let Some(last) = usize::try_from(seen.last).ok().and_then(|at| self.facts.get_mut(at))
                    {
                        last.count = last.count.saturating_add(fact.count);
                    }
                    return;
                }
                seen.kept += 1;
                seen.last = next;
            }
            Entry::Vacant(free) if !full => {
                if room {
                    free.insert(Shape { kept: 1, last: next });
                }
            }
            Entry::Vacant(_) => {
                self.dropped += 1;
                return;
            }
        }
        self.by_kind.entry(fact.kind.to_string()).or_default().push(next);
        self.facts.push(fact);
    }

    /// Joins what another thread has read; its file numbers are ours already.
    pub fn join(&mut self, other: Case) {
        for fact in other.facts {
            self.add(fact);
        }
        self.dropped += other.dropped;
        if let Some(time) = other.last_time {
            self.saw_time(time);
        }
    }

    /// The evidence reaches to this time.
    pub fn saw_time(&mut self, time: Timestamp) {
        // Certificates and tickets end in the future; only what has happened says how late it is.
        if self.clock.is_none_or(|clock| time <= clock.plus_millis(86_400_000)) {
            self.last_time = self.last_time.max(Some(time));
        }
    }

    /// The time of the evidence: the last that was seen in it, else the caller's clock.
    pub fn now(&self) -> Timestamp {
        self.last_time.or(self.clock).unwrap_or(Timestamp(0))
    }

    pub fn all(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter()
    }

    pub fn len(&self) -> usize {
        self.facts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Facts of a kind, in the order in which they were read.
    pub fn of<'a>(&'a self, kind: &str) -> impl Iterator<Item = &'a Fact> {
        self.indices(kind).iter().filter_map(|at| self.at(*at))
    }

    pub(crate) fn indices(&self, kind: &str) -> &[u32] {
        self.by_kind.get(kind).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn at(&self, index: u32) -> Option<&Fact> {
        usize::try_from(index).ok().and_then(|at| self.facts.get(at))
    }

    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.by_kind.keys().map(String::as_str)
    }

    /// PowerShell objects of a type, such as `ImapSettings`; in any case of letters.
    pub fn objects<'a>(&'a self, ty: &'a str) -> impl Iterator<Item = &'a Fact> {
        self.of("object").filter(move |fact| fact.is("type", ty))
    }

    /// Servers that anything was seen on.
    pub fn servers(&self) -> BTreeSet<Arc<str>> {
        self.facts.iter().filter_map(|fact| fact.server.clone()).collect()
    }

    /// `file:line` of a place.
    pub fn show(&self, at: Place) -> String {
        match at.line {
            0 => self.file(at.file).to_owned(),
            line => format!("{}:{line}", self.file(at.file)),
        }
    }
}

/// What makes facts alike: kind, server, and the text with its numbers left out.
fn shape(fact: &Fact) -> u64 {
    let mut hasher = DefaultHasher::new();
    fact.kind.hash(&mut hasher);
    fact.server.hash(&mut hasher);
    match &*fact.kind {
        // Each is its own.
        "object" | "certificate" | "ticket" | "spn" | "registry" | "logonsession" => {
            fact.fields.hash(&mut hasher)
        }
        _ => {
            let letters: Vec<u8> = fact.text.bytes().filter(|b| !b.is_ascii_digit()).collect();
            letters.hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_counted_rather_than_kept() {
        let mut case = Case::new(Timestamp(1_000_000));
        let file = case.file_named("a.log");
        for line in 1..=1000 {
            let fact =
                Fact::new("imap", Place { file, line }).text(&format!("session {line} NO LOGIN failed"));
            case.add(fact);
        }
        case.add(Fact::new("imap", Place { file, line: 1001 }).text("BYE"));
        assert_eq!(case.of("imap").count(), ALIKE_MAX as usize + 1);
        assert_eq!(case.of("imap").map(|f| u64::from(f.count)).sum::<u64>(), 1001);
        assert_eq!(case.show(Place { file, line: 7 }), "a.log:7");
    }

    #[test]
    fn the_future_is_not_now() {
        let mut case = Case::new(Timestamp(1_000));
        case.saw_time(Timestamp(500));
        case.saw_time(Timestamp(1_000_000_000_000));
        assert_eq!(case.now(), Timestamp(500));
    }
}
