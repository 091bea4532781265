//! What an outbox item says: to whom the message is still to go, why it waits, when it is tried next, and what can be done.
//!
//! Pure. An item is named by its Message-ID, which has the number of the queue item; that is how it is found again.

use crate::report::advice;
use crate::report::paper::{Original, answer, field};
use crate::report::words::{self, Block, counted, cut, one_line, part, span, text, when};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use waypost_base::Timestamp;
use waypost_mime::rfc2047;
use waypost_queue::{Done, ItemState, Place, Reason, State, TargetState};

const NAME: &str = "waypost-outbox.";
/// Recipients that one line names.
const NAMED: usize = 20;

/// The Message-ID of an item, without brackets: which one, what it says, and when it was written.
fn message_id(item: u64, (all, why): (u64, u64), now: Timestamp, host: &str) -> String {
    format!("{NAME}{item:x}.{all:x}.{why:x}.{:x}@{host}", now.as_millis())
}

/// The queue item that a message in an outbox stands for, and the digests of what it says; item 0 is the note that there
/// are more.
pub(super) fn item_of(message_id: &str) -> Option<(u64, (u64, u64))> {
    let (numbers, _) = message_id.strip_prefix(NAME)?.split_once('@')?;
    let mut numbers = numbers.split('.').map(|number| u64::from_str_radix(number, 16).ok());
    Some((numbers.next()??, (numbers.next()??, numbers.next()??)))
}

/// The recipients of the message, without the sender's own copy.
fn targets(state: &ItemState) -> impl Iterator<Item = &TargetState> {
    state.targets.iter().filter(|t| t.target.local.is_none_or(|local| local.place != Place::Sent))
}

fn outstanding(state: &ItemState) -> impl Iterator<Item = &TargetState> {
    targets(state).filter(|target| !matches!(target.state, State::Settled(..)))
}

/// Somebody is still to get it.
pub(super) fn waits(state: &ItemState) -> bool {
    outstanding(state).next().is_some()
}

/// Something is in its way: it is shown at once.
pub(super) fn is_held_up(state: &ItemState) -> bool {
    outstanding(state).any(|target| !matches!(target.state, State::Waiting { .. }))
}

/// The next attempt for any recipient.
pub(super) fn next(state: &ItemState) -> Option<Timestamp> {
    outstanding(state)
        .filter_map(|target| match target.state {
            State::Deferred { next, .. } => Some(next),
            _ => None,
        })
        .min()
}

/// Changes when the text says something else. The second leaves the times out: what is worth replacing a large item for.
pub(super) fn digest(state: &ItemState) -> (u64, u64) {
    let (mut all, mut why) = (DefaultHasher::new(), DefaultHasher::new());
    for target in targets(state) {
        let what = (target.hop, target.index, kind(&target.state));
        what.hash(&mut why);
        what.hash(&mut all);
        if let State::Deferred { reason, next, .. } = &target.state {
            (&reason.text, &reason.server, reason.code).hash(&mut why);
            (&reason.text, &reason.server, reason.code, next).hash(&mut all);
        }
    }
    (all.finish(), why.finish())
}

fn kind(state: &State) -> (u8, Option<Done>) {
    match state {
        State::Waiting { .. } => (0, None),
        State::Deferred { .. } => (1, None),
        State::Suspended => (2, None),
        State::Unreachable => (3, None),
        State::Poison(_) => (4, None),
        State::Settled(done, _) => (5, Some(*done)),
    }
}

/// The item as a message. `header` is the original's, from which it takes who wrote to whom and when.
pub(super) fn compose(
    host: &str,
    state: &ItemState,
    says: (u64, u64),
    now: Timestamp,
    header: &[u8],
    original: &Original,
) -> Vec<u8> {
    let subject = state.envelope.subject.trim();
    let subject = format!("Waiting: {}", if subject.is_empty() { "your message" } else { subject });
    let mut out = Vec::with_capacity(4096);
    let mut from = fields(header, "From");
    if from.is_empty() {
        let sender =
            state.envelope.from.as_ref().map_or_else(|| format!("MAILER-DAEMON@{host}"), ToString::to_string);
        field(&mut from, "From", &format!("<{sender}>"));
    }
    out.extend_from_slice(&from);
    let mut to = fields(header, "To");
    to.extend_from_slice(&fields(header, "Cc"));
    if to.is_empty() {
        let all: Vec<String> = state.recipients.iter().take(NAMED).map(|r| format!("<{}>", r.to)).collect();
        let all = if all.is_empty() { "undisclosed-recipients:;".to_owned() } else { all.join(", ") };
        field(&mut to, "To", &all);
    }
    out.extend_from_slice(&to);
    field(&mut out, "Subject", &rfc2047::encode(&one_line(&subject)));
    let mut date = fields(header, "Date");
    if date.is_empty() {
        field(&mut date, "Date", &state.envelope.accepted.civil().rfc5322());
    }
    out.extend_from_slice(&date);
    field(&mut out, "Message-ID", &format!("<{}>", message_id(state.id, says, now, host)));
    field(&mut out, "X-Waypost-Submission", &state.id.to_string());
    body(&mut out, &subject, &blocks(state, now), Some(original), state.id);
    out
}

/// The note at the end of an outbox that does not show everything.
pub(super) fn compose_more(host: &str, to: &str, more: u64, now: Timestamp) -> Vec<u8> {
    let more_count = more;
    let more = counted(i64::try_from(more).unwrap_or(i64::MAX), "more message");
    let subject = format!("Waiting: {more}");
    let blocks = [
        Block::Title(format!("{more} of yours waiting, not shown here.")),
        text("This folder shows the oldest ones. When some of these have left, others take their place."),
        text("Your administrator can see and remove all of them."),
    ];
    let mut out = Vec::new();
    field(&mut out, "From", &format!("Mail delivery <MAILER-DAEMON@{host}>"));
    field(&mut out, "To", &format!("<{to}>"));
    field(&mut out, "Subject", &subject);
    field(&mut out, "Date", &now.civil().rfc5322());
    field(&mut out, "Message-ID", &format!("<{}>", message_id(0, (more_count, 0), now, host)));
    body(&mut out, &subject, &blocks, None, 0);
    out
}

fn body(out: &mut Vec<u8>, subject: &str, blocks: &[Block], original: Option<&Original>, id: u64) {
    let (outer, inner) = (format!("=_{id:x}_o"), format!("=_{id:x}_a"));
    let mut push = |text: &str| out.extend_from_slice(text.as_bytes());
    push("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
    push(&format!(
        "Content-Type: multipart/mixed; boundary=\"{outer}\"\r\n\r\n\
         --{outer}\r\nContent-Type: multipart/alternative; boundary=\"{inner}\"\r\n\r\n--{inner}\r\n"
    ));
    part(out, "text/plain; charset=utf-8", words::plain(blocks).as_bytes());
    out.extend_from_slice(format!("\r\n--{inner}\r\n").as_bytes());
    part(out, "text/html; charset=utf-8", words::html(subject, blocks).as_bytes());
    out.extend_from_slice(format!("\r\n--{inner}--\r\n").as_bytes());
    match original {
        None => {}
        Some(Original::Message(bytes)) => {
            let encoding = if bytes.is_ascii() { "7bit" } else { "8bit" };
            let head = format!(
                "\r\n--{outer}\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\
                 Content-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(bytes);
        }
        Some(Original::Header(bytes)) => {
            out.extend_from_slice(format!("\r\n--{outer}\r\nContent-Disposition: attachment\r\n").as_bytes());
            part(out, "text/rfc822-headers; charset=utf-8", bytes);
        }
    }
    out.extend_from_slice(format!("\r\n--{outer}--\r\n").as_bytes());
}

/// The first field of a name, as it stands there, with its line end.
fn fields(header: &[u8], name: &str) -> Vec<u8> {
    let mut found = Vec::new();
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        let folded = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        let begins = line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
            && line.get(name.len()..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b":"));
        match (found.is_empty(), folded) {
            (true, false) if begins && line.ends_with(b"\r\n") => found.extend_from_slice(line),
            (false, true) if line.ends_with(b"\r\n") => found.extend_from_slice(line),
            (false, _) => break,
            _ => {}
        }
    }
    found
}

/// What a person reads.
fn blocks(state: &ItemState, now: Timestamp) -> Vec<Block> {
    let waiting = outstanding(state).count();
    let all = targets(state).count();
    let title = if waiting == all {
        "This message is waiting to be sent.".to_owned()
    } else {
        format!(
            "This message is waiting for {waiting} of its {}.",
            counted(i64::try_from(all).unwrap_or(i64::MAX), "recipient")
        )
    };
    let mut blocks = vec![Block::Title(title)];
    let accepted = state.envelope.accepted;
    let mut facts = Vec::new();
    if !state.envelope.subject.trim().is_empty() {
        facts.push(("Subject", state.envelope.subject.clone()));
    }
    // Without how long that is: whoever reads this reads it later.
    facts.push(("Waiting since", when(accepted)));
    facts.push(("Tried until", when(state.envelope.expires)));
    blocks.push(Block::Facts(facts));
    for group in groups(state) {
        blocks.push(Block::Heading(addresses(&group)));
        if let Some(first) = group.first() {
            of_group(&mut blocks, first, now);
        }
    }
    let settled: Vec<String> = targets(state).filter_map(settled).take(NAMED).collect();
    if !settled.is_empty() {
        blocks.push(Block::Heading("Done".to_owned()));
        blocks.push(Block::List(settled));
    }
    blocks.push(Block::Heading("What you can do".to_owned()));
    blocks.push(text(
        "You need not do anything: the message is tried again and again, and this item goes away when it has been \
         delivered. If the time is over before that, the message comes back to you with a report.",
    ));
    blocks.push(text(
        "To take the message back, delete this item. Whoever has not got it by then will not get it; what has left \
         cannot be called back.",
    ));
    blocks
}

/// Recipients for whom the same is to be said, by the order of the first of each.
fn groups(state: &ItemState) -> Vec<Vec<&TargetState>> {
    let mut places: BTreeMap<(u32, u64), usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&TargetState>> = Vec::new();
    for target in outstanding(state) {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", target.state).hash(&mut hasher);
        let place = *places.entry((target.hop, hasher.finish())).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(target),
            None => groups.push(vec![target]),
        }
    }
    groups
}

fn addresses(group: &[&TargetState]) -> String {
    let mut names: Vec<String> =
        group.iter().take(NAMED).map(|target| target.target.to.to_string()).collect();
    if group.len() > NAMED {
        names.push(format!("and {} more", group.len() - NAMED));
    }
    names.join(", ")
}

fn of_group(blocks: &mut Vec<Block>, target: &TargetState, now: Timestamp) {
    match &target.state {
        State::Waiting { active: true } => blocks.push(text("It is being sent at this moment.")),
        State::Waiting { active: false } => {
            blocks.push(text("It is in line to be sent. Nothing has gone wrong; others are before it."));
        }
        State::Deferred { reason, next, attempts } => deferred(blocks, reason, *next, *attempts, now),
        State::Suspended => blocks.push(text(
            "It is held back by an administrator, and goes on when they release it. Ask them if you do not know why.",
        )),
        State::Unreachable => blocks.push(text(
            "This server has not been told a way to that domain: no send connector leads there. It goes on as soon as \
             your administrator makes one.",
        )),
        State::Poison(_) => blocks.push(text(
            "It was set aside because handling it failed in this server. Your administrator has to look at it.",
        )),
        State::Settled(..) => {}
    }
}

fn deferred(blocks: &mut Vec<Block>, reason: &Reason, next: Timestamp, attempts: u32, now: Timestamp) {
    let advice = advice(reason.status, &reason.text);
    blocks.push(text(format!("It could not be sent yet. {}", advice.what)));
    let words = one_line(cut(&reason.text));
    match &reason.server {
        Some(server) if reason.code.is_some() => {
            let said = answer(reason.code, reason.status, &reason.text);
            blocks.push(Block::Says { who: one_line(server), words: said });
        }
        Some(server) => blocks.push(text(format!("{}: {words}", one_line(server)))),
        None if words.trim().is_empty() => {}
        None => blocks.push(text(format!("The reason: {words}"))),
    }
    let tried = match attempts {
        0 => String::new(),
        1 => " It was tried once so far.".to_owned(),
        n => format!(" It was tried {} so far.", counted(i64::from(n), "time")),
    };
    let soon = if next.since(now) <= 0 {
        "The next attempt is due now.".to_owned()
    } else {
        format!("The next attempt is in {}, on {}.", span(next.since(now)), when(next))
    };
    blocks.push(text(format!("{soon}{tried}")));
}

fn settled(target: &TargetState) -> Option<String> {
    let State::Settled(done, reason) = &target.state else { return None };
    let what = match done {
        Done::Delivered => "in the mailbox".to_owned(),
        Done::Relayed => "handed over to the recipient's server".to_owned(),
        Done::Expanded => "sent on to the members of the group".to_owned(),
        Done::Failed => match reason {
            Some(reason) => format!("failed: {}", one_line(cut(&reason.text))),
            None => "failed; a report tells why".to_owned(),
        },
        Done::Dropped => "removed by an administrator".to_owned(),
        Done::Recalled => "taken back".to_owned(),
    };
    Some(format!("{}: {what}", target.target.to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::NOW;
    use waypost_base::id::Correlation;
    use waypost_queue::{Accepted, Envelope, Target};
    use waypost_smtp::{Mailbox, RcptParams, Status};

    fn target(hop: u32, index: u32, to: &str, state: State) -> TargetState {
        let target = Target { to: Mailbox::parse(to).unwrap(), of: index, local: None };
        TargetState { hop, index, target, queue: "example.net".into(), state }
    }

    fn state(targets: Vec<TargetState>) -> ItemState {
        let mut envelope = Envelope::new(Mailbox::parse("ann@contoso.test"), NOW, Correlation(7));
        envelope.subject = "Lunch on Friday".into();
        let recipients = targets
            .iter()
            .map(|t| Accepted { to: t.target.to.clone(), params: RcptParams::default() })
            .collect();
        ItemState { id: 0x19cb, size: 100, envelope, recipients, targets }
    }

    fn refused() -> State {
        let reason = Reason {
            status: Status(4, 4, 1),
            code: None,
            server: Some("mail.example.net (192.0.2.7)".into()),
            text: "connection refused".into(),
            temporary: true,
        };
        State::Deferred { reason, next: NOW.plus_millis(360_000), attempts: 2 }
    }

    fn greylisted() -> State {
        let reason = Reason {
            status: Status(4, 7, 1),
            code: Some(451),
            server: Some("mx.example.org (192.0.2.9)".into()),
            text: "4.7.1 Greylisted, <b>come back</b>".into(),
            temporary: true,
        };
        State::Deferred { reason, next: NOW.plus_millis(30_000), attempts: 1 }
    }

    #[test]
    fn an_item_says_why_and_when() {
        let state = state(vec![
            target(0, 0, "bob@example.net", refused()),
            target(0, 1, "eve@example.net", refused()),
            target(1, 2, "carol@example.org", greylisted()),
            target(2, 3, "dave@example.com", State::Unreachable),
            target(3, 4, "ben@contoso.test", State::Settled(Done::Delivered, None)),
        ]);
        let header = b"Received: x\r\nFROM: Ann <ann@contoso.test>\r\nto: Bob <bob@example.net>,\r\n Carol \
            <carol@example.org>\r\nDate: Tue, 3 Mar 2026 08:15:00 +0000\r\nSubject: Lunch on Friday\r\n\r\n";
        let original = Original::Message([header, &b"At noon?\r\n"[..]].concat());
        let now = NOW.plus_millis(120_000);
        let bytes = compose("mx.contoso.test", &state, (1, 2), now, header, &original);
        let path = format!("{}/src/outbox/golden/waiting.eml", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(
            std::fs::read(&path).unwrap_or_default() == bytes,
            "run with UPDATE_GOLDEN=1 and look at it:\n{text}"
        );
        let summary = waypost_mime::scan(&bytes, waypost_mime::Limits::stored());
        assert_eq!(item_of(&summary.message_id), Some((0x19cb, (1, 2))));
        assert_eq!(summary.subject, "Waiting: Lunch on Friday");
    }

    #[test]
    fn what_others_wrote_is_no_item() {
        for id in [
            "",
            "x@y",
            "waypost-outbox.",
            "waypost-outbox.1@h",
            "waypost-outbox.1.2.z.3@h",
            "waypost-outbox.1.2.3",
        ] {
            assert_eq!(item_of(id), None, "{id}");
        }
        let note = compose_more("h", "ann@contoso.test", 7, NOW);
        let summary = waypost_mime::scan(&note, waypost_mime::Limits::stored());
        assert_eq!(item_of(&summary.message_id), Some((0, (7, 0))));
        assert!(String::from_utf8(note).unwrap().contains("7 more messages"));
    }

    #[test]
    fn only_what_is_said_changes_the_digest() {
        let one = state(vec![target(0, 0, "bob@example.net", refused())]);
        let mut later = one.clone();
        if let State::Deferred { next, attempts, .. } = &mut later.targets[0].state {
            *next = next.plus_millis(60_000);
            *attempts += 1;
        }
        assert_ne!(digest(&one).0, digest(&later).0);
        assert_eq!(digest(&one).1, digest(&later).1);
        let waiting = |active| state(vec![target(0, 0, "bob@example.net", State::Waiting { active })]);
        assert_eq!(digest(&waiting(true)), digest(&waiting(false)));
        assert!(waits(&one) && is_held_up(&one) && !is_held_up(&waiting(true)));
        let done = state(vec![target(0, 0, "bob@example.net", State::Settled(Done::Relayed, None))]);
        assert!(!waits(&done));
    }

    #[test]
    fn fields_are_taken_with_their_folds() {
        let header = b"X-To: no\r\nTo : a@b,\r\n\tc@d\r\nTo: second\r\n\r\n";
        assert_eq!(fields(header, "To"), b"To : a@b,\r\n\tc@d\r\n");
        assert_eq!(fields(header, "Cc"), b"");
        assert_eq!(fields(b"To", "To"), b"");
    }
}
