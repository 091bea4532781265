//! The exclusive lock of RFC 1939 §3: one POP3 session per account. IMAP and deliveries go on beside it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use waypost_base::AccountId;

#[derive(Clone, Debug, Default)]
pub struct Locks(Arc<Mutex<BTreeSet<AccountId>>>);

/// Holds the lock until dropped.
#[derive(Debug)]
pub struct Lock {
    account: AccountId,
    locks: Locks,
}

impl Locks {
    /// `None` where another session has it.
    pub fn try_lock(&self, account: AccountId) -> Option<Lock> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(account).then(|| Lock { account, locks: self.clone() })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.locks.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let locks = Locks::default();
        let one = locks.try_lock(AccountId(1)).unwrap();
        assert!(locks.try_lock(AccountId(1)).is_none());
        assert!(locks.try_lock(AccountId(2)).is_some());
        drop(one);
        assert!(locks.try_lock(AccountId(1)).is_some());
    }
}
