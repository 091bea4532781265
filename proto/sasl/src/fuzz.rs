//! One round of fuzzing: any bytes, into every state of both sides. Nothing here may panic.

use crate::binding::Bindings;
use crate::client::{ClientExchange, Credentials};
use crate::exchange::{Answer, Exchange, GssAsk, GssDone, GssReply, Identity, Question, Setup, Step};
use crate::mechanism::Mechanism;
use crate::scram::ScramKeys;
use crate::secret::Secret;
use crate::wire;
use waypost_base::AccountId;

/// The first byte chooses the mechanism, the rest is cut at line feeds into what the peer sends.
pub fn fuzz_one(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let mechanism = *Mechanism::ALL.get(usize::from(choice % 12)).unwrap_or(&Mechanism::Plain);
    let bindings = Bindings { exporter: Some([5; 32]), end_point: None };
    let mut setup = Setup::new(bindings.clone(), [1; 18], [2; 32]);
    setup.certificate = Some(b"der".as_slice().into());
    let mut lines = rest.split(|b| *b == b'\n');
    if let Ok(mut server) = Exchange::start(mechanism, setup) {
        let initial = if choice & 4 == 0 { None } else { lines.next() };
        let mut step = server.begin(initial);
        // Each turn takes a line or answers a question, so it ends.
        loop {
            step = match step {
                Step::Challenge(_) => match lines.next() {
                    Some(line) => server.step(line),
                    None => break,
                },
                Step::Ask(question) => server.answer(answer(&question, *choice)),
                Step::Done(_) | Step::Failed(_) => break,
            };
        }
    }
    let credentials = Credentials::new("user", "pencil");
    if let Ok(mut client) = ClientExchange::start(mechanism, credentials, &bindings, &[3; 18]) {
        client.initial();
        for line in rest.split(|b| *b == b'\n').take(8) {
            let _ = wire::line(line);
            let _ = wire::initial(line);
            // A mutated round count would only buy time in PBKDF2.
            if !line.windows(2).any(|w| w == b"i=") {
                let _ = client.step(line);
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(rest)
        && let Ok(keys) = ScramKeys::parse(text)
    {
        let printed = keys.to_text();
        assert_eq!(printed.expose_str().and_then(|t| ScramKeys::parse(t).ok()), Some(keys));
    }
}

fn answer(question: &Question, choice: u8) -> Answer {
    let identity = Identity { account: AccountId(1), address: "user@contoso.test".into(), by: None };
    match (question, choice >> 5) {
        (_, 0) => Answer::Wrong,
        (_, 1) => Answer::Unavailable("no store".into()),
        (Question::Gss(GssAsk::Accept { .. }), 2) => {
            Answer::Gss(GssReply { token: Some(vec![1]), done: None })
        }
        (Question::Gss(GssAsk::Accept { .. }), _) => {
            Answer::Gss(GssReply { token: None, done: Some(GssDone::default()) })
        }
        (Question::Gss(GssAsk::Wrap { message, .. } | GssAsk::Unwrap { message, .. }), _) => {
            Answer::Octets(message.clone())
        }
        (Question::Ntlm(_), _) => Answer::Ntlm(Secret::new(vec![0; 16])),
        (Question::ScramKeys { .. }, 2..) => Answer::Keys(ScramKeys::derive("pencil", b"salt", 1)),
        _ => Answer::Accepted(identity),
    }
}
