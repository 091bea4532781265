//! The way out: what the queue holds for others goes over SMTP to the servers that take it.
//!
//! [`route`] chooses the connector of a domain from the settings of the moment; [`mx`] finds the addresses behind it;
//! the engine takes tickets from the queue, opens connections and settles what became of each recipient. Sockets, names
//! and TLS come from outside ([`Network`]), so that a test can be the whole internet.

mod cause;
mod connect;
mod expire;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod inside;
mod link;
pub mod log;
mod mx;
mod outcome;
pub mod route;
mod session;
mod tell;
mod way;

pub use expire::give_up;

use crate::deliver;
use crate::hub::Hub;
use crate::limits::GRACE_MILLIS;
use crate::sink::ProtocolLog;
use crate::state::ComponentState;
use log::ConnectivityLog;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use waypost_base::id::Correlation;
use waypost_queue::{Reason, Ticket, Work};
use waypost_smtp::Status;
use waypost_trust::channel::{Dial, TlsConnect};
use waypost_trust::dns::Dns;
use waypost_trust::leg::Inner;

/// What sending needs of the world outside.
#[derive(Clone)]
pub struct Network {
    pub dns: Arc<dyn Dns>,
    pub dial: Arc<dyn Dial>,
    pub tls: Arc<dyn TlsConnect>,
    /// Random bits: the order of hosts that are equally good, and the numbers of sessions.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Legs to other servers of the organisation; `None` where there are none.
    pub inner: Option<Arc<dyn Inner>>,
    /// Where our own doors are. Mail that is routed by MX never goes there: it would come back. An unspecified address
    /// (`0.0.0.0`, `::`) stands for every address in `own_addresses` and loopback.
    pub own_listeners: Vec<SocketAddr>,
    /// Addresses of this machine.
    pub own_addresses: Vec<std::net::IpAddr>,
    /// The SMTP send protocol log: the same records as those of the receive log.
    pub log: Option<Arc<dyn ProtocolLog>>,
    pub connectivity: Option<Arc<dyn ConnectivityLog>>,
}

impl Network {
    /// `random` hands out random bits at each call.
    pub fn new(
        dns: Arc<dyn Dns>,
        dial: Arc<dyn Dial>,
        tls: Arc<dyn TlsConnect>,
        random: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Network {
        Network {
            dns,
            dial,
            tls,
            random,
            inner: None,
            own_listeners: Vec::new(),
            own_addresses: Vec::new(),
            log: None,
            connectivity: None,
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("own_listeners", &self.own_listeners).finish_non_exhaustive()
    }
}

/// A ticket of the queue, under way.
pub(crate) struct Journey {
    hub: Arc<Hub>,
    network: Network,
    ticket: Ticket,
    session: Correlation,
}

/// The engine: takes work from the queue and does it until the hub stops. Spawned once, beside the listeners. The queue
/// has to be recovered by then, or be recovered meanwhile.
///
/// While the hub is inactive nothing is begun; what was begun ends with the message that is under way.
pub async fn run(hub: Arc<Hub>) {
    let stopper = tokio::spawn(stop_queue(hub.clone()));
    let teller = tokio::spawn(tell_of_poison(hub.clone()));
    let mut tasks = JoinSet::new();
    let mut state = hub.watch_state();
    loop {
        tokio::select! {
            biased;
            () = stopped(&hub) => {}
            // Fails only when the hub is gone.
            _ = state.wait_for(|state| *state != ComponentState::Inactive) => {}
        }
        // Not to be cut short: it may be writing down what has happened.
        let work = hub.queue.work().await;
        while let Some(ended) = tasks.try_join_next() {
            look(ended);
        }
        if matches!(work, Work::Stop) {
            break;
        }
        if hub.state() == ComponentState::Inactive {
            // Dropped, it is there again afterwards.
            continue;
        }
        begin(&hub, work, &mut tasks);
    }
    let grace = Duration::from_millis(GRACE_MILLIS);
    let ended = tokio::time::timeout(grace, async {
        while let Some(ended) = tasks.join_next().await {
            look(ended);
        }
    });
    if ended.await.is_err() {
        tracing::warn!(tasks = tasks.len(), "connections are cut, because the time to stop is over");
    }
    stopper.abort();
    teller.abort();
}

async fn tell_of_poison(hub: Arc<Hub>) {
    loop {
        let (item, why) = hub.queue.poisoned().await;
        deliver::track_poison(&hub, item, &why);
    }
}

async fn stop_queue(hub: Arc<Hub>) {
    stopped(&hub).await;
    hub.queue.stop();
}

async fn stopped(hub: &Hub) {
    let mut stopping = hub.stopping();
    // Fails only when the hub is gone, which ends the work too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// A panic is held against its item by the lease; here it is only told.
fn look(ended: Result<(), JoinError>) {
    if let Err(e) = ended
        && e.is_panic()
    {
        tracing::error!(error = %e, "the handling of a queue item broke down");
    }
}

fn begin(hub: &Arc<Hub>, work: Work, tasks: &mut JoinSet<()>) {
    let hub = hub.clone();
    match work {
        Work::Connect(ticket) => match hub.network.clone() {
            Some(network) => {
                let session = Correlation((network.random)());
                tasks.spawn(Journey { hub, network, ticket, session }.run());
            }
            None => {
                ticket.failed(Reason::temporary(Status(4, 4, 0), "this server has no network to send over"))
            }
        },
        Work::Deliver(lease) => {
            tasks.spawn(async move {
                deliver::lease(hub, lease).await;
            });
        }
        Work::Expired(lease) => {
            tasks.spawn(expire::expired(hub, lease));
        }
        Work::Warn(lease) => {
            tasks.spawn(expire::warned(hub, lease));
        }
        Work::Stop => {}
    }
}
