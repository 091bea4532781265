//! One ticket of the queue: a connection, and the messages that go over it one after the other.
//!
//! Laws:
//! - What the server has taken is entered before the next message begins; nothing is entered that it has not said.
//! - A fault of the connection holds up the queue, a fault of a message holds up that message.
//! - What is returned to the sender was refused for good by a server, or by the name servers: never by a guess of ours.

use super::connect::{Connected, NoWay, party, server_name};
use super::inside::{self, Told};
use super::link::{Body, Event, Link};
use super::log::{Connectivity, Direction};
use super::mx::{Lost, Stop};
use super::outcome::{self, Sorted};
use super::route::NO_CONNECTOR;
use super::way::{Inside, Way};
use super::{Journey, cause, tell};
use crate::limits::{
    IDLE_CONNECTION_MILLIS, IDLE_LOOK_MILLIS, IN_DOUBT_MILLIS, MOVING_MILLIS, RECIPIENTS_AT_ONCE, SETTLING,
    UNREADABLE_MILLIS,
};
use crate::report;
use crate::sink::Event as Line;
use crate::state::ComponentState;
use std::time::Duration;
use tokio::task::JoinSet;
use waypost_base::Timestamp;
use waypost_base::explain::{Cause, Leg, Outcome as LegOutcome, Party};
use waypost_directory::address::canonical_domain;
use waypost_queue::{Fate, Lease, Loaded, NewItem, QueueError, Reason, Rest, Route, Target};
use waypost_smtp::client::{Delivery, Fault, Outcome, Outgoing, Recipient, Stage};
use waypost_smtp::{Mailbox, Status};
use waypost_tracking::Source;

impl Journey {
    /// Does what the ticket is for. Ends when there is no more to do for this connection.
    pub(super) async fn run(self) {
        let Some(way) = Way::to(self.ticket.next_hop(), &self.hub.routes) else {
            let hop = self.ticket.next_hop();
            // A probe that an earlier run has left behind: it goes in a moment.
            if !hop.is_probe() {
                tracing::warn!(queue = %hop, code = cause::NO_ROUTE.code, "{NO_CONNECTOR}");
            }
            self.ticket.failed(Reason::temporary(Status(4, 4, 4), NO_CONNECTOR));
            return;
        };
        self.line(&way, Direction::Begin, &self.ticket.next_hop().to_string());
        let _open = self.hub.metrics.connections_open.hold();
        match self.connect(&way).await {
            Ok(connected) => self.messages(&way, connected).await,
            Err(NoWay::Lost(lost)) if !lost.retry => {
                self.ticket.ok();
                self.return_all(&way, lost).await;
            }
            Err(NoWay::Lost(lost)) => {
                let text = format!("[{}] {}", lost.cause.code, lost.text);
                self.line(&way, Direction::End, &format!("Messages: 0 Bytes: 0 (Retry : {text})"));
                self.ticket.failed(Reason::temporary(lost.status, lost.text));
            }
            Err(NoWay::Refused(reason)) => {
                self.line(&way, Direction::End, &format!("Messages: 0 Bytes: 0 (Retry : {reason})"));
                self.ticket.failed(reason);
            }
        }
    }

    async fn messages(&self, way: &Way, connected: Connected) {
        let Connected { mut link, degraded, leg } = connected;
        let came = Came { degraded, leg };
        let mut settling = JoinSet::new();
        let mut next = self.ticket.next();
        if next.is_some() {
            self.ticket.ok();
        }
        while let Some(lease) = next {
            if !self.message(way, &mut link, lease, &came, &mut settling).await {
                break;
            }
            while settling.len() > SETTLING {
                settling.join_next().await;
            }
            let most = way.connector.messages_per_connection;
            let enough = most > 0 && link.messages >= most;
            if enough || !link.client().takes_another() || self.stopped() {
                break;
            }
            next = match self.ticket.next() {
                Some(lease) => Some(lease),
                // The next one may be well, or no longer allowed.
                None if came.degraded.is_some() => None,
                None => self.linger(&mut link).await,
            };
        }
        link.quit().await;
        link.end("Local");
        let text = format!("Messages: {} Bytes: {}", link.messages, link.octets);
        self.line(way, Direction::End, &text);
        while settling.join_next().await.is_some() {}
    }

    /// A connection is worth keeping for a moment: where there was one message, there often is another.
    async fn linger(&self, link: &mut Link) -> Option<Lease> {
        let mut waited = 0;
        while waited < IDLE_CONNECTION_MILLIS {
            // Often at first: most of what comes, comes at once.
            let pause = IDLE_LOOK_MILLIS.max(waited / 4);
            if !matches!(link.idle(pause).await, Event::Quiet) || self.stopped() {
                return None;
            }
            waited += pause;
            if let Some(lease) = self.ticket.next() {
                return Some(lease);
            }
        }
        None
    }

    fn stopped(&self) -> bool {
        self.hub.state() == ComponentState::Inactive || *self.hub.stopping().borrow()
    }

    /// Answers whether another may follow.
    async fn message(
        &self,
        way: &Way,
        link: &mut Link,
        mut lease: Lease,
        came: &Came,
        settling: &mut JoinSet<()>,
    ) -> bool {
        let item = lease.item();
        let mut loaded = match lease.load().await {
            Ok(loaded) => loaded,
            Err(e) => {
                self.unreadable(item, &e).await;
                return link.is_idle();
            }
        };
        let host = link.stop.host.clone();
        let Some(lease) = self.still_goes_there(way, &host, lease, &loaded).await else { return true };
        others_first(&mut loaded, most_recipients(link));
        let started = self.hub.clock.now();
        let server = server_name(&link.stop);
        if let Some(most) = way.connector.max_message_size.filter(|most| loaded.blob.size > *most) {
            let text = format!(
                "the message has {} octets, and the send connector {} takes {most} at most",
                loaded.blob.size, way.connector.name
            );
            self.fail(&way.connector.name, lease, &loaded, Reason::permanent(Status(5, 3, 4), text)).await;
            return true;
        }
        let first = link.messages == 0;
        let delivery = self.speak(way, link, &lease, &loaded).await;
        let mut sorted = outcome::sort(&delivery, &loaded.targets, &server, first);
        if way.inside.is_some() {
            soon(&mut sorted, self.hub.clock.now());
        }
        let taken = sorted.fates.iter().any(|(_, fate)| matches!(fate, Fate::Relayed { .. }));
        if taken {
            link.messages += 1;
            link.octets += loaded.blob.size;
        }
        if let Some(reason) = &sorted.queue {
            self.ticket.failed(reason.clone());
        }
        let over = sorted.over;
        self.leg(way, link, started, &loaded, &sorted, came);
        self.finish(way, &link.stop.clone(), lease, &loaded, sorted, settling).await;
        !over
    }

    /// What is for accounts that have moved goes after them; what another hub may have waits for that one. `None`: nothing
    /// is left to be sent now.
    async fn still_goes_there(&self, way: &Way, host: &str, lease: Lease, loaded: &Loaded) -> Option<Lease> {
        match &way.inside {
            None => Some(lease),
            Some(Inside::Home(server)) => {
                let moved = inside::moved(&self.hub.directory.snapshot(), server, loaded);
                if moved.is_empty() {
                    return Some(lease);
                }
                let fates = inside::send_on(&self.hub, lease.item(), loaded, moved).await;
                settle(&self.hub, lease, fates, Rest::Back, Vec::new()).await;
                None
            }
            Some(Inside::Hub) => {
                let now = self.hub.clock.now();
                let fresh = now.since(loaded.envelope.accepted) < IN_DOUBT_MILLIS;
                let doubt = loaded.last_error.as_ref().filter(|last| fresh && outcome::says_in_doubt(last));
                let Some(doubt) = doubt else { return Some(lease) };
                let elsewhere = doubt.server.as_deref().is_some_and(|server| {
                    server != host && inside::is_known(&self.hub.directory.snapshot(), server)
                });
                if !elsewhere {
                    return Some(lease);
                }
                let rest = Rest::Retry { reason: doubt.clone(), at: Some(now.plus_millis(MOVING_MILLIS)) };
                settle(&self.hub, lease, Vec::new(), rest, Vec::new()).await;
                None
            }
        }
    }

    /// A damaged item is with the poisoned when its lease goes; any other is there again, after a pause.
    async fn unreadable(&self, item: u64, e: &QueueError) {
        tracing::error!(item, error = %e, "queue item cannot be read");
        if !matches!(e, QueueError::Damaged { .. }) {
            tokio::time::sleep(Duration::from_millis(UNREADABLE_MILLIS)).await;
        }
    }

    async fn speak(&self, way: &Way, link: &mut Link, lease: &Lease, loaded: &Loaded) -> Delivery {
        let limit = most_recipients(link);
        let some = loaded.targets.iter().take(limit);
        let recipients: Vec<Recipient> = some.map(|(_, t)| recipient(loaded, t, lease.route())).collect();
        let asked = recipients.len();
        let blobs = self.hub.mailboxes.store().blobs();
        let reader = blobs.reader(loaded.blob.clone(), 0..loaded.blob.size);
        let (body, size) = match Body::of(reader).await {
            Ok(body) => body,
            Err(e) => {
                let fault = Fault::Source(e.to_string());
                let broken = Outcome::Broken { stage: Stage::Idle, fault, in_doubt: false };
                return Delivery { outcomes: vec![broken; loaded.targets.len()], dsn: false };
            }
        };
        let outgoing = Outgoing {
            from: loaded.envelope.from.clone().map(ascii_domain),
            size,
            body: loaded.envelope.params.body,
            utf8: loaded.envelope.params.utf8 && self.header_is_international(loaded).await,
            ret: loaded.envelope.params.ret,
            envid: loaded.envelope.params.envid.clone(),
            inner: way.inside.as_ref().map(|_| {
                Told::of(&loaded.envelope, inside::delivery_id(&self.hub, lease.item(), loaded)).to_string()
            }),
            require_tls: false,
            recipients,
        };
        let note = format!(
            "sending message with RecordId {} and InternetMessageId <{}>",
            lease.item(),
            loaded.envelope.message_id
        );
        link.lines.write(self.hub.clock.now(), Line::Information, "", &note);
        let mut delivery = match link.deliver(outgoing, body).await {
            Event::Done(delivery) => *delivery,
            // A message that was begun always ends with its answers; this is for a client that does not keep to that.
            other => {
                tracing::error!(item = lease.item(), "a connection ended without answers: {other:?}");
                Delivery { outcomes: vec![Outcome::Left; asked], dsn: false }
            }
        };
        delivery.outcomes.resize(loaded.targets.len(), Outcome::Left);
        delivery
    }

    /// Whether the header cannot be said without SMTPUTF8. Only looked at where it was asked for.
    async fn header_is_international(&self, loaded: &Loaded) -> bool {
        let blobs = self.hub.mailboxes.store().blobs();
        let mut reader = blobs.reader(loaded.blob.clone(), 0..loaded.blob.size.min(HEADER));
        let mut tail = Vec::new();
        while let Ok(Some(piece)) = reader.next().await {
            tail.extend_from_slice(&piece);
            let end = memchr::memmem::find(&tail, b"\r\n\r\n");
            if !tail.get(..end.unwrap_or(tail.len())).unwrap_or_default().is_ascii() {
                return true;
            }
            if end.is_some() {
                return false;
            }
            let keep = tail.len().saturating_sub(3);
            tail.drain(..keep);
        }
        // Unread is unknown: then it is as the sender said.
        reader.left() > 0
    }

    /// Tells everybody, and enters the result.
    async fn finish(
        &self,
        way: &Way,
        stop: &Stop,
        lease: Lease,
        loaded: &Loaded,
        sorted: Sorted,
        settling: &mut JoinSet<()>,
    ) {
        let item = lease.item();
        let metrics = &self.hub.metrics;
        let relayed = sorted.fates.iter().filter(|(_, fate)| matches!(fate, Fate::Relayed { .. })).count();
        metrics.sent.add(count(relayed));
        metrics.send_failed.add(count(sorted.fates.len() - relayed));
        metrics.send_deferred.add(count(sorted.put_off.len()));
        if sorted.in_doubt && way.inside.is_none() {
            metrics.in_doubt.one();
            tracing::warn!(item, session = %loaded.envelope.session, server = server_name(stop),
                "the answer to a message got lost: it is sent again and may arrive twice");
        }
        tell::sent(&self.hub, item, loaded, &sorted, &way.connector.name, Some(stop));
        let reports = report::conclude(&self.hub, loaded, &sorted.fates).await;
        let back = sorted.rest == Rest::Back;
        let done = settle(&self.hub, lease, sorted.fates, sorted.rest, reports);
        if back {
            // It is wanted again at once.
            done.await;
        } else {
            settling.spawn(done);
        }
    }

    /// Everything of a message fails, without a server having been asked.
    async fn fail(&self, connector: &str, lease: Lease, loaded: &Loaded, reason: Reason) {
        self.hub.metrics.send_failed.add(count(loaded.targets.len()));
        let fates: Vec<(u32, Fate)> =
            loaded.targets.iter().map(|(index, _)| (*index, Fate::Failed(reason.clone()))).collect();
        let source = if reason.status.1 == 4 { Source::Dns } else { Source::Routing };
        tell::failed(&self.hub, lease.item(), loaded, &reason, connector, source);
        let reports = report::conclude(&self.hub, loaded, &fates).await;
        settle(&self.hub, lease, fates, Rest::Done, reports).await;
    }

    /// The domain is not there, or takes no mail: so it is for all messages that wait for it.
    async fn return_all(&self, way: &Way, lost: Lost) {
        let mut returned = 0_u64;
        let reason = Reason::permanent(lost.status, lost.text.clone());
        while let Some(mut lease) = self.ticket.next() {
            let loaded = match lease.load().await {
                Ok(loaded) => loaded,
                Err(e) => {
                    self.unreadable(lease.item(), &e).await;
                    continue;
                }
            };
            if let Some(legs) = &self.hub.legs {
                let host = self.hub.settings().host.clone();
                let acceptor = Party::new("server", way.destination.clone());
                let mut leg =
                    Leg::start("smtp.send", Party::new("hub", host), acceptor, self.hub.clock.now());
                leg.correlation = Some(loaded.envelope.session);
                leg.outcome = LegOutcome::Failed { cause: lost.cause, text: lost.text.clone(), retry: false };
                legs.leg(&loaded.envelope.message_id, leg);
            }
            self.fail(&way.connector.name, lease, &loaded, reason.clone()).await;
            returned += 1;
        }
        let text = format!("Messages: 0 Bytes: 0 ({returned} returned: [{}] {})", lost.cause.code, lost.text);
        self.line(way, Direction::End, &text);
    }

    fn leg(
        &self,
        way: &Way,
        link: &mut Link,
        started: Timestamp,
        loaded: &Loaded,
        sorted: &Sorted,
        came: &Came,
    ) {
        let steps = link.take_steps();
        // A probe tells of its legs itself.
        let Some(legs) = self.hub.legs.as_ref().filter(|_| !self.ticket.next_hop().is_probe()) else {
            return;
        };
        let host = self.hub.settings().host.clone();
        let mut leg = match &came.leg {
            Some(leg) => Leg { started, ..Leg::clone(leg) },
            None => Leg::start("smtp.send", Party::new("hub", host), party(&link.stop), started),
        };
        leg.correlation = Some(loaded.envelope.session);
        leg.steps = steps;
        if way.connector.credentials.is_some() {
            let plain = link.client().extensions().auth.iter().any(|m| m == "PLAIN");
            leg.mechanism = if plain { "PLAIN".into() } else { "LOGIN".into() };
        }
        if let Some((_, certificate)) = &link.tls {
            leg.key = Some(certificate.fingerprint.clone());
        }
        leg.outcome = leg_outcome(sorted, came.degraded.as_ref());
        legs.leg(&loaded.envelope.message_id, leg);
    }

    /// A line of the connectivity log.
    pub(super) fn line(&self, way: &Way, direction: Direction, description: &str) {
        let Some(log) = &self.network.connectivity else { return };
        if self.ticket.next_hop().is_probe() {
            return;
        }
        log.record(&Connectivity {
            time: self.hub.clock.now(),
            session: self.session,
            source: "SMTP",
            destination: &way.destination,
            direction,
            description,
        });
    }

    pub(super) fn note(&self, way: &Way, description: &str) {
        self.line(way, Direction::Note, description);
    }
}

/// How a connection came about, for the legs of what goes over it.
struct Came {
    degraded: Option<(Cause, String)>,
    leg: Option<Box<Leg>>,
}

/// A mailbox that has just moved, or is about to, takes its mail in a moment.
fn soon(sorted: &mut Sorted, now: Timestamp) {
    let moving = |(_, reason): &(u32, Reason)| {
        matches!(reason.status, Status(4, 1, 6) | Status(4, 2, 1)) && reason.code.is_some()
    };
    if let Rest::Retry { at, .. } = &mut sorted.rest
        && sorted.put_off.iter().all(moving)
    {
        *at = Some(now.plus_millis(MOVING_MILLIS));
    }
}

/// Octets of a header that are looked through for what needs SMTPUTF8.
const HEADER: u64 = 1024 * 1024;

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Recipients that one message may have.
fn most_recipients(link: &Link) -> usize {
    let told = link.client().extensions().rcpt_max;
    told.map_or(RECIPIENTS_AT_ONCE, |most| usize::try_from(most).unwrap_or(usize::MAX)).max(1)
}

/// Where not all recipients fit into one message, each attempt begins with others: some that are put off for days keep
/// nobody else from theirs.
fn others_first(loaded: &mut Loaded, most: usize) {
    let count = loaded.targets.len();
    if count > most {
        let attempts = usize::try_from(loaded.attempts).unwrap_or(0);
        loaded.targets.rotate_left(attempts.wrapping_mul(most) % count);
    }
}

/// In line when this returns; the answer is heard by whoever awaits it.
pub(super) fn settle(
    hub: &std::sync::Arc<crate::Hub>,
    lease: Lease,
    fates: Vec<(u32, Fate)>,
    rest: Rest,
    reports: Vec<NewItem>,
) -> impl Future<Output = ()> + Send + use<> {
    let item = lease.item();
    let settling = hub.queue.settle(lease, fates, rest, reports);
    async move {
        if let Err(e) = settling.await {
            tracing::warn!(item, error = %e, "queue item could not be updated yet");
        }
    }
}

fn leg_outcome(sorted: &Sorted, degraded: Option<&(Cause, String)>) -> LegOutcome {
    if sorted.in_doubt {
        let text = sorted.put_off.first().map(|(_, reason)| reason.to_string()).unwrap_or_default();
        return LegOutcome::Failed { cause: cause::IN_DOUBT, text, retry: true };
    }
    let failed = sorted.fates.iter().find_map(|(_, fate)| match fate {
        Fate::Failed(reason) => Some(reason),
        _ => None,
    });
    if let Some(reason) = failed {
        let cause = if reason.code.is_none() { cause::UNABLE } else { cause::REFUSED };
        return LegOutcome::Failed { cause, text: reason.to_string(), retry: false };
    }
    if let Some((_, reason)) = sorted.put_off.first() {
        let cause = if reason.code.is_none() { cause::LOST } else { cause::PUT_OFF };
        return LegOutcome::Failed { cause, text: reason.to_string(), retry: true };
    }
    match degraded {
        Some((cause, text)) => LegOutcome::Degraded { cause: *cause, text: text.clone() },
        None => LegOutcome::Ok,
    }
}

/// As it goes over the wire. An international domain has an ASCII form that every server knows.
fn recipient(loaded: &Loaded, target: &Target, route: &Route) -> Recipient {
    let mut to = target.to.clone();
    if let (Route::Domain(domain), true) = (route, to.local.is_ascii() && !to.domain.is_ascii()) {
        to.domain.clone_from(domain);
    }
    let accepted = usize::try_from(target.of).ok().and_then(|of| loaded.recipients.get(of));
    let mut params = accepted.map(|a| a.params.clone()).unwrap_or_default();
    params.inner = target.local.map(inside::recipient);
    Recipient { to: ascii_domain(to), params }
}

fn ascii_domain(mut mailbox: Mailbox) -> Mailbox {
    if mailbox.local.is_ascii()
        && !mailbox.domain.is_ascii()
        && let Ok(ascii) = canonical_domain(&mailbox.domain)
    {
        mailbox.domain = ascii.into_owned();
    }
    mailbox
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_smtp::Reply;
    use waypost_smtp::client::By;

    #[test]
    fn what_the_leg_says() {
        let target = (0, Target { to: Mailbox::new("a", "b.example"), of: 0, local: None });
        let sort = |outcome: Outcome| {
            outcome::sort(
                &Delivery { outcomes: vec![outcome], dsn: false },
                std::slice::from_ref(&target),
                "mx (192.0.2.1)",
                true,
            )
        };
        let refused = |by| {
            let reply = Reply::new(553, Status(5, 6, 7), "SMTPUTF8 is needed");
            sort(Outcome::Refused { stage: Stage::Mail, reply, by })
        };
        let code = |sorted: &Sorted, degraded| match leg_outcome(sorted, degraded) {
            LegOutcome::Failed { cause, .. } | LegOutcome::Degraded { cause, .. } => cause.code,
            _ => "",
        };
        assert_eq!(code(&refused(By::Us), None), "SEND-UNABLE");
        assert_eq!(code(&refused(By::Peer), None), "SEND-REFUSED");
        let ok = sort(Outcome::Accepted { reply: Reply::new(250, Status(2, 0, 0), "ok") });
        assert_eq!(code(&ok, None), "");
        assert_eq!(code(&ok, Some(&(cause::TLS, "in clear".to_owned()))), "SEND-TLS");
    }

    #[test]
    fn international_domains() {
        let mailbox = ascii_domain(Mailbox::new("a", "blåbær.example"));
        assert_eq!(mailbox.to_string(), "a@xn--blbr-roah.example");
        assert!(ascii_domain(Mailbox::new("å", "blåbær.example")).is_international());
    }
}
