//! May they, is it ours, is there room: the answers to MAIL, RCPT, VRFY, and to the wish to send data.

use super::driver::{Conn, Message, Recipient};
use super::intake::{Completion, Intake};
use super::trace::Trace;
use crate::categorize::{self, Route, Why};
use crate::queue::Accepted;
use std::sync::Arc;
use tokio::time::Instant;
use waypost_base::AccountId;
use waypost_directory::{Account, Address, Recipient as Known, Refused, Right, Snapshot};
use waypost_mailbox::AccountError;
use waypost_smtp::{Answer, MailParams, Mailbox, RcptParams, Reply, Status};
use waypost_store::{BlobError, Health};

pub(super) const DISK_FULL: Reply =
    Reply::new(452, Status(4, 3, 1), "Insufficient system storage, please try again later");
pub(super) const STORE_DOWN: Reply =
    Reply::new(451, Status(4, 3, 0), "Mail storage is unavailable, please try again later");
const NOT_YOURS: Reply = Reply::new(550, Status(5, 7, 60), "You may not send as this address");
const RELAYING: Reply = Reply::new(550, Status(5, 7, 1), "Relaying denied: this address is not ours");
const NO_QUEUE: Reply = Reply::new(
    451,
    Status(4, 4, 0),
    "Mail to other domains cannot be sent yet: this server has no outbound queue",
);
const MEMBERS_ELSEWHERE: Reply = Reply::new(
    451,
    Status(4, 4, 0),
    "This group has members in other domains, and mail to other domains cannot be sent yet",
);

impl Conn {
    /// MAIL: back pressure, and whether the sender is the sender.
    pub(super) async fn mail(&mut self, from: Option<Mailbox>, params: MailParams) -> Answer {
        let begun = Instant::now();
        if let Some(reply) = unwell(&self.service.hub.mailboxes.store().health()) {
            return Answer::Refuse(reply);
        }
        let directory = self.service.hub.directory.snapshot();
        let address = from.as_ref().and_then(|from| Address::parse(&from.to_string()).ok());
        if self.service.kind.is_submission()
            && let Some(refusal) = self.not_theirs(&directory, from.as_ref(), params.size)
        {
            return Answer::Refuse(refusal);
        }
        self.messages += 1;
        let id = format!("{}-{}", self.correlation, self.messages);
        let mut message = Message::new(id, from, address, params, self.leg());
        message.leg.step("mail", crate::deliver::micros(begun), None);
        self.message = Some(Box::new(message));
        Answer::Ok
    }

    /// Why a signed-in user may not send this.
    fn not_theirs(&self, directory: &Snapshot, from: Option<&Mailbox>, size: u64) -> Option<Reply> {
        let Some(me) = self.identity.as_ref().map(|i| i.account) else { return Some(NOT_YOURS) };
        if let Some(from) = from
            && !may_send_as(directory, me, &from.to_string())
        {
            return Some(NOT_YOURS);
        }
        let limit = directory.account(me).and_then(|account| account.limits.send_bytes.or(None));
        limit.filter(|limit| size > *limit).map(too_large_to_send)
    }

    /// RCPT: is it ours, is there room.
    pub(super) async fn rcpt(&mut self, to: Mailbox, params: RcptParams) -> Answer {
        let begun = Instant::now();
        let answer = self.recipient(to, params).await;
        if let Some(message) = &mut self.message {
            message.rcpt_micros += crate::deliver::micros(begun);
        }
        if matches!(answer, Answer::Refuse(_)) {
            self.service.hub.metrics.recipients_refused.one();
        }
        answer
    }

    async fn recipient(&mut self, to: Mailbox, params: RcptParams) -> Answer {
        let directory = self.service.hub.directory.snapshot();
        let me = self.identity.as_ref().map(|i| i.account);
        let Some(message) = &self.message else { return Answer::Refuse(STORE_DOWN) };
        if let Some(limit) =
            me.and_then(|me| directory.account(me)).and_then(|account| account.limits.recipients.or(None))
            && message.recipients.len() as u64 >= limit
        {
            return Answer::Refuse(Reply::new(
                452,
                Status(4, 5, 3),
                "You may not send to more recipients at once",
            ));
        }
        let route = categorize::route(&directory, &categorize::text(&to), me, message.address.as_ref());
        let refusal = match &route {
            Route::Not(why) => Some(self.refusal(why)),
            Route::Account(account) => self.no_room(account, message.params.size).await,
            Route::Group { .. } => None,
        };
        if let Some(reply) = refusal {
            return Answer::Refuse(reply);
        }
        if let Some(message) = &mut self.message {
            message.recipients.push(Recipient { accepted: Accepted { to, params }, route });
        }
        Answer::Ok
    }

    fn refusal(&self, why: &Why) -> Reply {
        match why {
            Why::Unknown => Reply::new(550, Status(5, 1, 1), "No such recipient here"),
            Why::Disabled => Reply::new(550, Status(5, 2, 1), "This mailbox is disabled"),
            Why::Malformed => Reply::new(501, Status(5, 1, 3), "Bad recipient address"),
            Why::Elsewhere if self.identity.is_some() => NO_QUEUE,
            Why::Elsewhere => RELAYING,
            Why::Group(Refused::NeedsAuthentication) => {
                Reply::new(550, Status(5, 7, 1), "This group takes mail from authenticated senders only")
            }
            Why::Group(Refused::NotOnList | Refused::OnRejectList) => {
                Reply::new(550, Status(5, 7, 1), "You may not send to this group")
            }
            Why::MembersElsewhere => MEMBERS_ELSEWHERE,
            Why::NobodyThere => Reply::new(550, Status(5, 2, 4), "Nobody in this group can take mail"),
        }
    }

    /// Quota and size of a recipient, as far as they can be told before the message has come.
    async fn no_room(&mut self, account: &Arc<Account>, size: u64) -> Option<Reply> {
        if account.limits.receive_bytes.or(None).is_some_and(|limit| size > limit) {
            return Some(Reply::new(
                552,
                Status(5, 3, 4),
                "This recipient does not take messages that large",
            ));
        }
        match self.service.hub.mailbox(account.id).await {
            Ok(mailbox) if mailbox.usage().would_exceed(1, size) => Some(self.over_quota()),
            Ok(_) => None,
            // The directory has it and the store does not: it is being removed, or we are broken.
            Err(AccountError::NoAccount(_)) => {
                Some(Reply::new(550, Status(5, 1, 1), "No such recipient here"))
            }
            Err(e) => {
                tracing::error!(account = %account.id, session = %self.correlation, error = %e,
                    "mailbox cannot be opened");
                Some(STORE_DOWN)
            }
        }
    }

    pub(super) fn over_quota(&self) -> Reply {
        if self.service.hub.settings().over_quota_is_temporary {
            Reply::new(452, Status(4, 2, 2), "This mailbox is full")
        } else {
            Reply::new(552, Status(5, 2, 2), "This mailbox is full")
        }
    }

    /// The message is about to come: the trace goes before it.
    pub(super) async fn begin(&mut self) -> Answer {
        let hub = self.service.hub.clone();
        if let Some(reply) = unwell(&hub.mailboxes.store().health()) {
            return Answer::Refuse(reply);
        }
        let at = hub.clock.now();
        let Some(message) = &mut self.message else { return Answer::Refuse(STORE_DOWN) };
        let micros = std::mem::take(&mut message.rcpt_micros);
        let note = format!("{} recipients", message.recipients.len());
        message.leg.step("rcpt", micros, Some(note));
        let (helo, extended) = self.session.helo().unwrap_or_default();
        let only = match message.recipients.as_slice() {
            [one] => Some(&one.accepted.to),
            _ => None,
        };
        let trace = Trace {
            helo,
            extended,
            lmtp: self.service.kind == super::Kind::Lmtp,
            utf8: message.params.utf8,
            signed_in: self.identity.is_some(),
            peer: self.peer.ip(),
            host: &hub.settings().host,
            tls: self.tls.as_ref(),
            id: &message.id,
            recipient: only,
            from: message.from.as_ref(),
            at,
        };
        let trace = trace.render();
        let completion =
            self.identity.as_ref().filter(|_| self.service.kind.is_submission()).map(|me| Completion {
                sender: message.from.as_ref().map_or_else(|| me.address.clone(), ToString::to_string),
                id: format!("{}.{}", at.as_millis(), message.id),
                host: hub.settings().host.clone(),
                at,
            });
        match Intake::begin(hub.mailboxes.writer(), &trace, completion).await {
            Ok(intake) => {
                message.accepted = at;
                message.intake = Some(intake);
                message.data_begun = Instant::now();
                Answer::Ok
            }
            Err(e) => Answer::Refuse(blob_failed(&e)),
        }
    }

    /// VRFY tells our own people; strangers get the session's 252.
    pub(super) fn verify(&self, name: &str) -> Answer {
        if self.identity.is_none() {
            return Answer::Ok;
        }
        let name = name.trim_matches(['<', '>']);
        let found = match self.service.hub.directory.resolve(name) {
            Known::Account { account, .. } => format!("{} <{}>", account.display_name, account.primary),
            Known::Group(group) => format!("{} <{}>", group.display_name, group.primary),
            Known::Unknown | Known::Malformed(_) => {
                return Answer::Refuse(Reply::new(550, Status(5, 1, 1), "No such recipient here"));
            }
            _ => return Answer::Ok,
        };
        if found.is_ascii() { Answer::Accept(Reply::with(250, Status(2, 1, 5), found)) } else { Answer::Ok }
    }
}

/// Back pressure: nothing is begun that cannot be finished.
fn unwell(health: &Health) -> Option<Reply> {
    if health.writable() {
        None
    } else if health.full.is_some() && health.read_only.is_none() {
        Some(DISK_FULL)
    } else {
        Some(STORE_DOWN)
    }
}

pub(super) fn blob_failed(e: &BlobError) -> Reply {
    match e {
        BlobError::TooLarge => Reply::new(552, Status(5, 3, 4), "Message is too large"),
        BlobError::Full(_) | BlobError::Commit(waypost_store::CommitError::Full(_)) => DISK_FULL,
        _ => STORE_DOWN,
    }
}

pub(super) fn too_large_to_send(limit: u64) -> Reply {
    Reply::with(552, Status(5, 3, 4), format!("You may not send messages larger than {limit} octets"))
}

/// Whether an account may have this address in MAIL FROM: its own, or one that it was given the right to.
fn may_send_as(directory: &Snapshot, me: AccountId, from: &str) -> bool {
    match directory.resolve(from) {
        Known::Account { account, how, .. } => {
            let reached_by_name = how != waypost_directory::How::CatchAll;
            reached_by_name
                && (account.id == me
                    || account.permits(me, Right::SendAs)
                    || account.permits(me, Right::SendOnBehalf))
        }
        _ => false,
    }
}
