//! What the tools of Windows and of Unix print: klist, setspn, w32tm, reg, netstat and their like.

use crate::read::Doc;
use crate::sink::Sink;

/// Reads the output of every tool that is known.
pub fn read(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let _ = (doc, sink);
}
