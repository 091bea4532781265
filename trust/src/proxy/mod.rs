//! Handing a client over to the server that serves it: the words that both servers use, and the choice of the server.
//!
//! A front end does TLS, greeting and sign-in by itself, then opens an inner leg to the home of the account (or to a hub)
//! and [`splice`]s the two streams without looking at them. The home goes on in the state that the [`Hello`] describes, so
//! that the client sees the same bytes as at a direct session.
//!
//! Laws: what the client said of itself is passed on by us, never believed from outside; a hand-over that fails is ours
//! (unavailable) and never a wrong password; a session is begun at one server only, so a second one is asked only when
//! the first says that it has begun nothing.

pub mod ahead;
pub mod splice;

pub use ahead::Ahead;
pub use splice::{End, Ended, splice};

use crate::channel::{Channel, TlsFacts};
use crate::leg::{Arrived, Client, ClientTls, Hello, NotOpened, Opened, Opening, Refusal};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use waypost_base::AccountId;
use waypost_base::explain::{Cause, Confidence, Evidence, Finding, Leg, Outcome, Party};
use waypost_base::metrics::{Counter, Figure, Gauge, Kind};
use waypost_base::time::Timestamp;

/// How long a client waits for its hand-over at most, before it hears that we are unavailable. Mail clients give up
/// after 30 to 60 seconds.
pub const HAND_OVER_MAX: Duration = Duration::from_secs(25);

/// Where an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    Here,
    /// At the server with this id.
    There(String),
}

/// The components of a server that meet clients, as Set-ServerComponentState calls them.
pub const IMAP_PROXY: &str = "ImapProxy";
pub const POP_PROXY: &str = "PopProxy";
pub const FRONTEND_TRANSPORT: &str = "FrontendTransport";

/// What services that meet clients ask about the organisation. `server` answers from the directory, tests from a table.
pub trait Homes: Send + Sync + 'static {
    fn home(&self, account: AccountId) -> Home;

    /// The hubs that take mail now, in the order in which to try them. `None`: this server is a hub itself.
    fn hubs(&self) -> Option<Vec<String>>;

    /// The state of a component of this server where it is not `Active`: `Draining` or `Inactive`.
    fn out_of_service(&self, component: &str) -> Option<String>;

    /// Opens a leg. `to` is a server id.
    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a>;
}

/// One server that does everything by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Homes for Alone {
    fn home(&self, _: AccountId) -> Home {
        Home::Here
    }

    fn hubs(&self) -> Option<Vec<String>> {
        None
    }

    fn out_of_service(&self, _: &str) -> Option<String> {
        None
    }

    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        let failed = not_opened(to, &hello, UNAVAILABLE, format!("{to} is not a server that we know"), true);
        Box::pin(std::future::ready(Err(failed)))
    }
}

/// Why a home does not take a session, in the answer of its [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "no", rename_all = "kebab-case")]
pub enum No {
    /// The account is not here. `to` is where it is, as far as this server knows.
    Moved { to: Option<String> },
    /// The account is switched off or gone.
    Disabled,
    /// The account may not use this protocol.
    Protocol,
    /// The account has as many sessions as it may have.
    TooMany,
    /// Another session has the mailbox for itself (POP3).
    InUse,
    /// We cannot now. `lasting`: it will not pass by itself.
    Unavailable { lasting: bool },
}

impl No {
    /// As it goes over the wire. `text` is for people.
    pub fn refusal(&self, text: impl Into<String>) -> Refusal {
        let (code, elsewhere) = match self {
            No::Moved { .. } => (MOVED.code, true),
            No::Disabled | No::Protocol | No::TooMany => (NOT_ALLOWED.code, false),
            No::InUse => (IN_USE.code, false),
            No::Unavailable { lasting } => (UNAVAILABLE.code, !lasting),
        };
        let answer = serde_json::to_value(self).unwrap_or_default();
        Refusal { code: code.into(), text: text.into(), elsewhere, answer }
    }

    /// What a leg that was not opened says; whatever is not understood is that it cannot now.
    pub fn of(failed: &NotOpened) -> No {
        serde_json::from_value(failed.answer.clone()).unwrap_or(No::Unavailable { lasting: false })
    }
}

macro_rules! causes {
    ($($name:ident = $code:literal, $meaning:literal, $remedy:literal;)*) => {
        $(pub const $name: Cause =
            Cause { code: $code, meaning: $meaning, remedy: $remedy, reference: "docs/servers.md" };)*
        /// All causes of hand-overs.
        pub const CAUSES: &[Cause] = &[$($name),*];
    };
}

causes! {
    MOVED = "HOME-MOVED",
        "the account is not at the server that was asked",
        "nothing: the next sign-in goes to its new home; Get-Mailbox shows where it is";
    NOT_ALLOWED = "HOME-NOT-ALLOWED",
        "the home of the account does not let it in by this protocol",
        "look at the account's protocols, its state, and MaxConnectionsPerUser";
    IN_USE = "HOME-IN-USE",
        "another POP3 session has the mailbox",
        "end the other session, or wait until it is idle for too long";
    UNAVAILABLE = "HOME-UNAVAILABLE",
        "the home of the account cannot serve it now",
        "look at the health of that server: Get-ServerHealth, Get-ServiceLeg";
    TIMEOUT = "HOME-TIMEOUT",
        "the home of the account did not answer in time",
        "look at the load of that server and at the network between the two";
    NO_HUB = "HUB-NONE",
        "no server with the transport role takes mail now",
        "Get-ServerComponentState shows which hubs are out of service; Get-ServiceLeg why they cannot be reached";
    BROKEN = "HOME-LOST",
        "the connection to the home of the account broke during the session",
        "look whether that server was restarted, and at the network between the two";
}

pub static SESSIONS: Gauge = Gauge::new();
pub static SESSIONS_TOTAL: Counter = Counter::new();
pub static NOT_HANDED_OVER: Counter = Counter::new();
pub static BROKEN_TOTAL: Counter = Counter::new();
pub static BYTES: Counter = Counter::new();
pub static TAKEN_OVER: Counter = Counter::new();

/// For the metrics page.
pub fn figures() -> Vec<Figure> {
    let counter =
        |name, help, c: &Counter| Figure { name, help, kind: Kind::Counter, value: c.value() as f64 };
    vec![
        Figure {
            name: "proxy_sessions",
            help: "Sessions of clients that are handed over to another server now",
            kind: Kind::Gauge,
            value: SESSIONS.value() as f64,
        },
        counter("proxy_sessions_total", "Sessions handed over to another server", &SESSIONS_TOTAL),
        counter("proxy_not_handed_over_total", "Sessions that no other server took", &NOT_HANDED_OVER),
        counter("proxy_broken_total", "Sessions whose other server went away", &BROKEN_TOTAL),
        counter("proxy_bytes_total", "Bytes passed on between clients and other servers", &BYTES),
        counter("proxy_taken_over_total", "Sessions taken over from other servers", &TAKEN_OVER),
    ]
}

/// Hands an account's session to its home; to where it has moved meanwhile, where the first one asked knows.
pub async fn to_home(homes: &dyn Homes, home: &str, hello: Hello) -> Result<Opened, NotOpened> {
    let hand_over = async {
        let failed = match homes.open(home, hello.clone()).await {
            Ok(opened) => return Ok(opened),
            Err(failed) => failed,
        };
        match No::of(&failed) {
            No::Moved { to: Some(to) } if to != home => homes.open(&to, hello.clone()).await,
            _ => Err(failed),
        }
    };
    let late = || not_opened(home, &hello, TIMEOUT, format!("{home} did not answer in time"), false);
    let result = tokio::time::timeout(HAND_OVER_MAX, hand_over).await.unwrap_or_else(|_| Err(late()));
    if result.is_err() {
        NOT_HANDED_OVER.one();
    }
    result
}

/// Hands a session to the first hub that takes it.
pub async fn to_hub(homes: &dyn Homes, hubs: &[String], hello: Hello) -> Result<Opened, NotOpened> {
    let hand_over = async {
        let mut last = None;
        for hub in hubs {
            match homes.open(hub, hello.clone()).await {
                Ok(opened) => return Ok(opened),
                Err(failed) if failed.elsewhere => last = Some(failed),
                Err(failed) => return Err(failed),
            }
        }
        Err(last.unwrap_or_else(|| not_opened("-", &hello, NO_HUB, NO_HUB.meaning.to_owned(), false)))
    };
    let late = || not_opened("-", &hello, NO_HUB, "no hub answered in time".to_owned(), false);
    let result = tokio::time::timeout(HAND_OVER_MAX, hand_over).await.unwrap_or_else(|_| Err(late()));
    if result.is_err() {
        NOT_HANDED_OVER.one();
    }
    result
}

/// A leg that was never begun, or not answered.
pub fn not_opened(to: &str, hello: &Hello, cause: Cause, text: String, elsewhere: bool) -> NotOpened {
    let (initiator, acceptor) = (Party::new("front end", ""), Party::new("server", to));
    // Whoever hands the leg on knows the time.
    let mut leg = Leg::start(operation(hello), initiator, acceptor, Timestamp::default());
    leg.correlation = Some(hello.session);
    leg.outcome = Outcome::Failed { cause, text: text.clone(), retry: true };
    let evidence = vec![Evidence { source: "this server".into(), time: None, fact: text.clone() }];
    let finding = Finding {
        cause,
        confidence: Confidence::Certain,
        evidence,
        remedy: vec![cause.remedy.into()],
        untested: Vec::new(),
    };
    let (leg, finding) = (Box::new(leg), Box::new(finding));
    NotOpened { leg, finding, text, elsewhere, answer: serde_json::Value::Null }
}

/// What the leg of a hand-over is called: `imap.proxy`.
pub fn operation(hello: &Hello) -> String {
    format!("{}.proxy", hello.service)
}

/// The leg of a hand-over that stands or failed, ready for the log of legs.
pub fn leg_of(hello: &Hello, mut leg: Leg, now: Timestamp) -> Leg {
    leg.operation = operation(hello).into();
    leg.correlation = Some(hello.session);
    if leg.started == Timestamp::default() {
        leg.started = now;
    }
    if leg.outcome == Outcome::Open {
        leg.outcome = Outcome::Ok;
    }
    if let Some(client) = &hello.client {
        leg.step("client", 0, Some(client.peer.to_string()));
    }
    leg
}

/// The client at the other end of a channel, as its new server is told.
pub fn client(channel: &Channel) -> Client {
    Client { peer: channel.peer, local: channel.local, tls: channel.tls.as_ref().map(ClientTls::from) }
}

/// What TLS between client and front end settled. Bindings are not passed on: signing in is over.
pub fn facts(tls: &ClientTls) -> TlsFacts {
    const VERSIONS: [&str; 2] = ["TLSv1.3", "TLSv1.2"];
    const CIPHERS: [&str; 9] = [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ];
    let known = |all: &[&'static str], name: &str| all.iter().find(|k| **k == name).copied();
    TlsFacts {
        version: known(&VERSIONS, &tls.version).unwrap_or("TLS"),
        cipher: known(&CIPHERS, &tls.cipher).unwrap_or("unknown"),
        server_name: tls.server_name.clone(),
        exporter: None,
        end_point: None,
        client: None,
    }
}

/// Refuses a leg; that the other end has gone meanwhile is of no interest.
pub async fn refuse(arrived: Arrived, no: &No, text: &str) {
    let _ = arrived.refuse(no.refusal(text)).await;
}

#[cfg(test)]
mod tests;
