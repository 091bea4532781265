//! One message a file: `.eml` as mail programs save it.

use super::{DEPTH_MAX, Emit, Piece, Start, entries, whole_file};
use std::fs;
use std::io;
use std::path::Path;

pub(super) fn read(path: &Path, emit: Emit<'_>) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        folder(path, "", 0, emit).map(drop)
    } else {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        whole_file(path, Start { key: name, ..Start::default() }, emit).map(drop)
    }
}

/// Subfolders become folders.
fn folder(path: &Path, name: &str, depth: u32, emit: Emit<'_>) -> io::Result<bool> {
    for (file, path, kind) in entries(path)? {
        let within = if name.is_empty() { file.clone() } else { format!("{name}/{file}") };
        let go_on = if kind.is_dir() {
            if depth >= DEPTH_MAX {
                emit(Piece::Skip { what: path.display().to_string(), why: "is nested too deeply".into() })
            } else {
                folder(&path, &within, depth + 1, emit)?
            }
        } else if !file.to_ascii_lowercase().ends_with(".eml") {
            emit(Piece::Skip { what: path.display().to_string(), why: "is not an .eml file".into() })
        } else {
            let start = Start { key: within, folder: name.to_owned(), ..Start::default() };
            whole_file(&path, start, emit)?
        };
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}
