//! May they, is it ours, is there room: the answers to MAIL, RCPT, VRFY, and to the wish to send data.

use super::Kind;
use super::authorship::{Author, NOT_YOURS, Use, may_use};
use super::driver::{Conn, Message, Recipient};
use super::intake::{Completion, Intake};
use super::trace::Trace;
use crate::agent::{About, Verdict};
use crate::categorize::{self, Meaning, Why};
use crate::draft::Drafting;
use crate::hub::Hub;
use crate::state::ComponentState;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use waypost_base::AccountId;
use waypost_directory::limits::EXPANSION_MAX;
use waypost_directory::{Account, Address, DomainKind, Recipient as Known, Refused, Sender, Snapshot};
use waypost_mailbox::AccountError;
use waypost_queue::Accepted;
use waypost_queue::pressure::{Answer as Pressed, Origin};
use waypost_smtp::{Answer, BodyKind, MailParams, Mailbox, RcptParams, Reply, Status};
use waypost_store::{BlobError, Health};

pub(super) const DISK_FULL: Reply =
    Reply::new(452, Status(4, 3, 1), "Insufficient system storage, please try again later");
pub(super) const STORE_DOWN: Reply =
    Reply::new(451, Status(4, 3, 0), "Mail storage is unavailable, please try again later");
const RELAYING: Reply = Reply::new(550, Status(5, 7, 1), "Unable to relay recipient in non-accepted domain");
const NOT_AUTHENTICATED: Reply =
    Reply::new(530, Status(5, 7, 1), "Client was not authenticated to send mail");
const NO_MORE: Reply = Reply::new(535, Status(5, 7, 1), "This account may not send any more");
const IMPOSTOR: Reply =
    Reply::new(550, Status(5, 7, 1), "Mail from addresses of this organisation needs signing in");
const TOO_FAST: Reply = Reply::new(
    451,
    Status(4, 4, 2),
    "Message submission rate for this client has exceeded the configured limit",
);
pub(super) const NO_RECIPIENT: Reply = Reply::new(550, Status(5, 1, 1), "No such recipient here");
const TOO_MANY_REACHED: Reply =
    Reply::new(452, Status(4, 5, 3), "These groups reach too many recipients for one message");

impl Conn {
    /// MAIL: back pressure, and whether the sender is the sender.
    pub(super) async fn mail(&mut self, from: Option<Mailbox>, params: MailParams) -> Answer {
        let begun = Instant::now();
        if let Some(reply) = self.not_now().await {
            return Answer::Refuse(reply);
        }
        let told = match self.told(&params) {
            Ok(told) => told,
            Err(reply) => return Answer::Refuse(reply),
        };
        let directory = self.service.hub.directory.snapshot();
        let address = from.as_ref().and_then(|from| Address::parse(&from.to_string()).ok());
        let refusal = match self.identity.as_ref().map(|i| i.account) {
            Some(me) => self.not_theirs(&directory, me, from.as_ref(), params.size).await,
            None => self.not_from_strangers(&directory, address.as_ref()),
        };
        if let Some(refusal) = refusal {
            return Answer::Refuse(refusal);
        }
        self.messages += 1;
        let id = format!("{}-{}", self.correlation, self.messages);
        let mut message = Message::new(id, from, address, params, self.leg());
        message.told = told;
        if let Some(reply) = self.agents_at_mail(&message).await {
            return Answer::Refuse(reply);
        }
        message.leg.step("mail", crate::deliver::micros(begun), None);
        self.message = Some(Box::new(message));
        Answer::Ok
    }

    /// Nothing is begun that cannot be finished.
    async fn not_now(&mut self) -> Option<Reply> {
        let hub = self.service.hub.clone();
        match hub.state() {
            // Accounts take their mail whether or not this server is a hub now.
            _ if self.service.kind == Kind::Delivery => {}
            ComponentState::Active => {}
            ComponentState::Draining => {
                return Some(Reply::new(
                    421,
                    Status(4, 3, 2),
                    "The server is draining, please try another one",
                ));
            }
            ComponentState::Inactive => {
                let text = "The server is out of service, please try another one";
                return Some(Reply::new(421, Status(4, 3, 2), text));
            }
        }
        if let Some(reply) = unwell(&hub.mailboxes.store().health()) {
            return Some(reply);
        }
        let origin = match &self.identity {
            Some(_) => Origin::Submission,
            None if self.is_trusted() => Origin::Server,
            None => Origin::Outside,
        };
        match hub.pressed(origin) {
            Pressed::Take => {}
            Pressed::Slow { millis, .. } => tokio::time::sleep(Duration::from_millis(millis)).await,
            Pressed::Refuse { reply, .. } => return Some(reply),
        }
        if self.gate.rate > 0 && !hub.within_rate(self.peer.ip().to_canonical(), self.gate.rate) {
            return Some(TOO_FAST);
        }
        None
    }

    /// Why a signed-in user may not send this.
    async fn not_theirs(
        &mut self,
        directory: &Snapshot,
        me: AccountId,
        from: Option<&Mailbox>,
        size: u64,
    ) -> Option<Reply> {
        let settings = self.settings.clone();
        if let Some(from) = from
            && !settings.any_header_from
            && may_use(directory, me, &from.to_string()) == Use::Not
        {
            return Some(NOT_YOURS);
        }
        // Who signed in may have been switched off or removed since.
        let Some(account) = directory.account(me).filter(|account| account.enabled) else {
            return Some(NO_MORE);
        };
        if let Some(limit) = account.limits.send_bytes.or(settings.max_send).filter(|limit| size > *limit) {
            return Some(too_large_to_send(limit));
        }
        let quota = account.quotas.prohibit_send.or(settings.prohibit_send)?;
        let mailbox = self.service.hub.mailbox(me).await.ok()?;
        let text = "Your mailbox is full: delete something before you send";
        (mailbox.usage().bytes >= quota).then_some(Reply::new(552, Status(5, 2, 2), text))
    }

    /// Why somebody who has not signed in may not send this.
    fn not_from_strangers(&self, directory: &Snapshot, from: Option<&Address>) -> Option<Reply> {
        let may = self.gate.permissions;
        if self.is_trusted() {
            return None;
        }
        if !may.anonymous && !may.relay {
            return Some(NOT_AUTHENTICATED);
        }
        let claims = |from: &Address| {
            let domain = directory.domain(from.domain());
            domain.is_some_and(|domain| domain.kind == DomainKind::Authoritative)
        };
        let refuse = self.settings.refuse_own_senders_from_outside && !may.relay;
        (refuse && from.is_some_and(claims)).then_some(IMPOSTOR)
    }

    async fn agents_at_mail(&mut self, message: &Message) -> Option<Reply> {
        let hub = self.service.hub.clone();
        if !self.staged() {
            return None;
        }
        let about = self.about(Some(message));
        for agent in hub.agents.iter().filter(|agent| agent.stages().mail) {
            if let Verdict::Reject(reply) | Verdict::Defer(reply) = agent.mail(&about).await {
                return Some(reply);
            }
        }
        None
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
        if self.service.kind == Kind::Delivery {
            return self.for_account(to, params).await;
        }
        let hub = self.service.hub.clone();
        let directory = hub.directory.snapshot();
        let Some(message) = &self.message else { return Answer::Refuse(STORE_DOWN) };
        let account = self.identity.as_ref().and_then(|i| directory.account(i.account));
        if let Some(limit) = account.and_then(|a| a.limits.recipients.or(self.settings.max_recipients))
            && message.recipients.len() as u64 >= limit
        {
            return Answer::Refuse(Reply::new(
                452,
                Status(4, 5, 3),
                "You may not send to more recipients at once",
            ));
        }
        let sender = self.sender(&directory, message);
        let meaning = categorize::meaning(&directory, &to, sender);
        let reach = message.reach.saturating_add(meaning.reach());
        let size = message.params.size;
        let about = self.staged().then(|| self.about(Some(message)));
        let refusal = match &meaning {
            Meaning::Not(why) => Some(refusal(why)),
            Meaning::Elsewhere(_) if !self.may_relay() => Some(RELAYING),
            _ if reach > EXPANSION_MAX => Some(TOO_MANY_REACHED),
            Meaning::Account(account) => self.no_room(account, size).await,
            _ => None,
        };
        let refusal = match refusal {
            None => at_rcpt(&hub, about, &to).await,
            refusal => refusal,
        };
        if let Some(reply) = refusal {
            return Answer::Refuse(reply);
        }
        if let Some(message) = &mut self.message {
            message.reach = reach;
            message.recipients.push(Recipient { accepted: Accepted { to, params }, meaning, place: None });
        }
        Answer::Ok
    }

    /// Who sends, for groups that do not take mail from everybody. A server of ours vouches for its senders.
    pub(super) fn sender<'a>(&self, directory: &Snapshot, message: &'a Message) -> Sender<'a> {
        let address = message.address.as_ref();
        let account = match &self.identity {
            Some(identity) => Some(identity.account),
            None if self.service.kind.is_inner() => message.told.as_ref().and_then(|told| told.owner),
            None if self.is_trusted() && self.service.kind != Kind::Lmtp => {
                let known = address.map(|address| directory.resolve(address.as_str()));
                match known {
                    Some(Known::Account { account, .. }) => Some(account.id),
                    _ => None,
                }
            }
            None => None,
        };
        Sender { account, address }
    }

    /// Whether mail for other organisations is taken from this peer.
    fn may_relay(&self) -> bool {
        let may = self.gate.permissions;
        let trusted = self.is_trusted() && !self.service.kind.answers_each();
        self.identity.is_some() || trusted || may.relay
    }

    /// Quota and size of a recipient, as far as they can be told before the message has come.
    pub(super) async fn no_room(&mut self, account: &Arc<Account>, size: u64) -> Option<Reply> {
        let hub = self.service.hub.clone();
        let limit = account.limits.receive_bytes.or(self.settings.max_receive);
        if limit.is_some_and(|limit| size > limit) {
            return Some(TOO_LARGE_TO_GET);
        }
        if account.forward_to.is_some() && !account.deliver_and_forward {
            return None;
        }
        match hub.mailbox_of(account).await {
            // The server that holds it looks.
            Err(AccountError::Elsewhere(_)) => None,
            Ok(mailbox) if mailbox.usage().would_exceed(1, size) => Some(self.over_quota()),
            Ok(_) => None,
            // The directory has it and the store does not: it is being removed, or we are broken.
            Err(AccountError::NoAccount(_)) => Some(NO_RECIPIENT),
            Err(e) => {
                tracing::error!(account = %account.id, session = %self.correlation, error = %e,
                    "mailbox cannot be opened");
                Some(STORE_DOWN)
            }
        }
    }

    pub(super) fn over_quota(&self) -> Reply {
        if self.settings.over_quota_is_temporary {
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
        let Some(mut message) = self.message.take() else { return Answer::Refuse(STORE_DOWN) };
        let micros = std::mem::take(&mut message.rcpt_micros);
        let note = format!("{} recipients", message.recipients.len());
        message.leg.step("rcpt", micros, Some(note));
        message.accepted = at;
        let intake = self.open(&mut message).await;
        let answer = match intake {
            Ok(intake) => {
                message.intake = Some(intake);
                message.data_begun = Instant::now();
                Answer::Ok
            }
            Err(e) => Answer::Refuse(blob_failed(&e)),
        };
        self.message = Some(message);
        answer
    }

    /// To the store, or into a draft where an agent wants the message.
    async fn open(&mut self, message: &mut Message) -> Result<Intake, BlobError> {
        let hub = self.service.hub.clone();
        let at = message.accepted;
        let settings = self.settings.clone();
        let trace = self.trace(message, &settings.host);
        let completion = self.identity.as_ref().map(|me| Completion {
            sender: message.from.as_ref().map_or_else(|| me.address.clone(), ToString::to_string),
            id: format!("{}.{}", at.as_millis(), message.id),
            host: settings.host.clone(),
            at,
            author: Author {
                directory: hub.directory.snapshot(),
                me: me.account,
                any_from: settings.any_header_from,
                null_sender: message.from.is_none(),
            },
        });
        let text = message.params.body != BodyKind::Binary;
        message.traced = hub.tracing.is_some()
            && settings.tracing.as_ref().is_some_and(|tracing| tracing.wants(message.from.as_ref(), at));
        if self.shows_agents() {
            let about = Box::new(self.about(Some(message)));
            message.wanted = hub.agents.iter().map(|agent| agent.wants(&about)).collect();
            message.about = Some(about);
        }
        if message.traced || message.wanted.contains(&true) {
            let drafting = Drafting::new(hub.mailboxes.store().blobs().clone(), hub.drafts.clone());
            return Ok(Intake::draft(drafting, trace, completion, text));
        }
        Intake::store(hub.mailboxes.writer(), &trace, completion, text).await
    }

    fn trace(&self, message: &Message, host: &str) -> String {
        let (helo, extended) = self.session.helo().unwrap_or_default();
        let only = match message.recipients.as_slice() {
            [one] => Some(&one.accepted.to),
            _ => None,
        };
        let trace = Trace {
            helo,
            extended,
            lmtp: self.service.kind.answers_each(),
            utf8: message.params.utf8,
            signed_in: self.identity.is_some(),
            peer: self.peer.ip(),
            host,
            tls: self.tls.as_ref(),
            id: &message.id,
            recipient: only,
            from: message.from.as_ref(),
            at: message.accepted,
        };
        trace.render()
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
                return Answer::Refuse(NO_RECIPIENT);
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

pub(super) const TOO_LARGE_TO_GET: Reply =
    Reply::new(552, Status(5, 3, 4), "This recipient does not take messages that large");

async fn at_rcpt(hub: &Hub, about: Option<About>, to: &Mailbox) -> Option<Reply> {
    let about = about?;
    for agent in hub.agents.iter().filter(|agent| agent.stages().rcpt) {
        if let Verdict::Reject(reply) | Verdict::Defer(reply) = agent.rcpt(&about, to).await {
            return Some(reply);
        }
    }
    None
}

fn refusal(why: &Why) -> Reply {
    match why {
        Why::Unknown => NO_RECIPIENT,
        Why::Disabled => Reply::new(550, Status(5, 2, 1), "This mailbox is disabled"),
        Why::Malformed => Reply::new(501, Status(5, 1, 3), "Bad recipient address"),
        Why::BadDomain => Reply::new(550, Status(5, 1, 2), "The recipient's domain is not a valid name"),
        Why::Group(Refused::NeedsAuthentication) => {
            Reply::new(550, Status(5, 7, 1), "This group takes mail from authenticated senders only")
        }
        Why::Group(Refused::NotOnList | Refused::OnRejectList) => {
            Reply::new(550, Status(5, 7, 1), "You may not send to this group")
        }
        Why::NobodyThere => Reply::new(550, Status(5, 2, 4), "Nobody in this group can take mail"),
        Why::Loop(chain) => {
            let text = format!("This recipient's forwarding goes round in circles: {}", chain.join(" -> "));
            Reply::with(550, Status(5, 4, 6), text)
        }
        Why::ForwardsNowhere => {
            Reply::new(550, Status(5, 1, 1), "The address that this recipient forwards to takes no mail")
        }
    }
}
