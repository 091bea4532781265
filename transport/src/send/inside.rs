//! Mail from one server of the organisation to another: over inner legs rather than by names and addresses.
//!
//! Mail for accounts goes to the server that holds them, and each account answers for itself (LMTP). A server that is no
//! hub gives whole messages to one that is. Which hub it begins with depends on the server alone, so that after a restart
//! it asks the one again that may have taken a message already; the others follow in turn.
//!
//! Nothing is delivered twice: each message carries its [`DeliveryId`], by which hubs and accounts know it again.

use super::connect::{Connected, NoWay};
use super::link::Link;
use super::log::Lines;
use super::mx::Stop;
use super::way::{Inside, Way};
use super::{Journey, cause};
use crate::deliver::micros;
use crate::hub::Hub;
use crate::limits::{HOPS, INNER_OPEN_MILLIS};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use waypost_base::explain::{Cause, Step};
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Timestamp};
use waypost_directory::Snapshot;
use waypost_queue::{
    Client, DeliveryId, Envelope, Fate, Hop, Kind, Loaded, Local, NewItem, Place, Reason, Route, Target,
};
use waypost_smtp::Status;
use waypost_trust::channel::Dialed;
use waypost_trust::leg::{Hello, NotOpened, Opened, Service};

/// Where nothing is known of an address: inner legs are between servers.
pub(crate) const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What one server tells another about a message, beside what SMTP has words for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) delivery: DeliveryId,
    /// The account that submitted it.
    pub(crate) owner: Option<AccountId>,
    pub(crate) accepted: Timestamp,
    pub(crate) expires: Timestamp,
    /// Of the session in which it was first accepted.
    pub(crate) session: Correlation,
    pub(crate) kind: Kind,
    /// Whoever brought it into the organisation.
    pub(crate) client: Client,
}

impl Told {
    pub(crate) fn of(envelope: &Envelope, delivery: DeliveryId) -> Told {
        Told {
            delivery,
            owner: envelope.owner,
            accepted: envelope.accepted,
            expires: envelope.expires,
            session: envelope.session,
            kind: envelope.kind,
            client: envelope.client.clone(),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Told> {
        let fields: BTreeMap<&str, &str> =
            text.split(';').filter_map(|field| field.split_once('=')).collect();
        let number = |name: &str| fields.get(name)?.parse::<i64>().ok();
        Some(Told {
            delivery: DeliveryId::from_str(fields.get("d")?).ok()?,
            owner: match fields.get("o") {
                Some(owner) => Some(AccountId(owner.parse().ok()?)),
                None => None,
            },
            accepted: Timestamp(number("a")?),
            expires: Timestamp(number("e")?),
            session: Correlation(u64::from_str_radix(fields.get("s")?, 16).ok()?),
            kind: if fields.get("k") == Some(&"report") { Kind::Report } else { Kind::Mail },
            client: Client {
                ip: fields.get("c").and_then(|ip| ip.parse().ok()),
                helo: fields.get("h").copied().unwrap_or_default().to_owned(),
                connector: fields.get("n").copied().unwrap_or_default().to_owned(),
            },
        })
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (a, e, s) = (self.accepted.as_millis(), self.expires.as_millis(), self.session.0);
        write!(f, "d={};a={a};e={e};s={s:x}", self.delivery)?;
        if let Some(owner) = self.owner {
            write!(f, ";o={}", owner.0)?;
        }
        if self.kind == Kind::Report {
            f.write_str(";k=report")?;
        }
        if let Some(ip) = self.client.ip {
            write!(f, ";c={ip}")?;
        }
        for (name, text) in [("h", &self.client.helo), ("n", &self.client.connector)] {
            let text: String = text.chars().filter(|c| *c != ';' && !c.is_control()).take(120).collect();
            if !text.is_empty() {
                write!(f, ";{name}={text}")?;
            }
        }
        Ok(())
    }
}

/// `17.inbox`: which account a recipient is, and where in it the message goes.
pub(crate) fn recipient(local: Local) -> String {
    let place = match local.place {
        Place::Inbox => "inbox",
        Place::Sent => "sent",
        Place::Junk => "junk",
    };
    format!("{}.{place}", local.account.0)
}

pub(crate) fn parse_recipient(text: &str) -> Option<Local> {
    let (account, place) = text.split_once('.')?;
    let place = match place {
        "inbox" => Place::Inbox,
        "sent" => Place::Sent,
        "junk" => Place::Junk,
        _ => return None,
    };
    Some(Local { account: AccountId(account.parse().ok()?), place })
}

/// The name under which this server, or the one that it had a message from, delivers an item.
pub(crate) fn delivery_id(hub: &Hub, item: u64, loaded: &Loaded) -> DeliveryId {
    let own = || {
        let directory = hub.directory.snapshot();
        DeliveryId::of(directory.here().unwrap_or_default(), item, &loaded.blob.id)
    };
    loaded.envelope.delivery.unwrap_or_else(own)
}

/// Servers to try, in this order.
fn candidates(directory: &Snapshot, inside: &Inside) -> Vec<String> {
    match inside {
        Inside::Home(server) => {
            let known = directory.server(server).filter(|server| server.revoked.is_none());
            known.map(|server| server.id.clone()).into_iter().collect()
        }
        Inside::Hub => {
            let here = directory.here().unwrap_or_default();
            let weight = |id: &str| *blake3::hash(format!("{here}\n{id}").as_bytes()).as_bytes();
            let active = directory.servers().filter(|s| s.roles.transport && s.is_active("HubTransport"));
            let mut hubs: Vec<_> = active.map(|server| (weight(&server.id), server.id.clone())).collect();
            hubs.sort_unstable();
            hubs.into_iter().map(|(_, id)| id).collect()
        }
    }
}

/// Whether the server with this id may still be waited for.
pub(crate) fn is_known(directory: &Snapshot, id: &str) -> bool {
    directory.server(id).is_some_and(|server| server.revoked.is_none())
}

impl Journey {
    /// A leg to the first of the servers that takes one.
    pub(crate) async fn connect_inside(&self, way: &Way, inside: &Inside) -> Result<Connected, NoWay> {
        let refuse = |text: &str| {
            Err(NoWay::Refused(Reason::temporary(
                Status(4, 4, 0),
                format!("[{}] {text}", cause::INSIDE.code),
            )))
        };
        let Some(inner) = self.network.inner.clone() else {
            return refuse("this server has no legs to others of the organisation");
        };
        let servers = candidates(&self.hub.directory.snapshot(), inside);
        if servers.is_empty() {
            return match inside {
                Inside::Home(server) => refuse(&format!(
                    "the server {server}, which holds the mailbox, is not in the organisation any more"
                )),
                Inside::Hub => refuse(
                    "no server with the transport role is active; see Get-ServerComponentState, Set-ServerComponentState",
                ),
            };
        }
        let service = match inside {
            Inside::Home(_) => Service::Delivery,
            Inside::Hub => Service::Hub,
        };
        let mut first: Option<Reason> = None;
        for server in &servers {
            self.hub.metrics.connections.one();
            let begun = Instant::now();
            let opening = inner.open(server, Hello::new(service, self.session));
            let reason = match timeout(Duration::from_millis(INNER_OPEN_MILLIS), opening).await {
                Ok(Ok(opened)) => match self.greet(way, server, opened).await {
                    Ok(connected) => return Ok(connected),
                    Err(reason) => reason,
                },
                Ok(Err(refused)) => self.not_opened(server, refused),
                Err(_) => {
                    let text = format!("no answer within {} seconds", INNER_OPEN_MILLIS / 1000);
                    reason(server, cause::TIMEOUT, &text)
                }
            };
            self.hub.metrics.connections_failed.one();
            let micros = micros(begun);
            self.note(way, &format!("Failed leg to {server} after {micros} microseconds: {reason}"));
            first.get_or_insert(reason);
        }
        let mut reason = first.unwrap_or_else(|| Reason::temporary(Status(4, 4, 0), "no server was tried"));
        if let more @ 1.. = servers.len().saturating_sub(1) {
            reason.text = format!("{} (and {more} more servers were tried)", reason.text);
        }
        Err(NoWay::Refused(reason))
    }

    fn not_opened(&self, server: &str, refused: NotOpened) -> Reason {
        let said = reason(server, refused.finding.cause, &refused.text);
        if let Some(legs) = &self.hub.legs {
            legs.leg("", *refused.leg);
        }
        said
    }

    /// The greeting and hello of a leg that stands.
    async fn greet(&self, way: &Way, server: &str, opened: Opened) -> Result<Connected, Reason> {
        let Opened { stream, leg, finding, .. } = opened;
        self.note(way, &format!("Established leg to {server} by {}", leg.mechanism));
        let stop = Stop { host: server.to_owned(), address: NO_ADDRESS };
        let lines = Lines {
            log: self.network.log.clone().filter(|_| way.connector.protocol_log),
            connector: way.connector.name.clone(),
            session: self.session,
            local: NO_ADDRESS,
            remote: NO_ADDRESS,
            sequence: 0,
        };
        let dialed = Dialed { stream, local: NO_ADDRESS, peer: NO_ADDRESS };
        let host = self.hub.settings().host.clone();
        let config = way.config(&host, NO_ADDRESS.ip(), true);
        let clock = self.hub.clock.clone();
        let mut link = Link::new(dialed, stop, config, way.wish(server), lines, self.network.clone(), clock);
        link.begin();
        if !matches!(link.open().await, super::link::Event::Ready) || !link.client().extensions().inner {
            link.quit().await;
            link.end("Local");
            return Err(reason(server, cause::LOST, "the server did not take up the conversation"));
        }
        let steps: Vec<Step> = leg.steps.clone();
        link.steps.splice(0..0, steps);
        let degraded = finding.map(|finding| {
            let text = match &leg.outcome {
                waypost_base::explain::Outcome::Degraded { text, .. } => text.clone(),
                _ => finding.cause.meaning.to_owned(),
            };
            (finding.cause, text)
        });
        Ok(Connected { link, degraded, leg: Some(Box::new(leg)) })
    }
}

fn reason(server: &str, cause: Cause, text: &str) -> Reason {
    Reason {
        status: Status(4, 4, 1),
        code: None,
        server: Some(server.to_owned()),
        text: format!("[{}] {text}", cause.code),
        temporary: true,
    }
}

/// The targets of a hop that are not (any more) on the server where it leads.
pub(crate) fn moved(directory: &Snapshot, at: &str, loaded: &Loaded) -> Vec<(u32, Target)> {
    let elsewhere = |(_, target): &&(u32, Target)| {
        let account = target.local.and_then(|local| directory.account(local.account));
        account.is_some_and(|account| !directory.home_of(account).eq_ignore_ascii_case(at))
    };
    loaded.targets.iter().filter(elsewhere).cloned().collect()
}

/// Sends targets on to where their accounts are now, as an item of its own. Gives their fates; those without one are to be
/// tried again.
///
/// A crash between the two makes it another item, which is the same delivery.
pub(crate) async fn send_on(
    hub: &Arc<Hub>,
    item: u64,
    loaded: &Loaded,
    moved: Vec<(u32, Target)>,
) -> Vec<(u32, Fate)> {
    if moved.is_empty() {
        return Vec::new();
    }
    if usize::try_from(loaded.envelope.hops_seen).is_ok_and(|hops| hops > HOPS) {
        let text = "this message follows its mailbox from server to server and never finds it";
        let reason = Reason::permanent(Status(5, 4, 6), text);
        return moved.into_iter().map(|(index, _)| (index, Fate::Failed(reason.clone()))).collect();
    }
    let directory = hub.directory.snapshot();
    let mut fates = Vec::with_capacity(moved.len());
    let mut homes: BTreeMap<Route, Vec<Target>> = BTreeMap::new();
    for (index, target) in moved {
        let account = target.local.and_then(|local| directory.account(local.account));
        let Some(account) = account else { continue };
        let home = directory.home_of(account).to_owned();
        let fate = Fate::Relayed {
            server: home.clone(),
            text: format!("250 2.1.5 the mailbox is on {home} now"),
            dsn: true,
        };
        let (route, local) = match (directory.is_here(account), hub.is_transport()) {
            (true, _) => (Route::Mailbox, target.local),
            (false, true) => (Route::Home(home), target.local),
            (false, false) => (Route::Hub, None),
        };
        homes.entry(route).or_default().push(Target { local, ..target });
        fates.push((index, fate));
    }
    let hop = |(number, (route, targets))| Hop { number, route, targets };
    let new = NewItem {
        id: hub.queue.next_id(),
        envelope: Envelope {
            delivery: Some(delivery_id(hub, item, loaded)),
            hops_seen: loaded.envelope.hops_seen.saturating_add(1),
            ..loaded.envelope.clone()
        },
        blob: loaded.blob.clone(),
        recipients: loaded.recipients.clone(),
        hops: (0..).zip(homes).map(hop).collect(),
    };
    match hub.queue.submit(new, false).await {
        Ok(submitted) => {
            tracing::info!(item, onward = submitted.id, "mailboxes have moved: their mail follows");
            fates
        }
        Err(e) => {
            tracing::warn!(item, error = %e, "mail could not be sent on to where its mailboxes are now");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_back() {
        let told = Told {
            delivery: DeliveryId([0xA5; 16]),
            owner: Some(AccountId(7)),
            accepted: Timestamp(1_772_525_720_114),
            expires: Timestamp(1_772_698_520_114),
            session: Correlation(0xFEED),
            kind: Kind::Report,
            client: Client {
                ip: "2001:db8::1".parse().ok(),
                helo: "[192.0.2.1]".into(),
                connector: "Client Frontend".into(),
            },
        };
        assert_eq!(Told::parse(&told.to_string()), Some(told.clone()));
        let bare = Told { owner: None, kind: Kind::Mail, client: Client::default(), ..told };
        assert_eq!(Told::parse(&bare.to_string()), Some(bare));
        for bad in ["", "d=12", "d=zz;a=1;e=1;s=1", "a=1;e=2;s=3"] {
            assert_eq!(Told::parse(bad), None, "{bad}");
        }
        for place in [Place::Inbox, Place::Sent, Place::Junk] {
            let local = Local { account: AccountId(17), place };
            assert_eq!(parse_recipient(&recipient(local)), Some(local));
        }
        assert_eq!(parse_recipient("17"), None);
        assert_eq!(parse_recipient("x.inbox"), None);
    }
}
