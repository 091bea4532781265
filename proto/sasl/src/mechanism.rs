//! The mechanisms by name, what each of them needs, and which may be offered on a connection: never one that cannot work.

use crate::binding::Bindings;
use crate::scram::Hash;
use std::fmt;

/// A mechanism that we speak as a server, under its name in the IANA registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mechanism {
    /// The certificate that the client has shown in TLS (RFC 4422 appendix A).
    External,
    ScramSha256Plus,
    ScramSha1Plus,
    /// Kerberos (RFC 4752).
    Gssapi,
    /// Kerberos inside of SPNEGO (RFC 4178), as Windows has it.
    GssSpnego,
    ScramSha256,
    ScramSha1,
    /// RFC 7628.
    OAuthBearer,
    /// What RFC 7628 was before it was one; Google's and Microsoft's clients speak it.
    XOAuth2,
    /// Microsoft's challenge and response, version 2 only. Off unless an administrator switches it on.
    Ntlm,
    Plain,
    /// Never standardised, but asked for by Outlook and by many devices.
    Login,
}

/// What must be there besides the client's good will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A channel that others cannot read, whatever LoginType says.
    pub tls: bool,
    /// A channel binding, so TLS.
    pub binding: bool,
    /// A Kerberos library and a keytab.
    pub kerberos: bool,
    /// Something that can check NTLM responses.
    pub ntlm: bool,
    /// An OpenID provider is configured.
    pub tokens: bool,
    /// The client has shown a certificate.
    pub certificate: bool,
    /// Keys of SCRAM-SHA-1, which passwords that were set long ago lack.
    pub scram_sha1: bool,
}

/// What whoever answers questions can do. All false until somebody says more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    pub kerberos: bool,
    pub ntlm: bool,
    pub tokens: bool,
    /// Certificates of clients are mapped to accounts.
    pub certificates: bool,
    /// Every account that has a password has keys of SCRAM-SHA-1.
    pub scram_sha1: bool,
}

/// What a connection has, for [`Mechanism::possible`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Others cannot read along.
    pub private: bool,
    /// There is a channel binding.
    pub binding: bool,
    /// The client has shown a certificate.
    pub certificate: bool,
    pub abilities: Abilities,
}

impl Mechanism {
    /// All, the strongest first, which is the order in which they are offered.
    pub const ALL: [Mechanism; 12] = [
        Mechanism::External,
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha1Plus,
        Mechanism::Gssapi,
        Mechanism::GssSpnego,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1,
        Mechanism::OAuthBearer,
        Mechanism::XOAuth2,
        Mechanism::Ntlm,
        Mechanism::Plain,
        Mechanism::Login,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::External => "EXTERNAL",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Mechanism::Gssapi => "GSSAPI",
            Mechanism::GssSpnego => "GSS-SPNEGO",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::OAuthBearer => "OAUTHBEARER",
            Mechanism::XOAuth2 => "XOAUTH2",
            Mechanism::Ntlm => "NTLM",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    /// By name; case does not matter, although RFC 4422 §3.1 writes them in capitals, because all three protocols are
    /// case-insensitive here.
    pub fn parse(name: &[u8]) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|m| m.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// True where the password, or a token that is as good, crosses the wire, so that the channel has to be private.
    pub const fn reveals_password(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login | Mechanism::OAuthBearer | Mechanism::XOAuth2)
    }

    /// True where the mechanism cannot be spoken without a channel binding.
    pub const fn binds_channel(self) -> bool {
        matches!(self, Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus)
    }

    /// True where ExtendedProtectionPolicy has a say: the mechanisms of Windows, which can bind but need not.
    pub const fn may_bind_channel(self) -> bool {
        matches!(self, Mechanism::Gssapi | Mechanism::GssSpnego | Mechanism::Ntlm)
    }

    /// The hash under a SCRAM mechanism.
    pub const fn scram(self) -> Option<Hash> {
        match self {
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => Some(Hash::Sha256),
            Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => Some(Hash::Sha1),
            _ => None,
        }
    }

    pub const fn needs(self) -> Needs {
        let none = Needs {
            tls: false,
            binding: false,
            kerberos: false,
            ntlm: false,
            tokens: false,
            certificate: false,
            scram_sha1: false,
        };
        match self {
            Mechanism::External => Needs { tls: true, certificate: true, ..none },
            Mechanism::ScramSha256Plus => Needs { tls: true, binding: true, ..none },
            Mechanism::ScramSha1Plus => Needs { tls: true, binding: true, scram_sha1: true, ..none },
            Mechanism::ScramSha1 => Needs { scram_sha1: true, ..none },
            Mechanism::Gssapi => Needs { kerberos: true, ..none },
            // Without TLS its clients would seal all that follows, which we don't speak.
            Mechanism::GssSpnego => Needs { tls: true, kerberos: true, ..none },
            // RFC 6750 §5.3, RFC 7628 §4: a bearer token is never sent in clear.
            Mechanism::OAuthBearer | Mechanism::XOAuth2 => Needs { tls: true, tokens: true, ..none },
            Mechanism::Ntlm => Needs { ntlm: true, ..none },
            Mechanism::ScramSha256 | Mechanism::Plain | Mechanism::Login => none,
        }
    }

    /// Whether it can work on such a connection. What an administrator allows is another question.
    pub const fn possible(self, facts: &Facts) -> bool {
        let (needs, able) = (self.needs(), &facts.abilities);
        (!needs.tls || facts.private)
            && (!needs.binding || facts.binding)
            && (!needs.certificate || (facts.certificate && able.certificates))
            && self.able(able)
    }

    /// Whether those who answer can answer for it; what is left may come with TLS.
    pub const fn able(self, able: &Abilities) -> bool {
        let needs = self.needs();
        (!needs.kerberos || able.kerberos)
            && (!needs.ntlm || able.ntlm)
            && (!needs.tokens || able.tokens)
            && (!needs.certificate || able.certificates)
            && (!needs.scram_sha1 || able.scram_sha1)
    }

    /// What to offer, strongest first. `passwords` says whether policy lets mechanisms that reveal the password be used on this channel.
    pub fn offered(facts: &Facts, passwords: bool) -> Vec<Mechanism> {
        let fits = |m: &Mechanism| m.possible(facts) && (passwords || !m.reveals_password());
        Mechanism::ALL.into_iter().filter(fits).collect()
    }
}

impl Facts {
    /// Of a channel. `private` where TLS stands, or where nobody can listen.
    pub fn new(bindings: &Bindings, private: bool, certificate: bool, abilities: Abilities) -> Facts {
        Facts { private, binding: !bindings.is_empty(), certificate, abilities }
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

    const ALL: Abilities =
        Abilities { kerberos: true, ntlm: true, tokens: true, certificates: true, scram_sha1: true };

    #[test]
    fn offers_what_the_channel_allows() {
        let clear = Facts::default();
        assert_eq!(Mechanism::offered(&clear, false), [Mechanism::ScramSha256]);
        let tls = Facts { private: true, binding: true, certificate: true, abilities: ALL };
        assert_eq!(Mechanism::offered(&tls, true), Mechanism::ALL);
        let few = Facts { abilities: Abilities::default(), ..tls };
        let few = Mechanism::offered(&few, true);
        assert_eq!(
            few,
            [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login]
        );
        let clear = Mechanism::offered(&Facts { abilities: ALL, ..clear }, false);
        assert_eq!(clear, [Mechanism::Gssapi, Mechanism::ScramSha256, Mechanism::ScramSha1, Mechanism::Ntlm]);
        let stranger = Facts { certificate: false, ..tls };
        assert!(!Mechanism::External.possible(&stranger));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::parse(mechanism.name().to_lowercase().as_bytes()), Some(mechanism));
        }
        assert_eq!(Mechanism::parse(b"SCRAM-SHA-256-"), None);
    }
}
