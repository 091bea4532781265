//! Limits of an account, and how much of them is used.

use crate::account::Account;
use crate::error::AccountError;

/// None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes from which on nothing is taken any more (Exchange: ProhibitSendReceiveQuota).
    pub prohibit_bytes: Option<u64>,
    /// Bytes from which on the owner is warned (Exchange: IssueWarningQuota).
    pub warn_bytes: Option<u64>,
    pub messages: Option<u64>,
}

/// From memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all messages in folders; each copy counts, recoverable items do not.
    pub bytes: u64,
    pub messages: u64,
    pub quota: Quota,
}

impl Usage {
    /// Whether `messages` more with `bytes` together would go over the limit.
    pub fn would_exceed(&self, messages: u64, bytes: u64) -> bool {
        self.quota.prohibit_bytes.is_some_and(|limit| self.bytes.saturating_add(bytes) > limit)
            || self.quota.messages.is_some_and(|limit| self.messages.saturating_add(messages) > limit)
    }

    pub fn warn(&self) -> bool {
        self.quota.warn_bytes.is_some_and(|limit| self.bytes >= limit)
    }
}

impl Account {
    /// O(1), from memory.
    pub fn usage(&self) -> Usage {
        todo!()
    }

    pub async fn set_quota(&self, quota: Quota) -> Result<(), AccountError> {
        let _ = quota;
        todo!()
    }
}
