//! PLAIN (RFC 4616).

use crate::exchange::{Answer, Failure, Question, ServerMechanism, Step, conclude};
use crate::limits::{NAME_BYTES_MAX, PASSWORD_BYTES_MAX};
use crate::prep;

/// One message from the client, one question to the directory.
pub(crate) struct Plain;

impl ServerMechanism for Plain {
    fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(message) => self.step(message),
            None => Step::Challenge(Vec::new()),
        }
    }

    fn step(&mut self, response: &[u8]) -> Step {
        parse(response).map_or_else(|why| Step::Failed(Failure::Malformed(why)), Step::Ask)
    }

    fn answer(&mut self, answer: Answer) -> Step {
        conclude(answer)
    }
}

/// ```text
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd
/// authcid = 1*SAFE, authzid = 1*SAFE, passwd = 1*SAFE   ; UTF-8 without NUL
/// ```
fn parse(message: &[u8]) -> Result<Question, &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "not UTF-8")?;
    let mut parts = text.splitn(3, '\0');
    let (Some(authzid), Some(authcid), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("PLAIN wants [authzid] NUL authcid NUL password");
    };
    question(Some(authzid), authcid, password)
}

/// The question of PLAIN and LOGIN, once the three texts are found.
pub(crate) fn question(
    authzid: Option<&str>,
    authcid: &str,
    password: &str,
) -> Result<Question, &'static str> {
    if authcid.is_empty() || password.is_empty() {
        return Err("empty user name or password");
    }
    if password.contains('\0') || authcid.contains('\0') {
        return Err("NUL in user name or password");
    }
    let authzid = authzid.filter(|a| !a.is_empty());
    let long = authcid.len().max(authzid.map_or(0, str::len)) > NAME_BYTES_MAX;
    if long || password.len() > PASSWORD_BYTES_MAX {
        return Err("user name or password too long");
    }
    Ok(Question::CheckPassword {
        authzid: authzid.map(prep::name),
        authcid: prep::name(authcid),
        password: prep::password(password),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn asked(authzid: Option<&str>, authcid: &str, password: &str) -> Step {
        Step::Ask(Question::CheckPassword {
            authzid: authzid.map(str::to_owned),
            authcid: authcid.into(),
            password: Secret::from(password),
        })
    }

    /// The examples of RFC 4616 §4.
    #[test]
    fn rfc_4616_examples() {
        assert_eq!(Plain.begin(None), Step::Challenge(vec![]));
        assert_eq!(Plain.step(b"\0tim\0tanstaaftanstaaf"), asked(None, "tim", "tanstaaftanstaaf"));
        assert_eq!(Plain.begin(Some(b"Ursel\0Kurt\0xipj3plmq")), asked(Some("Ursel"), "Kurt", "xipj3plmq"));
    }

    #[test]
    fn refuses_what_is_not_plain() {
        for bad in [&b""[..], b"a", b"a\0b", b"\0\0secret", b"\0tim\0", b"\0tim\0a\0b", b"\0\xff\0x"] {
            assert!(matches!(Plain.step(bad), Step::Failed(Failure::Malformed(_))), "{bad:?}");
        }
        let long = [b"\0", vec![b'a'; NAME_BYTES_MAX + 1].as_slice(), b"\0x"].concat();
        assert!(matches!(Plain.step(&long), Step::Failed(Failure::Malformed(_))));
    }
}
