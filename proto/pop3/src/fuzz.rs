//! One round of fuzzing: a client's bytes into frames, commands and states, and as a message into the writers.

use crate::command::Command;
use crate::dot::{DotWriter, Top};
use crate::frame::{self, Frame};
use crate::limits::COMMAND_BYTES;
use crate::maildrop::{Maildrop, Message};
use crate::reply;
use crate::session::{Refused, Session};

/// Nothing here may panic, and every answer ends with a line end.
pub fn fuzz_one(data: &[u8]) {
    let mut session = Session::new(false, true);
    let mut drop = Maildrop::new(1, (1..4).map(|uid| Message { uid, octets: u64::from(uid) }).collect());
    let mut out = Vec::new();
    let mut rest = data;
    loop {
        let used = match frame::next(rest, COMMAND_BYTES) {
            Frame::Incomplete => break,
            Frame::TooLong { used, .. } => used,
            Frame::Line { line, used } => {
                converse(&mut session, &mut drop, line, &mut out);
                used
            }
        };
        rest = rest.get(used..).unwrap_or_default();
    }
    assert!(out.is_empty() || out.ends_with(b"\r\n"));
    let (mut writer, mut top) = (DotWriter::new(), Top::new(2));
    for piece in data.chunks(7) {
        let taken = top.take(piece);
        writer.piece(piece.get(..taken).unwrap_or_default(), &mut out);
    }
    writer.finish(&mut out);
}

fn converse(session: &mut Session, drop: &mut Maildrop, line: &[u8], out: &mut Vec<u8>) {
    let command = match Command::parse(line) {
        Ok(command) => command,
        Err(bad) => return reply::err(out, &bad.to_string()),
    };
    if let Err(refused) = session.admit(&command) {
        return reply::err(out, Refused::text(refused));
    }
    match command {
        Command::User(name) => session.named(name),
        Command::Pass(_) | Command::Auth(Some(_)) => session.signed_in(),
        Command::Stls => session.secured(),
        Command::List(None) => reply::list(out, drop),
        Command::Uidl(None) => reply::uidl(out, drop),
        Command::Dele(n) => drop.delete(n).unwrap_or_default(),
        Command::Rset => drop.reset(),
        Command::Retr(n) => reply::retr(out, drop.message(n).map(|m| m.octets).unwrap_or_default()),
        other => reply::ok(out, &other.parameters()),
    }
    assert_eq!(drop.stat().0 as usize + drop.marked().len(), 3);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn garbage_never_panics(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzz_one(&data);
        }

        #[test]
        fn any_conversation_holds(lines in proptest::collection::vec("(USER|PASS|STLS|DELE|RSET|LIST|UIDL|RETR|TOP|QUIT)( [0-5x]{1,2}){0,2}\r\n", 0..20)) {
            crate::fuzz_one(lines.concat().as_bytes());
        }
    }
}
