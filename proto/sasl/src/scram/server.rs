//! The server's side of SCRAM (RFC 5802 §5).

use super::keys::{Hash, ScramKeys};
use super::message::{self, Flag};
use crate::binding::BindingType;
use crate::exchange::{Answer, Failure, Identity, Question, ServerMechanism, Setup, Step};
use crate::prep;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// `client-first → keys → server-first → client-final → authorize → server-final → empty response → done`.
///
/// The verifier goes out as a challenge of its own, since none of our protocols carries data with success.
pub(crate) struct ScramServer {
    hash: Hash,
    plus: bool,
    setup: Setup,
    state: State,
}

enum State {
    WantFirst,
    WantKeys(First),
    WantFinal { first: First, keys: ScramKeys, invented: bool, server_first: String },
    WantAuthority { verifier: String },
    WantEmpty { identity: Identity },
    Over,
}

/// What is kept of the client's first message.
struct First {
    authzid: Option<String>,
    authcid: String,
    bare: String,
    /// Client's and server's nonce together.
    nonce: String,
    /// What `c=` has to hold: the gs2 header, and with -PLUS the channel's data.
    binding: Vec<u8>,
}

impl ScramServer {
    pub(crate) fn new(hash: Hash, plus: bool, setup: Setup) -> ScramServer {
        ScramServer { hash, plus, setup, state: State::WantFirst }
    }

    fn first(&mut self, response: &[u8]) -> Result<Step, Failure> {
        let parsed = message::client_first(response).map_err(Failure::Malformed)?;
        let kind = self.check_flag(&parsed.flag)?;
        let mut binding = parsed.gs2_header.as_bytes().to_vec();
        if let Some(kind) = kind {
            let none = Failure::Binding("the client binds by a kind that this channel does not have");
            binding.extend_from_slice(self.setup.bindings.data(kind).ok_or(none)?);
        }
        let first = First {
            authzid: parsed.authzid.as_deref().map(prep::name),
            authcid: prep::name(&parsed.username),
            bare: parsed.bare.to_owned(),
            nonce: format!("{}{}", parsed.nonce, STANDARD.encode(self.setup.nonce)),
            binding,
        };
        let question = Question::ScramKeys { authcid: first.authcid.clone(), hash: self.hash };
        self.state = State::WantKeys(first);
        Ok(Step::Ask(question))
    }

    /// RFC 5802 §6: the flag must agree with the mechanism, and `y` with what we offered.
    fn check_flag(&self, flag: &Flag) -> Result<Option<BindingType>, Failure> {
        match (flag, self.plus) {
            (Flag::Binds(Some(kind)), true) => Ok(Some(*kind)),
            (Flag::Binds(None), true) => Err(Failure::Binding("unknown kind of channel binding")),
            (Flag::Binds(_), false) => Err(Failure::Malformed("channel binding without -PLUS")),
            (_, true) => Err(Failure::Malformed("-PLUS without channel binding")),
            (Flag::Could, false) if self.setup.plus_offered => {
                Err(Failure::Binding("the client was not shown the -PLUS mechanisms that were offered"))
            }
            (Flag::Could | Flag::No, false) => Ok(None),
        }
    }

    fn challenge(&mut self, first: First, keys: ScramKeys, invented: bool) -> Step {
        let server_first = format!("r={},s={},i={}", first.nonce, STANDARD.encode(&keys.salt), keys.rounds);
        let out = server_first.clone().into_bytes();
        self.state = State::WantFinal { first, keys, invented, server_first };
        Step::Challenge(out)
    }

    fn last(
        &mut self,
        response: &[u8],
        first: First,
        keys: &ScramKeys,
        invented: bool,
        server_first: &str,
    ) -> Result<Step, Failure> {
        let last = message::client_final(response).map_err(Failure::Malformed)?;
        if last.nonce != first.nonce {
            return Err(Failure::Malformed("wrong nonce"));
        }
        let auth_message = format!("{},{server_first},{}", first.bare, last.without_proof);
        let proved = keys.proved(&last.proof, auth_message.as_bytes());
        if last.binding != first.binding {
            return Err(Failure::Binding("the client is at the end of another channel"));
        }
        // Invented keys cannot be proved, short of breaking the hash; the rule does not lean on that.
        if !proved || invented {
            return Err(Failure::Wrong);
        }
        let verifier = format!("v={}", STANDARD.encode(keys.signature(auth_message.as_bytes())));
        self.state = State::WantAuthority { verifier };
        Ok(Step::Ask(Question::Authorize { authzid: first.authzid, authcid: first.authcid }))
    }
}

impl ServerMechanism for ScramServer {
    fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(message) => self.step(message),
            None => Step::Challenge(Vec::new()),
        }
    }

    fn step(&mut self, response: &[u8]) -> Step {
        let step = match std::mem::replace(&mut self.state, State::Over) {
            State::WantFirst => self.first(response),
            State::WantFinal { first, keys, invented, server_first } => {
                self.last(response, first, &keys, invented, &server_first)
            }
            State::WantEmpty { identity } if response.is_empty() => Ok(Step::Done(identity)),
            State::WantEmpty { .. } => Err(Failure::Malformed("data after the verifier")),
            State::WantKeys(_) | State::WantAuthority { .. } | State::Over => {
                Err(Failure::Malformed("out of turn"))
            }
        };
        step.unwrap_or_else(Step::Failed)
    }

    fn answer(&mut self, answer: Answer) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), answer) {
            (State::WantKeys(first), Answer::Keys(keys)) if keys.hash == self.hash => {
                self.challenge(first, keys, false)
            }
            (State::WantKeys(first), Answer::Wrong) => {
                let keys =
                    ScramKeys::invented(self.hash, &first.authcid, &self.setup.disguise, self.setup.rounds);
                self.challenge(first, keys, true)
            }
            (State::WantAuthority { verifier }, Answer::Accepted(identity)) => {
                self.state = State::WantEmpty { identity };
                Step::Challenge(verifier.into_bytes())
            }
            (_, Answer::NotAllowed(why)) => Step::Failed(Failure::NotAllowed(why)),
            (_, Answer::Unavailable(text)) => Step::Failed(Failure::Unavailable(text)),
            // Removed between the two questions.
            (State::WantAuthority { .. }, Answer::Wrong) => Step::Failed(Failure::Wrong),
            (_, _) => Step::Failed(Failure::Unavailable("the answer does not fit the question".into())),
        }
    }
}
