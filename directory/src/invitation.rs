//! Invitations: what lets a new server join the organisation, once.
//!
//! What is shown to the administrator is a token on one line. What is kept is a hash of its secret, and what became of it,
//! so that a token that was used, or has expired, is told from one that never was.

use crate::server::Roles;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use thiserror::Error;
use waypost_base::Timestamp;

/// Begins every token, and says how to read it.
const PREFIX: &str = "waypost-join.1.";

/// What the administrator carries from the primary to the new machine, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The primary's inner address.
    #[serde(rename = "at")]
    pub address: String,
    /// SHA-256 of the inner CA's certificate.
    #[serde(rename = "ca")]
    pub fingerprint: String,
    pub id: String,
    pub secret: String,
}

impl Token {
    pub fn write(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }

    pub fn read(text: &str) -> Result<Token, String> {
        let bad =
            "that is no token as New-ServerToken prints them: it is one line, beginning with waypost-join.1.";
        let rest = text.trim().strip_prefix(PREFIX).ok_or(bad)?;
        let json = URL_SAFE_NO_PAD.decode(rest).map_err(|_| bad)?;
        serde_json::from_slice(&json).map_err(|_| bad.to_owned())
    }
}

/// An invitation as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    #[serde(skip)]
    pub version: u64,
    #[serde(skip)]
    pub id: String,
    /// BLAKE3 of the secret, in hexadecimal.
    pub(crate) hash: String,
    /// The roles that the server may have at most.
    pub roles: Roles,
    /// The server that is to join again under its old name; `None` for a new one.
    #[serde(default)]
    pub server: Option<String>,
    /// Who made it.
    pub by: String,
    pub created: Timestamp,
    pub expires: Timestamp,
    /// When it was used, and by which server.
    #[serde(default)]
    pub used: Option<(Timestamp, String)>,
}

/// Why a server was not let in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvitationError {
    #[error(
        "this organisation has not given out such a token: it may be mistyped, cut short, or of another organisation. New-ServerToken on the primary makes one"
    )]
    Unknown,
    #[error("the token expired at {0}: make a new one with New-ServerToken on the primary")]
    Expired(Timestamp),
    #[error(
        "the token was used at {0} by {1}: each is good for one server. Make a new one with New-ServerToken on the primary"
    )]
    Used(Timestamp, String),
    #[error("the token is for the roles {allowed}, not for {wanted}")]
    Roles { allowed: Roles, wanted: Roles },
    #[error("the token is for the server {allowed}, not for {wanted}")]
    Server { allowed: String, wanted: String },
    #[error(transparent)]
    Change(#[from] crate::ChangeError),
}

impl Invitation {
    /// Whether this is its secret; compared in constant time.
    pub(crate) fn fits(&self, secret: &str) -> bool {
        hash(secret).as_bytes().ct_eq(self.hash.as_bytes()).into()
    }
}

/// With 160 random bits a plain hash keeps the secret as well as a slow one.
pub(crate) fn hash(secret: &str) -> String {
    let hash = blake3::derive_key("waypost invitation 1", secret.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line() {
        let token = Token {
            address: "mail.example.org:444".into(),
            fingerprint: "AB12".into(),
            id: "0011".into(),
            secret: "beef".into(),
        };
        let text = token.write();
        assert!(text.starts_with("waypost-join.1.") && !text.contains(char::is_whitespace), "{text}");
        assert_eq!(Token::read(&format!(" {text}\n")), Ok(token));
        for bad in ["", "x", "waypost-join.1.", "waypost-join.1.!!!", &text[..text.len() - 9]] {
            assert!(Token::read(bad).is_err(), "{bad}");
        }
    }
}
