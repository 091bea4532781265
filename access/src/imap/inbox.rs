//! What the client has sent: bytes that were read but not used yet, and the framer that cuts them up.

use waypost_imap::frame::{Event, Framer};

/// Holds no memory between commands.
#[derive(Default)]
pub(crate) struct Inbox {
    framer: Framer,
    bytes: Vec<u8>,
    used: usize,
}

impl Inbox {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that wait to be looked at.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.used
    }

    /// Whether [`Inbox::next`] may have something to say without more bytes.
    pub fn next(&mut self) -> Option<Event<'_>> {
        if self.used == self.bytes.len() {
            self.bytes.clear();
            self.used = 0;
        }
        let mut rest = self.bytes.get(self.used..).unwrap_or_default();
        let event = self.framer.next(&mut rest);
        self.used = self.bytes.len() - rest.len();
        event
    }

    pub fn framer(&mut self) -> &mut Framer {
        &mut self.framer
    }

    /// What was sent after the command that is being handled, taken out: STARTTLS throws it away, COMPRESS decompresses it.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.used.min(self.bytes.len()));
        self.bytes = Vec::new();
        self.used = 0;
        rest
    }

    /// Gives back memory, as far as nothing waits.
    pub fn release(&mut self) {
        if self.used == self.bytes.len() {
            self.bytes = Vec::new();
            self.used = 0;
        }
    }
}
