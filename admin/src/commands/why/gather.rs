//! What is known around a time: read from the files of this server, each by itself, so that what cannot be read takes
//! nothing of the rest away. Everything is bounded by number; what was left out is said.

use super::history;
use super::identity::Names;
use crate::certificates::bound;
use crate::settings::{self, Settings};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use waypost_base::Timestamp;
use waypost_base::explain::Confidence;
use waypost_tracking::protocol::{self, Log};
use waypost_tracking::story::tale::{About, CertificateFact, HealthFact, Known};
use waypost_tracking::{Filter, legs, search};
use waypost_trust::public::{PublicService, PublicStore};

/// Changes this long before are looked at.
const LOOKED_BACK_MILLIS: i64 = 2 * 3_600_000;
const LEGS_MAX: usize = 5_000;
const EVENTS_MAX: usize = 20_000;
const LINES_MAX: usize = 2_000;
/// Addresses of one account that mail from is looked for; each is a reading of the log.
const SENDERS_MAX: usize = 8;
const TIMES_MAX: usize = 50_000;
const HEALTH_MAX: usize = 2_000;
/// Bytes of one line of the health log; a finding with its evidence has a few KiB.
const HEALTH_LINE_MAX: usize = 256 * 1024;

/// Reads what there is.
pub fn gather(
    data: &Path,
    about: About,
    names: &Names,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Known {
    let mut known = Known::new(about, from, to, now);
    let settings = match settings::load(data) {
        Ok(settings) => settings,
        Err(e) => {
            known.not_looked.push(format!(
                "The settings cannot be read ({e}): logs were looked for where they usually are."
            ));
            Settings::default()
        }
    };
    let places = Places::of(data, &settings);
    match known.about.clone() {
        About::Session(id) => session(&mut known, &places, &id),
        About::Address(_) => of_address(&mut known, &places, names),
        About::Server(server) => {
            let text = server.split('.').next().unwrap_or_default().to_owned();
            of_time(&mut known, &places, Some(text));
        }
        About::Time(_) => of_time(&mut known, &places, None),
        About::Probe(_) => {}
    }
    let (changes, unread) = history::changes(data, from.plus_millis(-LOOKED_BACK_MILLIS), to);
    known.changes = changes;
    known.not_looked.extend(unread);
    if matches!(known.about, About::Address(_)) {
        let own: Vec<String> = names.all().iter().map(|name| name.to_lowercase()).collect();
        let names = |text: &str| protocol::mentions(&text.to_lowercase(), &own);
        known.changes.retain(|c| names(&c.command) || c.keys.iter().any(|k| names(k)));
    }
    if !matches!(known.about, About::Session(_) | About::Address(_)) {
        known.certificates = certificates(data, &settings, &mut known.not_looked);
        known.health = health(&data.join("logs/health"), from, to, &mut known.not_looked);
        narrow(&mut known);
    }
    known
}

/// Where each log is.
struct Places {
    tracking: PathBuf,
    legs: PathBuf,
    protocols: Vec<(Log, PathBuf, bool)>,
    tracked: bool,
}

impl Places {
    fn of(data: &Path, settings: &Settings) -> Places {
        let (s, i, p, l) = (&settings.smtp, &settings.imap, &settings.pop, &settings.log);
        Places {
            tracking: data.join(&l.message_tracking_log_path),
            legs: data.join(&l.leg_log_path),
            protocols: vec![
                (Log::Imap, data.join(&i.log_file_location), i.protocol_log_enabled),
                (Log::Pop, data.join(&p.log_file_location), p.protocol_log_enabled),
                (Log::SmtpReceive, data.join(&s.log_file_location), s.protocol_log_enabled),
                (Log::SmtpSend, data.join(&l.send_protocol_log_path), l.send_protocol_log_enabled),
                (Log::Connectivity, data.join(&l.connectivity_log_path), l.connectivity_log_enabled),
            ],
            tracked: l.message_tracking_log_enabled,
        }
    }
}

/// Takes what was read; what could not be is said.
fn taken<T: Default>(known: &mut Known, what: &str, read: io::Result<T>) -> T {
    read.unwrap_or_else(|e| {
        known.not_looked.push(format!("The {what} could not be read: {e}."));
        T::default()
    })
}

fn session(known: &mut Known, places: &Places, id: &str) {
    for (log, folder, on) in &places.protocols {
        let wanted = protocol::Wanted { session: Some(id.to_owned()), ..protocol::Wanted::default() };
        let lines = taken(known, log.name(), protocol::find(folder, *log, &wanted, LINES_MAX));
        if !lines.is_empty() || *on {
            known.lines.extend(lines);
        } else if matches!(log, Log::Imap | Log::Pop | Log::SmtpReceive) {
            known.not_looked.push(format!("The {} is switched off.", log.name()));
        }
    }
    let wanted = legs::Wanted { correlation: Some(id.to_owned()), ..legs::Wanted::default() };
    known.legs = taken(known, "legs log", legs::find(&places.legs, &wanted, LEGS_MAX));
    known.lines.sort_by_key(|l| l.time);
    let times = known.lines.iter().map(|l| l.time).chain(known.legs.iter().map(|l| l.time()));
    let (first, last) =
        times.fold((None, None), |(first, last): (Option<Timestamp>, Option<Timestamp>), t| {
            (Some(first.map_or(t, |f| f.min(t))), Some(last.map_or(t, |l| l.max(t))))
        });
    if let (Some(first), Some(last)) = (first, last) {
        known.from = first;
        known.to = last;
    }
}

fn of_address(known: &mut Known, places: &Places, names: &Names) {
    let (from, to) = (Some(known.from), Some(known.to));
    known.addresses = names.addresses.clone();
    let base = Filter { start: from, end: to, ..Filter::default() };
    let sent = names.addresses.iter().map(|a| Filter { sender: Some(a.clone()), ..base.clone() });
    let received = Filter { recipients: names.addresses.clone(), ..base.clone() };
    for filter in sent.take(SENDERS_MAX).chain([received]) {
        let found = taken(known, "tracking log", search::newest(&places.tracking, &filter, EVENTS_MAX / 10));
        known.events.extend(found.records);
    }
    known.events.sort_by_key(|r| r.time);
    known.events.dedup();
    for (log, folder, _) in places.protocols.iter().filter(|(log, ..)| *log != Log::Connectivity) {
        let wanted = protocol::Wanted { from, to, names: names.all(), ..protocol::Wanted::default() };
        let lines = taken(known, log.name(), protocol::find(folder, *log, &wanted, LINES_MAX / 4));
        known.lines.extend(lines);
    }
    known.lines.sort_by_key(|l| l.time);
    let messages: Vec<String> =
        known.events.iter().rev().map(|r| search::bare(&r.message_id).to_owned()).take(100).collect();
    if !messages.is_empty() {
        let wanted = legs::Wanted { from, to, message_ids: messages, ..legs::Wanted::default() };
        known.legs = taken(known, "legs log", legs::find(&places.legs, &wanted, 200));
        known.legs.retain(|leg| leg.leg.outcome.result != "ok");
    }
}

fn of_time(known: &mut Known, places: &Places, text: Option<String>) {
    let (from, to) = (Some(known.from), Some(known.to));
    let wanted = legs::Wanted { from, to, text, ..legs::Wanted::default() };
    known.legs = taken(known, "legs log", legs::find(&places.legs, &wanted, LEGS_MAX));
    let filter = Filter { start: from, end: to, ..Filter::default() };
    let found = taken(known, "tracking log", search::newest(&places.tracking, &filter, EVENTS_MAX));
    if found.more {
        known
            .not_looked
            .push(format!("Of the tracking log the newest {EVENTS_MAX} events of this time were read."));
    }
    known.events = found.records;
    if !places.tracked {
        known.not_looked.push("The tracking log is switched off.".into());
    }
    let mail: Vec<Timestamp> = known.events.iter().map(|r| r.time).collect();
    known.activity.push(("mail".into(), mail));
    for (log, folder, on) in &places.protocols {
        let wanted = protocol::Wanted { from, to, bad: true, ..protocol::Wanted::default() };
        let bad = taken(known, log.name(), protocol::find(folder, *log, &wanted, LINES_MAX / 4));
        known.lines.extend(bad);
        if *on && matches!(log, Log::Imap | Log::Pop | Log::SmtpReceive) {
            let times = protocol::times(folder, *log, known.from, known.to, TIMES_MAX);
            let times = taken(known, log.name(), times);
            known.activity.push((log.service().to_owned(), times));
        }
    }
    known.lines.sort_by_key(|l| l.time);
}

/// What is about the server or the probe alone.
fn narrow(known: &mut Known) {
    match &known.about {
        About::Server(server) => {
            let short = server.split('.').next().unwrap_or_default().to_ascii_lowercase();
            let events = std::mem::take(&mut known.health);
            let named = |h: &HealthFact| {
                let all = format!("{} {} {}", h.server, h.probe, h.message).to_ascii_lowercase();
                all.contains(&short)
            };
            known.health = events.into_iter().filter(named).collect();
        }
        About::Probe(probe) => {
            let wanted = probe.to_ascii_lowercase();
            let set = wanted.split('\\').next().unwrap_or_default().to_owned();
            known.health.retain(|h| {
                let own = h.probe.to_ascii_lowercase();
                own.starts_with(&wanted) || (own.is_empty() && h.source.eq_ignore_ascii_case(&set))
            });
        }
        _ => {}
    }
}

pub fn certificates(data: &Path, settings: &Settings, not_looked: &mut Vec<String>) -> Vec<CertificateFact> {
    let store = PublicStore::of(data);
    let mut all: Vec<CertificateFact> = Vec::new();
    for service in PublicService::ALL {
        for thumbprint in bound(settings, service) {
            if let Some(known) = all.iter_mut().find(|c| c.thumbprint == *thumbprint) {
                known.services.push(service.name().to_uppercase());
                continue;
            }
            match store.get(thumbprint) {
                Ok(entry) => all.extend(entry.facts.map(|facts| CertificateFact {
                    subject: facts.subject,
                    thumbprint: thumbprint.clone(),
                    services: vec![service.name().to_uppercase()],
                    not_before: facts.not_before,
                    not_after: facts.not_after,
                })),
                Err(e) => not_looked.push(format!(
                    "The certificate {thumbprint}, bound to {service}, could not be read: {e}."
                )),
            }
        }
    }
    all
}

/// The health events of the files in `folder`, whose lines are JSON objects; whatever else is in them is passed over.
pub fn health(
    folder: &Path,
    from: Timestamp,
    to: Timestamp,
    not_looked: &mut Vec<String>,
) -> Vec<HealthFact> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            not_looked.push(format!("The health events could not be read: {e}."));
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.retain(|p| {
        p.extension().is_some_and(|e| e.eq_ignore_ascii_case("jsonl") || e.eq_ignore_ascii_case("log"))
    });
    paths.sort();
    let mut all: std::collections::VecDeque<HealthFact> = std::collections::VecDeque::new();
    for path in paths {
        let Ok(file) = File::open(&path) else { continue };
        for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            if line.len() > HEALTH_LINE_MAX {
                continue;
            }
            let fact = serde_json::from_slice::<Value>(&line).ok().and_then(|v| fact(&v));
            if let Some(fact) = fact.filter(|f| f.time >= from && f.time <= to) {
                if all.len() >= HEALTH_MAX {
                    all.pop_front();
                }
                all.push_back(fact);
            }
        }
    }
    let mut all: Vec<HealthFact> = all.into();
    all.sort_by_key(|f| f.time);
    all
}

/// One event, by the names that it may have.
pub fn fact(value: &Value) -> Option<HealthFact> {
    let text = |v: &Value, name: &str| v.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let time = match value.get("time").or_else(|| value.get("since")).or_else(|| value.get("raised"))? {
        Value::Number(n) => Timestamp(n.as_i64()?),
        Value::String(s) => settings::parse_time(s)?,
        _ => return None,
    };
    let probe = match value.get("probe") {
        Some(Value::String(s)) => s.clone(),
        Some(v @ Value::Object(_)) => {
            let parts = [text(v, "set"), text(v, "name"), text(v, "target")];
            parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("\\")
        }
        _ => String::new(),
    };
    let finding = value.get("finding").cloned().unwrap_or_default();
    let code = finding.get("cause").map(|c| c.as_str().map_or_else(|| text(c, "code"), str::to_owned));
    let level = text(value, "level").to_ascii_lowercase();
    let remedy = finding.get("remedy").and_then(Value::as_array);
    Some(HealthFact {
        time,
        server: text(value, "server"),
        source: text(value, "source"),
        probe,
        bad: matches!(level.as_str(), "error" | "warning") && !finding.is_null(),
        message: text(value, "message"),
        cause: code.unwrap_or_default(),
        confidence: match text(&finding, "confidence").as_str() {
            "certain" => Some(Confidence::Certain),
            "likely" => Some(Confidence::Likely),
            "possible" => Some(Confidence::Possible),
            _ => None,
        },
        remedy: remedy
            .map(|r| r.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_events_are_read_as_they_are_written() {
        let text = r#"{"index":1,"time":1772525720114,"level":"error","source":"IMAP","id":2001,"server":"mbx-1","message":"Unhealthy","probe":{"set":"IMAP","name":"ImapCTPProbe","target":"imaps"},"alert":null,"finding":{"cause":{"code":"CERT-EXPIRED","meaning":"","remedy":"","reference":""},"confidence":"certain","evidence":[],"remedy":["Renew it"],"untested":[]}}"#;
        let folder = std::env::temp_dir().join(format!("waypost-why-health-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("events-20260303.jsonl"), format!("{text}\nnonsense\n{{\"time\":5}}\n"))
            .unwrap();
        let mut not_looked = Vec::new();
        let found = health(&folder, Timestamp(1_000_000), Timestamp(i64::MAX), &mut not_looked);
        assert!(not_looked.is_empty());
        let [fact] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((fact.probe.as_str(), fact.cause.as_str()), ("IMAP\\ImapCTPProbe\\imaps", "CERT-EXPIRED"));
        assert!(fact.bad && fact.remedy == ["Renew it"]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(
            health(&folder, Timestamp(0), Timestamp(1), &mut not_looked).is_empty() && not_looked.is_empty()
        );
    }
}
