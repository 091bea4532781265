//! Questions to one source, over connections of their own: each is opened, used and closed. A server that does not
//! answer makes way for the next one.

use super::Source;
use super::entry::{ATTRIBUTES, Entry, read};
use crate::web_client::client_config;
use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, ldap_escape};
use rustls::ClientConfig;
use std::fmt;
use std::sync::{Arc, OnceLock};
use waypost_sasl::Secret;

/// RFC 4511 §4.1.9
const INVALID_CREDENTIALS: u32 = 49;
/// Entries of one page.
const PAGE: i32 = 500;
/// Entries that a synchronisation takes; a directory of this size is somebody else's problem.
const ENTRIES_MAX: usize = 200_000;

/// Why a password was not found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Unknown there, or another password.
    Wrong,
    /// The password may be right, but the directory does not let them in: expired, disabled, locked.
    NotAllowed(waypost_sasl::Why),
    /// We cannot tell.
    Unavailable(Trouble),
}

/// What was in the way: server, step and the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub server: String,
    /// `connect`, `tls`, `bind`, `search`
    pub step: &'static str,
    pub text: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {}", self.step, self.server, self.text)
    }
}

/// Asks a source.
pub struct Client {
    source: Source,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Client {
    pub fn new(source: Source) -> Client {
        Client { source, tls: OnceLock::new() }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether a password is somebody's. An empty one is always wrong: LDAP would take it for an anonymous bind
    /// (RFC 4513 §5.1.2) and say yes.
    pub async fn check(&self, user: &str, password: &Secret) -> Result<Entry, Denied> {
        let text = password.expose_str().filter(|p| !p.is_empty()).ok_or(Denied::Wrong)?;
        let (mut ldap, server) = self.connect().await.map_err(Denied::Unavailable)?;
        let done = self.check_on(&mut ldap, &server, user, text).await;
        // Said for politeness: the connection is dropped anyway.
        let _ = ldap.unbind().await;
        done
    }

    async fn check_on(
        &self,
        ldap: &mut Ldap,
        server: &str,
        user: &str,
        password: &str,
    ) -> Result<Entry, Denied> {
        let found = self.find_on(ldap, server, user).await.map_err(Denied::Unavailable)?;
        let Some(entry) = found else {
            // Costs what a wrong password costs, so that nobody learns who there is.
            let nobody = format!("cn=waypost-nobody,{}", self.source.base_dn);
            let _ = ldap.with_timeout(self.source.timeout).simple_bind(&nobody, password).await;
            return Err(Denied::Wrong);
        };
        let bound = ldap.with_timeout(self.source.timeout).simple_bind(&entry.dn, password).await;
        let result = bound.map_err(|e| Denied::Unavailable(trouble(server, "bind", &e)))?;
        match result.rc {
            0 => Ok(entry),
            INVALID_CREDENTIALS => Err(refused(&result.text)),
            code => {
                let text = format!("result code {code} {}", result.text);
                Err(Denied::Unavailable(Trouble { server: server.to_owned(), step: "bind", text }))
            }
        }
    }

    /// Somebody by the name they sign in with.
    pub async fn find(&self, user: &str) -> Result<Option<Entry>, Trouble> {
        let (mut ldap, server) = self.connect().await?;
        let found = self.find_on(&mut ldap, &server, user).await;
        let _ = ldap.unbind().await;
        found
    }

    async fn find_on(&self, ldap: &mut Ldap, server: &str, user: &str) -> Result<Option<Entry>, Trouble> {
        let local = user.split('@').next().unwrap_or_default();
        let filter = self
            .source
            .user_filter
            .replace("{user}", &ldap_escape(user))
            .replace("{local}", &ldap_escape(local));
        let base = &self.source.base_dn;
        ldap.with_timeout(self.source.timeout);
        let found = ldap.search(base, Scope::Subtree, &filter, ATTRIBUTES).await;
        let ldap3::SearchResult(entries, result) = found.map_err(|e| trouble(server, "search", &e))?;
        if result.rc != 0 && entries.is_empty() {
            let text = format!("result code {} {}", result.rc, result.text);
            return Err(Trouble { server: server.to_owned(), step: "search", text });
        }
        let mut people = entries.into_iter().filter(|e| !e.is_ref()).map(|e| read(e, self.source.kind));
        match (people.next(), people.next()) {
            (None, _) => Ok(None),
            (Some(one), None) => Ok(Some(one)),
            (Some(one), Some(two)) => {
                let text = format!("{filter} finds more than one: {} and {}", one.dn, two.dn);
                Err(Trouble { server: server.to_owned(), step: "search", text })
            }
        }
    }

    /// Everybody and every group that the source's filters choose.
    pub async fn all(&self) -> Result<(Vec<Entry>, Vec<Entry>), Trouble> {
        let (mut ldap, server) = self.connect().await?;
        let people = self.pages(&mut ldap, &server, &self.source.people_filter).await?;
        let groups = self.pages(&mut ldap, &server, &self.source.group_filter).await?;
        let _ = ldap.unbind().await;
        Ok((people, groups))
    }

    async fn pages(&self, ldap: &mut Ldap, server: &str, filter: &str) -> Result<Vec<Entry>, Trouble> {
        let adapters: Vec<Box<dyn Adapter<_, _>>> =
            vec![Box::new(EntriesOnly::new()), Box::new(PagedResults::new(PAGE))];
        ldap.with_timeout(self.source.timeout * 6);
        let search = ldap.streaming_search_with(
            adapters,
            &self.source.base_dn,
            Scope::Subtree,
            filter,
            ATTRIBUTES.to_vec(),
        );
        let mut stream = search.await.map_err(|e| trouble(server, "search", &e))?;
        let mut found = Vec::new();
        while let Some(entry) = stream.next().await.map_err(|e| trouble(server, "search", &e))? {
            if found.len() >= ENTRIES_MAX {
                let text = format!("{filter} finds more than {ENTRIES_MAX}");
                return Err(Trouble { server: server.to_owned(), step: "search", text });
            }
            found.push(read(entry, self.source.kind));
        }
        let result = stream.finish().await;
        if result.rc != 0 {
            // A list that broke off must not be taken for all there is: people would be disabled by it.
            let text = format!("result code {} {}", result.rc, result.text);
            return Err(Trouble { server: server.to_owned(), step: "search", text });
        }
        Ok(found)
    }

    /// The first server that takes us, bound as whoever looks things up.
    pub async fn connect(&self) -> Result<(Ldap, String), Trouble> {
        let mut first: Option<Trouble> = None;
        for url in &self.source.urls {
            match self.connect_to(url).await {
                Ok(ldap) => return Ok((ldap, url.clone())),
                Err(e) => first = Some(first.unwrap_or(e)),
            }
        }
        let nothing = || Trouble {
            server: self.source.name.clone(),
            step: "connect",
            text: "it has no address".into(),
        };
        Err(first.unwrap_or_else(nothing))
    }

    async fn connect_to(&self, url: &str) -> Result<Ldap, Trouble> {
        let config = self.tls.get_or_init(|| client_config(self.source.ca_file.as_deref())).clone();
        let secure = url.starts_with("ldaps:") || self.source.start_tls;
        let mut settings = LdapConnSettings::new()
            .set_conn_timeout(self.source.timeout)
            .set_starttls(self.source.start_tls && !url.starts_with("ldaps:"));
        match config {
            Ok(config) => settings = settings.set_config(config),
            Err(text) if secure => return Err(Trouble { server: url.to_owned(), step: "tls", text }),
            Err(_) => {}
        }
        let opened = tokio::time::timeout(self.source.timeout, LdapConnAsync::with_settings(settings, url));
        let slow = || Trouble { server: url.to_owned(), step: "connect", text: "no answer in time".into() };
        let (connection, mut ldap) = opened
            .await
            .map_err(|_| slow())?
            .map_err(|e| trouble(url, if secure { "tls" } else { "connect" }, &e))?;
        tokio::spawn(async move {
            if let Err(e) = connection.drive().await {
                tracing::debug!(error = %e, "LDAP connection ended");
            }
        });
        if !self.source.bind_dn.is_empty() {
            let password = self.source.password.as_ref().and_then(Secret::expose_str).unwrap_or_default();
            ldap.with_timeout(self.source.timeout);
            let bound = ldap.simple_bind(&self.source.bind_dn, password).await;
            let result = bound.map_err(|e| trouble(url, "bind", &e))?;
            if result.rc != 0 {
                let text = format!(
                    "{} is not let in to look things up: result code {} {}",
                    self.source.bind_dn, result.rc, result.text
                );
                return Err(Trouble { server: url.to_owned(), step: "bind", text });
            }
        }
        Ok(ldap)
    }
}

fn trouble(server: &str, step: &'static str, e: &LdapError) -> Trouble {
    Trouble { server: server.to_owned(), step, text: e.to_string() }
}

/// Active Directory says why in the text: `…, data 532, v4563`.
fn refused(text: &str) -> Denied {
    use waypost_sasl::Why;
    let code = text.split("data ").nth(1).and_then(|rest| rest.split([',', ' ']).next()).unwrap_or_default();
    match code {
        "532" | "773" => Denied::NotAllowed(Why::Expired),
        "533" | "701" => Denied::NotAllowed(Why::Disabled),
        "775" => Denied::NotAllowed(Why::Locked),
        "530" | "531" => Denied::NotAllowed(Why::Other("the directory does not allow it here or now".into())),
        _ => Denied::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_sasl::Why;

    #[test]
    fn what_active_directory_says() {
        let text = |code: &str| {
            format!(
                "80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data {code}, v4563"
            )
        };
        for (code, denied) in [
            ("52e", Denied::Wrong),
            ("525", Denied::Wrong),
            ("532", Denied::NotAllowed(Why::Expired)),
            ("773", Denied::NotAllowed(Why::Expired)),
            ("533", Denied::NotAllowed(Why::Disabled)),
            ("775", Denied::NotAllowed(Why::Locked)),
        ] {
            assert_eq!(refused(&text(code)), denied, "{code}");
        }
        assert_eq!(refused(""), Denied::Wrong);
    }
}
