//! What went wrong, gathered: one group for each cause and service, with its first and last time.

use super::Known;
use crate::EventId;
use crate::legs::PastLeg;
use crate::record::Record;
use std::collections::BTreeMap;
use waypost_base::Timestamp;

/// Things that went wrong in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: usize,
    /// `imap`, `pop`, `smtp`, `send`, `inner`…
    pub service: String,
    /// Code of the cause, where there is one.
    pub code: String,
    /// As the first one said it.
    pub text: String,
    /// The hop, where it is known.
    pub between: String,
    pub remedy: Vec<String>,
    /// Clients were refused for reasons of their own.
    pub refusal: bool,
}

/// So many refusals alike are no longer some client's own affair.
const REFUSALS_MANY: usize = 5;

impl Group {
    /// Whether it tells of something that broke.
    pub fn is_break(&self) -> bool {
        !self.refusal || self.count >= REFUSALS_MANY
    }
}

/// In order of their first time.
pub fn groups(known: &Known) -> Vec<Group> {
    let mut all = Gather(BTreeMap::new());
    for leg in known.legs.iter().filter(|l| matches!(l.leg.outcome.result.as_str(), "failed" | "degraded")) {
        all.leg(leg);
    }
    for record in known.events.iter().filter(|r| r.is(EventId::Fail) || r.is(EventId::Defer)) {
        all.event(record);
    }
    for line in known.lines.iter().filter(|l| l.is_bad()) {
        let text = if line.answer.is_empty() { line.said.as_str() } else { line.verdict() };
        let text = text.trim_start_matches(['>', '<', ' ']);
        all.put(line.time, line.log.service(), "", text, "", &[]);
        all.refused(line.log.service(), text, line.is_refusal());
    }
    for fact in known.health.iter().filter(|h| h.bad) {
        all.put(fact.time, &service_of(&fact.source), &fact.cause, &fact.message, &fact.server, &fact.remedy);
    }
    let mut groups: Vec<Group> = all.0.into_values().collect();
    groups.sort_by(|a, b| (a.first, &a.service, &a.code).cmp(&(b.first, &b.service, &b.code)));
    groups
}

struct Gather(BTreeMap<(String, String, String), Group>);

impl Gather {
    fn put(
        &mut self,
        time: Timestamp,
        service: &str,
        code: &str,
        text: &str,
        between: &str,
        remedy: &[String],
    ) {
        // A named cause is one thing, whatever its words; words that differ in numbers alone are one thing, too.
        let words = if code.is_empty() { pattern(text) } else { String::new() };
        let key = (service.to_owned(), code.to_owned(), words);
        let group = self.0.entry(key).or_insert_with(|| Group {
            first: time,
            last: time,
            count: 0,
            service: service.to_owned(),
            code: code.to_owned(),
            text: text.chars().take(300).collect(),
            between: between.to_owned(),
            remedy: remedy.to_vec(),
            refusal: false,
        });
        group.count += 1;
        group.first = group.first.min(time);
        group.last = group.last.max(time);
    }

    fn refused(&mut self, service: &str, text: &str, refusal: bool) {
        let key = (service.to_owned(), String::new(), pattern(text));
        if let Some(group) = self.0.get_mut(&key) {
            group.refusal = refusal;
        }
    }

    fn leg(&mut self, leg: &PastLeg) {
        let body = &leg.leg;
        let between = format!(
            "{} {} → {} {}",
            body.initiator.role, body.initiator.name, body.acceptor.role, body.acceptor.name
        );
        let (code, remedy) = match &body.outcome.cause {
            Some(cause) => (cause.code.as_str(), vec![cause.remedy.clone()]),
            None => ("", Vec::new()),
        };
        let remedy: Vec<String> = remedy.into_iter().filter(|r| !r.is_empty()).collect();
        let service = service_of(&body.operation);
        self.put(leg.time(), &service, code, &body.outcome.text, &between, &remedy);
        // A sign-in that need not be tried again was refused to somebody for what they gave.
        let refusal = body.operation.ends_with("sign-in") && body.outcome.retry != Some(true);
        if let Some(group) = self.0.get_mut(&(service, code.to_owned(), String::new())) {
            group.refusal = refusal;
        }
    }

    fn event(&mut self, record: &Record) {
        let text = record.recipient_status.iter().find(|s| !s.is_empty());
        let text = text.cloned().unwrap_or_else(|| format!("{} {}", record.event_id, record.source));
        let between = if record.server_hostname.is_empty() {
            String::new()
        } else {
            format!("hub → {}", record.server_hostname)
        };
        self.put(record.time, "send", "", &text, &between, &[]);
    }
}

/// Words with their numbers and quoted parts taken out.
fn pattern(text: &str) -> String {
    let mut out = String::new();
    let mut digits = false;
    for c in text.chars().take(160) {
        if c.is_ascii_digit() {
            if !digits {
                out.push('#');
            }
            digits = true;
        } else {
            digits = false;
            out.extend(c.to_lowercase());
        }
    }
    out
}

/// The service that an operation, a health set or a listener belongs to, by its short name.
pub fn service_of(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let has = |word: &str| lower.contains(word);
    if lower.starts_with("inner") || has("hub") && has("delivery") {
        lower.split('.').nth(1).unwrap_or("inner").to_owned()
    } else if has("imap") {
        "imap".into()
    } else if has("pop") {
        "pop".into()
    } else if has("smtp.send") || has("mailflow") || has("transport") || has("queue") || has("deliver") {
        "send".into()
    } else if has("smtp") || has("submi") || has("lmtp") {
        "smtp".into()
    } else {
        lower.split(['.', '\\']).next().unwrap_or_default().to_owned()
    }
}
