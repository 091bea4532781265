//! Kerberos for clients: what [`waypost_directory::signin`] asks of the library during GSSAPI and GSS-SPNEGO.
//!
//! Contexts are kept between the tokens of an exchange, by the exchange's number, for a minute. What is wrong with our keys is
//! logged with its finding and answered as unavailable; only what is wrong with the client's ticket is the client's.

use super::Kerberos;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use waypost_base::Timestamp;
use waypost_directory::signin::{Answering, Gss};
use waypost_sasl::{Answer, ContextId, GssAsk, GssDone, GssReply, Why};
use waypost_trust::kerberos::cause;
use waypost_trust::kerberos::gss::{AcceptContext, Binding, Bound, Refused, Step};

/// A client that has not gone on for so long has gone away.
const KEPT_MILLIS: i64 = 60_000;
/// Exchanges under way at a time; each holds some kilobytes.
const CONTEXTS_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Contexts(Mutex<HashMap<ContextId, (AcceptContext, Timestamp)>>);

impl Contexts {
    fn take(&self, id: &ContextId) -> Option<AcceptContext> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id).map(|(context, _)| context)
    }

    fn keep(&self, id: ContextId, context: AcceptContext, now: Timestamp) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CONTEXTS_MAX {
            all.retain(|_, (_, at)| now.since(*at) < KEPT_MILLIS);
        }
        let room = all.len() < CONTEXTS_MAX;
        if room {
            all.insert(id, (context, now));
        }
        room
    }

    /// Forgets whoever went away.
    fn sweep(&self, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, at)| now.since(*at) < KEPT_MILLIS);
    }
}

impl Gss for Kerberos {
    fn ready(&self) -> bool {
        Kerberos::ready(self)
    }

    fn answer<'a>(&'a self, ask: GssAsk) -> Answering<'a> {
        Box::pin(async move {
            match ask {
                GssAsk::Accept { context, token, bindings, required, .. } => {
                    let any_of = bindings.into_iter().map(Binding).collect();
                    self.take_token(context, token, Bound { any_of, required }).await
                }
                GssAsk::Wrap { context, message } => {
                    let wrapped = self.with(context, |c| c.wrap(&message));
                    wrapped.map_or_else(
                        || Answer::Unavailable("no such Kerberos context".into()),
                        Answer::Octets,
                    )
                }
                GssAsk::Unwrap { context, message } => {
                    self.with(context, |c| c.unwrap(&message)).map_or(Answer::Malformed, Answer::Octets)
                }
            }
        })
    }
}

impl Kerberos {
    fn with(
        &self,
        id: ContextId,
        work: impl FnOnce(&mut AcceptContext) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let mut context = self.contexts.take(&id)?;
        let done = work(&mut context);
        self.contexts.keep(id, context, self.clock.now());
        done
    }

    async fn take_token(&self, id: ContextId, token: Vec<u8>, bound: Bound) -> Answer {
        let now = self.clock.now();
        self.contexts.sweep(now);
        let mut context = match self.contexts.take(&id) {
            Some(context) => context,
            None => match self.acceptor() {
                Ok(acceptor) => acceptor.begin(),
                Err(fault) => return Answer::Unavailable(format!("[{}] {}", fault.cause.code, fault.text)),
            },
        };
        match context.step(token, &bound).await {
            Ok(step) => {
                if !self.contexts.keep(id, context, now) {
                    return Answer::Unavailable("too many Kerberos exchanges at once".into());
                }
                Answer::Gss(reply(step))
            }
            Err(refused) => refusal(&refused),
        }
    }
}

fn reply(step: Step) -> GssReply {
    let done = step.done.map(|peer| {
        let (layer, bound) = (peer.wants_layer(), peer.bound);
        GssDone { principal: peer.principal, layer, bound }
    });
    GssReply { token: Some(step.token).filter(|t| !t.is_empty()), done }
}

/// By whose fault.
fn refusal(refused: &Refused) -> Answer {
    let fault = &refused.fault;
    let (code, text) = (fault.cause.code, fault.text.as_str());
    match fault.cause {
        cause::BINDING | cause::BINDING_ABSENT => Answer::Binding,
        cause::TOKEN => Answer::Malformed,
        cause::SKEW | cause::EXPIRED | cause::REPLAY | cause::TICKET_OLD => {
            tracing::info!(code, "a client's ticket was refused: {text}");
            Answer::NotAllowed(Why::Other(fault.cause.meaning.to_owned()))
        }
        _ => {
            let remedy = fault.finding().remedy.join("; ");
            tracing::warn!(code, remedy, "a client could not sign in by Kerberos: {text}");
            Answer::Unavailable(format!("[{code}] {text}"))
        }
    }
}
