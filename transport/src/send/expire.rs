//! Messages whose time is over, and those whose senders have waited long enough to be told.

use super::session::settle;
use super::{route, tell};
use crate::hub::Hub;
use crate::report;
use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_queue::{Fate, Lease, Loaded, NextHop, Reason, Rest, Route, Router};
use waypost_smtp::Status;
use waypost_tracking::Source;

/// Returns what could not be brought on in time, with the last thing that stood in the way.
pub(super) async fn expired(hub: Arc<Hub>, mut lease: Lease) {
    let item = lease.item();
    let loaded = match lease.load().await {
        Ok(loaded) => loaded,
        Err(e) => return unread(item, &e),
    };
    let mut reason = Reason::permanent(Status(4, 4, 7), "message expired");
    let mut loaded = loaded;
    if let Some((last, _)) = obstacle(&hub, lease.route(), &loaded) {
        let said = Reason { server: None, ..last.clone() };
        reason.text = format!("message expired; the last attempt: {said}");
        reason.server.clone_from(&last.server);
        loaded.last_error.get_or_insert(last);
    }
    let fates: Vec<(u32, Fate)> =
        loaded.targets.iter().map(|(index, _)| (*index, Fate::Failed(reason.clone()))).collect();
    hub.metrics.send_failed.add(u64::try_from(fates.len()).unwrap_or(u64::MAX));
    tell::failed(&hub, item, &loaded, &reason, "", Source::Queue);
    let reports = report::conclude(&hub, &loaded, &fates).await;
    settle(&hub, lease, fates, Rest::Done, reports).await;
}

/// Gives up what of an item is not being sent at this moment, because an administrator says so; its sender is told. Says
/// for how many recipients.
pub async fn give_up(hub: &Arc<Hub>, item: u64, by: &str) -> u64 {
    let mut count = 0;
    for mut lease in hub.queue.claim(item) {
        let loaded = match lease.load().await {
            Ok(loaded) => loaded,
            Err(e) => {
                unread(item, &e);
                continue;
            }
        };
        let mut reason = Reason::permanent(Status(5, 7, 0), format!("removed from the queue by {by}"));
        if let Some((last, _)) = obstacle(hub, lease.route(), &loaded) {
            reason.text = format!("{}; it had waited because: {last}", reason.text);
        }
        let fates: Vec<(u32, Fate)> =
            loaded.targets.iter().map(|(index, _)| (*index, Fate::Failed(reason.clone()))).collect();
        count += fates.len() as u64;
        tell::failed(hub, item, &loaded, &reason, "", Source::Admin);
        let reports = report::conclude(hub, &loaded, &fates).await;
        settle(hub, lease, fates, Rest::Done, reports).await;
    }
    count
}

/// Tells the sender that it takes longer.
pub(super) async fn warned(hub: Arc<Hub>, mut lease: Lease) {
    let item = lease.item();
    let loaded = match lease.load().await {
        Ok(loaded) => loaded,
        Err(e) => return unread(item, &e),
    };
    let (reason, next) = obstacle(&hub, lease.route(), &loaded)
        .unwrap_or_else(|| (Reason::temporary(Status(4, 4, 1), "its turn has not come yet"), None));
    let report = report::delayed(&hub, &loaded, &reason, next).await;
    settle(&hub, lease, Vec::new(), Rest::Warned, report.into_iter().collect()).await;
}

/// What stands in the way: the message's own last error, the queue's, or that there is no way.
fn obstacle(hub: &Hub, route: &Route, loaded: &Loaded) -> Option<(Reason, Option<Timestamp>)> {
    if let Some(last) = &loaded.last_error {
        return Some((last.clone(), None));
    }
    let hop = hub.routes.next_hop(route);
    if hop == NextHop::Unreachable {
        return Some((Reason::temporary(Status(4, 4, 4), route::NO_CONNECTOR), None));
    }
    // There may be a million of them: none may look through all the others.
    hub.queue.last_error(&hop)
}

fn unread(item: u64, e: &waypost_queue::QueueError) {
    tracing::error!(item, error = %e, "queue item cannot be read");
}
