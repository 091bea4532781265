//! What must hold for any bytes.

use crate::{Limits, Summary, scan};

/// Scans bytes and checks what must always hold; panics when it does not. For fuzzing.
pub fn fuzz_one(bytes: &[u8]) {
    let summary = scan(bytes, Limits::stored());
    assert_eq!(summary.size, bytes.len() as u64);
    let _ = Summary::decode(bytes);
}
