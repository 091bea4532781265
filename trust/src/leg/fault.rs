//! A fault of a leg: as this end keeps it, as it travels to the other end, as it becomes a finding.

use super::cause;
use super::limits::{EVIDENCE_MAX, REMEDIES_MAX, TEXT_MAX};
use serde::{Deserialize, Serialize};
use waypost_base::Timestamp;
use waypost_base::explain::{Cause, Confidence, Evidence, Finding};

/// What went wrong, with what was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub cause: Cause,
    /// In one line, with names and numbers.
    pub text: String,
    pub evidence: Vec<Evidence>,
    /// Commands or actions, most likely first. Empty: the cause's own.
    pub remedy: Vec<String>,
}

impl Fault {
    pub fn new(cause: Cause, text: impl Into<String>) -> Fault {
        Fault { cause, text: text.into(), evidence: Vec::new(), remedy: Vec::new() }
    }

    /// With one more thing that was seen.
    pub fn seen(mut self, source: impl Into<String>, time: Timestamp, fact: impl Into<String>) -> Fault {
        self.evidence.push(Evidence { source: source.into(), time: Some(time), fact: fact.into() });
        self
    }

    pub fn finding(&self) -> Finding {
        let remedy =
            if self.remedy.is_empty() { vec![self.cause.remedy.to_owned()] } else { self.remedy.clone() };
        Finding {
            cause: self.cause,
            confidence: Confidence::Certain,
            evidence: self.evidence.clone(),
            remedy,
            untested: Vec::new(),
        }
    }
}

/// A cause of ours by its code, of legs or of Kerberos.
pub fn cause_of(code: &str) -> Option<Cause> {
    cause::find(code).or_else(|| crate::kerberos::cause::find(code))
}

/// A fault on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub code: String,
    pub text: String,
    #[serde(default)]
    pub evidence: Vec<Seen>,
    #[serde(default)]
    pub remedy: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub source: String,
    #[serde(default)]
    pub time: Option<Timestamp>,
    pub fact: String,
}

impl From<&Fault> for Told {
    fn from(fault: &Fault) -> Told {
        let seen = |e: &Evidence| Seen { source: e.source.clone(), time: e.time, fact: e.fact.clone() };
        Told {
            code: fault.cause.code.to_owned(),
            text: fault.text.clone(),
            evidence: fault.evidence.iter().take(EVIDENCE_MAX).map(seen).collect(),
            remedy: fault.remedy.iter().take(REMEDIES_MAX).cloned().collect(),
        }
    }
}

impl Told {
    /// As this end takes it: in bounds, and each piece of evidence with the name of whoever says so.
    pub fn by(self, teller: &str) -> Fault {
        let text = line(&self.text);
        let (cause, text) = match cause_of(&self.code) {
            Some(cause) => (cause, text),
            None => (cause::DENIED, format!("{}: {text}", line(&self.code))),
        };
        let seen = |seen: Seen| Evidence {
            source: match line(&seen.source) {
                source if source.is_empty() || source == teller => teller.to_owned(),
                source if source.starts_with(teller) => source,
                source => format!("{teller}: {source}"),
            },
            time: seen.time,
            fact: line(&seen.fact),
        };
        Fault {
            cause,
            text,
            evidence: self.evidence.into_iter().take(EVIDENCE_MAX).map(seen).collect(),
            remedy: self.remedy.iter().take(REMEDIES_MAX).map(|r| line(r)).collect(),
        }
    }
}

/// One line of somebody else's: no control characters, no more than fits.
fn line(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_over_the_wire_is_bounded_and_has_a_teller() {
        let seen = Seen { source: "keytab".into(), time: None, fact: "a\r\nb".into() };
        let own = Seen { source: "mbx1".into(), time: None, fact: "x".repeat(5000) };
        let told = Told {
            code: "INNER-EXPIRED".into(),
            text: "expired\u{7}".into(),
            evidence: std::iter::once(own).chain(std::iter::repeat_n(seen, 100)).collect(),
            remedy: vec!["mend".into(); 100],
        };
        let fault = told.by("mbx1");
        assert_eq!(fault.cause, cause::EXPIRED);
        assert_eq!(fault.text, "expired ");
        assert_eq!((fault.evidence.len(), fault.remedy.len()), (EVIDENCE_MAX, REMEDIES_MAX));
        assert_eq!((fault.evidence[0].source.as_str(), fault.evidence[0].fact.len()), ("mbx1", TEXT_MAX));
        assert_eq!(
            (fault.evidence[1].source.as_str(), fault.evidence[1].fact.as_str()),
            ("mbx1: keytab", "a  b")
        );
        let unknown =
            Told { code: "NEW-1".into(), text: "t".into(), evidence: vec![], remedy: vec![] }.by("x");
        assert_eq!((unknown.cause.code, unknown.text.as_str()), ("INNER-DENIED", "NEW-1: t"));
        assert_eq!(unknown.finding().remedy, [cause::DENIED.remedy]);
    }
}
