//! Tokens of the HTTP interface: what a program proves itself by, and what it may do.
//!
//! A token is `wpt_NAME_SECRET` with 160 random bits. Only a hash of the secret is kept; at so many bits a plain hash
//! is as good as a slow one.

use serde::{Deserialize, Serialize};
use std::fmt;
use subtle::ConstantTimeEq;
use waypost_base::Timestamp;

/// What every token begins with, so that scanners of source code find one that was left there.
pub const PREFIX: &str = "wpt_";

/// Letters of a token's name.
pub const NAME_MAX: usize = 40;

/// A token as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    #[serde(skip)]
    pub version: u64,
    /// Lower-case letters, digits and hyphens.
    #[serde(skip)]
    pub name: String,
    /// BLAKE3 of the secret, in hexadecimal.
    pub(crate) hash: String,
    /// Names of role groups.
    pub groups: Vec<String>,
    /// Who made it.
    pub by: String,
    pub created: Timestamp,
    /// `None`: until it is removed.
    pub expires: Option<Timestamp>,
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiToken")
            .field("name", &self.name)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

impl ApiToken {
    /// Whether this is the token's secret, and it may still be used.
    pub fn fits(&self, secret: &str, now: Timestamp) -> bool {
        let same: bool = hash(secret).as_bytes().ct_eq(self.hash.as_bytes()).into();
        same && self.expires.is_none_or(|at| now < at)
    }
}

pub(crate) fn hash(secret: &str) -> String {
    blake3::derive_key("waypost api token 1", secret.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Name and secret of a token as it was shown.
pub fn split(token: &str) -> Option<(&str, &str)> {
    token.strip_prefix(PREFIX)?.rsplit_once('_')
}

/// `a-z`, digits and hyphens.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fits)
}
