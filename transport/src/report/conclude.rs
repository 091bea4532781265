//! Who is told what: from fates to report items.
//!
//! Laws:
//! - A report goes to the envelope's sender alone, never to a null sender, and never about a report: there is no bounce
//!   of a bounce. A report that cannot be delivered ends in the tracking log (BADMAIL), with a copy for the postmaster
//!   where one is named.
//! - One report for each settling, whatever the number of recipients. It goes into the batch that settles.
//! - NOTIFY is what the sender asked for (RFC 3461 §4.1): without it, failures and delays are told, success is not.

use super::paper::{Original, Paper, Person, Trouble, What};
use crate::categorize::by_home;
use crate::hub::Hub;
use crate::limits::{REPORT_DEFAULT, REPORT_FULL, REPORT_HEADER};
use std::collections::BTreeSet;
use waypost_base::Timestamp;
use waypost_directory::{Address, Recipient, Sender, Snapshot};
use waypost_mime::{Limits, Summary};
use waypost_queue::{
    Accepted, Envelope, Fate, Hop, Kind, Loaded, Local, NewItem, Params, Place, Reason, Route, Target,
};
use waypost_smtp::{BodyKind, Mailbox, Notify, RcptParams, Return, Status};
use waypost_store::{Blob, BlobError};
use waypost_tracking::{Event, EventId, Message, Recipient as Told, Source};

/// The reports that a settling calls for: to be given to [`waypost_queue::Queue::settle`] with it.
pub(crate) async fn conclude(hub: &Hub, loaded: &Loaded, fates: &[(u32, Fate)]) -> Vec<NewItem> {
    if loaded.envelope.from.is_none() || loaded.envelope.kind == Kind::Report {
        return undeliverable(hub, loaded, fates);
    }
    let mut seen = BTreeSet::new();
    let mut people = Vec::new();
    for (index, fate) in fates {
        let Some((_, target)) = loaded.targets.iter().find(|(number, _)| number == index) else { continue };
        // The sender's own copy is no recipient's.
        if target.local.is_some_and(|local| local.place == Place::Sent) {
            continue;
        }
        let Some(accepted) = recipient(&loaded.recipients, target) else { continue };
        let Some(what) = what(hub, loaded, accepted, fate) else { continue };
        if seen.insert((target.of, &target.to)) {
            people.push(person(target, accepted, what));
        }
    }
    report(hub, &loaded.envelope, &loaded.blob, people).await.into_iter().collect()
}

/// The notice that a hop has not got through yet; `next` is the next attempt. `None` when nobody wants it.
pub(crate) async fn delayed(
    hub: &Hub,
    loaded: &Loaded,
    reason: &Reason,
    next: Option<Timestamp>,
) -> Option<NewItem> {
    if loaded.envelope.kind == Kind::Report {
        return None;
    }
    let until = loaded.envelope.expires;
    let mut seen = BTreeSet::new();
    let people = loaded.targets.iter().filter_map(|(_, target)| {
        let accepted = recipient(&loaded.recipients, target)?;
        let wanted = accepted.params.notify.is_none_or(|notify| notify.delay);
        let sent = target.local.is_some_and(|local| local.place == Place::Sent);
        let trouble = trouble(reason, Some(loaded.attempts));
        let what = What::Delayed { trouble, next, until };
        (wanted && !sent && seen.insert((target.of, &target.to))).then(|| person(target, accepted, what))
    });
    let people = people.collect();
    report(hub, &loaded.envelope, &loaded.blob, people).await
}

/// What is to be told when an item is accepted: that its groups were opened, to those who asked for success.
pub(crate) async fn expanded(hub: &Hub, item: &NewItem) -> Option<NewItem> {
    if item.envelope.kind == Kind::Report {
        return None;
    }
    let wanted = item.recipients.iter().filter(|accepted| success(accepted) && is_group(hub, &accepted.to));
    let people: Vec<Person> = wanted
        .map(|accepted| Person {
            to: accepted.to.clone(),
            given: accepted.to.clone(),
            orcpt: accepted.params.orcpt.clone(),
            what: What::Expanded,
        })
        .collect();
    report(hub, &item.envelope, &item.blob, people).await
}

fn recipient<'a>(recipients: &'a [Accepted], target: &Target) -> Option<&'a Accepted> {
    recipients.get(usize::try_from(target.of).ok()?)
}

fn person(target: &Target, accepted: &Accepted, what: What) -> Person {
    Person { to: target.to.clone(), given: accepted.to.clone(), orcpt: accepted.params.orcpt.clone(), what }
}

/// Whether NOTIFY asks to be told of success.
fn success(accepted: &Accepted) -> bool {
    accepted.params.notify.is_some_and(|notify| notify.success)
}

/// Success of a group is told once, when it is opened, and not for each member (RFC 3461 §5.2.7).
fn is_group(hub: &Hub, to: &Mailbox) -> bool {
    let directory = hub.directory.snapshot();
    matches!(directory.resolve(&crate::categorize::text(to)), Recipient::Group(_))
}

/// What the sender is told of a fate, if it wants to be told.
fn what(hub: &Hub, loaded: &Loaded, accepted: &Accepted, fate: &Fate) -> Option<What> {
    match fate {
        Fate::Failed(reason) => {
            let wanted = accepted.params.notify.is_none_or(|notify| notify.failure);
            wanted.then(|| What::Failed(failed(loaded, reason)))
        }
        _ if !success(accepted) => None,
        Fate::Expanded => Some(What::Expanded),
        Fate::Delivered { .. } => (!is_group(hub, &accepted.to)).then_some(What::Delivered),
        Fate::Relayed { dsn: false, server, .. } => {
            (!is_group(hub, &accepted.to)).then(|| What::Relayed { server: server.clone() })
        }
        Fate::Relayed { .. } | Fate::Dropped | Fate::Recalled => None,
    }
}

fn trouble(reason: &Reason, attempts: Option<u32>) -> Trouble {
    Trouble {
        status: reason.status,
        code: reason.code,
        server: reason.server.clone(),
        text: reason.text.clone(),
        expired: false,
        attempts,
    }
}

/// Of what expired, the last attempt's reason is what helps.
fn failed(loaded: &Loaded, reason: &Reason) -> Trouble {
    let Status(_, subject, detail) = reason.status;
    let expired = reason.temporary || (subject, detail) == (4, 7);
    let last = loaded.last_error.as_ref().filter(|_| expired && (subject, detail) == (4, 7));
    Trouble { expired, ..trouble(last.unwrap_or(reason), Some(loaded.attempts)) }
}

/// Writes a report about these people and addresses it to the sender.
async fn report(hub: &Hub, about: &Envelope, blob: &Blob, people: Vec<Person>) -> Option<NewItem> {
    let to = about.from.clone()?;
    if people.is_empty() {
        return None;
    }
    let Some(hops) = way(hub, &to) else {
        tracing::info!(session = %about.session, sender = %to, "no report: the sender cannot be reached");
        track(hub, EventId::BadMail, about, 0, &to, "the sender of the message cannot be reached");
        return None;
    };
    let failed = people.iter().any(|person| matches!(person.what, What::Failed(_)));
    let (original, summary) = original(hub, about, blob, failed).await;
    let now = hub.clock.now();
    let id = hub.queue.next_id();
    let mut paper = Paper {
        host: hub.settings().host.clone(),
        from: sender(hub),
        to: to.clone(),
        id: format!("{id:016x}"),
        now,
        accepted: about.accepted,
        subject: about.subject.clone(),
        message_id: about.message_id.clone(),
        envid: about.params.envid.clone(),
        people,
        original,
    };
    let outside = hops.iter().any(|hop| !matches!(hop.route, Route::Mailbox | Route::Home(_) | Route::Hub));
    let mut written = write(hub, &paper, &summary.references, outside).await;
    if written.is_err() {
        // What is small needs no file: the disk may be full.
        paper.original = Original::Header(Vec::new());
        written = write(hub, &paper, &summary.references, outside).await;
    }
    let blob = match written {
        Ok(blob) => blob,
        // The settling must not wait for it: the tracking log has what the sender would have been told.
        Err(error) => {
            tracing::error!(session = %about.session, %error, "a report could not be written");
            return None;
        }
    };
    let mut envelope = Envelope::new(None, now, about.session);
    envelope.expires = now.plus_millis(hub.queue.plan().expiration_millis);
    envelope.subject = paper.subject();
    envelope.message_id = paper.message_id();
    envelope.headers_from.clone_from(&paper.from);
    envelope.kind = Kind::Report;
    let eight = matches!(&paper.original, Original::Message(bytes) if !bytes.is_ascii());
    let body = if eight || paper.global() { BodyKind::EightBit } else { BodyKind::SevenBit };
    envelope.params = Params { utf8: paper.global(), body, ..Params::default() };
    track(hub, EventId::Dsn, &envelope, id, &to, &about.message_id);
    // About a report nobody is told.
    let never = RcptParams { notify: Some(Notify::default()), ..RcptParams::default() };
    Some(NewItem { id, envelope, blob, recipients: vec![Accepted { to, params: never }], hops })
}

/// As it lies in a mailbox: Return-Path on top, which other servers do not get, then the signatures of what goes out.
async fn write(hub: &Hub, paper: &Paper, references: &[String], outside: bool) -> Result<Blob, BlobError> {
    let text = paper.compose(references);
    let mut head = "Return-Path: <>\r\n".to_owned();
    if outside {
        head.extend(hub.agents.iter().map(|agent| agent.vouch(&text, paper.now)));
    }
    let mut writer = hub.mailboxes.store().blobs().writer();
    writer.write(head.as_bytes()).await?;
    writer.write(&text).await?;
    writer.finish().await
}

/// The way to whoever wrote the message.
fn way(hub: &Hub, to: &Mailbox) -> Option<Vec<Hop>> {
    let directory = hub.directory.snapshot();
    let inbox =
        |account| Target { to: to.clone(), of: 0, local: Some(Local { account, place: Place::Inbox }) };
    let (route, targets) = match directory.resolve(&crate::categorize::text(to)) {
        Recipient::Account { account, .. } => return homes(hub, &directory, vec![inbox(account.id)]),
        Recipient::Group(group) => {
            let members = directory.expand(&group, Sender { account: None, address: None }).accounts;
            return homes(hub, &directory, members.iter().map(|account| inbox(account.id)).collect());
        }
        Recipient::Relay(_) | Recipient::NotOurs => {
            let domain = match Address::parse(&to.to_string()) {
                Ok(address) => address.domain().to_owned(),
                // An address literal is no name.
                Err(_) if to.domain.starts_with('[') => to.domain.to_ascii_lowercase(),
                Err(_) => return None,
            };
            let route = if hub.is_transport() { Route::Domain(domain) } else { Route::Hub };
            (route, vec![Target { to: to.clone(), of: 0, local: None }])
        }
        Recipient::Disabled(_) | Recipient::Unknown | Recipient::Malformed(_) => return None,
    };
    (!targets.is_empty()).then(|| vec![Hop { number: 0, route, targets }])
}

fn homes(hub: &Hub, directory: &Snapshot, targets: Vec<Target>) -> Option<Vec<Hop>> {
    let ways = by_home(directory, targets);
    if !hub.is_transport() && ways.keys().any(|route| *route != Route::Mailbox) {
        let to = ways.into_values().flatten().map(|target| target.to).next();
        return to.map(|to| crate::categorize::to_hub([to]));
    }
    let hop = |(number, (route, targets))| Hop { number, route, targets };
    (!ways.is_empty()).then(|| (0..).zip(ways).map(hop).collect())
}

/// What is returned of the message itself: the whole of a failed one where that was asked for, or where it is small and
/// was written here; else its header.
async fn original(hub: &Hub, about: &Envelope, blob: &Blob, failed: bool) -> (Original, Summary) {
    let most = match about.params.ret {
        Some(Return::Full) => REPORT_FULL,
        None if about.owner.is_some() => REPORT_DEFAULT,
        _ => 0,
    };
    let whole = failed && blob.size <= most;
    let end = if whole { blob.size } else { blob.size.min(REPORT_HEADER) };
    let bytes = hub.mailboxes.store().blobs().read(blob, 0..end).await;
    let bytes = bytes.map(|bytes| bytes.to_vec()).unwrap_or_default();
    let header = header(&bytes);
    let summary = waypost_mime::scan(header, Limits::stored());
    if whole && is_mail(&bytes) {
        return (Original::Message(bytes), summary);
    }
    let header = header.to_vec();
    (Original::Header(header), summary)
}

/// The header with the empty line behind it; all of it where there is none.
pub(crate) fn header(message: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    message.get(..end).unwrap_or(message)
}

/// Lines that SMTP takes without BINARYMIME.
fn is_mail(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && !bytes.contains(&0)
        && bytes.split(|byte| *byte == b'\n').all(|line| {
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            text.len() <= 998 && !text.contains(&b'\r')
        })
}

/// A report, or other mail without a sender, that failed: nobody is told but the tracking log, and the postmaster where
/// one is named.
fn undeliverable(hub: &Hub, loaded: &Loaded, fates: &[(u32, Fate)]) -> Vec<NewItem> {
    let failed: Vec<&Target> = fates
        .iter()
        .filter(|(_, fate)| matches!(fate, Fate::Failed(_)))
        .filter_map(|(index, _)| loaded.targets.iter().find(|(number, _)| number == index))
        .map(|(_, target)| target)
        .collect();
    let Some(first) = failed.first() else { return Vec::new() };
    track(hub, EventId::BadMail, &loaded.envelope, 0, &first.to, "mail without a sender is not returned");
    let copy = postmaster(hub).filter(|to| failed.iter().all(|target| target.to != *to));
    let Some((to, hops)) = copy.and_then(|to| way(hub, &to).map(|hops| (to, hops))) else {
        return Vec::new();
    };
    let mut envelope = loaded.envelope.clone();
    let now = hub.clock.now();
    envelope.kind = Kind::Report;
    envelope.expires = now.plus_millis(hub.queue.plan().expiration_millis);
    let never = RcptParams { notify: Some(Notify::default()), ..RcptParams::default() };
    let recipients = vec![Accepted { to, params: never }];
    vec![NewItem { id: hub.queue.next_id(), envelope, blob: loaded.blob.clone(), recipients, hops }]
}

/// Whom a report is from: the postmaster, whose address is answered by a person.
fn sender(hub: &Hub) -> String {
    let settings = hub.settings();
    if let Some(postmaster) = &settings.postmaster {
        return postmaster.clone();
    }
    let directory = hub.directory.snapshot();
    let domain = directory.default_domain().map(|domain| format!("postmaster@{}", domain.name));
    domain.unwrap_or_else(|| format!("MAILER-DAEMON@{}", settings.host))
}

fn postmaster(hub: &Hub) -> Option<Mailbox> {
    Mailbox::parse(hub.settings().postmaster.as_deref()?)
}

/// DSN: `reference` is the Message-ID of what is reported on. BADMAIL: it is the reason.
fn track(hub: &Hub, event: EventId, about: &Envelope, item: u64, to: &Mailbox, reference: &str) {
    let Some(sink) = &hub.tracking else { return };
    let from = about.from.as_ref().map(ToString::to_string).unwrap_or_default();
    let message = Message {
        item,
        message_id: &about.message_id,
        subject: &about.subject,
        sender: &about.headers_from,
        return_path: &from,
        originating: true,
        ..Message::default()
    };
    let to = to.to_string();
    let recipients = [Told::new(&to, "")];
    let line = Event::of(hub.clock.now(), &message, Source::Dsn, event).to(&recipients);
    sink.track(&if event == EventId::Dsn { line.reference(reference) } else { line.context(reference) });
}
