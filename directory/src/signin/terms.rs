//! On what terms somebody may sign in: which mechanisms are on, and on which channels. One table for IMAP, POP3 and SMTP.
//!
//! | LoginType | clear channel | TLS |
//! | --- | --- | --- |
//! | PlainTextLogin | the protocol's own command (LOGIN, USER and PASS) and every mechanism that can work | all |
//! | PlainTextAuthentication | mechanisms that reveal no password; LOGINDISABLED | all |
//! | SecureLogin | nothing; LOGINDISABLED | all |
//!
//! Whatever LoginType says, bearer tokens and GSS-SPNEGO need TLS ([`Mechanism::needs`]). Where an administrator lets
//! loopback count as secure, it is as if TLS stood, but without what TLS brings: no channel binding, no certificate.

use std::net::IpAddr;
use waypost_sasl::{Abilities, Bindings, Facts, Mechanism, Protection};

/// What may be done on a channel that others can read, under Exchange's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoginType {
    /// Everything, even passwords in clear.
    PlainTextLogin,
    /// Mechanisms that don't reveal the password; those that do only under TLS.
    PlainTextAuthentication,
    /// Nothing before TLS stands.
    #[default]
    SecureLogin,
}

/// What an administrator has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub login_type: LoginType,
    /// Whether a channel that does not leave the machine counts as secure.
    pub loopback_is_secure: bool,
    /// Mechanisms that may be used at all.
    pub mechanisms: Vec<Mechanism>,
    /// Whether GSSAPI, GSS-SPNEGO and NTLM have to be bound to TLS.
    pub protection: Protection,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            login_type: LoginType::default(),
            loopback_is_secure: false,
            mechanisms: Terms::usual(),
            protection: Protection::None,
        }
    }
}

/// A channel as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub tls: bool,
    /// Both ends are on this machine.
    pub loopback: bool,
    pub bindings: Bindings,
    /// The client has shown a certificate.
    pub certificate: bool,
}

/// Why a mechanism cannot be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// Unknown, switched off, or not possible here.
    Never,
    /// Start TLS first.
    NeedsTls,
}

impl Terms {
    /// All but NTLM, which an administrator has to switch on.
    pub fn usual() -> Vec<Mechanism> {
        Mechanism::ALL.into_iter().filter(|m| *m != Mechanism::Ntlm).collect()
    }

    fn secure(&self, line: &Line) -> bool {
        line.tls || (line.loopback && self.loopback_is_secure)
    }

    /// What LoginType says of the channel.
    fn admits(&self, line: &Line, reveals_password: bool) -> bool {
        match self.login_type {
            LoginType::PlainTextLogin => true,
            LoginType::PlainTextAuthentication => self.secure(line) || !reveals_password,
            LoginType::SecureLogin => self.secure(line),
        }
    }

    /// Whether passwords may be sent in the protocol's own command (LOGIN, USER and PASS). Where not, IMAP says LOGINDISABLED.
    pub fn passwords_allowed(&self, line: &Line) -> bool {
        self.admits(line, true)
    }

    /// Whether a mechanism may be begun on this channel.
    pub fn judge(&self, mechanism: Mechanism, line: &Line, abilities: Abilities) -> Result<(), NotNow> {
        if !self.mechanisms.contains(&mechanism) || !mechanism.able(&abilities) {
            return Err(NotNow::Never);
        }
        let facts = Facts::new(&line.bindings, self.secure(line), line.certificate, abilities);
        // The mechanisms of Windows bind by the certificate of the server and nothing else.
        let bound = self.protection != Protection::Require
            || !mechanism.may_bind_channel()
            || line.bindings.end_point.is_some();
        if mechanism.possible(&facts) && self.admits(line, mechanism.reveals_password()) && bound {
            return Ok(());
        }
        Err(if line.tls { NotNow::Never } else { NotNow::NeedsTls })
    }

    /// The mechanisms to offer, strongest first: exactly those that [`judge`](Terms::judge) lets pass.
    pub fn offered(&self, line: &Line, abilities: Abilities) -> Vec<Mechanism> {
        Mechanism::ALL.into_iter().filter(|m| self.judge(*m, line, abilities).is_ok()).collect()
    }
}

/// Whether an address is of this machine's own loopback.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mechanism::*;

    const ALL: Abilities =
        Abilities { kerberos: true, ntlm: true, tokens: true, certificates: true, scram_sha1: true };

    fn terms(login_type: LoginType) -> Terms {
        Terms { login_type, mechanisms: Mechanism::ALL.to_vec(), ..Terms::default() }
    }

    fn tls() -> Line {
        let bindings = Bindings { exporter: Some([1; 32]), end_point: Some(vec![2; 32]) };
        Line { tls: true, loopback: false, bindings, certificate: true }
    }

    #[test]
    fn the_table_of_login_types() {
        let clear = Line::default();
        let all = |t: &Terms| t.offered(&tls(), ALL);
        let login = terms(LoginType::PlainTextLogin);
        assert!(login.passwords_allowed(&clear));
        assert_eq!(login.offered(&clear, ALL), [Gssapi, ScramSha256, ScramSha1, Ntlm, Plain, Login]);
        assert_eq!(all(&login), Mechanism::ALL);
        let authentication = terms(LoginType::PlainTextAuthentication);
        assert!(!authentication.passwords_allowed(&clear));
        assert_eq!(authentication.offered(&clear, ALL), [Gssapi, ScramSha256, ScramSha1, Ntlm]);
        assert_eq!(authentication.judge(Plain, &clear, ALL), Err(NotNow::NeedsTls));
        assert_eq!(all(&authentication), Mechanism::ALL);
        let secure = terms(LoginType::SecureLogin);
        assert!(!secure.passwords_allowed(&clear));
        assert_eq!(secure.offered(&clear, ALL), []);
        for mechanism in Mechanism::ALL {
            assert_eq!(secure.judge(mechanism, &clear, ALL), Err(NotNow::NeedsTls));
        }
        assert_eq!(all(&secure), Mechanism::ALL);
    }

    #[test]
    fn what_is_off_or_cannot_work_is_unknown() {
        let usual = Terms::default();
        assert_eq!(usual.judge(Ntlm, &tls(), ALL), Err(NotNow::Never));
        assert_eq!(usual.judge(Gssapi, &tls(), Abilities::default()), Err(NotNow::Never));
        assert_eq!(usual.judge(Gssapi, &Line::default(), Abilities::default()), Err(NotNow::Never));
        let stranger = Line { certificate: false, ..tls() };
        assert_eq!(usual.judge(External, &stranger, ALL), Err(NotNow::Never));
    }

    #[test]
    fn loopback_counts_where_it_is_said_to() {
        let here = Line { loopback: true, ..Line::default() };
        let mut terms = terms(LoginType::SecureLogin);
        assert_eq!(terms.offered(&here, ALL), []);
        terms.loopback_is_secure = true;
        assert!(terms.passwords_allowed(&here));
        assert!(terms.offered(&here, ALL).contains(&Plain));
        assert!(!terms.offered(&here, ALL).contains(&ScramSha256Plus));
        assert!(!terms.offered(&here, ALL).contains(&External));
    }

    #[test]
    fn required_protection_needs_something_to_bind_to() {
        let mut terms = terms(LoginType::PlainTextLogin);
        terms.protection = Protection::Require;
        assert!(terms.offered(&tls(), ALL).contains(&Gssapi));
        assert_eq!(terms.judge(Gssapi, &Line::default(), ALL), Err(NotNow::NeedsTls));
        let exporter_only = Bindings { exporter: Some([1; 32]), end_point: None };
        let line = Line { bindings: exporter_only, ..tls() };
        assert_eq!(terms.judge(Ntlm, &line, ALL), Err(NotNow::Never));
        assert_eq!(terms.judge(ScramSha256Plus, &line, ALL), Ok(()));
    }
}
