//! GSSAPI (RFC 4752) and GSS-SPNEGO: Kerberos by a library, which is asked like the directory is.
//!
//! No security layer is ever offered: TLS is the layer. GSS-SPNEGO has no message to say so; its clients begin to seal as
//! soon as the context has the flags for it, unless TLS stands, so that such contexts are refused without TLS.

use crate::exchange::{
    Answer, ContextId, Failure, GssAsk, GssDone, GssReply, Protection, Question, ServerMechanism, Setup,
    Step, Why, conclude, failure,
};
use crate::external::authzid;
use crate::limits::GSS_TOKENS_MAX;

/// What both have in common: tokens until a context stands.
struct Context {
    setup: Setup,
    spnego: bool,
    tokens: u32,
}

impl Context {
    fn id(&self) -> ContextId {
        self.setup.nonce
    }

    /// The client's token, for the library.
    fn accept(&mut self, token: &[u8]) -> Step {
        self.tokens += 1;
        if token.is_empty() || self.tokens > GSS_TOKENS_MAX {
            return Step::Failed(Failure::Malformed("no token, or too many"));
        }
        let bindings = match self.setup.protection {
            Protection::None => Vec::new(),
            Protection::Allow | Protection::Require => self.names_of_channel(),
        };
        Step::Ask(Question::Gss(GssAsk::Accept {
            context: self.id(),
            spnego: self.spnego,
            token: token.to_vec(),
            bindings,
            required: self.setup.protection == Protection::Require,
        }))
    }

    /// Windows binds to the end point, others to what is the connection's own (RFC 9266).
    fn names_of_channel(&self) -> Vec<Vec<u8>> {
        let bindings = &self.setup.bindings;
        let exporter = bindings.exporter.map(|e| [b"tls-exporter:".as_slice(), &e].concat());
        bindings.end_point.as_deref().map(application_data).into_iter().chain(exporter).collect()
    }

    /// Whether the context is as good as it has to be.
    fn check(&self, done: &GssDone) -> Result<(), Failure> {
        if self.setup.protection == Protection::Require && !done.bound {
            return Err(Failure::Binding("the client sent no channel binding, which is required here"));
        }
        if self.spnego && done.layer && !self.setup.tls {
            return Err(Failure::NotAllowed(Why::NeedsTls));
        }
        Ok(())
    }
}

/// What the library hashes of the channel, by the prefix of RFC 5056 §2.1.
pub(crate) fn application_data(end_point: &[u8]) -> Vec<u8> {
    [b"tls-server-end-point:".as_slice(), end_point].concat()
}

enum State {
    WantToken,
    /// The library has the client's token.
    WantReply,
    /// The last token is at the client, which acknowledges it by an empty response.
    WantEmpty(String),
    /// GSSAPI: the library wraps our offer.
    WantOffer(String),
    /// GSSAPI: the client chooses.
    WantChoice(String),
    /// GSSAPI: the library unwraps the choice.
    WantPlain(String),
    WantAccount,
    Over,
}

/// A reply of the library, the same for both mechanisms. `complete` is called where the context stands and the client has
/// nothing left to acknowledge.
fn replied(
    context: &Context,
    state: &mut State,
    reply: GssReply,
    complete: impl FnOnce(&mut State, String) -> Step,
) -> Step {
    match (reply.token, reply.done) {
        (Some(token), None) => {
            *state = State::WantToken;
            Step::Challenge(token)
        }
        (None, None) => Step::Failed(Failure::Unavailable("the library neither ended nor went on".into())),
        (token, Some(done)) => match (context.check(&done), token.filter(|t| !t.is_empty())) {
            (Err(failure), _) => Step::Failed(failure),
            (Ok(()), Some(token)) => {
                *state = State::WantEmpty(done.principal);
                Step::Challenge(token)
            }
            (Ok(()), None) => complete(state, done.principal),
        },
    }
}

/// RFC 4752: tokens, then an offer of layers and a choice, both wrapped.
pub(crate) struct Gssapi {
    context: Context,
    state: State,
}

/// Bit mask of layers (1: none), and the largest message we take, which without a layer is 0.
const OFFER: [u8; 4] = [1, 0, 0, 0];

impl Gssapi {
    pub(crate) fn new(setup: Setup) -> Gssapi {
        Gssapi { context: Context { setup, spnego: false, tokens: 0 }, state: State::WantToken }
    }

    fn offer(context: &Context, state: &mut State, principal: String) -> Step {
        *state = State::WantOffer(principal);
        Step::Ask(Question::Gss(GssAsk::Wrap { context: context.id(), message: OFFER.to_vec() }))
    }

    /// Layer (1 octet), size (3 octets), authorization identity (the rest, without an end mark).
    fn chosen(&mut self, principal: String, choice: &[u8]) -> Result<Step, &'static str> {
        let (layer, rest) = choice.split_first().ok_or("empty choice of layer")?;
        if *layer != 1 {
            return Err("a security layer that was not offered");
        }
        let name = rest.get(3..).ok_or("choice of layer is cut off")?;
        let authzid = authzid(name)?;
        self.state = State::WantAccount;
        Ok(Step::Ask(Question::Principal { authzid, principal }))
    }
}

impl ServerMechanism for Gssapi {
    fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(token) if !token.is_empty() => self.step(token),
            _ => Step::Challenge(Vec::new()),
        }
    }

    fn step(&mut self, response: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::WantToken => {
                self.state = State::WantReply;
                self.context.accept(response)
            }
            State::WantEmpty(principal) if response.is_empty() => {
                Gssapi::offer(&self.context, &mut self.state, principal)
            }
            State::WantChoice(principal) => {
                self.state = State::WantPlain(principal);
                let message = response.to_vec();
                Step::Ask(Question::Gss(GssAsk::Unwrap { context: self.context.id(), message }))
            }
            _ => Step::Failed(Failure::Malformed("out of turn")),
        }
    }

    fn answer(&mut self, answer: Answer) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), answer) {
            (State::WantReply, Answer::Gss(reply)) => {
                let context = &self.context;
                replied(context, &mut self.state, reply, |state, who| Gssapi::offer(context, state, who))
            }
            (State::WantOffer(principal), Answer::Octets(wrapped)) => {
                self.state = State::WantChoice(principal);
                Step::Challenge(wrapped)
            }
            (State::WantPlain(principal), Answer::Octets(choice)) => {
                self.chosen(principal, &choice).unwrap_or_else(|why| Step::Failed(Failure::Malformed(why)))
            }
            (State::WantAccount, answer) => conclude(answer),
            (_, answer) => Step::Failed(failure(answer)),
        }
    }
}

/// SPNEGO: tokens, then the client's empty line, then the end.
pub(crate) struct Spnego {
    context: Context,
    state: State,
}

impl Spnego {
    pub(crate) fn new(setup: Setup) -> Spnego {
        Spnego { context: Context { setup, spnego: true, tokens: 0 }, state: State::WantToken }
    }

    fn account(state: &mut State, principal: String) -> Step {
        *state = State::WantAccount;
        Step::Ask(Question::Principal { authzid: None, principal })
    }
}

impl ServerMechanism for Spnego {
    fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(token) if !token.is_empty() => self.step(token),
            _ => Step::Challenge(Vec::new()),
        }
    }

    fn step(&mut self, response: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::WantToken => {
                self.state = State::WantReply;
                self.context.accept(response)
            }
            State::WantEmpty(principal) if response.is_empty() => Spnego::account(&mut self.state, principal),
            _ => Step::Failed(Failure::Malformed("out of turn")),
        }
    }

    fn answer(&mut self, answer: Answer) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), answer) {
            (State::WantReply, Answer::Gss(reply)) => {
                replied(&self.context, &mut self.state, reply, Spnego::account)
            }
            (State::WantAccount, answer) => conclude(answer),
            (_, answer) => Step::Failed(failure(answer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::Bindings;
    use crate::exchange::{Exchange, Identity};
    use crate::mechanism::Mechanism;
    use waypost_base::AccountId;

    fn setup(protection: Protection, tls: bool) -> Setup {
        let end_point = tls.then(|| vec![7; 32]);
        let mut setup = Setup::new(Bindings { exporter: None, end_point }, [1; 18], [2; 32]);
        setup.protection = protection;
        setup
    }

    fn start(mechanism: Mechanism, setup: Setup) -> Exchange {
        Exchange::start(mechanism, setup).unwrap()
    }

    fn gss(token: Option<&[u8]>, done: Option<GssDone>) -> Answer {
        Answer::Gss(GssReply { token: token.map(<[u8]>::to_vec), done })
    }

    fn done(layer: bool, bound: bool) -> Option<GssDone> {
        Some(GssDone { principal: "adele@CONTOSO.TEST".into(), layer, bound })
    }

    fn accept(spnego: bool, token: &[u8], binding: Option<Vec<u8>>) -> Step {
        let (token, bindings) = (token.to_vec(), binding.into_iter().collect());
        let ask = GssAsk::Accept { context: [1; 18], spnego, token, bindings, required: false };
        Step::Ask(Question::Gss(ask))
    }

    fn whose(authzid: Option<&str>) -> Step {
        let authzid = authzid.map(str::to_owned);
        Step::Ask(Question::Principal { authzid, principal: "adele@CONTOSO.TEST".into() })
    }

    fn identity() -> Identity {
        Identity { account: AccountId(7), address: "adele@contoso.test".into(), by: None }
    }

    /// As curl does it: no mutual authentication, so the offer follows at once.
    #[test]
    fn gssapi_without_mutual_authentication() {
        let mut server = start(Mechanism::Gssapi, setup(Protection::None, true));
        assert_eq!(server.begin(None), Step::Challenge(vec![]));
        assert_eq!(server.step(b"ticket"), accept(false, b"ticket", None));
        let wrap = Step::Ask(Question::Gss(GssAsk::Wrap { context: [1; 18], message: vec![1, 0, 0, 0] }));
        assert_eq!(server.answer(gss(None, done(false, false))), wrap);
        assert_eq!(server.answer(Answer::Octets(b"wrapped".to_vec())), Step::Challenge(b"wrapped".to_vec()));
        let unwrap = GssAsk::Unwrap { context: [1; 18], message: b"choice".to_vec() };
        assert_eq!(server.step(b"choice"), Step::Ask(Question::Gss(unwrap)));
        assert_eq!(server.answer(Answer::Octets(vec![1, 0, 0, 0])), whose(None));
        assert_eq!(server.answer(Answer::Accepted(identity())), Step::Done(identity()));
    }

    /// As Cyrus does it: initial response, the last token acknowledged by an empty line, and a name to act as.
    #[test]
    fn gssapi_with_mutual_authentication() {
        let mut server = start(Mechanism::Gssapi, setup(Protection::Allow, true));
        let data = [b"tls-server-end-point:".as_slice(), &[7; 32]].concat();
        assert_eq!(server.begin(Some(b"ticket")), accept(false, b"ticket", Some(data)));
        assert_eq!(
            server.answer(gss(Some(b"mutual"), done(true, true))),
            Step::Challenge(b"mutual".to_vec())
        );
        assert!(matches!(server.step(b""), Step::Ask(Question::Gss(GssAsk::Wrap { .. }))));
        server.answer(Answer::Octets(b"wrapped".to_vec()));
        server.step(b"choice");
        assert_eq!(server.answer(Answer::Octets(b"\x01\0\0\0bob".to_vec())), whose(Some("bob")));
    }

    #[test]
    fn layers_that_were_not_offered_are_refused() {
        for choice in [&[][..], &[1, 0, 0], &[2, 0, 4, 0], &[4, 0, 4, 0], b"\x01\0\0\0a\0b"] {
            let mut server = start(Mechanism::Gssapi, setup(Protection::None, false));
            server.begin(Some(b"ticket"));
            server.answer(gss(None, done(false, false)));
            server.answer(Answer::Octets(b"wrapped".to_vec()));
            server.step(b"choice");
            let step = server.answer(Answer::Octets(choice.to_vec()));
            assert!(matches!(step, Step::Failed(Failure::Malformed(_))), "{choice:?}");
        }
    }

    #[test]
    fn spnego_ends_with_an_empty_line() {
        let mut server = start(Mechanism::GssSpnego, setup(Protection::None, true));
        assert_eq!(server.begin(Some(b"init")), accept(true, b"init", None));
        assert_eq!(server.answer(gss(Some(b"more"), None)), Step::Challenge(b"more".to_vec()));
        assert_eq!(server.step(b"next"), accept(true, b"next", None));
        assert_eq!(server.answer(gss(Some(b"last"), done(true, false))), Step::Challenge(b"last".to_vec()));
        assert_eq!(server.step(b""), whose(None));
        assert_eq!(server.answer(Answer::Accepted(identity())), Step::Done(identity()));
    }

    #[test]
    fn spnego_that_would_seal_needs_tls() {
        let mut server = start(Mechanism::GssSpnego, setup(Protection::None, false));
        server.begin(Some(b"init"));
        let step = server.answer(gss(Some(b"last"), done(true, false)));
        assert_eq!(step, Step::Failed(Failure::NotAllowed(Why::NeedsTls)));
    }

    #[test]
    fn extended_protection_demands_the_flag_and_not_just_success() {
        for mechanism in [Mechanism::Gssapi, Mechanism::GssSpnego] {
            let mut server = start(mechanism, setup(Protection::Require, true));
            server.begin(Some(b"init"));
            let step = server.answer(gss(None, done(false, false)));
            assert!(matches!(step, Step::Failed(Failure::Binding(_))));
            assert!(Exchange::start(mechanism, setup(Protection::Require, false)).is_err());
        }
    }

    #[test]
    fn failures_keep_their_kind() {
        for (answer, failure) in [
            (Answer::Unavailable("no keytab".into()), Failure::Unavailable("no keytab".into())),
            (Answer::NotAllowed(Why::NoAccount), Failure::NotAllowed(Why::NoAccount)),
            (Answer::Binding, Failure::Binding("the client is at the end of another channel")),
            (Answer::Malformed, Failure::Malformed("token that cannot be read")),
        ] {
            let mut server = start(Mechanism::Gssapi, setup(Protection::None, true));
            server.begin(Some(b"init"));
            assert_eq!(server.answer(answer), Step::Failed(failure));
        }
    }

    #[test]
    fn tokens_do_not_go_on_for_ever() {
        let mut server = start(Mechanism::GssSpnego, setup(Protection::None, true));
        let mut step = server.begin(Some(b"init"));
        for _ in 0..GSS_TOKENS_MAX {
            assert!(matches!(step, Step::Ask(_)));
            server.answer(gss(Some(b"more"), None));
            step = server.step(b"next");
        }
        assert!(matches!(step, Step::Failed(Failure::Malformed(_))));
    }
}
