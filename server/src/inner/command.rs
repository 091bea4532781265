//! Commands that another server has to run: sent there with the name of whoever gave them, run there by the same rules,
//! their output streamed back.

use super::renew::Contact;
use super::{Handlers, Handling};
use crate::machine;
use crate::run::services::Services;
use std::sync::{Arc, Weak};
use waypost_admin::elsewhere::{Elsewhere, Errand};
use waypost_admin::run::Sink;
use waypost_admin::{Catalogue, Category, Context, Exit, Failure, wire};
use waypost_trust::leg::{Arrived, Hello, Refusal, Service};

/// Registers the service. `context` is that of the commands of this server.
pub fn register(handlers: &mut Handlers, context: &Context) {
    let mut context = context.clone();
    // What has come here is run here: nothing is sent on a second time.
    if let Some(world) = &mut context.world {
        world.elsewhere = None;
    }
    let catalogue = Arc::new(Catalogue::new());
    handlers.on(Service::Command, move |arrived| {
        Box::pin(run(arrived, Arc::clone(&catalogue), context.clone())) as Handling
    });
}

async fn run(arrived: Arrived, catalogue: Arc<Catalogue>, context: Context) {
    let from = arrived.from.to_string();
    let errand: Errand = match serde_json::from_value(arrived.hello.detail.clone()) {
        Ok(errand) => errand,
        Err(e) => {
            let (code, text) = ("NOT-UNDERSTOOD".to_owned(), e.to_string());
            let refusal = Refusal { code, text, elsewhere: false, answer: serde_json::Value::Null };
            if let Err(e) = arrived.refuse(refusal).await {
                tracing::debug!(error = %e, "a command's server went away");
            }
            return;
        }
    };
    let rights = errand.rights();
    let context =
        Context { caller: format!("{}@{from}", errand.caller), from: from.to_string(), rights, ..context };
    let stream = match arrived.welcome(serde_json::Value::Null).await {
        Ok((stream, _leg)) => stream,
        Err(e) => {
            tracing::debug!(error = %e, "a command's server went away");
            return;
        }
    };
    if let Err(e) = wire::serve(stream, &catalogue, &context).await {
        tracing::debug!(server = %from, error = %e, "a command's server went away");
    }
}

/// Sends commands to other servers.
pub struct Sender(pub Weak<Services>);

impl Elsewhere for Sender {
    fn standing(&self) -> Option<String> {
        let services = self.0.upgrade().filter(|s| s.organisation.directory.is_copy())?;
        let Contact { heard, lost } = services.following.contact();
        Some(match (heard, lost) {
            (_, Some((since, why))) => format!("without the primary since {since}: {why}"),
            (Some(at), None) => format!("up to date; the primary was heard at {at}"),
            (None, None) => "the primary has not been heard yet".to_owned(),
        })
    }

    fn run<'a>(
        &'a self,
        server: &'a str,
        errand: Errand,
        sink: &'a Sink,
    ) -> waypost_admin::run::Answer<'a, Exit> {
        Box::pin(async move {
            let unavailable = |text: String| Failure::new(Category::ResourceUnavailable, server, text);
            let services = self.0.upgrade().ok_or_else(|| unavailable("This server is stopping.".into()))?;
            let mut hello = Hello::new(Service::Command, machine::correlation());
            let invocation = errand.invocation.clone();
            hello.detail = serde_json::to_value(&errand).map_err(|e| unavailable(e.to_string()))?;
            let opened = services.inner.open(server, hello).await;
            let opened = opened.map_err(|e| {
                unavailable(format!(
                    "{server} has to run this command, and cannot be reached: {e}. Nothing was done."
                ))
            })?;
            let (told, mut events) = tokio::sync::mpsc::unbounded_channel();
            let asking = wire::ask(opened.stream, &invocation, |event| drop(told.send(event)));
            tokio::pin!(asking);
            let exit = loop {
                tokio::select! {
                    biased;
                    Some(event) = events.recv() => sink.send(event).await,
                    done = &mut asking => break done,
                }
            };
            while let Ok(event) = events.try_recv() {
                sink.send(event).await;
            }
            exit.map_err(|e| {
                unavailable(format!("The connection to {server} broke while it ran the command: {e}."))
            })
        })
    }
}
