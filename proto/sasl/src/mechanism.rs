//! The mechanisms by name, and which of them may be offered on a connection.

use crate::binding::Bindings;
use std::fmt;

/// A mechanism that both our sides speak, under its name in the IANA registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mechanism {
    ScramSha256Plus,
    ScramSha256,
    Plain,
    /// Never standardised, but asked for by Outlook and by many devices.
    Login,
}

impl Mechanism {
    /// All, the strongest first, which is the order in which they are offered.
    pub const ALL: [Mechanism; 4] =
        [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    /// By name; case does not matter, although RFC 4422 §3.1 writes them in capitals, because all three protocols are
    /// case-insensitive here.
    pub fn parse(name: &[u8]) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|m| m.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// True where the password itself crosses the wire, so that the channel has to be private.
    pub const fn reveals_password(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login)
    }

    /// True where the proof is bound to the TLS channel.
    pub const fn binds_channel(self) -> bool {
        matches!(self, Mechanism::ScramSha256Plus)
    }

    /// What to offer, strongest first. `passwords` says whether policy lets mechanisms that reveal the password be used on this channel.
    pub fn offered(bindings: &Bindings, passwords: bool) -> Vec<Mechanism> {
        let fits = |m: &Mechanism| {
            (passwords || !m.reveals_password()) && (!m.binds_channel() || !bindings.is_empty())
        };
        Mechanism::ALL.into_iter().filter(fits).collect()
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_the_channel_allows() {
        let none = Bindings::default();
        let tls = Bindings { exporter: Some([7; 32]), end_point: None };
        assert_eq!(Mechanism::offered(&none, false), [Mechanism::ScramSha256]);
        assert_eq!(Mechanism::offered(&tls, true), Mechanism::ALL);
        assert_eq!(Mechanism::parse(b"scram-sha-256-plus"), Some(Mechanism::ScramSha256Plus));
        assert_eq!(Mechanism::parse(b"SCRAM-SHA-256-"), None);
    }
}
