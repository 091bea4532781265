//! What trust rests on: certificates that clients are shown, as they are shown on the wire; the inner certificate and the CAs;
//! Kerberos.

use super::cause;
use super::client::http_door;
use super::ground::{Ground, Tried};
use super::refine::public_service;
use crate::inner::tls::Own;
use crate::probe::{Fault, Talk, Who, say};
use std::time::{Duration, Instant};
use waypost_base::explain::{Finding, Party};
use waypost_health::Subject;
use waypost_trust::Facts;
use waypost_trust::authority::RENEW_DAYS_LEFT;
use waypost_trust::kerberos::keytab::{self, KeytabError};
use waypost_trust::leg::cause as inner;
use waypost_trust::leg::fault::Fault as LegFault;
use waypost_trust::leg::kerberos::{KerberosAcceptor, KerberosInitiator};
use waypost_trust::public::{PublicService, check};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// A certificate for clients is told of when its time is over so soon: whoever renews by hand has a fortnight.
const EXPIRES_DAYS: i64 = 14;
/// Certificates for no longer than this come by themselves.
const SHORT_DAYS: i64 = 60;
/// Inner certificates are renewed by themselves [`RENEW_DAYS_LEFT`] before their end; this much later they are told of.
const INNER_LATE_DAYS: i64 = 5;

/// What is told though it works: nobody is refused for it yet.
const WARNINGS: &[&str] = &["CERT-EXPIRES-SOON", "CERT-KEY-EXPOSED", "ACME-FAILED", "ACME-LISTENER"];

/// The certificate of a door, as clients get it, beside what is bound.
pub async fn certificate(ground: &Ground, door: &'static str, limit: Duration) -> Tried {
    let here = ground.here();
    let Some(service) = public_service(door) else { return Tried::default() };
    let now = ground.now();
    let bound: Vec<Facts> = {
        let chains = ground.services.public.shown();
        chains.values().filter_map(|chain| Facts::of_der(chain.first()?).ok()).collect()
    };
    let Some(target) = ground.target(door).filter(|_| !http_door(door)) else { return Tried::of(vec![]) };
    let host = ground.services.settings.current().server.name.clone();
    let who = Who { address: String::new(), password: String::new(), host };
    let spoken = ground
        .converse(&target, &cause::MANNER, &format!("{door}.certificate"), limit, async |talk: &mut Talk| {
            say::reach(talk, &target, &who, &*ground.tls).await.map(drop)
        })
        .await;
    let begun = Instant::now();
    let shown = spoken.shown.as_ref().and_then(|s| bound.iter().find(|f| f.fingerprint == s.fingerprint));
    let problems = ground.services.public.problems(service);
    let refusing = problems.iter().find(|p| p.refuses);
    let told = refusing.or_else(|| problems.iter().find(|p| WARNINGS.contains(&p.cause.code)));
    let thumbprint =
        told.and_then(|p| blamed(ground, service, p)).or_else(|| shown.map(|f| f.thumbprint.clone()));
    let about = thumbprint.map_or_else(|| Subject::listener(&here, door), Subject::Certificate);
    // Where no handshake came about nothing is known of the listener, least of all that it is well.
    let blind = spoken.shown.is_none() && matches!(about, Subject::Listener { .. });
    let mut tried = Tried::of(if blind { Vec::new() } else { vec![about.clone()] });
    let fault: Option<Finding> = match (&spoken.shown, refusing) {
        (_, Some(problem)) => Some(problem.finding(now)),
        (Some(shown_there), None) if shown.is_none() => {
            let text = format!(
                "{door} shows {} ({}), which is not bound",
                shown_there.subject, shown_there.fingerprint
            );
            Some(ground.finding(&spoken.leg, &Fault::new(cause::OTHER_CERTIFICATE, text)))
        }
        // No TLS at all is the business of the probes at the door, unless it is for the certificate.
        _ => shown
            .and_then(|facts| over(facts, now))
            .map(|(cause, text)| ground.finding(&spoken.leg, &Fault::new(cause, text))),
    };
    let warning = || {
        let soon = problems.iter().find(|p| WARNINGS.contains(&p.cause.code));
        soon.map(|p| p.finding(now))
    };
    let fault = fault.or_else(warning);
    tried.degraded = fault.as_ref().is_some_and(|f| WARNINGS.contains(&f.cause.code));
    let mut leg = spoken.leg;
    leg.outcome = waypost_base::explain::Outcome::Ok;
    if let Some(finding) = &fault {
        let text = finding.evidence.first().map_or(finding.cause.meaning.to_owned(), |e| e.fact.clone());
        leg.outcome = waypost_base::explain::Outcome::Failed { cause: finding.cause, text, retry: false };
    }
    leg.step("certificate", super::ground::micros(begun), None);
    tried.legs.push(leg);
    tried.because(fault, Some(about))
}

/// Which of the certificates that are bound a problem is about: its texts name the thumbprint.
pub fn blamed(ground: &Ground, service: PublicService, problem: &check::Problem) -> Option<String> {
    let bound = waypost_admin::certificates::bound(&ground.services.settings.current(), service).to_vec();
    let named = |t: &&String| problem.source.contains(t.as_str()) || problem.text.contains(t.as_str());
    bound.iter().find(named).or(bound.first().filter(|_| bound.len() == 1)).cloned()
}

fn over(facts: &Facts, now: waypost_base::Timestamp) -> Option<(waypost_base::explain::Cause, String)> {
    let left = facts.not_after.since(now);
    let name = &facts.subject;
    if left < 0 {
        return Some((check::EXPIRED, format!("{name} ({}) ended at {}", facts.thumbprint, facts.not_after)));
    }
    if facts.not_before.since(now) > 0 {
        return Some((
            check::NOT_YET,
            format!("{name} ({}) begins at {}", facts.thumbprint, facts.not_before),
        ));
    }
    let days = left / DAY_MILLIS;
    // One that is made for some weeks is never further from its end: it is told of on its last day.
    let soon =
        if facts.not_after.since(facts.not_before) > SHORT_DAYS * DAY_MILLIS { EXPIRES_DAYS } else { 1 };
    (days < soon).then(|| (check::EXPIRES, format!("{name} ({}) ends in {days} days", facts.thumbprint)))
}

/// Certificates that come by themselves.
pub fn acme(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let here = ground.here();
    let found = ground.services.public.findings().into_iter().find(|f| f.cause.code.starts_with("ACME-"));
    let authority = ground.services.settings.current().acme.directory.clone();
    let (leg, _) = ground.looked("acme", Party::new("authority", authority.clone()), begun, Ok(()));
    let mut tried = Tried::of(vec![Subject::Peer(authority.clone()), Subject::Server(here)]);
    tried.degraded = found.is_some();
    tried.legs.push(leg);
    tried.because(found, Some(Subject::Peer(authority)))
}

/// This server's inner certificate, in memory and on disk, and the CAs that it believes.
pub fn inner_certificate(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let here = ground.here();
    let now = ground.now();
    let own = ground.services.inside.identity.current();
    let done = (|| {
        let left = own.facts.not_after.since(now);
        if left < 0 {
            return Err(Fault::new(
                inner::EXPIRED,
                format!("the inner certificate of {here} ended at {}", own.facts.not_after),
            ));
        }
        if own.facts.not_before.since(now) > 0 {
            let text = format!("the inner certificate of {here} begins at {}", own.facts.not_before);
            return Err(Fault::new(inner::NOT_YET, text));
        }
        let on_disk = Own::load(&ground.services.organisation.place.trust());
        if let Err(e) = on_disk {
            let cause = if e.kind() == std::io::ErrorKind::PermissionDenied {
                cause::PERMISSION
            } else {
                cause::INNER_FILES
            };
            return Err(Fault::new(
                cause,
                format!("the inner certificate or the bundle cannot be loaded: {e}"),
            ));
        }
        if !own.bundle.facts().iter().any(|ca| ca.not_after.since(now) > 0) {
            return Err(Fault::new(inner::EXPIRED, "every inner CA that this server believes has ended"));
        }
        if left < (RENEW_DAYS_LEFT - INNER_LATE_DAYS) * DAY_MILLIS {
            let text = format!(
                "the inner certificate of {here} ends at {} and was not renewed",
                own.facts.not_after
            );
            return Err(Fault::new(cause::INNER_EXPIRES, text));
        }
        if let Some(ca) = own.bundle.facts().iter().find(|ca| ca.not_after.since(now) < 60 * DAY_MILLIS) {
            let text = format!(
                "the inner CA {} ends at {}: Update-InnerAuthority makes the next one",
                ca.subject, ca.not_after
            );
            return Err(Fault::new(cause::INNER_EXPIRES, text));
        }
        Ok(())
    })();
    let degraded = done.as_ref().is_err_and(|f| f.cause == cause::INNER_EXPIRES);
    let looked = ground.looked("inner.certificate", Party::new("server", here.clone()), begun, done);
    let about = Subject::Inner(here.clone());
    // A good certificate is no proof that the others find the door.
    let went = if looked.1.is_some() { about.clone() } else { Subject::Server(here) };
    Tried { culprit: Some(about), degraded, ..Tried::of(vec![went]) }.with(looked)
}

/// Whether Kerberos plays a part at all.
pub fn has_kerberos(ground: &Ground) -> bool {
    let settings = ground.services.settings.current();
    let data = ground.services.organisation.place.root();
    // That a policy asks for Kerberos where nobody has it is told by the legs.
    let named = ground.snapshot().server(&ground.here()).is_some_and(|s| !s.principals.is_empty());
    named || settings.kerberos.keytab_file(data).exists()
}

/// The keytab: can it be read, and has it keys for what others ask tickets for.
pub fn keytab(ground: &Ground) -> Tried {
    use waypost_trust::kerberos::cause as krb;
    let begun = Instant::now();
    let here = ground.here();
    let data = ground.services.organisation.place.root();
    let path = ground.services.settings.current().kerberos.keytab_file(data);
    let wanted = ground.snapshot().server(&here).map(|s| s.principals.clone()).unwrap_or_default();
    let shown = path.display();
    let done = match keytab::load(&path) {
        Ok(keys) if keys.entries.is_empty() => {
            Err(Fault::new(krb::KEYTAB_MISSING, format!("{shown} has no keys")))
        }
        Ok(keys) => {
            let has = keys.principals().iter().map(ToString::to_string).collect::<Vec<_>>();
            let missing = wanted.iter().find(|w| !has.iter().any(|h| h.eq_ignore_ascii_case(w)));
            match missing {
                Some(missing) => {
                    Err(Fault::new(krb::NO_PRINCIPAL, format!("{shown} has no key of {missing}"))
                        .seen(format!("it has {}", has.join(", "))))
                }
                None => Ok(()),
            }
        }
        Err(e @ KeytabError::Io { .. }) => {
            let missing =
                matches!(&e, KeytabError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
            let cause = if missing { krb::KEYTAB_MISSING } else { krb::KEYTAB_UNREADABLE };
            Err(Fault::new(cause, e.to_string()))
        }
        Err(e) => Err(Fault::new(krb::KEYTAB_UNREADABLE, e.to_string())),
    };
    let looked = ground.looked("kerberos.keytab", Party::new("keytab", shown.to_string()), begun, done);
    let about = Subject::Kerberos(here);
    Tried { culprit: Some(about.clone()), ..Tried::of(vec![about]) }.with(looked)
}

/// What is at fault where Kerberos fails on a leg: a KDC that is away is one fault for all.
pub fn kdc_at_fault(ground: &Ground, finding: &Finding, acceptor: &str) -> Option<Subject> {
    if finding.cause.code != waypost_trust::kerberos::cause::KDC_UNREACHABLE.code {
        return None;
    }
    let now = ground.snapshot();
    let principal = now.server(acceptor).and_then(|s| s.principals.first().cloned()).unwrap_or_default();
    let realm = principal.rsplit_once('@').map_or("", |(_, realm)| realm);
    Some(Subject::Peer(format!("Kerberos KDC of {realm}")))
}

/// A ticket for this server itself, got and taken.
pub async fn ticket(ground: &Ground, limit: Duration) -> Tried {
    let begun = Instant::now();
    let here = ground.here();
    let principal = ground.snapshot().server(&here).and_then(|s| s.principals.first().cloned());
    let about = Subject::Kerberos(here.clone());
    let to = Party::new("KDC", principal.clone().unwrap_or_default());
    let Some(principal) = principal else {
        return Tried::of(vec![about]).with(ground.looked("kerberos.ticket", to, begun, Ok(())));
    };
    let work = async {
        let exporter = crate::machine::random::<32>();
        let kerberos = &*ground.services.kerberos;
        let begun = KerberosInitiator::begin(kerberos, &principal, &exporter).await?;
        let admitted = KerberosAcceptor::accept(kerberos, &begun.token, &exporter).await?;
        begun.rest.finish(admitted.reply).await.map(drop)
    };
    let (done, finding) = match tokio::time::timeout(limit, work).await {
        Ok(Ok(())) => (Ok(()), None),
        Ok(Err(fault)) => (Err(of_leg(&fault)), Some(fault.finding())),
        Err(_) => {
            let text = format!("no ticket for {principal} in {:.1} s", limit.as_secs_f64());
            (Err(Fault::new(waypost_trust::kerberos::cause::KDC_UNREACHABLE, text)), None)
        }
    };
    let (leg, own) = ground.looked("kerberos.ticket", to, begun, done);
    let mut tried = Tried::of(vec![about.clone()]);
    tried.legs.push(leg);
    let finding = finding.or(own);
    let culprit = finding.as_ref().and_then(|f| kdc_at_fault(ground, f, &here)).unwrap_or(about);
    tried.because(finding, Some(culprit))
}

fn of_leg(fault: &LegFault) -> Fault {
    let evidence = fault.evidence.iter().map(|e| format!("{}: {}", e.source, e.fact)).collect();
    Fault { evidence, ..Fault::new(fault.cause, fault.text.clone()) }
}
