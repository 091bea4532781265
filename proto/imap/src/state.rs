//! Which command may be given when (RFC 9051 §3 and §6).
//!
//! Commands are carried out strictly in the order they came, each finished before the next begins, so that none of the
//! ambiguities of §5.5 can arise. The states are the session's; this module only answers whether a command fits.

use crate::command::Body;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    NotAuthenticated,
    Authenticated,
    Selected,
    Logout,
}

/// Why a command is refused in a state. All are answered BAD, as §3 asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// Sign in first.
    NotSignedIn,
    /// Signed in already.
    SignedIn,
    NothingSelected,
    LoggedOut,
}

impl Misplaced {
    /// A line for the client.
    pub fn text(self) -> &'static str {
        match self {
            Misplaced::NotSignedIn => "Sign in first",
            Misplaced::SignedIn => "Already signed in",
            Misplaced::NothingSelected => "No folder is selected",
            Misplaced::LoggedOut => "Logged out",
        }
    }
}

/// The least that a command needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Any,
    NotAuthenticated,
    Authenticated,
    Selected,
}

impl State {
    /// APPEND and REPLACE, which are not a [`Body`].
    pub fn permits_append(self, replace: bool) -> Result<(), Misplaced> {
        self.permits_need(if replace { Need::Selected } else { Need::Authenticated })
    }

    pub fn permits(self, body: &Body) -> Result<(), Misplaced> {
        self.permits_need(need(body))
    }

    fn permits_need(self, need: Need) -> Result<(), Misplaced> {
        match (self, need) {
            (State::Logout, _) => Err(Misplaced::LoggedOut),
            (_, Need::Any) | (State::Selected, Need::Authenticated | Need::Selected) => Ok(()),
            (State::NotAuthenticated, Need::NotAuthenticated)
            | (State::Authenticated, Need::Authenticated) => Ok(()),
            (State::NotAuthenticated, _) => Err(Misplaced::NotSignedIn),
            (_, Need::NotAuthenticated) => Err(Misplaced::SignedIn),
            (State::Authenticated, Need::Selected) => Err(Misplaced::NothingSelected),
        }
    }
}

fn need(body: &Body) -> Need {
    match body {
        Body::Capability | Body::Noop | Body::Logout | Body::Id(_) => Need::Any,
        // RFC 4978 §3 permits COMPRESS in any state, but before sign-in it only serves to make us spend memory.
        Body::StartTls | Body::Authenticate { .. } | Body::Login { .. } => Need::NotAuthenticated,
        Body::Enable(_)
        | Body::Select(_)
        | Body::Create { .. }
        | Body::Delete(_)
        | Body::Rename { .. }
        | Body::Subscribe(_)
        | Body::Unsubscribe(_)
        | Body::List(_)
        | Body::Lsub { .. }
        | Body::Namespace
        | Body::Status { .. }
        | Body::Idle
        | Body::GetQuota(_)
        | Body::GetQuotaRoot(_)
        | Body::SetQuota { .. }
        | Body::Compress(_) => Need::Authenticated,
        Body::Check
        | Body::Close
        | Body::Unselect
        | Body::Expunge { .. }
        | Body::Search(_)
        | Body::Sort(_)
        | Body::Thread(_)
        | Body::Fetch(_)
        | Body::Store(_)
        | Body::Copy { .. }
        | Body::Move { .. } => Need::Selected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Dialect, parse};

    #[test]
    fn commands_and_their_states() {
        let table = [
            ("a NOOP", [true, true, true]),
            ("a LOGIN x y", [true, false, false]),
            ("a STARTTLS", [true, false, false]),
            ("a SELECT x", [false, true, true]),
            ("a IDLE", [false, true, true]),
            ("a FETCH 1 FLAGS", [false, false, true]),
            ("a CLOSE", [false, false, true]),
        ];
        for (text, expected) in table {
            let body = parse(text.as_bytes(), Dialect::default()).expect("an example").body;
            let states = [State::NotAuthenticated, State::Authenticated, State::Selected];
            assert_eq!(states.map(|s| s.permits(&body).is_ok()), expected, "{text}");
            assert_eq!(State::Logout.permits(&body), Err(Misplaced::LoggedOut));
        }
        assert_eq!(State::Authenticated.permits_append(true), Err(Misplaced::NothingSelected));
        assert_eq!(State::NotAuthenticated.permits_append(false), Err(Misplaced::NotSignedIn));
        assert_eq!(State::Selected.permits_append(false), Ok(()));
    }
}
