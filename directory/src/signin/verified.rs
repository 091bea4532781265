//! Passwords that were good a moment ago, as keyed hashes under a key that only this process has.
//!
//! The hash covers the credential's number and version: when the password is changed or removed, the entry is dead,
//! because nobody asks for it any more. Entries live for [`VERIFIED_MILLIS`] from the real check, however often used.

use crate::credential::{Credential, random};
use crate::limits::{VERIFIED_MAX, VERIFIED_MILLIS};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use waypost_base::AccountId;
use waypost_base::Timestamp;
use waypost_sasl::Secret;
use zeroize::Zeroizing;

type Digest = [u8; 32];

pub(super) struct Verified {
    /// `None` when there were no random bytes: then nothing is remembered.
    key: Option<Zeroizing<[u8; 32]>>,
    generations: Mutex<Generations>,
}

/// Two halves: when the young one is full it becomes the old one, and the old one is gone.
#[derive(Default)]
struct Generations {
    young: HashMap<Digest, Timestamp>,
    old: HashMap<Digest, Timestamp>,
}

impl Default for Verified {
    fn default() -> Verified {
        Verified { key: random().ok().map(Zeroizing::new), generations: Mutex::default() }
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verified")
    }
}

/// What a password was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    id: u64,
    version: u64,
}

impl Known {
    pub fn of(credential: &Credential) -> Known {
        Known { id: u64::from(credential.id), version: credential.version }
    }

    /// The password of an account that is checked elsewhere, where nobody tells us when it changes.
    pub fn elsewhere(account: AccountId) -> Known {
        Known { id: u64::MAX, version: u64::from(account.0) }
    }
}

impl Verified {
    /// Was this password good for this, lately?
    pub fn knows(&self, known: &Known, password: &Secret, now: Timestamp) -> bool {
        let Some(digest) = self.digest(known, password) else { return false };
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        // A lookup by keyed hash: its timing tells nothing that helps, since nobody can aim at a digest.
        let at = generations.young.get(&digest).or_else(|| generations.old.get(&digest));
        at.is_some_and(|at| (0..=VERIFIED_MILLIS).contains(&now.since(*at)))
    }

    pub fn remember(&self, known: &Known, password: &Secret, now: Timestamp) {
        let Some(digest) = self.digest(known, password) else { return };
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= VERIFIED_MAX / 2 {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(digest, now);
    }

    fn digest(&self, known: &Known, password: &Secret) -> Option<Digest> {
        let mut hasher = blake3::Hasher::new_keyed(self.key.as_deref()?);
        hasher.update(&known.id.to_be_bytes());
        hasher.update(&known.version.to_be_bytes());
        hasher.update(password.expose());
        Some(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::CredentialKind;

    #[test]
    fn remembers_for_a_while_and_not_across_versions() {
        let verified = Verified::default();
        let kind = CredentialKind::Main { argon2: String::new(), scram: None, scram1: None, nt: None };
        let mut credential = Credential { id: 7, version: 1, kind, created: Timestamp(0) };
        let (good, bad) = (Secret::from("swordfish"), Secret::from("swordfisH"));
        verified.remember(&Known::of(&credential), &good, Timestamp(1000));
        assert!(verified.knows(&Known::of(&credential), &good, Timestamp(2000)));
        assert!(!verified.knows(&Known::of(&credential), &bad, Timestamp(2000)));
        assert!(!verified.knows(&Known::of(&credential), &good, Timestamp(1001 + VERIFIED_MILLIS)));
        assert!(!verified.knows(&Known::of(&credential), &good, Timestamp(999)));
        credential.version = 2;
        assert!(!verified.knows(&Known::of(&credential), &good, Timestamp(2000)));
    }
}
