//! Limits of an account, and how much of them is used.

use crate::account::Account;
use crate::error::AccountError;
use crate::error::DeliverError;

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
        self.state.usage()
    }

    pub async fn set_quota(&self, quota: Quota) -> Result<(), AccountError> {
        self.state.change_row(|row| row.quota = quota).await
    }

    /// For whoever is about to add so much. Concurrent deliveries may pass the limit together by their own size.
    pub(crate) async fn check_quota(&self, messages: u64, bytes: u64) -> Result<(), DeliverError> {
        self.state.refresh_usage().await?;
        if self.usage().would_exceed(messages, bytes) {
            self.state.core.figures.over_quota.one();
            return Err(DeliverError::OverQuota);
        }
        Ok(())
    }
}
