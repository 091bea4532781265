//! The one entry for fuzzers: any bytes, as a client might send them.

use crate::command::{self, Command, Dialect};
use crate::frame::{Event, Framer};

/// Feeds the bytes to a framer in pieces, parses what comes out, and checks what must hold for every input: nothing panics,
/// nothing stays held between commands, and a command that was understood reads the same after printing.
///
/// The first byte chooses the dialect, the state of sign-in and the size of the pieces.
///
/// # Panics
/// When one of these does not hold: that is its purpose.
pub fn fuzz_one(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let dialect = Dialect { utf8: choice & 1 != 0 };
    let mut framer = Framer::new();
    if choice & 2 != 0 {
        framer.signed_in();
    }
    let step = usize::from(choice >> 3) + 1;
    for piece in data.chunks(step) {
        let mut input = piece;
        loop {
            match framer.next(&mut input) {
                None => break,
                Some(Event::Command(text)) => round_trip(text, dialect),
                Some(Event::Message(head)) => {
                    let accept = if head.first {
                        command::parse_append(head.text, dialect).is_ok()
                    } else {
                        command::parse_append_next(head.text, choice & 4 != 0, dialect).is_ok()
                    };
                    if accept {
                        framer.accept();
                    } else if !framer.refuse() {
                        return;
                    }
                }
                Some(Event::MessageTail(text)) => {
                    let _ = command::parse_append_end(text, choice & 4 != 0);
                }
                Some(Event::Line(text)) => {
                    let _ = command::sasl_response(text);
                }
                Some(Event::Refused(refusal)) if refusal.close => return,
                Some(Event::Continue | Event::Data { .. } | Event::Refused(_)) => {}
            }
        }
        assert!(framer.held() <= 3 * crate::limits::COMMAND_MAX, "the framer holds too much");
    }
}

/// What was understood must be understood alike when we say it.
fn round_trip(text: &[u8], dialect: Dialect) {
    let Ok(command) = command::parse(text, dialect) else { return };
    assert_round_trip(&command, dialect);
}

/// # Panics
/// If the command reads differently after printing.
pub fn assert_round_trip(command: &Command, dialect: Dialect) {
    let mut wire = Vec::new();
    command.encode(dialect, &mut wire);
    let again = command::parse(wire.strip_suffix(b"\r\n").unwrap_or(&wire), dialect);
    assert_eq!(again.as_ref(), Ok(command), "after printing as {:?}", String::from_utf8_lossy(&wire));
}
