//! The binary event log (`.evtx`).

use crate::sink::Sink;

/// Reads a whole file; false: it is not an event log. What is damaged in it is told as trouble.
pub fn read(bytes: &[u8], sink: &mut Sink<'_>) -> bool {
    let _ = sink;
    let _ = bytes;
    false
}
