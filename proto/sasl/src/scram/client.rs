//! The client's side of SCRAM (RFC 5802 §5).

use super::keys::Hash;
use super::message;
use crate::binding::Bindings;
use crate::client::{ClientError, Credentials};
use crate::limits::{SCRAM_ROUNDS_MAX, SCRAM_ROUNDS_MIN};
use crate::prep;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::num::NonZeroU32;
use subtle::ConstantTimeEq;

/// A password after its many rounds, which a client may keep as long as the server's salt stays the same: RFC 5802 §5.1 allows
/// it, and a sign-in then costs microseconds. It is as good as the password for this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salted {
    hash: Hash,
    salt: Vec<u8>,
    rounds: NonZeroU32,
    salted: Secret,
}

/// `client-first → server-first → client-final → server-final (checked)`.
pub(crate) struct ScramClient {
    hash: Hash,
    credentials: Credentials,
    gs2_header: String,
    /// The channel's data with -PLUS, else empty.
    channel: Vec<u8>,
    nonce: String,
    /// The server's signature that has to come.
    expected: Option<Vec<u8>>,
    /// What is known of an earlier exchange, or of this one.
    salted: Option<Salted>,
}

impl ScramClient {
    /// `None` where -PLUS is wanted and the channel has no binding.
    pub(crate) fn new(
        hash: Hash,
        plus: bool,
        credentials: Credentials,
        bindings: &Bindings,
        nonce: &[u8],
    ) -> Option<ScramClient> {
        let (flag, channel) = if plus {
            let kind = bindings.best()?;
            (format!("p={}", kind.name()), bindings.data(kind)?.to_vec())
        } else {
            // `n` and not `y`: whoever uses this type chose the mechanism, so nothing is known of what was offered.
            ("n".to_owned(), Vec::new())
        };
        let authzid =
            credentials.authzid.as_deref().map(|a| format!("a={}", message::escape(a))).unwrap_or_default();
        let gs2_header = format!("{flag},{authzid},");
        let nonce = STANDARD.encode(nonce);
        Some(ScramClient { hash, credentials, gs2_header, channel, nonce, expected: None, salted: None })
    }

    pub(crate) fn recall(&mut self, salted: Salted) {
        self.salted = Some(salted);
    }

    pub(crate) fn salted(&self) -> Option<&Salted> {
        self.salted.as_ref()
    }

    fn salted_for(&mut self, salt: &[u8], rounds: NonZeroU32) -> Secret {
        if let Some(known) = &self.salted
            && (known.hash, known.salt.as_slice(), known.rounds) == (self.hash, salt, rounds)
        {
            return known.salted.clone();
        }
        let salted = Secret::new(self.hash.salted(&self.credentials.password, salt, rounds).to_vec());
        self.salted = Some(Salted { hash: self.hash, salt: salt.to_vec(), rounds, salted: salted.clone() });
        salted
    }

    fn bare(&self) -> String {
        let user = message::escape(&prep::name(&self.credentials.authcid));
        format!("n={user},r={}", self.nonce)
    }

    pub(crate) fn first(&self) -> Vec<u8> {
        format!("{}{}", self.gs2_header, self.bare()).into_bytes()
    }

    pub(crate) fn answer_first(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ClientError> {
        let server = message::server_first(challenge).map_err(ClientError::Malformed)?;
        if !server.nonce.starts_with(&self.nonce) || server.nonce.len() == self.nonce.len() {
            return Err(ClientError::Malformed("wrong nonce"));
        }
        let rounds = NonZeroU32::new(server.rounds)
            .filter(|r| (SCRAM_ROUNDS_MIN..=SCRAM_ROUNDS_MAX).contains(&r.get()))
            .ok_or(ClientError::Malformed("iteration count outside of what is accepted"))?;
        let first = std::str::from_utf8(challenge).map_err(|_| ClientError::Malformed("not UTF-8"))?;
        let binding = [self.gs2_header.as_bytes(), &self.channel].concat();
        let without_proof = format!("c={},r={}", STANDARD.encode(binding), server.nonce);
        let auth_message = format!("{},{first},{without_proof}", self.bare());
        let salted = self.salted_for(&server.salt, rounds);
        let client_key = self.hash.client_key(salted.expose());
        let stored_key = self.hash.stored_key(&client_key);
        let proof = self.hash.proof(&client_key, &stored_key, auth_message.as_bytes());
        let server_key = self.hash.server_key(salted.expose());
        self.expected = Some(self.hash.server_signature(&server_key, auth_message.as_bytes()));
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes())
    }

    /// Checks that the server knows the keys too.
    pub(crate) fn check_final(&mut self, challenge: &[u8]) -> Result<(), ClientError> {
        match message::server_final(challenge).map_err(ClientError::Malformed)? {
            Err(error) => Err(ClientError::Refused(error)),
            Ok(signature) => match self.expected.take() {
                Some(expected) if bool::from(expected.ct_eq(&signature)) => Ok(()),
                _ => Err(ClientError::ServerNotProved),
            },
        }
    }
}
