//! AUTH: an exchange of `waypost-sasl` between the session and the directory.
//!
//! Law: wrong credentials, good credentials that are not enough, and not being able to tell have different replies.

use super::driver::Conn;
use super::{bindings, line_between};
use waypost_base::explain::Step as LegStep;
use waypost_directory::Protocol;
use waypost_directory::signin::Asking;
use waypost_sasl::{Exchange, Failure, Mechanism, Step, Why};
use waypost_smtp::{Answer, AuthStep, Reply, Status};

const WRONG: Reply = Reply::new(535, Status(5, 7, 8), "Authentication credentials invalid");
const UNAVAILABLE: Reply =
    Reply::new(454, Status(4, 7, 0), "Authentication is unavailable now, please try again later");

impl Conn {
    pub(super) async fn auth(&mut self, step: AuthStep) -> Answer {
        let begun = tokio::time::Instant::now();
        let first = match step {
            AuthStep::Start { mechanism, initial } => match self.begin_exchange(mechanism) {
                Ok(mut exchange) => {
                    let step = exchange.begin(initial.as_deref());
                    self.exchange = Some(exchange);
                    step
                }
                Err(failure) => Step::Failed(failure),
            },
            AuthStep::Next(response) => match &mut self.exchange {
                Some(exchange) => exchange.step(&response),
                None => Step::Failed(Failure::Malformed("no exchange is open")),
            },
        };
        let answer = self.conclude(first).await;
        self.auth_micros += crate::deliver::micros(begun);
        if let Answer::SignedIn(_) = &answer {
            let micros = std::mem::take(&mut self.auth_micros);
            self.steps.push(LegStep { name: "auth".into(), micros, note: Some(self.mechanism.to_owned()) });
        }
        answer
    }

    fn begin_exchange(&mut self, mechanism: &'static str) -> Result<Exchange, Failure> {
        self.exchange = None;
        self.auth_micros = 0;
        self.mechanism = mechanism;
        let chosen = Mechanism::parse(mechanism.as_bytes()).ok_or(Failure::Malformed("mechanism"))?;
        let bindings = self.tls.as_ref().map(bindings).unwrap_or_default();
        let mut setup = self.service.hub.sign_in.setup(bindings).map_err(Failure::Unavailable)?;
        let line = line_between(self.tls.as_ref(), self.peer.ip(), self.local.ip());
        let offered = self.settings.terms.offered(&line, self.service.hub.sign_in.abilities());
        setup.plus_offered = offered.iter().any(|m| m.binds_channel());
        setup.tls = line.tls;
        setup.protection = self.settings.terms.protection;
        setup.certificate = self.tls.as_ref().and_then(|tls| tls.client.clone());
        Exchange::start(chosen, setup).map_err(|_| Failure::Malformed("nothing to bind to"))
    }

    async fn conclude(&mut self, mut step: Step) -> Answer {
        let asking = Asking { protocol: Protocol::Submission, peer: self.peer.ip() };
        loop {
            match step {
                Step::Challenge(bytes) => return Answer::Challenge(bytes),
                Step::Ask(question) => {
                    let answer = self.service.hub.sign_in.answer(question, &asking).await;
                    step = match &mut self.exchange {
                        Some(exchange) => exchange.answer(answer),
                        None => Step::Failed(Failure::Malformed("no exchange is open")),
                    };
                }
                Step::Done(identity) => {
                    self.exchange = None;
                    if let Some(answer) = self.hand_over_to_home(&identity).await {
                        return answer;
                    }
                    self.service.hub.metrics.sign_ins.one();
                    let name = identity.address.clone();
                    self.info(&format!("signed in as {name} by {}", self.mechanism));
                    self.identity = Some(identity);
                    return Answer::SignedIn(name);
                }
                Step::Failed(failure) => {
                    self.exchange = None;
                    return Answer::Refuse(self.not_signed_in(&failure));
                }
            }
        }
    }

    pub(super) fn not_signed_in(&mut self, failure: &Failure) -> Reply {
        let metrics = &self.service.hub.metrics;
        let (counter, note, reply) = match failure {
            Failure::Wrong => (&metrics.sign_in_wrong, "wrong credentials".to_owned(), WRONG),
            // Somebody between us, or a kind of binding that we do not have: the password may well be right.
            Failure::Binding(what) => {
                let reply = Reply::with(535, Status(5, 7, 0), format!("Channel binding failed: {what}"));
                (&metrics.sign_in_not_allowed, format!("channel binding: {what}"), reply)
            }
            Failure::NotAllowed(why) => {
                let reply = match why {
                    Why::NeedsTls => {
                        Reply::new(538, Status(5, 7, 11), "Encryption required, use STARTTLS first")
                    }
                    // Nothing was looked at, so nothing is said of the credentials.
                    Why::Locked => {
                        Reply::new(454, Status(4, 7, 0), "Too many failed attempts, try again later")
                    }
                    why => Reply::with(535, Status(5, 7, 1), format!("Signing in is not allowed: {why}")),
                };
                (&metrics.sign_in_not_allowed, format!("not allowed: {why}"), reply)
            }
            Failure::Unavailable(text) => {
                (&metrics.sign_in_unavailable, format!("unavailable: {text}"), UNAVAILABLE)
            }
            Failure::Malformed(what) => {
                let reply = Reply::new(501, Status(5, 5, 2), "Malformed authentication data");
                (&metrics.sign_in_wrong, format!("malformed: {what}"), reply)
            }
        };
        counter.one();
        self.info(&format!("sign-in failed, {note}"));
        reply
    }
}
