//! The last step: a message into the folder of an account.
//!
//! Laws:
//! - The token of a delivery is made of the queue item and the account, so an account gets an item once, however often
//!   it is tried.
//! - An item leaves the queue only when every account has it or can never have it.

use crate::categorize::{Place, Target};
use crate::hub::{Claim, Hub};
use crate::limits::FAN_OUT;
use crate::limits::RETRY_MILLIS;
use crate::queue::{self, Item, QueueError};
use crate::report::{self, About, Fate};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use waypost_base::Timestamp;
use waypost_base::explain::{Cause, Leg, Outcome, Party};
use waypost_base::id::Correlation;
use waypost_directory::Recipient;
use waypost_mailbox::{Content, DeliverError, Delivery, Flags, Mark, NewMessage, Role};
use waypost_mime::{Limits as ScanLimits, Scanner};

const PUT_OFF: Cause = Cause {
    code: "DELIVER-DEFERRED",
    meaning: "the account could not take the message now; it is tried again",
    remedy: "look at the store's health: disk space and errors",
    reference: "RFC 5321 §4.5.4",
};
const FAILED: Cause = Cause {
    code: "DELIVER-FAILED",
    meaning: "the account can never take this message",
    remedy: "see whether the account still exists",
    reference: "RFC 5321 §6.1",
};

/// One message for one account.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) target: Target,
    pub(crate) content: Content,
    pub(crate) accepted: Timestamp,
    pub(crate) session: Correlation,
    pub(crate) token: Option<[u8; 16]>,
    /// Quota was looked at when the recipient was accepted.
    pub(crate) ignore_quota: bool,
}

/// Delivers in one batch, and tells the leg.
pub(crate) async fn deliver(hub: &Hub, job: Job) -> Result<(), DeliverError> {
    let begun = Instant::now();
    let Job { target, content, accepted, session, token, ignore_quota } = job;
    let message_id = hub.legs.as_ref().map(|_| content.summary.message_id.clone());
    let done = into_folder(hub, target, content, accepted, token, ignore_quota).await;
    match &done {
        Ok(()) => hub.metrics.delivered.one(),
        Err(e) if e.retry() => hub.metrics.delivery_deferred.one(),
        Err(_) => hub.metrics.delivery_failed.one(),
    }
    if let (Some(legs), Some(message_id)) = (&hub.legs, message_id) {
        let who = hub.directory.snapshot().account(target.account).map(|a| a.primary.to_string());
        let host = hub.settings().host.clone();
        let acceptor = Party::new("mailbox", who.unwrap_or_else(|| format!("account {}", target.account)));
        let mut leg = Leg::start("deliver", Party::new("hub", host), acceptor, hub.clock.now());
        leg.mechanism = "in-process".into();
        leg.correlation = Some(session);
        leg.step("commit", micros(begun), None);
        leg.outcome = match &done {
            Ok(()) => Outcome::Ok,
            Err(e) => {
                let cause = if e.retry() { PUT_OFF } else { FAILED };
                Outcome::Failed { cause, text: e.to_string(), retry: e.retry() }
            }
        };
        legs.leg(&message_id, leg);
    }
    done
}

async fn into_folder(
    hub: &Hub,
    target: Target,
    content: Content,
    accepted: Timestamp,
    token: Option<[u8; 16]>,
    ignore_quota: bool,
) -> Result<(), DeliverError> {
    let account = hub.mailbox(target.account).await?;
    let (folder, flags) = match target.place {
        Place::Inbox => (account.inbox(), Flags::NONE),
        Place::Sent => {
            let sent = account.folders().with_role(Role::Sent).map(|f| f.id);
            (sent.unwrap_or_else(|| account.inbox()), Flags::SEEN)
        }
    };
    let mark = Mark { flags, keywords: 0 };
    let message = NewMessage { content, internal: Some(accepted), mark };
    account.deliver(Delivery { folder, message, token, ignore_quota }).await?.announce();
    Ok(())
}

pub(crate) fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The same for the same item and target, always.
fn token(item: u64, target: Target) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("waypost 2026 delivery of a queue item to an account");
    hasher.update(&item.to_be_bytes());
    hasher.update(&target.account.0.to_be_bytes());
    hasher.update(&[match target.place {
        Place::Inbox => 0,
        Place::Sent => 1,
    }]);
    let mut token = [0; 16];
    hasher.finalize_xof().fill(&mut token);
    token
}

/// The same for the same report.
fn report_token(item: u64, ended: bool) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("waypost 2026 report on a queue item");
    hasher.update(&item.to_be_bytes());
    hasher.update(&[u8::from(ended)]);
    let mut token = [0; 16];
    hasher.finalize_xof().fill(&mut token);
    token
}

/// What one pass over an item did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    pub delivered: u64,
    /// Still to be tried.
    pub deferred: u64,
    /// Given up.
    pub failed: u64,
}

/// Brings an item to its accounts, and takes it out of the queue when nobody is left.
pub(crate) async fn run(
    hub: Arc<Hub>,
    item: Item,
    content: Content,
    targets: Vec<Target>,
    _claim: Claim,
) -> Pass {
    let mut pass = Pass::default();
    let mut done = Vec::new();
    let mut failed = Vec::new();
    let mut waiting = targets.into_iter();
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < FAN_OUT {
            let Some(target) = waiting.next() else { break };
            let job = Job {
                target,
                content: content.clone(),
                accepted: item.accepted,
                session: item.session,
                token: Some(token(item.id, target)),
                // It was accepted; refusing it now would need a bounce.
                ignore_quota: true,
            };
            let hub = hub.clone();
            under_way.spawn(async move { (target, deliver(&hub, job).await) });
        }
        let Some(joined) = under_way.join_next().await else { break };
        match joined {
            Ok((target, Ok(()))) => {
                pass.delivered += 1;
                done.push(target);
            }
            Ok((_, Err(e))) if e.retry() => pass.deferred += 1,
            Ok((target, Err(e))) => {
                tracing::warn!(item = item.id, account = %target.account, session = %item.session, error = %e,
                    "message cannot be delivered");
                pass.failed += 1;
                done.push(target);
                failed.push((target, e.to_string()));
            }
            // Cancelled, or a fault in a lower room: the item stays and is tried again.
            Err(e) => {
                tracing::error!(item = item.id, error = %e, "delivery did not end");
                pass.deferred += 1;
            }
        }
    }
    if (pass.deferred == 0 && item.reports) || !failed.is_empty() {
        tell(&hub, &item, &content, pass.deferred == 0, &failed).await;
    }
    settle(&hub, &item, &done, pass.deferred).await;
    pass
}

/// Reports to the sender: failures when they happen, successes when the item is done.
async fn tell(hub: &Hub, item: &Item, content: &Content, ended: bool, failed: &[(Target, String)]) {
    let recipients = match queue::recipients(hub.mailboxes.store(), item).await {
        Ok(recipients) => recipients,
        Err(e) => {
            tracing::warn!(item = item.id, error = %e, "recipients cannot be read, so nobody is told");
            return;
        }
    };
    let directory = hub.directory.snapshot();
    let mut fates = Vec::new();
    for recipient in &recipients {
        let reached = directory.resolve(&crate::categorize::text(&recipient.to));
        let fate = match &reached {
            Recipient::Account { account, .. } => {
                let failure = failed.iter().find(|(target, _)| target.account == account.id);
                failure.map_or(Fate::Delivered, |(_, why)| Fate::Failed(why.clone()))
            }
            Recipient::Group(_) => Fate::Expanded,
            // It went away after it was accepted.
            _ => Fate::Failed("the mailbox is gone".to_owned()),
        };
        if ended || matches!(fate, Fate::Failed(_)) {
            fates.push((recipient, fate));
        }
    }
    let about = About {
        from: item.from.as_ref(),
        envid: item.envid.as_deref(),
        ret: item.ret,
        accepted: item.accepted,
        session: item.session,
    };
    report::send(hub, about, content, &fates, Some(report_token(item.id, ended))).await;
}

async fn settle(hub: &Hub, item: &Item, done: &[Target], deferred: u64) {
    let store = hub.mailboxes.store();
    let written = if deferred == 0 {
        let removed = queue::remove(store, item).await;
        if removed.is_ok() {
            hub.metrics.queue_items.add(-1);
        }
        removed
    } else if done.is_empty() {
        return;
    } else {
        queue::mark(store, item.id, done).await
    };
    // The item is met again by `recover`; its tokens keep what was delivered from being delivered twice.
    if let Err(e) = written {
        tracing::warn!(item = item.id, error = %e, "queue item could not be updated");
    }
}

/// What [`recover`] found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub items: u64,
    pub pass: Pass,
    /// Items that could not be read; they stay, and are named here.
    pub damaged: Vec<u64>,
}

/// Takes up every item that nobody is delivering: at start, after a crash, and from time to time for what was put
/// off. Safe at any time.
pub async fn recover(hub: &Arc<Hub>) -> Result<Recovered, QueueError> {
    let store = hub.mailboxes.store();
    let (items, damaged) = queue::list(store).await?;
    hub.metrics.queue_items.set(i64::try_from(items.len() + damaged.len()).unwrap_or(i64::MAX));
    let mut found = Recovered { damaged, ..Recovered::default() };
    for item in items {
        let Some(claim) = hub.claim(item.id) else { continue };
        // It may have been brought to its end after it was listed.
        if !queue::exists(store, item.id).await? {
            continue;
        }
        found.items += 1;
        let loaded =
            async { Ok::<_, QueueError>((load(hub, &item).await?, queue::outstanding(store, &item).await?)) };
        match loaded.await {
            Ok((content, targets)) => {
                let pass = run(hub.clone(), item, content, targets, claim).await;
                found.pass.delivered += pass.delivered;
                found.pass.deferred += pass.deferred;
                found.pass.failed += pass.failed;
            }
            Err(QueueError::Read(e @ waypost_store::ReadError::Unavailable(_))) => return Err(e.into()),
            Err(e) => {
                tracing::error!(item = item.id, error = %e, "queue item cannot be read");
                found.damaged.push(item.id);
            }
        }
    }
    Ok(found)
}

/// Recovers at once, and then looks after what was put off until the hub stops. Run it beside the listeners.
pub async fn tend(hub: Arc<Hub>) {
    let mut stopping = hub.stopping();
    loop {
        match recover(&hub).await {
            Ok(found) if found.items > 0 => tracing::info!(
                items = found.items,
                delivered = found.pass.delivered,
                deferred = found.pass.deferred,
                failed = found.pass.failed,
                "queue looked after"
            ),
            Ok(_) => {}
            Err(e) => tracing::warn!(error = %e, "queue could not be read"),
        }
        tokio::select! {
            _ = tokio::time::sleep(std::time::Duration::from_millis(RETRY_MILLIS)) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// The bytes, and what is to be remembered of them, read again.
async fn load(hub: &Hub, item: &Item) -> Result<Content, QueueError> {
    let store = hub.mailboxes.store();
    let blob = queue::blob(store, item).await?;
    let mut scanner = Scanner::new(ScanLimits::stored());
    let mut reader = store.blobs().reader(blob.clone(), 0..blob.size);
    while let Some(piece) = reader.next().await? {
        scanner.feed(&piece);
    }
    Ok(Content { blob, summary: Arc::new(scanner.finish()) })
}

/// For the reply: what became of a delivery.
pub(crate) fn is_over_quota(e: &DeliverError) -> bool {
    matches!(e, DeliverError::OverQuota)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Accepted;
    use crate::world::{NOW, World};
    use waypost_smtp::{MailParams, Mailbox};

    async fn content(hub: &Hub, text: &[u8]) -> Content {
        let mut writer = hub.mailboxes.writer();
        writer.write(text).await.unwrap();
        writer.finish().await.unwrap()
    }

    async fn queued(world: &World, text: &[u8]) -> (Item, Content, Vec<Target>) {
        let hub = &world.hub;
        let content = content(hub, text).await;
        let item =
            Item::new(hub.next_id(NOW), NOW, Correlation(1), None, &MailParams::default(), &content.blob);
        let targets = vec![Target::inbox(world.account("ann")), Target::inbox(world.account("ben"))];
        let to = Accepted { to: Mailbox::new("all", "contoso.test"), params: Default::default() };
        queue::put(hub.mailboxes.store(), &item, &content.blob, &[to], &targets).await.unwrap();
        (item, content, targets)
    }

    fn large() -> Vec<u8> {
        let mut random = 88172645463325252u64;
        let mut text = b"Subject: large\r\n\r\n".to_vec();
        while text.len() < 300_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text.extend_from_slice(&random.to_be_bytes());
        }
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_between_any_two_steps_loses_nothing_and_doubles_nothing() {
        for text in [b"Subject: x\r\n\r\nsmall\r\n".to_vec(), large()] {
            for delivered_before in 0..3 {
                let world = World::new().await;
                let (item, content, targets) = queued(&world, &text).await;
                for target in targets.iter().take(delivered_before) {
                    let job = Job {
                        target: *target,
                        content: content.clone(),
                        accepted: NOW,
                        session: Correlation(1),
                        token: Some(token(item.id, *target)),
                        ignore_quota: true,
                    };
                    deliver(&world.hub, job).await.unwrap();
                }
                let after = world.restart().await;
                let found = recover(&after.hub).await.unwrap();
                assert_eq!((found.items, found.pass.delivered, found.damaged.len()), (1, 2, 0));
                for name in ["ann", "ben"] {
                    assert_eq!(after.inbox(name).await.len(), 1, "{name}, {delivered_before} before");
                }
                assert_eq!(queue::list(after.hub.mailboxes.store()).await.unwrap(), (vec![], vec![]));
                assert_eq!(recover(&after.hub).await.unwrap(), Recovered::default());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_off_stays_and_is_tried_again() {
        let world = World::new().await;
        queued(&world, b"Subject: x\r\n\r\n").await;
        world.model.set_full(Some("no space"));
        let found = recover(&world.hub).await.unwrap();
        assert_eq!((found.pass.delivered, found.pass.deferred), (0, 2));
        world.model.set_full(None);
        let found = recover(&world.hub).await.unwrap();
        assert_eq!((found.pass.delivered, found.pass.deferred), (2, 0));
        assert_eq!(world.inbox("ben").await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_is_gone_does_not_hold_up_the_others() {
        let world = World::new().await;
        queued(&world, b"Subject: x\r\n\r\n").await;
        world.directory.remove_account(world.account("ben")).await.unwrap();
        let found = recover(&world.hub).await.unwrap();
        assert_eq!((found.pass.delivered, found.pass.failed), (1, 1));
        assert_eq!(world.inbox("ann").await.len(), 1);
        assert_eq!(queue::list(world.hub.mailboxes.store()).await.unwrap(), (vec![], vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_is_delivered_by_one_task_at_a_time() {
        let world = World::new().await;
        let (item, ..) = queued(&world, b"Subject: x\r\n\r\n").await;
        let claim = world.hub.claim(item.id).unwrap();
        assert!(world.hub.claim(item.id).is_none());
        assert_eq!(recover(&world.hub).await.unwrap(), Recovered::default());
        drop(claim);
        assert_eq!(recover(&world.hub).await.unwrap().items, 1);
    }
}
