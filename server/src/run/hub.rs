//! The hub, put together: what it sends over, what looks at its messages, what it is measured by.

use super::transport as meant;
use crate::copies::Copies;
use crate::dns::MailAuth;
use crate::legs::LegBook;
use crate::logs::all::Logs;
use crate::outbound::{MilterOpener, Tcp, TlsClient};
use crate::run::organisation::Organisation;
use crate::why::Stories;
use crate::{machine, resources};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use waypost_admin::run::Answer;
use waypost_admin::settings::Settings;
use waypost_directory::signin::Authority;
use waypost_queue::pressure::{Level, Meter, Resource};
use waypost_transport::agent::Agent;
use waypost_transport::agents::milter::MilterAgent;
use waypost_transport::send::Network;
use waypost_transport::{Hub, Parts, outbox, send};
use waypost_trust::leg::Inner;

/// How often the machine is measured, as Exchange does.
const MEASURED: Duration = Duration::from_secs(2);

/// The hub with the parts of it that settings change while it runs.
pub struct Works {
    pub hub: Arc<Hub>,
    pub mail_auth: MailAuth,
    pub milters: Arc<MilterAgent>,
    pub copies: Arc<Copies>,
}

impl Works {
    /// `listeners` are our own addresses: mail that is routed by MX never goes there.
    pub fn new(
        organisation: &Organisation,
        chosen: &Settings,
        sign_in: Arc<dyn Authority>,
        logs: &Logs,
        legs: &LegBook,
        listeners: Vec<SocketAddr>,
        inner: Arc<dyn Inner>,
    ) -> io::Result<Works> {
        let root = organisation.place.root();
        let mail_auth = MailAuth::open(chosen, root)?;
        let milters = Arc::new(MilterAgent::new(
            meant::milters(chosen),
            Arc::new(MilterOpener),
            Some(Arc::new(legs.clone())),
        ));
        let copies = Arc::new(Copies::new(root.join(&chosen.transport.pipeline_tracing_path)));
        let mut parts = Parts::new(
            Arc::clone(&organisation.directory),
            sign_in,
            organisation.mailboxes.clone(),
            organisation.clock.clone(),
            meant::hub(chosen, root),
        );
        // The judgement first, so that filters see it, and what they add is not taken for forged; the signature covers
        // everything.
        parts.agents = vec![
            Arc::clone(&mail_auth.check) as Arc<dyn Agent>,
            Arc::clone(&milters) as Arc<dyn Agent>,
            Arc::clone(&mail_auth.sign) as Arc<dyn Agent>,
        ];
        parts.network = Some(Network {
            own_listeners: listeners,
            own_addresses: own_addresses(),
            inner: Some(inner),
            log: Some(logs.smtp_send.clone()),
            connectivity: Some(logs.connectivity.clone()),
            ..Network::new(
                Arc::new(mail_auth.names.clone()),
                Arc::new(Tcp),
                Arc::new(TlsClient::default()),
                Arc::new(|| u64::from_be_bytes(machine::random())),
            )
        });
        parts.legs = Some(Arc::new(legs.clone()));
        parts.log = Some(logs.smtp.clone());
        parts.tracking = Some(logs.tracking.clone());
        parts.tracing = Some(copies.clone());
        let (directory, queue) = (Arc::clone(&parts.directory), Arc::clone(&parts.queue));
        let hub = Hub::new(parts);
        let data = organisation.place.root().to_owned();
        hub.set_why(Arc::new(Stories::new(data, directory, queue, organisation.clock.clone())));
        Ok(Works { hub, mail_auth, milters, copies })
    }

    /// What may be changed while it runs.
    pub fn apply(&self, chosen: &Settings, root: &std::path::Path) {
        self.hub.set_settings(meant::hub(chosen, root));
        for (resource, marks) in meant::marks(chosen) {
            self.hub.set_marks(resource, marks);
        }
        self.mail_auth.apply(chosen);
        self.milters.set_filters(meant::milters(chosen));
        self.copies.set_folder(root.join(&chosen.transport.pipeline_tracing_path));
    }

    /// Takes up what an earlier run has left, then sends, keeps the outboxes and watches the machine, until the hub stops.
    pub fn run(&self, store: std::path::PathBuf) -> Vec<tokio::task::JoinHandle<()>> {
        let recovering = Arc::clone(&self.hub);
        let outbox = async move {
            match recovering.queue().recover().await {
                Ok(found) => tracing::info!(?found, "queue taken up"),
                Err(e) => tracing::error!(error = %e, "queue not read"),
            }
            outbox::keep(recovering).await;
        };
        let keys = self.mail_auth.tend(self.hub.clock().clone());
        let stopping = Arc::clone(&self.hub);
        let keys = async move {
            tokio::select! {
                () = keys => {}
                () = stopping.stopped() => {}
            }
        };
        vec![
            tokio::spawn(keys),
            tokio::spawn(send::run(Arc::clone(&self.hub))),
            tokio::spawn(outbox),
            tokio::spawn(measure(Arc::clone(&self.hub), store)),
        ]
    }
}

/// The hub as commands see it.
pub struct Hand(pub Arc<Hub>);

impl waypost_admin::run::Hub for Hand {
    fn give_up(&self, item: u64, by: &str) -> Answer<'_, u64> {
        let by = by.to_owned();
        Box::pin(async move { Ok(send::give_up(&self.0, item, &by).await) })
    }

    fn pressure(&self) -> Vec<Meter> {
        self.0.pressure().meters().to_vec()
    }
}

/// Reads what is used up of the machine, from time to time.
async fn measure(hub: Arc<Hub>, store: std::path::PathBuf) {
    let mut ticks = tokio::time::interval(MEASURED);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = hub.stopped() => return,
        }
        let mut readings = vec![(Resource::DeliveryQueues, hub.queue().len())];
        let measured = [
            (Resource::UsedDiskSpace, resources::disk_used_percent(&store)),
            (Resource::PrivateBytes, resources::memory_used_percent()),
            (Resource::SystemMemory, resources::system_memory_used_percent()),
        ];
        for (resource, value) in measured {
            match value {
                Ok(value) => readings.push((resource, u64::from(value))),
                Err(e) => tracing::debug!(%resource, error = %e, "not measured"),
            }
        }
        for change in hub.measured(&readings) {
            let (resource, value) = (change.resource, change.value);
            if change.to == Level::Normal {
                tracing::info!(%resource, value, "back pressure is over");
            } else {
                tracing::warn!(%resource, value, level = %change.to, "back pressure: mail is refused for now");
            }
        }
    }
}

/// The addresses of this machine's interfaces, as the kernel lists them.
pub fn own_addresses() -> Vec<IpAddr> {
    let four = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let six = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut all = addresses_of_trie(&four);
    all.extend(six.lines().filter_map(|line| {
        let digits = u128::from_str_radix(line.split_whitespace().next()?, 16).ok()?;
        Some(IpAddr::from(digits.to_be_bytes()))
    }));
    all.sort();
    all.dedup();
    all
}

/// In the trie an address of our own is a line `|-- 192.0.2.1` before `/32 host LOCAL`.
fn addresses_of_trie(text: &str) -> Vec<IpAddr> {
    let mut last: Option<IpAddr> = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse().ok();
        } else if line.trim() == "/32 host LOCAL" {
            found.extend(last);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_addresses() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.0\n        /8 host LOCAL\n     |-- 127.0.0.1\n        \
                    /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n     |-- 192.0.2.7\n        /32 host LOCAL\n";
        assert_eq!(
            addresses_of_trie(text),
            ["127.0.0.1".parse::<IpAddr>().unwrap(), "192.0.2.7".parse().unwrap()]
        );
        assert!(own_addresses().iter().any(IpAddr::is_loopback));
    }
}
