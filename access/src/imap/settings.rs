//! What an administrator may set of the IMAP service. A session reads the settings when it begins and at each command
//! that depends on them, so that a change reaches running sessions without dropping them.

use std::time::Duration;

/// Names and defaults follow Get-ImapSettings. Who may sign in, and how, is the policy of [`crate::signin::Entrance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImapSettings {
    /// The greeting's text.
    pub banner: String,
    /// A signed-in client that is silent for so long is signed out. RFC 9051 §5.4: at least 30 minutes.
    pub authenticated_timeout: Duration,
    /// How long a client may take to sign in.
    pub pre_authenticated_timeout: Duration,
    /// Bytes of the largest message that APPEND takes.
    pub append_max: u64,
    /// Bytes of a command line after sign-in, collected literals included.
    pub command_bytes_max: usize,
    /// Whether COMPRESS=DEFLATE is offered.
    pub compress: bool,
    /// How often a client in IDLE hears that we are still there, which also finds dead connections; zero for never.
    pub idle_keepalive: Duration,
}

impl Default for ImapSettings {
    fn default() -> ImapSettings {
        ImapSettings {
            banner: "Waypost IMAP4 service is ready.".into(),
            authenticated_timeout: Duration::from_secs(30 * 60),
            pre_authenticated_timeout: Duration::from_secs(60),
            append_max: 150 * 1024 * 1024,
            command_bytes_max: waypost_imap::limits::LINE_MAX,
            compress: true,
            idle_keepalive: Duration::from_secs(120),
        }
    }
}
