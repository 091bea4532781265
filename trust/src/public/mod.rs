//! Public certificates: what clients are shown. A store of them with their keys, checks that say why one cannot be
//! shown, and the forms in which they come and go: PEM, PKCS #7, PFX, requests, self-signed ones.
//!
//! Nothing here is ever asked about inner trust: binding, replacing, losing a public certificate cannot change whom
//! servers of the organisation believe ([`crate::authority`]).
//!
//! ```text
//! DATA/public/certificates/THUMBPRINT.crt   chain in PEM, the leaf first
//! DATA/public/certificates/THUMBPRINT.key   its private key, PKCS #8 in PEM, mode 0600
//! DATA/public/certificates/THUMBPRINT.json  what people said about it ([`Note`])
//! DATA/public/certificates/THUMBPRINT.csr   instead of .crt: a request whose certificate has not come yet
//! ```

pub mod check;
mod der;
pub mod form;
pub mod key;
pub mod make;
pub mod ocsp;
pub mod pfx;
pub mod seen;
pub mod store;

pub use check::{Problem, Wanted, check};
pub use key::KeyFile;
pub use store::{Entry, Note, PublicStore, StoreError};

use std::fmt;

/// What shows certificates to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublicService {
    Imap,
    Pop,
    Smtp,
    /// Web pages and the HTTP API. Exchange calls it IIS.
    Web,
}

impl PublicService {
    pub const ALL: [PublicService; 4] =
        [PublicService::Imap, PublicService::Pop, PublicService::Smtp, PublicService::Web];

    /// As in the settings: `certificates.imap`.
    pub const fn name(self) -> &'static str {
        match self {
            PublicService::Imap => "imap",
            PublicService::Pop => "pop",
            PublicService::Smtp => "smtp",
            PublicService::Web => "web",
        }
    }

    /// The letter of Get-ExchangeCertificate's table.
    pub const fn letter(self) -> char {
        match self {
            PublicService::Imap => 'I',
            PublicService::Pop => 'P',
            PublicService::Web => 'W',
            PublicService::Smtp => 'S',
        }
    }

    /// By our name or by Exchange's.
    pub fn parse(text: &str) -> Option<PublicService> {
        match text.to_ascii_lowercase().as_str() {
            "imap" | "imap4" => Some(PublicService::Imap),
            "pop" | "pop3" => Some(PublicService::Pop),
            "smtp" => Some(PublicService::Smtp),
            "web" | "iis" | "http" | "https" => Some(PublicService::Web),
            _ => None,
        }
    }

    /// The service behind a door; `None` where clients are shown nothing.
    pub fn of_door(door: &str) -> Option<PublicService> {
        match door {
            "imap" | "imaps" => Some(PublicService::Imap),
            "pop3" | "pop3s" => Some(PublicService::Pop),
            "smtp" | "submission" | "submissions" => Some(PublicService::Smtp),
            "http" | "https" | "web" | "api" => Some(PublicService::Web),
            _ => None,
        }
    }
}

impl fmt::Display for PublicService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
