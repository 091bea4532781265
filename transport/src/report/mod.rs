//! Delivery status notifications (RFC 3461, RFC 3464, RFC 6533).
//!
//! [`conclude`] says who is told what when a hop is settled, [`delayed`] when it waits long, [`expanded`] when a group was
//! opened. They answer queue items, which go into the same batch as the settling: each report exists once. [`paper`]
//! writes them, [`advice`] knows what a refusal means to a person, and [`reported`] recognises other servers' reports.

use crate::categorize::Target;
use crate::deliver::{self, Job};
use crate::hub::Hub;
use crate::limits::{REPORT_FULL, REPORT_HEADER};
use crate::queue::Accepted;
use paper::{Original, Paper, Person, Trouble, What};
use waypost_base::Timestamp;
use waypost_base::id::Correlation;
use waypost_directory::Recipient;
use waypost_mailbox::Content;
use waypost_smtp::{Mailbox, Notify, Return, Status};

mod advice;
mod conclude;
mod incoming;
pub(crate) mod paper;
pub(crate) mod words;

pub(crate) use conclude::{conclude, delayed, expanded};
pub(crate) use incoming::reported;

/// What became of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    /// It is a group, whose members have it now.
    Expanded,
    Failed(String),
}

/// The message that is reported on.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) from: Option<&'a Mailbox>,
    pub(crate) envid: Option<&'a str>,
    pub(crate) ret: Option<Return>,
    pub(crate) accepted: Timestamp,
    pub(crate) session: Correlation,
}

/// Whether NOTIFY asks to be told of success.
pub(crate) fn wants_success(recipient: &Accepted) -> bool {
    recipient.params.notify.is_some_and(|notify| notify.success)
}

fn wanted(recipient: &Accepted, fate: &Fate) -> bool {
    match fate {
        Fate::Delivered | Fate::Expanded => wants_success(recipient),
        Fate::Failed(_) => {
            recipient.params.notify.unwrap_or(Notify { failure: true, ..Notify::default() }).failure
        }
    }
}

fn person(recipient: &Accepted, fate: &Fate) -> Person {
    let what = match fate {
        Fate::Delivered => What::Delivered,
        Fate::Expanded => What::Expanded,
        Fate::Failed(why) => What::Failed(Trouble {
            status: Status(5, 2, 0),
            code: None,
            server: None,
            text: why.clone(),
            expired: false,
            attempts: None,
        }),
    };
    let to = recipient.to.clone();
    Person { given: to.clone(), to, orcpt: recipient.params.orcpt.clone(), what }
}

/// Tells the sender what it wants to know. With a token, the same report is delivered once.
pub(crate) async fn send(
    hub: &Hub,
    about: About<'_>,
    content: &Content,
    fates: &[(&Accepted, Fate)],
    token: Option<[u8; 16]>,
) {
    let fates: Vec<_> = fates.iter().filter(|(recipient, fate)| wanted(recipient, fate)).collect();
    let Some(from) = about.from.filter(|_| !fates.is_empty()) else { return };
    let Recipient::Account { account, .. } = hub.directory.resolve(&from.to_string()) else {
        tracing::info!(session = %about.session, sender = %from, "no report: the sender is in another domain");
        return;
    };
    let now = hub.clock.now();
    let original =
        original(hub, content, about.ret, fates.iter().any(|(_, f)| matches!(f, Fate::Failed(_)))).await;
    let paper = Paper {
        host: hub.settings().host.clone(),
        to: from.clone(),
        id: format!("{}.{}", now.as_millis(), about.session),
        now,
        accepted: about.accepted,
        subject: content.summary.subject.clone(),
        message_id: content.summary.message_id.clone(),
        envid: about.envid.map(str::to_owned),
        people: fates.iter().map(|(recipient, fate)| person(recipient, fate)).collect(),
        original,
    };
    let mut text = b"Return-Path: <>\r\n".to_vec();
    text.extend_from_slice(&paper.compose(&content.summary.references));
    let mut writer = hub.mailboxes.writer();
    let report = match writer.write(&text).await {
        Ok(()) => writer.finish().await,
        Err(e) => Err(e),
    };
    let content = match report {
        Ok(content) => content,
        Err(e) => {
            tracing::warn!(session = %about.session, error = %e, "report not written");
            return;
        }
    };
    let job = Job {
        target: Target::inbox(account.id),
        content,
        accepted: now,
        session: about.session,
        token,
        ignore_quota: true,
    };
    if let Err(e) = deliver::deliver(hub, job).await {
        tracing::warn!(session = %about.session, error = %e, "report not delivered");
    }
}

/// What is returned of the message itself: the whole of a failed one where that was asked for and is not too large,
/// else its header.
async fn original(hub: &Hub, content: &Content, ret: Option<Return>, failed: bool) -> Original {
    let blobs = hub.mailboxes.store().blobs();
    let whole = failed && ret == Some(Return::Full) && content.blob.size <= REPORT_FULL;
    let end = match content.summary.parts.first() {
        _ if whole => content.blob.size,
        Some(part) => part.header.end.min(REPORT_HEADER),
        None => 0,
    };
    let bytes = blobs.read(&content.blob, 0..end).await.map(|bytes| bytes.to_vec()).unwrap_or_default();
    if whole && !bytes.is_empty() { Original::Message(bytes) } else { Original::Header(bytes) }
}
