//! From a next hop to a connection on which messages can be sent: addresses one after the other, until one is good.

use super::Journey;
use super::cause;
use super::link::{Event, Link};
use super::log::Lines;
use super::mx::{Hosts, Lost, Stop};
use super::way::Way;
use crate::connector::TlsLevel;
use crate::deliver::micros;
use crate::limits::{CONNECT_ALL_MILLIS, CONNECT_MILLIS, NAMES_MILLIS};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use waypost_base::explain::{Cause, Leg, Outcome, Party, Step};
use waypost_queue::Reason;
use waypost_smtp::Status;
use waypost_smtp::client::{By, Failure, Fault, Stage, Why};
use waypost_trust::channel::Verify;

/// A connection, and what is to be said of how it came about.
pub(crate) struct Connected {
    pub(crate) link: Link,
    /// It works, but not as it was wanted.
    pub(crate) degraded: Option<(Cause, String)>,
    /// How it came about, where it is an inner leg.
    pub(crate) leg: Option<Box<Leg>>,
}

/// Why there is none.
pub(crate) enum NoWay {
    /// Names were not found: for good, or not now.
    Lost(Lost),
    /// No address took us.
    Refused(Reason),
}

/// One attempt that failed.
struct Attempt {
    cause: Cause,
    reason: Reason,
    /// Only TLS was in the way.
    handshake: bool,
}

/// How a server is called in reasons and reports: `mx.example.net (192.0.2.1)`.
pub(crate) fn server_name(stop: &Stop) -> String {
    if stop.address.ip().is_unspecified() {
        return stop.host.clone();
    }
    let (ip, port) = (stop.address.ip(), stop.address.port());
    let port = if port == 25 { String::new() } else { format!(":{port}") };
    let ip = match ip {
        std::net::IpAddr::V6(six) if !port.is_empty() => format!("[{six}]{port}"),
        ip => format!("{ip}{port}"),
    };
    if stop.host == stop.address.ip().to_string() { ip } else { format!("{} ({ip})", stop.host) }
}

/// The other end of a leg: `mx.example.net[192.0.2.1]:25`.
pub(crate) fn party(stop: &Stop) -> Party {
    let (ip, port) = (stop.address.ip(), stop.address.port());
    Party::new("server", format!("{}[{ip}]:{port}", stop.host))
}

impl Journey {
    pub(crate) async fn connect(&self, way: &Way) -> Result<Connected, NoWay> {
        if let Some(inside) = &way.inside {
            return self.connect_inside(way, inside).await;
        }
        let begun = Instant::now();
        let settings = self.hub.settings();
        let source = way.connector.source;
        let finding = Hosts::find(&self.network, &settings.host, way.goal(), source);
        let mut hosts = match timeout(Duration::from_millis(NAMES_MILLIS), finding).await {
            Ok(found) => found.map_err(NoWay::Lost)?,
            Err(_) => return Err(NoWay::Lost(slow(&way.destination))),
        };
        let dns = Step { name: "dns".into(), micros: micros(begun), note: Some(hosts.note.clone()) };
        let until = begun + Duration::from_millis(CONNECT_ALL_MILLIS);
        let mut first: Option<Reason> = None;
        let mut tried = 0_usize;
        let mut all = false;
        while Instant::now() < until {
            let Ok(next) = tokio::time::timeout_at(until, hosts.next()).await else { break };
            let Some(stop) = next else {
                all = true;
                break;
            };
            tried += 1;
            match self.one(way, &stop, &settings.host, dns.clone()).await {
                Ok(connected) => return Ok(connected),
                Err(reason) => first = Some(first.unwrap_or(reason)),
            }
        }
        // What was not looked at to the end says nothing for good.
        let lost = hosts.lost(&way.destination).filter(|lost| all || lost.retry);
        match (first, lost) {
            (Some(mut reason), _) => {
                if tried > 1 {
                    reason.text = format!("{} (and {} more addresses were tried)", reason.text, tried - 1);
                }
                Err(NoWay::Refused(reason))
            }
            (None, Some(lost)) => Err(NoWay::Lost(lost)),
            (None, None) => Err(NoWay::Lost(slow(&way.destination))),
        }
    }

    /// One address, and once more in clear where TLS failed and is not asked for.
    async fn one(&self, way: &Way, stop: &Stop, host: &str, dns: Step) -> Result<Connected, Reason> {
        let mut failed = match self.attempt(way, stop, host, false, &dns).await {
            Ok(link) => {
                let degraded = doubtful(way, &link);
                return Ok(Connected { link, degraded, leg: None });
            }
            Err(failed) => failed,
        };
        if failed.handshake && way.connector.tls.level == TlsLevel::Opportunistic {
            match self.attempt(way, stop, host, true, &dns).await {
                Ok(link) => {
                    self.hub.metrics.sent_in_clear.one();
                    let text = format!("sent in clear, because TLS failed: {}", failed.reason.text);
                    return Ok(Connected { link, degraded: Some((cause::TLS, text)), leg: None });
                }
                Err(again) => failed = again,
            }
        }
        Err(failed.reason)
    }

    async fn attempt(
        &self,
        way: &Way,
        stop: &Stop,
        host: &str,
        clear: bool,
        dns: &Step,
    ) -> Result<Link, Attempt> {
        self.hub.metrics.connections.one();
        let started = self.hub.clock.now();
        let begun = Instant::now();
        let dialing = self.network.dial.dial(stop.address, way.connector.source);
        let dialed = timeout(Duration::from_millis(CONNECT_MILLIS), dialing).await;
        let connect = Step { name: "connect".into(), micros: micros(begun), note: None };
        let mut steps = vec![dns.clone(), connect];
        let failed = match dialed {
            Ok(Ok(dialed)) => {
                self.note(way, &format!("Established connection to {}", stop.address.ip()));
                let lines = Lines {
                    log: self.network.log.clone().filter(|_| way.connector.protocol_log),
                    connector: way.connector.name.clone(),
                    session: self.session,
                    local: dialed.local,
                    remote: dialed.peer,
                    sequence: 0,
                };
                let config = way.config(host, stop.address.ip(), clear);
                let wish = way.wish(&stop.host);
                let clock = self.hub.clock.clone();
                let mut link =
                    Link::new(dialed, stop.clone(), config, wish, lines, self.network.clone(), clock);
                link.begin();
                let event = link.open().await;
                if matches!(event, Event::Ready) {
                    link.steps.splice(0..0, steps);
                    return Ok(link);
                }
                let failed = unready(event, stop);
                link.watch();
                link.quit().await;
                link.end("Local");
                steps.append(&mut link.steps);
                failed
            }
            Ok(Err(e)) => unconnected(stop, cause::CONNECT, format!("no connection: {}", plain(&e))),
            Err(_) => {
                let text = format!("no answer within {} seconds", CONNECT_MILLIS / 1000);
                unconnected(stop, cause::TIMEOUT, text)
            }
        };
        self.hub.metrics.connections_failed.one();
        self.note(way, &format!("Failed connection to {}: {}", stop.address.ip(), failed.reason));
        if let Some(legs) = self.hub.legs.as_ref().filter(|_| !self.ticket.next_hop().is_probe()) {
            let mut leg = Leg::start("smtp.send", Party::new("hub", host), party(stop), started);
            leg.steps = steps;
            leg.correlation = Some(self.session);
            leg.outcome =
                Outcome::Failed { cause: failed.cause, text: failed.reason.to_string(), retry: true };
            legs.leg("", leg);
        }
        Err(failed)
    }
}

/// What the certificate lacks that the connector would like.
fn doubtful(way: &Way, link: &Link) -> Option<(Cause, String)> {
    let tls = &way.connector.tls;
    match &link.tls {
        Some((_, certificate)) if tls.verify > Verify::Any => {
            let fault = certificate.fault.as_ref()?;
            Some((cause::TLS, format!("the certificate was not verified: {fault}")))
        }
        _ => None,
    }
}

fn slow(destination: &str) -> Lost {
    Lost {
        cause: cause::DNS,
        status: Status(4, 4, 3),
        text: format!("the name servers did not answer about {destination} in time"),
        retry: true,
    }
}

fn plain(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => e.to_string(),
    }
}

fn unconnected(stop: &Stop, cause: Cause, text: String) -> Attempt {
    let reason = Reason {
        status: Status(4, 4, 1),
        code: None,
        server: Some(server_name(stop)),
        text,
        temporary: true,
    };
    Attempt { cause, reason, handshake: false }
}

fn unready(event: Event, stop: &Stop) -> Attempt {
    let server = server_name(stop);
    let temporary =
        |status, text| Reason { status, code: None, server: Some(server.clone()), text, temporary: true };
    match event {
        Event::NoTls(why) => Attempt {
            cause: cause::TLS,
            reason: temporary(Status(4, 7, 5), format!("TLS did not come about: {why}")),
            handshake: true,
        },
        Event::Failed(failure) => {
            let cause = cause_of(&failure);
            let reason = match &failure.why {
                Why::Refused(reply) => {
                    let reason = super::outcome::reason(reply, failure.stage, By::Peer, &server);
                    // Whatever it says to a greeting: another day it may speak to us, and the messages have two days.
                    Reason { temporary: true, ..reason }
                }
                Why::Lacks(_) => temporary(Status(4, 7, 4), failure.to_string()),
                Why::Fault(_) => temporary(Status(4, 4, 2), failure.to_string()),
            };
            let handshake = failure.stage == Stage::StartTls && !matches!(failure.why, Why::Lacks(_));
            Attempt { cause, reason, handshake }
        }
        Event::Ready | Event::Done(_) | Event::Closed | Event::Quiet => Attempt {
            cause: cause::LOST,
            reason: temporary(Status(4, 4, 2), "the connection was closed".to_owned()),
            handshake: false,
        },
    }
}

fn cause_of(failure: &Failure) -> Cause {
    match (&failure.why, failure.stage) {
        (Why::Fault(Fault::Timeout(_)), _) => cause::TIMEOUT,
        (_, Stage::StartTls) => cause::TLS,
        (_, Stage::Auth) => cause::AUTH,
        (Why::Refused(reply), _) if reply.is_transient() => cause::PUT_OFF,
        (Why::Refused(_), _) => cause::REFUSED,
        (Why::Lacks(_), _) => cause::UNABLE,
        (Why::Fault(_), _) => cause::LOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servers() {
        let name = |host: &str, address: &str| {
            server_name(&Stop { host: host.into(), address: address.parse().unwrap() })
        };
        assert_eq!(name("mx.example", "192.0.2.1:25"), "mx.example (192.0.2.1)");
        assert_eq!(name("mx.example", "[2001:db8::1]:2525"), "mx.example ([2001:db8::1]:2525)");
        assert_eq!(name("127.0.0.1", "127.0.0.1:2526"), "127.0.0.1:2526");
    }
}
