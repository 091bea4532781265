//! From the greeting to the first message: EHLO or its elders, STARTTLS, AUTH.

use super::Extensions;
use super::limits;
use super::session::{Client, Expect, Phase};
use super::types::{Fault, Out, Stage, StartTls, Why};
use crate::reply::Reply;
use crate::types::Flavour;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

impl Client {
    /// EHLO, or LHLO.
    pub(super) fn hello(&mut self) {
        let verb = if self.config.flavour == Flavour::Lmtp { "LHLO" } else { "EHLO" };
        let line = format!("{verb} {}", self.config.host);
        self.say(&line, Expect::Ehlo);
    }

    pub(super) fn hello_reply(&mut self, expect: Expect, reply: Reply) {
        match expect {
            Expect::Greeting if reply.is_positive() => self.hello(),
            Expect::Ehlo if reply.is_positive() => {
                self.extensions = Extensions::parse(&reply.text, true);
                self.after_hello();
            }
            Expect::Ehlo if matches!(reply.code, 500 | 501 | 502 | 504) => self.elder(reply),
            Expect::Helo if reply.is_positive() => {
                self.extensions = Extensions::parse(&reply.text, false);
                self.after_hello();
            }
            Expect::StartTls if reply.is_positive() => {
                self.phase = Phase::Handshake;
                self.push(Out::StartTls);
            }
            Expect::StartTls if self.config.starttls != StartTls::Required => self.sign_in(),
            Expect::Plain(_) | Expect::Login | Expect::LoginUser | Expect::Secret => {
                self.auth_reply(expect, reply)
            }
            _ => self.fail(expect.stage(), Why::Refused(reply)),
        }
    }

    /// A server that does not know EHLO (RFC 5321 §3.2).
    fn elder(&mut self, reply: Reply) {
        if self.config.flavour == Flavour::Lmtp {
            self.fail(Stage::Hello, Why::Refused(reply));
            return;
        }
        let line = format!("HELO {}", self.config.host);
        self.say(&line, Expect::Helo);
    }

    fn after_hello(&mut self) {
        match self.config.starttls {
            StartTls::Required if !self.tls && !self.extensions.starttls => {
                self.fail(Stage::StartTls, Why::Lacks("STARTTLS"));
            }
            StartTls::IfOffered | StartTls::Required if !self.tls && self.extensions.starttls => {
                self.say("STARTTLS", Expect::StartTls);
            }
            _ => self.sign_in(),
        }
    }

    /// AUTH, where there is something to sign in with.
    fn sign_in(&mut self) {
        let config = self.config.clone();
        let Some(credentials) = config.credentials.as_ref().filter(|_| !self.signed_in) else {
            self.ready();
            return;
        };
        let offered = |name: &str| self.extensions.auth.iter().any(|known| known == name);
        if !self.tls && !config.auth_in_clear {
            self.fail(Stage::Auth, Why::Lacks("TLS, without which we do not sign in"));
        } else if offered("PLAIN") {
            let token = plain(&credentials.user, &credentials.password);
            if token.len() > limits::AUTH_LINE - 16 {
                self.fail(Stage::Auth, Why::Fault(Fault::Source("the credentials are too long".to_owned())));
                return;
            }
            self.say_secret(&format!("AUTH PLAIN {token}"), "AUTH PLAIN ***", Expect::Plain(false));
        } else if offered("LOGIN") {
            self.say("AUTH LOGIN", Expect::Login);
        } else {
            self.fail(Stage::Auth, Why::Lacks("AUTH with PLAIN or LOGIN"));
        }
    }

    fn auth_reply(&mut self, expect: Expect, reply: Reply) {
        let config = self.config.clone();
        let Some(credentials) = &config.credentials else { return };
        match (expect, reply.code) {
            (Expect::Plain(_) | Expect::Secret, 200..300) => {
                self.signed_in = true;
                self.ready();
            }
            // It did not look at what came with the command.
            (Expect::Plain(false), 334) => {
                self.say_secret(&plain(&credentials.user, &credentials.password), "***", Expect::Plain(true));
            }
            (Expect::Login, 334) => {
                self.say_secret(&STANDARD.encode(&credentials.user), "***", Expect::LoginUser);
            }
            (Expect::LoginUser, 334) => {
                self.say_secret(&STANDARD.encode(&credentials.password), "***", Expect::Secret);
            }
            (_, 400..) => self.fail(Stage::Auth, Why::Refused(reply)),
            (_, code) => {
                self.broken_at(Stage::Auth, Fault::Protocol(format!("{code} in the middle of a sign-in")));
            }
        }
    }

    fn ready(&mut self) {
        self.phase = Phase::Idle;
        self.push(Out::Ready);
    }
}

/// RFC 4616.
fn plain(user: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{password}"))
}
