//! Kerberos for clients: the questions of GSSAPI and GSS-SPNEGO, answered by the acceptor of this process.
//!
//! Laws: what is the matter with *our* keys is unavailable and never somebody's wrong password; what is the matter with the
//! client's ticket is told to the client; contexts are bounded in number and in time.

use crate::kerberos::Kerberos;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use waypost_directory::signin::{Answering, Gss};
use waypost_sasl::{Answer, ContextId, GssAsk, GssDone, GssReply, Why};
use waypost_trust::kerberos::cause;
use waypost_trust::kerberos::gss::{AcceptContext, Binding, Bound, Refused};

/// Sign-ins under way at a time. Each has some KiB in the library.
const CONTEXTS_MAX: usize = 4096;

/// A client that has not gone on for so long will not.
const CONTEXT_TIME: Duration = Duration::from_secs(60);

/// Whether there is a keytab is looked at so often; each CAPABILITY would like to know.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Acceptors {
    kerberos: Arc<Kerberos>,
    contexts: Mutex<HashMap<ContextId, (Instant, AcceptContext)>>,
    ready: Mutex<Option<(Instant, bool)>>,
}

impl Acceptors {
    pub fn new(kerberos: Arc<Kerberos>) -> Acceptors {
        Acceptors { kerberos, contexts: Mutex::default(), ready: Mutex::default() }
    }

    /// Settings have changed: what was seen holds no more.
    pub fn look_again(&self) {
        *lock(&self.ready) = None;
    }

    fn take(&self, id: &ContextId) -> Option<AcceptContext> {
        lock(&self.contexts).remove(id).map(|(_, context)| context)
    }

    /// False: too many.
    fn keep(&self, id: ContextId, context: AcceptContext) -> bool {
        let mut contexts = lock(&self.contexts);
        if contexts.len() >= CONTEXTS_MAX {
            contexts.retain(|_, (since, _)| since.elapsed() < CONTEXT_TIME);
        }
        if contexts.len() >= CONTEXTS_MAX {
            return false;
        }
        contexts.insert(id, (Instant::now(), context));
        true
    }

    async fn accept(
        &self,
        id: ContextId,
        token: Vec<u8>,
        bindings: Vec<Vec<u8>>,
        required: bool,
        spnego: bool,
    ) -> Answer {
        let mut context = match self.take(&id) {
            Some(context) => context,
            None => match self.kerberos.acceptor() {
                Ok(acceptor) => acceptor.begin(),
                Err(fault) => return Answer::Unavailable(format!("{}: {}", fault.cause.code, fault.text)),
            },
        };
        let bound = Bound { any_of: bindings.into_iter().map(Binding).collect(), required };
        let step = match context.step(token, &bound).await {
            Ok(step) => step,
            Err(refused) => return refusal(&refused),
        };
        let done = step.done.map(|peer| GssDone {
            layer: peer.wants_layer(),
            principal: peer.principal,
            bound: peer.bound,
        });
        // GSSAPI still wraps and unwraps; SPNEGO is through.
        let goes_on = done.is_none() || !spnego;
        if goes_on && !self.keep(id, context) {
            return Answer::Unavailable("too many Kerberos sign-ins are under way".into());
        }
        let token = (!step.token.is_empty()).then_some(step.token);
        Answer::Gss(GssReply { token, done })
    }

    /// Wraps, or unwraps, which is the end of it.
    fn message(
        &self,
        id: ContextId,
        act: impl FnOnce(&mut AcceptContext) -> Option<Vec<u8>>,
        last: bool,
    ) -> Answer {
        let Some(mut context) = self.take(&id) else {
            return Answer::Unavailable("the sign-in took too long".into());
        };
        let out = act(&mut context);
        if !last && !self.keep(id, context) {
            return Answer::Unavailable("too many Kerberos sign-ins are under way".into());
        }
        out.map_or(Answer::Malformed, Answer::Octets)
    }
}

impl Gss for Acceptors {
    fn ready(&self) -> bool {
        let mut ready = lock(&self.ready);
        match *ready {
            Some((looked, is)) if looked.elapsed() < LOOK => is,
            _ => {
                let is = self.kerberos.ready();
                *ready = Some((Instant::now(), is));
                is
            }
        }
    }

    fn answer<'a>(&'a self, ask: GssAsk) -> Answering<'a> {
        Box::pin(async move {
            match ask {
                GssAsk::Accept { context, spnego, token, bindings, required } => {
                    self.accept(context, token, bindings, required, spnego).await
                }
                GssAsk::Wrap { context, message } => self.message(context, |c| c.wrap(&message), false),
                GssAsk::Unwrap { context, message } => self.message(context, |c| c.unwrap(&message), true),
            }
        })
    }
}

/// By whose fault it is.
fn refusal(refused: &Refused) -> Answer {
    let fault = &refused.fault;
    let code = fault.cause.code;
    tracing::info!(cause = code, "{}", fault.text);
    let theirs = [cause::TICKET_OLD.code, cause::EXPIRED.code, cause::SKEW.code, cause::REPLAY.code];
    if [cause::BINDING.code, cause::BINDING_ABSENT.code].contains(&code) {
        Answer::Binding
    } else if code == cause::TOKEN.code {
        Answer::Malformed
    } else if theirs.contains(&code) {
        Answer::NotAllowed(Why::Other(format!("{code}: {}", fault.cause.meaning)))
    } else {
        Answer::Unavailable(format!("{code}: {}", fault.text))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_trust::leg::fault::Fault;

    #[test]
    fn our_keys_are_never_their_password() {
        for found in cause::ALL {
            let answer = refusal(&Fault::new(*found, "text").into());
            assert_ne!(answer, Answer::Wrong, "{}", found.code);
            let ours = found.code.contains("KEY") || found.code.contains("ENCTYPE");
            assert!(!ours || matches!(answer, Answer::Unavailable(_)), "{} {answer:?}", found.code);
        }
        assert_eq!(refusal(&Fault::new(cause::BINDING_ABSENT, "").into()), Answer::Binding);
        let old = refusal(&Fault::new(cause::TICKET_OLD, "").into());
        assert!(matches!(old, Answer::NotAllowed(Why::Other(text)) if text.starts_with("KRB-TICKET-OLD")));
    }
}
