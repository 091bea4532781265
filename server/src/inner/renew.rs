//! Inner certificates: renewed in time, and by another CA where the organisation changes it.
//!
//! A change of the inner CA (`Update-InnerAuthority`) goes in steps, each of which waits until every server has taken note
//! of the last one, so that at no time two servers distrust each other: the next CA is made and believed beside the
//! present one; then it issues, and every certificate is renewed; then the old one is believed no more. The steps are
//! [`Rotation`]'s; here they are taken, on the server that keeps the organisation, whenever reports say that one is due.

use super::join::Joined;
use super::replicate::{Ask, ask_primary};
use crate::place::Place;
use crate::run::services::Services;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use waypost_base::Timestamp;
use waypost_trust::authority::{Bundle, Issued, Progress, RENEW_DAYS_LEFT, Rotation, new_request};
use waypost_trust::{InnerCa, KeyedCertificate, ServerId, files};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_secs(1);

/// Between attempts to renew while they fail.
const AGAIN: Duration = Duration::from_secs(60);

/// What all servers are to believe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The CAs that are believed, in PEM.
    pub bundle: String,
    /// Fingerprint of the one that issues; empty where it is not known.
    pub issuer: String,
}

/// How far the servers have come with what they believe.
#[derive(Debug)]
pub struct RotationBook {
    state: watch::Sender<State>,
    reports: Mutex<BTreeMap<String, Progress>>,
}

impl RotationBook {
    pub fn open(place: &Place) -> RotationBook {
        let state = match authority(place) {
            Ok(ca) => state_of(place, &ca),
            // Not the one that keeps it: it will be told.
            Err(_) => Ok(State::default()),
        };
        RotationBook { state: watch::Sender::new(state.unwrap_or_default()), reports: Mutex::default() }
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    fn set(&self, fresh: State) {
        self.state.send_if_modified(|now| {
            let differs = *now != fresh;
            *now = fresh;
            differs
        });
    }

    /// A server that follows was told which CA issues.
    pub fn issuer_is(&self, fingerprint: &str) {
        let state = self.state();
        self.set(State { issuer: fingerprint.to_owned(), ..state });
    }

    /// What a server says of itself; only of itself.
    pub fn report(&self, server: &str, progress: Option<Progress>) {
        let Some(progress) = progress else { return };
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.insert(server.to_owned(), Progress { server: server.to_owned(), ..progress });
    }

    fn reported(&self, server: &str) -> Progress {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing =
            || Progress { server: server.into(), trusts: Vec::new(), certificate_by: String::new() };
        reports.get(server).cloned().unwrap_or_else(nothing)
    }
}

/// Where a copy stands with its primary.
#[derive(Debug, Default)]
pub struct Following(Mutex<Contact>);

/// When the primary was heard last, and why it is not heard now.
#[derive(Clone, Debug, Default)]
pub struct Contact {
    pub heard: Option<Timestamp>,
    pub lost: Option<(Timestamp, String)>,
}

impl Following {
    pub fn found(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Contact { heard: Some(now), lost: None };
    }

    pub fn lost(&self, why: &str, now: Timestamp) {
        let mut contact = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Since when, not how often.
        let since = contact.lost.as_ref().map_or(now, |(since, _)| *since);
        contact.lost = Some((since, why.to_owned()));
    }

    pub fn contact(&self) -> Contact {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Place {
    pub fn read_joined(&self) -> io::Result<Joined> {
        let bytes = std::fs::read(self.joined())?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }
}

/// The CA with its key, where it is kept.
fn authority(place: &Place) -> Result<InnerCa, Failure> {
    let both = files::load(&place.trust(), "inner-ca")?;
    Ok(InnerCa::load(&both.chain_pem, &both.key_pem)?)
}

/// The CAs that are believed: as written, else the one there is.
pub fn bundle(place: &Place, ca: &InnerCa) -> Result<Bundle, Failure> {
    if place.bundle().exists() {
        Ok(Bundle::parse(&files::read(&place.bundle())?)?)
    } else {
        Ok(Bundle::of(ca))
    }
}

fn state_of(place: &Place, ca: &InnerCa) -> Result<State, Failure> {
    Ok(State { bundle: bundle(place, ca)?.pem(), issuer: ca.fingerprint()? })
}

/// This server's own certificate, as the bundle verifies it.
fn own(place: &Place, now: Timestamp) -> Result<Issued, Failure> {
    let pem = files::read(&place.trust().join("server.crt"))?;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
    Ok(Bundle::parse(&files::read(&place.bundle())?)?.verify(&der, now)?)
}

/// What this server believes, and who has made its certificate.
pub fn progress(place: &Place) -> Result<Progress, Failure> {
    let bundle = Bundle::parse(&files::read(&place.bundle())?)?;
    let issued = own(place, crate::machine::clock().now())?;
    Ok(Progress {
        server: issued.server.to_string(),
        trusts: bundle.facts().into_iter().map(|f| f.fingerprint).collect(),
        certificate_by: issued.authority,
    })
}

/// A certificate for a server that has asked over a leg of its own. Its name is the leg's, whatever the request says.
pub fn issue(services: &Services, server: &str, request: &str) -> Result<String, Failure> {
    let place = &services.organisation.place;
    let id = ServerId::parse(server)?;
    let made = authority(place)?.issue_for(&id, request, services.organisation.clock.now())?;
    tracing::info!(server, "inner certificate renewed");
    Ok(made)
}

/// Believes other CAs from now on, as the primary says.
pub fn take_bundle(services: &Services, pem: &str) -> Result<(), Failure> {
    let place = &services.organisation.place;
    let fresh = Bundle::parse(pem)?;
    if files::read(&place.bundle()).is_ok_and(|old| old == pem) {
        return Ok(());
    }
    files::write_public(&place.bundle(), &fresh.pem())?;
    reload(services)
}

/// From the next leg on, what lies in the trust folder holds.
fn reload(services: &Services) -> Result<(), Failure> {
    Ok(services.inside.reload()?)
}

/// Keeps certificates fresh until the server stops.
pub async fn keep(services: Arc<Services>) {
    let mut stop = services.stopping();
    let mut state = services.rotation.subscribe();
    let mut not_before = tokio::time::Instant::now();
    loop {
        state.borrow_and_update();
        if services.organisation.is_primary()
            && let Err(e) = advance(&services)
        {
            tracing::error!(error = %e, "the change of the inner CA does not go on");
        }
        if not_before <= tokio::time::Instant::now()
            && let Err(e) = renew(&services).await
        {
            tracing::warn!(error = %e, "the inner certificate was not renewed; it is tried again");
            not_before = tokio::time::Instant::now() + AGAIN;
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            _ = state.changed() => not_before = tokio::time::Instant::now(),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Whether this server's certificate has to be replaced, and why.
fn due(services: &Services) -> Option<&'static str> {
    let organisation = &services.organisation;
    let now = organisation.clock.now();
    let Ok(own) = own(&organisation.place, now) else { return Some("it does not hold") };
    let issuer = services.rotation.state().issuer;
    if own.not_after.since(now) < RENEW_DAYS_LEFT * DAY_MILLIS {
        return Some("it will expire");
    }
    if !issuer.is_empty() && !own.authority.eq_ignore_ascii_case(&issuer) {
        return Some("another CA issues now");
    }
    let snapshot = organisation.directory.snapshot();
    let since = snapshot.here().and_then(|id| snapshot.server(id)).and_then(|s| s.certificates_since);
    since.filter(|since| own.is_before(*since)).map(|_| "earlier ones are void")
}

async fn renew(services: &Services) -> Result<(), Failure> {
    let Some(why) = due(services) else { return Ok(()) };
    let organisation = &services.organisation;
    let folder = organisation.place.trust();
    let id = organisation.directory.snapshot().here().unwrap_or_default().to_owned();
    let id = ServerId::parse(&id)?;
    let fresh = if organisation.is_primary() {
        authority(&organisation.place)?.issue(&id, organisation.clock.now())?
    } else {
        let request = new_request(&id)?;
        let ask = Ask::Renew { request: request.request_pem };
        let opened = ask_primary(services, &ask).await?;
        let chain_pem =
            opened.answer["certificate"].as_str().ok_or("the primary sent no certificate")?.to_owned();
        KeyedCertificate { chain_pem, key_pem: request.key_pem }
    };
    fresh.check()?;
    files::save(&folder, "server", &fresh)?;
    reload(services)?;
    tracing::info!(server = %id, why, "this server has a new inner certificate");
    Ok(())
}

/// Takes the step of a change of the CA that is due, if one is.
fn advance(services: &Services) -> Result<(), Failure> {
    let organisation = &services.organisation;
    let (place, folder) = (&organisation.place, organisation.place.trust());
    let next = if folder.join("inner-next.crt").exists() && folder.join("inner-next.key").exists() {
        let both = files::load(&folder, "inner-next")?;
        Some(InnerCa::load(&both.chain_pem, &both.key_pem)?)
    } else if services.rotation.state().bundle.matches("BEGIN").count() < 2 {
        return Ok(());
    } else {
        None
    };
    let ca = authority(place)?;
    let bundle = bundle(place, &ca)?;
    let current = ca.fingerprint()?;
    let next_print = next.as_ref().map(InnerCa::fingerprint).transpose()?;
    let servers = standing(services)?;
    let step = Rotation::due(&current, next_print.as_deref(), &bundle, &servers);
    let waiting = |wanted: &dyn Fn(&Progress) -> bool| -> Vec<&str> {
        servers.iter().filter(|s| !wanted(s)).map(|s| s.server.as_str()).collect()
    };
    let trusts = |s: &Progress| s.trusts.iter().any(|t| Some(t) == next_print.as_ref());
    match (step, next) {
        (Some(Rotation::Announce), Some(next)) => {
            files::write_public(&place.bundle(), &bundle.with(next.certificate_pem())?.pem())?;
            told(services, "announced", &[])
        }
        (Some(Rotation::WaitForTrust), _) => status(place, "the next CA is announced", &waiting(&trusts)),
        (Some(Rotation::Switch), Some(next)) => {
            let both =
                KeyedCertificate { chain_pem: next.certificate_pem().to_owned(), key_pem: next.key_pem() };
            files::save(&folder, "inner-ca", &both)?;
            std::fs::remove_file(folder.join("inner-next.key"))?;
            std::fs::remove_file(folder.join("inner-next.crt"))?;
            told(services, "the next CA issues", &[])
        }
        (Some(Rotation::WaitForRenewal), _) => {
            status(place, "the next CA issues", &waiting(&|s: &Progress| s.certificate_by == current))
        }
        (Some(Rotation::Drop), _) => {
            let old: Vec<String> =
                bundle.facts().into_iter().map(|f| f.fingerprint).filter(|f| *f != current).collect();
            let fresh = old.iter().fold(bundle, |bundle, print| bundle.without(print));
            files::write_public(&place.bundle(), &fresh.pem())?;
            told(services, "finished", &[])
        }
        _ => Ok(()),
    }
}

/// Every server that has to take note: how far it has come.
fn standing(services: &Services) -> Result<Vec<Progress>, Failure> {
    let now = services.organisation.directory.snapshot();
    let own = progress(&services.organisation.place)?;
    let here = now.here().unwrap_or_default();
    let others = now.servers().filter(|s| s.revoked.is_none() && s.id != here);
    let others = others.map(|s| services.rotation.reported(&s.id));
    Ok(others.chain([own]).collect())
}

fn told(services: &Services, step: &str, waiting: &[&str]) -> Result<(), Failure> {
    let place = &services.organisation.place;
    reload(services)?;
    services.rotation.set(state_of(place, &authority(place)?)?);
    tracing::info!(step, "change of the inner CA");
    status(place, step, waiting)
}

/// For `Get-InnerAuthority`, which reads it.
fn status(place: &Place, step: &str, waiting: &[&str]) -> Result<(), Failure> {
    let text = serde_json::to_string(&json!({ "step": step, "waiting": waiting }))?;
    let path = place.trust().join("rotation.json");
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    Ok(files::write_public(&path, &text)?)
}
