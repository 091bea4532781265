//! Legs between the servers of the organisation, over sockets: opening them, taking them, and what stands behind each service.
//!
//! There is one inner door for each server. What arrives there has been judged before it is handed to the [`Handler`] of
//! its service; services are registered in [`crate::run::services::Services::handlers`].

use crate::run::services::Services;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use waypost_base::Clock;
use waypost_base::explain::{Cause, Confidence, Finding, Leg, Outcome, Party};
use waypost_trust::leg::{Arrived, Hello, Inner, NotOpened, Opening, Refusal, Service};

pub type Handling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What takes the legs of one service. It answers with [`Arrived::welcome`] or [`Arrived::refuse`], then the stream is its own.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, arrived: Arrived) -> Handling;
}

impl<F> Handler for F
where
    F: Fn(Arrived) -> Handling + Send + Sync + 'static,
{
    fn handle(&self, arrived: Arrived) -> Handling {
        self(arrived)
    }
}

/// The services that this server has for others.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<Service, Arc<dyn Handler>>);

impl Handlers {
    /// From now on legs for `service` go to `handler`.
    pub fn on(&mut self, service: Service, handler: impl Handler) {
        self.0.insert(service, Arc::new(handler));
    }

    /// Hands over a leg that has been let in; one for a service that is not here is refused, so that another server is asked.
    pub async fn take(&self, arrived: Arrived) {
        if let Some(handler) = self.0.get(&arrived.hello.service) {
            return handler.handle(arrived).await;
        }
        let service = arrived.hello.service;
        let refusal = Refusal {
            code: "INNER-NO-SERVICE".into(),
            text: format!("this server has no inner service {service:?}"),
            elsewhere: true,
            answer: serde_json::Value::Null,
        };
        if let Err(e) = arrived.refuse(refusal).await {
            tracing::debug!(error = %e, "an inner leg went away before it was refused");
        }
    }
}

/// Keeps the inner door until told to stop.
pub async fn keep(
    listener: TcpListener,
    _services: Arc<Services>,
    _handlers: Handlers,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stop.wait_for(|stop| *stop).await;
    drop(listener);
}

/// For a server that is alone: there is nobody to open a leg to.
pub struct Nowhere {
    pub clock: Clock,
}

static ALONE: Cause = Cause {
    code: "INNER-UNREACHABLE",
    meaning: "The other server cannot be reached at its inner door.",
    remedy: "Look whether it runs, and whether the network lets connections to its inner door pass.",
    reference: "docs/servers.md",
};

impl Inner for Nowhere {
    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        let text = format!("{to} is not a server that this one knows");
        let (initiator, acceptor) = (Party::new("server", "here"), Party::new("server", to));
        let mut leg = Leg::start(format!("inner.{}", hello.service), initiator, acceptor, self.clock.now());
        leg.outcome = Outcome::Failed { cause: ALONE, text: text.clone(), retry: true };
        let finding = Finding {
            cause: ALONE,
            confidence: Confidence::Certain,
            evidence: Vec::new(),
            remedy: Vec::new(),
            untested: Vec::new(),
        };
        let (leg, finding, answer) = (Box::new(leg), Box::new(finding), serde_json::Value::Null);
        Box::pin(async move { Err(NotOpened { leg, finding, text, elsewhere: true, answer }) })
    }
}
