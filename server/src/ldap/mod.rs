//! LDAP directories and Active Directory: whose password is right, and who there is.
//!
//! Three answers and never a fourth: the password is right, it is wrong, or we cannot tell. Whatever is not the
//! directory's own word about the password is "cannot tell".

mod client;
mod entry;
mod sync;

pub use client::{Client, Denied, Trouble};
pub use sync::{Change, Synced};

use std::time::Duration;
use waypost_admin::settings::{DirectorySource, SourceKind};

/// A source as it is used: the settings of it, with its password.
#[derive(Clone)]
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
    pub urls: Vec<String>,
    pub start_tls: bool,
    pub ca_file: Option<std::path::PathBuf>,
    pub bind_dn: String,
    pub password: Option<waypost_sasl::Secret>,
    pub base_dn: String,
    pub user_filter: String,
    pub people_filter: String,
    pub group_filter: String,
    pub domains: Vec<String>,
    pub timeout: Duration,
    pub sync: bool,
    pub sync_interval: Duration,
}

impl Source {
    /// `data` is the data folder: where the password is, and what a relative `ca_file` is relative to.
    pub fn of(name: &str, written: &DirectorySource, data: &std::path::Path) -> std::io::Result<Source> {
        use waypost_admin::settings::secret::{Holder, password};
        let password = password(data, Holder::Source(name))?.map(waypost_sasl::Secret::from);
        Ok(Source {
            name: name.to_owned(),
            kind: written.kind,
            urls: written.urls.clone(),
            start_tls: written.start_tls,
            ca_file: (!written.ca_file.is_empty()).then(|| data.join(&written.ca_file)),
            bind_dn: written.bind_dn.clone(),
            password,
            base_dn: written.base_dn.clone(),
            user_filter: written.finds().to_owned(),
            people_filter: written.people().to_owned(),
            group_filter: written.groups().to_owned(),
            domains: written.domains.iter().map(|d| d.to_ascii_lowercase()).collect(),
            timeout: Duration::from_millis(written.timeout.0),
            sync: written.sync && written.enabled,
            sync_interval: Duration::from_millis(written.sync_interval.0),
        })
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("urls", &self.urls).finish_non_exhaustive()
    }
}
