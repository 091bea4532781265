//! Inner legs: how two servers of the organisation meet, and what each of them can say about it afterwards.
//!
//! Every inner leg begins alike, whatever it is for: TLS 1.3 with inner certificates on both ends, then a few frames in
//! which the initiator says what it wants ([`Hello`]) and proves who it is by the first [`Mechanism`] that both policies
//! allow, then the answer of the service. From then on the stream belongs to the service: IMAP, POP3, SMTP, commands.
//! Public certificates, host names and DNS play no part.
//!
//! A failure is a [`Finding`] with the evidence of both ends, since each tells the other what it saw.

pub mod accept;
pub mod cause;
pub mod fault;
pub mod frame;
pub mod initiate;
pub mod kerberos;
pub mod limits;
pub mod member;
#[cfg(test)]
mod tests;
mod wire;

use crate::authority::ServerId;
use crate::channel::{BoxStream, TlsFacts};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use waypost_base::explain::{Finding, Leg};
use waypost_base::id::Correlation;

/// What an inner leg is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// A client's IMAP session, handed over after sign-in to the server that holds the account.
    Imap,
    Pop3,
    /// A client's submission, handed over after sign-in.
    Submission,
    /// A stranger's SMTP session, handed over by a front end to a hub before its first message.
    Smtp,
    /// Mail from a mailbox server to a hub.
    Hub,
    /// Mail from a hub to the server that holds the accounts.
    Delivery,
    /// Administrative commands, run on behalf of somebody.
    Command,
    /// The directory, settings and certificates of the organisation, from the server that keeps them.
    Directory,
    /// Questions about sign-ins.
    SignIn,
    /// An account on its way from one server to another.
    Move,
    /// What servers know of each other's health.
    Health,
}

impl Service {
    pub const ALL: [Service; 11] = [
        Service::Imap,
        Service::Pop3,
        Service::Submission,
        Service::Smtp,
        Service::Hub,
        Service::Delivery,
        Service::Command,
        Service::Directory,
        Service::SignIn,
        Service::Move,
        Service::Health,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Service::Imap => "imap",
            Service::Pop3 => "pop3",
            Service::Submission => "submission",
            Service::Smtp => "smtp",
            Service::Hub => "hub",
            Service::Delivery => "delivery",
            Service::Command => "command",
            Service::Directory => "directory",
            Service::SignIn => "signin",
            Service::Move => "move",
            Service::Health => "health",
        }
    }

    pub fn parse(name: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|s| s.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the initiator proves who it is. The channel has both ends' inner certificates in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mechanism {
    /// A ticket for the acceptor's service principal, bound to the TLS channel.
    Kerberos,
    /// The inner certificate itself.
    Mtls,
}

impl Mechanism {
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Kerberos => "kerberos",
            Mechanism::Mtls => "mtls",
        }
    }
}

/// Mechanisms in the order of preference. What is not listed is forbidden; one alone is required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy(pub Vec<Mechanism>);

impl Default for Policy {
    fn default() -> Policy {
        Policy(vec![Mechanism::Mtls])
    }
}

/// What the initiator says of itself and of the client on whose behalf it comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub service: Service,
    pub session: Correlation,
    /// The client of the front end. Believed because the front end is one of ours, never otherwise.
    pub client: Option<Client>,
    /// What the service wants to know besides; its own business. At most [`DETAIL_BYTES_MAX`] as JSON.
    #[serde(default)]
    pub detail: serde_json::Value,
}

/// Bytes of a hello's detail, and of an answer.
pub const DETAIL_BYTES_MAX: usize = 32 * 1024;

impl Hello {
    pub fn new(service: Service, session: Correlation) -> Hello {
        Hello { service, session, client: None, detail: serde_json::Value::Null }
    }
}

/// A client at a front end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// What TLS between client and front end settled; `None` where there is none.
    pub tls: Option<ClientTls>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTls {
    pub version: String,
    pub cipher: String,
    pub server_name: Option<String>,
}

impl From<&TlsFacts> for ClientTls {
    fn from(facts: &TlsFacts) -> ClientTls {
        ClientTls {
            version: facts.version.to_owned(),
            cipher: facts.cipher.to_owned(),
            server_name: facts.server_name.clone(),
        }
    }
}

/// A leg that stands: the service at the other end has said yes.
pub struct Opened {
    pub stream: BoxStream,
    /// What the service answered to the hello's detail.
    pub answer: serde_json::Value,
    /// With its steps so far, `Ok` or `Degraded`. Whoever uses the stream goes on with it and hands it to the log of legs.
    pub leg: Leg,
    /// Why it is degraded, where it is.
    pub finding: Option<Finding>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("leg", &self.leg).finish_non_exhaustive()
    }
}

/// A leg that does not stand.
#[derive(Clone, Debug)]
pub struct NotOpened {
    /// Its outcome is `Failed` with the finding's cause.
    pub leg: Box<Leg>,
    pub finding: Box<Finding>,
    /// In one line, for reasons, queues and logs: `the ticket for … is encrypted with …; the keytab of … holds only …`
    pub text: String,
    /// The other end has not begun to do what it was asked for: another server may be tried.
    pub elsewhere: bool,
    /// What the service said, where it was the service that said no.
    pub answer: serde_json::Value,
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.finding.cause.code, self.text)
    }
}

impl std::error::Error for NotOpened {}

pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Opened, NotOpened>> + Send + 'a>>;

/// Opens legs to servers of the organisation. `server` implements it over sockets, tests in memory.
pub trait Inner: Send + Sync + 'static {
    /// `to` is a server id.
    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a>;
}

/// A leg that a server of ours has opened to us, proved. The service has yet to answer.
pub struct Arrived {
    pub stream: BoxStream,
    pub from: ServerId,
    pub hello: Hello,
    pub leg: Leg,
}

impl fmt::Debug for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrived")
            .field("from", &self.from)
            .field("hello", &self.hello)
            .finish_non_exhaustive()
    }
}

/// The answer of the service, as it goes over the wire.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Welcome {
        #[serde(default)]
        answer: serde_json::Value,
    },
    Refused(Refusal),
}

/// Why the service does not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Code of a cause that the initiator knows too, such as `STORE-UNAVAILABLE`; unknown ones are shown as they are.
    pub code: String,
    pub text: String,
    /// Nothing was begun: another server may be asked.
    pub elsewhere: bool,
    #[serde(default)]
    pub answer: serde_json::Value,
}

impl Arrived {
    /// The service takes it. From here on the stream is the service's.
    pub async fn welcome(mut self, answer: serde_json::Value) -> io::Result<(BoxStream, Leg)> {
        frame::write(&mut self.stream, &Verdict::Welcome { answer }).await?;
        Ok((self.stream, self.leg))
    }

    /// The service does not take it.
    pub async fn refuse(mut self, refusal: Refusal) -> io::Result<()> {
        frame::write(&mut self.stream, &Verdict::Refused(refusal)).await?;
        tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await
    }
}
