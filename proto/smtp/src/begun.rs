//! A session that began at another server and goes on here.

use crate::session::{Helo, Session};
use crate::types::{Config, Out, Tls};
use std::sync::Arc;
use waypost_base::Timestamp;

/// How far a session had come elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// What the peer called itself, and whether by EHLO.
    pub helo: Option<(String, bool)>,
    pub tls: Option<Tls>,
    /// Who has just signed in. The success of AUTH has not been told yet.
    pub user: Option<String>,
}

impl Session {
    /// Goes on where another session of ours left off: there is no greeting, and the first thing said is the answer to
    /// AUTH, where that was the last command.
    pub fn resumed(config: Arc<Config>, begun: Begun, now: Timestamp) -> Session {
        let Begun { helo, tls, user } = begun;
        let mut session = Session::new(config, tls, now);
        while session.poll(now).is_some_and(|out| matches!(out, Out::Send(_))) {}
        session.helo = helo.map(|(name, extended)| Helo { name, extended });
        if user.is_some() {
            session.user = user;
            session.say(crate::command::auth::SIGNED_IN);
        }
        session
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Answer, Flavour, Question};

    const NOW: Timestamp = Timestamp(0);

    fn said(session: &mut Session) -> String {
        let mut text = String::new();
        while let Some(out) = session.poll(NOW) {
            match out {
                Out::Send(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Out::Ask(id, Question::Mail { .. }) => session.reply(NOW, id, Answer::Ok),
                _ => {}
            }
        }
        text
    }

    #[test]
    fn the_answer_to_auth_comes_first() {
        let mut config = Config::new(Flavour::Submission, "mail.contoso.test");
        config.auth_required = true;
        let begun = Begun {
            helo: Some(("client.example".into(), true)),
            tls: Some(Tls { binding: false }),
            user: Some("ann@contoso.test".into()),
        };
        let mut session = Session::resumed(Arc::new(config), begun, NOW);
        assert_eq!(said(&mut session), "235 2.7.0 Authentication successful\r\n");
        assert_eq!(session.helo(), Some(("client.example", true)));
        let line = b"MAIL FROM:<ann@contoso.test> SIZE=3\r\n";
        assert_eq!(session.input(NOW, line), line.len());
        assert_eq!(said(&mut session), "250 2.1.0 Sender OK\r\n");
    }

    #[test]
    fn a_stranger_goes_on_with_mail() {
        let config = Arc::new(Config::new(Flavour::Smtp, "mx.contoso.test"));
        let begun = Begun { helo: Some(("client.example".into(), false)), ..Begun::default() };
        let mut session = Session::resumed(config.clone(), begun, NOW);
        assert_eq!(said(&mut session), "");
        let line = b"MAIL FROM:<>\r\n";
        assert_eq!(session.input(NOW, line), line.len());
        assert_eq!(said(&mut session), "250 2.1.0 Sender OK\r\n");
        let mut session = Session::resumed(config, Begun::default(), NOW);
        session.input(NOW, line);
        assert_eq!(said(&mut session), "503 5.5.1 Say hello first\r\n");
    }
}
