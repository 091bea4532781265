//! Signing in, what the drop holds, and the end. RETR and TOP are in [`super::retrieve`].

use super::causes;
use super::conversation::{Conversation, Handed, Next, Open, stopped};
use super::retrieve::Ahead;
use super::source::Opened;
use super::wire::Input;
use crate::proxy::{self, Detail};
use crate::signin::{NoMechanism, Refused, SignedIn, Turn};
use std::time::Duration;
use tokio::time::Instant;
use waypost_base::explain::Outcome;
use waypost_mailbox::UidSet;
use waypost_pop3::limits::AUTH_LINE_BYTES;
use waypost_pop3::reply::{self, Capabilities, Code};
use waypost_pop3::{Maildrop, Message, State};
use waypost_sasl::wire::Line;
use waypost_sasl::{Failure, Why};
use waypost_trust::leg::{Client, Service};
use waypost_trust::proxy::{Home, No, to_home};

const NO_SUCH: &str = "No such message";

impl Conversation<'_> {
    /// `CAPA`, RFC 2449 §5.
    pub fn capa(&mut self) -> Next {
        let before = self.session.state() == State::Authorization;
        let offered = self.caller.offered();
        let sasl: Vec<&str> = offered.iter().map(|m| m.name()).collect();
        let capabilities = Capabilities {
            user: before && self.caller.passwords_allowed(),
            stls: before && self.session.can_upgrade,
            sasl: if before { &sasl } else { &[] },
            implementation: (!before).then_some(self.settings.implementation.as_str()),
        };
        reply::capa(&mut self.wire.out, &capabilities);
        Next::Go
    }

    /// `AUTH` alone: the mechanisms, as before CAPA.
    pub fn mechanisms(&mut self) -> Next {
        let offered = self.caller.offered();
        let names: Vec<&str> = offered.iter().map(|m| m.name()).collect();
        reply::mechanisms(&mut self.wire.out, &names);
        Next::Go
    }

    /// `USER`. Says yes to every name, so that nobody learns which exist.
    pub fn user(&mut self, name: &str) -> Next {
        if !self.caller.passwords_allowed() {
            return self.err("Start TLS first");
        }
        self.session.named(name);
        self.ok("")
    }

    pub async fn pass(&mut self, password: &str) -> Next {
        // The session admits PASS only after USER.
        let user = self.session.take_user().unwrap_or_default();
        let started = Instant::now();
        let result = self.caller.password(&user, password).await;
        self.signed(result, started).await
    }

    /// `AUTH mechanism [initial]`, RFC 5034 §4.
    pub async fn auth(&mut self, mechanism: &[u8], initial: Option<&[u8]>) -> Next {
        let started = Instant::now();
        let initial = match initial.map(waypost_sasl::wire::initial).transpose() {
            Ok(initial) => initial,
            Err(_) => return self.err("Not base64"),
        };
        let idle = self.settings.pre_authenticated_timeout;
        let stop = self.stop.clone();
        let mut talk = match self.caller.begin(mechanism) {
            Ok(talk) => talk,
            Err(NoMechanism::Unknown) => return self.err("Mechanism is not offered"),
            Err(NoMechanism::NeedsTls) => return self.err_code(Code::Auth, "Start TLS first"),
        };
        let mut turn = talk.begin(initial.as_deref()).await;
        let result = loop {
            let challenge = match turn {
                Turn::Over(result) => break result,
                Turn::Challenge(challenge) => challenge,
            };
            reply::challenge(&mut self.wire.out, &challenge);
            let mut line = Vec::new();
            let stop = stopped(stop.clone(), Duration::ZERO);
            match self.wire.line(&mut line, AUTH_LINE_BYTES, idle, stop).await {
                Input::Line => {}
                Input::TooLong => break Err(talk.malformed("line too long").await),
                Input::Timeout => {
                    self.service.figures.timeouts.one();
                    return Next::Break;
                }
                Input::Closed | Input::Stopping => return Next::Break,
            }
            turn = match waypost_sasl::wire::line(&line) {
                Ok(Line::Response(response)) => talk.respond(&response).await,
                Ok(Line::Cancelled) => break Err(talk.cancelled()),
                Err(_) => break Err(talk.malformed("not base64").await),
            };
        };
        self.signed(result, started).await
    }

    async fn signed(&mut self, result: Result<SignedIn, Refused>, started: Instant) -> Next {
        let signed = match result {
            Ok(signed) => signed,
            Err(refused) => return self.refused(&refused, started),
        };
        self.scribe.user(&signed.address);
        self.leg.mechanism = signed.mechanism.into();
        self.leg.key = signed.by.clone();
        self.step("sign-in", started, Some(signed.address.clone()));
        if let Home::There(home) = self.service.homes().home(signed.account) {
            return self.hand_over(&home, signed).await;
        }
        let Some(lock) = self.service.locks.try_lock(signed.account) else {
            self.service.figures.in_use.one();
            self.note(causes::IN_USE, signed.address, true);
            return self.err_code(Code::InUse, "Another session has this mailbox");
        };
        let started = Instant::now();
        match self.service.drops.open(signed.account).await {
            Ok(opened) => {
                // An earlier try may have met another session; it counts no more.
                self.leg.outcome = Outcome::Open;
                self.opened(signed, lock, opened);
                let count = self.open.as_ref().map_or((0, 0), |o| o.maildrop.stat());
                self.step("open", started, Some(format!("{} messages", count.0)));
                self.say_opened()
            }
            Err(trouble) => {
                self.failed(causes::DROP_UNAVAILABLE, trouble.text, trouble.retry);
                self.err_code(code(trouble.retry), "The mailbox cannot be opened now")
            }
        }
    }

    pub fn say_opened(&mut self) -> Next {
        let (count, octets) = self.open.as_ref().map_or((0, 0), |o| o.maildrop.stat());
        self.ok(&format!("{count} messages ({octets} octets)"))
    }

    /// The account is at another server, which answers the command.
    async fn hand_over(&mut self, home: &str, signed: SignedIn) -> Next {
        let mut detail = Detail::of(&signed);
        detail.utf8 = self.session.utf8;
        let (peer, local) = self.ends;
        let client = Client { peer, local, tls: self.tls.clone() };
        let hello = detail.hello(Service::Pop3, self.id, client);
        let service = self.service;
        let started = Instant::now();
        let failed = match to_home(service.homes(), home, hello.clone()).await {
            Ok(opened) => {
                self.leg.outcome = Outcome::Open;
                self.step("hand-over", started, Some(home.to_owned()));
                let (server, to) = proxy::opened(&hello, opened, service.legs.as_ref(), &service.clock);
                self.handed = Some(Handed { server, to, place: signed.place });
                return Next::Leave;
            }
            Err(failed) => failed,
        };
        proxy::not_opened(&hello, &failed, service.legs.as_ref(), &service.clock);
        match No::of(&failed) {
            No::InUse => {
                self.note(causes::IN_USE, signed.address, true);
                self.err_code(Code::InUse, "Another session has this mailbox")
            }
            No::Unavailable { lasting } => {
                self.failed(failed.finding.cause, failed.text, !lasting);
                self.err_code(code(!lasting), "The mailbox cannot be opened now")
            }
            No::Moved { .. } | No::Disabled | No::Protocol | No::TooMany => {
                let failure = proxy::failure(&failed);
                self.refused(&Refused { failure, close: false }, started)
            }
        }
    }

    pub fn opened(&mut self, signed: SignedIn, lock: super::locks::Lock, opened: Opened) {
        let Opened { validity, mut items, drop } = opened;
        if self.settings.newest_first {
            items.reverse();
        }
        let list = items.iter().map(|i| Message { uid: i.uid, octets: i.octets }).collect();
        let messages = items.iter().map(|i| i.message).collect();
        let maildrop = Maildrop::new(validity, list);
        self.open =
            Some(Open { _signed: signed, maildrop, messages, drop, ahead: Ahead::default(), _lock: lock });
        self.session.signed_in();
    }

    fn refused(&mut self, refused: &Refused, started: Instant) -> Next {
        let (cause, retry) = crate::signin::cause(&refused.failure);
        self.step("sign-in", started, Some(cause.code.into()));
        if !matches!(refused.failure, Failure::Unavailable(_)) {
            self.note(cause, format!("{:?}", refused.failure), retry);
        }
        match &refused.failure {
            Failure::Unavailable(text) => {
                self.failed(cause, text.clone(), retry);
                self.err_code(Code::SysTemp, "Cannot sign you in now, try again later")
            }
            Failure::NotAllowed(Why::TooManySessions) => {
                self.err_code(Code::InUse, "Too many sessions of this user")
            }
            // Nothing was looked at, so nothing is said of the credentials.
            Failure::NotAllowed(Why::Locked) => {
                self.err_code(Code::SysTemp, "Too many failed attempts, try again later")
            }
            Failure::NotAllowed(why) => self.err_code(Code::Auth, &format!("Not allowed: {why}")),
            Failure::Malformed(why) => self.err(&format!("Sign-in broke off: {why}")),
            Failure::Wrong => self.err_code(Code::Auth, "Wrong name or password"),
            // The password may well be right, and setting a new one is no remedy.
            Failure::Binding(why) => self.err_code(Code::Auth, &format!("Channel binding failed: {why}")),
        };
        if refused.close { Next::Close } else { Next::Go }
    }

    pub fn stat(&mut self) -> Next {
        if let Some(open) = &self.open {
            reply::stat(&mut self.wire.out, &open.maildrop);
        }
        Next::Go
    }

    pub fn list(&mut self, number: Option<u32>) -> Next {
        let Some(open) = &self.open else { return Next::Go };
        match number.map(|n| (n, open.maildrop.message(n))) {
            None => reply::list(&mut self.wire.out, &open.maildrop),
            Some((n, Ok(message))) => reply::list_one(&mut self.wire.out, n, message.octets),
            Some((_, Err(_))) => return self.err(NO_SUCH),
        }
        Next::Go
    }

    pub fn uidl(&mut self, number: Option<u32>) -> Next {
        let Some(open) = &self.open else { return Next::Go };
        match number.map(|n| (n, open.maildrop.message(n))) {
            None => reply::uidl(&mut self.wire.out, &open.maildrop),
            Some((n, Ok(message))) => {
                reply::uidl_one(&mut self.wire.out, n, &open.maildrop.unique_id(&message));
            }
            Some((_, Err(_))) => return self.err(NO_SUCH),
        }
        Next::Go
    }

    pub fn dele(&mut self, number: u32) -> Next {
        match self.open.as_mut().map(|open| open.maildrop.delete(number)) {
            Some(Ok(())) => self.ok("Marked to be deleted"),
            _ => self.err(NO_SUCH),
        }
    }

    pub fn rset(&mut self) -> Next {
        if let Some(open) = &mut self.open {
            open.maildrop.reset();
        }
        self.ok("")
    }

    /// `QUIT`: the UPDATE state of RFC 1939 §6, where messages are removed.
    pub async fn quit(&mut self) -> Next {
        self.session.quit();
        let Some(open) = &self.open else {
            self.ok("Bye");
            return Next::Close;
        };
        let marked = open.maildrop.marked();
        if marked.is_empty() {
            self.ok("Bye");
            return Next::Close;
        }
        let started = Instant::now();
        let mut uids = UidSet::new();
        let mut sorted = marked;
        sorted.sort_unstable();
        for uid in &sorted {
            uids.push(*uid);
        }
        match open.drop.remove(uids).await {
            Ok(()) => {
                self.service.figures.removed.add(sorted.len() as u64);
                self.step("update", started, Some(format!("{} removed", sorted.len())));
                self.ok(&format!("Bye, {} messages deleted", sorted.len()));
            }
            Err(trouble) => {
                self.failed(causes::NOT_REMOVED, trouble.text, trouble.retry);
                self.err_code(code(trouble.retry), "Some deleted messages were not removed");
            }
        }
        Next::Close
    }
}

/// The code for a failure of ours (RFC 3206 §4).
pub(super) const fn code(retry: bool) -> Code {
    if retry { Code::SysTemp } else { Code::SysPerm }
}

pub(super) const fn no_such() -> &'static str {
    NO_SUCH
}
