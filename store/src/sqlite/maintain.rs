//! Backup and verification, each on a connection of its own.

use super::readers::connect;
use super::row::{self, Stored};
use super::{APPLICATION_ID, FORMAT};
use crate::batch::ENGINE_PREFIX;
use crate::engine::BackupInfo;
use crate::error::BackupError;
use crate::limits::{KEY_BYTES, VALUE_BYTES};
use crate::verify::Report;
use rusqlite::{Connection, Statement};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

/// Writes a compact copy of the database as of one moment, and makes it durable.
pub(super) fn backup(from: &Path, to: &Path) -> Result<BackupInfo, BackupError> {
    let conn = connect(from)?;
    let name = to.to_str().ok_or_else(|| std::io::Error::other("the path is not UTF-8"))?;
    conn.execute("VACUUM INTO ?1", [name])?;
    let file = File::open(to)?;
    file.sync_all()?;
    Ok(BackupInfo { files: 1, bytes: file.metadata()?.len() })
}

/// Looks at SQLite's own structures, then at every row.
pub(super) fn verify(path: &Path, mut report: Report) -> Report {
    if let Err(error) = look(path, &mut report) {
        report.problem("sqlite", super::DATABASE, error.to_string());
    }
    report
}

fn look(path: &Path, report: &mut Report) -> rusqlite::Result<()> {
    let conn = connect(path)?;
    let mut check = conn.prepare("PRAGMA integrity_check(100)")?;
    let mut lines = check.query([])?;
    while let Some(line) = lines.next()? {
        let text: String = line.get(0)?;
        if text != "ok" {
            report.problem("sqlite", super::DATABASE, text);
        }
    }
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("application_id")? != APPLICATION_ID || pragma("user_version")? != FORMAT as i64 {
        report.problem("sqlite", super::DATABASE, "application id or format version differ");
    }
    // One snapshot for rows and large values.
    conn.execute_batch("BEGIN")?;
    let get = conn.prepare("SELECT v FROM big WHERE id = ?1")?;
    let mut big = Big { conn: &conn, get, seen: BTreeSet::new(), referred: 0 };
    let mut statement = conn.prepare("SELECT k, v FROM kv ORDER BY k")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (Ok(key), Ok(stored)) = (row.get_ref(0)?.as_blob(), row.get_ref(1)?.as_blob()) else {
            report.problem("row", "a row", "key or value is not a blob");
            continue;
        };
        look_at_row(key, stored, &mut big, report)?;
    }
    if big.seen.len() != big.referred {
        report.problem("sqlite", "big", "a large value has two references");
    }
    // A reference that was damaged and then overwritten leaves its value behind: nobody knew which it was.
    let healed: i64 = conn.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0))?;
    if big.total()?.saturating_sub(big.seen.len()) > healed as usize {
        report.problem("sqlite", "big", "a large value has no reference");
    }
    Ok(())
}

/// The table of large values, and what was met of it.
struct Big<'c> {
    conn: &'c Connection,
    get: Statement<'c>,
    seen: BTreeSet<i64>,
    referred: usize,
}

impl Big<'_> {
    fn total(&self) -> rusqlite::Result<usize> {
        let count: i64 = self.conn.query_row("SELECT count(*) FROM big", [], |row| row.get(0))?;
        Ok(count as usize)
    }
}

fn look_at_row(key: &[u8], stored: &[u8], big: &mut Big<'_>, report: &mut Report) -> rusqlite::Result<()> {
    report.rows += 1;
    report.row_bytes += (key.len() + stored.len()) as u64;
    if key.is_empty() || key.len() > KEY_BYTES {
        report.row_problem("row", key, "the key's length is over the limit");
    }
    match row::unseal(key, stored) {
        None => report.row_problem("row", key, "the checksum does not fit"),
        Some(Stored::Value(value)) => {
            if key.first() == Some(&ENGINE_PREFIX) && !engine_row_is_known(key, value) {
                report.row_problem("row", key, "an engine row of unknown form");
            }
        }
        Some(Stored::Big { id, len }) => {
            big.seen.insert(id);
            big.referred += 1;
            report.row_bytes += u64::from(len);
            if len as usize > VALUE_BYTES {
                report.row_problem("row", key, "the value's length is over the limit");
            }
            let mut rows = big.get.query([id])?;
            let stored = match rows.next()? {
                Some(row) => row.get_ref(0)?.as_blob().unwrap_or_default(),
                None => &[],
            };
            if row::unseal_big(key, stored, len).is_none() {
                report.row_problem("row", key, "its large value is missing, or the checksum does not fit");
            }
        }
    }
    Ok(())
}

fn engine_row_is_known(key: &[u8], value: &[u8]) -> bool {
    match key {
        b"\x7F\0format" => value == FORMAT.to_be_bytes(),
        b"\x7F\0key" => value.len() == 32,
        [0x7F, 1, rest @ ..] => rest.len() == 20 && value.len().is_multiple_of(8),
        _ => false,
    }
}
