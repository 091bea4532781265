//! Kept versions of the settings: `NNNN-TIME.toml` is the document after change number NNNN, under a head that says who,
//! when, why, by which command, and what its rehearsal came to.

use super::store::SettingsError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use waypost_base::Timestamp;

/// Which document: the organisation's, or what holds for this server alone and goes before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    #[default]
    Organisation,
    Server,
}

impl Scope {
    pub const ALL: [Scope; 2] = [Scope::Organisation, Scope::Server];

    pub const fn name(self) -> &'static str {
        match self {
            Scope::Organisation => "Organisation",
            Scope::Server => "Server",
        }
    }

    /// `settings.toml`, `server.toml`
    pub fn document(self, data: &Path) -> PathBuf {
        data.join(match self {
            Scope::Organisation => "settings.toml",
            Scope::Server => "server.toml",
        })
    }

    /// `settings.d`, `server.d`
    pub fn folder(self, data: &Path) -> PathBuf {
        data.join(match self {
            Scope::Organisation => "settings.d",
            Scope::Server => "server.d",
        })
    }
}

/// Who changes the settings, and why. It heads the version that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    pub who: String,
    pub when: Timestamp,
    pub why: Option<String>,
    pub command: String,
    /// What the rehearsal came to, in a line; `None` where there was nothing to rehearse.
    pub rehearsal: Option<String>,
    /// The change was put in place against the rehearsal's finding, which is here.
    pub forced: Option<String>,
}

/// A version as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: u32,
    pub path: PathBuf,
}

impl Version {
    /// What its head says: who, when, why, command, rehearsal, forced.
    pub fn head(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let lines = text.lines().map_while(|line| line.strip_prefix("# ")?.split_once(": "));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The document without its head.
    pub fn text(&self) -> Result<String, SettingsError> {
        let io = |source| SettingsError::Io { path: self.path.clone(), source };
        let text = fs::read_to_string(&self.path).map_err(io)?;
        Ok(text.split_once("\n\n").map_or(String::new(), |(_, text)| text.to_owned()))
    }
}

/// The versions of the organisation's document, oldest first.
pub fn versions(data: &Path) -> Result<Vec<Version>, SettingsError> {
    versions_of(data, Scope::Organisation)
}

/// The versions of either document, oldest first.
pub fn versions_of(data: &Path, scope: Scope) -> Result<Vec<Version>, SettingsError> {
    let folder = scope.folder(data);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(SettingsError::Io { path: folder, source }),
    };
    let mut out = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|n| n.ends_with(".toml")) else { continue };
        if let Some(number) = name.split_once('-').and_then(|(n, _)| n.parse().ok()) {
            out.push(Version { number, path: entry.path() });
        }
    }
    out.sort_by_key(|v| v.number);
    Ok(out)
}

/// Keeps the next version, and before the first one what stood there until then.
pub(super) fn keep_next(
    data: &Path,
    scope: Scope,
    author: &Author,
    before: &str,
    after: &str,
) -> Result<u32, SettingsError> {
    let folder = scope.folder(data);
    let at = |source| SettingsError::Io { path: folder.clone(), source };
    fs::create_dir_all(&folder).map_err(at)?;
    let number = match versions_of(data, scope)?.last() {
        Some(last) => last.number + 1,
        None => {
            let first = Author {
                who: "unknown".into(),
                when: author.when,
                command: "before the first change".into(),
                ..Author::default()
            };
            keep(&folder, 0, &first, before).map_err(at)?;
            1
        }
    };
    keep(&folder, number, author, after).map_err(at)?;
    Ok(number)
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
    for (name, value) in [("why", &author.why), ("rehearsal", &author.rehearsal), ("forced", &author.forced)]
    {
        if let Some(value) = value {
            head.push_str(&format!("# {name}: {}\n", one_line(value)));
        }
    }
    head.push_str(&format!("# command: {}\n\n", one_line(&author.command)));
    replace(&folder.join(name), &(head + text))
}

/// Writes a file so that it is either the old one or the new one, durably.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension(format!("toml.{}.new", std::process::id()));
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
