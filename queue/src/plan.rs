//! When something is tried again: pure arithmetic over attempts, with a jitter that the caller seeds.

/// Every wait of the queue. The defaults are Exchange's, except that messages are tried again after 5 minutes, as its
/// support recommends, rather than 15.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPlan {
    /// A queue that cannot connect: so often at first (Exchange: QueueGlitchRetryCount)…
    pub glitch_retries: u32,
    /// …with so many milliseconds between (QueueGlitchRetryInterval),
    pub glitch_millis: i64,
    /// then so often (TransientFailureRetryCount)…
    pub transient_retries: u32,
    /// …with these between (TransientFailureRetryInterval),
    pub transient_millis: i64,
    /// then with these for as long as messages are there (OutboundConnectionFailureRetryInterval).
    pub connection_failure_millis: i64,
    /// A message that was put off with 4yz (MessageRetryInterval).
    pub message_millis: i64,
    /// A delivery to a mailbox of this server that was put off (MailboxDeliveryQueueRetryInterval).
    pub mailbox_millis: i64,
    /// Waits are up to so many per cent longer, so that what failed together is not tried together.
    pub jitter_percent: u32,
    /// After so long the sender is told of a delay; `None`: never (DelayNotificationTimeout).
    pub delay_notice_millis: Option<i64>,
    /// After so long the message is returned (MessageExpirationTimeout); for whoever makes envelopes.
    pub expiration_millis: i64,
    /// Connections to all next hops together (MaxOutboundConnections).
    pub connections: u32,
    /// Another connection to a next hop is opened for every so many messages that wait.
    pub messages_per_connection: u32,
}

impl Default for RetryPlan {
    fn default() -> RetryPlan {
        RetryPlan {
            glitch_retries: 4,
            glitch_millis: 60_000,
            transient_retries: 6,
            transient_millis: 5 * 60_000,
            connection_failure_millis: 10 * 60_000,
            message_millis: 5 * 60_000,
            mailbox_millis: 5 * 60_000,
            jitter_percent: 10,
            delay_notice_millis: Some(4 * 3_600_000),
            expiration_millis: 2 * 24 * 3_600_000,
            connections: 1000,
            messages_per_connection: 2,
        }
    }
}

impl RetryPlan {
    /// Milliseconds that a queue waits after its `failures`th failure to connect in a row (from 1).
    pub fn queue_wait(&self, failures: u32, seed: u64) -> i64 {
        let wait = if failures <= self.glitch_retries {
            self.glitch_millis
        } else if failures <= self.glitch_retries.saturating_add(self.transient_retries) {
            self.transient_millis
        } else {
            self.connection_failure_millis
        };
        self.jitter(wait, seed)
    }

    /// Milliseconds that a message waits that was put off; `mailbox` for one to a mailbox of this server.
    pub fn message_wait(&self, mailbox: bool, seed: u64) -> i64 {
        self.jitter(if mailbox { self.mailbox_millis } else { self.message_millis }, seed)
    }

    fn jitter(&self, wait: i64, seed: u64) -> i64 {
        let wait = wait.max(1);
        let most = wait.saturating_mul(i64::from(self.jitter_percent)) / 100;
        if most <= 0 {
            return wait;
        }
        let share = mix(seed) % (most.unsigned_abs() + 1);
        wait.saturating_add(share.cast_signed())
    }
}

/// Spreads neighbouring seeds over all numbers (the finaliser of SplitMix64).
pub(crate) const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_queue_waits_longer_and_longer() {
        let plan = RetryPlan { jitter_percent: 0, ..RetryPlan::default() };
        let minutes: Vec<i64> = (1..=12).map(|n| plan.queue_wait(n, 7) / 60_000).collect();
        assert_eq!(minutes, [1, 1, 1, 1, 5, 5, 5, 5, 5, 5, 10, 10]);
        assert_eq!(plan.message_wait(false, 1), 300_000);
    }

    proptest! {
        #[test]
        fn jitter_only_lengthens_and_only_so_much(failures in 1u32..100, seed in any::<u64>()) {
            let plan = RetryPlan::default();
            let plain = RetryPlan { jitter_percent: 0, ..RetryPlan::default() }.queue_wait(failures, seed);
            let wait = plan.queue_wait(failures, seed);
            prop_assert!((plain..=plain + plain / 10).contains(&wait));
        }
    }
}
