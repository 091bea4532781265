//! LOGIN: user name and password in two answers. It was never more than a draft (draft-murchison-sasl-login-00); Outlook
//! and many devices speak nothing better.

use crate::exchange::{Answer, Failure, ServerMechanism, Step, conclude};
use crate::limits::NAME_BYTES_MAX;
use crate::plain;

#[derive(Default)]
pub(crate) struct Login {
    user: Option<String>,
}

impl ServerMechanism for Login {
    fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            // Clients send an initial response as the user name, though the draft has none. An empty one is no name.
            Some(user) if !user.is_empty() => self.step(user),
            _ => Step::Challenge(b"Username:".to_vec()),
        }
    }

    fn step(&mut self, response: &[u8]) -> Step {
        let Ok(text) = std::str::from_utf8(response) else {
            return Step::Failed(Failure::Malformed("not UTF-8"));
        };
        match self.user.take() {
            None if text.len() > NAME_BYTES_MAX => {
                Step::Failed(Failure::Malformed("user name or password too long"))
            }
            None => {
                self.user = Some(text.to_owned());
                Step::Challenge(b"Password:".to_vec())
            }
            Some(user) => plain::question(None, &user, text)
                .map_or_else(|why| Step::Failed(Failure::Malformed(why)), Step::Ask),
        }
    }

    fn answer(&mut self, answer: Answer) -> Step {
        conclude(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Question;
    use crate::secret::Secret;

    #[test]
    fn asks_twice() {
        let ask = Step::Ask(Question::CheckPassword {
            authzid: None,
            authcid: "tim".into(),
            password: Secret::from("x y"),
        });
        let mut login = Login::default();
        assert_eq!(login.begin(None), Step::Challenge(b"Username:".to_vec()));
        assert_eq!(login.step(b"tim"), Step::Challenge(b"Password:".to_vec()));
        assert_eq!(login.step(b"x y"), ask);
        let mut login = Login::default();
        assert_eq!(login.begin(Some(b"tim")), Step::Challenge(b"Password:".to_vec()));
        assert_eq!(login.step(b"x y"), ask);
    }

    #[test]
    fn refuses_nothing_and_garbage() {
        let mut login = Login::default();
        login.begin(None);
        login.step(b"");
        assert!(matches!(login.step(b"x"), Step::Failed(Failure::Malformed(_))));
        let mut login = Login::default();
        login.begin(None);
        assert!(matches!(login.step(b"\xff"), Step::Failed(Failure::Malformed(_))));
    }
}
