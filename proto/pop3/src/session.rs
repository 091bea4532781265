//! The states of RFC 1939 §3, and which command has its place in which.

use crate::command::Command;
use crate::limits::BAD_COMMANDS_MAX;

/// Where the conversation is. UPDATE is passed through at QUIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Authorization,
    Transaction,
    Update,
}

/// What the conversation has come to.
#[derive(Clone, Debug)]
pub struct Session {
    state: State,
    /// TLS stands.
    pub tls: bool,
    /// STLS can be offered.
    pub can_upgrade: bool,
    /// The client said UTF8 (RFC 6856 §2).
    pub utf8: bool,
    user: Option<String>,
    bad_in_a_row: u32,
}

/// Why a command is refused before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Sign in first.
    NotSignedIn,
    /// Only before signing in.
    SignedIn,
    /// TLS stands already, or cannot be had.
    NoTls,
    /// PASS comes right after a USER.
    NoUser,
}

impl Refused {
    pub const fn text(self) -> &'static str {
        match self {
            Refused::NotSignedIn => "Sign in first",
            Refused::SignedIn => "Already signed in",
            Refused::NoTls => "TLS is active or not available",
            Refused::NoUser => "USER comes first",
        }
    }
}

impl Session {
    pub fn new(tls: bool, can_upgrade: bool) -> Session {
        Session {
            state: State::Authorization,
            tls,
            can_upgrade: can_upgrade && !tls,
            utf8: false,
            user: None,
            bad_in_a_row: 0,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// May this command come now?
    pub fn admit(&self, command: &Command<'_>) -> Result<(), Refused> {
        use Command as C;
        let before = self.state == State::Authorization;
        match command {
            C::Capa | C::Quit => Ok(()),
            C::User(_) | C::Pass(_) | C::Auth(_) | C::Stls | C::Utf8 if !before => Err(Refused::SignedIn),
            C::Pass(_) if self.user.is_none() => Err(Refused::NoUser),
            C::Stls if !self.can_upgrade => Err(Refused::NoTls),
            C::User(_) | C::Pass(_) | C::Auth(_) | C::Stls | C::Utf8 => Ok(()),
            C::Stat
            | C::List(_)
            | C::Uidl(_)
            | C::Retr(_)
            | C::Top { .. }
            | C::Dele(_)
            | C::Rset
            | C::Noop => {
                if before {
                    Err(Refused::NotSignedIn)
                } else {
                    Ok(())
                }
            }
        }
    }

    pub fn named(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    /// The name of the last USER, once: PASS takes it, right or wrong.
    pub fn take_user(&mut self) -> Option<String> {
        self.user.take()
    }

    /// TLS stands; what was said before counts for nothing (RFC 2595 §4).
    pub fn secured(&mut self) {
        *self = Session::new(true, false);
    }

    pub fn signed_in(&mut self) {
        self.user = None;
        self.state = State::Transaction;
    }

    pub fn quit(&mut self) {
        self.state = State::Update;
    }

    /// Notes whether a command was understood; true when the session should be closed.
    pub fn judged(&mut self, good: bool) -> bool {
        self.bad_in_a_row = if good { 0 } else { self.bad_in_a_row.saturating_add(1) };
        self.bad_in_a_row >= BAD_COMMANDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_their_state() {
        let mut s = Session::new(false, true);
        assert_eq!(s.admit(&Command::Stat), Err(Refused::NotSignedIn));
        assert_eq!(s.admit(&Command::Noop), Err(Refused::NotSignedIn));
        assert_eq!(s.admit(&Command::Pass("x")), Err(Refused::NoUser));
        assert_eq!(s.admit(&Command::Stls), Ok(()));
        s.named("a");
        assert_eq!(s.admit(&Command::Pass("x")), Ok(()));
        assert_eq!(s.take_user().as_deref(), Some("a"));
        assert_eq!(s.admit(&Command::Pass("x")), Err(Refused::NoUser));
        s.named("b");
        s.secured();
        assert_eq!(s.take_user(), None);
        assert_eq!(s.admit(&Command::Stls), Err(Refused::NoTls));
        s.signed_in();
        assert_eq!(s.admit(&Command::Stat), Ok(()));
        assert_eq!(s.admit(&Command::Auth(None)), Err(Refused::SignedIn));
        assert_eq!(s.admit(&Command::Utf8), Err(Refused::SignedIn));
        assert_eq!(s.admit(&Command::Stls), Err(Refused::SignedIn));
        assert_eq!(s.admit(&Command::Capa), Ok(()));
        s.quit();
        assert_eq!(s.state(), State::Update);
    }

    #[test]
    fn counts_bad_commands_in_a_row() {
        let mut s = Session::new(true, false);
        for _ in 1..BAD_COMMANDS_MAX {
            assert!(!s.judged(false));
        }
        assert!(!s.judged(true));
        for _ in 1..BAD_COMMANDS_MAX {
            assert!(!s.judged(false));
        }
        assert!(s.judged(false));
    }
}
