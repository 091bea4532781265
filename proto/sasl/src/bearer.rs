//! OAUTHBEARER (RFC 7628) and its forerunner XOAUTH2: a token in place of a password.
//!
//! A token that is refused is explained inside the mechanism (a challenge in JSON that names where to get a better one),
//! which the client acknowledges, and only then the exchange fails. What is our own fault fails at once.

use crate::exchange::{Answer, Failure, Question, ServerMechanism, Setup, Step, failure};
use crate::external::authzid;
use crate::secret::Secret;

/// The two ways to write the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OAuthBearer,
    XOAuth2,
}

pub(crate) struct Bearer {
    dialect: Dialect,
    setup: Setup,
    /// What the exchange fails with, once the client has taken note.
    refused: Option<Failure>,
}

/// Separates the pairs of the message.
const SEPARATOR: char = '\u{1}';

impl Bearer {
    pub(crate) fn new(dialect: Dialect, setup: Setup) -> Bearer {
        Bearer { dialect, setup, refused: None }
    }

    /// The error of RFC 7628 §3.2.2.
    fn refuse(&mut self, failure: Failure) -> Step {
        let status = match (self.dialect, &failure) {
            (Dialect::OAuthBearer, Failure::Wrong) => "invalid_token",
            (Dialect::OAuthBearer, _) => "insufficient_scope",
            (Dialect::XOAuth2, Failure::Wrong) => "401",
            (Dialect::XOAuth2, _) => "403",
        };
        let mut json = format!("{{\"status\":\"{status}\",\"schemes\":\"bearer\"");
        if let Some(openid) = &self.setup.openid {
            json.push_str(&format!(",\"scope\":\"{}\"", plain(&openid.scope)));
            if self.dialect == Dialect::OAuthBearer && !openid.configuration.is_empty() {
                json.push_str(&format!(",\"openid-configuration\":\"{}\"", plain(&openid.configuration)));
            }
        }
        json.push('}');
        self.refused = Some(failure);
        Step::Challenge(json.into_bytes())
    }

    fn read(&mut self, response: &[u8]) -> Result<Step, &'static str> {
        let text = std::str::from_utf8(response).map_err(|_| "not UTF-8")?;
        let (user, pairs) = match self.dialect {
            Dialect::OAuthBearer => oauthbearer(text)?,
            Dialect::XOAuth2 => xoauth2(text)?,
        };
        let user = authzid(user.as_bytes())?;
        let auth = pairs
            .split(SEPARATOR)
            .find_map(|pair| pair.split_once('=').filter(|(k, _)| k.eq_ignore_ascii_case("auth")));
        // RFC 7628 §4.3: without a token the client wants to be told where to get one.
        let Some((_, value)) = auth.filter(|(_, value)| !value.is_empty()) else {
            return Ok(self.refuse(Failure::Wrong));
        };
        let (scheme, token) = value.split_once(' ').ok_or("no authorization scheme")?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err("not a bearer token");
        }
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b)) {
            return Err("not a bearer token");
        }
        Ok(Step::Ask(Question::Token { authzid: user, token: Secret::from(token) }))
    }
}

/// `gs2-header kvsep *( key "=" value kvsep ) kvsep`; the header is `n,[a=user],`.
fn oauthbearer(text: &str) -> Result<(String, &str), &'static str> {
    let (header, pairs) = text.split_once(SEPARATOR).ok_or("no pairs")?;
    let mut parts = header.split(',');
    let (flag, user, end) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
    if !matches!(flag, Some("n" | "y")) {
        return Err("channel binding is not for this mechanism");
    }
    if end != Some("") || parts.next().is_some() {
        return Err("bad gs2 header");
    }
    let user = match user.strip_prefix("a=") {
        Some(name) => name.replace("=2C", ",").replace("=3D", "="),
        None if user.is_empty() => String::new(),
        None => return Err("bad gs2 header"),
    };
    pairs.ends_with(SEPARATOR).then_some((user, pairs)).ok_or("message is cut off")
}

/// `user=address ^A auth=Bearer token ^A ^A`
fn xoauth2(text: &str) -> Result<(String, &str), &'static str> {
    let (user, pairs) = text.split_once(SEPARATOR).ok_or("no pairs")?;
    let user = user.strip_prefix("user=").ok_or("no user name")?;
    pairs.ends_with(SEPARATOR).then_some((user.to_owned(), pairs)).ok_or("message is cut off")
}

/// Settings go into JSON as they are, but for what would end the string.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect()
}

impl ServerMechanism for Bearer {
    fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(message) => self.step(message),
            None => Step::Challenge(Vec::new()),
        }
    }

    fn step(&mut self, response: &[u8]) -> Step {
        // The acknowledgement is ^A, or nothing; what it says makes no difference.
        if let Some(failure) = self.refused.take() {
            return Step::Failed(failure);
        }
        self.read(response).unwrap_or_else(|why| Step::Failed(Failure::Malformed(why)))
    }

    fn answer(&mut self, answer: Answer) -> Step {
        match answer {
            Answer::Accepted(identity) => Step::Done(identity),
            Answer::Wrong => self.refuse(Failure::Wrong),
            Answer::NotAllowed(why) => self.refuse(Failure::NotAllowed(why)),
            other => Step::Failed(failure(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::Bindings;
    use crate::exchange::{OpenId, Why};

    fn bearer(dialect: Dialect) -> Bearer {
        let mut setup = Setup::new(Bindings::default(), [1; 18], [2; 32]);
        setup.openid =
            Some(OpenId { configuration: "https://id.contoso.test/c".into(), scope: "mail".into() });
        Bearer::new(dialect, setup)
    }

    fn ask(user: Option<&str>) -> Step {
        Step::Ask(Question::Token {
            authzid: user.map(str::to_owned),
            token: Secret::from("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="),
        })
    }

    /// The message of RFC 7628 §4.1, and the error of §4.2.
    #[test]
    fn rfc_7628_example() {
        let message = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        let mut server = bearer(Dialect::OAuthBearer);
        assert_eq!(server.begin(Some(message)), ask(Some("user@example.com")));
        let Step::Challenge(error) = server.answer(Answer::Wrong) else { panic!() };
        assert_eq!(
            String::from_utf8(error).unwrap(),
            r#"{"status":"invalid_token","schemes":"bearer","scope":"mail","openid-configuration":"https://id.contoso.test/c"}"#
        );
        assert_eq!(server.step(b"\x01"), Step::Failed(Failure::Wrong));
    }

    #[test]
    fn xoauth2_speaks_its_dialect() {
        let message =
            b"user=someuser@example.com\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        let mut server = bearer(Dialect::XOAuth2);
        assert_eq!(server.begin(None), Step::Challenge(vec![]));
        assert_eq!(server.step(message), ask(Some("someuser@example.com")));
        let Step::Challenge(error) = server.answer(Answer::NotAllowed(Why::Disabled)) else { panic!() };
        assert_eq!(error, br#"{"status":"403","schemes":"bearer","scope":"mail"}"#);
        assert_eq!(server.step(b""), Step::Failed(Failure::NotAllowed(Why::Disabled)));
    }

    #[test]
    fn our_own_failures_end_it_at_once() {
        let mut server = bearer(Dialect::OAuthBearer);
        server.begin(Some(b"n,,\x01auth=Bearer abc\x01\x01"));
        let step = server.answer(Answer::Unavailable("no keys".into()));
        assert_eq!(step, Step::Failed(Failure::Unavailable("no keys".into())));
    }

    #[test]
    fn refuses_what_is_not_a_message() {
        for bad in [
            &b""[..],
            b"n,,",
            b"n,,\x01auth=Bearer x\x01\x01"[..8].as_ref(),
            b"p=tls-exporter,,\x01auth=Bearer x\x01\x01",
            b"n,b=u,\x01auth=Bearer x\x01\x01",
            b"n,,,\x01auth=Bearer x\x01\x01",
            b"n,,\x01auth=Basic x\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer a b\x01\x01",
            b"n,,\x01auth=\xff\x01\x01",
        ] {
            let step = bearer(Dialect::OAuthBearer).begin(Some(bad));
            assert!(matches!(step, Step::Failed(Failure::Malformed(_))), "{bad:?} {step:?}");
        }
        // RFC 7628 §4.3: where do I get a token?
        assert!(matches!(
            bearer(Dialect::OAuthBearer).begin(Some(b"n,,\x01auth=\x01\x01")),
            Step::Challenge(_)
        ));
    }
}
