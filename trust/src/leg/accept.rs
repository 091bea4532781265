//! The acceptor's half of the handshake. TLS has let in whoever holds the key of the certificate that was shown, or nobody's;
//! who that is and what they may do is judged here, where the refusal can say why.

use super::fault::{Fault, Told};
use super::initiate::{kerberos_late, micros, skew_text};
use super::kerberos::KerberosAcceptor;
use super::limits::{ATTEMPTS_MAX, CLOCK_SKEW_MAX_MILLIS, FRAME_MAX, KERBEROS_MAX};
use super::member::{Member, Members, may_use};
use super::wire::{self, Attempt, Begin, Reply};
use super::{Arrived, Hello, Mechanism, Policy, Service, cause};
use crate::authority::{Bundle, Issued, ServerId, VerifyError};
use crate::certificate::Facts;
use crate::channel::BoxStream;
use std::borrow::Cow;
use tokio::time::Instant;
use waypost_base::explain::{Finding, Leg, Outcome, Party};
use waypost_base::{Clock, Timestamp};

/// What the acceptor goes by.
pub struct Acceptor<'a> {
    pub own: &'a Member,
    pub bundle: &'a Bundle,
    pub members: &'a dyn Members,
    pub policy: &'a (dyn Fn(Service) -> Policy + Send + Sync),
    /// The `tls-exporter` binding of the channel.
    pub exporter: [u8; 32],
    /// The certificate (DER) that the other end has shown; that it holds its key is proved.
    pub certificate: Option<&'a [u8]>,
    pub kerberos: Option<&'a dyn KerberosAcceptor>,
    pub clock: &'a Clock,
    /// Where the connection comes from, for whoever cannot be named otherwise.
    pub peer: String,
}

/// What has come in. `finding`: why the leg is degraded, if it is.
#[derive(Debug)]
pub struct Arrival {
    pub arrived: Arrived,
    pub finding: Option<Finding>,
}

/// Somebody who was not let in. They have been told.
#[derive(Debug)]
pub struct NotArrived {
    pub leg: Box<Leg>,
    pub finding: Box<Finding>,
    pub text: String,
    /// The server that they are or say they are; `None` for strangers.
    pub from: Option<String>,
    pub service: Option<Service>,
}

/// Judges one connection.
pub async fn accept(stream: BoxStream, with: Acceptor<'_>) -> Result<Arrival, Box<NotArrived>> {
    let now = with.clock.now();
    let leg = Leg::start(
        "inner",
        Party::new("stranger", with.peer.clone()),
        Party::new(with.own.role(), with.own.id.clone()),
        now,
    );
    let mut talk = Talk { stream, leg, with, from: None, service: None, failed: Vec::new() };
    let begin = match talk.first().await {
        Ok(begin) => begin,
        Err(fault) => return Err(talk.not_arrived(fault)),
    };
    let hello = begin.hello.clone();
    match talk.judge(begin).await {
        Ok((from, by)) => Ok(talk.arrived(from, hello, by)),
        Err(fault) => Err(talk.not_arrived(fault)),
    }
}

struct Talk<'a> {
    stream: BoxStream,
    leg: Leg,
    with: Acceptor<'a>,
    from: Option<String>,
    service: Option<Service>,
    failed: Vec<Fault>,
}

impl Talk<'_> {
    async fn first(&mut self) -> Result<Begin, Fault> {
        let peer = self.with.peer.clone();
        let value: serde_json::Value = wire::receive(&mut self.stream, &peer, FRAME_MAX).await?;
        let version = value.get("waypost").and_then(serde_json::Value::as_u64);
        let begin = serde_json::from_value::<Begin>(value);
        let fault = match begin {
            Ok(begin) if begin.waypost == wire::VERSION => return Ok(begin),
            _ => {
                let text = match version {
                    Some(version) if version != u64::from(wire::VERSION) => format!(
                        "{peer} speaks version {version} of the inner handshake, we speak {}",
                        wire::VERSION
                    ),
                    _ => format!("{peer} sent what is no inner handshake"),
                };
                Fault::new(cause::PROTOCOL, text)
            }
        };
        self.distrust(&fault, Vec::new()).await;
        Err(fault)
    }

    /// Who it is, whether it may, and by which mechanism it proves it. Whoever is refused is told why.
    async fn judge(&mut self, begin: Begin) -> Result<(ServerId, Mechanism), Fault> {
        let Begin { hello, attempt, time, from, .. } = begin;
        self.name(&hello, &from);
        let start = Instant::now();
        let judged = self.member(&from, &hello, time);
        self.leg.step("certificate", micros(start), judged.as_ref().err().map(|f| f.text.clone()));
        let (id, member, issued) = match judged {
            Ok(judged) => judged,
            Err(fault) => {
                self.distrust(&fault, Vec::new()).await;
                return Err(fault);
            }
        };
        self.leg.initiator = Party::new(member.role(), id.as_str());
        let by = self.proof(attempt, hello.service, &member, &issued).await?;
        let skew = time.since(self.with.clock.now());
        if skew.abs() > CLOCK_SKEW_MAX_MILLIS && self.failed.is_empty() {
            let text = skew_text(id.as_str(), skew);
            let fault = Fault::new(cause::CLOCK, text.clone());
            self.failed.push(fault.seen(self.with.own.id.clone(), self.with.clock.now(), text));
        }
        Ok((id, by))
    }

    /// What the other end says it is; believed for the name of a refusal only.
    fn name(&mut self, hello: &Hello, from: &str) {
        self.service = Some(hello.service);
        self.leg.operation = Cow::Owned(format!("inner.{}", hello.service));
        self.leg.correlation = Some(hello.session);
        self.from = ServerId::parse(from).ok().map(|id| id.to_string());
        if let Some(from) = &self.from {
            self.leg.initiator = Party::new("server", from.clone());
        }
    }

    fn member(
        &self,
        from: &str,
        hello: &Hello,
        time: Timestamp,
    ) -> Result<(ServerId, Member, Issued), Fault> {
        let now = self.with.clock.now();
        let own = &self.with.own.id;
        let Some(der) = self.with.certificate else {
            let text = format!("{from} at {} has shown no inner certificate", self.with.peer);
            return Err(Fault::new(cause::NO_CERTIFICATE, text).seen(
                own.clone(),
                now,
                "TLS was finished without a certificate of the initiator",
            ));
        };
        let seen = |fault: Fault| fault.seen(own.clone(), now, described(der));
        let issued = self.with.bundle.verify(der, now).map_err(|why| {
            let skew = time.since(now);
            let fault = certificate_fault(from, &why, now, Some(skew));
            let fault = authorities(fault, own, self.with.bundle, &why, now);
            seen(fault)
        })?;
        let id = issued.server.clone();
        if id.as_str() != from {
            let text = format!("{from} came with the inner certificate of {id}");
            return Err(seen(Fault::new(cause::WRONG_SERVER, text)));
        }
        let Some(member) = self.with.members.member(id.as_str()) else {
            let text = format!("the directory has no server {id}");
            return Err(seen(Fault::new(cause::UNKNOWN_SERVER, text)));
        };
        standing(&member, &issued, now).map_err(seen)?;
        if let Err(why) = may_use(hello.service, &member, self.with.own) {
            let fact = format!("roles in the directory: {} has {}", member.id, member.roles());
            return Err(Fault::new(cause::NOT_ALLOWED, why).seen(own.clone(), now, fact));
        }
        Ok((id, member, issued))
    }

    /// Attempts until one proves what the certificate says, or nothing more is allowed.
    async fn proof(
        &mut self,
        mut attempt: Attempt,
        service: Service,
        member: &Member,
        issued: &Issued,
    ) -> Result<Mechanism, Fault> {
        let policy = (self.with.policy)(service);
        for round in 1.. {
            let by = attempt.by;
            for told in std::mem::take(&mut attempt.failed).into_iter().take(ATTEMPTS_MAX) {
                let fault = told.by(&member.id);
                // Faults that we told of ourselves come back.
                if !self.failed.iter().any(|f| f.cause == fault.cause) {
                    self.failed.push(fault);
                }
            }
            let start = Instant::now();
            let tried = self.attempt(&attempt, &policy, member, issued).await;
            self.leg.step(by.name(), micros(start), tried.as_ref().err().map(|f| f.text.clone()));
            match tried {
                Ok(token) => {
                    let reply = Reply::Trusted { by, token, time: self.with.clock.now() };
                    wire::send(&mut self.stream, &member.id, &reply).await?;
                    return Ok(by);
                }
                Err(fault) => {
                    let mut allowed = policy.0.clone();
                    allowed.retain(|m| *m != by && round < ATTEMPTS_MAX);
                    let over = allowed.is_empty();
                    self.distrust(&fault, allowed).await;
                    self.failed.push(fault.clone());
                    if over {
                        return Err(self.failed.remove(0));
                    }
                    match wire::receive::<Attempt>(&mut self.stream, &member.id, FRAME_MAX).await {
                        Ok(next) => attempt = next,
                        // The other end's policy allows no more: what failed is what counts.
                        Err(_) => return Err(self.failed.remove(0)),
                    }
                }
            }
        }
        Err(Fault::new(cause::PROTOCOL, "too many attempts"))
    }

    /// The token of the answer, where the mechanism has one.
    async fn attempt(
        &mut self,
        attempt: &Attempt,
        policy: &Policy,
        member: &Member,
        issued: &Issued,
    ) -> Result<Option<String>, Fault> {
        let now = self.with.clock.now();
        let own = self.with.own.id.clone();
        let by = attempt.by;
        if !policy.0.contains(&by) {
            let names: Vec<&str> = policy.0.iter().map(|m| m.name()).collect();
            let allowed = names.join(", ");
            let text = format!("{own} allows {allowed} on this leg, and {} came by {}", member.id, by.name());
            return Err(Fault::new(cause::POLICY, text).seen(
                own,
                now,
                format!("policy of the leg: {allowed}"),
            ));
        }
        if by == Mechanism::Mtls {
            // Kerberos is preferred and was not even tried: somebody may want it to look broken.
            if policy.0.first() == Some(&Mechanism::Kerberos) && self.failed.is_empty() {
                let text =
                    format!("{} came by mtls without having tried kerberos, which {own} prefers", member.id);
                self.failed.push(Fault::new(cause::POLICY, text).seen(
                    own,
                    now,
                    "policy of the leg: kerberos, mtls",
                ));
            }
            self.leg.key = Some(format!("inner certificate {}", issued.serial));
            return Ok(None);
        }
        let Some(kerberos) = self.with.kerberos else {
            let text = format!("{} came by kerberos, and {own} has none set up", member.id);
            return Err(Fault::new(cause::NO_KERBEROS, text));
        };
        let token = attempt.token.as_deref().and_then(wire::token_bytes);
        let token = token.ok_or_else(|| {
            Fault::new(cause::PROTOCOL, format!("{} sent no Kerberos token that could be read", member.id))
        })?;
        let accepting = kerberos.accept(&token, &self.with.exporter);
        let admitted =
            tokio::time::timeout(KERBEROS_MAX, accepting).await.unwrap_or_else(|_| Err(kerberos_late()))?;
        let proof = admitted.proof;
        if !member.principals.iter().any(|p| p.eq_ignore_ascii_case(&proof.principal)) {
            let text =
                format!("the ticket is of {}, which is no principal of {}", proof.principal, member.id);
            let known =
                format!("principals of {} in the directory: {}", member.id, member.principals.join(", "));
            let mut fault = Fault::new(cause::PRINCIPAL, text).seen(own, now, known);
            fault.evidence.extend(proof.evidence);
            return Err(fault);
        }
        self.leg.key = Some(proof.key);
        Ok(Some(wire::token(&admitted.reply)))
    }

    async fn distrust(&mut self, fault: &Fault, allowed: Vec<Mechanism>) {
        let reply = Reply::Distrusted { fault: Told::from(fault), allowed, time: self.with.clock.now() };
        let peer = self.with.peer.clone();
        // Whoever does not listen any more has missed the reason; our log has it.
        let _ = wire::send(&mut self.stream, &peer, &reply).await;
    }

    fn arrived(self, from: ServerId, hello: Hello, by: Mechanism) -> Arrival {
        let Talk { stream, mut leg, failed, .. } = self;
        leg.mechanism = Cow::Borrowed(by.name());
        let finding = failed.first().map(Fault::finding);
        leg.outcome = match failed.into_iter().next() {
            Some(Fault { cause, text, .. }) => Outcome::Degraded { cause, text },
            None => Outcome::Ok,
        };
        Arrival { arrived: Arrived { stream, from, hello, leg }, finding }
    }

    fn not_arrived(self, fault: Fault) -> Box<NotArrived> {
        let Talk { mut leg, from, service, .. } = self;
        leg.outcome = Outcome::Failed { cause: fault.cause, text: fault.text.clone(), retry: true };
        let finding = Box::new(fault.finding());
        Box::new(NotArrived { leg: Box::new(leg), finding, text: fault.text, from, service })
    }
}

/// Whether a server and its certificate may still be used.
pub fn standing(member: &Member, issued: &Issued, now: Timestamp) -> Result<(), Fault> {
    if let Some(since) = member.revoked {
        let text = format!("{} has been revoked since {since}", member.id);
        let fact = format!("{} is Revoked in the directory since {since}", member.id);
        return Err(Fault::new(cause::REVOKED, text).seen("directory", now, fact));
    }
    if let Some(since) = member.certificates_since.filter(|since| issued.is_before(*since)) {
        let text = format!(
            "the inner certificate {} of {} was made at {}; those made before {since} are void",
            issued.serial, member.id, issued.made
        );
        let fact =
            format!("made {} ms before the directory voided such certificates", since.since(issued.made));
        return Err(Fault::new(cause::REVOKED, text).seen("inner certificate", now, fact));
    }
    Ok(())
}

/// Why an inner certificate is none that we take, in a line. `skew`: how far the other clock is ahead, in ms, if known.
pub fn certificate_fault(of: &str, why: &VerifyError, now: Timestamp, skew: Option<i64>) -> Fault {
    let off = skew.filter(|s| s.abs() > CLOCK_SKEW_MAX_MILLIS);
    match why {
        VerifyError::Expired(at) | VerifyError::NotYet(at) => {
            let expired = matches!(why, VerifyError::Expired(_));
            let text = if expired {
                format!("the inner certificate of {of} has expired at {at}; it is {now} here")
            } else {
                format!("the inner certificate of {of} is not valid before {at}; it is {now} here")
            };
            match off {
                Some(skew) => {
                    let text = format!("{text}, and {}", skew_text(of, skew));
                    Fault::new(cause::CLOCK, text)
                }
                None => Fault::new(if expired { cause::EXPIRED } else { cause::NOT_YET }, text),
            }
        }
        VerifyError::OtherIssuer(_) | VerifyError::Signature => {
            let text = format!("the inner certificate of {of} is by a CA that is not trusted here: {why}");
            Fault::new(cause::OTHER_CA, text)
        }
        VerifyError::NoServer => {
            Fault::new(cause::WRONG_SERVER, format!("the inner certificate of {of} is no server's: {why}"))
        }
        VerifyError::Malformed(_) => {
            Fault::new(cause::OTHER_CA, format!("the inner certificate of {of} cannot be read: {why}"))
        }
    }
}

/// With the CAs that are trusted here, where the fault is that it is another's.
pub fn authorities(fault: Fault, own: &str, bundle: &Bundle, why: &VerifyError, now: Timestamp) -> Fault {
    if !matches!(why, VerifyError::OtherIssuer(_) | VerifyError::Signature) {
        return fault;
    }
    let trusted: Vec<String> =
        bundle.facts().into_iter().map(|f| format!("{} ({})", f.subject, f.fingerprint)).collect();
    fault.seen(own, now, format!("inner CAs trusted here: {}", trusted.join("; ")))
}

/// A certificate in a line, as evidence.
pub fn described(der: &[u8]) -> String {
    match Facts::of_der(der) {
        Ok(f) => format!(
            "certificate {}: {} by {}, valid from {} to {}",
            f.serial, f.subject, f.issuer, f.not_before, f.not_after
        ),
        Err(e) => format!("a certificate that cannot be read: {e}"),
    }
}
