//! Legs between the servers of the organisation, over sockets: opening them, taking them, and what stands behind each service.
//!
//! There is one inner door for each server. What arrives there has been judged before it is handed to the [`Handler`] of
//! its service; services are registered in [`crate::run::services::Services::handlers`].

pub mod ask;
pub mod back;
pub mod board;
pub mod command;
pub mod dial;
pub mod door;
pub mod front;
pub mod hub;
pub mod identity;
pub mod join;
pub mod moving;
pub mod record;
pub mod renew;
pub mod replicate;
pub mod secrets;
pub mod standing;
pub mod tls;

use crate::run::services::Services;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use waypost_trust::channel::BoxStream;
use waypost_trust::leg::{Arrived, Hello, Refusal, Service, cause};

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

/// A leg that is only to be tried: everything up to the service, which is not begun.
pub fn trial(service: Service) -> Hello {
    let mut hello = Hello::new(service, crate::machine::correlation());
    hello.detail = serde_json::json!({ TRIAL: true });
    hello
}

fn is_trial(hello: &Hello) -> bool {
    hello.detail.get(TRIAL).and_then(serde_json::Value::as_bool) == Some(true)
}

const TRIAL: &str = "only_a_trial";

/// What takes newcomers that want to join (ALPN `waypost-join/1`). Nothing is proved about them.
pub type Join = Arc<dyn Fn(BoxStream, SocketAddr) -> Handling + Send + Sync>;

/// The services that this server has for others.
#[derive(Clone, Default)]
pub struct Handlers {
    services: BTreeMap<Service, Arc<dyn Handler>>,
    join: Option<Join>,
}

impl Handlers {
    /// From now on legs for `service` go to `handler`.
    pub fn on(&mut self, service: Service, handler: impl Handler) {
        self.services.insert(service, Arc::new(handler));
    }

    /// From now on requests to join go to `join`.
    pub fn on_join(&mut self, join: Join) {
        self.join = Some(join);
    }

    /// Hands over somebody who wants to join. Where nobody takes them the connection ends.
    pub async fn join(&self, stream: BoxStream, peer: SocketAddr) {
        match &self.join {
            Some(join) => join(stream, peer).await,
            None => tracing::info!(%peer, "a server wanted to join here; the primary takes such"),
        }
    }

    /// Hands over a leg that has been let in; one for a service that is not here is refused, so that another server is asked.
    pub async fn take(&self, arrived: Arrived) {
        let there = self.services.get(&arrived.hello.service);
        if let (Some(_), true) = (there, is_trial(&arrived.hello)) {
            if let Err(e) = arrived.welcome(serde_json::Value::Null).await {
                tracing::debug!(error = %e, "a leg on trial went away");
            }
            return;
        }
        if let Some(handler) = there {
            return handler.handle(arrived).await;
        }
        let service = arrived.hello.service;
        let refusal = Refusal {
            code: cause::NOT_SERVED.code.into(),
            text: format!("{} has no inner service {service}", arrived.leg.acceptor.name),
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
    services: Arc<Services>,
    handlers: Handlers,
    stop: watch::Receiver<bool>,
) {
    door::keep(listener, Arc::clone(&services.inside), handlers, stop).await;
}
