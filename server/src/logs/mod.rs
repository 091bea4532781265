//! What the process writes about itself: the log for people or machines, and the logs in Exchange's
//! layouts: message tracking, connectivity, the protocols; beside them the legs.

pub mod all;
pub mod csv;
pub mod panics;
pub mod sinks;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Human,
    Json,
}

/// Sends log lines to standard error. `WAYPOST_LOG` filters them, such as `waypost_access=debug,info`; without it `usual`
/// does.
pub fn start(form: Form, usual: &str) {
    let filter = EnvFilter::try_from_env("WAYPOST_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first subscriber.
    let _ = match form {
        // Without colours: asked for them without the crate's feature, it complains on every start.
        Form::Human => registry.with(layer.with_target(false)).try_init(),
        Form::Json => registry.with(layer.json().flatten_event(true).with_current_span(true)).try_init(),
    };
    panics::count_from_now_on();
}
