//! What commands ask of the health of the running server.

use super::client;
use super::ground::{Ground, Tried};
use super::legs;
use super::rounds::Health;
use crate::probe::{Done, Fault, Offer, Talk, Target, Way, Who, say};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waypost_admin::failure::{Category, Failure, Outcome};
use waypost_admin::health::{
    Authenticated, Bound, Connected, ConnectionType, Connectivity, Flown, Health as Asked, Item, Mailflow,
    ReadProtocol,
};
use waypost_admin::run::Answer;
use waypost_admin::settings::{Listener, Settings};
use waypost_directory::Recipient;
use waypost_health::{Alert, Event, EventQuery, MonitorState, ProbeId, ProbeResult, Subject, sets};
use waypost_trust::leg::Service;

/// For one connection of Test-ImapConnectivity, and for a message of Test-Mailflow, where nothing is said.
const CONNECTION: Duration = Duration::from_secs(24);
const MESSAGE: Duration = Duration::from_secs(240);
const BEYOND: Duration = Duration::from_secs(600);

pub struct Hand(pub Arc<Health>);

impl Hand {
    fn ground(&self) -> &Arc<Ground> {
        &self.0.ground
    }

    fn result(&self, probe: ProbeId, begun: Instant, tried: Tried) -> ProbeResult {
        let ground = self.ground();
        let millis = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mut result = ProbeResult::new(probe, &ground.here(), ground.now().plus_millis(-millis));
        result.millis = u32::try_from(millis).unwrap_or(u32::MAX);
        result.legs = tried.legs;
        result.finding = tried.fault;
        result.degraded = tried.degraded && result.finding.is_some();
        result.subject = tried.subject;
        result.culprit = tried.culprit;
        result
    }

    async fn run_all(&self, asked: &ProbeId) -> Vec<ProbeResult> {
        let mut results = Vec::new();
        for planned in self.0.planned().into_iter().filter(|p| p.id.is(asked)) {
            results.push(self.0.try_one(&planned).await.0);
        }
        results
    }

    /// The doors of a protocol that fit, each with how clients protect themselves there.
    fn connections(&self, asked: &Connectivity) -> Vec<(Target, ConnectionType)> {
        let (plain, secure) = match asked.protocol {
            ReadProtocol::Imap => ("imap", "imaps"),
            ReadProtocol::Pop => ("pop3", "pop3s"),
        };
        let ground = self.ground();
        let settings = self.0.settings();
        let in_clear = match asked.protocol {
            ReadProtocol::Imap => settings.imap.login_type,
            ReadProtocol::Pop => settings.pop.login_type,
        } == waypost_admin::settings::LoginType::PlainTextLogin;
        let ways = [
            (secure, ConnectionType::Ssl, true),
            (plain, ConnectionType::Tls, true),
            (
                plain,
                ConnectionType::Plaintext,
                in_clear || asked.connection == Some(ConnectionType::Plaintext),
            ),
        ];
        let wanted = |kind: ConnectionType| asked.connection.is_none_or(|c| c == kind);
        let found = ways.into_iter().filter(|(_, kind, usual)| *usual && wanted(*kind));
        let found = found.filter_map(|(door, kind, _)| Some((ground.target(door)?, kind)));
        found.filter(|(target, _)| asked.port.is_none_or(|port| port == target.at.port())).collect()
    }

    async fn connect(
        &self,
        asked: &Connectivity,
        target: &Target,
        kind: ConnectionType,
        who: &Who,
        home: &str,
    ) -> ProbeResult {
        let limit = asked.per_connection.map_or(CONNECTION, Duration::from_millis);
        let begun = Instant::now();
        let (set, name) = match asked.protocol {
            ReadProtocol::Imap => ("IMAP", "ImapCTPProbe"),
            ReadProtocol::Pop => ("POP", "PopCTPProbe"),
        };
        let ground = self.ground();
        let _turn = if asked.protocol == ReadProtocol::Pop { Some(ground.pop.lock().await) } else { None };
        let mut shown_fault = None;
        let spoken = ground
            .converse(
                target,
                &super::cause::MANNER,
                &format!("{}.test", target.door),
                limit,
                async |talk: &mut Talk| {
                    let way = first_way(talk, target, kind, who, ground).await?;
                    shown_fault = talk.shown.as_ref().and_then(|c| c.fault.clone());
                    say::sign_in(talk, target.door, way, who).await?;
                    if asked.light { Ok(()) } else { say::use_it(talk, target.door, who).await }
                },
            )
            .await;
        let untrusted = shown_fault.filter(|_| !asked.trust_any && spoken.done.is_ok());
        let mut tried = client::taken(ground, target, home, spoken);
        if let Some(why) = untrusted {
            let fault = Fault::new(
                waypost_trust::public::check::UNTRUSTED,
                format!("clients would not accept the certificate: {why}"),
            );
            if let Some(leg) = tried.legs.pop() {
                let (leg, finding) = ground.closed(leg, Err::<(), _>(fault));
                tried = tried.with((leg, finding));
            }
        }
        self.result(ProbeId::new(set, name, format!("{} {}", target.door, kind.name())), begun, tried)
    }

    /// Whom to sign in as: the person that was named, or health mailboxes, each with its home.
    fn people(&self, asked: &Connectivity) -> Outcome<Vec<(String, Who)>> {
        let ground = self.ground();
        let now = ground.snapshot();
        if let Some((name, password)) = &asked.credential {
            let account = now.sign_in_account(name).or_else(|| now.find_account(name));
            let home = account.map_or_else(|| ground.here(), |a| now.home_of(a).to_owned());
            let who = Who {
                address: name.clone(),
                password: password.clone(),
                host: self.0.settings().server.name.clone(),
            };
            return Ok(vec![(home, who)]);
        }
        let all = ground.mailboxes().into_iter();
        let fits = |home: &String| asked.mailbox_server.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(home));
        let found: Vec<_> =
            all.filter(|(home, _)| fits(home)).map(|(home, account)| (home, ground.who(&account))).collect();
        if found.is_empty() {
            let server = asked.mailbox_server.clone().unwrap_or_default();
            return Err(Failure::not_found("health mailbox", server));
        }
        Ok(found)
    }
}

/// Connects as this kind of client does, and says how to sign in.
async fn first_way(
    talk: &mut Talk,
    target: &Target,
    kind: ConnectionType,
    who: &Who,
    ground: &Ground,
) -> Done<Way> {
    let plain = |w: &Way| matches!(w, Way::Command | Way::Mechanism(waypost_sasl::Mechanism::Plain));
    let offered: Vec<Way> = if kind == ConnectionType::Plaintext {
        say::reach_in_clear(talk, target).await?;
        return Ok(Way::Command);
    } else {
        let target = Target { wants_tls: true, ..*target };
        let Offer { ways, .. } = say::reach(talk, &target, who, &*ground.tls).await?;
        ways
    };
    let best = offered.iter().copied().find(plain).or_else(|| offered.first().copied());
    best.ok_or_else(|| Fault::new(talk.manner.no_way, "no way to sign in is offered, not even under TLS"))
}

impl Asked for Hand {
    fn items(&self) -> Vec<Item> {
        let timing = self.0.timing();
        let settings = self.0.settings();
        let off = settings.health.switched_off(self.ground().now());
        let budgets = settings.health.budgets();
        let item = |probe: ProbeId| {
            let given =
                budgets.iter().find(|(name, _)| name.eq_ignore_ascii_case(&probe.name)).map(|(_, b)| *b);
            let usual = || sets::probe(&probe.name).map_or(sets::BUDGET, |spec| spec.budget);
            Item {
                recurrence: timing.recurrence(),
                timeout: timing.timeout(),
                budget: given.unwrap_or_else(usual),
                enabled: !off.iter().any(|asked| probe.is(asked)),
                probe,
            }
        };
        let mut ids: Vec<ProbeId> = self.0.planned().into_iter().map(|p| p.id).collect();
        ids.sort();
        ids.into_iter().map(item).collect()
    }

    fn monitors(&self) -> Vec<MonitorState> {
        let now = self.0.moment();
        self.0.with_watch(|watch| watch.state(now))
    }

    fn run<'a>(&'a self, asked: &'a ProbeId) -> Answer<'a, Vec<ProbeResult>> {
        Box::pin(async move { Ok(self.run_all(asked).await) })
    }

    fn alerts(&self, past: bool) -> Answer<'_, Vec<Alert>> {
        Box::pin(async move {
            match self.0.alerts(past).await {
                Ok(alerts) => Ok(alerts),
                // What was told last is better than nothing.
                Err(e) => {
                    let told = self.0.keeping.told();
                    if told.is_empty() {
                        Err(Failure::new(Category::ResourceUnavailable, "keeper", format!("{e}.")))
                    } else {
                        Ok(told)
                    }
                }
            }
        })
    }

    fn events(&self, query: &EventQuery) -> Vec<Event> {
        self.0.with_watch(|watch| watch.events(query))
    }

    fn repairing(&self, set: &str, on: bool) {
        let under_repair = self.0.with_watch(|watch| {
            watch.repairing(set, on);
            watch.under_repair()
        });
        if let Err(e) = self.0.memory.keep_repairing(under_repair) {
            tracing::warn!(error = %e, "that a set is repaired is forgotten when the server restarts");
        }
    }

    fn connectivity<'a>(&'a self, asked: &'a Connectivity) -> Answer<'a, Vec<Connected>> {
        Box::pin(async move {
            let until = asked.timeout.map(|ms| Instant::now() + Duration::from_millis(ms));
            let people = self.people(asked)?;
            let mut all = Vec::new();
            for (home, who) in &people {
                for (target, kind) in self.connections(asked) {
                    let over = until.is_some_and(|until| Instant::now() > until);
                    let skipped = over.then(|| "the time for all of it was over".to_owned());
                    let result = match over {
                        true => self.result(ProbeId::new("", "", ""), Instant::now(), Tried::default()),
                        false => self.connect(asked, &target, kind, who, home).await,
                    };
                    all.push(Connected {
                        server: self.ground().here(),
                        mailbox_server: home.clone(),
                        connection: kind,
                        port: target.at.port(),
                        user: who.address.clone(),
                        skipped,
                        result,
                    });
                }
            }
            Ok(all)
        })
    }

    fn smtp(&self) -> Answer<'_, Vec<Bound>> {
        Box::pin(async move {
            let settings = self.0.settings();
            let mut all = Vec::new();
            for (name, connector) in settings.receive_connectors_in_force().iter().filter(|(_, c)| c.enabled)
            {
                let door = match connector.listener {
                    Listener::Smtp => "smtp",
                    Listener::Submission => "submission",
                    Listener::Submissions => "submissions",
                };
                for (asked, at) in self.bindings(&settings, door) {
                    let begun = Instant::now();
                    let tried = client::self_test(self.ground(), door, self.0.limit()).await;
                    let code =
                        tried.fault.as_ref().and_then(|f| f.evidence.iter().find_map(|e| code_in(&e.fact)));
                    let probe = ProbeId::new("FrontendTransport", "OnPremisesInboundProxyProbe", door);
                    all.push(Bound {
                        server: self.ground().here(),
                        connector: name.clone(),
                        binding: asked.to_string(),
                        endpoint: at.to_string(),
                        result: self.result(probe, begun, tried),
                        code,
                    });
                }
            }
            Ok(all)
        })
    }

    fn mailflow<'a>(&'a self, asked: &'a Mailflow) -> Answer<'a, Vec<Flown>> {
        Box::pin(async move {
            let ground = self.ground();
            let limit = asked.timeout.map_or(MESSAGE, Duration::from_millis).min(BEYOND);
            if let Some(address) = &asked.address {
                return Ok(vec![self.to_address(address, limit, asked.error_latency).await?]);
            }
            let fits = |home: &String| asked.server.as_ref().is_none_or(|s| s.eq_ignore_ascii_case(home));
            let homes: Vec<_> = ground.mailboxes().into_iter().filter(|(home, _)| fits(home)).collect();
            if homes.is_empty() {
                let server = asked.server.clone().unwrap_or_default();
                return Err(Failure::not_found("health mailbox", server));
            }
            let mut all = Vec::new();
            for (home, account) in homes {
                let begun = Instant::now();
                let (tried, id) = super::flow::mail_named(ground, (&home, &account), limit).await;
                let remote = home != ground.here();
                let name = if remote { "MailflowIntraOrgProbe" } else { "MailflowLocalProbe" };
                let mut result = self.result(ProbeId::new("MailFlow", name, home.clone()), begun, tried);
                late(ground, &mut result, asked.error_latency);
                let latency = result.finding.is_none().then_some(u64::from(result.millis));
                all.push(Flown { target: home, remote, latency, message_id: id, result });
            }
            Ok(all)
        })
    }

    fn authenticate<'a>(&'a self, to: &'a str, service: Option<&'a str>) -> Answer<'a, Vec<Authenticated>> {
        Box::pin(async move {
            let ground = self.ground();
            let services = match service {
                Some(name) => {
                    let known: Vec<&str> = Service::ALL.iter().map(|s| s.name()).collect();
                    let found = Service::parse(name);
                    let text = || Failure::invalid("Service", format!("One of {}.", known.join(", ")));
                    vec![found.ok_or_else(text)?]
                }
                None => legs::services(ground, to),
            };
            let from = ground.here();
            let mut all = Vec::new();
            for service in services {
                let begun = Instant::now();
                let (leg, finding, degraded) = legs::one(ground, to, service).await;
                let tried =
                    Tried { degraded, ..Tried::of(vec![Subject::leg(&from, to)]) }.with((leg, finding));
                let probe = ProbeId::new("Network", "InnerLegProbe", to);
                let result = self.result(probe, begun, tried);
                all.push(Authenticated {
                    from: from.clone(),
                    to: to.to_owned(),
                    service: service.name().to_owned(),
                    result,
                });
            }
            Ok(all)
        })
    }
}

impl Hand {
    fn bindings(&self, settings: &Settings, door: &'static str) -> Vec<(SocketAddr, SocketAddr)> {
        let wanted = crate::run::settings::doors(settings);
        let open = self.ground().target(door).map(|t| t.at);
        let asked = wanted.get(door).cloned().unwrap_or_default();
        match open {
            Some(at) if asked.is_empty() => vec![(at, at)],
            Some(at) => asked.into_iter().map(|a| (a, at)).collect(),
            None => asked.into_iter().map(|a| (a, a)).collect(),
        }
    }

    /// To an address: waited for where it is a health mailbox; of others only that it was taken.
    async fn to_address(&self, address: &str, limit: Duration, late_after: Option<u64>) -> Outcome<Flown> {
        let ground = self.ground();
        let begun = Instant::now();
        let resolved = ground.services.organisation.directory.resolve(address);
        let remote = !matches!(resolved, Recipient::Account { .. });
        let (tried, id) = super::flow::hand_in_for(ground, address, limit).await;
        let name = if remote { "MailflowOutboundProbe" } else { "MailflowLocalProbe" };
        let mut result = self.result(ProbeId::new("MailFlow", name, address), begun, tried);
        late(ground, &mut result, late_after);
        let latency = result.finding.is_none().then_some(u64::from(result.millis));
        Ok(Flown { target: address.to_owned(), remote, latency, message_id: id, result })
    }
}

/// A message that came, though later than it should.
fn late(ground: &Ground, result: &mut ProbeResult, after: Option<u64>) {
    let Some(after) = after.filter(|after| u64::from(result.millis) > *after && result.finding.is_none())
    else {
        return;
    };
    let leg = ground.leg("mail", waypost_base::explain::Party::new("mailbox", result.probe.target.clone()));
    let text = format!("the message was there after {} ms; {after} ms are allowed", result.millis);
    result.finding = Some(ground.finding(&leg, &Fault::new(super::cause::MAIL_LATE, text)));
}

/// `550 5.7.1 …`, also within quotes.
fn code_in(text: &str) -> Option<u16> {
    let (_, said) = text.split_once('"')?;
    said.get(..3)?.parse().ok().filter(|code| (400..600).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_in_what_was_said() {
        assert_eq!(code_in("the greeting is \"421 4.3.2 no\""), Some(421));
        assert_eq!(code_in("the greeting is \"220 ok\""), None);
        assert_eq!(code_in("421"), None);
    }
}
