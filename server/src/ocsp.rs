//! What certificate authorities say of our certificates (OCSP), fetched before it is needed and shown to clients with the
//! certificate (stapling, RFC 6066 §8), so that they do not have to ask.
//!
//! Nothing depends on it: without an answer, or with one that cannot be proved, the certificate is shown alone, and the
//! reason is logged. Answers are kept on disk (`public/ocsp/THUMBPRINT.der`) and asked for again at half of their life.

use crate::tls::Publics;
use crate::web_client;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use waypost_admin::certificates::{Revocation, revocation_file};
use waypost_base::explain::Cause;
use waypost_base::{Clock, Timestamp};
use waypost_trust::certificate::Facts;
use waypost_trust::files;
use waypost_trust::public::check::Problem;
use waypost_trust::public::ocsp::{ANSWER_BYTES_MAX, Answer, State, question, verify};

/// How often the list of certificates is looked at; questions are asked far less often.
const LOOK: Duration = Duration::from_secs(5);
/// The first wait after a failure; each further one is twice as long.
const RETRY_MILLIS: i64 = 60 * 1000;
const RETRY_MILLIS_MAX: i64 = 6 * 60 * 60 * 1000;

const REVOKED: Cause = Cause {
    code: "CERT-REVOKED",
    meaning: "The certificate authority has revoked the certificate: clients that ask refuse it.",
    remedy: "Get another one and bind it with Enable-ExchangeCertificate.",
    reference: "RFC 6960 §2.2",
};
const NO_STAPLE: Cause = Cause {
    code: "CERT-NO-STAPLE",
    meaning: "The certificate demands a stapled OCSP answer, and there is none: clients may refuse it.",
    remedy: "See that this server can reach the OCSP responder that the certificate names.",
    reference: "RFC 7633 §4.2.3.1",
};

/// How it stands with one certificate.
#[derive(Default)]
struct Standing {
    next: Timestamp,
    failures: u32,
    known: Revocation,
}

/// Fetches answers until told to stop.
pub async fn keep(publics: Publics, data: PathBuf, clock: Clock, mut stop: watch::Receiver<bool>) {
    let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
    let mut was_on = true;
    loop {
        let on = publics.settings().tls.ocsp_stapling;
        if on {
            let mut changed = false;
            for (thumbprint, chain) in publics.shown() {
                changed |= look(&publics, &data, &clock, &mut standings, &thumbprint, &chain).await;
            }
            if changed {
                note(&data, &standings);
            }
        } else if was_on {
            for thumbprint in publics.shown().keys() {
                publics.staple(thumbprint, None);
            }
            standings.clear();
        }
        was_on = on;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Looks after one certificate; true where something new is known.
async fn look(
    publics: &Publics,
    data: &Path,
    clock: &Clock,
    standings: &mut BTreeMap<String, Standing>,
    thumbprint: &str,
    chain: &[Vec<u8>],
) -> bool {
    // Without its issuer nothing can be asked; without an address, nobody.
    let [leaf, issuer, ..] = chain else { return false };
    let Ok(facts) = Facts::of_der(leaf) else { return false };
    let Some(url) = facts.ocsp.first() else { return false };
    let now = clock.now();
    let path = data.join(format!("public/ocsp/{thumbprint}.der"));
    let fresh = !standings.contains_key(thumbprint);
    let standing = standings.entry(thumbprint.to_owned()).or_default();
    if fresh
        && let Ok(bytes) = fs::read(&path)
        && let Ok(answer) = verify(&bytes, leaf, issuer, now)
    {
        use_answer(publics, thumbprint, bytes, &answer, standing);
        return true;
    }
    if now < standing.next {
        return false;
    }
    match ask(url, leaf, issuer, now).await {
        Ok((bytes, answer)) => {
            if let Err(e) = save(&path, &bytes) {
                tracing::warn!(error = %e, "an OCSP answer was not kept");
            }
            standing.failures = 0;
            use_answer(publics, thumbprint, bytes, &answer, standing);
            tracing::info!(thumbprint, state = standing.known.state, until = %answer.next_update, "OCSP answer of {url}");
        }
        Err(e) => {
            standing.failures += 1;
            let wait = RETRY_MILLIS.saturating_mul(1 << standing.failures.min(10)).min(RETRY_MILLIS_MAX);
            standing.next = now.plus_millis(wait);
            tracing::warn!(
                thumbprint,
                error = e,
                failures = standing.failures,
                "no OCSP answer for {}",
                facts.subject
            );
            standing.known.error = Some(e);
            // What was proved holds until it ends.
            if standing.known.next_update.is_none_or(|end| end < now) {
                standing.known =
                    Revocation { state: "Failed".into(), next_update: None, ..standing.known.clone() };
                publics.staple(thumbprint, None);
                let demanded =
                    facts.must_staple.then(|| problem(NO_STAPLE, &facts, "no OCSP answer could be had"));
                publics.set_extra(&format!("ocsp {thumbprint}"), demanded);
            }
        }
    }
    true
}

fn use_answer(publics: &Publics, thumbprint: &str, bytes: Vec<u8>, answer: &Answer, standing: &mut Standing) {
    standing.next = answer.refresh_at();
    let (state, staple, problem_found) = match answer.state {
        State::Good => ("Good", Some(bytes), None),
        State::Unknown => ("Unknown", None, None),
        // A certificate that says of itself that it is revoked would only be refused the faster.
        State::Revoked(at) => ("Revoked", None, Some(format!("revoked at {at}, says its authority"))),
    };
    standing.known = Revocation { state: state.into(), next_update: Some(answer.next_update), error: None };
    publics.staple(thumbprint, staple);
    let found = problem_found.map(|text| Problem {
        cause: REVOKED,
        text: format!("{thumbprint} was {text}"),
        refuses: true,
        source: "OCSP".into(),
    });
    publics.set_extra(&format!("ocsp {thumbprint}"), found);
}

fn problem(cause: Cause, facts: &Facts, text: &str) -> Problem {
    Problem { cause, text: format!("{}: {text}", facts.subject), refuses: false, source: "OCSP".into() }
}

async fn ask(url: &str, leaf: &[u8], issuer: &[u8], now: Timestamp) -> Result<(Vec<u8>, Answer), String> {
    let body = question(leaf, issuer).map_err(|e| e.to_string())?;
    let fetched = web_client::send(url, Some(("application/ocsp-request", body)), None).await?;
    if fetched.status != 200 {
        return Err(format!("{url}: status {}", fetched.status));
    }
    if fetched.body.len() > ANSWER_BYTES_MAX {
        return Err(format!("{url}: an answer of {} bytes", fetched.body.len()));
    }
    let answer = verify(&fetched.body, leaf, issuer, now).map_err(|e| format!("{url}: {e}"))?;
    Ok((fetched.body, answer))
}

fn save(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // A torn file is asked for again: it does not verify.
    fs::write(path, bytes)
}

/// For commands and health.
fn note(data: &Path, standings: &BTreeMap<String, Standing>) {
    let known: BTreeMap<&String, &Revocation> =
        standings.iter().filter(|(_, s)| !s.known.state.is_empty()).map(|(t, s)| (t, &s.known)).collect();
    let text = serde_json::to_string_pretty(&known).unwrap_or_default();
    if let Err(e) = files::write_public(&revocation_file(data), &text) {
        tracing::warn!(error = %e, "what is known of revocations was not written down");
    }
}
