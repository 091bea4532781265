//! The last step: a message into the folder of an account.
//!
//! Laws:
//! - The token of a delivery is made of the queue item and the account, so an account gets an item once, however often
//!   it is tried.
//! - An item leaves the queue only when every account has it or can never have it; what the sender is told of that goes
//!   into the same batch.

use crate::hub::Hub;
use crate::limits::{EVENT_RECIPIENTS, FAN_OUT, MOVING_MILLIS, TRACE_ROOM, UNREADABLE_MILLIS};
use crate::pipeline::{self, Stage};
use crate::report;
use crate::send::inside;
use crate::track::Facts;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use waypost_base::explain::{Cause, Leg, Outcome, Party};
use waypost_base::id::Correlation;
use waypost_base::{FolderId, Timestamp};
use waypost_directory::Recipient;
use waypost_mailbox::{
    Account, AccountError, Content, DeliverError, Delivery, Flags, Mark, NewMessage, Role,
};
use waypost_mime::{Limits as ScanLimits, Scanner};
use waypost_queue::{Fate, Lease, Loaded, Local, Place, QueueError, Reason, Rest, Target};
use waypost_smtp::Status;
use waypost_store::Blob;
use waypost_tracking::{Event, EventId, Message, Recipient as Told, Source};

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
    pub(crate) local: Local,
    pub(crate) content: Content,
    pub(crate) accepted: Timestamp,
    pub(crate) session: Correlation,
    pub(crate) token: Option<[u8; 16]>,
    /// Quota was looked at when the recipient was accepted.
    pub(crate) ignore_quota: bool,
}

/// Why an account did not get a message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undelivered {
    #[error(transparent)]
    Mailbox(#[from] DeliverError),
    #[error("the message has {size} octets, and this recipient takes {limit} at most")]
    TooLarge { size: u64, limit: u64 },
    /// To the server with this id.
    #[error("the mailbox is on {0}")]
    Moved(String),
    #[error("the mailbox is on its way to another server")]
    Moving,
}

impl Undelivered {
    pub(crate) fn retry(&self) -> bool {
        match self {
            Undelivered::Mailbox(e) => e.retry(),
            Undelivered::TooLarge { .. } => false,
            Undelivered::Moved(_) | Undelivered::Moving => true,
        }
    }

    fn reason(&self) -> Reason {
        let (status, temporary) = match self {
            Undelivered::TooLarge { .. } => (Status(5, 3, 4), false),
            Undelivered::Moved(_) => (Status(4, 1, 6), true),
            Undelivered::Moving => (Status(4, 2, 1), true),
            Undelivered::Mailbox(e) if e.disk_full() => (Status(4, 3, 1), true),
            Undelivered::Mailbox(e) if e.retry() => (Status(4, 2, 0), true),
            Undelivered::Mailbox(DeliverError::OverQuota) => (Status(5, 2, 2), false),
            Undelivered::Mailbox(_) => (Status(5, 2, 0), false),
        };
        Reason { status, code: None, server: None, text: self.to_string(), temporary }
    }
}

/// Delivers in one batch, and tells the leg.
pub(crate) async fn deliver(hub: &Hub, job: Job) -> Result<(), Undelivered> {
    let begun = Instant::now();
    let local = job.local;
    let session = job.session;
    let message_id = hub.legs.as_ref().map(|_| job.content.summary.message_id.clone());
    let done = into_folder(hub, job).await;
    match &done {
        Ok(()) => hub.metrics.delivered.one(),
        Err(e) if e.retry() => hub.metrics.delivery_deferred.one(),
        Err(_) => hub.metrics.delivery_failed.one(),
    }
    if let (Some(legs), Some(message_id)) = (&hub.legs, message_id) {
        let who = hub.directory.snapshot().account(local.account).map(|a| a.primary.to_string());
        let host = hub.settings().host.clone();
        let acceptor = Party::new("mailbox", who.unwrap_or_else(|| format!("account {}", local.account)));
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

async fn into_folder(hub: &Hub, job: Job) -> Result<(), Undelivered> {
    let Job { target, local, content, accepted, token, ignore_quota, .. } = job;
    let directory = hub.directory.snapshot();
    let known = directory.account(local.account).cloned();
    let known = known.ok_or(AccountError::NoAccount(local.account)).map_err(DeliverError::from)?;
    if !directory.is_here(&known) {
        return Err(Undelivered::Moved(directory.home_of(&known).to_owned()));
    }
    let settings = hub.settings();
    // Our own trace fields are not the sender's fault.
    let size = content.blob.size.saturating_sub(TRACE_ROOM);
    if let Some(limit) = known.limits.receive_bytes.or(settings.max_receive)
        && local.place != Place::Sent
        && size > limit
    {
        return Err(Undelivered::TooLarge { size: content.blob.size, limit });
    }
    let account = match hub.mailbox_of(&known).await {
        Ok(account) => account,
        // Copied here already, or not yet given up here: the move is about to end.
        Err(AccountError::Elsewhere(_)) => return Err(Undelivered::Moving),
        Err(e) => return Err(DeliverError::from(e).into()),
    };
    let (folder, flags) = match local.place {
        Place::Inbox if settings.tag_is_folder => (tagged(hub, &account, &target), Flags::NONE),
        Place::Inbox => (account.inbox(), Flags::NONE),
        Place::Sent => (with_role(&account, Role::Sent), Flags::SEEN),
        Place::Junk => (with_role(&account, Role::Junk), Flags::NONE),
    };
    let mark = Mark { flags, keywords: 0 };
    let message = NewMessage { content, internal: Some(accepted), mark };
    match account.deliver(Delivery { folder, message, token, ignore_quota }).await {
        Ok(changes) => changes.announce(),
        Err(e) if e.retry() && account.is_frozen() => return Err(Undelivered::Moving),
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

fn with_role(account: &Account, role: Role) -> FolderId {
    let folders = account.folders();
    let found = folders.with_role(role).filter(|folder| folder.selectable).map(|folder| folder.id);
    found.unwrap_or_else(|| account.inbox())
}

/// The folder that the address has a tag for, or the inbox.
fn tagged(hub: &Hub, account: &Account, target: &Target) -> FolderId {
    let Recipient::Account { tag: Some(tag), .. } =
        hub.directory.resolve(&crate::categorize::text(&target.to))
    else {
        return account.inbox();
    };
    let folders = account.folders();
    let same = |path: &str| path.eq_ignore_ascii_case(&tag);
    let found = folders.iter().find(|folder| folder.selectable && same(&folder.path));
    found.map_or_else(|| account.inbox(), |folder| folder.id)
}

pub(crate) fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
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

/// Takes the hop to this server's mailboxes to its end, or puts it off. For each lease that the queue hands out.
pub async fn lease(hub: Arc<Hub>, mut lease: Lease) -> Pass {
    let loaded = async {
        let loaded = lease.load().await?;
        let content = content(&hub, &loaded.blob).await?;
        Ok::<_, QueueError>((loaded, content))
    };
    match loaded.await {
        Ok((loaded, content)) => run(hub, lease, loaded, content).await,
        Err(e) => {
            // Damaged ones are with the poisoned by now; the others are there again when the lease goes.
            tracing::error!(item = lease.item(), error = %e, "queue item cannot be read");
            if !matches!(e, QueueError::Damaged { .. }) {
                tokio::time::sleep(Duration::from_millis(UNREADABLE_MILLIS)).await;
            }
            Pass::default()
        }
    }
}

/// POISONMESSAGE: an item that was put aside with the evidence.
pub(crate) fn track_poison(hub: &Hub, item: u64, why: &str) {
    let Some(sink) = &hub.tracking else { return };
    let message = Message { item, ..Message::default() };
    let event = Event::of(hub.clock.now(), &message, Source::PoisonMessage, EventId::PoisonMessage);
    sink.track(&event.context(why));
}

/// Brings an item to its accounts, and settles what became of that.
pub(crate) async fn run(hub: Arc<Hub>, lease: Lease, loaded: Loaded, content: Content) -> Pass {
    let item = lease.item();
    let mut pass = Pass::default();
    let mut fates = Vec::with_capacity(loaded.targets.len());
    let mut put_off = None;
    let (here, moved) = {
        let directory = hub.directory.snapshot();
        let here = directory.here().unwrap_or_default().to_owned();
        let moved = if here.is_empty() { Vec::new() } else { inside::moved(&directory, &here, &loaded) };
        (here, moved)
    };
    let gone: BTreeSet<u32> = moved.iter().map(|(index, _)| *index).collect();
    let delivery = inside::delivery_id(&hub, item, &loaded);
    if !moved.is_empty() {
        tracing::debug!(item, server = here, mailboxes = moved.len(), "mail for mailboxes that have moved");
        fates.extend(inside::send_on(&hub, item, &loaded, moved).await);
        pass.deferred += u64::try_from(gone.len().saturating_sub(fates.len())).unwrap_or(0);
    }
    let mut waiting = loaded.targets.iter().filter(|(index, _)| !gone.contains(index));
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < FAN_OUT {
            let Some((index, target)) = waiting.next() else { break };
            let Some(local) = target.local else { continue };
            let job = Job {
                target: target.clone(),
                local,
                content: content.clone(),
                accepted: loaded.envelope.accepted,
                session: loaded.envelope.session,
                token: Some(delivery.part(local.account, local.place)),
                ignore_quota: local.place == Place::Sent || was_asked_for(&loaded, target),
            };
            let (hub, index) = (hub.clone(), *index);
            under_way.spawn(async move { (index, deliver(&hub, job).await) });
        }
        let Some(joined) = under_way.join_next().await else { break };
        match joined {
            Ok((index, Ok(()))) => {
                pass.delivered += 1;
                fates.push((index, Fate::Delivered { by: hub.settings().host.clone() }));
            }
            Ok((_, Err(e))) if e.retry() => {
                pass.deferred += 1;
                put_off.get_or_insert_with(|| e.reason());
            }
            Ok((index, Err(e))) => {
                tracing::warn!(item, session = %loaded.envelope.session, error = %e,
                    "message cannot be delivered");
                pass.failed += 1;
                fates.push((index, Fate::Failed(e.reason())));
            }
            // Held against the item by the lease that ends with this: twice, and it is poison.
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(e) => {
                tracing::error!(item, error = %e, "delivery did not end");
                pass.deferred += 1;
            }
        }
    }
    settle(&hub, lease, &loaded, fates, put_off, pass).await;
    pass
}

/// The recipient itself was accepted, and its quota looked at then; refusing it now would need a report. Of those behind a
/// group or a forwarding nobody has looked yet.
fn was_asked_for(loaded: &Loaded, target: &Target) -> bool {
    let accepted = usize::try_from(target.of).ok().and_then(|of| loaded.recipients.get(of));
    accepted.is_some_and(|accepted| accepted.to == target.to)
}

async fn settle(
    hub: &Arc<Hub>,
    lease: Lease,
    loaded: &Loaded,
    fates: Vec<(u32, Fate)>,
    put_off: Option<Reason>,
    pass: Pass,
) {
    let item = lease.item();
    tell(hub, item, loaded, &fates, put_off.as_ref());
    let reports = report::conclude(hub, loaded, &fates).await;
    let rest = match put_off {
        _ if pass.deferred == 0 => Rest::Done,
        Some(reason) => {
            let moving = matches!(reason.status, Status(4, 1, 6) | Status(4, 2, 1));
            let at = moving.then(|| hub.clock.now().plus_millis(MOVING_MILLIS));
            Rest::Retry { reason, at }
        }
        None => Rest::Back,
    };
    if let Err(e) = hub.queue.settle(lease, fates, rest, reports).await {
        tracing::warn!(item, error = %e, "queue item could not be updated yet");
    }
}

/// The events of a pass, and the copies of a traced message.
fn tell(hub: &Hub, item: u64, loaded: &Loaded, fates: &[(u32, Fate)], put_off: Option<&Reason>) {
    let settings = hub.settings();
    let now = hub.clock.now();
    let envelope = &loaded.envelope;
    let to = loaded.targets.iter().map(|(_, target)| &target.to);
    pipeline::copied(hub, Stage::Delivered, item, envelope, &loaded.blob, to);
    let Some(sink) = &hub.tracking else { return };
    let facts = Facts::of(item, loaded.blob.size, envelope);
    let message = facts.message();
    let directory = hub.directory.snapshot();
    let targets: BTreeMap<u32, &Target> =
        loaded.targets.iter().map(|(index, target)| (*index, target)).collect();
    let address = |index: u32| Some(final_address(&directory, targets.get(&index)?));
    let accepted = envelope.accepted.to_string();
    let delivered: Vec<String> = fates
        .iter()
        .filter(|(_, fate)| matches!(fate, Fate::Delivered { .. }))
        .filter_map(|(index, _)| address(*index))
        .collect();
    for some in delivered.chunks(EVENT_RECIPIENTS) {
        let to: Vec<Told<'_>> = some.iter().map(|address| Told::new(address, "")).collect();
        sink.track(&Event::deliver(now, &message, &to).server(None, &settings.host).info(&accepted));
    }
    for (index, fate) in fates {
        if let (Fate::Failed(reason), Some(address)) = (fate, address(*index)) {
            let status = reason.to_string();
            sink.track(&Event::fail(now, &message, Source::StoreDriver, &[Told::new(&address, &status)]));
        }
    }
    if let Some(reason) = put_off {
        let status = reason.to_string();
        let settled: BTreeSet<u32> = fates.iter().map(|(index, _)| *index).collect();
        let rest = loaded.targets.iter().filter(|(index, _)| !settled.contains(index));
        let rest: Vec<String> =
            rest.take(EVENT_RECIPIENTS).map(|(_, t)| final_address(&directory, t)).collect();
        let to: Vec<Told<'_>> = rest.iter().map(|address| Told::new(address, &status)).collect();
        sink.track(&Event::defer(now, &message, Source::StoreDriver, "", &to));
    }
}

/// The primary address of whoever got it.
pub(crate) fn final_address(directory: &waypost_directory::Snapshot, target: &Target) -> String {
    let account = target.local.and_then(|local| directory.account(local.account));
    account.map_or_else(|| target.to.to_string(), |account| account.primary.to_string())
}

/// The bytes, and what is to be remembered of them, read again.
pub(crate) async fn content(hub: &Hub, blob: &Blob) -> Result<Content, QueueError> {
    let mut scanner = Scanner::new(ScanLimits::stored());
    let mut reader = hub.mailboxes.store().blobs().reader(blob.clone(), 0..blob.size);
    while let Some(piece) = reader.next().await? {
        scanner.feed(&piece);
    }
    Ok(Content { blob: blob.clone(), summary: Arc::new(scanner.finish()) })
}

/// For the reply: what became of a delivery.
pub(crate) fn is_over_quota(e: &Undelivered) -> bool {
    matches!(e, Undelivered::Mailbox(DeliverError::OverQuota))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{NOW, World};
    use waypost_queue::{Accepted, DeliveryId, Envelope, Hop, NewItem, Route};
    use waypost_smtp::Mailbox;

    async fn content(hub: &Hub, text: &[u8]) -> Content {
        let mut writer = hub.mailboxes.writer();
        writer.write(text).await.unwrap();
        writer.finish().await.unwrap()
    }

    fn target(world: &World, name: &str) -> Target {
        let local = Local { account: world.account(name), place: Place::Inbox };
        Target { to: Mailbox::new(name, "contoso.test"), of: 0, local: Some(local) }
    }

    async fn queued(world: &World, text: &[u8]) -> (u64, Content) {
        let hub = &world.hub;
        let content = content(hub, text).await;
        let to = Accepted { to: Mailbox::new("all", "contoso.test"), params: Default::default() };
        let targets = vec![target(world, "ann"), target(world, "ben")];
        let item = NewItem {
            id: hub.queue.next_id(),
            envelope: Envelope::new(Some(Mailbox::new("ann", "contoso.test")), NOW, Correlation(1)),
            blob: content.blob.clone(),
            recipients: vec![to],
            hops: vec![Hop { number: 0, route: Route::Mailbox, targets }],
        };
        let submitted = hub.queue.submit(item, false).await.unwrap();
        (submitted.id, content)
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
    async fn quotas_hold_behind_a_group() {
        for (asked, taken) in [("all", false), ("cat", true)] {
            let world = World::new().await;
            let hub = &world.hub;
            let content = content(hub, &large()).await;
            let to = Accepted { to: Mailbox::new(asked, "contoso.test"), params: Default::default() };
            let item = NewItem {
                id: hub.queue.next_id(),
                envelope: Envelope::new(Some(Mailbox::new("ann", "contoso.test")), NOW, Correlation(1)),
                blob: content.blob.clone(),
                recipients: vec![to],
                hops: vec![Hop { number: 0, route: Route::Mailbox, targets: vec![target(&world, "cat")] }],
            };
            hub.queue.submit(item, false).await.unwrap();
            let pass = world.work().await;
            assert_eq!(pass.failed, u64::from(!taken), "{asked}");
            assert_eq!(world.inbox("cat").await.len(), usize::from(taken), "{asked}");
            let reports = world.inbox("ann").await;
            assert_eq!(reports.len(), usize::from(!taken), "{asked}");
            assert!(reports.iter().all(|report| report.contains("Status: 5.2.2")), "{reports:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_between_any_two_steps_loses_nothing_and_doubles_nothing() {
        for text in [b"Subject: x\r\n\r\nsmall\r\n".to_vec(), large()] {
            for delivered_before in 0..3 {
                let world = World::new().await;
                let (item, content) = queued(&world, &text).await;
                for name in ["ann", "ben"].into_iter().take(delivered_before) {
                    let target = target(&world, name);
                    let local = target.local.unwrap();
                    let job = Job {
                        target,
                        local,
                        content: content.clone(),
                        accepted: NOW,
                        session: Correlation(1),
                        token: Some(
                            DeliveryId::of("", item, &content.blob.id).part(local.account, local.place),
                        ),
                        ignore_quota: true,
                    };
                    deliver(&world.hub, job).await.unwrap();
                }
                let after = world.restart().await;
                assert_eq!(after.hub.queue.len(), 1);
                assert_eq!(after.work().await, Pass { delivered: 2, deferred: 0, failed: 0 });
                for name in ["ann", "ben"] {
                    assert_eq!(after.inbox(name).await.len(), 1, "{name}, {delivered_before} before");
                }
                assert!(after.hub.queue.is_empty());
                assert_eq!(after.restart().await.hub.queue.len(), 0);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_off_stays_and_is_tried_again() {
        let world = World::new().await;
        let (item, _) = queued(&world, b"Subject: x\r\n\r\n").await;
        world.model.set_full(Some("no space"));
        assert_eq!(world.work().await, Pass { delivered: 0, deferred: 2, failed: 0 });
        assert!(world.seen.events("DEFER").len() == 1, "{:?}", world.seen.events(""));
        world.model.set_full(None);
        // Also that it was put off could not be written, and is now.
        world.later(60_000);
        assert_eq!(world.work().await, Pass::default());
        world.hub.queue.retry(item).await.unwrap();
        assert_eq!(world.work().await, Pass { delivered: 2, deferred: 0, failed: 0 });
        assert_eq!(world.inbox("ben").await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_is_gone_does_not_hold_up_the_others_and_the_sender_hears_of_it() {
        let world = World::new().await;
        queued(&world, b"Subject: x\r\n\r\n").await;
        world.directory.remove_account(world.account("ben")).await.unwrap();
        let pass = world.work().await;
        assert_eq!((pass.delivered, pass.failed), (2, 1), "the message, and the report about ben");
        let ann = world.inbox("ann").await;
        assert!(
            ann.iter().any(|m| m.contains("multipart/report") && m.contains("Action: failed")),
            "{ann:?}"
        );
        assert!(world.hub.queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn tags_are_folders_where_that_is_wanted() {
        let world = World::with(|settings| settings.tag_is_folder = true).await;
        let ann = world.hub.mailbox(world.account("ann")).await.unwrap();
        let lists = ann.create_folder("Lists", None).await.unwrap();
        let content = content(&world.hub, b"Subject: x\r\n\r\n").await;
        for address in ["ann+lists", "ann+other"] {
            let target = Target { to: Mailbox::new(address, "contoso.test"), ..target(&world, "ann") };
            let local = target.local.unwrap();
            let content = content.clone();
            let job = Job {
                target,
                local,
                content,
                accepted: NOW,
                session: Correlation(1),
                token: None,
                ignore_quota: true,
            };
            deliver(&world.hub, job).await.unwrap();
        }
        assert_eq!(ann.status(lists.id).await.unwrap().messages, 1);
        assert_eq!(world.inbox("ann").await.len(), 1);
    }
}
