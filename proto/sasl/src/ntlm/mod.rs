//! NTLM (MS-NLMP), the server's side, in its version 2 only.
//!
//! `NEGOTIATE → CHALLENGE → AUTHENTICATE`. We make the challenge and read the messages; whether the response fits is asked
//! ([`NtlmAsk`]), and the answer is the session base key, by which the message's integrity code is checked here. Channel
//! bindings stand among the pairs that the proof covers. No signing or sealing is ever agreed to: TLS is the layer.
//!
//! Where the user's NT hash is at hand, [`verify`] answers the question.

pub mod client;
mod crypto;
mod message;
#[cfg(test)]
mod tests;

use crate::exchange::{
    Answer, Failure, NtlmAsk, Protection, Question, ServerMechanism, Setup, Step, Why, conclude, failure,
};
use crate::gss::application_data;
use crate::secret::Secret;
use message::{Authenticate, Facts, Response};
use subtle::ConstantTimeEq;

pub(crate) struct Ntlm {
    setup: Setup,
    state: State,
}

enum State {
    WantNegotiate,
    WantAuthenticate { negotiate: Vec<u8>, challenge: Vec<u8>, agreed: u32 },
    WantKey(Box<Proving>),
    WantAccount,
    Over,
}

/// What has to be looked at once the key is known.
struct Proving {
    /// The three messages, with zeros in place of the code; and the code.
    messages: Vec<u8>,
    mic: Option<[u8; 16]>,
    encrypted_key: Option<Vec<u8>>,
    name: String,
}

impl Ntlm {
    pub(crate) fn new(setup: Setup) -> Ntlm {
        Ntlm { setup, state: State::WantNegotiate }
    }

    /// Eight of the random octets, of which no other use is made in this mechanism.
    fn server_challenge(&self) -> [u8; 8] {
        self.setup.nonce.first_chunk().copied().unwrap_or_default()
    }

    fn negotiated(&mut self, negotiate: &[u8]) -> Result<Step, Failure> {
        let asked = message::negotiate(negotiate).map_err(Failure::Malformed)?;
        let challenge = self.server_challenge();
        let (agreed, challenge) = message::challenge(asked, &challenge, &self.setup.host, self.setup.now);
        let negotiate = negotiate.to_vec();
        self.state = State::WantAuthenticate { negotiate, challenge: challenge.clone(), agreed };
        Ok(Step::Challenge(challenge))
    }

    fn authenticate(
        &mut self,
        negotiate: &[u8],
        challenge: &[u8],
        agreed: u32,
        authenticate: &[u8],
    ) -> Result<Step, Failure> {
        let read = message::authenticate(authenticate, agreed).map_err(Failure::Malformed)?;
        let Authenticate { user, domain, response, key, flags } = read;
        if user.is_empty() {
            return Err(Failure::Malformed("anonymous sign-ins are none"));
        }
        let Response::Version2 { proof, blob, facts } = response else {
            return Err(Failure::NotAllowed(Why::Other(
                "NTLM version 1 is not accepted; let the client send version 2 (LmCompatibilityLevel 3 or more)".into(),
            )));
        };
        self.check_binding(&facts)?;
        let mut covered = authenticate.to_vec();
        let mic = match covered.get_mut(message::MIC).filter(|_| facts.mic) {
            Some(place) => {
                let mic = <[u8; 16]>::try_from(&*place).ok();
                place.fill(0);
                mic
            }
            None if facts.mic => return Err(Failure::Malformed("message is cut off")),
            None => None,
        };
        let ask = NtlmAsk { user, domain, challenge: self.server_challenge(), proof, blob };
        let exchanged = flags & agreed & message::flag::KEY_EXCHANGE != 0 && key.len() == 16;
        self.state = State::WantKey(Box::new(Proving {
            messages: [negotiate, challenge, &covered].concat(),
            mic,
            encrypted_key: exchanged.then_some(key),
            name: ask.name(),
        }));
        Ok(Step::Ask(Question::Ntlm(ask)))
    }

    /// The pairs are looked at before the proof that covers them: what they say can only make things worse.
    fn check_binding(&self, facts: &Facts) -> Result<(), Failure> {
        let ours = self.setup.bindings.end_point.as_deref().map(channel_hash);
        match (self.setup.protection, facts.binding, ours) {
            (Protection::None, _, _) | (Protection::Allow, None, _) | (Protection::Allow, _, None) => Ok(()),
            (_, Some(theirs), Some(ours)) if bool::from(theirs.ct_eq(&ours)) => Ok(()),
            (_, Some(_), _) => Err(Failure::Binding("the client is at the end of another channel")),
            (Protection::Require, None, _) => {
                Err(Failure::Binding("the client sent no channel binding, which is required here"))
            }
        }
    }
}

impl Proving {
    /// MS-NLMP §3.2.5.1.2: the code is made by the key that the client chose, or by the session base key.
    fn whole(&self, base: &Secret) -> bool {
        let Some(mic) = self.mic else { return true };
        let exported = match &self.encrypted_key {
            Some(key) => Secret::new(crypto::rc4(base.expose(), key)),
            None => base.clone(),
        };
        crypto::hmac_md5(exported.expose(), &self.messages).ct_eq(&mic).into()
    }
}

impl ServerMechanism for Ntlm {
    fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(message) if !message.is_empty() => self.step(message),
            _ => Step::Challenge(Vec::new()),
        }
    }

    fn step(&mut self, response: &[u8]) -> Step {
        let step = match std::mem::replace(&mut self.state, State::Over) {
            State::WantNegotiate => self.negotiated(response),
            State::WantAuthenticate { negotiate, challenge, agreed } => {
                self.authenticate(&negotiate, &challenge, agreed, response)
            }
            _ => Err(Failure::Malformed("out of turn")),
        };
        step.unwrap_or_else(Step::Failed)
    }

    fn answer(&mut self, answer: Answer) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), answer) {
            (State::WantKey(proving), Answer::Ntlm(base)) => {
                if !proving.whole(&base) {
                    return Step::Failed(Failure::Binding("the messages of NTLM were altered on their way"));
                }
                self.state = State::WantAccount;
                Step::Ask(Question::Authorize { authzid: None, authcid: crate::prep::name(&proving.name) })
            }
            (State::WantAccount, answer) => conclude(answer),
            (_, answer) => Step::Failed(failure(answer)),
        }
    }
}

/// MD5 of gss_channel_bindings_struct (RFC 2744 §3.11): no addresses, and the application's data with its length.
fn channel_hash(end_point: &[u8]) -> [u8; 16] {
    let data = application_data(end_point);
    let mut bytes = vec![0; 16];
    bytes.extend_from_slice(&(data.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&data);
    crypto::md5(&bytes)
}

/// NTOWFv1, the "NT hash": what NTLM keeps of a (prepared) password. Whoever has it can sign in by NTLM as that user.
pub fn nt_hash(prepared: &Secret) -> Secret {
    let text = prepared.expose_str().unwrap_or_default();
    let bytes = Secret::new(message::utf16(text));
    Secret::new(crypto::md4(bytes.expose()).to_vec())
}

/// Does the response fit this NT hash? The session base key, where it does (MS-NLMP §3.3.2). In constant time.
pub fn verify(nt_hash: &Secret, ask: &NtlmAsk) -> Option<Secret> {
    let name = format!("{}{}", ask.user.to_uppercase(), ask.domain);
    let key = Secret::new(crypto::hmac_md5(nt_hash.expose(), &message::utf16(&name)).to_vec());
    let data = [ask.challenge.as_slice(), &ask.blob].concat();
    let proof = crypto::hmac_md5(key.expose(), &data);
    let fits: bool = proof.ct_eq(&ask.proof).into();
    fits.then(|| Secret::new(crypto::hmac_md5(key.expose(), &proof).to_vec()))
}
