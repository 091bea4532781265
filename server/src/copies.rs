//! Copies of messages for pipeline tracing: a file with the message and one with its envelope, at each stage of its way.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use waypost_transport::pipeline::{Copied, PipelineTrace, Stage};

/// A folder with one folder for each message in it. For the server's user alone: it is other people's mail.
pub struct Copies(RwLock<PathBuf>);

impl Copies {
    pub fn new(folder: PathBuf) -> Copies {
        Copies(RwLock::new(folder))
    }

    /// Later copies go there.
    pub fn set_folder(&self, folder: PathBuf) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = folder;
    }
}

impl PipelineTrace for Copies {
    fn copy(&self, stage: Stage, name: &str, envelope: String, bytes: Copied) {
        let folder = self.0.read().unwrap_or_else(PoisonError::into_inner).join(name);
        tokio::spawn(async move {
            if let Err(e) = keep(&folder, stage, &envelope, bytes).await {
                tracing::warn!(folder = %folder.display(), error = %e, "no copy for pipeline tracing");
            }
        });
    }
}

async fn keep(folder: &Path, stage: Stage, envelope: &str, bytes: Copied) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fresh(folder, stage, "txt")?.1.write_all(envelope.as_bytes())?;
    let (_, mut file) = fresh(folder, stage, "eml")?;
    match bytes {
        Copied::Memory(bytes) => file.write_all(&bytes),
        Copied::Stored(mut reader) => {
            while let Some(piece) = reader.next().await.map_err(io::Error::other)? {
                file.write_all(&piece)?;
            }
            Ok(())
        }
    }
}

/// `4-delivered.eml`, `4-delivered-2.eml`…: a message is delivered more than once.
fn fresh(folder: &Path, stage: Stage, ending: &str) -> io::Result<(PathBuf, File)> {
    for number in 1..10_000 {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{}{number}.{ending}", stage.name()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (path, file)),
        }
    }
    Err(io::Error::other("too many copies of one message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_copy_has_a_name_of_its_own() {
        let folder = std::env::temp_dir().join(format!("waypost-copies-{}", std::process::id()));
        for text in ["one", "two"] {
            let bytes = Copied::Memory(text.as_bytes().to_vec());
            keep(&folder.join("7"), Stage::Delivered, "Time: now\r\n", bytes).await.unwrap();
        }
        assert_eq!(fs::read_to_string(folder.join("7/4-delivered.eml")).unwrap(), "one");
        assert_eq!(fs::read_to_string(folder.join("7/4-delivered-2.eml")).unwrap(), "two");
        assert!(folder.join("7/4-delivered-2.txt").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
