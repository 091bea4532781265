//! The documents on disk, their versions, and those who wait for changes.

use super::candidate::{Candidate, together};
use super::document::{Document, Edit, Mistake};
use super::fields::Settings;
pub use super::versions::{Author, Scope, Version, versions, versions_of};
use super::versions::{keep_next, replace};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokio::sync::watch;

/// Bytes of a document; see also [`Document::parse`].
const BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The document is refused; what held goes on holding.
    #[error("{}: {}", path.display(), list(mistakes))]
    Mistakes { path: PathBuf, mistakes: Vec<Mistake> },
}

fn list(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("; ")
}

/// What a change came to.
#[derive(Clone, Debug)]
pub struct Saved {
    pub settings: Arc<Settings>,
    /// Number of the version; `None` where everything was so already.
    pub version: Option<u32>,
}

/// Reads the settings of a data folder. Missing documents mean the defaults.
pub fn load(data: &Path) -> Result<Settings, SettingsError> {
    let organisation = read(&Scope::Organisation.document(data))?;
    let server = read(&Scope::Server.document(data))?;
    meant(data, &organisation, &server)
}

/// What both documents mean together. A mistake is told by the document that it stands in.
fn meant(data: &Path, organisation: &Document, server: &Document) -> Result<Settings, SettingsError> {
    let at = |scope: Scope| {
        let path = scope.document(data);
        move |mistakes| SettingsError::Mistakes { path, mistakes }
    };
    let alone = organisation.meant().map_err(at(Scope::Organisation))?;
    if server.is_empty() {
        return Ok(alone);
    }
    server.meant().map_err(at(Scope::Server))?;
    together(organisation, server).meant().map_err(at(Scope::Server))
}

/// Changes keys of the organisation's document, keeps the version, and gives what holds now. All or nothing: a value out
/// of its bounds leaves everything as it was. One writer at a time: the server's, or the command's while the server is
/// stopped.
pub fn save_change(data: &Path, edits: &[Edit], author: &Author) -> Result<Saved, SettingsError> {
    save_change_in(data, Scope::Organisation, edits, author)
}

/// The same of either document.
pub fn save_change_in(
    data: &Path,
    scope: Scope,
    edits: &[Edit],
    author: &Author,
) -> Result<Saved, SettingsError> {
    let before = Arc::new(load(data).unwrap_or_default());
    put(data, &edited(data, scope, edits, before)?, author)
}

/// The document of `scope` with the edits.
fn edited(
    data: &Path,
    scope: Scope,
    edits: &[Edit],
    before: Arc<Settings>,
) -> Result<Candidate, SettingsError> {
    let path = scope.document(data);
    let mut document = read(&path)?;
    document.edit(edits).map_err(|m| SettingsError::Mistakes { path, mistakes: vec![m] })?;
    candidate(data, scope, document.to_string(), before)
}

/// A text in place of the document of `scope`.
fn candidate(
    data: &Path,
    scope: Scope,
    text: String,
    before: Arc<Settings>,
) -> Result<Candidate, SettingsError> {
    let path = scope.document(data);
    let fresh = Document::parse(&text).map_err(|m| SettingsError::Mistakes { path, mistakes: vec![m] })?;
    let after = match scope {
        Scope::Organisation => meant(data, &fresh, &read(&Scope::Server.document(data))?)?,
        Scope::Server => meant(data, &read(&Scope::Organisation.document(data))?, &fresh)?,
    };
    Ok(Candidate { scope, text, after: Arc::new(after), before })
}

/// Keeps the version and writes the document, durably.
fn put(data: &Path, candidate: &Candidate, author: &Author) -> Result<Saved, SettingsError> {
    let settings = candidate.after.clone();
    let path = candidate.scope.document(data);
    let old = read_text(&path)?;
    if old == candidate.text {
        return Ok(Saved { settings, version: None });
    }
    // The version first: if we die between the two, a version too many is kept, and none is missing.
    let number = keep_next(data, candidate.scope, author, &old, &candidate.text)?;
    replace(&path, &candidate.text).map_err(|source| SettingsError::Io { path, source })?;
    Ok(Saved { settings, version: Some(number) })
}

fn read_text(path: &Path) -> Result<String, SettingsError> {
    let io = |source| SettingsError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(meta) if meta.len() > BYTES_MAX => Err(io(io::Error::other("larger than 1 MB"))),
        Ok(_) => waypost_base::denials::report_in(path, "read", fs::read_to_string(path)).map_err(io),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(io(e)),
    }
}

fn read(path: &Path) -> Result<Document, SettingsError> {
    let text = read_text(path)?;
    Document::parse(&text).map_err(|m| SettingsError::Mistakes { path: path.to_owned(), mistakes: vec![m] })
}

/// The settings of a running server: what holds now, changes one at a time, and word of them to whoever subscribed.
#[derive(Debug)]
pub struct SettingsStore {
    data: PathBuf,
    now: watch::Sender<Arc<Settings>>,
    writing: Mutex<()>,
    turn: tokio::sync::Mutex<()>,
}

impl SettingsStore {
    pub fn open(data: &Path) -> Result<SettingsStore, SettingsError> {
        let settings = load(data)?;
        Ok(SettingsStore {
            data: data.to_owned(),
            now: watch::Sender::new(Arc::new(settings)),
            writing: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// One that has these settings, whatever the documents say: for services that are brought up to be tried out.
    pub fn holding(data: &Path, settings: Arc<Settings>) -> SettingsStore {
        SettingsStore {
            data: data.to_owned(),
            now: watch::Sender::new(settings),
            writing: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    pub fn current(&self) -> Arc<Settings> {
        self.now.borrow().clone()
    }

    /// Woken at each change with what holds from then on.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Settings>> {
        self.now.subscribe()
    }

    /// Whoever plans, rehearses and puts in place holds this from the first to the last, so that what is put in place is
    /// what was rehearsed.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// What edits would come to; nothing is written.
    pub fn plan(&self, scope: Scope, edits: &[Edit]) -> Result<Candidate, SettingsError> {
        edited(&self.data, scope, edits, self.current())
    }

    /// What a whole document would come to.
    pub fn plan_text(&self, scope: Scope, text: String) -> Result<Candidate, SettingsError> {
        candidate(&self.data, scope, text, self.current())
    }

    /// What putting back a kept version would come to.
    pub fn plan_version(&self, scope: Scope, number: u32) -> Result<Candidate, SettingsError> {
        let kept = versions_of(&self.data, scope)?.into_iter().find(|v| v.number == number);
        let kept = kept.ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::NotFound, format!("there is no version {number}"));
            SettingsError::Io { path: scope.folder(&self.data), source }
        })?;
        self.plan_text(scope, kept.text()?)
    }

    /// Puts a candidate in place, keeps the version, and gives word to the subscribers. Blocks for the disk.
    pub fn put(&self, candidate: &Candidate, author: &Author) -> Result<Saved, SettingsError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = put(&self.data, candidate, author)?;
        if saved.version.is_some() || *self.current() != *saved.settings {
            self.now.send_replace(saved.settings.clone());
        }
        Ok(saved)
    }

    /// [`plan`](SettingsStore::plan) of the organisation's document and [`put`](SettingsStore::put), without a rehearsal.
    pub fn change(&self, edits: &[Edit], author: &Author) -> Result<Saved, SettingsError> {
        self.put(&self.plan(Scope::Organisation, edits)?, author)
    }

    /// Puts an earlier version of the organisation's document in place, without a rehearsal.
    pub fn restore(&self, number: u32, author: &Author) -> Result<Saved, SettingsError> {
        self.put(&self.plan_version(Scope::Organisation, number)?, author)
    }

    /// The organisation's document as it stands, for servers that mirror it.
    pub fn organisation_text(&self) -> Result<String, SettingsError> {
        read_text(&Scope::Organisation.document(&self.data))
    }

    /// Takes over the organisation's document from the server that keeps it. One that does not hold together with this
    /// server's own document is refused, and what holds goes on.
    pub fn adopt(&self, text: String, author: &Author) -> Result<Saved, SettingsError> {
        self.put(&self.plan_text(Scope::Organisation, text)?, author)
    }

    /// Wakes the subscribers although no setting has changed: something that belongs to one has, such as a password.
    pub fn announce(&self) {
        self.now.send_modify(|_| {});
    }

    /// What the edits would come to; nothing is written.
    pub fn rehearse(&self, edits: &[Edit]) -> Result<Settings, SettingsError> {
        self.plan(Scope::Organisation, edits).map(|candidate| (*candidate.after).clone())
    }

    /// Reads the documents again. A mistake keeps what holds.
    pub fn reload(&self) -> Result<Arc<Settings>, SettingsError> {
        self.reload_by(None).map(|saved| saved.settings)
    }

    /// The same, as after a SIGHUP; what was written by hand is kept as a version of `author`'s, which `Saved` names.
    pub fn reload_by(&self, author: Option<&Author>) -> Result<Saved, SettingsError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = Arc::new(load(&self.data)?);
        let mut version = None;
        if let Some(author) = author {
            for scope in Scope::ALL {
                version = self.note_by_hand(scope, author)?.or(version);
            }
        }
        let fresh = settings.clone();
        self.now.send_if_modified(|now| {
            let differs = *now != fresh;
            if differs {
                *now = fresh;
            }
            differs
        });
        Ok(Saved { settings, version })
    }

    /// Keeps the document as a version where it is not the last one.
    fn note_by_hand(&self, scope: Scope, author: &Author) -> Result<Option<u32>, SettingsError> {
        let text = read_text(&scope.document(&self.data))?;
        let last = versions_of(&self.data, scope)?.pop();
        match last {
            Some(last) if last.text()? != text => {
                let before = last.text()?;
                keep_next(&self.data, scope, author, &before, &text).map(Some)
            }
            // Without any version it is what stood there before the first change, and will be version 0.
            _ => Ok(None),
        }
    }

    pub fn data(&self) -> &Path {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::Timestamp;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("waypost-settings-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn author() -> Author {
        Author {
            who: "root".into(),
            when: Timestamp(1_772_525_720_114),
            why: Some("new\ngreeting".into()),
            command: "Set-ImapSettings -Banner Hi".into(),
            ..Author::default()
        }
    }

    #[test]
    fn every_change_is_kept_with_its_reasons() {
        let data = folder("kept");
        fs::write(data.join("settings.toml"), "# ours\n[imap]\nbanner = \"Hello\" # greeting\n").unwrap();
        let store = SettingsStore::open(&data).unwrap();
        let mut watcher = store.subscribe();
        let edits = [Edit::set("imap.banner", &"Hi".to_owned())];
        assert_eq!(store.rehearse(&edits).unwrap().imap.banner, "Hi");
        assert_eq!(store.change(&edits, &author()).unwrap().version, Some(1));
        assert_eq!(store.change(&edits, &author()).unwrap().version, None);
        assert!(watcher.has_changed().unwrap());
        assert_eq!(watcher.borrow_and_update().imap.banner, "Hi");
        let text = fs::read_to_string(data.join("settings.toml")).unwrap();
        assert_eq!(text, "# ours\n[imap]\nbanner = \"Hi\" # greeting\n");
        let versions = versions(&data).unwrap();
        assert_eq!(versions.iter().map(|v| v.number).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(versions[1].head()[3], ("command".into(), "Set-ImapSettings -Banner Hi".into()));
        assert_eq!(store.restore(0, &author()).unwrap().version, Some(2));
        assert_eq!(watcher.borrow_and_update().imap.banner, "Hello");
        assert_eq!(store.restore(0, &author()).unwrap().version, None);
        assert!(store.restore(9, &author()).is_err());
        let text = fs::read_to_string(data.join("settings.toml")).unwrap();
        assert_eq!(text, "# ours\n[imap]\nbanner = \"Hello\" # greeting\n");
        let kept = fs::read_to_string(&versions[1].path).unwrap();
        assert!(kept.starts_with(
            "# who: root\n# when: 2026-03-03T08:15:20.114Z\n# why: new greeting\n# command: Set-ImapSettings -Banner Hi\n\n# ours"
        ));
        fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn a_bad_value_changes_nothing() {
        let data = folder("bad");
        let store = SettingsStore::open(&data).unwrap();
        let edits = [Edit::set("imap.max_command_size", &1u32)];
        assert!(matches!(store.change(&edits, &author()), Err(SettingsError::Mistakes { .. })));
        assert!(!data.join("settings.toml").exists());
        fs::write(data.join("settings.toml"), "[imap]\nbanner = 1\n").unwrap();
        assert!(store.reload().is_err());
        assert_eq!(*store.current(), Settings::default());
        fs::remove_dir_all(&data).unwrap();
    }
}
