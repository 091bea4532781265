//! The client's side, for probes, the quickstart, the front end's own legs, and tests.

use crate::binding::Bindings;
use crate::exchange::NotOffered;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::mechanism::Mechanism;
use crate::prep;
use crate::scram::{Hash, Salted, ScramClient};
use crate::secret::Secret;

/// Who signs in, as whom, with what.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub authzid: Option<String>,
    pub authcid: String,
    /// Prepared by [`Credentials::new`].
    pub password: Secret,
}

impl Credentials {
    pub fn new(user: &str, password: &str) -> Credentials {
        Credentials { authzid: None, authcid: user.to_owned(), password: prep::password(password) }
    }

    /// The same, acting as somebody else.
    pub fn acting_as(self, user: &str) -> Credentials {
        Credentials { authzid: Some(user.to_owned()), ..self }
    }
}

/// Why the client stops. It should cancel with `*` and close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The server broke the grammar.
    Malformed(&'static str),
    /// The server refused inside the mechanism, with this name of an error (RFC 5802 §7).
    Refused(String),
    /// The server does not know the keys: it is not the one that we think.
    ServerNotProved,
    /// A challenge after the end.
    OutOfTurn,
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ClientError::Malformed(why) => write!(f, "malformed challenge: {why}"),
            ClientError::Refused(error) => write!(f, "refused: {error}"),
            ClientError::ServerNotProved => f.write_str("the server did not prove itself"),
            ClientError::OutOfTurn => f.write_str("challenge out of turn"),
        }
    }
}

impl std::error::Error for ClientError {}

/// One attempt to sign in. Send [`ClientExchange::initial`] with the command (or as the answer to the first, empty
/// challenge), answer every challenge, and when the server says success ask [`ClientExchange::finished`].
pub struct ClientExchange {
    mechanism: Mechanism,
    state: State,
}

enum State {
    Plain(Credentials),
    /// The second field counts the challenges that were answered.
    Login(Credentials, u8),
    /// The password is not sent: the certificate was.
    External(Credentials),
    /// The password is the token.
    Bearer(Credentials),
    ScramFirst(ScramClient),
    ScramFinal(ScramClient),
    /// The token was sent; a challenge now is why it is refused.
    Bearing,
    Finished,
    Failed,
}

impl ClientExchange {
    /// `nonce` holds fresh random bytes, at least 16. `NotOffered` where -PLUS is wanted and the channel has no binding.
    pub fn start(
        mechanism: Mechanism,
        credentials: Credentials,
        bindings: &Bindings,
        nonce: &[u8],
    ) -> Result<ClientExchange, NotOffered> {
        let state = match mechanism {
            Mechanism::Plain => State::Plain(credentials),
            Mechanism::Login => State::Login(credentials, 0),
            Mechanism::External => State::External(credentials),
            Mechanism::OAuthBearer | Mechanism::XOAuth2 => State::Bearer(credentials),
            // These have clients of their own: a library, and `ntlm::client`.
            Mechanism::Gssapi | Mechanism::GssSpnego | Mechanism::Ntlm => return Err(NotOffered),
            Mechanism::ScramSha256
            | Mechanism::ScramSha256Plus
            | Mechanism::ScramSha1
            | Mechanism::ScramSha1Plus => {
                let plus = mechanism.binds_channel();
                let hash = mechanism.scram().unwrap_or(Hash::Sha256);
                let scram = ScramClient::new(hash, plus, credentials, bindings, nonce);
                State::ScramFirst(scram.ok_or(NotOffered)?)
            }
        };
        Ok(ClientExchange { mechanism, state })
    }

    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The same with what was kept of an earlier exchange ([`ClientExchange::salted`]); of another mechanism or salt it is of no use.
    pub fn recalling(mut self, salted: Option<Salted>) -> ClientExchange {
        if let (State::ScramFirst(scram), Some(salted)) = (&mut self.state, salted) {
            scram.recall(salted);
        }
        self
    }

    /// What may be kept for the next exchange, once the server's challenge was answered.
    pub fn salted(&self) -> Option<Salted> {
        match &self.state {
            State::ScramFirst(scram) | State::ScramFinal(scram) => scram.salted().cloned(),
            _ => None,
        }
    }

    /// The initial response; `None` for LOGIN, where the server speaks first.
    pub fn initial(&mut self) -> Option<Secret> {
        match &self.state {
            State::Plain(c) => {
                let authzid = c.authzid.as_deref().unwrap_or_default();
                let message = Secret::new(
                    [authzid.as_bytes(), b"\0", c.authcid.as_bytes(), b"\0", c.password.expose()].concat(),
                );
                self.state = State::Finished;
                Some(message)
            }
            State::External(c) => {
                let message = Secret::from(c.authzid.as_deref().unwrap_or_default());
                self.state = State::Finished;
                Some(message)
            }
            State::Bearer(c) => {
                let user = c.authzid.as_deref().unwrap_or(&c.authcid);
                let head = match self.mechanism {
                    Mechanism::XOAuth2 => format!("user={user}"),
                    _ => format!("n,a={},", user.replace('=', "=3D").replace(',', "=2C")),
                };
                let message =
                    [head.as_bytes(), b"\x01auth=Bearer ", c.password.expose(), b"\x01\x01"].concat();
                self.state = State::Bearing;
                Some(Secret::new(message))
            }
            State::ScramFirst(scram) => Some(Secret::new(scram.first())),
            _ => None,
        }
    }

    /// The response to a decoded challenge.
    pub fn step(&mut self, challenge: &[u8]) -> Result<Secret, ClientError> {
        if challenge.len() > MESSAGE_BYTES_MAX {
            return Err(ClientError::Malformed("challenge too long"));
        }
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Login(c, 0) => {
                let user = Secret::from(c.authcid.as_str());
                self.state = State::Login(c, 1);
                Ok(user)
            }
            State::Login(c, _) => {
                self.state = State::Finished;
                Ok(c.password)
            }
            State::ScramFirst(mut scram) => {
                let response = scram.answer_first(challenge)?;
                self.state = State::ScramFinal(scram);
                Ok(Secret::new(response))
            }
            State::ScramFinal(mut scram) => {
                scram.check_final(challenge)?;
                self.state = State::Finished;
                Ok(Secret::new(Vec::new()))
            }
            State::Bearing => Err(ClientError::Refused(String::from_utf8_lossy(challenge).into_owned())),
            State::Plain(_) | State::External(_) | State::Bearer(_) | State::Finished | State::Failed => {
                Err(ClientError::OutOfTurn)
            }
        }
    }

    /// True where the server's success can be believed: with SCRAM, only after it has proved itself.
    pub fn finished(&self) -> bool {
        matches!(self.state, State::Finished | State::Bearing)
    }
}

impl std::fmt::Debug for ClientExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientExchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}
