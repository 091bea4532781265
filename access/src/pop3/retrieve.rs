//! RETR and TOP: message bytes on their way out.
//!
//! Most messages are small and lie beside each other in the store, so a client that asks for one after another is
//! served from one read: all that it has asked for already (pipelining), or the next few when it goes through the drop
//! in order. Large messages are read and sent in pieces, so that no message is ever in memory as a whole.

use super::causes;
use super::commands::{code, no_such};
use super::conversation::{Conversation, Next, Open};
use std::collections::VecDeque;
use tokio::time::Instant;
use waypost_base::MessageId;
use waypost_mailbox::limits::BODY_PAGE;
use waypost_mailbox::{Fault, FaultKind, MessageBody};
use waypost_pop3::dot::{DotWriter, Top};
use waypost_pop3::frame::{self, Frame};
use waypost_pop3::limits::COMMAND_BYTES_MAX;
use waypost_pop3::{Command, reply};

/// Bytes of messages that are read ahead together. Larger messages are handles, which cost nothing.
const AHEAD_BYTES: u64 = 512 * 1024;

/// What a message adds to that at most.
const AHEAD_BYTES_EACH: u64 = 64 * 1024;

/// Messages read ahead for a client that goes through the drop without pipelining.
const AHEAD_IN_ORDER: usize = 16;

/// Bytes of a large message that are read at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// The first piece for TOP: a header, nearly always.
const TOP_PIECE_BYTES: u64 = 64 * 1024;

/// Bodies that were read before they were asked for.
#[derive(Default)]
pub(super) struct Ahead {
    bodies: VecDeque<(MessageId, Result<MessageBody, Fault>)>,
    /// Number of the message that was sent last.
    last: u32,
}

impl Ahead {
    /// The body if it is here. Those before it were not wanted in the end.
    fn take(&mut self, id: MessageId) -> Option<Result<MessageBody, Fault>> {
        let at = self.bodies.iter().position(|(other, _)| *other == id)?;
        self.bodies.drain(..at);
        self.bodies.pop_front().map(|(_, body)| body)
    }
}

/// How an answer with message bytes ended.
enum Sent {
    All(u64),
    /// The answer was -ERR.
    Answered,
    /// The client is gone.
    Gone,
    Fault(Fault),
}

impl Conversation<'_> {
    pub async fn retr(&mut self, number: u32) -> Next {
        self.send(number, None).await
    }

    pub async fn top(&mut self, number: u32, lines: u32) -> Next {
        self.send(number, Some(Top::new(lines))).await
    }

    async fn send(&mut self, number: u32, top: Option<Top>) -> Next {
        let started = Instant::now();
        let Some(open) = &mut self.open else { return self.err(no_such()) };
        let Some((id, octets)) = target(open, number) else { return self.err(no_such()) };
        let body = match open.ahead.take(id) {
            Some(body) => body,
            None => {
                let wanted = plan(open, number, id, self.wire.pending());
                // The last answers go out while the next messages are read.
                let (flushed, bodies) = tokio::join!(self.wire.flush(), open.drop.bodies(&wanted));
                if flushed.is_err() {
                    return Next::Break;
                }
                open.ahead.bodies = wanted.into_iter().zip(bodies).collect();
                open.ahead.take(id).unwrap_or_else(|| Err(missing(id)))
            }
        };
        open.ahead.last = number;
        let body = match body {
            Ok(body) => body,
            Err(fault) => return self.faulty(&fault),
        };
        let retrieved = top.is_none();
        let sent = match &body {
            MessageBody::Small(bytes) => {
                begin(&mut self.wire.out, octets, retrieved);
                let mut top = top;
                let taken = top.as_mut().map_or(bytes.len(), |t| t.take(bytes));
                let mut writer = DotWriter::new();
                writer.piece(bytes.get(..taken).unwrap_or_default(), &mut self.wire.out);
                writer.finish(&mut self.wire.out);
                Sent::All(taken as u64)
            }
            MessageBody::Large(_) => self.send_large(&body, octets, top).await,
        };
        match sent {
            Sent::All(bytes) => {
                if retrieved {
                    self.service.figures.retrieved.one();
                }
                self.note_retrieved(started, bytes);
                Next::Go
            }
            Sent::Answered => Next::Go,
            Sent::Gone => Next::Break,
            Sent::Fault(fault) => {
                self.failed(causes::MESSAGE_UNAVAILABLE, fault.to_string(), retry(&fault));
                Next::Break
            }
        }
    }

    /// Piece by piece. A fault in the first piece is still an answer; later ones can only break off.
    async fn send_large(&mut self, body: &MessageBody, octets: u64, mut top: Option<Top>) -> Sent {
        let Some(open) = &self.open else { return Sent::Gone };
        let (size, retrieved) = (body.size(), top.is_none());
        let mut writer = DotWriter::new();
        let mut at = 0;
        while at < size && !top.is_some_and(|t| t.done()) {
            let piece = if retrieved { PIECE_BYTES } else { TOP_PIECE_BYTES };
            let bytes = match open.drop.read(body, at..(at + piece).min(size)).await {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) => return Sent::Fault(missing(MessageId(0))),
                Err(fault) if at == 0 => {
                    self.faulty(&fault);
                    return Sent::Answered;
                }
                Err(fault) => return Sent::Fault(fault),
            };
            if at == 0 {
                begin(&mut self.wire.out, octets, retrieved);
            }
            at += bytes.len() as u64;
            let taken = top.as_mut().map_or(bytes.len(), |t| t.take(&bytes));
            writer.piece(bytes.get(..taken).unwrap_or_default(), &mut self.wire.out);
            if self.wire.flush_if_full().await.is_err() {
                return Sent::Gone;
            }
        }
        if size == 0 {
            begin(&mut self.wire.out, octets, retrieved);
        }
        writer.finish(&mut self.wire.out);
        Sent::All(at)
    }

    fn faulty(&mut self, fault: &Fault) -> Next {
        if fault.kind == FaultKind::Gone {
            // Another client removed it: no fault of anybody's.
            return self.err("The message has been removed");
        }
        let retry = retry(fault);
        self.failed(causes::MESSAGE_UNAVAILABLE, fault.to_string(), retry);
        self.err_code(code(retry), "The message cannot be read now")
    }

    /// All messages together are one step of the leg.
    fn note_retrieved(&mut self, started: Instant, bytes: u64) {
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.retrieved.messages += 1;
        self.retrieved.bytes += bytes;
        self.retrieved.micros += micros;
    }
}

/// What was sent of messages in a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retrieved {
    pub messages: u64,
    pub bytes: u64,
    pub micros: u64,
}

fn begin(out: &mut Vec<u8>, octets: u64, retrieved: bool) {
    if retrieved { reply::retr(out, octets) } else { reply::ok(out, "") }
}

fn retry(fault: &Fault) -> bool {
    !matches!(fault.kind, FaultKind::Damaged(_))
}

fn missing(message: MessageId) -> Fault {
    Fault { message, kind: FaultKind::Unavailable("the store answered with less than was asked for".into()) }
}

/// The message of a number, if it is there and not marked.
fn target(open: &Open, number: u32) -> Option<(MessageId, u64)> {
    let message = open.maildrop.message(number).ok()?;
    let id = open.messages.get(number.checked_sub(1)? as usize)?;
    Some((*id, message.octets))
}

/// The messages to read now: the one that is wanted, then those that are wanted next.
fn plan(open: &Open, number: u32, id: MessageId, pending: &[u8]) -> Vec<MessageId> {
    let mut wanted = vec![id];
    let mut budget = AHEAD_BYTES;
    let mut add = |number: u32, at_most: usize| {
        if wanted.len() >= at_most || budget == 0 {
            return false;
        }
        // A number that does not exist, or exists no more, is answered when its turn comes.
        if let Some((id, octets)) = target(open, number) {
            wanted.push(id);
            budget = budget.saturating_sub(octets.min(AHEAD_BYTES_EACH));
        }
        true
    };
    let mut pipelined = false;
    for command in Pipelined(pending) {
        pipelined = true;
        match command {
            Command::Retr(number) | Command::Top { message: number, .. } if !add(number, BODY_PAGE) => break,
            _ => {}
        }
    }
    if !pipelined && number == open.ahead.last + 1 && number > 1 {
        let mut next = number;
        while let Some(n) = next.checked_add(1).filter(|n| *n as usize <= open.messages.len()) {
            if !add(n, AHEAD_IN_ORDER) {
                break;
            }
            next = n;
        }
    }
    wanted
}

/// The whole commands that wait, up to the first that is not about messages.
struct Pipelined<'a>(&'a [u8]);

impl<'a> Iterator for Pipelined<'a> {
    type Item = Command<'a>;

    fn next(&mut self) -> Option<Command<'a>> {
        let Frame::Line { line, used } = frame::next(self.0, COMMAND_BYTES_MAX) else { return None };
        let command = Command::parse(line).ok()?;
        self.0 = self.0.get(used..)?;
        let about = matches!(
            command,
            Command::Retr(_)
                | Command::Top { .. }
                | Command::Dele(_)
                | Command::Noop
                | Command::List(_)
                | Command::Uidl(_)
        );
        about.then_some(command)
    }
}
