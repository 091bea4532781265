//! Probes and what they bring back: by which way they went, what each step took, what failed.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use waypost_base::Timestamp;
use waypost_base::explain::{Finding, Leg, Outcome};

/// Which probe: `IMAP\ImapCTPProbe\imaps`. The target tells probes of one name apart; it may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    /// The health set, by Exchange's name.
    pub set: String,
    pub name: String,
    pub target: String,
}

impl ProbeId {
    pub fn new(set: impl Into<String>, name: impl Into<String>, target: impl Into<String>) -> ProbeId {
        ProbeId { set: set.into(), name: name.into(), target: target.into() }
    }

    /// `IMAP\ImapCTPProbe`, `IMAP\ImapCTPProbe\imaps`; with slashes too, which shells leave alone. `None`: no set or no
    /// name, or one that is too long.
    pub fn parse(text: &str) -> Option<ProbeId> {
        let between = if text.contains('\\') { '\\' } else { '/' };
        let mut parts = text.trim().splitn(3, between);
        let (set, name) = (parts.next()?, parts.next()?);
        let target = parts.next().unwrap_or_default();
        let sound = |part: &str| part.len() <= crate::limits::NAME_MAX;
        let whole = !set.is_empty() && !name.is_empty() && [set, name, target].into_iter().all(sound);
        whole.then(|| ProbeId::new(set, name, target))
    }

    /// Exchange's ResultName: `ImapCTPProbe/imaps`.
    pub fn result_name(&self) -> String {
        if self.target.is_empty() { self.name.clone() } else { format!("{}/{}", self.name, self.target) }
    }

    /// The monitor that goes by this probe: `ImapCTPMonitor`.
    pub fn monitor(&self) -> String {
        format!("{}Monitor", self.name.strip_suffix("Probe").unwrap_or(&self.name))
    }

    /// Whether somebody who wrote `asked` means this one: case does not matter, a target that was not written fits any,
    /// and a monitor's name means its probe.
    pub fn is(&self, asked: &ProbeId) -> bool {
        let name = asked.name.eq_ignore_ascii_case(&self.name)
            || asked.name.eq_ignore_ascii_case(&self.monitor())
            || asked.name.eq_ignore_ascii_case(self.name.strip_suffix("Probe").unwrap_or(&self.name));
        let target = asked.target.is_empty() || asked.target.eq_ignore_ascii_case(&self.target);
        name && target && asked.set.eq_ignore_ascii_case(&self.set)
    }
}

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\\{}", self.set, self.name)?;
        if self.target.is_empty() { Ok(()) } else { write!(f, "\\{}", self.target) }
    }
}

impl Serialize for ProbeId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProbeId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<ProbeId, D::Error> {
        let text = <Cow<'de, str>>::deserialize(d)?;
        ProbeId::parse(&text).ok_or_else(|| D::Error::custom("not SET\\PROBE\\TARGET"))
    }
}

/// A thing that mail goes through or rests on. Servers are named by their ids.
///
/// A result names those that it went through, on the near end and the far one. What each rests on besides
/// ([`Subject::rests_on`]) need not be named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A public door of a server: `imaps`, `submission`.
    Listener {
        server: String,
        name: String,
    },
    /// A hop between two of our servers.
    Leg {
        from: String,
        to: String,
    },
    /// The inner identity and door of a server: its inner certificate, its inner listener.
    Inner(String),
    /// A certificate for clients, by thumbprint.
    Certificate(String),
    /// Kerberos on a server: library, keytab, tickets.
    Kerberos(String),
    /// Somebody else's machine: a smart host, a KDC, a directory server, an authority.
    Peer(String),
    /// A mail filter, by its name in the settings.
    Filter(String),
    /// What waits on a server.
    Queue(String),
    /// A server's copy of the directory, or the directory itself.
    Directory(String),
    Store(String),
    /// DNS as a server asks it.
    Dns(String),
    Clock(String),
    Memory(String),
    /// The disk of a server's data folder.
    Disk(String),
    /// A server as a whole: its process and its machine.
    Server(String),
}

impl Subject {
    pub fn listener(server: &str, name: &str) -> Subject {
        Subject::Listener { server: server.into(), name: name.into() }
    }

    pub fn leg(from: &str, to: &str) -> Subject {
        Subject::Leg { from: from.into(), to: to.into() }
    }

    /// The server that it belongs to.
    pub fn server(&self) -> Option<&str> {
        match self {
            Subject::Listener { server, .. } | Subject::Leg { to: server, .. } => Some(server),
            Subject::Inner(s)
            | Subject::Kerberos(s)
            | Subject::Queue(s)
            | Subject::Directory(s)
            | Subject::Store(s)
            | Subject::Dns(s)
            | Subject::Clock(s)
            | Subject::Memory(s)
            | Subject::Disk(s)
            | Subject::Server(s) => Some(s),
            Subject::Certificate(_) | Subject::Peer(_) | Subject::Filter(_) => None,
        }
    }

    /// What must be well for this to be well, one step down.
    pub fn rests_on(&self) -> Vec<Subject> {
        let server = |s: &String| Subject::Server(s.clone());
        match self {
            Subject::Listener { server: s, .. } => vec![Subject::Memory(s.clone()), server(s)],
            Subject::Leg { from, to } => vec![Subject::Inner(from.clone()), Subject::Inner(to.clone())],
            Subject::Kerberos(s) => vec![Subject::Clock(s.clone()), server(s)],
            Subject::Queue(s) | Subject::Directory(s) => vec![Subject::Store(s.clone()), server(s)],
            Subject::Store(s) => vec![Subject::Disk(s.clone()), server(s)],
            Subject::Inner(s)
            | Subject::Dns(s)
            | Subject::Clock(s)
            | Subject::Memory(s)
            | Subject::Disk(s) => vec![server(s)],
            Subject::Certificate(_) | Subject::Peer(_) | Subject::Filter(_) | Subject::Server(_) => {
                Vec::new()
            }
        }
    }

    /// Itself and everything below.
    pub fn closure(&self) -> Vec<Subject> {
        let mut all = vec![self.clone()];
        let mut at = 0;
        while let Some(next) = all.get(at).map(Subject::rests_on) {
            for subject in next {
                if !all.contains(&subject) {
                    all.push(subject);
                }
            }
            at += 1;
        }
        all
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Listener { server, name } => write!(f, "listener {name} of {server}"),
            Subject::Leg { from, to } => write!(f, "leg {from} → {to}"),
            Subject::Inner(s) => write!(f, "inner door of {s}"),
            Subject::Certificate(t) => write!(f, "certificate {t}"),
            Subject::Kerberos(s) => write!(f, "Kerberos of {s}"),
            Subject::Peer(host) => write!(f, "{host}"),
            Subject::Filter(name) => write!(f, "mail filter {name}"),
            Subject::Queue(s) => write!(f, "queue of {s}"),
            Subject::Directory(s) => write!(f, "directory of {s}"),
            Subject::Store(s) => write!(f, "store of {s}"),
            Subject::Dns(s) => write!(f, "DNS of {s}"),
            Subject::Clock(s) => write!(f, "clock of {s}"),
            Subject::Memory(s) => write!(f, "memory of {s}"),
            Subject::Disk(s) => write!(f, "disk of {s}"),
            Subject::Server(s) => write!(f, "server {s}"),
        }
    }
}

/// What one try of a probe came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    pub probe: ProbeId,
    /// The id of the server that ran it.
    pub server: String,
    /// By that server's clock; shown, never reckoned with.
    pub started: Timestamp,
    pub millis: u32,
    /// How long the whole try took; `millis` may be the longest part of it.
    #[serde(default)]
    pub took: u32,
    /// The hops that it took, in order, with steps and their timings. The last one that failed is the one that alerts name.
    pub legs: Vec<Leg>,
    /// What is wrong; `None`: it succeeded.
    pub finding: Option<Finding>,
    /// There is a finding and yet it works, in another way than was wanted: Degraded, not Unhealthy.
    #[serde(default)]
    pub degraded: bool,
    /// What it went through. One subject alone: the probe is about this subject, and a failure is its failure.
    pub subject: Vec<Subject>,
    /// What the finding says is at fault, where it says so.
    #[serde(default)]
    pub culprit: Option<Subject>,
    /// The version of the settings under which it ran.
    #[serde(default)]
    pub version: Option<u32>,
}

impl ProbeResult {
    /// One that succeeded, to be filled in.
    pub fn new(probe: ProbeId, server: &str, started: Timestamp) -> ProbeResult {
        ProbeResult {
            probe,
            server: server.to_owned(),
            started,
            millis: 0,
            took: 0,
            legs: Vec::new(),
            finding: None,
            degraded: false,
            subject: Vec::new(),
            culprit: None,
            version: None,
        }
    }

    pub fn succeeded(&self) -> bool {
        self.finding.is_none()
    }

    /// It does not work at all.
    pub fn failed(&self) -> bool {
        self.finding.is_some() && !self.degraded
    }

    /// The hop that failed, or was not as it should be: the last of those.
    pub fn bad_leg(&self) -> Option<&Leg> {
        let bad = |leg: &&Leg| matches!(leg.outcome, Outcome::Failed { .. } | Outcome::Degraded { .. });
        self.legs.iter().rev().find(bad)
    }

    /// In a line, for Error of the familiar outputs.
    pub fn error(&self) -> Option<String> {
        let finding = self.finding.as_ref()?;
        let said = self.bad_leg().and_then(|leg| match &leg.outcome {
            Outcome::Failed { text, .. } | Outcome::Degraded { text, .. } if !text.is_empty() => {
                Some(text.clone())
            }
            _ => None,
        });
        let fact = || finding.evidence.first().map(|e| e.fact.clone());
        let text = said.or_else(fact).unwrap_or_else(|| finding.cause.meaning.to_owned());
        Some(format!("[{}] {text}", finding.cause.code))
    }

    /// Cuts what is longer than anything of ours, for results that come from elsewhere.
    pub fn bounded(mut self) -> ProbeResult {
        self.legs.truncate(crate::limits::LEGS_MAX);
        self.subject.truncate(crate::limits::LEGS_MAX);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_probes() {
        let probe = ProbeId::new("IMAP", "ImapCTPProbe", "imaps");
        assert_eq!(probe.to_string(), "IMAP\\ImapCTPProbe\\imaps");
        assert_eq!(ProbeId::parse("IMAP\\ImapCTPProbe\\imaps"), Some(probe.clone()));
        assert_eq!(
            (probe.monitor().as_str(), probe.result_name().as_str()),
            ("ImapCTPMonitor", "ImapCTPProbe/imaps")
        );
        for asked in ["imap\\imapctpprobe", "IMAP\\ImapCTPMonitor\\IMAPS", "IMAP\\ImapCTP"] {
            assert!(ProbeId::parse(asked).is_some_and(|a| probe.is(&a)), "{asked}");
        }
        for other in ["POP\\ImapCTPProbe", "IMAP\\ImapCTPProbe\\imap"] {
            assert!(ProbeId::parse(other).is_some_and(|a| !probe.is(&a)), "{other}");
        }
        assert_eq!(
            ProbeId::parse("IMAP/ImapCTPProbe/imaps/mbx-1").map(|p| p.target),
            Some("imaps/mbx-1".into())
        );
        for wrong in ["", "IMAP", "\\x", "IMAP\\"] {
            assert_eq!(ProbeId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_rests_on_what() {
        let leg = Subject::leg("fe-1", "mbx-1").closure();
        assert!(
            leg.contains(&Subject::Server("mbx-1".into())) && leg.contains(&Subject::Inner("fe-1".into()))
        );
        let queue = Subject::Queue("a".into()).closure();
        assert!(queue.contains(&Subject::Disk("a".into())) && !queue.contains(&Subject::Dns("a".into())));
    }
}
