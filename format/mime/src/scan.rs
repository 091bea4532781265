//! The scanner: a message in pieces in, a [`Summary`] out.

use crate::limits::Limits;
use crate::summary::Summary;

/// Reads a message in one pass. Memory is bounded by [`Limits`], not by the message.
#[derive(Debug, Default)]
pub struct Scanner {
    size: u64,
}

impl Scanner {
    pub fn new(limits: Limits) -> Scanner {
        let _ = limits;
        Scanner { size: 0 }
    }

    /// The next bytes of the message, as stored; pieces may end anywhere.
    pub fn feed(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
    }

    pub fn finish(self) -> Summary {
        Summary { size: self.size, ..Summary::default() }
    }
}

/// Scans a message that is at hand as a whole.
pub fn scan(message: &[u8], limits: Limits) -> Summary {
    let mut scanner = Scanner::new(limits);
    scanner.feed(message);
    scanner.finish()
}
