//! What a leg wants of Kerberos: tokens in and out, and evidence of both ends whatever comes of it.
//!
//! One exchange: the initiator's token (an AP-REQ by GSS-API, mutual, bound to the TLS channel), the acceptor's answer to it
//! (AP-REP). No ticket that is not bound to the channel is good: whoever accepts one reports `KRB-BINDING` or
//! `KRB-BINDING-ABSENT`. The acceptor also looks at the ticket before it opens it, so that it can say what it was encrypted
//! with and which keys it holds.

use std::future::Future;
use std::pin::Pin;
use waypost_base::explain::Evidence;

pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, KerberosFault>> + Send + 'a>>;

/// Why there is no proof by Kerberos, as far as this end can know: text `the ticket for … is encrypted with aes256-cts kvno 4;
/// the keytab of server-2/transport holds only …`, evidence what this end has seen: what was asked for and came, or what
/// ticket came and which keys are there.
pub type KerberosFault = super::fault::Fault;

/// The initiator's side. It knows its own principal and where its credentials are.
pub trait KerberosInitiator: Send + Sync + 'static {
    /// Gets a ticket for `target` (such as `waypost/mbx1.example.org@EXAMPLE.ORG`) and makes the first token. `exporter` is
    /// the `tls-exporter` binding of the channel (RFC 9266), 32 octets without a prefix.
    fn begin<'a>(&'a self, target: &'a str, exporter: &'a [u8; 32]) -> Doing<'a, Begun>;
}

/// A token on its way.
pub struct Begun {
    pub token: Vec<u8>,
    /// What was asked for and got: principal, encryption types, kvno, times. Joined with what the acceptor says.
    pub evidence: Vec<Evidence>,
    /// What takes the acceptor's answer.
    pub rest: Box<dyn KerberosRest>,
}

pub trait KerberosRest: Send {
    /// Checks the acceptor's token; an acceptor that cannot prove that it opened the ticket is a fault.
    fn finish(self: Box<Self>, reply: Vec<u8>) -> Doing<'static, Proof>;
}

/// The acceptor's side.
pub trait KerberosAcceptor: Send + Sync + 'static {
    fn accept<'a>(&'a self, token: &'a [u8], exporter: &'a [u8; 32]) -> Doing<'a, Admitted>;
}

/// What is proved, for the leg.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The other end's principal.
    pub principal: String,
    /// The key that the proof rests on: `waypost/mbx1.example.org@EXAMPLE.ORG kvno 4 aes256-cts`.
    pub key: String,
    pub evidence: Vec<Evidence>,
}

/// A ticket that is good, and the answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    pub reply: Vec<u8>,
    pub proof: Proof,
}
