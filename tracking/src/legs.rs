//! The legs log: each hop between two parties as one line of JSON, with the Message-ID that it carried.
//!
//! [`append`] writes a line, [`find`] reads lines back. What is read owns its text and may come from another build, so it is a
//! type of its own, with every part optional that an older build may lack.

use crate::files;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use waypost_base::Timestamp;
use waypost_base::explain::Leg;

/// First part of the files' names.
pub const PREFIX: &str = "LEGS";

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(rename = "messageId")]
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<u64>,
    leg: &'a Leg,
}

/// Appends the line of a leg that ended at `time`, with its CRLF. `message_id` is without angle brackets, empty where the leg
/// carried no message; `item` is the queue item, where it is known.
pub fn append(time: Timestamp, message_id: &str, item: Option<u64>, leg: &Leg, out: &mut Vec<u8>) {
    let line = Line { time: time.to_string(), message_id, item, leg };
    let before = out.len();
    match serde_json::to_writer(&mut *out, &line) {
        Ok(()) => out.extend_from_slice(b"\r\n"),
        // Text and numbers always can be written; a half line would spoil the next one.
        Err(_) => out.truncate(before),
    }
}

/// A line, read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastLeg {
    /// When it ended, as text.
    pub time: String,
    #[serde(default)]
    pub message_id: String,
    #[serde(default)]
    pub item: Option<u64>,
    pub leg: Body,
}

/// The leg as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Body {
    pub operation: String,
    pub initiator: Party,
    pub acceptor: Party,
    pub mechanism: String,
    pub key: Option<String>,
    /// When it began.
    pub started: Timestamp,
    pub steps: Vec<Step>,
    pub outcome: Outcome,
    pub correlation: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Party {
    pub role: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    pub name: String,
    pub micros: u64,
    pub note: Option<String>,
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// `open`, `ok`, `degraded` or `failed`
    pub result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    pub code: String,
    pub meaning: String,
    pub remedy: String,
    pub reference: String,
}

impl PastLeg {
    pub fn time(&self) -> Timestamp {
        crate::layout::parse_time(&self.time).unwrap_or(self.leg.started)
    }

    pub fn micros(&self) -> u64 {
        self.leg.steps.iter().map(|s| s.micros).fold(0, u64::saturating_add)
    }

    /// In a line: who to whom, what for, how proved, how it ended, and how long its steps took.
    pub fn shown(&self) -> String {
        let Body { operation, initiator, acceptor, mechanism, steps, outcome, .. } = &self.leg;
        let mut text = format!(
            "{} {} → {} {}  {operation}  {mechanism}  {}  {:.1} ms",
            initiator.role,
            initiator.name,
            acceptor.role,
            acceptor.name,
            outcome.shown(),
            self.micros() as f64 / 1000.0
        );
        if !steps.is_empty() {
            let each: Vec<String> =
                steps.iter().map(|s| format!("{} {:.1}", s.name, s.micros as f64 / 1000.0)).collect();
            text.push_str(&format!(" ({})", each.join(", ")));
        }
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

impl Outcome {
    pub fn shown(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{} [{}] {}", self.result, cause.code, self.text),
            None => self.result.clone(),
        }
    }
}

/// Which legs.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Any of these Message-IDs, without angle brackets. Empty for all.
    pub message_ids: Vec<String>,
    /// Sixteen hexadecimal digits.
    pub correlation: Option<String>,
    /// Only lines in which this text occurs: a host, say.
    pub text: Option<String>,
}

impl Wanted {
    fn holds(&self, leg: &PastLeg) -> bool {
        let time = leg.time();
        self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time <= to)
            && (self.message_ids.is_empty() || self.message_ids.contains(&leg.message_id))
            && self.correlation.as_ref().is_none_or(|c| leg.leg.correlation.as_ref() == Some(c))
    }

    fn bytes(&self) -> impl Fn(&[u8]) -> bool + use<> {
        // As JSON has it, without its quotes.
        let escaped =
            |id: &String| serde_json::to_string(id).unwrap_or_default().trim_matches('"').to_owned();
        let finder = |text: String| memmem::Finder::new(text.as_bytes()).into_owned();
        let ids: Vec<_> = self.message_ids.iter().map(|id| finder(escaped(id))).collect();
        let ids = if self.message_ids.iter().any(String::is_empty) { Vec::new() } else { ids };
        let text = self.text.as_ref().map(escaped).map(finder);
        let correlation = self.correlation.clone().map(finder);
        move |piece: &[u8]| {
            (ids.is_empty() || ids.iter().any(|id| id.find(piece).is_some()))
                && correlation.as_ref().is_none_or(|c| c.find(piece).is_some())
                && text.as_ref().is_none_or(|t| t.find(piece).is_some())
        }
    }
}

/// The newest `max` legs that are wanted, oldest first.
///
/// # Errors
/// When the folder or a file cannot be read. Damaged lines are passed over.
pub fn find(folder: &Path, wanted: &Wanted, max: usize) -> io::Result<Vec<PastLeg>> {
    let mut found: VecDeque<PastLeg> = VecDeque::new();
    let bytes = wanted.bytes();
    for file in files::newest_first(folder, PREFIX, wanted.from, wanted.to)? {
        let room = max.saturating_sub(found.len());
        if room == 0 {
            break;
        }
        let mut here = VecDeque::new();
        files::lines(&file.path, &bytes, |line| {
            if !bytes(line.as_bytes()) {
                return ControlFlow::Continue(());
            }
            let leg = serde_json::from_str::<PastLeg>(line).ok().filter(|leg| wanted.holds(leg));
            if let Some(leg) = leg {
                if here.len() >= room {
                    here.pop_front();
                }
                here.push_back(leg);
            }
            ControlFlow::Continue(())
        })?;
        while let Some(leg) = here.pop_back() {
            found.push_front(leg);
        }
    }
    let mut legs: Vec<PastLeg> = found.into();
    legs.sort_by_key(|leg| leg.leg.started);
    Ok(legs)
}

pub(crate) fn fuzz_one(text: &str) {
    for line in text.lines() {
        if let Ok(leg) = serde_json::from_str::<PastLeg>(line) {
            let _ = (leg.shown(), leg.time());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::explain::{Cause as BaseCause, Outcome as BaseOutcome, Party as BaseParty};
    use waypost_base::id::Correlation;

    const REFUSED: BaseCause = BaseCause {
        code: "SMTP-CONNECT",
        meaning: "The peer does not take connections.",
        remedy: "Retry-Queue",
        reference: "docs/flow.md",
    };

    fn leg() -> Leg {
        let hub = BaseParty::new("hub", "mail.contoso.test");
        let peer = BaseParty::new("server", "mx.example.net [192.0.2.7]");
        let mut leg = Leg::start("smtp.send", hub, peer, Timestamp(1_772_525_720_114));
        leg.step("connect", 2100, Some("refused".into()));
        leg.outcome = BaseOutcome::Failed { cause: REFUSED, text: "connection refused".into(), retry: true };
        leg.correlation = Some(Correlation(0x1A));
        leg
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = std::env::temp_dir().join(format!("waypost-legs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut out = b"#Log-type: Legs\r\n".to_vec();
        append(Timestamp(1_772_525_720_200), "a\"b@x", Some(7), &leg(), &mut out);
        append(Timestamp(1_772_525_720_300), "other@x", None, &leg(), &mut out);
        out.extend_from_slice(b"{\"time\":\"2026");
        std::fs::write(folder.join("LEGS2026030308-1.LOG"), out).unwrap();
        let wanted = Wanted { message_ids: vec!["a\"b@x".into()], ..Wanted::default() };
        let found = find(&folder, &wanted, 10).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].item, Some(7));
        assert_eq!(
            found[0].shown(),
            "hub mail.contoso.test → server mx.example.net [192.0.2.7]  smtp.send  anonymous  failed [SMTP-CONNECT] \
             connection refused  2.1 ms (connect 2.1)"
        );
        let by_session = Wanted { correlation: Some("000000000000001A".into()), ..Wanted::default() };
        assert_eq!(find(&folder, &by_session, 1).unwrap()[0].message_id, "other@x");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
