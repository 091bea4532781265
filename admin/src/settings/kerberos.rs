//! The section `kerberos`: our keys, as whom we take part, and whose principals people are.

#![allow(clippy::ptr_arg, reason = "checks are handed what was read, a String")]

use super::checks::*;
use super::fields::section_types;
use super::value::Span;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use waypost_trust::kerberos::gss::{Identity, LIBRARY};
use waypost_trust::kerberos::{Principal, limits};

/// What systemd's LoadCredential= is to call the keytab.
const CREDENTIAL: &str = "keytab";

section_types! {
    /// The section `kerberos`.
    Kerberos {
        /// The keys of this server's service principals, readable by the server's user only; relative to the data folder.
        /// Where it does not exist, the systemd credential `keytab` is taken. Read at each use: a new one needs no restart.
        keytab: PathBuf = "secret/waypost.keytab".into();
        /// As whom this server gets tickets for other servers; empty: the first principal of its keytab.
        principal: String = String::new(), principal_or_empty;
        /// MIT's library. It is loaded when it is first needed; a change needs a restart.
        library: String = LIBRARY.to_owned(), library;
        /// How long one step may wait for a KDC. Legs wait 7 s.
        timeout: Span = Span::seconds(6), |n| span_in(1, 60, n);
        /// Realms whose users have mailboxes here, each with their mail domain: "EXAMPLE.ORG=example.org". Empty: realms that
        /// are called like a domain of ours. Users of other realms are refused.
        realm_domains: Vec<String> = Vec::new(), realms;
    }
}

impl Kerberos {
    /// This server's identity for a role (`transport`, `mailbox`, `frontend`). `data` is the data folder.
    pub fn identity(&self, data: &Path, server: &str, role: &str) -> Identity {
        let principal = (!self.principal.is_empty()).then(|| self.principal.clone());
        Identity {
            server: server.to_owned(),
            role: role.to_owned(),
            keytab: self.keytab_file(data),
            principal,
            run: tickets(data),
        }
    }

    /// Where the keytab is.
    pub fn keytab_file(&self, data: &Path) -> PathBuf {
        let own = data.join(&self.keytab);
        let credential = || Some(PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL));
        match credential() {
            Some(given) if !own.exists() && given.exists() => given,
            _ => own,
        }
    }

    /// How long one step may take.
    pub fn limit(&self) -> Duration {
        Duration::from_millis(self.timeout.0)
    }

    /// Realm in lower case to mail domain.
    pub fn realms(&self) -> BTreeMap<String, String> {
        self.realm_domains.iter().filter_map(|text| pair(text)).collect()
    }
}

/// The folder of tickets and replay stores.
pub fn tickets(data: &Path) -> PathBuf {
    data.join("run/krb5")
}

fn principal_or_empty(text: &String) -> Result<(), String> {
    let named = Principal::parse(text).is_some_and(|p| !p.realm.is_empty());
    if text.is_empty() || (named && text.len() <= limits::NAME_BYTES_MAX) {
        Ok(())
    } else {
        Err("must be a principal such as waypost/mail.example.org@EXAMPLE.ORG".into())
    }
}

fn library(text: &String) -> Result<(), String> {
    if text.is_empty() || text.contains('\0') { Err("must name a library".into()) } else { Ok(()) }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (realm, domain) = text.split_once('=')?;
    let (realm, domain) = (realm.trim(), domain.trim());
    let sound = !realm.is_empty() && host(&domain.to_owned()).is_ok();
    sound.then(|| (realm.to_lowercase(), domain.to_lowercase()))
}

fn realms(list: &Vec<String>) -> Result<(), String> {
    at_most_1000(list)?;
    match list.iter().find(|text| pair(text).is_none()) {
        Some(bad) => Err(format!("has {bad:?}, which is not REALM=domain")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_and_their_domains() {
        let kerberos =
            Kerberos { realm_domains: vec!["AD.Contoso.Test = contoso.test".into()], ..Kerberos::default() };
        assert_eq!(kerberos.realms().get("ad.contoso.test").map(String::as_str), Some("contoso.test"));
        assert!(realms(&vec!["CONTOSO.TEST".into()]).is_err());
        assert!(realms(&vec!["=contoso.test".into()]).is_err());
    }

    #[test]
    fn files_are_in_the_data_folder() {
        let identity = Kerberos::default().identity(Path::new("/data"), "server-2", "transport");
        assert_eq!(identity.keytab, Path::new("/data/secret/waypost.keytab"));
        assert_eq!(identity.ccache(), Path::new("/data/run/krb5/transport.ccache"));
        assert_eq!(identity.holder(), "server-2/transport");
        assert!(principal_or_empty(&"alice".into()).is_err());
        assert!(principal_or_empty(&"smtp/hub@R".into()).is_ok());
    }
}
