//! One message: MAIL, RCPT for each recipient, DATA or BDAT, and what the replies mean for each recipient.

use super::dots::Stuffing;
use super::limits;
use super::needs::{self, Room};
use super::session::{Client, Expect, Phase};
use super::types::{By, Delivery, Fault, Out, Outcome, Outgoing, Stage};
use crate::reply::{Reply, Status};
use crate::types::Flavour;
use waypost_base::Timestamp;

/// A message on its way.
#[derive(Debug)]
pub(super) struct Job {
    message: Outgoing,
    fates: Vec<Fate>,
    /// First recipient for whom RCPT was not looked at.
    next: usize,
    step: Step,
    body: Body,
    utf8: bool,
    chunked: bool,
    /// Chunked: octets that are still to come.
    left: u64,
    stuffing: Stuffing,
    /// The server's transaction is over, so that no RSET is needed.
    ended: bool,
}

/// Where a recipient stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Asked,
    Taken,
    Over(Outcome),
}

/// What is said next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Reset,
    Mail,
    Rcpts,
    Data,
    Body,
    /// Nothing; the replies that are outstanding are read.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    NotYet,
    /// The caller may hand over pieces.
    Open,
    /// The end of it is sent.
    Sent,
    /// Refused half-way.
    Off,
}

impl Job {
    pub(super) fn is_open(&self) -> bool {
        self.body == Body::Open
    }

    fn decide(&mut self, which: impl Fn(&Fate) -> bool, outcome: &Outcome) {
        for fate in self.fates.iter_mut().filter(|fate| !matches!(fate, Fate::Over(_)) && which(fate)) {
            *fate = Fate::Over(outcome.clone());
        }
    }

    fn any(&self, fate: &Fate) -> bool {
        self.fates.contains(fate)
    }

    /// Somebody may still get the message.
    fn has_hope(&self) -> bool {
        self.fates.iter().any(|fate| !matches!(fate, Fate::Over(_)))
    }
}

/// The server takes no more recipients with this message, but those before (RFC 5321 §4.5.3.1.10).
fn too_many(reply: &Reply) -> bool {
    let said = || reply.text.to_ascii_lowercase().contains("too many recipients");
    reply.code == 452 && reply.status.map_or_else(said, |status| status == Status(4, 5, 3))
}

impl Client {
    /// Begins a message. [`Out::Done`] tells what became of it; that may come at once, where the server lacks what the
    /// message needs. Only while `is_idle`.
    pub fn send(&mut self, now: Timestamp, message: Outgoing) {
        if !self.is_idle() {
            let fault = Fault::Source("the connection is not ready for a message".to_owned());
            let outcome = Outcome::Broken { stage: self.stage(), fault, in_doubt: false };
            let outcomes = vec![outcome; message.recipients.len()];
            self.push(Out::Done(Box::new(Delivery { outcomes, dsn: false })));
            return;
        }
        let job = self.plan(message);
        let hopeless = !job.any(&Fate::Waiting);
        self.job = Some(Box::new(job));
        self.phase = Phase::Message;
        if hopeless {
            self.conclude();
            return;
        }
        self.messages += 1;
        self.pump();
        self.arm(now);
    }

    fn plan(&self, message: Outgoing) -> Job {
        let has = &self.extensions;
        let against = needs::of_message(&self.config, has, self.tls, &message);
        let mut room = Room::default();
        let fates = message.recipients.iter().map(|recipient| {
            let refused = against.clone().or_else(|| needs::of_recipient(has, recipient));
            match refused {
                Some(outcome) => Fate::Over(outcome),
                None if room.takes(has, &recipient.to) => Fate::Waiting,
                None => Fate::Over(Outcome::Left),
            }
        });
        let fates: Vec<Fate> = fates.collect();
        let international = |(recipient, fate): (&super::Recipient, &Fate)| {
            *fate == Fate::Waiting && recipient.to.is_international()
        };
        let utf8 = message.utf8
            || message.from.as_ref().is_some_and(|from| from.is_international())
            || message.recipients.iter().zip(&fates).any(international);
        Job {
            next: 0,
            step: if self.needs_reset { Step::Reset } else { Step::Mail },
            body: Body::NotYet,
            utf8,
            chunked: self.config.chunking && has.chunking,
            left: message.size,
            stuffing: Stuffing::new(),
            ended: false,
            message,
            fates,
        }
    }

    /// Says what can be said now.
    pub(super) fn pump(&mut self) {
        while let Some(mut job) = self.job.take() {
            let more = self.step(&mut job);
            let over = job.step == Step::Over && self.waiting().0 == 0;
            self.job = Some(job);
            if over {
                self.conclude();
            } else if !more {
                return;
            }
        }
    }

    /// One step; answers whether another may follow at once.
    fn step(&mut self, job: &mut Job) -> bool {
        let (replies, octets) = self.waiting();
        let together = self.extensions.pipelining;
        if !together && replies > 0 {
            return false;
        }
        match job.step {
            Step::Reset => {
                self.say("RSET", Expect::Rset);
                job.step = Step::Mail;
            }
            Step::Mail => {
                let line = needs::mail_line(&self.extensions, &job.message, job.utf8);
                self.say(&line, Expect::Mail);
                job.step = Step::Rcpts;
            }
            Step::Rcpts => {
                while job.fates.get(job.next).is_some_and(|fate| *fate != Fate::Waiting) {
                    job.next += 1;
                }
                let Some(recipient) = job.message.recipients.get(job.next) else {
                    job.step = if job.has_hope() { Step::Data } else { Step::Over };
                    return true;
                };
                if replies >= limits::WINDOW || octets >= limits::WINDOW_OCTETS {
                    return false;
                }
                let line = needs::rcpt_line(&self.extensions, recipient);
                self.say(&line, Expect::Rcpt(job.next));
                if let Some(fate) = job.fates.get_mut(job.next) {
                    *fate = Fate::Asked;
                }
                job.next += 1;
            }
            Step::Data => return self.begin_body(job, replies, together),
            Step::Body | Step::Over => return false,
        }
        true
    }

    fn begin_body(&mut self, job: &mut Job, replies: usize, together: bool) -> bool {
        if !job.has_hope() {
            job.step = Step::Over;
            return true;
        }
        if job.chunked {
            let early =
                together && job.message.size <= limits::EARLY_BODY && self.config.flavour != Flavour::Lmtp;
            if replies > 0 && !early {
                return false;
            }
            job.body = Body::Open;
        } else {
            self.say("DATA", Expect::Data);
        }
        job.step = Step::Body;
        true
    }

    pub(super) fn message_reply(&mut self, expect: Expect, reply: Reply) {
        let Some(mut job) = self.job.take() else { return };
        let fault = self.judge(&mut job, expect, reply);
        self.job = Some(job);
        if let Some(fault) = fault {
            self.broken_at(expect.stage(), fault);
        }
    }

    /// What a reply means for the recipients.
    fn judge(&mut self, job: &mut Job, expect: Expect, reply: Reply) -> Option<Fault> {
        let positive = reply.is_positive();
        let stage = expect.stage();
        match expect {
            Expect::Mail if !positive => {
                job.decide(|_| true, &Outcome::Refused { stage, reply, by: By::Peer });
                self.give_up(job);
            }
            Expect::Rcpt(number) => {
                let full = too_many(&reply) && job.any(&Fate::Taken);
                if let Some(fate) = job.fates.get_mut(number).filter(|fate| **fate == Fate::Asked) {
                    *fate = match positive {
                        true => Fate::Taken,
                        false if full => Fate::Over(Outcome::Left),
                        false => Fate::Over(Outcome::Refused { stage, reply, by: By::Peer }),
                    };
                }
                if !job.has_hope() && job.body == Body::Open {
                    self.give_up(job);
                }
            }
            Expect::Data => return self.judge_data(job, reply),
            Expect::Chunk if !positive => {
                job.decide(|_| true, &Outcome::Refused { stage, reply, by: By::Peer });
                self.give_up(job);
            }
            Expect::Final(from) => self.judge_final(job, from, reply),
            _ => {}
        }
        None
    }

    /// Nothing more is said about this message.
    fn give_up(&self, job: &mut Job) {
        // DATA that was sent along has an answer yet, and a lone dot if that is 354.
        if job.step != Step::Body || job.body == Body::Open {
            job.step = Step::Over;
        }
        if job.body == Body::Open {
            job.body = Body::Off;
        }
    }

    fn judge_data(&mut self, job: &mut Job, reply: Reply) -> Option<Fault> {
        if reply.code == 354 && job.any(&Fate::Taken) {
            job.body = Body::Open;
            return None;
        }
        job.step = Step::Over;
        if reply.code == 354 && self.config.flavour == Flavour::Lmtp {
            return Some(Fault::Protocol("354 without a recipient".to_owned()));
        }
        if reply.code == 354 {
            // RFC 2920 §3.1: the server accepts a message for nobody.
            self.say(".", Expect::Nobody);
        } else if reply.code < 400 {
            return Some(Fault::Protocol(format!("{} in answer to DATA", reply.code)));
        } else {
            job.decide(|_| true, &Outcome::Refused { stage: Stage::Data, reply, by: By::Peer });
        }
        None
    }

    fn judge_final(&mut self, job: &mut Job, from: usize, reply: Reply) {
        job.step = Step::Over;
        job.ended = reply.is_positive() || !job.chunked;
        let outcome = match reply.is_positive() {
            true => Outcome::Accepted { reply },
            false => Outcome::Refused { stage: Stage::Final, reply, by: By::Peer },
        };
        if self.config.flavour != Flavour::Lmtp {
            job.decide(|_| true, &outcome);
            return;
        }
        let taken = |at: &usize| job.fates.get(*at) == Some(&Fate::Taken);
        let mut of = (from..job.fates.len()).filter(taken);
        let (mine, next) = (of.next(), of.next());
        if let Some(fate) = mine.and_then(|at| job.fates.get_mut(at)) {
            *fate = Fate::Over(outcome);
        }
        if let Some(next) = next {
            self.expect_next(Expect::Final(next));
        }
    }

    /// The caller is to hand over the next piece of the message, or its end. What `poll` gave before must be written
    /// first.
    pub fn wants_body(&self) -> bool {
        let Some(job) = self.job.as_ref().filter(|job| job.is_open()) else { return false };
        if self.has_outs() || self.is_closed() {
            return false;
        }
        let (replies, _) = self.waiting();
        !job.chunked || replies == 0 || {
            let together = self.extensions.pipelining && self.config.flavour != Flavour::Lmtp;
            together && replies < limits::WINDOW
        }
    }

    /// The next piece of the message, of any size (for BDAT it becomes one chunk, so some 100 KiB are best): appends to
    /// `out` what is to be written.
    pub fn body(&mut self, now: Timestamp, piece: &[u8], out: &mut Vec<u8>) {
        let Some(job) = self.job.as_mut().filter(|job| job.is_open()) else { return };
        if !job.chunked {
            job.stuffing.write(piece, out);
        } else if !piece.is_empty() {
            let size = piece.len() as u64;
            let last = size == job.left;
            job.left = job.left.saturating_sub(size);
            self.chunk(piece, last, out);
        }
        self.arm(now);
    }

    /// The message is whole. For BDAT that is so already when all of [`Outgoing::size`] was handed over.
    pub fn body_end(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        let Some(job) = self.job.as_mut().filter(|job| job.is_open()) else { return };
        if job.chunked {
            self.chunk(&[], true, out);
        } else {
            job.stuffing.end(out);
            job.body = Body::Sent;
            self.note(|| ".".to_owned());
            self.expect(Expect::Final(0), 0);
        }
        self.arm(now);
    }

    /// The message cannot be handed over any further: the connection is closed, for that is the only way to take back
    /// what was begun.
    pub fn abort(&mut self, why: impl Into<String>) {
        if self.job.is_some() {
            self.broken_at(self.stage(), Fault::Source(why.into()));
        }
    }

    fn chunk(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        let line = format!("BDAT {}{}", piece.len(), if last { " LAST" } else { "" });
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(piece);
        if last && let Some(job) = &mut self.job {
            job.body = Body::Sent;
        }
        self.expect(if last { Expect::Final(0) } else { Expect::Chunk }, 0);
        self.note(|| line);
    }

    /// The server dismissed us while this message was under way.
    pub(super) fn conclude_refused(&mut self, stage: Stage, reply: &Reply) {
        if let Some(job) = &mut self.job {
            job.decide(|_| true, &Outcome::Refused { stage, reply: reply.clone(), by: By::Peer });
        }
        self.conclude();
    }

    pub(super) fn conclude_broken(&mut self, stage: Stage, fault: &Fault) {
        if let Some(job) = &mut self.job {
            let in_doubt = job.body == Body::Sent;
            let stage = if in_doubt { Stage::Final } else { stage };
            job.decide(|_| true, &Outcome::Broken { stage, fault: fault.clone(), in_doubt });
        }
        self.conclude();
    }

    fn conclude(&mut self) {
        let Some(job) = self.job.take() else { return };
        self.phase = Phase::Idle;
        self.needs_reset = !job.ended && (job.next > 0 || job.step != Step::Mail || self.needs_reset);
        let nothing = Fault::Protocol("no answer for this recipient".to_owned());
        let outcomes = job.fates.into_iter().map(|fate| match fate {
            Fate::Over(outcome) => outcome,
            _ => Outcome::Broken { stage: Stage::Final, fault: nothing.clone(), in_doubt: true },
        });
        let outcomes = outcomes.collect();
        self.push(Out::Done(Box::new(Delivery { outcomes, dsn: self.extensions.dsn })));
    }
}
