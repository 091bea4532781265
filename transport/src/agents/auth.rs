//! Mail authentication of what strangers bring: SPF, DKIM, DMARC, ARC, iprev.
//!
//! Law: trouble with name servers lets a message through, with `temperror` in its Authentication-Results. Peers within
//! the organisation are not looked at: what they bring came from somewhere else, which only they know.

use crate::agent::{About, Agent, Verdict};
use crate::connector::IpRange;
use crate::draft::Draft;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use waypost_mailauth::{Action, AuthSettings, Authenticator, BodyHasher, Input, policy, results};
use waypost_smtp::{Reply, Status};

/// Octets of a refusal's text; a reply line has 512 (RFC 5321 §4.5.3.1.5).
const TEXT: usize = 400;

/// What an administrator may choose.
#[derive(Clone, Debug)]
pub struct AuthRules {
    pub rules: AuthSettings,
    /// Mail from these peers is not looked at: filters and relays in front of this server.
    pub skip: Vec<IpRange>,
    /// Peers with private addresses are strangers too.
    pub check_private: bool,
    /// For one message.
    pub limit: Duration,
}

impl Default for AuthRules {
    fn default() -> AuthRules {
        AuthRules {
            rules: AuthSettings::default(),
            skip: Vec::new(),
            check_private: false,
            limit: waypost_mailauth::limits::CHECK,
        }
    }
}

pub struct AuthAgent {
    authenticator: Authenticator,
    rules: RwLock<Arc<AuthRules>>,
}

impl AuthAgent {
    pub fn new(authenticator: Authenticator, rules: AuthRules) -> AuthAgent {
        AuthAgent { authenticator, rules: RwLock::new(Arc::new(rules)) }
    }

    /// Holds for the next message.
    pub fn set_rules(&self, rules: AuthRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn rules(&self) -> Arc<AuthRules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait::async_trait]
impl Agent for AuthAgent {
    fn name(&self) -> &'static str {
        "Mail authentication"
    }

    fn wants(&self, about: &About) -> bool {
        let rules = self.rules();
        let peer = about.peer.ip();
        rules.rules.enabled
            && about.is_foreign()
            && (rules.check_private || !is_private(peer))
            && !rules.skip.iter().any(|range| range.holds(peer))
    }

    async fn message(&self, about: &About, draft: &mut Draft) -> Verdict {
        let rules = self.rules();
        let host = rules.rules.authserv_id.as_deref().unwrap_or(&about.host);
        let mut hasher = BodyHasher::wanted(draft.header());
        if hasher.needed()
            && let Err(e) = hash(draft, &mut hasher).await
        {
            // Without the body nothing can be said about signatures; it was our fault, so the sender tries again.
            tracing::error!(session = %about.session, error = %e, "message cannot be read for its signatures");
            return Verdict::Defer(Reply::new(
                451,
                Status(4, 3, 0),
                "The message could not be looked at, try again",
            ));
        }
        let mail_from = about.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let peer = about.peer.ip();
        let verdict = self
            .authenticator
            .check(&Input {
                peer,
                helo: &about.helo,
                mail_from: &mail_from,
                host: &about.host,
                header: draft.header(),
                body: hasher.finish(),
                limit: rules.limit,
            })
            .await;
        let overridden =
            verdict.dmarc.word == waypost_mailauth::Word::Fail && policy::overridden(&rules.rules, &verdict);
        let facts = results::value(host, peer, &mail_from, &verdict, overridden);
        draft.remove(|f| f.is(results::NAME) && results::is_forged(f.value, host));
        draft.prepend(results::NAME, &facts);
        draft.note(facts.replace("\r\n\t", " "));
        let action = policy::decide(&rules.rules, &verdict);
        tracing::info!(session = %about.session, id = %about.id, dmarc = %verdict.dmarc.word,
            spf = %verdict.mail_from.word, from = verdict.dmarc.domain, ?action, "mail authentication");
        match action {
            Action::Pass => Verdict::Pass,
            Action::Junk(why) => Verdict::Junk { why },
            Action::Reject { detail, text } => {
                Verdict::Reject(Reply::with(550, Status(5, 7, detail), shorten(&text)))
            }
        }
    }
}

/// Reads the body of a draft through.
pub(super) async fn hash(draft: &Draft, hasher: &mut BodyHasher) -> Result<(), waypost_store::BlobError> {
    let mut pieces = draft.read_body();
    while let Some(piece) = pieces.next().await? {
        hasher.update(&piece);
    }
    Ok(())
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT).collect()
}

/// This machine and its neighbours: loopback, private (RFC 1918, RFC 4193) and link-local addresses.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(a) => a.is_loopback() || a.is_private() || a.is_link_local(),
        IpAddr::V6(a) => a.is_loopback() || a.is_unique_local() || a.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours() {
        for near in [
            "127.0.0.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.3.4",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(near.parse().unwrap()), "{near}");
        }
        for far in ["192.0.2.1", "172.32.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(!is_private(far.parse().unwrap()), "{far}");
        }
    }
}
