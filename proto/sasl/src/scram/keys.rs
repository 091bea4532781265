//! What a server keeps of a password for SCRAM, and the arithmetic of RFC 5802 §3.

use crate::limits::SCRAM_ROUNDS_MAX;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use std::fmt;
use std::num::NonZeroU32;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The hash under a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Hash {
    /// For clients that know nothing better.
    Sha1,
    Sha256,
}

impl Hash {
    /// The mechanism's name, which is also the scheme of RFC 5803.
    pub const fn scheme(self) -> &'static str {
        match self {
            Hash::Sha1 => "SCRAM-SHA-1",
            Hash::Sha256 => "SCRAM-SHA-256",
        }
    }

    /// Bytes of a key.
    pub const fn bytes(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, data).as_ref().to_vec()
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Zeroizing<Vec<u8>> {
        let algorithm = match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
        };
        Zeroizing::new(hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec())
    }

    /// `SaltedPassword := Hi(Normalize(password), salt, i)`; the password is prepared already.
    pub(crate) fn salted(self, prepared: &Secret, salt: &[u8], rounds: NonZeroU32) -> Zeroizing<Vec<u8>> {
        let algorithm = match self {
            Hash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        };
        let mut out = Zeroizing::new(vec![0; self.bytes()]);
        pbkdf2::derive(algorithm, rounds, salt, prepared.expose(), &mut out);
        out
    }

    pub(crate) fn client_key(self, salted: &[u8]) -> Zeroizing<Vec<u8>> {
        self.hmac(salted, b"Client Key")
    }

    pub(crate) fn server_key(self, salted: &[u8]) -> Zeroizing<Vec<u8>> {
        self.hmac(salted, b"Server Key")
    }

    pub(crate) fn stored_key(self, client_key: &[u8]) -> Vec<u8> {
        self.digest(client_key)
    }

    /// `ClientProof := ClientKey XOR HMAC(StoredKey, AuthMessage)`.
    pub(crate) fn proof(self, client_key: &[u8], stored_key: &[u8], auth_message: &[u8]) -> Vec<u8> {
        let signature = self.hmac(stored_key, auth_message);
        client_key.iter().zip(signature.iter()).map(|(a, b)| a ^ b).collect()
    }

    pub(crate) fn server_signature(self, server_key: &[u8], auth_message: &[u8]) -> Vec<u8> {
        self.hmac(server_key, auth_message).to_vec()
    }
}

/// What the directory keeps instead of the password (RFC 5802 §2.2, RFC 5803).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub hash: Hash,
    pub salt: Vec<u8>,
    pub rounds: u32,
    pub stored_key: Secret,
    pub server_key: Secret,
}

/// Stored keys that cannot be read, or that nobody should make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysError;

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not SCRAM keys of a kind that is known here")
    }
}

impl std::error::Error for KeysError {}

impl ScramKeys {
    /// Makes the keys of SCRAM-SHA-256 from a password, which is prepared here ([`crate::prep::password`]). `rounds` is taken as at least 1.
    pub fn derive(password: &str, salt: &[u8], rounds: u32) -> ScramKeys {
        ScramKeys::derive_with(Hash::Sha256, &crate::prep::password(password), salt, rounds)
    }

    /// The same from a prepared password, for any hash.
    pub fn derive_with(hash: Hash, prepared: &Secret, salt: &[u8], rounds: u32) -> ScramKeys {
        let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
        let salted = hash.salted(prepared, salt, rounds);
        let stored = hash.stored_key(&hash.client_key(&salted));
        ScramKeys {
            hash,
            salt: salt.to_vec(),
            rounds: rounds.get(),
            stored_key: Secret::new(stored),
            server_key: Secret::new(hash.server_key(&salted).to_vec()),
        }
    }

    /// Is this (prepared) password the one the keys were made from? Takes as long as making them.
    pub fn fits(&self, prepared: &Secret) -> bool {
        let other = ScramKeys::derive_with(self.hash, prepared, &self.salt, self.rounds);
        other.stored_key == self.stored_key
    }

    /// Checks a client's proof in constant time.
    pub(crate) fn proved(&self, proof: &[u8], auth_message: &[u8]) -> bool {
        if proof.len() != self.hash.bytes() {
            return false;
        }
        // Undoing the XOR gives the client's key, whose hash is what we keep.
        let key = Zeroizing::new(self.hash.proof(proof, self.stored_key.expose(), auth_message));
        self.hash.stored_key(&key).ct_eq(self.stored_key.expose()).into()
    }

    pub(crate) fn signature(&self, auth_message: &[u8]) -> Vec<u8> {
        self.hash.server_signature(self.server_key.expose(), auth_message)
    }

    /// Keys for a user who does not exist: always the same salt for the same name, and keys that nothing fits.
    pub fn invented(hash: Hash, authcid: &str, disguise: &[u8; 32], rounds: u32) -> ScramKeys {
        let key = hmac::Key::new(hmac::HMAC_SHA256, disguise);
        let make = |what: &[u8]| {
            let mut context = hmac::Context::with_key(&key);
            context.update(what);
            context.update(authcid.as_bytes());
            context.sign().as_ref().to_vec()
        };
        let cut = |mut bytes: Vec<u8>, len: usize| {
            bytes.truncate(len);
            bytes
        };
        ScramKeys {
            hash,
            salt: cut(make(b"salt\0"), crate::limits::SALT_BYTES),
            rounds,
            stored_key: Secret::new(cut(make(b"stored\0"), hash.bytes())),
            server_key: Secret::new(cut(make(b"server\0"), hash.bytes())),
        }
    }

    /// As text for storing: `SCRAM-SHA-256$<rounds>:<salt>$<StoredKey>:<ServerKey>` (RFC 5803 §2.2).
    pub fn to_text(&self) -> Secret {
        Secret::from(format!(
            "{}${}:{}${}:{}",
            self.hash.scheme(),
            self.rounds,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key.expose()),
            STANDARD.encode(self.server_key.expose())
        ))
    }

    /// Reads what [`ScramKeys::to_text`] writes, and what PostgreSQL, Dovecot and others store in the same form.
    pub fn parse(text: &str) -> Result<ScramKeys, KeysError> {
        let mut parts = text.split('$');
        let (Some(scheme), Some(made), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(KeysError);
        };
        let hash = [Hash::Sha256, Hash::Sha1].into_iter().find(|h| h.scheme() == scheme).ok_or(KeysError)?;
        let (rounds, salt) = made.split_once(':').ok_or(KeysError)?;
        let (stored, server) = keys.split_once(':').ok_or(KeysError)?;
        let rounds: u32 = rounds.parse().map_err(|_| KeysError)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| KeysError);
        let (salt, stored, server) = (decode(salt)?, decode(stored)?, decode(server)?);
        let sound = (1..=SCRAM_ROUNDS_MAX).contains(&rounds)
            && !salt.is_empty()
            && stored.len() == hash.bytes()
            && server.len() == hash.bytes();
        if !sound {
            return Err(KeysError);
        }
        Ok(ScramKeys { hash, salt, rounds, stored_key: Secret::new(stored), server_key: Secret::new(server) })
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys")
            .field("hash", &self.hash)
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip() {
        let keys = ScramKeys::derive("pencil", b"0123456789abcdef", 4096);
        let text = keys.to_text();
        let text = text.expose_str().unwrap();
        assert!(text.starts_with("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"));
        assert_eq!(ScramKeys::parse(text).unwrap(), keys);
        assert!(keys.fits(&Secret::from("pencil")));
        assert!(!keys.fits(&Secret::from("pencils")));
        assert_eq!(format!("{keys:?}"), "ScramKeys { hash: Sha256, rounds: 4096, .. }");
    }

    #[test]
    fn refuses_bad_text() {
        let good = ScramKeys::derive("p", b"salt", 1).to_text();
        let good = good.expose_str().unwrap();
        for bad in ["", "$$", "SCRAM-SHA-256$1:$:", "SCRAM-SHA-512$1:AA==$AA==:AA==", &format!("{good}$")] {
            assert_eq!(ScramKeys::parse(bad), Err(KeysError), "{bad}");
        }
        assert_eq!(ScramKeys::parse(&good.replace("$1:", "$0:")), Err(KeysError));
    }

    #[test]
    fn invented_keys_are_stable_and_differ_by_name() {
        let a = ScramKeys::invented(Hash::Sha256, "a", &[1; 32], 4096);
        assert_eq!(a, ScramKeys::invented(Hash::Sha256, "a", &[1; 32], 4096));
        assert_ne!(a.salt, ScramKeys::invented(Hash::Sha256, "b", &[1; 32], 4096).salt);
        assert_ne!(a.salt, ScramKeys::invented(Hash::Sha256, "a", &[2; 32], 4096).salt);
    }
}
