//! Inner legs, tried: to every server of the organisation and for every service that this server may use there, up to the
//! service and no further.

use super::ground::{Ground, Tried};
use crate::inner::{dial, trial};
use std::time::Duration;
use waypost_base::explain::{Finding, Leg, Outcome};
use waypost_health::Subject;
use waypost_trust::leg::member::may_use;
use waypost_trust::leg::{NotOpened, Opened, Service};

/// The servers that this one has legs to: all others, and itself where it has an inner door.
pub fn servers(ground: &Ground) -> Vec<String> {
    let now = ground.snapshot();
    now.servers().filter(|s| s.revoked.is_none()).map(|s| s.id.clone()).collect()
}

/// The services of another server that this one may use.
pub fn services(ground: &Ground, to: &str) -> Vec<Service> {
    let now = ground.snapshot();
    let (Some(own), Some(other)) = (now.server(&ground.here()), now.server(to)) else { return Vec::new() };
    let (own, other) = (dial::member(own), dial::member(other));
    let fits = |s: &Service| may_use(*s, &own, &other).is_ok();
    Service::ALL.into_iter().filter(fits).collect()
}

/// Legs for all services of one server, each in at most this time. After the first that does not even reach it the others are
/// not tried.
pub async fn within(ground: &Ground, to: &str, limit: Duration) -> Tried {
    let here = ground.here();
    let way = match to == here {
        true => Subject::Inner(here.clone()),
        false => Subject::leg(&here, to),
    };
    let mut tried = Tried::of(vec![way]);
    for service in services(ground, to) {
        let (leg, finding, degraded) = match tokio::time::timeout(limit, one(ground, to, service)).await {
            Ok(tried) => tried,
            Err(_) => late(ground, to, service, limit),
        };
        let reached = leg.steps.iter().any(|s| s.name == "tls" && s.note.is_none());
        tried.degraded = degraded && (tried.fault.is_none() || tried.degraded);
        if let (Some(_), false) = (&finding, degraded)
            && tried.fault.is_some()
        {
            // What fails is told before what is only degraded.
            tried.fault = None;
            tried.culprit = None;
        }
        let failed = finding.is_some() && !degraded;
        if let Some(finding) = &finding {
            let culprit = at_fault(ground, finding, &leg, (service, to));
            tried.culprit = tried.culprit.take().or(culprit);
            kerberos(&mut tried, finding, [here.as_str(), to]);
        }
        tried = tried.with((leg, finding));
        if failed && !reached {
            break;
        }
    }
    tried
}

/// One leg on trial: how it went, what is wrong, and whether it works all the same.
pub async fn one(ground: &Ground, to: &str, service: Service) -> (Leg, Option<Finding>, bool) {
    match ground.services.inner.open(to, trial(service)).await {
        Ok(Opened { mut leg, finding, .. }) => {
            if leg.outcome == Outcome::Open {
                leg.outcome = Outcome::Ok;
            }
            (leg, finding, true)
        }
        Err(NotOpened { leg, finding, .. }) => (*leg, Some(*finding), false),
    }
}

fn at_fault(
    ground: &Ground,
    finding: &Finding,
    leg: &Leg,
    (service, to): (Service, &str),
) -> Option<Subject> {
    let known = policy(finding, service.name()).or_else(|| address(finding, leg));
    known.or_else(|| super::trust::kdc_at_fault(ground, finding, to))
}

/// Another server answers where this one is looked for: that is one fault, whoever looks.
pub fn address(finding: &Finding, leg: &Leg) -> Option<Subject> {
    let in_tls = leg.steps.iter().any(|s| s.name == "tls" && s.note.is_some());
    let wrong = in_tls && finding.cause.code == waypost_trust::leg::cause::WRONG_SERVER.code;
    wrong.then(|| Subject::Inner(leg.acceptor.name.clone()))
}

/// Where Kerberos fails the keys of either end may be at fault.
fn kerberos(tried: &mut Tried, finding: &Finding, ends: [&str; 2]) {
    if finding.cause.code.starts_with("KRB-") {
        tried.subject.extend(ends.map(|end| Subject::Kerberos(end.to_owned())));
    }
}

/// A policy that nobody can keep is at fault itself, not each leg.
pub fn policy(finding: &Finding, service: &str) -> Option<Subject> {
    let asked = finding.cause.code == waypost_trust::leg::cause::NO_KERBEROS.code;
    asked.then(|| Subject::Peer(format!("setting legs.{service}")))
}

fn late(ground: &Ground, to: &str, service: Service, limit: Duration) -> (Leg, Option<Finding>, bool) {
    let text = format!("{to} did not answer a leg on trial in {:.1} s", limit.as_secs_f64());
    let fault = crate::probe::Fault::new(waypost_trust::leg::cause::TIMEOUT, text);
    let party = waypost_base::explain::Party::new("server", to);
    let name = format!("inner.{service}");
    let (leg, finding) = ground.looked(&name, party, std::time::Instant::now(), Err(fault));
    (leg, finding, false)
}

/// The inner service of a protocol at this server itself, by its own inner door: what front ends hand sessions over to.
pub async fn own(ground: &Ground, service: Service, limit: Duration) -> Tried {
    let here = ground.here();
    let subject = vec![Subject::Inner(here.clone()), Subject::Store(here.clone())];
    match tokio::time::timeout(limit, one(ground, &here, service)).await {
        Ok((leg, finding, degraded)) => {
            let mut tried = Tried { degraded, ..Tried::of(subject) };
            if let Some(finding) = &finding {
                tried.culprit = at_fault(ground, finding, &leg, (service, &here));
                kerberos(&mut tried, finding, [here.as_str(), &here]);
            }
            tried.with((leg, finding))
        }
        Err(_) => {
            let text = format!("the inner door does not answer in {:.1} s", limit.as_secs_f64());
            let fault = crate::probe::Fault::new(waypost_trust::leg::cause::TIMEOUT, text);
            let to = waypost_base::explain::Party::new("server", here);
            Tried::of(subject).with(ground.looked("inner.trial", to, std::time::Instant::now(), Err(fault)))
        }
    }
}
