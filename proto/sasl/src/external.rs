//! EXTERNAL (RFC 4422 appendix A): who the client is was settled in TLS, by its certificate.

use crate::exchange::{Answer, Failure, Question, ServerMechanism, Setup, Step, conclude};
use crate::limits::NAME_BYTES_MAX;
use crate::prep;

pub(crate) struct External {
    setup: Setup,
}

impl External {
    pub(crate) fn new(setup: Setup) -> External {
        External { setup }
    }
}

impl ServerMechanism for External {
    fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(authzid) => self.step(authzid),
            None => Step::Challenge(Vec::new()),
        }
    }

    /// `initial-response = *( UTF8-char-no-nul )`; empty: as whom the certificate says.
    fn step(&mut self, response: &[u8]) -> Step {
        let authzid = match authzid(response) {
            Ok(authzid) => authzid,
            Err(why) => return Step::Failed(Failure::Malformed(why)),
        };
        match &self.setup.certificate {
            Some(der) => Step::Ask(Question::Certificate { authzid, der: der.to_vec() }),
            None => Step::Failed(Failure::Malformed("no certificate was shown")),
        }
    }

    fn answer(&mut self, answer: Answer) -> Step {
        conclude(answer)
    }
}

/// A name as whom the client wants to act; nothing is none.
pub(crate) fn authzid(bytes: &[u8]) -> Result<Option<String>, &'static str> {
    if bytes.len() > NAME_BYTES_MAX {
        return Err("user name too long");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    if text.contains('\0') {
        return Err("NUL in user name");
    }
    Ok((!text.is_empty()).then(|| prep::name(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::Bindings;
    use crate::exchange::Exchange;
    use crate::mechanism::Mechanism;

    fn setup(certificate: bool) -> Setup {
        let mut setup = Setup::new(Bindings::default(), [1; 18], [2; 32]);
        setup.certificate = certificate.then(|| b"der".as_slice().into());
        setup
    }

    #[test]
    fn asks_whose_certificate_it_is() {
        let ask = |authzid: Option<&str>| {
            Step::Ask(Question::Certificate { authzid: authzid.map(str::to_owned), der: b"der".to_vec() })
        };
        let mut external = External::new(setup(true));
        assert_eq!(external.begin(None), Step::Challenge(vec![]));
        assert_eq!(external.step(b""), ask(None));
        assert_eq!(External::new(setup(true)).begin(Some(b"adele")), ask(Some("adele")));
        let bad = External::new(setup(true)).begin(Some(b"a\0b"));
        assert!(matches!(bad, Step::Failed(Failure::Malformed(_))));
    }

    #[test]
    fn needs_a_certificate() {
        assert!(Exchange::start(Mechanism::External, setup(false)).is_err());
        assert!(Exchange::start(Mechanism::External, setup(true)).is_ok());
    }
}
