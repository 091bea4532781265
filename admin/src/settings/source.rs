//! Where accounts and their passwords may come from besides Waypost: LDAP directories, Active Directory.

use super::checks::*;
use super::fields::section_types;
use super::value::{Span, choice};

choice! {
    /// What kind of directory it is.
    SourceKind {
        /// OpenLDAP, 389 Directory Server and others.
        Ldap = 0,
        /// Active Directory, Samba's included.
        ActiveDirectory = 1,
    }
}

section_types! {
    /// A directory that knows people: their passwords are checked there, and their accounts can be made from it.
    DirectorySource {
        /// A source that is not enabled is not asked: its people cannot sign in by password.
        enabled: bool = true;
        /// For people.
        comment: String = String::new(), line;
        /// Ldap or ActiveDirectory. It decides what the filters are where they are empty.
        kind: SourceKind = SourceKind::Ldap;
        /// "ldaps://dc1.example.org", "ldap://dc1.example.org" with start_tls. Several are tried in turn.
        urls: Vec<String> = Vec::new(), at_most_1000;
        /// STARTTLS on ldap:// before anything is said. Without TLS passwords are sent to loopback only.
        start_tls: bool = false;
        /// PEM file of the CA that has signed the directory's certificate; empty for those that this machine trusts.
        ca_file: String = String::new(), line;
        /// Who we look things up as; empty for anonymous. The password is in the folder `secret`, under the source's name.
        bind_dn: String = String::new(), line;
        /// Where to look.
        base_dn: String = String::new(), line;
        /// How a person is found by the name they sign in with: {user} is the whole of it, {local} what is before the @.
        user_filter: String = String::new(), line;
        /// Mail domains whose people's passwords are checked there.
        domains: Vec<String> = Vec::new(), at_most_1000;
        /// How long a question may take.
        timeout: Span = Span::seconds(5), |n| span_in(1, 60, n);
        /// Accounts and groups are made, changed and disabled as the directory has them.
        sync: bool = false;
        /// How often.
        sync_interval: Span = Span::minutes(15), |n| span_in(60, 86_400, n);
        /// Which people get an account; empty for those with a mail address.
        sync_filter: String = String::new(), line;
        /// Which groups become distribution groups; empty for those with a mail address.
        group_filter: String = String::new(), line;
    }
}

impl DirectorySource {
    pub(super) fn named(_: &str) -> DirectorySource {
        DirectorySource::default()
    }

    pub(super) fn whole(&self) -> Result<(), String> {
        for url in &self.urls {
            let plain = url.strip_prefix("ldap://");
            let host = plain.or_else(|| url.strip_prefix("ldaps://")).filter(|host| !host.is_empty());
            let Some(host) = host else { return Err(format!("{url:?} is no ldap:// or ldaps:// address")) };
            if plain.is_some() && !self.start_tls && !is_loopback(host) {
                return Err(format!("{url} would send passwords in clear: use ldaps:// or start_tls"));
            }
        }
        Ok(())
    }

    /// The filter that finds somebody by the name they sign in with, before names are put in.
    pub fn finds(&self) -> &str {
        match (self.user_filter.is_empty(), self.kind) {
            (false, _) => &self.user_filter,
            (true, SourceKind::Ldap) => "(&(objectClass=person)(|(mail={user})(uid={local})))",
            (true, SourceKind::ActiveDirectory) => {
                "(&(objectCategory=person)(objectClass=user)(|(mail={user})(userPrincipalName={user})\
                 (proxyAddresses=smtp:{user})))"
            }
        }
    }

    /// The filter of the people that get accounts.
    pub fn people(&self) -> &str {
        match (self.sync_filter.is_empty(), self.kind) {
            (false, _) => &self.sync_filter,
            (true, SourceKind::Ldap) => "(&(objectClass=person)(mail=*))",
            (true, SourceKind::ActiveDirectory) => "(&(objectCategory=person)(objectClass=user)(mail=*))",
        }
    }

    /// The filter of the groups that become distribution groups.
    pub fn groups(&self) -> &str {
        match (self.group_filter.is_empty(), self.kind) {
            (false, _) => &self.group_filter,
            (true, SourceKind::Ldap) => {
                "(&(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))(mail=*))"
            }
            (true, SourceKind::ActiveDirectory) => "(&(objectClass=group)(mail=*))",
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.split('/').next().unwrap_or_default();
    let bare = match bare.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => bare.split(':').next().unwrap_or_default(),
    };
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_sent_in_clear() {
        let with = |url: &str, start_tls| {
            DirectorySource {
                urls: vec![url.into()],
                start_tls,
                base_dn: "dc=example,dc=org".into(),
                ..DirectorySource::default()
            }
            .whole()
        };
        assert!(with("ldaps://dc1.example.org", false).is_ok());
        assert!(with("ldap://dc1.example.org", true).is_ok());
        assert!(with("ldap://127.0.0.1:389", false).is_ok());
        assert!(with("ldap://[::1]:389", false).is_ok());
        assert!(with("ldap://dc1.example.org", false).is_err());
        assert!(with("ldap://127.0.0.1.example.org", false).is_err());
        assert!(with("http://x", false).is_err());
    }
}
