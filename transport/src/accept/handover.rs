//! SMTP sessions that go on at another server: submission at the home of whoever has signed in, strangers' mail at a hub.
//!
//! A submission is handed over when AUTH has succeeded and before that is said; a stranger with the first MAIL, which goes on
//! unanswered. Front ends do greeting, TLS and AUTH by themselves. What is on the way in clear at our doors is the same for
//! every server; nothing that a client says of itself (XCLIENT, PROXY) is understood there.
//!
//! Law: whoever cannot be handed over hears a temporary failure (454 4.7.0, 451 4.3.2), and never that a password is wrong.

use super::driver::Conn;
use super::log::Log;
use super::{Kind, Service};
use crate::hub::Hub;
use crate::sink::Event;
use crate::state::ComponentState;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_base::explain::{Leg, Outcome, Party};
use waypost_sasl::{Failure, Identity, Mechanism, Why};
use waypost_smtp::{Answer, Reply, Status};
use waypost_trust::channel::BoxStream;
use waypost_trust::leg::{Client, ClientTls, Hello, NotOpened, Opened, Service as Inner};
use waypost_trust::proxy::{self, End, FRONTEND_TRANSPORT, Home, No};

const UNAVAILABLE: Reply =
    Reply::new(454, Status(4, 7, 0), "Authentication is unavailable now, please try again later");
const NO_HUB: Reply =
    Reply::new(451, Status(4, 3, 2), "No server takes mail at the moment, please try again later");

/// What the next server is told of a session, besides the client's addresses and TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Detail {
    /// The door that the client came to: `smtp`, `submission`, `submissions`.
    pub(super) door: String,
    /// What the client called itself, and whether by EHLO.
    #[serde(default)]
    pub(super) helo: Option<(String, bool)>,
    #[serde(default)]
    pub(super) signed: Option<Signed>,
}

/// Who has signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signed {
    pub(super) account: AccountId,
    pub(super) address: String,
    #[serde(default)]
    pub(super) by: Option<String>,
    pub(super) mechanism: String,
}

impl Signed {
    pub(super) fn identity(&self) -> Identity {
        Identity { account: self.account, address: self.address.clone(), by: self.by.clone() }
    }

    pub(super) fn mechanism(&self) -> &'static str {
        Mechanism::parse(self.mechanism.as_bytes()).map_or("LOGIN", |m| m.name())
    }
}

/// The door of a name in a [`Detail`].
pub(super) fn door(name: &str) -> Option<Kind> {
    [Kind::Smtp, Kind::Submission, Kind::Submissions].into_iter().find(|kind| door_name(*kind) == name)
}

fn door_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Smtp => "smtp",
        Kind::Submission => "submission",
        Kind::Submissions => "submissions",
        Kind::Lmtp => "lmtp",
        Kind::Hub | Kind::Delivery => "inner",
    }
}

/// Why there are no conversations at a door now.
pub(super) fn out_of_service(hub: &Hub, kind: Kind) -> Option<&'static str> {
    let homes = hub.homes();
    let meets_clients = matches!(kind, Kind::Smtp | Kind::Submission | Kind::Submissions);
    let front = homes.out_of_service(FRONTEND_TRANSPORT).filter(|_| meets_clients);
    let state = match front.as_deref() {
        Some("Draining") => ComponentState::Draining,
        Some(_) => ComponentState::Inactive,
        // What a draining hub has taken already is still delivered here.
        None if kind == Kind::Delivery => ComponentState::Active,
        // A server that is no hub has no HubTransport that could be out of service.
        None if homes.hubs().is_some() => ComponentState::Active,
        None => hub.state(),
    };
    match state {
        ComponentState::Active => None,
        ComponentState::Draining => Some("the server is draining, please try another one"),
        ComponentState::Inactive => Some("the server is out of service, please try another one"),
    }
}

/// The other end of a session that goes on elsewhere.
pub(super) struct Handed {
    pub(super) server: BoxStream,
    /// That server's id.
    pub(super) to: String,
    /// The command at hand is the other server's to answer, so it goes on with the rest.
    pub(super) whole_command: bool,
}

impl Conn {
    /// Whoever has signed in is at home elsewhere: hands the session over, or says why not. `None`: the home is here.
    pub(super) async fn hand_over_to_home(&mut self, identity: &Identity) -> Option<Answer> {
        let hub = self.service.hub.clone();
        let Home::There(home) = hub.homes().home(identity.account) else { return None };
        let signed = Signed {
            account: identity.account,
            address: identity.address.clone(),
            by: identity.by.clone(),
            mechanism: self.mechanism.to_owned(),
        };
        let hello = self.hello(Inner::Submission, Some(signed));
        let result = proxy::to_home(hub.homes(), &home, hello.clone()).await;
        Some(match result {
            Ok(opened) => self.handed_over(&hello, opened, false),
            Err(failed) => {
                self.not_handed_over(&hello, &failed);
                let failure = match No::of(&failed) {
                    No::Disabled => Failure::NotAllowed(Why::Disabled),
                    No::Protocol => Failure::NotAllowed(Why::Protocol),
                    _ => return Some(Answer::Refuse(UNAVAILABLE)),
                };
                Answer::Refuse(self.not_signed_in(&failure))
            }
        })
    }

    /// A stranger wants to send, and this server is no hub: hands the session over to one. `None`: it is taken here.
    pub(super) async fn hand_over_to_hub(&mut self) -> Option<Answer> {
        if self.service.kind != Kind::Smtp || self.identity.is_some() {
            return None;
        }
        let hub = self.service.hub.clone();
        let hubs = hub.homes().hubs()?;
        let hello = self.hello(Inner::Smtp, None);
        let result = proxy::to_hub(hub.homes(), &hubs, hello.clone()).await;
        Some(match result {
            Ok(opened) => self.handed_over(&hello, opened, true),
            Err(failed) => {
                self.not_handed_over(&hello, &failed);
                Answer::Refuse(NO_HUB)
            }
        })
    }

    fn hello(&self, service: Inner, signed: Option<Signed>) -> Hello {
        let tls = self.tls.as_ref().map(ClientTls::from);
        let client = Client { peer: self.peer, local: self.local, tls };
        let helo = self.session.helo().map(|(name, extended)| (name.to_owned(), extended));
        let detail = Detail { door: door_name(self.service.kind).to_owned(), helo, signed };
        let detail = serde_json::to_value(detail).unwrap_or_default();
        Hello { service, session: self.correlation, client: Some(client), detail }
    }

    /// The answer is never said: the other server has the word.
    fn handed_over(&mut self, hello: &Hello, opened: Opened, whole_command: bool) -> Answer {
        let to = opened.leg.acceptor.name.clone();
        self.info(&format!("Proxy session was set up with {to}"));
        self.note_proxy(hello, opened.leg);
        self.handed = Some(Box::new(Handed { server: opened.stream, to, whole_command }));
        Answer::Ok
    }

    fn not_handed_over(&mut self, hello: &Hello, failed: &NotOpened) {
        let code = failed.finding.cause.code;
        tracing::warn!(session = %self.correlation, code, text = %failed.text, "not handed over");
        self.info(&format!("Proxy session was not set up: {failed}"));
        self.note_proxy(hello, (*failed.leg).clone());
    }

    fn note_proxy(&self, hello: &Hello, leg: Leg) {
        let hub = &self.service.hub;
        if let Some(legs) = &hub.legs {
            legs.leg("", proxy::leg_of(hello, leg, hub.clock.now()));
        }
    }
}

/// A session that goes on elsewhere, as it is kept here.
pub(super) struct Carried {
    pub(super) client: BoxStream,
    pub(super) server: BoxStream,
    /// What the client said that nobody has answered.
    pub(super) first: Vec<u8>,
    pub(super) to: String,
    pub(super) service: Arc<Service>,
    pub(super) log: Log,
    /// For its leg, should the other server go away.
    pub(super) hello: (waypost_base::id::Correlation, std::net::SocketAddr),
}

impl Carried {
    /// Joins the two until both have ended or we stop.
    pub(super) async fn carry(self) {
        let Carried { client, server, first, to, service, mut log, hello: (session, peer) } = self;
        proxy::SESSIONS_TOTAL.one();
        let _held = proxy::SESSIONS.hold();
        let mut stopping = service.hub.session_stopping();
        let stopped = async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let ended = proxy::splice(client, server, first, stopped).await;
        proxy::BYTES.add(ended.to_server + ended.to_client);
        let how = match &ended.end {
            End::Done | End::Stopped => "Local",
            End::Client(_) => "Remote",
            End::Server(_) => "Remote(SocketError)",
        };
        log.write(Event::Disconnect, "", how);
        let End::Server(e) = ended.end else { return };
        proxy::BROKEN_TOTAL.one();
        tracing::warn!(%session, server = %to, error = %e, "the server of a session has gone");
        let Some(legs) = &service.hub.legs else { return };
        let text = format!("the connection to {to} broke: {e}");
        let operation = if service.kind.is_submission() { "submission.proxy" } else { "smtp.proxy" };
        let (front, other) = (Party::new("front end", ""), Party::new("server", to));
        let mut leg = Leg::start(operation, front, other, service.hub.clock.now());
        leg.correlation = Some(session);
        leg.step("client", 0, Some(peer.to_string()));
        leg.outcome = Outcome::Failed { cause: proxy::BROKEN, text, retry: true };
        legs.leg("", leg);
    }
}
