//! Tokens of an OpenID provider: whose is it, and do we believe it?
//!
//! Access or ID tokens in the form of a JWT (RFC 7519), signed with a key that the provider publishes (RFC 7517), found by
//! its discovery document. Keys are kept for an hour and fetched anew when a token names one that is not known, at most
//! once a minute. A provider that cannot be reached makes a sign-in unavailable, never wrong.

mod jwt;

use crate::web_client;
use jwt::{Claims, Keys};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use waypost_admin::settings::Settings;
use waypost_base::{Clock, Timestamp};
use waypost_directory::signin::{TokenProof, TokenVerifier};
use waypost_sasl::{OpenId, Secret};

/// Keys are good for so long.
const KEYS_MILLIS: i64 = 60 * 60 * 1000;
/// Between two fetches, whatever tokens say.
const FETCH_MILLIS: i64 = 60 * 1000;

/// What an administrator says about the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provider {
    /// As tokens name it, and where its discovery document is.
    pub issuer: String,
    /// Of which a token must name one; empty takes none.
    pub audiences: Vec<String>,
    /// The claim that is the mail address or user name.
    pub claim: String,
    /// Must be among the token's scopes; empty asks for none.
    pub scope: String,
    pub ca_file: Option<PathBuf>,
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not one of the provider's, expired, for somebody else. The text is for the log.
    Wrong(String),
    /// We cannot tell now.
    Unavailable(String),
}

/// Looks at tokens. One for the server.
pub struct Verifier {
    provider: Provider,
    clock: Clock,
    kept: Mutex<Option<Kept>>,
    /// One fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

/// The provider of the settings, if there is one.
pub fn verifier(settings: &Settings, data: &Path, clock: &Clock) -> Option<Arc<dyn TokenVerifier>> {
    let written = &settings.oauth;
    if written.issuer.is_empty() {
        return None;
    }
    let provider = Provider {
        issuer: written.issuer.clone(),
        audiences: written.audiences.clone(),
        claim: written.user_claim.clone(),
        scope: written.scope.clone(),
        ca_file: (!written.ca_file.is_empty()).then(|| data.join(&written.ca_file)),
    };
    Some(Arc::new(Verifier::new(provider, clock.clone())))
}

impl TokenVerifier for Verifier {
    fn verify<'a>(&'a self, token: &'a Secret) -> Pin<Box<dyn Future<Output = TokenProof> + Send + 'a>> {
        Box::pin(async move {
            match Verifier::verify(self, token).await {
                Ok(user) => TokenProof::Subject(vec![user]),
                Err(Refused::Wrong(why)) => TokenProof::Wrong(why),
                Err(Refused::Unavailable(why)) => TokenProof::Unavailable(why),
            }
        })
    }

    fn openid(&self) -> OpenId {
        let issuer = self.provider.issuer.trim_end_matches('/');
        OpenId {
            configuration: format!("{issuer}/.well-known/openid-configuration"),
            scope: self.provider.scope.clone(),
        }
    }
}

#[derive(Clone)]
struct Kept {
    keys: Arc<Keys>,
    fetched: Timestamp,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Verifier {
    pub fn new(provider: Provider, clock: Clock) -> Verifier {
        Verifier { provider, clock, kept: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The user that a token is for: the claim's value.
    pub async fn verify(&self, token: &Secret) -> Result<String, Refused> {
        let text = token.expose_str().ok_or_else(|| Refused::Wrong("not text".into()))?;
        let parsed = jwt::parse(text).map_err(Refused::Wrong)?;
        let keys = self.keys(&parsed.header).await?;
        let claims = keys.verify(&parsed).map_err(Refused::Wrong)?;
        self.judge(&claims)
    }

    fn judge(&self, claims: &Claims) -> Result<String, Refused> {
        let provider = &self.provider;
        claims
            .check(&provider.issuer, &provider.audiences, &provider.scope, self.clock.now())
            .map_err(Refused::Wrong)?;
        claims.user(&provider.claim).map_err(Refused::Wrong)
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn keys(&self, header: &jwt::Header) -> Result<Arc<Keys>, Refused> {
        let fresh = |kept: &Kept, now: Timestamp| {
            let age = now.since(kept.fetched);
            let known = kept.keys.has(header);
            (known && age < KEYS_MILLIS) || (!known && age < FETCH_MILLIS)
        };
        if let Some(kept) = self.kept().filter(|k| fresh(k, self.clock.now())) {
            return Ok(kept.keys);
        }
        let _one = self.fetching.lock().await;
        let before = self.kept();
        if let Some(kept) = before.as_ref().filter(|k| fresh(k, self.clock.now())) {
            return Ok(Arc::clone(&kept.keys));
        }
        match self.fetch().await {
            Ok(keys) => {
                let kept = Kept { keys: Arc::new(keys), fetched: self.clock.now() };
                *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept.clone());
                Ok(kept.keys)
            }
            // Old keys still tell right from wrong; only one that we don't have needs the provider.
            Err(e) => match before.filter(|k| k.keys.has(header)) {
                Some(kept) => {
                    tracing::warn!(
                        error = e,
                        "the provider's keys could not be fetched: the old ones are used"
                    );
                    Ok(kept.keys)
                }
                None => Err(Refused::Unavailable(e)),
            },
        }
    }

    async fn fetch(&self) -> Result<Keys, String> {
        let issuer = self.provider.issuer.trim_end_matches('/');
        let place = format!("{issuer}/.well-known/openid-configuration");
        let found: Discovery = self.json(&place).await?;
        if found.issuer.trim_end_matches('/') != issuer {
            return Err(format!("{place} speaks for {:?}", found.issuer));
        }
        let keys: serde_json::Value = self.json(&found.jwks_uri).await?;
        Keys::read(&keys).map_err(|e| format!("{}: {e}", found.jwks_uri))
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let fetched = web_client::get(url, self.provider.ca_file.as_deref()).await?;
        if fetched.status != 200 {
            return Err(format!("{url} answered {}", fetched.status));
        }
        serde_json::from_slice(&fetched.body).map_err(|e| format!("{url}: {e}"))
    }
}
