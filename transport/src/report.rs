//! Delivery status notifications (RFC 3464, RFC 6533) to senders of ours.
//!
//! Wanted by NOTIFY (RFC 3461): success when it asked for that, failure unless it forbade that. A report on a null
//! sender's message is never made. Senders elsewhere have to wait for the outbound queue; the log says so.

use crate::categorize::Target;
use crate::deliver::{self, Job};
use crate::hub::Hub;
use crate::limits::{REPORT_FULL, REPORT_HEADER};
use crate::queue::Accepted;
use std::fmt::Write;
use waypost_base::Timestamp;
use waypost_base::id::Correlation;
use waypost_directory::Recipient;
use waypost_mailbox::Content;
use waypost_smtp::{Mailbox, Notify, Return, xtext};

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
    let text = compose(&hub.settings().host, from, about, now, &fates, content, original);
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
enum Original {
    Message(Vec<u8>),
    Header(Vec<u8>),
}

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

fn compose(
    host: &str,
    to: &Mailbox,
    about: About<'_>,
    now: Timestamp,
    fates: &[&(&Accepted, Fate)],
    content: &Content,
    original: Original,
) -> Vec<u8> {
    let failed = fates.iter().any(|(_, fate)| matches!(fate, Fate::Failed(_)));
    let global = fates.iter().any(|(recipient, _)| recipient.to.is_international());
    let boundary =
        format!("=_{}_{}", content.blob.id.to_string().get(..24).unwrap_or_default(), now.as_millis());
    let mut out = String::with_capacity(2048);
    let subject = if failed { "Undeliverable" } else { "Delivered" };
    let date = now.civil().rfc5322();
    let kind = if global { "message/global-delivery-status" } else { "message/delivery-status" };
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "Return-Path: <>\r\nFrom: Mail Delivery System <MAILER-DAEMON@{host}>\r\nTo: <{to}>\r\n\
         Subject: {subject}: your message\r\nDate: {date}\r\nMessage-ID: <{}.{}.report@{host}>\r\n\
         MIME-Version: 1.0\r\nAuto-Submitted: auto-replied\r\n",
        now.as_millis(),
        about.session,
    );
    if !content.summary.message_id.is_empty() {
        let _ = write!(out, "In-Reply-To: <{}>\r\n", content.summary.message_id);
    }
    let _ = write!(
        out,
        "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    );
    for (recipient, fate) in fates {
        let _ = match fate {
            Fate::Delivered => write!(out, "<{}>: delivered to the mailbox.\r\n", recipient.to),
            Fate::Expanded => write!(out, "<{}>: delivered to the members of the group.\r\n", recipient.to),
            Fate::Failed(why) => write!(out, "<{}>: not delivered: {}\r\n", recipient.to, one_line(why)),
        };
    }
    let _ = write!(out, "\r\n--{boundary}\r\nContent-Type: {kind}\r\n");
    if global {
        out.push_str("Content-Transfer-Encoding: 8bit\r\n");
    }
    let _ = write!(out, "\r\nReporting-MTA: dns; {host}\r\n");
    if let Some(envid) = about.envid {
        let _ = write!(out, "Original-Envelope-Id: {}\r\n", xtext::encode(envid));
    }
    let _ = write!(out, "Arrival-Date: {}\r\n", about.accepted.civil().rfc5322());
    for (recipient, fate) in fates {
        status(&mut out, recipient, fate, &date);
    }
    let (kind, bytes) = match &original {
        Original::Message(bytes) => (if global { "message/global" } else { "message/rfc822" }, bytes),
        Original::Header(bytes) => {
            (if global { "message/global-headers" } else { "text/rfc822-headers" }, bytes)
        }
    };
    let encoding = if bytes.is_ascii() { "7bit" } else { "8bit" };
    let _ = write!(
        out,
        "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    let mut out = out.into_bytes();
    out.extend_from_slice(bytes);
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

/// The fields about one recipient (RFC 3464 §2.3).
fn status(out: &mut String, recipient: &Accepted, fate: &Fate, date: &str) {
    let kind = if recipient.to.is_international() { "utf-8" } else { "rfc822" };
    out.push_str("\r\n");
    if let Some(original) = &recipient.params.orcpt {
        let _ = write!(out, "Original-Recipient: {}; {}\r\n", original.kind, one_line(&original.address));
    }
    let (action, code) = match fate {
        Fate::Delivered => ("delivered", "2.1.5"),
        Fate::Expanded => ("expanded", "2.1.5"),
        Fate::Failed(_) => ("failed", "5.2.0"),
    };
    let _ =
        write!(out, "Final-Recipient: {kind}; {}\r\nAction: {action}\r\nStatus: {code}\r\n", recipient.to);
    if let Fate::Failed(why) = fate {
        let _ = write!(out, "Diagnostic-Code: x-waypost; {}\r\n", one_line(why));
    }
    let _ = write!(out, "Last-Attempt-Date: {date}\r\n");
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
