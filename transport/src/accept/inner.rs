//! Mail from other servers of the organisation, over inner legs: whole messages for a hub, and messages for accounts that
//! are here.
//!
//! What the other server says of a message is believed, for it is one of ours: who submitted it, when it was accepted, by
//! whom it was brought. Whatever is made durable of it is made so under the name of its delivery, so that a message that is
//! handed over again (a crash, a lost answer) is there once.

use super::Kind;
use super::driver::{Conn, Message, Recipient};
use super::policy::{NO_RECIPIENT, STORE_DOWN};
use crate::categorize::Meaning;
use crate::send::inside::{self, Told};
use waypost_base::AccountId;
use waypost_mailbox::AccountError;
use waypost_queue::{Accepted, Place};
use waypost_smtp::{Answer, MailParams, Mailbox, RcptParams, Reply, Status};

const NOT_TOLD: Reply = Reply::new(501, Status(5, 5, 4), "XWAYPOST is missing, or cannot be read");
/// The peer asks again at once, when the move is over.
pub(super) const MOVING: Reply =
    Reply::new(451, Status(4, 2, 1), "This mailbox is on its way to another server");

pub(super) fn moved(home: &str) -> Reply {
    Reply::with(451, Status(4, 1, 6), format!("This mailbox is on {home}"))
}

impl Conn {
    /// What the peer says of a message, if it is a server of ours; then it must say it.
    pub(super) fn told(&self, params: &MailParams) -> Result<Option<Told>, Reply> {
        if !self.service.kind.is_inner() {
            return Ok(None);
        }
        params.inner.as_deref().and_then(Told::parse).map(Some).ok_or(NOT_TOLD)
    }

    /// The account that submitted a message, here or at another server, and its address.
    pub(super) fn author(&self, message: Option<&Message>) -> Option<(AccountId, String)> {
        if let Some(identity) = &self.identity {
            return Some((identity.account, identity.address.clone()));
        }
        let owner = message?.told.as_ref()?.owner?;
        let directory = self.service.hub.directory.snapshot();
        Some((owner, directory.account(owner).map(|a| a.primary.to_string()).unwrap_or_default()))
    }

    /// Agents look at messages where these are brought on their way: neither before nor after.
    pub(super) fn shows_agents(&self) -> bool {
        let hub = &self.service.hub;
        !hub.agents.is_empty() && self.service.kind != Kind::Delivery && hub.is_transport()
    }

    /// Some of them want to be asked before the message.
    pub(super) fn staged(&self) -> bool {
        self.service.hub.staged() && self.shows_agents()
    }

    /// RCPT of a hub: an account by its number, and a place in it.
    pub(super) async fn for_account(&mut self, to: Mailbox, params: RcptParams) -> Answer {
        let hub = self.service.hub.clone();
        let directory = hub.directory.snapshot();
        let Some(local) = params.inner.as_deref().and_then(inside::parse_recipient) else {
            return Answer::Refuse(NOT_TOLD);
        };
        let Some(account) = directory.account(local.account).cloned() else {
            return Answer::Refuse(NO_RECIPIENT);
        };
        if !directory.is_here(&account) {
            return Answer::Refuse(moved(directory.home_of(&account)));
        }
        match hub.mailbox_of(&account).await {
            Ok(mailbox) if mailbox.is_frozen() => return Answer::Refuse(MOVING),
            Ok(_) => {}
            Err(AccountError::Elsewhere(_)) => return Answer::Refuse(MOVING),
            Err(e) => {
                tracing::error!(account = %account.id, session = %self.correlation, error = %e,
                    "mailbox cannot be opened");
                return Answer::Refuse(STORE_DOWN);
            }
        }
        let size = self.message.as_ref().map_or(0, |message| message.params.size);
        if local.place != Place::Sent
            && let Some(reply) = self.no_room(&account, size).await
        {
            return Answer::Refuse(reply);
        }
        if let Some(message) = &mut self.message {
            let accepted = Accepted { to, params };
            message.recipients.push(Recipient {
                accepted,
                meaning: Meaning::Account(account),
                place: Some(local.place),
            });
        }
        Answer::Ok
    }
}
