//! Looking whether everything is as it should be: a report of what was counted and what was found.

use crate::batch::Hex;
use crate::store::Store;
use std::fmt;

/// An invariant of a room above, looked at together with the store's own.
#[async_trait::async_trait]
pub trait Check: Send + Sync {
    /// Short name, such as `mailbox`.
    fn name(&self) -> &'static str;
    async fn check(&self, store: &Store, report: &mut Report);
}

/// What was looked at, and everything that was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub rows: u64,
    pub row_bytes: u64,
    pub segments: u64,
    pub chunks: u64,
    pub chunk_bytes: u64,
    /// At most [`PROBLEMS`] are kept; `problem_count` counts all.
    pub problems: Vec<Problem>,
    pub problem_count: u64,
}

/// Most problems that a report holds, so that a ruined store does not fill the memory.
pub const PROBLEMS: usize = 10_000;

impl Report {
    /// Notes a problem: who looked, at what, and what is wrong with it.
    pub fn problem(&mut self, check: &'static str, place: impl Into<String>, text: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS {
            self.problems.push(Problem { check, place: place.into(), text: text.into() });
        }
    }

    /// The same, about a row.
    pub fn row_problem(&mut self, check: &'static str, key: &[u8], text: impl Into<String>) {
        self.problem(check, format!("row {}", Hex(key)), text);
    }

    pub fn is_clean(&self) -> bool {
        self.problem_count == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows ({} bytes), {} segments, {} chunks ({} bytes), {} problems",
            self.rows, self.row_bytes, self.segments, self.chunks, self.chunk_bytes, self.problem_count
        )?;
        for p in &self.problems {
            write!(f, "\n  {p}")?;
        }
        Ok(())
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which check found it: `row`, `segment`, `place`, `sqlite`, `mailbox`…
    pub check: &'static str,
    /// Row, segment and offset, or file.
    pub place: String,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}: {}", self.check, self.place, self.text)
    }
}
