//! A query, made ready: names looked up, needles compiled once.

use super::{Query, whole};
use crate::account::Account;
use crate::body::MessageBody;
use crate::error::Fault;
use crate::flags::{Flags, Keywords};
use crate::limits::SEARCH_WHOLE;
use crate::message::Stored;
use crate::uidset::UidSet;
use crate::view::Row;
use std::borrow::Cow;
use std::ops::Range;
use waypost_base::{MessageId, ThreadId, Timestamp};
use waypost_mime::SummaryRef;
use waypost_mime::text::Matcher;

const DAY: i64 = 86_400_000;

/// The tree that is asked of every message.
#[derive(Debug)]
pub(super) struct Prepared(Node);

#[derive(Debug)]
enum Node {
    Const(bool),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Seqs(UidSet),
    Uids(UidSet),
    Has(Flags),
    Lacks(Flags),
    Keyword(u64),
    /// Internal date at or after the first and before the second.
    Internal(Timestamp, Timestamp),
    Saved(Timestamp, Timestamp),
    /// Days at or after the first and before the second, as the sender wrote the date.
    Sent(i64, i64),
    Larger(u64),
    Smaller(u64),
    Modseq(u64),
    EmailId(MessageId),
    ThreadId(ThreadId),
    Field(Field, Matcher),
    Header(String, Matcher),
    Body(Matcher),
    Text(Matcher),
}

/// Fields whose decoded text stands in the summary.
#[derive(Clone, Copy, Debug)]
enum Field {
    Subject,
    From,
    To,
    Cc,
    Bcc,
}

impl Field {
    const ALL: [(Field, &'static str); 5] = [
        (Field::Subject, "Subject"),
        (Field::From, "From"),
        (Field::To, "To"),
        (Field::Cc, "Cc"),
        (Field::Bcc, "Bcc"),
    ];

    fn name(self) -> &'static str {
        Field::ALL[self as usize].1
    }
}

/// A message's bytes, for a thread that may block.
pub(super) struct Bytes<'a> {
    pub(super) account: &'a Account,
    pub(super) body: &'a MessageBody,
    pub(super) runtime: &'a tokio::runtime::Handle,
}

impl Bytes<'_> {
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Fault> {
        self.runtime.block_on(self.account.read(self.body, range)).map(|b| b.to_vec())
    }
}

/// What is known of a message when it is asked.
struct Message<'a> {
    seq: u32,
    row: &'a Row,
    thread: Option<ThreadId>,
    summary: Option<SummaryRef<'a>>,
    bytes: Option<&'a Bytes<'a>>,
}

impl Prepared {
    pub(super) fn new(query: &Query, keywords: &Keywords, now: Timestamp) -> Prepared {
        Prepared(prepare(query, keywords, now))
    }

    /// With the row alone; None when it does not say.
    pub(super) fn row(&self, seq: u32, row: &Row) -> Option<bool> {
        self.0.ask(&Message { seq, row, thread: None, summary: None, bytes: None })
    }

    pub(super) fn summary(&self, seq: u32, row: &Row, stored: &Stored) -> Option<bool> {
        let summary = stored.summary().ok();
        self.0.ask(&Message { seq, row, thread: Some(stored.thread), summary, bytes: None })
    }

    /// With everything. What cannot be read does not match.
    pub(super) fn bytes(&self, seq: u32, row: &Row, stored: &Stored, bytes: &Bytes<'_>) -> bool {
        let Ok(summary) = stored.summary() else { return false };
        let message =
            Message { seq, row, thread: Some(stored.thread), summary: Some(summary), bytes: Some(bytes) };
        self.0.ask(&message).unwrap_or(false)
    }
}

fn prepare(query: &Query, keywords: &Keywords, now: Timestamp) -> Node {
    let again = |q: &Query| prepare(q, keywords, now);
    let days = |from: i64, to: i64| (Timestamp(from.saturating_mul(DAY)), Timestamp(to.saturating_mul(DAY)));
    let (first, last) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    let ago = |seconds: u32| now.plus_millis(-i64::from(seconds) * 1000);
    let field = |field: Field, text: &String| Node::Field(field, Matcher::new(text));
    match query {
        Query::All => Node::Const(true),
        Query::And(list) => Node::And(list.iter().map(again).collect()),
        Query::Or(a, b) => Node::Or(vec![again(a), again(b)]),
        Query::Not(q) => Node::Not(Box::new(again(q))),
        Query::Seqs(set) => Node::Seqs(set.clone()),
        Query::Uids(set) => Node::Uids(set.clone()),
        Query::Has(flags) => Node::Has(*flags),
        Query::Lacks(flags) => Node::Lacks(*flags),
        Query::Keyword(name) => keywords.bit(name).map_or(Node::Const(false), |bit| Node::Keyword(1 << bit)),
        Query::Unkeyword(name) => again(&Query::Not(Box::new(Query::Keyword(name.clone())))),
        Query::Before(day) => Node::Internal(first, days(*day, 0).0),
        Query::On(day) => {
            let (from, to) = days(*day, day.saturating_add(1));
            Node::Internal(from, to)
        }
        Query::Since(day) => Node::Internal(days(*day, 0).0, last),
        Query::SavedBefore(day) => Node::Saved(first, days(*day, 0).0),
        Query::SavedOn(day) => {
            let (from, to) = days(*day, day.saturating_add(1));
            Node::Saved(from, to)
        }
        Query::SavedSince(day) => Node::Saved(days(*day, 0).0, last),
        Query::SentBefore(day) => Node::Sent(i64::MIN, *day),
        Query::SentOn(day) => Node::Sent(*day, day.saturating_add(1)),
        Query::SentSince(day) => Node::Sent(*day, i64::MAX),
        // RFC 5032 §3: exactly at the interval counts as both.
        Query::Older(seconds) => Node::Internal(first, ago(*seconds).plus_millis(1)),
        Query::Younger(seconds) => Node::Internal(ago(*seconds), last),
        Query::Larger(bytes) => Node::Larger(*bytes),
        Query::Smaller(bytes) => Node::Smaller(*bytes),
        Query::Modseq(modseq) => Node::Modseq(*modseq),
        Query::Subject(text) => field(Field::Subject, text),
        Query::From(text) => field(Field::From, text),
        Query::To(text) => field(Field::To, text),
        Query::Cc(text) => field(Field::Cc, text),
        Query::Bcc(text) => field(Field::Bcc, text),
        Query::Header(name, text) => Node::Header(name.clone(), Matcher::new(text)),
        Query::Body(text) => Node::Body(Matcher::new(text)),
        Query::Text(text) => Node::Text(Matcher::new(text)),
        Query::EmailId(id) => Node::EmailId(*id),
        Query::ThreadId(id) => Node::ThreadId(*id),
    }
}

impl Node {
    fn ask(&self, m: &Message<'_>) -> Option<bool> {
        let row = m.row;
        Some(match self {
            Node::Const(answer) => *answer,
            Node::And(list) => return all(list, m),
            Node::Or(list) => return any(list, m),
            Node::Not(node) => return node.ask(m).map(|answer| !answer),
            Node::Seqs(set) => set.contains(m.seq),
            Node::Uids(set) => set.contains(row.uid),
            Node::Has(flags) => row.flags.has(*flags),
            Node::Lacks(flags) => row.flags.0 & flags.0 == 0,
            Node::Keyword(bit) => row.keywords & bit != 0,
            Node::Internal(from, to) => *from <= row.internal && row.internal < *to,
            Node::Saved(from, to) => *from <= row.saved && row.saved < *to,
            Node::Larger(bytes) => u64::from(row.size) > *bytes,
            Node::Smaller(bytes) => u64::from(row.size) < *bytes,
            Node::Modseq(modseq) => row.modseq >= *modseq,
            Node::EmailId(id) => row.message == *id,
            Node::ThreadId(id) => m.thread? == *id,
            // A message without a readable date has been sent when it came.
            Node::Sent(from, to) => {
                let day = m.summary?.date.map_or(row.internal.0.div_euclid(DAY), |d| d.day());
                *from <= day && day < *to
            }
            Node::Field(field, needle) => return ask_field(*field, needle, m),
            Node::Header(name, needle) => return ask_header(name, needle, m),
            Node::Body(needle) => return ask_bytes(needle, false, m),
            Node::Text(needle) => return ask_bytes(needle, true, m),
        })
    }
}

/// No as soon as one says no; yes when all do.
fn all(list: &[Node], m: &Message<'_>) -> Option<bool> {
    let mut answer = Some(true);
    for node in list {
        match node.ask(m) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => answer = None,
        }
    }
    answer
}

fn any(list: &[Node], m: &Message<'_>) -> Option<bool> {
    let mut answer = Some(false);
    for node in list {
        match node.ask(m) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => answer = None,
        }
    }
    answer
}

/// The decoded text in the summary says it, unless it was cut.
fn ask_field(field: Field, needle: &Matcher, m: &Message<'_>) -> Option<bool> {
    let summary = m.summary.as_ref()?;
    let text = match field {
        Field::Subject => summary.subject,
        Field::From => summary.from.text,
        Field::To => summary.to.text,
        Field::Cc => summary.cc.text,
        Field::Bcc => summary.bcc.text,
    };
    if !text.is_empty() && needle.matches_str(text) {
        return Some(true);
    }
    if !text.is_empty() && !summary.facts.texts_partial() {
        return Some(false);
    }
    // Cut, or empty: the field may be missing, or hold nothing that could be decoded.
    ask_header(field.name(), needle, m)
}

fn ask_header(name: &str, needle: &Matcher, m: &Message<'_>) -> Option<bool> {
    let summary = m.summary.as_ref()?;
    if !summary.facts.fields_partial() && !summary.fields().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
        return Some(false);
    }
    let bytes = m.bytes?;
    let header: Cow<'_, [u8]> = match whole(bytes.body) {
        Some(message) => message.into(),
        None => match bytes.read(0..summary.header().end) {
            Ok(header) => header.into(),
            Err(_) => return Some(false),
        },
    };
    Some(needle.matches_header(name.as_bytes(), summary, &header))
}

fn ask_bytes(needle: &Matcher, headers: bool, m: &Message<'_>) -> Option<bool> {
    let (summary, bytes) = (m.summary.as_ref()?, m.bytes?);
    let small = match whole(bytes.body) {
        Some(message) => Some(Cow::Borrowed(message)),
        None if bytes.body.size() <= SEARCH_WHOLE => match bytes.read(0..bytes.body.size()) {
            Ok(message) => Some(Cow::Owned(message)),
            Err(_) => return Some(false),
        },
        None => None,
    };
    Some(match small {
        Some(message) if headers => needle.matches_text(summary, &message),
        Some(message) => needle.matches_body(summary, &message),
        None => needle.matches_large(summary, headers, |range| bytes.read(range)).unwrap_or(false),
    })
}
