//! The initiator's half of the handshake, over a channel whose other end has been verified already.

use super::fault::{Fault, Told};
use super::kerberos::{Begun, KerberosInitiator};
use super::limits::{
    ATTEMPTS_MAX, CLOCK_SKEW_MAX_MILLIS, CLOCK_SKEW_TOLD_MILLIS, FRAME_MAX, KERBEROS_MAX, VERDICT_MAX,
};
use super::member::Member;
use super::wire::{self, Attempt, Begin, Reply};
use super::{Hello, Mechanism, NotOpened, Opened, Policy, Refusal, Verdict, cause};
use crate::channel::BoxStream;
use std::borrow::Cow;
use tokio::time::Instant;
use waypost_base::explain::{Evidence, Leg, Outcome};
use waypost_base::{Clock, Timestamp};

/// What the initiator brings along.
pub struct Initiator<'a> {
    pub own: &'a Member,
    pub other: &'a Member,
    pub policy: &'a Policy,
    /// The `tls-exporter` binding of the channel.
    pub exporter: [u8; 32],
    /// The inner certificate by which TLS knows us, for the leg: `inner certificate 0A1B…`.
    pub certificate: String,
    pub kerberos: Option<&'a dyn KerberosInitiator>,
    pub clock: &'a Clock,
}

/// Proves who we are, by the first mechanism that works, and says what we want. `leg` has the steps so far.
pub async fn initiate(
    stream: BoxStream,
    leg: Leg,
    hello: Hello,
    with: Initiator<'_>,
) -> Result<Opened, NotOpened> {
    let mut talk = Talk { stream, leg, with, hello: Some(hello), failed: Vec::new(), skew: None };
    let by = match talk.prove().await {
        Ok(by) => by,
        Err(fault) => return Err(talk.not_opened(fault, true)),
    };
    talk.leg.mechanism = Cow::Borrowed(by.name());
    let start = Instant::now();
    let other = talk.with.other.id.clone();
    let verdict = wire::receive(&mut talk.stream, &other, VERDICT_MAX).await;
    talk.leg.step("service", micros(start), None);
    match verdict {
        Ok(Verdict::Welcome { answer }) => Ok(talk.opened(answer)),
        Ok(Verdict::Refused(refusal)) => Err(talk.refused(refusal)),
        // Whether it has begun is not known.
        Err(fault) => Err(talk.not_opened(fault, false)),
    }
}

/// A leg that did not come as far as the handshake, as whoever dialled knows it.
pub fn not_opened(mut leg: Leg, fault: Fault, elsewhere: bool) -> NotOpened {
    leg.outcome = Outcome::Failed { cause: fault.cause, text: fault.text.clone(), retry: true };
    NotOpened {
        leg: Box::new(leg),
        finding: Box::new(fault.finding()),
        text: fault.text,
        elsewhere,
        answer: serde_json::Value::Null,
    }
}

struct Talk<'a> {
    stream: BoxStream,
    leg: Leg,
    with: Initiator<'a>,
    /// Until the first frame is sent.
    hello: Option<Hello>,
    /// What was tried in vain, in order.
    failed: Vec<Fault>,
    /// Milliseconds by which the other clock is ahead, once known.
    skew: Option<i64>,
}

impl Talk<'_> {
    async fn prove(&mut self) -> Result<Mechanism, Fault> {
        let mechanisms = self.with.policy.0.clone();
        for by in mechanisms.into_iter().take(ATTEMPTS_MAX) {
            let start = Instant::now();
            let tried = match by {
                Mechanism::Kerberos => self.by_kerberos().await,
                Mechanism::Mtls => self.attempt(Mechanism::Mtls, None).await.map(|asked| {
                    asked.map(|_| {
                        self.leg.key = Some(self.with.certificate.clone());
                    })
                }),
            };
            let note = match &tried {
                Ok(Ok(())) => None,
                Ok(Err(no)) => Some(no.fault.text.clone()),
                Err(fault) => Some(fault.text.clone()),
            };
            self.leg.step(by.name(), micros(start), note);
            match tried? {
                Ok(()) => return Ok(by),
                Err(no) => {
                    self.failed.push(no.fault);
                    if no.last {
                        break;
                    }
                }
            }
        }
        self.tell_what_failed().await;
        if self.failed.is_empty() {
            return Err(Fault::new(cause::POLICY, "the policy of this leg allows no mechanism"));
        }
        // The first one is what should have worked; what came of the others is evidence.
        let mut fault = self.failed.remove(0);
        for other in &self.failed {
            fault.evidence.extend(other.evidence.iter().cloned());
            fault.evidence.push(Evidence {
                source: self.with.own.id.clone(),
                time: Some(self.with.clock.now()),
                fact: format!("[{}] {}", other.cause.code, other.text),
            });
        }
        Err(fault)
    }

    /// Where nothing came as far as the other end: it is told, so that its administrator finds the leg too.
    async fn tell_what_failed(&mut self) {
        let Some(hello) = self.hello.take().filter(|_| !self.failed.is_empty()) else { return };
        let failed = self.failed.iter().map(Told::from).collect();
        let attempt = Attempt { by: Mechanism::Kerberos, token: None, failed };
        let (from, time) = (self.with.own.id.clone(), self.with.clock.now());
        let begin = Begin { waypost: wire::VERSION, from, hello, time, attempt };
        let other = self.with.other.id.clone();
        // Our own fault is what counts.
        let _ = wire::send(&mut self.stream, &other, &begin).await;
    }

    async fn by_kerberos(&mut self) -> Result<Result<(), No>, Fault> {
        let begun = match ticket(&self.with).await {
            Ok(begun) => begun,
            Err(fault) => return Ok(Err(No { fault, last: false })),
        };
        let Begun { token, evidence, rest } = begun;
        let reply = match self.attempt(Mechanism::Kerberos, Some(&token)).await? {
            Ok(reply) => reply,
            Err(mut no) => {
                // Both ends: what we asked for and got, then what the acceptor says.
                let theirs = std::mem::replace(&mut no.fault.evidence, evidence);
                no.fault.evidence.extend(theirs);
                return Ok(Err(no));
            }
        };
        let reply = reply.as_deref().and_then(wire::token_bytes).ok_or_else(|| {
            let text = format!("{} did not prove that it could read the ticket", self.with.other.id);
            Fault::new(cause::PROTOCOL, text)
        })?;
        let finish = tokio::time::timeout(KERBEROS_MAX, rest.finish(reply)).await;
        // The acceptor has trusted us and waits for the service by now: there is no way back to another mechanism.
        let proof = finish.unwrap_or_else(|_| Err(kerberos_late()))?;
        self.leg.key = Some(proof.key);
        Ok(Ok(()))
    }

    /// One round. The outer error ends the leg, the inner one this mechanism.
    async fn attempt(
        &mut self,
        by: Mechanism,
        token: Option<&[u8]>,
    ) -> Result<Result<Option<String>, No>, Fault> {
        let other = self.with.other.id.clone();
        let failed = self.failed.iter().map(Told::from).collect();
        let attempt = Attempt { by, token: token.map(wire::token), failed };
        let sent = self.with.clock.now();
        match self.hello.take() {
            Some(hello) => {
                let from = self.with.own.id.clone();
                let begin = Begin { waypost: wire::VERSION, from, hello, time: sent, attempt };
                wire::send(&mut self.stream, &other, &begin).await?;
            }
            None => wire::send(&mut self.stream, &other, &attempt).await?,
        }
        match wire::receive(&mut self.stream, &other, FRAME_MAX + KERBEROS_MAX).await? {
            Reply::Trusted { by: trusted, token, time } if trusted == by => {
                self.compare_clocks(sent, time);
                Ok(Ok(token))
            }
            Reply::Trusted { .. } => {
                Err(Fault::new(cause::PROTOCOL, format!("{other} trusts what was not offered")))
            }
            Reply::Distrusted { fault, allowed, time } => {
                self.compare_clocks(sent, time);
                let mut fault = fault.by(&other);
                if by == Mechanism::Mtls {
                    let shown = Evidence {
                        source: self.with.own.id.clone(),
                        time: Some(self.with.clock.now()),
                        fact: format!("showed {}", self.with.certificate),
                    };
                    fault.evidence.insert(0, shown);
                }
                if let Some(skew) = self.skew.filter(|s| s.abs() > CLOCK_SKEW_TOLD_MILLIS) {
                    let now = self.with.clock.now();
                    fault = fault.seen(self.with.own.id.clone(), now, skew_text(&other, skew));
                }
                let more = self.with.policy.0.iter().any(|m| *m != by && allowed.contains(m));
                Ok(Err(No { fault, last: !more }))
            }
        }
    }

    fn compare_clocks(&mut self, sent: Timestamp, theirs: Timestamp) {
        let middle = sent.plus_millis(self.with.clock.now().since(sent) / 2);
        self.skew = Some(theirs.since(middle));
    }

    fn opened(self, answer: serde_json::Value) -> Opened {
        let Talk { stream, mut leg, with, mut failed, skew, .. } = self;
        if let Some(skew) = skew.filter(|s| s.abs() > CLOCK_SKEW_MAX_MILLIS && failed.is_empty()) {
            let text = skew_text(&with.other.id, skew);
            let fault = Fault::new(cause::CLOCK, text.clone());
            failed.push(fault.seen(with.own.id.clone(), with.clock.now(), text));
        }
        let finding = failed.first().map(Fault::finding);
        leg.outcome = match failed.into_iter().next() {
            Some(Fault { cause, text, .. }) => Outcome::Degraded { cause, text },
            None => Outcome::Ok,
        };
        Opened { stream, answer, leg, finding }
    }

    fn refused(self, refusal: Refusal) -> NotOpened {
        let Refusal { code, text, elsewhere, answer } = refusal;
        let told = Told { code, text, evidence: Vec::new(), remedy: Vec::new() };
        let fault = told.by(&self.with.other.id);
        NotOpened { answer, ..not_opened(self.leg, fault, elsewhere) }
    }

    fn not_opened(self, mut fault: Fault, elsewhere: bool) -> NotOpened {
        if fault.evidence.is_empty() {
            fault = fault.seen(self.with.own.id.clone(), self.with.clock.now(), "the handshake ended here");
        }
        not_opened(self.leg, fault, elsewhere)
    }
}

/// The stream is no part of this: it may not be shared between threads.
async fn ticket(with: &Initiator<'_>) -> Result<Begun, Fault> {
    let (own, other) = (&with.own.id, &with.other.id);
    let Some(kerberos) = with.kerberos else {
        let text = format!("the leg to {other} wants Kerberos, and {own} has none set up");
        return Err(Fault::new(cause::NO_KERBEROS, text));
    };
    let Some(target) = with.other.principals.first() else {
        let text =
            format!("the leg to {other} wants Kerberos, and the directory has no principal of {other}");
        return Err(Fault::new(cause::NO_KERBEROS, text).seen(
            own.clone(),
            with.clock.now(),
            format!("Get-Server {other} shows no Principals"),
        ));
    };
    let begun = tokio::time::timeout(KERBEROS_MAX, kerberos.begin(target, &with.exporter)).await;
    begun.unwrap_or_else(|_| Err(kerberos_late()))
}

/// A mechanism that failed.
struct No {
    fault: Fault,
    /// Nothing else may be tried.
    last: bool,
}

pub(super) fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn kerberos_late() -> Fault {
    Fault::new(cause::TIMEOUT, format!("Kerberos did not answer within {} s", KERBEROS_MAX.as_secs()))
}

/// `the clock of server-2 is 600 s ahead`
pub(super) fn skew_text(other: &str, skew: i64) -> String {
    let way = if skew > 0 { "ahead" } else { "behind" };
    format!("the clock of {other} is {} s {way}", (skew.abs() + 500) / 1000)
}
