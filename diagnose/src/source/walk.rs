//! The files of a folder. Links are not followed, and only regular files are opened.

use super::Limits;
use std::fs;
use std::path::{Path, PathBuf};

/// A file below the folder.
#[derive(Debug)]
pub struct Found {
    /// Relative to the folder, with `/`.
    pub name: String,
    pub path: PathBuf,
    pub size: u64,
}

/// What was found, in the order of names, and what was passed over with the reason.
pub fn walk(root: &Path, limits: &Limits) -> (Vec<Found>, Vec<(String, String)>) {
    let (mut found, mut passed) = (Vec::new(), Vec::new());
    let mut waiting = vec![(root.to_path_buf(), 0usize)];
    while let Some((folder, depth)) = waiting.pop() {
        let name = |path: &Path| relative(root, path);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) => {
                passed.push((name(&folder), format!("it cannot be opened: {e}")));
                continue;
            }
        };
        for entry in entries.flatten() {
            if found.len() >= limits.files {
                passed.push((name(&folder), format!("there are more than {} files", limits.files)));
                found.sort_by(|a: &Found, b: &Found| a.name.cmp(&b.name));
                return (found, passed);
            }
            let path = entry.path();
            let Ok(meta) = fs::symlink_metadata(&path) else {
                passed.push((name(&path), "it cannot be looked at".to_owned()));
                continue;
            };
            if meta.is_dir() {
                if depth + 1 >= limits.depth {
                    passed.push((name(&path), format!("folders more than {} deep", limits.depth)));
                } else if waiting.len() < limits.files {
                    waiting.push((path, depth + 1));
                }
            } else if meta.is_file() {
                found.push(Found { name: name(&path), path, size: meta.len() });
            } else if passed.len() < super::UNREAD_MAX {
                let reason = if meta.is_symlink() {
                    "a link, which is not followed: copy the file itself"
                } else {
                    "not a regular file"
                };
                passed.push((name(&path), reason.to_owned()));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    passed.sort();
    (found, passed)
}

fn relative(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = inner.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    let name = parts.join("/");
    shown(if name.is_empty() { "." } else { &name })
}

/// A name without control characters, and not without end.
pub fn shown(name: &str) -> String {
    name.chars().take(400).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
