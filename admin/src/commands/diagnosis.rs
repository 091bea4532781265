//! Get-Diagnosis, better known as `waypost diagnose`: what is wrong with the organisation at this moment, in the form in
//! which artefacts are diagnosed: open alerts, legs, stopped services, certificates, rights, back pressure. The other servers'
//! part of it comes by the alerts, which the keeper gathers, and by asking them.

use super::identity;
use super::why;
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::Outcome;
use crate::output::{Cell, Record};
use crate::run::Call;
use crate::service::LegState;
use crate::service::permission::{Check, Result as Verdict};
use waypost_base::Timestamp;
use waypost_base::explain::{self, Confidence};
use waypost_diagnose::Report;
use waypost_diagnose::report::{self, Colours, Evidence, Finding, Moment, Read, Unread};
use waypost_queue::pressure::Level;

/// Changes of the last hours are told on the time line.
const CHANGES_MILLIS: i64 = 6 * 3_600_000;
/// A certificate that ends sooner is a finding.
const SOON_MILLIS: i64 = 7 * 86_400_000;

pub(super) static COMMANDS: &[Command] = &[Command {
    verb: "Get",
    noun: "Diagnosis",
    about: "Finds what is wrong with this organisation now, with evidence, conclusion, remedy and what was not looked at.",
    detail: "Short: `waypost diagnose`. It joins open alerts, the state of legs, services, certificates, rights and back pressure. On a \
stopped server it looks at the files alone, and says so.",
    params: &[
        Param::new("NoMask", Kind::Switch, "Show people's addresses as they are."),
        Param::new("Colours", Kind::Switch, "Put colours for a terminal into Text."),
        Param::new("Page", Kind::Switch, "Add Html, a page that can be mailed."),
    ],
    columns: &["Text"],
    examples: &[Example { line: "Get-Diagnosis --json", about: "For programs." }],
    needs: Needs::Any,
    changes: false,
    confirm: false,
    run: |call| Box::pin(diagnose(call)),
}];

async fn diagnose(call: &Call<'_>) -> Outcome {
    let mut report = Report::default();
    let now = call.context.clock.now();
    if call.context.running {
        live(call, &mut report, now).await;
    } else {
        let reason = "no server runs on this data folder: alerts, legs and services were not looked at";
        report.unread.push(Unread { file: "the server".into(), reason: reason.into() });
    }
    certificates(call, &mut report, now);
    rights(call, &mut report);
    changes(call, &mut report, now);
    report.findings.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    report.findings.dedup_by(|a, b| a.cause == b.cause && a.server == b.server && a.leg == b.leg);
    if !call.switch("NoMask") {
        report.mask();
    }
    let colours = if call.switch("Colours") { Colours::On } else { Colours::Off };
    let mut record = Record::new()
        .with("Findings", report.findings.len() as u64)
        .with("Report", Cell::Tree(serde_json::to_value(&report).unwrap_or_default()))
        .with("Text", report::text(&report, colours));
    if call.switch("Page") {
        let made = format!("Made by waypost {} at {now}", env!("CARGO_PKG_VERSION"));
        record = record.with("Html", report::page(&report, "Diagnosis of this organisation", &made));
    }
    call.record(record).await;
    Ok(())
}

fn share(confidence: Confidence) -> f64 {
    match confidence {
        Confidence::Certain => 0.98,
        Confidence::Likely => 0.8,
        Confidence::Possible => 0.5,
    }
}

/// A finding of ours in the report's terms.
fn told(finding: &explain::Finding, leg: String, server: Option<String>) -> Finding {
    let evidence = finding.evidence.iter().map(|e| Evidence {
        file: e.source.clone(),
        time: e.time,
        fact: e.fact.clone(),
        ..Evidence::default()
    });
    Finding {
        cause: finding.cause.code.to_string(),
        title: finding.cause.meaning.to_string(),
        confidence: share(finding.confidence),
        leg,
        server,
        evidence: evidence.collect(),
        conclusion: finding.cause.meaning.to_string(),
        remedy: finding.remedy.clone(),
        untested: finding.untested.clone(),
        reference: finding.cause.reference.to_string(),
        ..Finding::default()
    }
}

async fn live(call: &Call<'_>, report: &mut Report, now: Timestamp) {
    let Some(world) = &call.context.world else { return };
    let mut read = |what: &str, kind: &str, count: usize| {
        report.read.push(Read { file: what.into(), kind: kind.into(), count: count as u64, server: None });
    };
    let legs: Vec<LegState> = world.facts.as_ref().map(|f| f.legs()).unwrap_or_default();
    read("legs", "legs between servers as they stand", legs.len());
    let services = world.services.as_ref().map(|s| s.all()).unwrap_or_default();
    read("services", "services of this server", services.len());
    let meters = world.hub.as_ref().map(|h| h.pressure()).unwrap_or_default();
    read("back pressure", "resources that are measured", meters.len());
    let mut alerted = false;
    if let Some(health) = &world.health {
        read("monitors", "monitors of this server", health.monitors().len());
        match health.alerts(false).await {
            Ok(alerts) => {
                alerted = true;
                read("alerts", "open alerts of the organisation", alerts.len());
                for alert in alerts {
                    let mut finding = told(&alert.finding, alert.leg.clone(), alert.servers.first().cloned());
                    finding.conclusion = alert.line();
                    report.timeline.push(Moment {
                        time: alert.since,
                        server: alert.servers.first().cloned(),
                        what: alert.line(),
                        cause: Some(finding.cause.clone()),
                        file: "alerts".into(),
                        line: 0,
                    });
                    if let Some(change) = &alert.change {
                        finding.untested.push(format!("Just before: {}", change.line()));
                    }
                    report.findings.push(finding);
                }
            }
            Err(e) => report.unread.push(Unread { file: "alerts".into(), reason: e.message }),
        }
    }
    if !alerted {
        for state in &legs {
            let words = format!("{} → {}", state.from, state.to);
            let bad = !matches!(state.leg.outcome, explain::Outcome::Ok | explain::Outcome::Open);
            if let (Some(finding), true) = (&state.finding, bad) {
                report.findings.push(told(finding, words, Some(state.from.clone())));
            }
        }
    }
    let known: Vec<String> = report.findings.iter().map(|f| f.cause.clone()).collect();
    for service in services.iter().filter(|s| !s.running && !known.iter().any(|c| c.contains("STOPPED"))) {
        report.findings.push(Finding {
            cause: "HEALTH-SERVICE-STOPPED".into(),
            title: format!("{} is stopped", service.display_name),
            confidence: 0.98,
            leg: format!("client → {}", service.short),
            evidence: vec![Evidence {
                file: "services".into(),
                time: Some(now),
                fact: format!("{} takes no connections", service.name),
                ..Evidence::default()
            }],
            conclusion: format!(
                "Somebody stopped {}; its listeners are closed until it is started.",
                service.name
            ),
            remedy: vec![
                format!("Start-Service {}", service.name),
                "Search-AdminAuditLog -Cmdlets Stop-Service".into(),
            ],
            reference: "docs/diagnose.md".into(),
            ..Finding::default()
        });
    }
    for meter in meters.iter().filter(|m| m.level != Level::Normal && !alerted) {
        report.findings.push(Finding {
            cause: "HEALTH-BACK-PRESSURE".into(),
            title: "A resource is scarce, so mail is taken more slowly or not at all".into(),
            confidence: if meter.level == Level::High { 0.95 } else { 0.7 },
            leg: "sender → hub".into(),
            evidence: vec![Evidence {
                file: "back pressure".into(),
                time: Some(now),
                fact: format!("{:?} is at {}: {}", meter.resource, meter.current, meter.level),
                ..Evidence::default()
            }],
            conclusion: "Back pressure holds mail back until the resource is there again; nothing is lost."
                .into(),
            remedy: vec![
                "Get-TransportPressure".into(),
                "Make room on the disk, or find what takes the memory".into(),
            ],
            reference: "docs/flow.md".into(),
            ..Finding::default()
        });
    }
}

fn certificates(call: &Call<'_>, report: &mut Report, now: Timestamp) {
    let (bound, unread) = why::certificates(&call.context.data);
    let count = bound.len() as u64;
    report.read.push(Read {
        file: "certificates".into(),
        kind: "certificates that are bound".into(),
        count,
        server: None,
    });
    report.unread.extend(unread.into_iter().map(|reason| Unread { file: "certificates".into(), reason }));
    for certificate in bound {
        let left = certificate.not_after.since(now);
        let whole = certificate.not_after.since(certificate.not_before);
        let (cause, title, confidence) = if left < 0 {
            ("CERT-EXPIRED", "The certificate's time is over", 0.98)
        } else if left < SOON_MILLIS && left < whole / 3 {
            ("CERT-EXPIRES-SOON", "The certificate's time is over soon", 0.85)
        } else {
            continue;
        };
        if report.findings.iter().any(|f| f.cause == cause) {
            continue;
        }
        let services = certificate.services.join(", ");
        report.findings.push(Finding {
            cause: cause.into(),
            title: title.into(),
            confidence,
            leg: "client → front end".into(),
            evidence: vec![Evidence {
                file: "certificates".into(),
                time: Some(certificate.not_after),
                fact: format!(
                    "{} ({}) is valid until {}",
                    certificate.subject, certificate.thumbprint, certificate.not_after
                ),
                ..Evidence::default()
            }],
            conclusion: format!(
                "The certificate is shown by {services}: clients warn or refuse to connect from then on."
            ),
            remedy: vec![
                "Get-ExchangeCertificate | Format-List Thumbprint,Services,NotAfter,Status".into(),
                "Import-ExchangeCertificate, then Enable-ExchangeCertificate -Thumbprint … -Services …"
                    .into(),
            ],
            reference: "docs/certificates.md".into(),
            ..Finding::default()
        });
    }
}

fn rights(call: &Call<'_>, report: &mut Report) {
    match identity::checked(call) {
        Ok(checks) => {
            let count = checks.len() as u64;
            let kind = "rights of the server's user (Test-ServicePermission)";
            report.read.push(Read { file: "rights".into(), kind: kind.into(), count, server: None });
            // Warnings are advice; what keeps the server from its work is a fault.
            let failed = checks.into_iter().filter(|c| {
                c.result == Verdict::Failed && matches!(c.check, "Needs" | "Port" | "Denied" | "Secret")
            });
            report.findings.extend(failed.map(permission));
        }
        Err(failure) => report.unread.push(Unread { file: "rights".into(), reason: failure.message }),
    }
}

fn permission(check: Check) -> Finding {
    Finding {
        cause: "HEALTH-PERMISSION".into(),
        title: "The server's user may not do what it has to, or others may read its secrets".into(),
        confidence: 0.9,
        leg: format!("server → {}", check.subject),
        evidence: vec![Evidence {
            file: check.check.into(),
            fact: check.evidence.clone(),
            ..Evidence::default()
        }],
        conclusion: format!("{}: {}", check.subject, check.evidence),
        remedy: vec![check.remedy, "Test-ServicePermission".into()],
        reference: "docs/servers.md".into(),
        ..Finding::default()
    }
}

fn changes(call: &Call<'_>, report: &mut Report, now: Timestamp) {
    let (changes, unread) = why::changes(&call.context.data, now.plus_millis(-CHANGES_MILLIS), now);
    report.unread.extend(unread.into_iter().map(|reason| Unread { file: "histories".into(), reason }));
    for change in changes.into_iter().filter(|c| c.failed.is_none()) {
        let what = match &change.version {
            Some((n, whose)) => {
                format!("version {n} of the {whose}'s settings by {}: {}", change.who, change.keys.join(", "))
            }
            None => format!("{} by {}", change.command, change.who),
        };
        report.timeline.push(Moment {
            time: change.time,
            server: None,
            what,
            cause: None,
            file: "histories".into(),
            line: 0,
        });
    }
    report.timeline.sort_by_key(|m| m.time);
}
