//! What of health outlives a restart, in `health/state.json`: open alerts and what was done about them, and the sets that
//! somebody is repairing. In a file of its own, since the store may be what is broken.
//!
//! Law: what a responder is about to do is written down before it is done. A server that dies of it does not do it again.

use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use waypost_health::Alert;
use waypost_trust::files;

const FOLDER: &str = "health";
const FILE: &str = "state.json";
/// Bytes of the file: some hundreds of alerts with their evidence.
const BYTES_MAX: u64 = 32 << 20;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    alerts: Vec<Alert>,
    repairing: Vec<String>,
}

pub struct Memory {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Kept,
    /// Of the keeper's changes those that are written.
    written: u64,
}

impl Memory {
    /// What was kept before; nothing where that cannot be read, which is logged.
    pub fn open(root: &Path) -> Memory {
        let path = root.join(FOLDER).join(FILE);
        let kept = match read(&path) {
            Ok(kept) => kept,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(e) => {
                tracing::warn!(file = %path.display(), error = %e, "what health knew before is lost: it begins anew");
                Kept::default()
            }
        };
        Memory { path, state: Mutex::new(State { kept, written: 0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn alerts(&self) -> Vec<Alert> {
        self.state().kept.alerts.clone()
    }

    pub fn repairing(&self) -> Vec<String> {
        self.state().kept.repairing.clone()
    }

    /// Whether the keeper has changed since it was written down.
    pub fn is_behind(&self, changes: u64) -> bool {
        self.state().written != changes
    }

    /// Writes down what the keeper knows, by its count of changes.
    pub fn keep_alerts(&self, alerts: Vec<Alert>, changes: u64) -> io::Result<()> {
        let mut state = self.state();
        if state.kept.alerts != alerts {
            let kept = Kept { alerts, repairing: state.kept.repairing.clone() };
            write(&self.path, &kept)?;
            state.kept = kept;
        }
        state.written = changes;
        Ok(())
    }

    pub fn keep_repairing(&self, repairing: Vec<String>) -> io::Result<()> {
        let mut state = self.state();
        let kept = Kept { alerts: state.kept.alerts.clone(), repairing };
        write(&self.path, &kept)?;
        state.kept = kept;
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    if fs::metadata(path)?.len() > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too big"));
    }
    serde_json::from_slice(&fs::read(path)?).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let text = serde_json::to_string(kept).map_err(io::Error::other)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    files::write_private(path, &text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_again_and_rubbish_is_nothing() {
        let root = std::env::temp_dir().join(format!("waypost-health-memory-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let memory = Memory::open(&root);
        assert_eq!((memory.alerts(), memory.repairing()), (Vec::new(), Vec::new()));
        memory.keep_repairing(vec!["imap.proxy".into()]).unwrap();
        assert!(memory.is_behind(3));
        memory.keep_alerts(Vec::new(), 3).unwrap();
        assert!(!memory.is_behind(3) && memory.is_behind(4));
        assert_eq!(Memory::open(&root).repairing(), ["imap.proxy"]);
        fs::write(root.join("health/state.json"), "{\"alerts\": 7}").unwrap();
        assert_eq!(Memory::open(&root).repairing(), Vec::<String>::new());
        fs::remove_dir_all(&root).unwrap();
    }
}
