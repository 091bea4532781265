//! Everything that is known of an incident: all facts, by kind, capped and without repetitions.

use crate::fact::{Fact, FileId, Place};
use crate::flow::Flow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use waypost_base::Timestamp;

/// Facts that are kept of one shape (kind, server, text without its numbers); the rest are counted on the last of them.
const ALIKE_MAX: u32 = 24;
/// Facts that are kept in all.
const FACTS_MAX: usize = 150_000;
/// Bytes that all facts may take; a bundle is read with 500 MiB.
const BYTES_MAX: usize = 192 << 20;
/// Facts and bytes of one part of the evidence (a file, or a range of a long one), so that none crowds out the others.
const PART_FACTS_MAX: usize = 20_000;
const PART_BYTES_MAX: usize = 12 << 20;
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
    bytes: usize,
    part: bool,
    /// What went well meanwhile.
    pub flow: Flow,
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

    /// A case for one part of the evidence, to be joined to the whole; its bounds are narrower.
    pub fn part(clock: Timestamp) -> Case {
        Case { clock: Some(clock), part: true, ..Case::default() }
    }

    fn full(&self) -> bool {
        let (facts, bytes) =
            if self.part { (PART_FACTS_MAX, PART_BYTES_MAX) } else { (FACTS_MAX, BYTES_MAX) };
        self.facts.len() >= facts || self.bytes >= bytes
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
        let full = self.full();
        let room = self.shapes.len() < SHAPES_MAX;
        match self.shapes.entry(shape) {
            Entry::Occupied(mut seen) => {
                let seen = seen.get_mut();
                if full || seen.kept >= ALIKE_MAX {
                    if let Some(last) = usize::try_from(seen.last).ok().and_then(|at| self.facts.get_mut(at))
                    {
                        last.count = last.count.saturating_add(fact.count);
                        last.until = last.until.max(fact.until).max(fact.time);
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
        self.bytes += size(&fact);
        self.by_kind.entry(fact.kind.to_string()).or_default().push(next);
        self.facts.push(fact);
    }

    /// Whether a fact of this kind, server and text would only be counted; it has been, then. Saves taking a line apart that
    /// is like many before it. Only for kinds that are told apart by their text.
    pub(crate) fn repeats(
        &mut self,
        kind: &str,
        server: Option<&Arc<str>>,
        text: &str,
        time: Option<Timestamp>,
    ) -> bool {
        let shape = text_shape(kind, server, text);
        let Some(seen) = self.shapes.get(&shape).filter(|seen| seen.kept >= ALIKE_MAX) else { return false };
        let last = usize::try_from(seen.last).ok().and_then(|at| self.facts.get_mut(at));
        if let Some(last) = last {
            last.count = last.count.saturating_add(1);
            last.until = last.until.max(time);
        }
        true
    }

    /// Joins what another thread has read; its file numbers are ours already.
    pub fn join(&mut self, other: Case) {
        self.join_after(other, 0);
    }

    /// As [`Case::join`], where the other has counted its lines from one that has `lines` before it in the file.
    pub fn join_after(&mut self, other: Case, lines: u32) {
        for mut fact in other.facts {
            if fact.at.line > 0 {
                fact.at.line = fact.at.line.saturating_add(lines);
            }
            self.add(fact);
        }
        self.dropped += other.dropped;
        self.flow.join(other.flow);
        if let Some(time) = other.last_time {
            self.saw_time(time);
        }
    }

    /// Gives servers their better names.
    pub(crate) fn rename_servers(&mut self, better: impl Fn(&str) -> Option<Arc<str>>) {
        let mut known: HashMap<Arc<str>, Option<Arc<str>>> = HashMap::new();
        self.flow.rename(&better);
        for fact in &mut self.facts {
            let Some(server) = &fact.server else { continue };
            let name = known.entry(server.clone()).or_insert_with(|| better(server)).clone();
            if name.is_some() {
                fact.server = name;
            }
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

/// About what a fact takes in memory.
fn size(fact: &Fact) -> usize {
    let fields: usize = fact.fields.iter().map(|(name, value)| name.len() + value.len() + 56).sum();
    200 + fact.text.len() + fields
}

/// Fields that tell facts of the same words apart.
const TELLING: &[&str] = &["source", "id", "name", "resource", "cause", "code"];

/// What makes facts alike: kind, server, and the text without its numbers, names of people and identifiers.
fn shape(fact: &Fact) -> u64 {
    let kind = &*fact.kind;
    match kind {
        // Each is its own.
        "object" | "certificate" | "ticket" | "spn" | "registry" | "logonsession" => {
            let mut hasher = start(kind, fact.server.as_ref());
            fact.fields.hash(&mut hasher);
            hasher.finish()
        }
        "imap" | "pop" | "smtp-receive" | "smtp-send" | "tracking" | "connectivity" | "httpproxy" | "iis" => {
            text_shape(kind, fact.server.as_ref(), &fact.text)
        }
        _ => {
            let mut hasher = start(kind, fact.server.as_ref());
            skeleton(&fact.text, &mut hasher);
            for (name, value) in fact.fields.iter().filter(|(name, _)| TELLING.contains(&&**name)) {
                name.hash(&mut hasher);
                value.hash(&mut hasher);
            }
            hasher.finish()
        }
    }
}

fn start(kind: &str, server: Option<&Arc<str>>) -> DefaultHasher {
    let mut hasher = DefaultHasher::new();
    kind.hash(&mut hasher);
    server.hash(&mut hasher);
    hasher
}

fn text_shape(kind: &str, server: Option<&Arc<str>>, text: &str) -> u64 {
    let mut hasher = start(kind, server);
    skeleton(text, &mut hasher);
    hasher.finish()
}

/// The words of a text. Words with digits in them (times, addresses, session ids) and the local parts of mail addresses are
/// left out, status codes (`451`, `4.7.0`) stay: those tell one failure from another.
fn skeleton(text: &str, hasher: &mut DefaultHasher) {
    let bytes = text.as_bytes();
    let word = |b: &u8| b.is_ascii_alphanumeric() || !b.is_ascii();
    let mut at = 0;
    let mut kept: Vec<u8> = Vec::with_capacity(bytes.len());
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let len = rest.iter().take_while(|b| word(b)).count();
        let Some(token) = rest.get(..len).filter(|token| !token.is_empty()) else {
            kept.extend(rest.first());
            at += 1;
            continue;
        };
        let before = at.checked_sub(1).and_then(|i| bytes.get(i)).copied();
        let code = code_len(rest, before);
        if code > 0 {
            kept.extend(rest.iter().take(code));
        } else if !token.iter().any(u8::is_ascii_digit) && rest.get(len) != Some(&b'@') {
            kept.extend_from_slice(token);
        }
        at += len.max(code);
    }
    hasher.write(&kept);
}

/// Bytes of the status code that this begins with: `5.7.1`, or `451` where a reply begins or an enhanced code follows.
fn code_len(text: &[u8], before: Option<u8>) -> usize {
    if !matches!(text.first(), Some(b'2' | b'4' | b'5')) {
        return 0;
    }
    let digits = |from: usize| text.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let is = |at: usize, byte: u8| text.get(at) == Some(&byte);
    match digits(0) {
        1 if !matches!(before, Some(b'.' | b':' | b'-')) && is(1, b'.') => {
            let subject = digits(2);
            let detail = digits(3 + subject);
            let end = 3 + subject + detail;
            let good = (1..=3).contains(&subject) && is(2 + subject, b'.') && (1..=3).contains(&detail);
            if good && !(is(end, b'.') && digits(end + 1) > 0) { end } else { 0 }
        }
        3 if is(3, b' ') || is(3, b'-') => {
            let begins =
                matches!(before, None | Some(b',' | b'"' | b'\'' | b'#' | b'<' | b'=' | b'(' | b'['));
            let enhanced = code_len(text.get(4..).unwrap_or_default(), Some(b' ')) >= 5;
            if begins || enhanced { 3 } else { 0 }
        }
        _ => 0,
    }
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
    fn codes_tell_apart_and_identifiers_do_not() {
        let shape = |text: &str| text_shape("smtp-receive", None, text);
        let same = [
            ("a,08DE5A11,10.20.0.11:25,>,550 5.7.1 no", "a,08DE5A12,10.20.0.14:2525,>,550 5.7.1 no"),
            ("RCPT anna@example.net", "RCPT bert@example.net"),
            ("2026-03-03T08:15:20.114Z x", "2026-04-03T18:15:20.551Z x"),
        ];
        for (one, other) in same {
            assert_eq!(shape(one), shape(other), "{one}");
        }
        assert_ne!(shape(",>,550 5.7.1 no"), shape(",>,550 5.7.2 no"));
        assert_ne!(shape("451 4.7.0 no"), shape("454 4.7.0 no"));
    }

    #[test]
    fn a_part_keeps_its_bounds() {
        let mut case = Case::part(Timestamp(0));
        for n in 0..PART_FACTS_MAX + 10 {
            let letters: String = n.to_string().bytes().map(|b| char::from(b + 49)).collect();
            case.add(Fact::new("text", Place::default()).text(&letters));
        }
        assert_eq!((case.len(), case.dropped), (PART_FACTS_MAX, 10));
        let mut whole = Case::new(Timestamp(0));
        whole.join_after(case, 5);
        assert_eq!(whole.len(), PART_FACTS_MAX);
    }

    #[test]
    fn the_future_is_not_now() {
        let mut case = Case::new(Timestamp(1_000));
        case.saw_time(Timestamp(500));
        case.saw_time(Timestamp(1_000_000_000_000));
        assert_eq!(case.now(), Timestamp(500));
    }
}
