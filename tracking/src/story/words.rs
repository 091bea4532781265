//! The story in plain words: sentences, conclusions with how sure they are, what is not known, and what can be done.

use super::fates::count_of;
use super::{Conclusion, Facts, Fate, Passage, State, Story};
use crate::legs::{Cause, PastLeg};
use std::fmt::Write;
use waypost_base::Timestamp;
use waypost_base::explain::Confidence;

/// Recipients that a text names one by one; the rest is counted. The structured form has all.
const NAMED_MAX: usize = 50;
/// Causes that are named, those of the newest legs first.
const CAUSES_MAX: usize = 3;
/// Facts and legs that a text shows; the newest ones.
const SHOWN_MAX: usize = 40;

/// `2026-03-03 08:15:20 UTC`
pub(super) fn at(time: Timestamp) -> String {
    let c = time.civil();
    let (hour, minute, second) = (c.hour, c.minute, c.second);
    format!("{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", c.year, c.month, c.day)
}

/// What became of it for one recipient, without their address.
pub(super) fn sentence(fate: &Fate) -> String {
    let since = fate.since.map(at).unwrap_or_default();
    let said = fate.said.trim();
    let mut words = match fate.state {
        State::Accepted => format!("was accepted at {since}; nothing is known of it since"),
        State::Expanded => match said.parse::<usize>() {
            Ok(count) => format!("is a group, which became {} at {since}", count_of(count, "member")),
            Err(_) => format!("is a group; {said}"),
        },
        State::Forwarded => format!("goes to {said} instead"),
        State::Delivered => {
            let note =
                if said.is_empty() || said.starts_with('2') { String::new() } else { format!(" ({said})") };
            let folder = if fate.junk { "junk folder" } else { "mailbox" };
            format!("delivered to the {folder} at {since}{note}")
        }
        State::Sent => {
            let server = if fate.server.is_empty() { "the next server" } else { &fate.server };
            let answer = if said.is_empty() { String::new() } else { format!(" with \"{said}\"") };
            format!("taken by {server} at {since}{answer}")
        }
        State::Waiting => waiting(fate, said),
        State::Suspended => "held: an administrator suspended it or its queue".to_owned(),
        State::Poison => format!("set aside because it may be dangerous to the server: {said}"),
        State::Failed => {
            let whose = match (fate.server.is_empty(), is_reply(said)) {
                (true, _) => "could not be delivered, for good,".to_owned(),
                (false, true) => format!("refused for good by {}", fate.server),
                (false, false) => format!("could not be given to {}, for good,", fate.server),
            };
            let reason = if said.is_empty() { String::new() } else { format!(": \"{said}\"") };
            format!("{whose} at {since}{reason}")
        }
        State::Dropped => {
            let reason = if said.is_empty() { String::new() } else { format!(": {said}") };
            format!("taken away without a report at {since}{reason}")
        }
    };
    words.push('.');
    words
}

/// Whether it is what a server answered, rather than what happened on the way to it.
fn is_reply(said: &str) -> bool {
    let mut bytes = said.bytes();
    matches!(bytes.next(), Some(b'2'..=b'5'))
        && bytes.by_ref().take(2).filter(u8::is_ascii_digit).count() == 2
        && matches!(bytes.next(), None | Some(b' ' | b'-'))
}

fn waiting(fate: &Fate, said: &str) -> String {
    let mut words = String::from("waiting");
    if said.is_empty() {
        words.push_str(" for its turn");
    } else if fate.attempts == 0 {
        let _ = write!(words, ": {said}");
    } else {
        let _ = match (fate.server.is_empty(), is_reply(said)) {
            (true, _) => write!(words, " because of \"{said}\""),
            (false, true) => write!(words, " because {} said \"{said}\"", fate.server),
            (false, false) => write!(words, " because of \"{said}\" at {}", fate.server),
        };
        let _ = write!(words, " ({}", count_of(fate.attempts as usize, "attempt"));
        if let Some(tried) = fate.tried {
            let last = if fate.attempts == 1 { "at" } else { "last at" };
            let _ = write!(words, ", {last} {}", at(tried));
        }
        words.push(')');
    }
    if let Some(next) = fate.next_attempt {
        let _ = write!(words, "; next attempt {}", at(next));
    }
    if let Some(end) = fate.gives_up {
        let _ = write!(words, "; returned to the sender if it cannot be delivered by {}", at(end));
    }
    words
}

/// Leaves what a user with these addresses may know; false if that is nothing.
pub(super) fn narrow(passage: &mut Passage, addresses: &[String]) -> bool {
    let own = |address: &str| addresses.iter().any(|a| a.eq_ignore_ascii_case(address));
    let sender = passage.originating && (own(&passage.sender) || own(&passage.return_path));
    passage.decisions.clear();
    if sender {
        let all = passage.recipients.clone();
        passage.recipients.retain(|fate| fate.via.is_none());
        for fate in &mut passage.recipients {
            fate.known_as = None;
            fate.queue.clear();
            summarise(fate, &all);
        }
        return true;
    }
    passage.reports.clear();
    passage.returned.clear();
    passage.arrival = format!("Came from {}.", passage.sender);
    passage.recipients.retain(|fate| own(&fate.address) || fate.known_as.as_deref().is_some_and(own));
    for fate in &mut passage.recipients {
        fate.queue.clear();
        if fate.state == State::Forwarded {
            fate.said = "where its owner wants it".into();
        }
    }
    !passage.recipients.is_empty()
}

/// What became of a group or a forwarded message, without saying who is behind it.
fn summarise(fate: &mut Fate, all: &[Fate]) {
    if !matches!(fate.state, State::Expanded | State::Forwarded) {
        return;
    }
    let mut from = vec![fate.address.clone()];
    let mut behind: Vec<&Fate> = Vec::new();
    let mut looked = 0;
    while let Some(via) = from.get(looked).cloned() {
        looked += 1;
        for next in all.iter().filter(|f| f.via.as_deref().is_some_and(|v| v.eq_ignore_ascii_case(&via))) {
            let known = from.iter().any(|f| f.eq_ignore_ascii_case(&next.address));
            if !known {
                from.push(next.address.clone());
                behind.push(next);
            }
        }
    }
    let ends: Vec<&&Fate> =
        behind.iter().filter(|f| !matches!(f.state, State::Expanded | State::Forwarded)).collect();
    let worst = ends.iter().max_by_key(|f| gravity(f.state));
    if fate.state == State::Forwarded {
        let Some(worst) = worst else { return };
        fate.state = worst.state;
        fate.since = worst.since;
        fate.next_attempt = worst.next_attempt;
        // The words of the server behind a forwarding may name the address.
        fate.said = if worst.state == State::Failed { "the forwarding failed".into() } else { String::new() };
        return;
    }
    let mut parts = Vec::new();
    for (one, several, states) in [
        ("has it", "have it", [State::Delivered, State::Sent].as_slice()),
        ("waits for it", "wait for it", &[State::Accepted, State::Waiting, State::Suspended, State::Poison]),
        ("cannot get it", "cannot get it", &[State::Failed]),
        ("does not get it, on purpose", "do not get it, on purpose", &[State::Dropped]),
    ] {
        let count = ends.iter().filter(|f| states.contains(&f.state)).count();
        if count > 0 {
            parts.push(format!("{count} {}", if count == 1 { one } else { several }));
        }
    }
    fate.said = format!(
        "of its members {}",
        if parts.is_empty() { "none is known".into() } else { parts.join(", ") }
    );
}

fn gravity(state: State) -> u8 {
    match state {
        State::Delivered | State::Sent => 0,
        State::Expanded | State::Forwarded | State::Dropped => 1,
        State::Accepted | State::Waiting | State::Suspended => 2,
        State::Poison => 3,
        State::Failed => 4,
    }
}

/// Fills in what follows, what is not known, and what can be done.
pub(super) fn conclude(story: &mut Story, facts: &Facts, administrator: bool) {
    let mut c = Conclude { story, facts, administrator };
    c.ends();
    c.repeated();
    c.unknown();
    if administrator {
        c.causes();
        c.commands();
    } else {
        c.advice();
    }
}

/// With a capital and a full stop.
fn as_sentence(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).chain(['.']).collect()
}

struct Conclude<'a> {
    story: &'a mut Story,
    facts: &'a Facts,
    administrator: bool,
}

impl Conclude<'_> {
    fn with(&self, wanted: &[State]) -> usize {
        let all = self.story.passages.iter().flat_map(|p| &p.recipients);
        all.filter(|f| wanted.contains(&f.state)).count()
    }

    fn follows(&mut self, confidence: Confidence, text: impl Into<String>) {
        self.story.follows.push(Conclusion { confidence, text: text.into() });
    }

    fn remedy(&mut self, text: String) {
        if !self.story.remedy.contains(&text) {
            self.story.remedy.push(text);
        }
    }

    fn unknown_that(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.story.not_known.contains(&text) {
            self.story.not_known.push(text);
        }
    }

    fn ends(&mut self) {
        let total = self.with(&ALL) - self.with(&[State::Expanded, State::Forwarded]);
        let delivered = self.with(&[State::Delivered]);
        let sent = self.with(&[State::Sent]);
        let waiting = self.with(&[State::Waiting]);
        let failed = self.with(&[State::Failed]);
        let all_seen = self.administrator || self.with(&[State::Expanded, State::Forwarded]) == 0;
        if total > 0 && delivered == total && all_seen {
            let all = if total == 1 {
                "The recipient has it.".into()
            } else {
                format!("All {total} recipients have it.")
            };
            self.follows(Confidence::Certain, all);
        }
        if sent > 0 {
            let text =
                "What another server took is its business: it delivers it, or reports back to the sender.";
            self.follows(Confidence::Certain, text);
        }
        if waiting > 0 {
            let what = if waiting == 1 { "1 delivery".to_owned() } else { format!("{waiting} deliveries") };
            self.follows(
                Confidence::Certain,
                format!("Nothing is lost: {what} will be tried again without anybody's help."),
            );
        }
        let returned: Vec<String> = self.story.passages.iter().flat_map(|p| p.returned.clone()).collect();
        if !returned.is_empty() {
            let text = format!(
                "Another server sent a report about it: {}. What it says is in that message.",
                returned.join("; ")
            );
            self.follows(Confidence::Certain, text);
        }
        if self.with(&[State::Suspended, State::Poison]) > 0 {
            self.follows(
                Confidence::Certain,
                "What is held or set aside stays until an administrator decides.",
            );
        }
        if failed > 0 {
            let reports: Vec<String> = self.story.passages.iter().flat_map(|p| p.reports.clone()).collect();
            if reports.is_empty() {
                self.unknown_that("Whether the sender was told: the log has no report about this message.");
            } else {
                self.follows(Confidence::Certain, format!("A report was sent to {}.", reports.join("; to ")));
            }
        }
    }

    fn repeated(&mut self) {
        let items = self.story.passages.iter().filter(|p| p.item != 0).count();
        if items > 1 {
            let text = format!(
                "It came {items} times: sent again by whoever sent it, or by several ways (a list, a forwarding), or it came back to us."
            );
            self.follows(Confidence::Likely, text);
        }
    }

    fn unknown(&mut self) {
        let accepted = self.with(&[State::Accepted]);
        if accepted > 0 {
            match (&self.facts.queue, self.administrator) {
                (None, true) => self.unknown_that(
                    "Whether the queue still holds it: the queue could not be looked at. `waypost why` on the running server does.",
                ),
                (None, false) => self.unknown_that("Whether it is still waiting here."),
                (Some(_), _) => {
                    self.unknown_that("How it ended: the queue does not hold it, and the log has no end for it.");
                    let text = "Its last events were not written (tracking was off, a log could not be written, or the process was killed a moment after).";
                    self.follows(Confidence::Possible, text);
                }
            }
        }
        if self.story.passages.iter().any(|p| p.came.is_none()) || self.facts.more {
            let text = match self.facts.since {
                Some(since) => format!("How it came: the log reaches back to {} only.", at(since)),
                None => "How it came: the log does not say.".to_owned(),
            };
            self.unknown_that(text);
        }
        if self.with(&[State::Sent]) > 0 {
            self.unknown_that("What the servers that took it did with it since: only they know. Their answers have the ids to ask by.");
        }
    }

    /// What the failed legs say about the reasons, for what is not delivered.
    fn causes(&mut self) {
        if self.with(&[State::Waiting, State::Failed]) == 0 {
            return;
        }
        let failed = self.facts.legs.iter().rev().filter(|l| l.leg.outcome.result == "failed");
        let mut causes: Vec<Cause> = Vec::new();
        for cause in failed.filter_map(|leg| leg.leg.outcome.cause.as_ref()) {
            if causes.len() < CAUSES_MAX && causes.iter().all(|known| known.code != cause.code) {
                causes.push(cause.clone());
            }
        }
        for cause in causes {
            if !cause.meaning.is_empty() {
                self.follows(Confidence::Likely, format!("[{}] {}", cause.code, as_sentence(&cause.meaning)));
            }
            if !cause.remedy.is_empty() {
                self.remedy(format!("[{}] {}", cause.code, as_sentence(&cause.remedy)));
            }
        }
    }

    fn commands(&mut self) {
        let fates: Vec<(u64, Fate)> = self
            .story
            .passages
            .iter()
            .flat_map(|p| p.recipients.iter().map(|f| (p.item, f.clone())))
            .collect();
        for (item, fate) in fates {
            let queue = &fate.queue;
            let message = format!("'{queue}\\{item}'");
            match fate.state {
                State::Waiting if queue.rsplit('\\').next() == Some("Unreachable") => {
                    let domain = fate.address.rsplit('@').next().unwrap_or("*");
                    self.remedy(format!(
                        "waypost New-SendConnector -Name {domain} -AddressSpaces {domain}    (a way to {domain})"
                    ));
                }
                State::Waiting if !queue.is_empty() => {
                    if !fate.said.is_empty() {
                        self.remedy(format!("waypost Retry-Queue -Identity '{queue}'    (try now)"));
                    }
                    self.remedy(format!("waypost Get-Message -Identity {message}    (look at it)"));
                    self.remedy(format!(
                        "waypost Remove-Message -Identity {message} -WithNDR true    (give up and tell the sender)"
                    ));
                }
                State::Suspended => {
                    self.remedy(format!("waypost Resume-Message -Identity {message}"));
                    self.remedy(format!("waypost Resume-Queue -Identity '{queue}'"));
                }
                State::Poison => {
                    self.remedy(format!(
                        "waypost Export-Message -Identity {message}    (look at it elsewhere)"
                    ));
                    self.remedy(format!("waypost Resume-Message -Identity {message}    (try it again)"));
                }
                State::Accepted => {
                    self.remedy(format!("waypost Get-MessageTrackingLog -InternalMessageId {item}"));
                }
                _ => {}
            }
        }
        self.story.remedy.truncate(12);
    }

    fn advice(&mut self) {
        if self.with(&[State::Failed]) > 0 {
            self.remedy("Read the reason above: a wrong address can be put right and the message sent again; anything else is for your administrator or the recipient's.".into());
        }
        if self.with(&[State::Waiting]) > 0 {
            self.remedy(
                "Nothing needs to be done. To take it back while it waits, delete it from the Outbox folder."
                    .into(),
            );
        }
        if self.with(&[State::Suspended, State::Poison, State::Accepted]) > 0 {
            self.remedy("Ask your administrator, and give them the Message-ID.".into());
        }
    }
}

const ALL: [State; 10] = [
    State::Accepted,
    State::Expanded,
    State::Forwarded,
    State::Delivered,
    State::Sent,
    State::Waiting,
    State::Suspended,
    State::Poison,
    State::Failed,
    State::Dropped,
];

pub(super) fn text(story: &Story) -> String {
    let mut out = format!("Message <{}>\n", story.message_id);
    for passage in &story.passages {
        one(passage, &mut out);
    }
    let section = |out: &mut String, title: &str, lines: &mut dyn Iterator<Item = String>| {
        let mut lines = lines.peekable();
        if lines.peek().is_some() {
            let _ = writeln!(out, "\n{title}");
            for line in lines {
                let _ = writeln!(out, "  {line}");
            }
        }
    };
    let sure = |c: &Conclusion| match c.confidence {
        Confidence::Certain => c.text.clone(),
        Confidence::Likely => format!("(likely) {}", c.text),
        Confidence::Possible => format!("(possible) {}", c.text),
    };
    section(&mut out, "What follows", &mut story.follows.iter().map(sure));
    section(&mut out, "What is not known", &mut story.not_known.iter().cloned());
    section(&mut out, "What can be done", &mut story.remedy.iter().cloned());
    let skipped = |len: usize| (len > SHOWN_MAX).then(|| format!("… {} earlier ones", len - SHOWN_MAX));
    let seen = story.seen.iter().skip(story.seen.len().saturating_sub(SHOWN_MAX)).map(|e| {
        let time = e.time.map_or_else(|| "now                    ".to_owned(), at);
        format!("{time}  {}: {}", e.source, e.fact)
    });
    section(&mut out, "What was seen", &mut skipped(story.seen.len()).into_iter().chain(seen));
    let legs = story.legs.iter().skip(story.legs.len().saturating_sub(SHOWN_MAX)).map(PastLeg::shown);
    section(&mut out, "Legs", &mut skipped(story.legs.len()).into_iter().chain(legs));
    out.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

fn one(passage: &Passage, out: &mut String) {
    let Passage { item, subject, sender, size, came, arrival, decisions, recipients, .. } = passage;
    let subject =
        if subject.is_empty() { "(no subject)".to_owned() } else { format!("\"{}\"", flat(subject)) };
    let sender = if sender.is_empty() { "nobody (<>)" } else { sender };
    let _ = write!(out, "\n{subject} from {}", flat(sender));
    if *size > 0 {
        let _ = write!(out, ", {size} bytes");
    }
    if *item != 0 {
        let _ = write!(out, ", item {item}");
    }
    out.push('\n');
    if let Some(came) = came {
        let _ = writeln!(out, "  {}  {}", at(*came), flat(arrival));
    }
    for decision in decisions.iter().take(SHOWN_MAX) {
        let _ = writeln!(out, "  Decided: {}", flat(decision));
    }
    for fate in recipients.iter().take(NAMED_MAX) {
        let other = match (&fate.known_as, &fate.via) {
            (Some(name), Some(via)) => format!(" (as {name}, by way of {via})"),
            (Some(name), None) => format!(" (as {name})"),
            (None, Some(via)) => format!(" (by way of {via})"),
            (None, None) => String::new(),
        };
        let _ = writeln!(out, "  {}{}: {}", flat(&fate.address), flat(&other), flat(&fate.words));
    }
    if recipients.len() > NAMED_MAX {
        let _ = writeln!(out, "  … and {} other recipients (--json has all).", recipients.len() - NAMED_MAX);
    }
}

/// One line.
fn flat(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
