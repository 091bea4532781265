//! Finding records: the filters of Get-MessageTrackingLog over the files of a folder.
//!
//! The newest matches are kept, in order of time; memory is bounded by their number, whatever the size of the logs.

use crate::files;
use crate::layout::{Columns, PREFIX};
use crate::record::Record;
use memchr::memmem;
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use waypost_base::Timestamp;

/// What a record must be. Everything that is set must hold; text is compared without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    /// May have `*` for any text.
    pub sender: Option<String>,
    /// Any of these among the recipients; each may have `*`.
    pub recipients: Vec<String>,
    pub event_id: Option<String>,
    pub source: Option<String>,
    /// With or without angle brackets.
    pub message_id: Option<String>,
    /// The Message-ID, or that of a message that the reference names.
    pub about: Option<String>,
    pub internal_message_id: Option<u64>,
    pub network_message_id: Option<String>,
    /// A part of the subject.
    pub subject: Option<String>,
    /// A part of the reference.
    pub reference: Option<String>,
}

/// The newest matches, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub records: Vec<Record>,
    /// There are older ones.
    pub more: bool,
}

/// How Message-IDs of health probes begin.
pub const PROBES: &str = "health-probe.";

impl Filter {
    /// All events of one message, and those that refer to it (reports about it).
    pub fn message(id: &str) -> Filter {
        Filter { about: Some(id.to_owned()), ..Filter::default() }
    }

    /// Messages by which the server tries itself out are shown to those who ask for one of them, or for their mailbox.
    fn hides(&self, record: &Record) -> bool {
        let asked = self.message_id.is_some()
            || self.about.is_some()
            || self.internal_message_id.is_some()
            || self.network_message_id.is_some();
        let names = |text: &String| text.to_ascii_lowercase().contains("healthmailbox");
        let theirs = self.sender.as_ref().is_some_and(names) || self.recipients.iter().any(names);
        bare(&record.message_id).starts_with(PROBES) && !asked && !theirs
    }

    fn holds(&self, record: &Record) -> bool {
        if self.hides(record) {
            return false;
        }
        let same = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let part = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| value.to_lowercase().contains(&wanted.to_lowercase()))
        };
        let about = |id: &str| {
            bare(id) == bare(&record.message_id) || record.reference.split(';').any(|r| bare(r) == bare(id))
        };
        let recipient = |wanted: &String| record.recipients.iter().any(|r| matches(wanted, r));
        self.start.is_none_or(|start| record.time >= start)
            && self.end.is_none_or(|end| record.time <= end)
            && self.sender.as_deref().is_none_or(|sender| matches(sender, &record.sender))
            && (self.recipients.is_empty() || self.recipients.iter().any(recipient))
            && same(&self.event_id, &record.event_id)
            && same(&self.source, &record.source)
            && self.message_id.as_deref().is_none_or(|id| bare(id) == bare(&record.message_id))
            && self.about.as_deref().is_none_or(about)
            && self.internal_message_id.is_none_or(|id| id == record.internal_message_id)
            && same(&self.network_message_id, &record.network_message_id)
            && part(&self.subject, &record.message_subject)
            && part(&self.reference, &record.reference)
    }

    /// Whether a piece of a log can have a match at all, by the bytes that every match has.
    fn wanted(&self) -> impl Fn(&[u8]) -> bool + use<> {
        // A quote in an id is doubled in the file, so what stands before it must do.
        let exact = |text: &str| text.split('"').next().unwrap_or_default().as_bytes().to_vec();
        let id = self.message_id.as_deref().or(self.about.as_deref()).map(|id| exact(bare(id)));
        let id = id.or_else(|| self.internal_message_id.map(|id| id.to_string().into_bytes()));
        let id = id.filter(|id| !id.is_empty()).map(|id| memmem::Finder::new(&id).into_owned());
        let folded = |text: &str| literal(text).to_ascii_lowercase().into_bytes();
        let sender = self.sender.as_deref().map(folded);
        let recipient = match self.recipients.as_slice() {
            [one] => Some(folded(one)),
            _ => None,
        };
        let names: Vec<Vec<u8>> = sender.into_iter().chain(recipient).filter(|n| !n.is_empty()).collect();
        move |piece: &[u8]| {
            id.as_ref().is_none_or(|id| id.find(piece).is_some())
                && names.iter().all(|name| contains_folded(piece, name))
        }
    }
}

/// The newest `max` records of the log in `folder` that pass the filter.
///
/// # Errors
/// When the folder or a file cannot be read. Damaged lines are passed over.
pub fn newest(folder: &Path, filter: &Filter, max: usize) -> io::Result<Found> {
    let mut found = VecDeque::new();
    let mut more = false;
    let wanted = filter.wanted();
    for file in files::newest_first(folder, PREFIX, filter.start, filter.end)? {
        if found.len() >= max && !more {
            more = any(&file.path, filter, &wanted)?;
        }
        let room = max.saturating_sub(found.len());
        if room == 0 && more {
            break;
        }
        let mut columns = Columns::default();
        let mut here: VecDeque<Record> = VecDeque::new();
        files::lines(&file.path, &wanted, |line| {
            if !line.starts_with('#') && !wanted(line.as_bytes()) {
                return ControlFlow::Continue(());
            }
            if let Some(record) = read(line, &mut columns).filter(|r| filter.holds(r)) {
                if here.len() >= room {
                    here.pop_front();
                    more = true;
                }
                if room > 0 {
                    here.push_back(record);
                }
            }
            ControlFlow::Continue(())
        })?;
        while let Some(record) = here.pop_back() {
            found.push_front(record);
        }
    }
    let mut records: Vec<Record> = found.into();
    // Lines are written in the order in which they were told, which several threads may mix up a little.
    records.sort_by_key(|r| r.time);
    Ok(Found { records, more })
}

/// Hands over every record of one file that passes the filter, in the file's order.
///
/// # Errors
/// When the file cannot be read. Damaged lines are passed over.
pub fn in_file(path: &Path, filter: &Filter, mut each: impl FnMut(Record)) -> io::Result<()> {
    let mut columns = Columns::default();
    let wanted = filter.wanted();
    files::lines(path, &wanted, |line| {
        if !line.starts_with('#') && !wanted(line.as_bytes()) {
            return ControlFlow::Continue(());
        }
        if let Some(record) = read(line, &mut columns).filter(|r| filter.holds(r)) {
            each(record);
        }
        ControlFlow::Continue(())
    })
}

fn any(path: &Path, filter: &Filter, wanted: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    let mut found = false;
    let mut columns = Columns::default();
    files::lines(path, wanted, |line| {
        found = read(line, &mut columns).is_some_and(|r| filter.holds(&r));
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

fn read(line: &str, columns: &mut Columns) -> Option<Record> {
    if let Some(header) = line.strip_prefix('#') {
        if let Some(names) = header.strip_prefix("Fields:") {
            *columns = Columns::of(names);
        }
        return None;
    }
    columns.read(line)
}

/// A Message-ID without its angle brackets.
pub fn bare(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id)
}

/// `*` stands for any text; case does not matter.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

/// The longest part of a pattern without a star, if it is ASCII (others are not folded byte by byte), up to a quote.
fn literal(pattern: &str) -> &str {
    let longest = pattern.split(['*', '"', ';']).max_by_key(|part| part.len()).unwrap_or_default();
    if longest.is_ascii() { longest } else { "" }
}

/// Whether `name` (lower case, not empty) occurs, without regard to the case of ASCII letters. Looks for the rarest-looking
/// byte first: an `@` where there is one.
fn contains_folded(piece: &[u8], name: &[u8]) -> bool {
    let anchor = memchr::memchr(b'@', name).unwrap_or(0);
    let Some(byte) = name.get(anchor).copied() else { return true };
    let fits = |at: usize| {
        let start = at.checked_sub(anchor);
        start.and_then(|s| piece.get(s..s + name.len())).is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    memchr::memchr2_iter(byte, byte.to_ascii_uppercase(), piece).any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventId, Message, Recipient, Source};
    use crate::layout::{FIELDS, Lines};
    use std::fs;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("waypost-tracking-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        /// A file of 08:00 and so on, with one event a minute.
        fn file(&self, hour: i64, events: &[(&str, EventId, &str)]) {
            let mut out = format!("#Software: Waypost\r\n#Fields: {FIELDS}\r\n").into_bytes();
            let mut lines = Lines::new(true, 0);
            let start = 1_772_496_000_000 + hour * 3_600_000;
            for (n, (id, event, to)) in events.iter().enumerate() {
                let message = Message {
                    item: 100 + n as u64,
                    message_id: id,
                    subject: "Quarterly Figures",
                    sender: "Amy@contoso.test",
                    ..Message::default()
                };
                let to = [Recipient::new(to, "")];
                let time = Timestamp(start + n as i64 * 60_000);
                let event = Event::of(time, &message, Source::Smtp, *event).to(&to).reference("x@y");
                lines.append(&event, &mut out);
            }
            out.extend_from_slice(b"2026-03-03T08:59:59.000Z,torn,");
            fs::write(self.0.join(format!("MSGTRK20260303{hour:02}-1.LOG")), out).unwrap();
        }

        fn find(&self, filter: &Filter, max: usize) -> (Vec<String>, bool) {
            let found = newest(&self.0, filter, max).unwrap();
            let show = |r: &Record| format!("{} {}", r.event_id, r.message_id);
            (found.records.iter().map(show).collect(), found.more)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn filters_and_bounds() {
        let folder = Folder::new("filters");
        folder.file(8, &[("a@x", EventId::Receive, "bob@x.test"), ("a@x", EventId::Deliver, "bob@x.test")]);
        folder.file(9, &[("b@x", EventId::Receive, "Cid@x.test"), ("a@x", EventId::Fail, "eve@x.test")]);
        let all = folder.find(&Filter::default(), 10);
        assert_eq!(
            all,
            (
                ["RECEIVE <a@x>", "DELIVER <a@x>", "RECEIVE <b@x>", "FAIL <a@x>"].map(String::from).to_vec(),
                false
            )
        );
        assert_eq!(folder.find(&Filter::default(), 2).0, ["RECEIVE <b@x>", "FAIL <a@x>"]);
        assert!(folder.find(&Filter::default(), 2).1 && folder.find(&Filter::default(), 3).1);
        assert!(!folder.find(&Filter::default(), 4).1);
        assert_eq!(folder.find(&Filter::message("<a@x>"), 10).0.len(), 3);
        let by = |f: fn(&mut Filter)| {
            let mut filter = Filter::default();
            f(&mut filter);
            folder.find(&filter, 10).0.join(", ")
        };
        assert_eq!(by(|f| f.recipients = vec!["cid@X.test".into()]), "RECEIVE <b@x>");
        assert_eq!(by(|f| f.recipients = vec!["eve@*".into(), "cid@*".into()]), "RECEIVE <b@x>, FAIL <a@x>");
        assert_eq!(by(|f| f.sender = Some("amy@CONTOSO.test".into())).len(), all.0.join(", ").len());
        assert_eq!(by(|f| f.sender = Some("amy@fabrikam.test".into())), "");
        assert_eq!(by(|f| f.event_id = Some("fail".into())), "FAIL <a@x>");
        assert_eq!(by(|f| f.internal_message_id = Some(101)), "DELIVER <a@x>, FAIL <a@x>");
        assert_eq!(by(|f| f.subject = Some("figures".into())).len(), all.0.join(", ").len());
        assert_eq!(by(|f| f.reference = Some("z".into())), "");
        assert_eq!(
            by(|f| f.start = Some(Timestamp(1_772_496_000_000 + 9 * 3_600_000))),
            "RECEIVE <b@x>, FAIL <a@x>"
        );
        assert_eq!(by(|f| f.end = Some(Timestamp(1_772_496_000_000 + 8 * 3_600_000))), "RECEIVE <a@x>");
    }

    #[test]
    fn no_folder_is_no_records() {
        assert!(newest(Path::new("/nowhere/at/all"), &Filter::default(), 5).unwrap().records.is_empty());
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("amy@x.test", "AMY@x.test", true),
            ("*@x.test", "amy@x.test", true),
            ("a*y@*.test", "amy@x.test", true),
            ("a*", "bob", false),
            ("*", "", true),
            ("amy", "amy@x", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
