//! One event, whatever form it came in, on its way to a fact.

use super::fields;
use crate::fact::{Fact, Place, server_name};
use crate::read::tree::Node;
use crate::read::when;
use crate::sink::Sink;
use crate::words;
use std::fmt::Write as _;
use std::sync::Arc;
use waypost_base::Timestamp;

/// Unnamed data of one event.
const DATA_MAX: usize = 64;

/// One event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Raw {
    pub at: Place,
    pub time: Option<Timestamp>,
    pub log: String,
    pub source: String,
    pub id: u32,
    pub level: String,
    pub task: String,
    pub computer: String,
    pub message: String,
    pub named: Vec<(String, String)>,
    pub unnamed: Vec<String>,
    pub server: Option<Arc<str>>,
    /// It comes out of a whole log, where most is dull; else somebody thought it worth showing.
    pub whole_log: bool,
}

impl Raw {
    /// An `Event` element.
    pub fn of_node(event: &Node, at: Place) -> Option<Raw> {
        let system = event.child("System")?;
        let provider = system.child("Provider");
        let source = provider.and_then(|p| p.attribute("Name").or_else(|| p.attribute("EventSourceName")));
        let rendered = event.child("RenderingInfo");
        let text = |name: &str| system.text_of(name).unwrap_or_default().to_owned();
        let told = |name: &str| rendered.and_then(|r| r.text_of(name)).map(str::to_owned);
        let mut raw = Raw {
            at,
            id: words::number(system.text_of("EventID")?).filter(|n| *n >= 0.0 && *n < 4_294_967_296.0)?
                as u32
                & 0xffff,
            source: source.unwrap_or_default().to_owned(),
            time: system.child("TimeCreated").and_then(|t| t.attribute("SystemTime")).and_then(when::parse),
            log: text("Channel"),
            task: told("Task").unwrap_or_else(|| text("Task")),
            computer: text("Computer"),
            level: level_of(system.text_of("Level"), system.text_of("Keywords")),
            message: told("Message").unwrap_or_default(),
            whole_log: true,
            ..Raw::default()
        };
        for part in event
            .children
            .iter()
            .filter(|c| matches!(c.name.as_str(), "EventData" | "UserData" | "DebugData"))
        {
            raw.take(part, 0);
        }
        Some(raw)
    }

    /// The data of an event: named, unnamed, or elements of the provider's own.
    fn take(&mut self, node: &Node, depth: usize) {
        for child in &node.children {
            if self.unnamed.len() + self.named.len() >= DATA_MAX * 2 {
                return;
            }
            let value = child.text.trim();
            match child.attribute("Name") {
                Some(name) if child.name == "Data" => self.named.push((name.to_owned(), value.to_owned())),
                _ if child.name == "Data" => self.unnamed.push(value.to_owned()),
                _ if child.name == "Binary" => {}
                _ if child.children.is_empty() => self.named.push((child.name.clone(), value.to_owned())),
                _ if depth < 8 => self.take(child, depth + 1),
                _ => {}
            }
        }
    }

    pub fn data(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    fn is_security(&self) -> bool {
        words::contains(&self.log, "Security")
            || words::contains(&self.source, "Security-Auditing")
            || self.source == "Security"
    }

    /// Makes facts of it, unless it is dull.
    pub fn give(mut self, sink: &mut Sink<'_>) {
        if let Some(time) = self.time {
            sink.saw_time(time);
        }
        self.level = english(&self.level);
        let seen = self.id;
        let auditing = self.is_security()
            || ["NULL SID", "Kerberos", "audit", "logon"].iter().any(|w| words::contains(&self.message, w));
        // Two digits are easily swapped, and no event of the security log has the other number.
        if self.id == 4265 && auditing {
            self.id = 4625;
        }
        if self.source.is_empty()
            && let Some(source) = super::prose::source_of(self.id)
        {
            source.clone_into(&mut self.source);
        }
        let text = self.text();
        if self.whole_log && self.is_dull(&text, sink) {
            return;
        }
        let mut fact = Fact::new("event", self.at).time(self.time).text(&text);
        fact.server = server_name(&self.computer).or(self.server.take()).or_else(|| sink.server());
        for (name, value) in [
            ("log", &self.log),
            ("source", &self.source),
            ("level", &self.level),
            ("task", &self.task),
            ("computer", &self.computer),
            ("message", &self.message),
        ] {
            fact.put(name, value);
        }
        fact.put("id", self.id.to_string());
        if seen != self.id {
            fact.put("idasseen", seen.to_string());
        }
        for (name, value) in self.named.iter().take(DATA_MAX) {
            if fact.get(&crate::fact::plain(name.clone().into())).is_none() {
                fact.put(name.clone(), value);
            }
        }
        for (index, value) in self.unnamed.iter().enumerate().take(DATA_MAX) {
            fact.put(format!("p{}", index + 1), value);
        }
        fields::split(&self, &mut fact);
        fields::also(&self, &fact, sink);
        sink.fact(fact);
    }

    /// As a person reads it.
    fn text(&self) -> String {
        let source = if self.source.is_empty() { self.log.as_str() } else { self.source.as_str() };
        let mut text = format!("Event {}, {source}", self.id);
        if !self.level.is_empty() {
            let _ = write!(text, ", {}", self.level);
        }
        if !self.message.is_empty() {
            let _ = write!(text, ": {}", self.message.trim());
            return text;
        }
        text.push_str(": ");
        let mut first = true;
        let named =
            self.named.iter().filter(|(name, _)| self.whole_log && !is_personal(name) || !self.is_security());
        let named = named.map(|(name, value)| format!("{name}={value}"));
        for part in named.chain(self.unnamed.iter().cloned()).filter(|p| !p.is_empty()) {
            if text.len() > crate::fact::TEXT_MAX {
                break;
            }
            if !first {
                text.push_str("; ");
            }
            first = false;
            text.push_str(&part);
        }
        text
    }

    /// Whether nobody would look at it.
    fn is_dull(&self, text: &str, sink: &Sink<'_>) -> bool {
        if let Some(kind) = self.data("ResultType") {
            // A probe that succeeded.
            return kind.trim() == "3";
        }
        if words::contains(&self.source, "CmdletLogs") {
            return text.contains("Get-") && !sink.hits(text);
        }
        let grave = matches!(self.level.as_str(), "Error" | "Warning" | "Critical" | "Audit Failure");
        let known = match self.is_security() {
            true => matches!(
                self.id,
                4625 | 4768 | 4769 | 4771 | 4776 | 4616 | 4726 | 4740 | 4743 | 5141 | 675..=680
            ),
            false => fields::is_telling(&self.source, self.id),
        };
        !(grave || known || self.level.is_empty() || sink.hits(text))
    }
}

/// What names a person or differs in each event of a kind: left out of the text, so that alike ones are counted as such.
fn is_personal(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "SubjectUserName",
        "SubjectDomainName",
        "SubjectLogonId",
        "TargetUserName",
        "TargetDomainName",
        "TargetLogonId",
        "LogonGuid",
        "IpAddress",
        "IpPort",
        "ProcessId",
        "WorkstationName",
        "TransmittedServices",
        "LmPackageName",
        "KeyLength",
    ];
    NAMES.contains(&name)
}

/// The level's word; the audits of the security log have theirs in the keywords.
fn level_of(level: Option<&str>, keywords: Option<&str>) -> String {
    let bits = keywords
        .and_then(|k| k.trim().strip_prefix("0x"))
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .unwrap_or(0);
    if bits & 0x0010_0000_0000_0000 != 0 {
        return "Audit Failure".to_owned();
    }
    if bits & 0x0020_0000_0000_0000 != 0 {
        return "Audit Success".to_owned();
    }
    match level.unwrap_or_default().trim() {
        "1" => "Critical",
        "2" => "Error",
        "3" => "Warning",
        "0" | "4" => "Information",
        "5" => "Verbose",
        other => other,
    }
    .to_owned()
}

/// The level's word in English.
pub fn english(level: &str) -> String {
    let plain = level.trim().to_lowercase();
    let word = match plain.as_str() {
        "fehler" | "erreur" | "errore" | "error" => "Error",
        "warnung" | "avertissement" | "advertencia" | "avviso" | "warning" => "Warning",
        "kritisch" | "critique" | "crítico" | "critico" | "critical" => "Critical",
        "information" | "informationen" | "informations" | "información" | "informazioni" | "info" => {
            "Information"
        }
        "failureaudit"
        | "audit failure"
        | "failure audit"
        | "überwachung gescheitert"
        | "fehlerüberw."
        | "échec de l'audit" => "Audit Failure",
        "successaudit" | "audit success" | "success audit" | "überwachung erfolgreich" => "Audit Success",
        _ => return level.trim().to_owned(),
    };
    word.to_owned()
}
