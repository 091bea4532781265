//! LDAP directories and Active Directory: whose password is right, and who there is.
//!
//! Three answers and never a fourth: the password is right, it is wrong, or we cannot tell. Whatever is not the
//! directory's own word about the password is "cannot tell".

mod client;
mod entry;
mod hand;
mod sync;

pub use client::{Client, Denied};
pub use hand::Hand;

use entry::Entry;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use waypost_admin::settings::{DirectorySource, Settings, SourceKind};
use waypost_directory::signin::{self, Checked, Checking};
use waypost_directory::{Account, Address, Directory};
use waypost_sasl::Secret;

/// A source as it is used: the settings of it, with its password.
#[derive(Clone)]
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
    pub urls: Vec<String>,
    pub start_tls: bool,
    pub ca_file: Option<std::path::PathBuf>,
    pub bind_dn: String,
    pub password: Option<Secret>,
    pub base_dn: String,
    pub user_filter: String,
    pub people_filter: String,
    pub group_filter: String,
    pub timeout: Duration,
    pub sync_interval: Duration,
}

impl Source {
    /// `data` is the data folder: where the password is, and what a relative `ca_file` is relative to.
    pub fn of(name: &str, written: &DirectorySource, data: &Path) -> std::io::Result<Source> {
        use waypost_admin::settings::secret::{Holder, password};
        let password = password(data, Holder::Source(name))?.map(Secret::from);
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
            timeout: Duration::from_millis(written.timeout.0),
            sync_interval: Duration::from_millis(written.sync_interval.0),
        })
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// The sources of the settings, and whose passwords each checks. One whose password file cannot be read is there, and
/// cannot tell.
pub fn sources(settings: &Settings, data: &Path) -> signin::Sources {
    let mut sources = signin::Sources::default();
    for (name, written) in &settings.directory_sources {
        for domain in &written.domains {
            sources.whose.insert(domain.to_ascii_lowercase(), name.clone());
        }
        if !written.enabled {
            continue;
        }
        match Source::of(name, written, data) {
            Ok(source) => drop(sources.named.insert(name.clone(), Arc::new(Client::new(source)))),
            Err(e) => {
                tracing::error!(source = name, error = %e, "the password of a directory source is not readable")
            }
        }
    }
    sources
}

impl signin::Source for Client {
    fn check<'a>(&'a self, name: &'a str, account: &'a Account, password: &'a Secret) -> Checking<'a> {
        Box::pin(async move {
            // What was typed may be an alias that only we know.
            let user = if name.contains('@') { name } else { account.primary.as_str() };
            let mut done = Client::check(self, user, password).await;
            if matches!(done, Err(Denied::Wrong)) && !user.eq_ignore_ascii_case(account.primary.as_str()) {
                done = Client::check(self, account.primary.as_str(), password).await;
            }
            match done {
                Ok(entry) if !belongs(&entry, account, &self.source().name) => Checked::Unavailable(format!(
                    "{} finds {} for {}, which is somebody else's entry",
                    self.source().name,
                    entry.dn,
                    account.primary
                )),
                Ok(entry) if !entry.enabled => Checked::NotAllowed(waypost_sasl::Why::Disabled),
                Ok(_) => Checked::Correct,
                Err(Denied::Wrong) => Checked::Wrong,
                Err(Denied::NotAllowed(why)) => Checked::NotAllowed(why),
                Err(Denied::Unavailable(trouble)) => {
                    Checked::Unavailable(format!("directory source {}: {trouble}", self.source().name))
                }
            }
        })
    }
}

/// An entry that was found by a name must be the account's own: else whoever can write a mail attribute in the
/// directory could sign in as somebody else.
fn belongs(entry: &Entry, account: &Account, source: &str) -> bool {
    match &account.origin {
        Some(origin) if origin.source == source => origin.id == entry.id,
        _ => {
            let theirs = entry.primary.iter().chain(&entry.others);
            let no_address = entry.primary.is_none() && entry.others.is_empty();
            no_address || theirs.into_iter().any(|a| account.addresses().any(|own| own == a))
        }
    }
}

/// Asks a source step by step, for Test-DirectorySource. What was found, as property and value.
pub async fn test(
    client: &Client,
    user: Option<&str>,
    password: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    match client.connect().await {
        Ok((mut ldap, server)) => {
            let _ = ldap.unbind().await;
            found.push(("Server", server));
        }
        Err(e) => {
            found.extend([
                ("Server", e.server.clone()),
                ("Result", "Failure".into()),
                ("Step", e.step.into()),
            ]);
            found.push(("Error", e.text));
            return found;
        }
    }
    let mut result = "Success";
    if let Some(user) = user {
        match client.find(user).await {
            Ok(Some(entry)) => found.push(("User", entry.dn)),
            Ok(None) => {
                result = "Failure";
                found.push(("User", "not found".into()));
            }
            Err(e) => {
                result = "Failure";
                found.push(("Error", e.to_string()));
            }
        }
    }
    if let (Some(user), Some(password)) = (user, password) {
        let said = match client.check(user, &waypost_sasl::prep::password(password)).await {
            Ok(_) => "right".to_owned(),
            Err(Denied::Wrong) => "wrong".into(),
            Err(Denied::NotAllowed(why)) => format!("right, but {why}"),
            Err(Denied::Unavailable(e)) => format!("not known: {e}"),
        };
        found.push(("Password", said));
    }
    found.push(("Result", result.into()));
    found
}

/// Makes accounts and groups as a source has them; or only says what would be done.
pub async fn synchronise(
    client: &Client,
    directory: &Directory,
    only_say: bool,
) -> Result<Vec<String>, String> {
    let (people, groups) = client.all().await.map_err(|e| e.to_string())?;
    let name = &client.source().name;
    let changes = sync::people(&directory.snapshot(), name, &people)?;
    let mut said = match only_say {
        true => changes.iter().map(ToString::to_string).collect(),
        false => sync::apply(directory, changes).await,
    };
    let entries = people.iter().chain(&groups);
    let dns: BTreeMap<String, Address> =
        entries.filter_map(|e| Some((e.dn.to_lowercase(), e.primary.clone()?))).collect();
    // After the people, since they are who is in the groups; groups in groups need a second round.
    for _ in 0..2 {
        let changes = sync::groups(&directory.snapshot(), name, &groups, &dns);
        if only_say {
            said.extend(changes.iter().map(ToString::to_string));
            break;
        }
        said.extend(sync::apply(directory, changes).await);
    }
    said.dedup();
    Ok(said)
}

/// Synchronises the sources that say so, each at its own pace, for as long as this is the server that keeps the
/// directory.
pub async fn keep(
    settings: Arc<waypost_admin::settings::SettingsStore>,
    directory: Arc<Directory>,
    data: std::path::PathBuf,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    let mut last: BTreeMap<String, tokio::time::Instant> = BTreeMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let snapshot = directory.snapshot();
        let ours = snapshot.primary().is_none_or(|p| snapshot.here() == Some(p.id.as_str()));
        let now = settings.current();
        for (name, written) in now.directory_sources.iter().filter(|(_, s)| ours && s.sync && s.enabled) {
            let source = match Source::of(name, written, &data) {
                Ok(source) => source,
                Err(e) => {
                    tracing::warn!(source = name, error = %e, "not synchronised");
                    continue;
                }
            };
            let due = last.get(name).is_none_or(|at| at.elapsed() >= source.sync_interval);
            if !due {
                continue;
            }
            last.insert(name.clone(), tokio::time::Instant::now());
            match synchronise(&Client::new(source), &directory, false).await {
                Ok(said) => said.iter().for_each(|line| tracing::info!(source = name, "{line}")),
                Err(e) => tracing::warn!(source = name, error = e, "not synchronised"),
            }
        }
    }
}

/// How often to look whether a synchronisation is due.
const LOOK: Duration = Duration::from_secs(10);
