//! LOGIN, AUTHENTICATE and STARTTLS (RFC 9051 §6.2), and what follows a sign-in.

use super::legs;
use super::outcome::{Done, DoneCode, End, Fail, Outcome};
use super::session::{Handed, Login, Next, SIGNED_IN, Session};
use crate::proxy::{self, Detail};
use crate::signin::{Caller, NoMechanism, Refused, SignedIn, Turn};
use waypost_imap::command::{SaslResponse, sasl_response};
use waypost_imap::response::{Code, Status};
use waypost_imap::value::{Secret, Tag};
use waypost_sasl::{Failure, Why};
use waypost_trust::leg::{Client, ClientTls, Service};
use waypost_trust::proxy::{Home, to_home};

impl Session {
    pub(crate) async fn login(&mut self, tag: &Tag, user: String, password: Secret) -> Outcome {
        self.noted = format!("{user} *****");
        let mut caller = self.caller()?;
        let started = tokio::time::Instant::now();
        let result = match std::str::from_utf8(&password.0) {
            Ok(password) => caller.password(&user, password).await,
            // No password of ours is not UTF-8; the caller counts it like any other that is wrong.
            Err(_) => caller.password(&user, "\u{fffd}").await,
        };
        self.caller = Some(caller);
        legs::step(self, "sign-in", started.elapsed());
        self.enter(tag, result).await
    }

    pub(crate) async fn authenticate(
        &mut self,
        tag: &Tag,
        mechanism: String,
        initial: Option<Secret>,
    ) -> Outcome {
        self.noted = mechanism.clone();
        let mut caller = self.caller()?;
        let started = tokio::time::Instant::now();
        let result = self.exchange(&mut caller, &mechanism, initial).await;
        self.caller = Some(caller);
        legs::step(self, "sign-in", started.elapsed());
        self.enter(tag, result?).await
    }

    fn caller(&mut self) -> Result<Box<Caller>, Fail> {
        self.caller.take().ok_or(Fail::Bad("Already signed in".into()))
    }

    /// Challenges and responses until the exchange is over.
    async fn exchange(
        &mut self,
        caller: &mut Caller,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> Result<Result<SignedIn, Refused>, Fail> {
        let mut conversation = match caller.begin(mechanism.as_bytes()) {
            Ok(conversation) => conversation,
            Err(NoMechanism::NeedsTls) => {
                return Err(Fail::no(Code::PrivacyRequired, "Start TLS first"));
            }
            Err(NoMechanism::Unknown) => {
                return Err(Fail::no(Code::Cannot, "No such authentication mechanism here"));
            }
        };
        let mut turn = conversation.begin(initial.as_ref().map(|s| s.0.as_slice())).await;
        loop {
            let challenge = match turn {
                Turn::Challenge(challenge) => challenge,
                Turn::Over(result) => return Ok(result),
            };
            self.reply().challenge(&challenge);
            self.inbox.framer().expect_line();
            turn = match self.next().await? {
                Next::Line(line) => match sasl_response(&line) {
                    Ok(SaslResponse::Octets(response)) => conversation.respond(&response.0).await,
                    Ok(SaslResponse::Cancel) => {
                        return Ok(Err(conversation.cancelled()));
                    }
                    Err(_) => return Ok(Err(conversation.malformed("not base64").await)),
                },
                Next::Refused(refusal) => {
                    self.refused(&refusal)?;
                    return Ok(Err(conversation.malformed("response too long").await));
                }
                // The framer was told to expect a line.
                Next::Command(..) | Next::Append(..) => {
                    return Ok(Err(conversation.malformed("out of turn").await));
                }
            };
        }
    }

    async fn enter(&mut self, tag: &Tag, result: Result<SignedIn, Refused>) -> Outcome {
        let signed_in = match result {
            Ok(signed_in) => signed_in,
            Err(refused) => {
                legs::sign_in_failed(self, &refused.failure);
                if refused.close {
                    self.close_after = Some("Too many failed sign-ins");
                }
                return Err(refusal(refused.failure));
            }
        };
        if let Home::There(home) = self.svc.homes().home(signed_in.account) {
            return self.hand_over(tag, &home, signed_in).await;
        }
        let account = match self.svc.mailboxes.account_or_new(signed_in.account).await {
            Ok(account) => account,
            Err(error) => {
                legs::sign_in_failed(self, &Failure::Unavailable(error.to_string()));
                return Err(error.into());
            }
        };
        self.scribe.user(&signed_in.address);
        // Statistics are nobody's reason to wait.
        let (now, seen) = (self.svc.clock.now(), account.clone());
        tokio::spawn(async move { seen.signed_in(now).await });
        legs::signed_in(self, signed_in.mechanism, signed_in.by.as_deref().unwrap_or(&signed_in.address));
        self.inside(Login { account, _place: signed_in.place });
        Ok(Done::with(DoneCode::Capability(self.capabilities()), SIGNED_IN))
    }

    pub(crate) fn inside(&mut self, login: Login) {
        self.login = Some(Box::new(login));
        self.caller = None;
        // What only matters before sign-in is given back.
        self.upgrade = None;
        let line_max = self.svc.settings().command_bytes_max;
        self.inbox.framer().signed_in();
        self.inbox.framer().set_line_max(line_max);
    }

    /// The account is at another server, which answers the command.
    async fn hand_over(&mut self, tag: &Tag, home: &str, signed: SignedIn) -> Outcome {
        let mut detail = Detail::of(&signed);
        detail.tag = Some(tag.as_str().to_owned());
        let tls = self.tls.as_deref().map(ClientTls::from);
        let (peer, local) = self.ends;
        let hello = detail.hello(Service::Imap, self.id, Client { peer, local, tls });
        let svc = self.svc.clone();
        match to_home(svc.homes(), home, hello.clone()).await {
            Ok(opened) => {
                self.scribe.user(&signed.address);
                legs::signed_in(self, signed.mechanism, signed.by.as_deref().unwrap_or(&signed.address));
                // What is read is read at the home, which tells of it.
                self.leg = None;
                let (server, to) = proxy::opened(&hello, opened, svc.legs.as_ref(), &svc.clock);
                self.handed = Some(Box::new(Handed { server, to, place: signed.place }));
                Err(Fail::End(End::HandedOver))
            }
            Err(failed) => {
                proxy::not_opened(&hello, &failed, svc.legs.as_ref(), &svc.clock);
                let failure = proxy::failure(&failed);
                legs::not_handed_over(self, &failed);
                Err(refusal(failure))
            }
        }
    }

    /// The tagged OK is the last thing in clear; whatever the client sent after its command is thrown away, since anybody
    /// on the way could have put it there (RFC 9051 §6.2.1).
    pub(crate) async fn start_tls(&mut self, tag: &Tag) -> Outcome {
        if self.tls.is_some() {
            return Err(Fail::bad("TLS is active already"));
        }
        let Some(upgrade) = self.upgrade.clone() else {
            return Err(Fail::bad("TLS is not available on this service"));
        };
        self.reply().tagged(tag, Status::Ok, None, "Begin TLS now");
        self.wire.flush().await?;
        self.inbox = super::inbox::Inbox::default();
        let Some(plain) = self.wire.take_stream() else {
            return Err(End::Gone(std::io::ErrorKind::NotConnected).into());
        };
        let started = tokio::time::Instant::now();
        let accepted = tokio::time::timeout_at(self.sign_in_by, upgrade.accept(plain)).await;
        legs::step(self, "tls", started.elapsed());
        match accepted {
            Ok(Ok((stream, facts))) => {
                if let Some(caller) = &mut self.caller {
                    caller.secured(&facts);
                }
                self.tls = Some(Box::new(facts));
                self.wire.put_stream(stream);
                Ok(Done::default())
            }
            Ok(Err(error)) => {
                legs::tls_failed(self, &error.to_string());
                Err(error.into())
            }
            Err(_) => {
                legs::tls_failed(self, "no handshake in time");
                Err(End::Gone(std::io::ErrorKind::TimedOut).into())
            }
        }
    }
}

/// The three kinds of failure, each in its own words (RFC 5530 §3).
fn refusal(failure: Failure) -> Fail {
    match failure {
        Failure::Wrong => Fail::no(Code::AuthenticationFailed, "Wrong user name or password"),
        // The password may well be right, and setting a new one is no remedy.
        Failure::Binding(why) => {
            Fail::no(Code::AuthenticationFailed, format!("Channel binding failed: {why}"))
        }
        Failure::Unavailable(why) => Fail::unavailable(why),
        Failure::Malformed(text) => Fail::bad(format!("Authentication exchange: {text}")),
        Failure::NotAllowed(why) => {
            let code = match &why {
                Why::Disabled => Code::ContactAdmin,
                Why::Expired => Code::Expired,
                Why::Locked | Why::TooManySessions => Code::Limit,
                Why::NeedsTls => Code::PrivacyRequired,
                _ => Code::AuthorizationFailed,
            };
            Fail::no(code, format!("Not allowed: {why}"))
        }
    }
}
