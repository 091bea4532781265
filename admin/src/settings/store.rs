//! The document on disk, its versions, and those who wait for changes.

use super::document::{Document, Edit, Mistake};
use super::fields::Settings;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokio::sync::watch;
use waypost_base::Timestamp;

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

/// Who changes the settings, and why. It heads the version that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    pub who: String,
    pub when: Timestamp,
    pub why: Option<String>,
    pub command: String,
}

/// What a change came to.
#[derive(Clone, Debug)]
pub struct Saved {
    pub settings: Arc<Settings>,
    /// Number of the version; `None` where everything was so already.
    pub version: Option<u32>,
}

/// A version as it is kept in `settings.d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: u32,
    pub path: PathBuf,
}

/// Reads the settings of a data folder. A missing document means the defaults.
pub fn load(data: &Path) -> Result<Settings, SettingsError> {
    let path = document_path(data);
    let document = read(&path)?;
    document.meant().map_err(|mistakes| SettingsError::Mistakes { path, mistakes })
}

/// Changes keys of the document, keeps the version, and gives what holds now. All or nothing: a value out of its bounds
/// leaves everything as it was. One writer at a time: the server's, or the command's while the server is stopped.
pub fn save_change(data: &Path, edits: &[Edit], author: &Author) -> Result<Saved, SettingsError> {
    let path = document_path(data);
    let refuse = |mistakes| SettingsError::Mistakes { path: path.clone(), mistakes };
    let before = read(&path)?;
    let mut after = before.clone();
    after.edit(edits).map_err(|m| refuse(vec![m]))?;
    let settings = Arc::new(after.meant().map_err(refuse)?);
    let (old, new) = (before.to_string(), after.to_string());
    if old == new {
        return Ok(Saved { settings, version: None });
    }
    let folder = data.join("settings.d");
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| SettingsError::Io { path, source }
    };
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let last = versions(data)?.last().map(|v| v.number);
    let number = match last {
        Some(last) => last + 1,
        None => {
            let first =
                Author { who: "unknown".into(), command: "before the first change".into(), ..author.clone() };
            keep(&folder, 0, &first, &old).map_err(at(&folder))?;
            1
        }
    };
    // The version first: if we die between the two, a version too many is kept, and none is missing.
    keep(&folder, number, author, &new).map_err(at(&folder))?;
    replace(&path, &new).map_err(at(&path))?;
    Ok(Saved { settings, version: Some(number) })
}

/// Puts the document of a kept version in place of the present one, and keeps that as a version, too.
pub fn restore(data: &Path, number: u32, author: &Author) -> Result<Saved, SettingsError> {
    let kept = versions(data)?.into_iter().find(|v| v.number == number).ok_or_else(|| {
        let source = io::Error::new(io::ErrorKind::NotFound, format!("there is no version {number}"));
        SettingsError::Io { path: data.join("settings.d"), source }
    })?;
    let text = text_of(&kept)?;
    let refuse = |mistakes| SettingsError::Mistakes { path: kept.path.clone(), mistakes };
    let document = Document::parse(&text).map_err(|m| refuse(vec![m]))?;
    let settings = Arc::new(document.meant().map_err(refuse)?);
    let path = document_path(data);
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| SettingsError::Io { path, source }
    };
    if read(&path)?.to_string() == text {
        return Ok(Saved { settings, version: None });
    }
    let number = versions(data)?.last().map_or(0, |v| v.number) + 1;
    let folder = data.join("settings.d");
    keep(&folder, number, author, &text).map_err(at(&folder))?;
    replace(&path, &text).map_err(at(&path))?;
    Ok(Saved { settings, version: Some(number) })
}

/// A kept version without its head.
fn text_of(version: &Version) -> Result<String, SettingsError> {
    let io = |source| SettingsError::Io { path: version.path.clone(), source };
    let text = fs::read_to_string(&version.path).map_err(io)?;
    Ok(text.split_once("\n\n").map_or(String::new(), |(_, text)| text.to_owned()))
}

impl Version {
    /// What its head says: who, when, why, command.
    pub fn head(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let lines = text.lines().map_while(|line| line.strip_prefix("# ")?.split_once(": "));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// The versions that are kept, oldest first.
pub fn versions(data: &Path) -> Result<Vec<Version>, SettingsError> {
    let folder = data.join("settings.d");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(SettingsError::Io { path: folder, source }),
    };
    let mut out = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|n| n.split_once('-')).and_then(|(n, _)| n.parse().ok());
        if let Some(number) = number {
            out.push(Version { number, path: entry.path() });
        }
    }
    out.sort_by_key(|v| v.number);
    Ok(out)
}

fn document_path(data: &Path) -> PathBuf {
    data.join("settings.toml")
}

fn read(path: &Path) -> Result<Document, SettingsError> {
    let io = |source| SettingsError::Io { path: path.to_owned(), source };
    let text = match fs::metadata(path) {
        Ok(meta) if meta.len() > BYTES_MAX => return Err(io(io::Error::other("larger than 1 MB"))),
        Ok(_) => fs::read_to_string(path).map_err(io)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(io(e)),
    };
    Document::parse(&text).map_err(|m| SettingsError::Mistakes { path: path.to_owned(), mistakes: vec![m] })
}

fn keep(folder: &Path, number: u32, author: &Author, text: &str) -> io::Result<()> {
    let one_line =
        |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let c = author.when.civil();
    let name = format!(
        "{number:04}-{:04}{:02}{:02}T{:02}{:02}{:02}Z.toml",
        c.year, c.month, c.day, c.hour, c.minute, c.second
    );
    let mut head = format!("# who: {}\n# when: {}\n", one_line(&author.who), author.when);
    if let Some(why) = &author.why {
        head.push_str(&format!("# why: {}\n", one_line(why)));
    }
    head.push_str(&format!("# command: {}\n\n", one_line(&author.command)));
    replace(&folder.join(name), &(head + text))
}

/// Writes a file so that it is either the old one or the new one, durably.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension(format!("toml.{}.new", std::process::id()));
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The settings of a running server: what holds now, changes one at a time, and word of them to whoever subscribed.
#[derive(Debug)]
pub struct SettingsStore {
    data: PathBuf,
    now: watch::Sender<Arc<Settings>>,
    writing: Mutex<()>,
}

impl SettingsStore {
    pub fn open(data: &Path) -> Result<SettingsStore, SettingsError> {
        let settings = load(data)?;
        Ok(SettingsStore {
            data: data.to_owned(),
            now: watch::Sender::new(Arc::new(settings)),
            writing: Mutex::default(),
        })
    }

    pub fn current(&self) -> Arc<Settings> {
        self.now.borrow().clone()
    }

    /// Woken at each change with what holds from then on.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Settings>> {
        self.now.subscribe()
    }

    /// [`save_change`], then word to the subscribers. Blocks for the disk.
    pub fn change(&self, edits: &[Edit], author: &Author) -> Result<Saved, SettingsError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = save_change(&self.data, edits, author)?;
        if saved.version.is_some() {
            self.now.send_replace(saved.settings.clone());
        }
        Ok(saved)
    }

    /// [`restore`], then word to the subscribers. Blocks for the disk.
    pub fn restore(&self, number: u32, author: &Author) -> Result<Saved, SettingsError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = restore(&self.data, number, author)?;
        if saved.version.is_some() {
            self.now.send_replace(saved.settings.clone());
        }
        Ok(saved)
    }

    /// Wakes the subscribers although no setting has changed: something that belongs to one has, such as a password.
    pub fn announce(&self) {
        self.now.send_modify(|_| {});
    }

    /// What the edits would come to; nothing is written.
    pub fn rehearse(&self, edits: &[Edit]) -> Result<Settings, SettingsError> {
        let path = document_path(&self.data);
        let mut document = read(&path)?;
        document
            .edit(edits)
            .map_err(|m| SettingsError::Mistakes { path: path.clone(), mistakes: vec![m] })?;
        document.meant().map_err(|mistakes| SettingsError::Mistakes { path, mistakes })
    }

    /// Reads the document again, as after a SIGHUP. A mistake keeps what holds.
    pub fn reload(&self) -> Result<Arc<Settings>, SettingsError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = Arc::new(load(&self.data)?);
        let fresh = settings.clone();
        self.now.send_if_modified(|now| {
            let differs = *now != fresh;
            if differs {
                *now = fresh;
            }
            differs
        });
        Ok(settings)
    }

    pub fn data(&self) -> &Path {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
