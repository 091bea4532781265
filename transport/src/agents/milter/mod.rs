//! Mail filters by the milter protocol: rspamd, clamav-milter, opendkim and others.
//!
//! A filter is connected at MAIL, hears of each recipient while the peer waits for its answer (so it can refuse one), and
//! gets the message at its end. One connection to a filter is one message. Filters are asked one after the other, each
//! sees what those before it changed. A filter that cannot be asked is settled by its [`FailureAction`].
//!
//! Junk: a filter says so by quarantine, or by a field `X-Spam: Yes` or `X-Spam-Flag: YES` that it adds.

mod link;

use crate::LegSink;
use crate::agent::{About, Agent, Stages, Verdict};
use crate::draft::Draft;
use link::{Fault, Judgement, Link};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use waypost_base::explain::Leg;
use waypost_base::id::Correlation;
use waypost_milter::{Change, Verdict as Word};
use waypost_smtp::{Mailbox, Reply, Status};
use waypost_trust::channel::BoxStream;

/// Sessions whose filters wait for the rest of a message. Beyond it the eldest are let go, and asked anew at the end.
const SESSIONS: usize = 20_000;

/// Where a filter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MilterAddress {
    /// A name or an address.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl From<SocketAddr> for MilterAddress {
    fn from(address: SocketAddr) -> MilterAddress {
        MilterAddress::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

pub type Opening = Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send>>;

/// Opens connections to filters. Callers put their own bound on the time.
pub trait OpenMilter: Send + Sync + 'static {
    fn open(&self, address: MilterAddress) -> Opening;
}

/// What becomes of mail while a filter cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureAction {
    /// It goes on without the filter.
    Accept,
    /// 451: the sender tries again.
    #[default]
    TempFail,
    /// 550.
    Reject,
}

/// Whose mail a filter sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MilterScope {
    #[default]
    All,
    /// What strangers and other servers bring.
    Inbound,
    /// What our own people submit.
    Outbound,
}

/// One filter, as the administrator has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MilterSettings {
    pub name: String,
    pub address: MilterAddress,
    /// For connecting, and for each answer.
    pub timeout: Duration,
    pub failure: FailureAction,
    pub scope: MilterScope,
}

impl MilterSettings {
    pub fn new(name: impl Into<String>, address: MilterAddress) -> MilterSettings {
        MilterSettings {
            name: name.into(),
            address,
            timeout: Duration::from_secs(30),
            failure: FailureAction::default(),
            scope: MilterScope::default(),
        }
    }

    fn sees(&self, about: &About) -> bool {
        match self.scope {
            MilterScope::All => true,
            MilterScope::Inbound => !about.submission,
            MilterScope::Outbound => about.submission,
        }
    }
}

/// All filters of a server.
pub struct MilterAgent {
    filters: RwLock<Arc<Vec<Arc<MilterSettings>>>>,
    opener: Arc<dyn OpenMilter>,
    legs: Option<Arc<dyn LegSink>>,
    talks: Mutex<BTreeMap<u64, Talk>>,
}

/// The filters of a session's message, between its commands.
struct Talk {
    begun: waypost_base::Timestamp,
    /// The message's name; another one means that this one was given up.
    id: String,
    links: Vec<Link>,
    /// Legs of filters that failed and were passed over.
    legs: Vec<Leg>,
    /// A filter wants the message taken and thrown away.
    discard: Option<String>,
}

impl MilterAgent {
    /// `filters` in the order in which they are asked.
    pub fn new(
        filters: Vec<MilterSettings>,
        opener: Arc<dyn OpenMilter>,
        legs: Option<Arc<dyn LegSink>>,
    ) -> MilterAgent {
        let agent = MilterAgent { filters: RwLock::default(), opener, legs, talks: Mutex::default() };
        agent.set_filters(filters);
        agent
    }

    /// Holds for the next message.
    pub fn set_filters(&self, filters: Vec<MilterSettings>) {
        let filters = filters.into_iter().map(Arc::new).collect();
        *self.filters.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(filters);
    }

    fn filters(&self) -> Arc<Vec<Arc<MilterSettings>>> {
        self.filters.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn talks(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Talk>> {
        self.talks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, about: &About) -> Option<Talk> {
        self.talks().remove(&about.session.0).filter(|talk| talk.id == about.id)
    }

    fn keep(&self, about: &About, talk: Talk) {
        let mut talks = self.talks();
        if talks.len() >= SESSIONS
            && let Some(eldest) = talks.iter().min_by_key(|(_, talk)| talk.begun).map(|(key, _)| *key)
        {
            talks.remove(&eldest);
        }
        talks.insert(about.session.0, talk);
    }

    /// Connects all filters that see this message. `Err`: one of them ends it.
    async fn begin(&self, about: &About) -> Result<Talk, Verdict> {
        let mut talk = Talk {
            begun: about.now,
            id: about.id.clone(),
            links: Vec::new(),
            legs: Vec::new(),
            discard: None,
        };
        for settings in self.filters().iter().filter(|settings| settings.sees(about)) {
            match Link::open(settings.clone(), self.opener.as_ref(), about).await {
                Ok((link, word)) => {
                    let word = said(&settings.name, word);
                    talk.links.push(link);
                    if let Some(verdict) = talk.heed(word) {
                        self.end(talk, "").await;
                        return Err(verdict);
                    }
                }
                Err((fault, leg)) => {
                    talk.legs.push(*leg);
                    if let Some(verdict) = missed(settings, &fault, about) {
                        self.end(talk, "").await;
                        return Err(verdict);
                    }
                }
            }
        }
        Ok(talk)
    }

    /// One recipient. `Some`: it is refused.
    async fn ask_rcpt(&self, talk: &mut Talk, about: &About, to: &Mailbox) -> Option<Verdict> {
        let mut at = 0;
        while let Some(link) = talk.links.get_mut(at) {
            let settings = link.settings.clone();
            let verdict = match link.rcpt(to).await {
                Ok(word) => {
                    at += 1;
                    talk.heed(said(&settings.name, word))
                }
                Err(fault) => {
                    talk.legs.push(talk.links.remove(at).failed(&fault, "rcpt"));
                    missed(&settings, &fault, about)
                }
            };
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }

    /// The whole message, by one filter after the other.
    async fn ask_message(&self, talk: &mut Talk, about: &About, draft: &mut Draft) -> Verdict {
        if let Some(why) = talk.discard.take() {
            return Verdict::Discard { why };
        }
        let mut mark = Verdict::Pass;
        let mut at = 0;
        while let Some(link) = talk.links.get_mut(at) {
            let settings = link.settings.clone();
            let verdict = match link.message(about, draft).await {
                Ok(judgement) => {
                    at += 1;
                    judge(&settings.name, judgement, draft, about).await
                }
                Err(fault) => {
                    talk.legs.push(talk.links.remove(at).failed(&fault, "message"));
                    missed(&settings, &fault, about).unwrap_or(Verdict::Pass)
                }
            };
            match verdict {
                Verdict::Pass => {}
                verdict if verdict.ends() => return verdict,
                verdict if mark == Verdict::Pass => mark = verdict,
                _ => {}
            }
        }
        mark
    }

    /// Says good-bye to all, and tells of each conversation.
    async fn end(&self, talk: Talk, message_id: &str) {
        let mut legs = talk.legs;
        for link in talk.links {
            legs.push(link.close().await);
        }
        if let Some(sink) = &self.legs {
            legs.into_iter().for_each(|leg| sink.leg(message_id, leg));
        }
    }
}

#[async_trait::async_trait]
impl Agent for MilterAgent {
    fn name(&self) -> &'static str {
        "Mail filter"
    }

    fn stages(&self) -> Stages {
        let some = !self.filters().is_empty();
        Stages { connect: false, mail: some, rcpt: some }
    }

    fn wants(&self, about: &About) -> bool {
        self.talks().contains_key(&about.session.0) || self.filters().iter().any(|filter| filter.sees(about))
    }

    async fn mail(&self, about: &About) -> Verdict {
        drop(self.take(about));
        match self.begin(about).await {
            Ok(talk) => {
                self.keep(about, talk);
                Verdict::Pass
            }
            Err(verdict) => verdict,
        }
    }

    async fn rcpt(&self, about: &About, to: &Mailbox) -> Verdict {
        let Some(mut talk) = self.take(about) else { return Verdict::Pass };
        let verdict = self.ask_rcpt(&mut talk, about, to).await;
        self.keep(about, talk);
        verdict.unwrap_or(Verdict::Pass)
    }

    async fn message(&self, about: &About, draft: &mut Draft) -> Verdict {
        let mut talk = match self.take(about) {
            Some(talk) => talk,
            // Nobody told us before: everything is told now.
            None => match self.begin(about).await {
                Err(verdict) => return verdict,
                Ok(mut talk) => {
                    for to in &about.recipients {
                        if let Some(verdict) = self.ask_rcpt(&mut talk, about, to).await {
                            self.end(talk, "").await;
                            return verdict;
                        }
                    }
                    talk
                }
            },
        };
        let verdict = self.ask_message(&mut talk, about, draft).await;
        let message_id = draft.field("Message-ID").unwrap_or_default();
        self.end(talk, message_id.trim_matches(['<', '>'])).await;
        verdict
    }

    fn reset(&self, session: Correlation) {
        self.talks().remove(&session.0);
    }

    fn disconnect(&self, session: Correlation) {
        self.talks().remove(&session.0);
    }
}

impl Talk {
    /// Before the message only refusals mean something; the rest is remembered.
    fn heed(&mut self, verdict: Verdict) -> Option<Verdict> {
        match verdict {
            Verdict::Reject(_) | Verdict::Defer(_) => Some(verdict),
            Verdict::Discard { why } => {
                self.discard = Some(why);
                None
            }
            _ => None,
        }
    }
}

/// What becomes of mail that a filter was not asked about; `None`: it goes on.
fn missed(settings: &MilterSettings, fault: &Fault, about: &About) -> Option<Verdict> {
    tracing::warn!(session = %about.session, filter = settings.name, address = %settings.address, fault = %fault,
        "mail filter not asked");
    if let Fault::Draft(_) = fault {
        return Some(Verdict::Defer(Reply::new(
            451,
            Status(4, 3, 0),
            "The message could not be read, try again",
        )));
    }
    match settings.failure {
        FailureAction::Accept => None,
        FailureAction::TempFail => Some(Verdict::Defer(Reply::new(
            451,
            Status(4, 7, 1),
            "Mail cannot be checked now, try again later",
        ))),
        FailureAction::Reject => {
            Some(Verdict::Reject(Reply::new(550, Status(5, 7, 1), "Mail cannot be checked, and is refused")))
        }
    }
}

/// A filter's word as ours.
fn said(filter: &str, word: Word) -> Verdict {
    match word {
        Word::Continue | Word::Skip | Word::Accept | Word::Unable => Verdict::Pass,
        Word::Reject => {
            Verdict::Reject(Reply::with(550, Status(5, 7, 1), format!("Refused by the mail filter {filter}")))
        }
        Word::TempFail | Word::Shutdown => Verdict::Defer(Reply::with(
            451,
            Status(4, 7, 1),
            format!("The mail filter {filter} asks to try again later"),
        )),
        Word::Discard => Verdict::Discard { why: format!("the mail filter {filter} throws it away") },
        Word::Reply(reply) => {
            let text = if reply.text.is_empty() { "Refused by a mail filter".to_owned() } else { reply.text };
            let status = reply.status.map(|(class, subject, detail)| Status(class, subject, detail));
            // 421 promises to close the connection; that is not the filter's to say here.
            let code = if reply.code == 421 { 451 } else { reply.code };
            let made = Reply { code, status, text: text.into() };
            if code < 500 { Verdict::Defer(made) } else { Verdict::Reject(made) }
        }
    }
}

/// The end of the message: the verdict, and the changes where the message goes on.
async fn judge(filter: &str, judgement: Judgement, draft: &mut Draft, about: &About) -> Verdict {
    let verdict = said(filter, judgement.verdict);
    if verdict.ends() {
        return verdict;
    }
    let mut mark = Verdict::Pass;
    let mut body: Option<Vec<u8>> = None;
    for change in judgement.changes {
        match change {
            Change::ReplaceBody(mut piece) => match &mut body {
                Some(body) => body.append(&mut piece),
                None => body = Some(piece),
            },
            Change::Quarantine { reason } => {
                mark = Verdict::Quarantine { why: format!("{filter}: {reason}") };
            }
            change => {
                if mark == Verdict::Pass && is_spam_mark(&change) {
                    mark = Verdict::Junk { why: format!("the mail filter {filter} calls it spam") };
                }
                apply(change, draft, about);
            }
        }
    }
    if let Some(body) = body
        && let Err(e) = draft.replace_body(body).await
    {
        tracing::error!(session = %about.session, filter, error = %e, "new body of a mail filter not stored");
        return Verdict::Defer(Reply::new(
            451,
            Status(4, 3, 0),
            "The message could not be changed, try again",
        ));
    }
    mark
}

/// A change to header or envelope.
fn apply(change: Change, draft: &mut Draft, about: &About) {
    match change {
        Change::AddHeader { name, value } => draft.append(&name, &text(&value)),
        Change::InsertHeader { index, name, value } => {
            let at = usize::try_from(index).unwrap_or(usize::MAX).saturating_sub(1);
            draft.insert(at, &name, &text(&value));
        }
        Change::ChangeHeader { index, name, value } => {
            let nth = usize::try_from(index).unwrap_or(usize::MAX).saturating_sub(1);
            draft.replace(&name, nth, value.as_deref().map(text).as_deref());
        }
        Change::AddRecipient { address, .. } => match mailbox(&address) {
            Some(Some(to)) if !about.recipients.contains(&to) || draft.envelope().removed.contains(&to) => {
                let envelope = draft.envelope_mut();
                envelope.removed.retain(|gone| *gone != to);
                if !about.recipients.contains(&to) && !envelope.added.contains(&to) {
                    envelope.added.push(to);
                }
            }
            Some(Some(_)) => {}
            _ => odd(&address, about),
        },
        Change::RemoveRecipient { address } => match mailbox(&address) {
            Some(Some(to)) => {
                let envelope = draft.envelope_mut();
                envelope.added.retain(|added| *added != to);
                if about.recipients.contains(&to) && !envelope.removed.contains(&to) {
                    envelope.removed.push(to);
                }
            }
            _ => odd(&address, about),
        },
        Change::ChangeFrom { address, .. } => match mailbox(&address) {
            Some(from) => draft.envelope_mut().from = Some(from),
            None => odd(&address, about),
        },
        // The caller's.
        Change::ReplaceBody(_) | Change::Quarantine { .. } => {}
    }
}

fn odd(address: &str, about: &About) {
    tracing::warn!(session = %about.session, address, "a mail filter's address is none; its change is left out");
}

/// An address with or without brackets; `Some(None)` is the null sender.
fn mailbox(address: &str) -> Option<Option<Mailbox>> {
    let inner = address.trim();
    let inner = inner.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(inner);
    if inner.is_empty() {
        return Some(None);
    }
    Mailbox::parse(inner).map(Some)
}

/// A value as the draft takes it: the space behind the colon is the draft's.
fn text(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.strip_prefix(' ').map(str::to_owned).unwrap_or_else(|| text.into_owned())
}

fn is_spam_mark(change: &Change) -> bool {
    let (name, value) = match change {
        Change::AddHeader { name, value } | Change::InsertHeader { name, value, .. } => (name, value),
        Change::ChangeHeader { name, value: Some(value), .. } => (name, value),
        _ => return false,
    };
    let named = name.eq_ignore_ascii_case("X-Spam") || name.eq_ignore_ascii_case("X-Spam-Flag");
    named && value.trim_ascii().get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"yes"))
}

#[cfg(test)]
mod tests;
