//! Sessions whose account is at another server: handed over after sign-in, and taken over at the account's home.
//!
//! [`Detail`] is what a home has to know besides the client's addresses and TLS. [`admit`] is what it looks at before it
//! takes a session; [`HandedOver`] is what is left of a session at the front end.
//!
//! Laws: until the home says yes, the client has heard nothing; the home says the yes itself, in the words of a direct
//! session; what the client sent after its sign-in goes on unread.

use crate::log::{Context, Entry, LegSink, Scribe};
use crate::signin::{Place, SignedIn};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use waypost_base::explain::{Leg, Outcome, Party};
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Clock};
use waypost_directory::{Protocol, Snapshot};
use waypost_sasl::{Failure, Mechanism, Why};
use waypost_trust::channel::{BoxStream, Channel};
use waypost_trust::leg::{Arrived, Client, Hello, NotOpened, Opened, Service};
use waypost_trust::proxy::{self, End, No};

/// What the home of an account is told of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    pub account: AccountId,
    pub address: String,
    /// As in [`SignedIn`].
    #[serde(default)]
    pub by: Option<String>,
    pub mechanism: String,
    /// IMAP: the tag of the command that signed in, which the home answers.
    #[serde(default)]
    pub tag: Option<String>,
    /// POP3: the client has said UTF8.
    #[serde(default)]
    pub utf8: bool,
}

impl Detail {
    pub fn of(signed: &SignedIn) -> Detail {
        Detail {
            account: signed.account,
            address: signed.address.clone(),
            by: signed.by.clone(),
            mechanism: signed.mechanism.to_owned(),
            tag: None,
            utf8: false,
        }
    }

    /// The mechanism as this room names it.
    pub fn mechanism(&self) -> &'static str {
        Mechanism::parse(self.mechanism.as_bytes()).map_or("LOGIN", |m| m.name())
    }

    /// What goes into the leg.
    pub fn hello(&self, service: Service, session: Correlation, client: Client) -> Hello {
        let detail = serde_json::to_value(self).unwrap_or_default();
        Hello { service, session, client: Some(client), detail }
    }
}

/// A session that another server has handed over, before anybody has said yes.
#[derive(Debug)]
pub struct Offered {
    pub arrived: Arrived,
    pub detail: Detail,
    pub client: Client,
}

impl Offered {
    /// Reads what came, and asks the directory whether the account is served here by this protocol. A leg that is not
    /// to be taken is refused here.
    pub async fn look(arrived: Arrived, now: &Snapshot, protocol: Protocol) -> Option<Offered> {
        let detail = serde_json::from_value::<Detail>(arrived.hello.detail.clone());
        let (detail, client) = match (detail, arrived.hello.client.clone()) {
            (Ok(detail), Some(client)) => (detail, client),
            (Err(e), _) => {
                proxy::refuse(arrived, &No::Unavailable { lasting: true }, &format!("not understood: {e}"))
                    .await;
                return None;
            }
            (_, None) => {
                proxy::refuse(arrived, &No::Unavailable { lasting: true }, "no client was named").await;
                return None;
            }
        };
        match admit(now, detail.account, protocol) {
            Ok(()) => Some(Offered { arrived, detail, client }),
            Err((no, text)) => {
                tracing::info!(session = %arrived.hello.session, from = %arrived.from, %text, "session not taken over");
                proxy::refuse(arrived, &no, &text).await;
                None
            }
        }
    }

    pub fn session(&self) -> Correlation {
        self.arrived.hello.session
    }

    pub async fn refuse(self, no: &No, text: &str) {
        tracing::info!(session = %self.session(), account = %self.detail.address, text, "session not taken over");
        proxy::refuse(self.arrived, no, text).await;
    }

    /// Says yes. The channel is as if the client itself were at its other end; `None` where the front end has gone.
    pub async fn welcome(self) -> Option<Taken> {
        let Offered { arrived, detail, client } = self;
        let (session, from) = (arrived.hello.session, arrived.from.to_string());
        let (stream, leg) = arrived.welcome(serde_json::Value::Null).await.ok()?;
        proxy::TAKEN_OVER.one();
        let channel = Channel {
            stream,
            local: client.local,
            peer: client.peer,
            tls: client.tls.as_ref().map(proxy::facts),
            upgrade: None,
        };
        Some(Taken { channel, detail, session, from, leg })
    }
}

/// A session that was taken over.
#[derive(Debug)]
pub struct Taken {
    pub channel: Channel,
    pub detail: Detail,
    pub session: Correlation,
    /// Id of the server that handed it over.
    pub from: String,
    /// The inner leg it came by.
    pub leg: Leg,
}

/// Whether the account is served by this server and protocol.
pub fn admit(now: &Snapshot, id: AccountId, protocol: Protocol) -> Result<(), (No, String)> {
    // A row that has not come here yet is no reason to send anybody away for good.
    let Some(account) = now.account(id) else {
        return Err((No::Unavailable { lasting: false }, format!("account {id} is not known here")));
    };
    if !now.is_here(account) {
        let home = now.home_of(account).to_owned();
        let text = format!("{} is at {home}", account.primary);
        return Err((No::Moved { to: Some(home) }, text));
    }
    if !account.enabled {
        return Err((No::Disabled, format!("{} is disabled", account.primary)));
    }
    if !account.protocols.has(protocol) {
        return Err((No::Protocol, format!("{} may not use {}", account.primary, protocol.name())));
    }
    Ok(())
}

/// What a refused hand-over means to whoever signs in.
pub fn failure(failed: &NotOpened) -> Failure {
    match No::of(failed) {
        No::Disabled => Failure::NotAllowed(Why::Disabled),
        No::Protocol => Failure::NotAllowed(Why::Protocol),
        No::TooMany => Failure::NotAllowed(Why::TooManySessions),
        No::Moved { .. } | No::InUse | No::Unavailable { .. } => Failure::Unavailable(failed.to_string()),
    }
}

/// What a front end keeps of a session that it has handed over.
pub(crate) struct HandedOver {
    pub client: BoxStream,
    pub server: BoxStream,
    /// What the client sent after its sign-in.
    pub first: Vec<u8>,
    /// The home.
    pub to: String,
    pub service: Service,
    pub session: Correlation,
    pub peer: SocketAddr,
    pub scribe: Scribe,
    /// Counts it among the sessions of its account here too.
    pub _place: Place,
}

/// Notes the leg of a hand-over that stands, and gives what is to be joined.
pub(crate) fn opened(
    hello: &Hello,
    opened: Opened,
    legs: &dyn LegSink,
    clock: &Clock,
) -> (BoxStream, String) {
    let to = opened.leg.acceptor.name.clone();
    legs.leg(proxy::leg_of(hello, opened.leg, clock.now()));
    (opened.stream, to)
}

/// Notes the leg of a hand-over that failed.
pub(crate) fn not_opened(hello: &Hello, failed: &NotOpened, legs: &dyn LegSink, clock: &Clock) {
    tracing::warn!(session = %hello.session, code = failed.finding.cause.code, text = %failed.text, "not handed over");
    legs.leg(proxy::leg_of(hello, (*failed.leg).clone(), clock.now()));
}

impl HandedOver {
    /// Joins the two until both have ended, or `stop`.
    pub async fn carry(self, legs: &dyn LegSink, clock: &Clock, stop: impl Future<Output = ()> + Send) {
        let HandedOver { client, server, first, to, service, session, peer, mut scribe, _place } = self;
        proxy::SESSIONS_TOTAL.one();
        let _held = proxy::SESSIONS.hold();
        let ended = proxy::splice(client, server, first, stop).await;
        proxy::BYTES.add(ended.to_server + ended.to_client);
        let mut context = Context::default();
        match &ended.end {
            End::Done | End::Stopped => {}
            End::Client(_) => context = context.with("ErrMsg", "ConnectionClosed"),
            End::Server(e) => {
                proxy::BROKEN_TOTAL.one();
                let text = format!("the connection to {to} broke: {e}");
                tracing::warn!(%session, server = %to, error = %e, "the home of a session has gone");
                context = context.with("ErrMsg", &text);
                let (front, home) = (Party::new("front end", ""), Party::new("mailbox", to));
                let mut leg = Leg::start(format!("{service}.proxy"), front, home, clock.now());
                leg.correlation = Some(session);
                leg.step("client", 0, Some(peer.to_string()));
                leg.outcome = Outcome::Failed { cause: proxy::BROKEN, text, retry: true };
                legs.leg(leg);
            }
        }
        let entry = Entry {
            command: "CloseSession",
            request_bytes: ended.to_server,
            response_bytes: ended.to_client,
            context: context.as_str(),
            ..Entry::default()
        };
        scribe.record(clock.now(), entry);
    }
}

/// What is said at a door whose component is out of service.
pub(crate) fn closed_text(state: &str) -> String {
    match state {
        "Draining" => "The server is draining, please try another one".into(),
        _ => "The server is out of service, please try another one".into(),
    }
}

/// Says why there is no conversation, and closes.
pub(crate) async fn turn_away(channel: Channel, text: &[u8]) {
    use tokio::io::AsyncWriteExt;
    let mut stream = channel.stream;
    let say = async {
        stream.write_all(text).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), say).await;
}
