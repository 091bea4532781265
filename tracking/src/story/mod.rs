//! The story of one message: from its events, its legs and what the queue holds of it, to where it is now for each
//! recipient, what follows from that, what nobody can know, and what can be done.
//!
//! What was seen, what follows and what is not known are kept apart. A user is told of their own mail only: as the sender
//! everything about the addresses that they wrote to, without the members of groups and the forwardings of others; as a
//! recipient their own delivery.

mod fates;
mod seen;
pub mod tale;
mod words;

use crate::legs::PastLeg;
use crate::record::Record;
use crate::search::bare;
use crate::{EventId, search};
use fates::Fates;
pub(crate) use fates::junks;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use waypost_base::Timestamp;
use waypost_base::explain::{Confidence, Evidence};

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The Message-ID that was asked for, without angle brackets.
    pub message_id: String,
    /// Its events, and those that refer to it, oldest first.
    pub events: Vec<Record>,
    /// There were more events than were read; the oldest are missing.
    pub more: bool,
    pub legs: Vec<PastLeg>,
    /// What the queue holds of it; `None` when the queue could not be looked at.
    pub queue: Option<Vec<Queued>>,
    pub now: Timestamp,
    /// The oldest log file is of this time.
    pub since: Option<Timestamp>,
}

/// An item that the queue holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    pub item: u64,
    /// Given up then.
    pub expires: Timestamp,
    pub subject: String,
    pub sender: String,
    pub size: u64,
    pub accepted: Timestamp,
    /// One of our accounts submitted it.
    pub originating: bool,
    pub targets: Vec<QueuedTarget>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedTarget {
    pub address: String,
    /// The identity of its queue, as Get-Queue shows it.
    pub queue: String,
    pub state: QueuedState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueuedState {
    /// Its turn comes, or it is on its way at this moment.
    Waiting {
        active: bool,
    },
    Deferred {
        reason: String,
        server: Option<String>,
        next: Timestamp,
        attempts: u32,
    },
    Suspended,
    /// No connector leads there.
    Unreachable,
    /// With the evidence.
    Poison(String),
    /// Done; the log says how.
    Settled,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Viewer<'a> {
    Administrator,
    /// Somebody with these addresses.
    User(&'a [String]),
}

/// Where a message is for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Taken over; nothing is known since.
    Accepted,
    /// A group: its members are recipients of their own.
    Expanded,
    /// Goes to somebody else instead.
    Forwarded,
    /// In the mailbox.
    Delivered,
    /// With another server.
    Sent,
    Waiting,
    Suspended,
    /// Set aside with the evidence.
    Poison,
    Failed,
    /// Taken away without a report, on purpose.
    Dropped,
}

impl State {
    /// Nothing more will happen.
    fn is_final(self) -> bool {
        matches!(self, State::Delivered | State::Sent | State::Failed | State::Dropped)
    }
}

/// What became of it for one recipient.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fate {
    /// As it was addressed, or as a group or forwarding named it.
    pub address: String,
    /// The mailbox's own address, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_as: Option<String>,
    /// The group or the forwarding recipient by which it came here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    pub state: State,
    #[serde(serialize_with = "time_text", skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The server that took or refused it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// Its words, or the reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub said: String,
    #[serde(serialize_with = "time_text", skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    #[serde(serialize_with = "time_text", skip_serializing_if = "Option::is_none")]
    pub gives_up: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub queue: String,
    pub attempts: u32,
    /// The last attempt that the log tells of.
    #[serde(serialize_with = "time_text", skip_serializing_if = "Option::is_none")]
    pub tried: Option<Timestamp>,
    /// It went to the junk folder.
    pub junk: bool,
    /// A sentence that says all this.
    pub words: String,
}

/// One passage of the message through this server. The same message may come several times.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Passage {
    /// The queue item, Exchange's InternalMessageId; 0 where none was made.
    pub item: u64,
    pub subject: String,
    pub sender: String,
    pub size: u64,
    #[serde(serialize_with = "time_text", skip_serializing_if = "Option::is_none")]
    pub came: Option<Timestamp>,
    /// How it came, in words.
    pub arrival: String,
    /// What was decided on the way, and why.
    pub decisions: Vec<String>,
    pub recipients: Vec<Fate>,
    /// Reports that were sent about it: to whom.
    pub reports: Vec<String>,
    /// Reports about it that came in from other servers.
    pub returned: Vec<String>,
    #[serde(skip)]
    originating: bool,
    #[serde(skip)]
    return_path: String,
}

/// Something that follows, and how surely.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conclusion {
    pub confidence: Confidence,
    pub text: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Story {
    pub message_id: String,
    pub passages: Vec<Passage>,
    #[serde(serialize_with = "evidence")]
    pub seen: Vec<Evidence>,
    pub follows: Vec<Conclusion>,
    pub not_known: Vec<String>,
    /// Commands, or for a user advice.
    pub remedy: Vec<String>,
    /// Each hop between two parties with its result.
    pub legs: Vec<PastLeg>,
}

/// Tells the story. `None` when nothing is known of the message, or nothing that this viewer may know.
pub fn tell(facts: &Facts, viewer: Viewer<'_>) -> Option<Story> {
    let mut passages = passages(facts);
    if let Viewer::User(addresses) = viewer {
        passages.retain_mut(|passage| words::narrow(passage, addresses));
    }
    if passages.is_empty() {
        return None;
    }
    let items: Vec<u64> = passages.iter().map(|p| p.item).collect();
    let administrator = matches!(viewer, Viewer::Administrator);
    for fate in passages.iter_mut().flat_map(|p| &mut p.recipients) {
        fate.words = words::sentence(fate);
    }
    let mut story = Story {
        message_id: facts.message_id.clone(),
        passages,
        seen: Vec::new(),
        follows: Vec::new(),
        not_known: Vec::new(),
        remedy: Vec::new(),
        legs: Vec::new(),
    };
    if administrator {
        let told = |r: &&Record| items.contains(&r.internal_message_id) || reports(r, facts);
        story.seen = facts.events.iter().filter(told).map(seen::event).collect();
        story.seen.extend(facts.legs.iter().filter(|leg| leg.leg.outcome.result == "failed").map(seen::leg));
        story.seen.extend(facts.queue.iter().flatten().flat_map(seen::queued));
        // What the queue says has no time: it is so now.
        story.seen.sort_by_key(|e| e.time.unwrap_or(facts.now));
        story.legs.clone_from(&facts.legs);
    }
    words::conclude(&mut story, facts, administrator);
    Some(story)
}

/// One for each item, in the order in which they came.
fn passages(facts: &Facts) -> Vec<Passage> {
    let mut all: BTreeMap<u64, Fates> = BTreeMap::new();
    let own = |record: &&Record| bare(&record.message_id) == facts.message_id && !reports(record, facts);
    for record in facts.events.iter().filter(own) {
        all.entry(record.internal_message_id).or_default().event(record);
    }
    // What was refused before it became an item belongs to the item that came of it, if there is only one.
    if all.len() == 2
        && let Some(before) = all.remove(&0)
        && let Some(only) = all.values_mut().next()
    {
        only.join(before);
    }
    for queued in facts.queue.iter().flatten() {
        all.entry(queued.item).or_default().queued(queued);
    }
    for record in facts.events.iter().filter(|record| reports(record, facts)) {
        if record.is(EventId::Receive) {
            all.values_mut().next_back().into_iter().for_each(|last| last.came_back(record));
            continue;
        }
        let to = record.recipients.join(", ");
        // A report names the Message-ID, not the item: with several passages it is told with the last.
        if let Some(last) = all.values_mut().next_back() {
            last.report(&to, record.time);
        }
    }
    let mut passages: Vec<Passage> = all.into_iter().map(|(item, fates)| fates.passage(item)).collect();
    passages.sort_by_key(|p| p.came);
    passages
}

/// A report about the message, which is a message of its own.
fn reports(record: &Record, facts: &Facts) -> bool {
    (record.is(EventId::Dsn) || record.is(EventId::Receive))
        && record.reference.split(';').any(|id| bare(id) == facts.message_id)
        && bare(&record.message_id) != facts.message_id
}

impl Story {
    /// The story as text for a terminal, ending in a newline. Control characters that peers put in are spaces.
    pub fn text(&self) -> String {
        words::text(self)
    }
}

/// Reads what the logs have about a message.
///
/// # Errors
/// When a log's folder or file cannot be read.
pub fn gather(
    tracking: &std::path::Path,
    legs: &std::path::Path,
    message_id: &str,
    now: Timestamp,
) -> std::io::Result<Facts> {
    let id = bare(message_id).to_owned();
    let found = search::newest(tracking, &search::Filter::message(&id), EVENTS_MAX)?;
    let wanted = crate::legs::Wanted { message_ids: vec![id.clone()], ..Default::default() };
    let since =
        crate::files::list(tracking, crate::layout::PREFIX)?.first().and_then(|f| f.span()).map(|s| s.0);
    Ok(Facts {
        message_id: id,
        events: found.records,
        more: found.more,
        legs: crate::legs::find(legs, &wanted, LEGS_MAX)?,
        queue: None,
        now,
        since,
    })
}

/// Events of one message that a story is told from. A message to ten thousand has one event for each batch of recipients.
const EVENTS_MAX: usize = 20_000;
const LEGS_MAX: usize = 1_000;

fn time_text<S: Serializer>(time: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => s.collect_str(time),
        None => s.serialize_none(),
    }
}

fn evidence<S: Serializer>(all: &[Evidence], s: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown<'a> {
        source: &'a str,
        time: Option<String>,
        fact: &'a str,
    }
    s.collect_seq(all.iter().map(|e| Shown {
        source: &e.source,
        time: e.time.map(|t| t.to_string()),
        fact: &e.fact,
    }))
}
