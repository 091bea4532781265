//! Get- and Test-ExchangeCertificate.

use super::{Held, all, one, services};
use crate::certificates::{bound, wanted_names};
use crate::failure::Outcome;
use crate::output::Record;
use crate::run::Call;
use crate::settings::Settings;
use waypost_base::Timestamp;
use waypost_trust::certificate::Facts;
use waypost_trust::public::check::{self, Around, Problem, Wanted};
use waypost_trust::public::seen::Seen;
use waypost_trust::public::{KeyFile, PublicService};

/// Exchange's order of letters.
const LETTERS: [(PublicService, &str); 4] = [
    (PublicService::Imap, "IMAP"),
    (PublicService::Pop, "POP"),
    (PublicService::Web, "IIS"),
    (PublicService::Smtp, "SMTP"),
];

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let now = call.context.clock.now();
    let mut held = match call.text("Thumbprint") {
        Some(wanted) => vec![one(call, &settings, wanted)?],
        None => {
            let (held, faults) = all(call, &settings)?;
            for fault in faults {
                call.warn(format!("A certificate is passed over: {fault}.")).await;
            }
            held
        }
    };
    if let Some(name) = call.text("DomainName") {
        held.retain(|h| h.entry.facts.as_ref().is_some_and(|f| f.covers(name)));
        // As a handshake chooses: in date first, then what is good for longest.
        held.sort_by_key(|h| {
            let facts = h.entry.facts.as_ref();
            let good = facts.is_some_and(|f| f.valid_at(now));
            std::cmp::Reverse((good, !h.default, facts.map(|f| f.not_after)))
        });
    }
    for held in &held {
        call.record(record(call, &settings, held)).await;
    }
    Ok(())
}

/// The services that show a certificate.
pub(super) fn shown_by(settings: &Settings, held: &Held) -> Vec<PublicService> {
    let shows = |service: &PublicService| {
        let bound = bound(settings, *service);
        bound.contains(&held.entry.thumbprint) || (held.default && bound.is_empty())
    };
    PublicService::ALL.into_iter().filter(shows).collect()
}

pub(super) fn record(call: &Call<'_>, settings: &Settings, held: &Held) -> Record {
    let now = call.context.clock.now();
    let entry = &held.entry;
    let shown = shown_by(settings, held);
    let among = || LETTERS.iter().filter(|(s, _)| shown.contains(s));
    let letters: String = among().map(|(s, _)| s.letter()).collect();
    let names = among().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    let form = if names.is_empty() { "None".to_owned() } else { names };
    let record = Record::new()
        .with("Thumbprint", entry.thumbprint.as_str())
        .with("Services", if letters.is_empty() { ".......".to_owned() } else { letters });
    let Some(facts) = &entry.facts else {
        return record
            .with("Subject", entry.note.subject.as_str())
            .with("AccessRules", access(&held.key))
            .with("CertificateDomains", entry.note.names.clone())
            .with("HasPrivateKey", entry.has_key)
            .with("IsSelfSigned", false)
            .with("RootCAType", "None")
            .with("Status", "PendingRequest")
            .with("ServicesStringForm", form)
            .with("FriendlyName", entry.note.friendly_name.as_str())
            .with("PrivateKeyExportable", entry.note.exportable)
            .with("Identity", format!("{}\\{}", settings.server.name, entry.thumbprint));
    };
    let verdict = judged(call, &entry.pem);
    let problems = check::check(&entry.pem, &held.key, Around { now, names: &[], verdict: verdict.as_ref() });
    let revocation = crate::certificates::revocation(&call.context.data, &entry.thumbprint);
    record
        .with("Subject", facts.subject.as_str())
        .with("AccessRules", access(&held.key))
        .with("CertificateDomains", facts.names.clone())
        .with("HasPrivateKey", entry.has_key)
        .with("IsSelfSigned", facts.self_signed)
        .with("Issuer", facts.issuer.as_str())
        .with("NotAfter", facts.not_after)
        .with("NotBefore", facts.not_before)
        .with("PublicKeySize", facts.key_bits)
        .with("RootCAType", root_type(facts, verdict.as_ref()))
        .with("SerialNumber", facts.serial.as_str())
        .with("Status", status(facts, &problems, revocation.as_ref().map(|r| r.state.as_str()), now))
        .with("ServicesStringForm", form)
        .with("FriendlyName", entry.note.friendly_name.as_str())
        .with("DnsNameList", facts.names.clone())
        .with("EnhancedKeyUsageList", facts.usages.clone())
        .with("KeyIdentifier", facts.key_identifier.as_str())
        .with("PrivateKeyExportable", entry.note.exportable)
        .with("SignatureAlgorithm", facts.signature.as_str())
        .with("PublicKeyAlgorithm", facts.key.as_str())
        .with("Version", facts.version)
        .with("Fingerprint", facts.fingerprint.as_str())
        .with("OcspState", revocation.as_ref().map(|r| r.state.clone()))
        .with("OcspNextUpdate", revocation.and_then(|r| r.next_update))
        .with("Problems", problems.iter().map(Problem::to_string).collect::<Vec<_>>())
        .with("Origin", entry.note.origin.as_str())
        .with("IISServices", Vec::<String>::new())
        .with("Identity", format!("{}\\{}", settings.server.name, entry.thumbprint))
}

/// What a client's TLS library says of a chain; `None` where there is nobody to ask.
pub(super) fn judged(call: &Call<'_>, chain_pem: &str) -> Option<Result<(), String>> {
    let judge = call.world().ok()?.chain_judge.clone()?;
    Some(judge(chain_pem))
}

fn access(key: &KeyFile) -> Vec<String> {
    match key {
        KeyFile::Readable { exposed: Some(mode), .. } => vec![format!("everybody ({mode:04o})")],
        KeyFile::Readable { .. } => vec![waypost_trust::public::key::own_user()],
        KeyFile::Unreadable { owner, group, mode, .. } => vec![format!("{owner}:{group} ({mode:04o})")],
        KeyFile::Missing(_) => Vec::new(),
    }
}

fn root_type(facts: &Facts, verdict: Option<&Result<(), String>>) -> &'static str {
    match verdict {
        _ if facts.self_signed => "None",
        Some(Ok(())) => "ThirdParty",
        Some(Err(_)) => "Enterprise",
        None => "Unknown",
    }
}

/// Exchange's word for how a certificate is.
fn status(facts: &Facts, problems: &[Problem], revocation: Option<&str>, now: Timestamp) -> &'static str {
    let has = |code: &str| problems.iter().any(|p| p.cause.code == code);
    match revocation {
        _ if !facts.valid_at(now) => "DateInvalid",
        _ if problems.iter().any(|p| p.refuses) => "Invalid",
        Some("Revoked") => "Revoked",
        _ if has("CERT-UNTRUSTED") => "Untrusted",
        Some("Failed") => "RevocationCheckFailure",
        _ => "Valid",
    }
}

/// The names that clients of a service use, of which `others` hold none.
pub(super) fn missed(
    call: &Call<'_>,
    settings: &Settings,
    service: PublicService,
    others: &[Facts],
) -> Vec<Wanted> {
    let now = call.context.clock.now();
    let mut seen = Seen::load(&call.context.data).used(service, now);
    let shown: Vec<Facts> = all(call, settings).map_or_else(
        |_| Vec::new(),
        |(held, _)| {
            let shows = held.iter().filter(|h| shown_by(settings, h).contains(&service));
            shows.filter_map(|h| h.entry.facts.clone()).collect()
        },
    );
    for name in &mut seen {
        // What works today must not stop working.
        name.must = shown.iter().any(|f| f.valid_at(now) && f.covers(&name.name));
    }
    let mut wanted = wanted_names(settings, service, seen);
    wanted.retain(|w| !others.iter().any(|f| f.valid_at(now) && f.covers(&w.name)));
    wanted
}

/// Everything that is wrong with showing a certificate to the clients of a service.
pub(super) fn looked_at(
    call: &Call<'_>,
    settings: &Settings,
    held: &Held,
    service: PublicService,
    others: &[Facts],
) -> Vec<Problem> {
    let verdict = judged(call, &held.entry.pem);
    let names = missed(call, settings, service, others);
    let now = call.context.clock.now();
    check::check(&held.entry.pem, &held.key, Around { now, names: &names, verdict: verdict.as_ref() })
}

pub(super) async fn test(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let mut chosen = services(call).await?;
    if chosen.is_empty() {
        chosen = PublicService::ALL.to_vec();
    }
    let candidate = call.text("Thumbprint").map(|wanted| one(call, &settings, wanted)).transpose()?;
    let (held, _) = all(call, &settings)?;
    for service in chosen {
        let shown: Vec<&Held> = match &candidate {
            Some(one) => vec![one],
            None => held.iter().filter(|h| shown_by(&settings, h).contains(&service)).collect(),
        };
        let missing = bound(&settings, service)
            .iter()
            .filter(|t| candidate.is_none() && !held.iter().any(|h| h.entry.thumbprint == **t));
        for thumbprint in missing {
            let text = format!("{thumbprint} is bound and is not in the store of this server");
            call.record(line(service, thumbprint, Some(&check::MISSING), true, &text)).await;
        }
        if shown.is_empty() {
            let text = "no certificate: TLS is not offered";
            call.record(line(service, "", Some(&check::MISSING), true, text)).await;
        }
        for held in &shown {
            let others: Vec<Facts> = shown
                .iter()
                .filter(|o| o.entry.thumbprint != held.entry.thumbprint)
                .filter_map(|o| o.entry.facts.clone())
                .collect();
            let problems = looked_at(call, &settings, held, service, &others);
            if problems.is_empty() {
                call.record(line(service, &held.entry.thumbprint, None, false, "nothing is wrong with it"))
                    .await;
            }
            for p in &problems {
                call.record(line(service, &held.entry.thumbprint, Some(&p.cause), p.refuses, &p.text)).await;
            }
        }
    }
    if let Some(text) = acme_fault(call).filter(|_| settings.acme.enabled) {
        call.record(
            Record::new()
                .with("Service", "acme")
                .with("Thumbprint", "")
                .with("Result", "Warning")
                .with("Code", "ACME-FAILED")
                .with("Message", text)
                .with("Remedy", "See that every name of acme.names leads to this server from outside."),
        )
        .await;
    }
    Ok(())
}

/// What went wrong last with ACME, as the server has noted it.
fn acme_fault(call: &Call<'_>) -> Option<String> {
    let bytes = std::fs::read(call.context.data.join("public/acme.json")).ok()?;
    let standing: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    standing["error"].as_str().map(str::to_owned)
}

fn line(
    service: PublicService,
    thumbprint: &str,
    cause: Option<&waypost_base::explain::Cause>,
    refuses: bool,
    text: &str,
) -> Record {
    let result = match (cause, refuses) {
        (None, _) => "Success",
        (Some(_), false) => "Warning",
        (Some(_), true) => "Failure",
    };
    Record::new()
        .with("Service", service.name())
        .with("Thumbprint", thumbprint)
        .with("Result", result)
        .with("Code", cause.map_or("", |c| c.code))
        .with("Message", text)
        .with("Remedy", cause.map_or("", |c| c.remedy))
}
