//! What waits, and the state of the hub: queues that do not move, messages that broke their handling, resources that are used
//! up.

use super::cause;
use super::ground::{Ground, Tried};
use super::refine::pressure_fault;
use crate::probe::Fault;
use std::time::Instant;
use waypost_base::explain::Party;
use waypost_health::Subject;
use waypost_queue::{Filter, MessageInfo, NextHop, QueueInfo, QueueStatus};
use waypost_transport::ComponentState;

/// Mail that has waited for so long is told of, whatever it waits for.
const OLD_MILLIS: i64 = 4 * 60 * 60 * 1000;
/// A destination may fail so often before its queue is told of: other people's servers have their bad hours.
const RETRIES: u32 = 3;
/// Of our own servers a message waits no longer than this.
const OWN_MILLIS: i64 = 5 * 60 * 1000;
/// A queue of this length that still grows is told of.
const GROWS: u64 = 1_000;
/// Messages that a finding tells of.
const SHOWN: usize = 3;

fn result(ground: &Ground, what: &str, begun: Instant, fault: Option<(Fault, Option<Subject>)>) -> Tried {
    let here = ground.here();
    let (done, culprit) = match fault {
        Some((fault, culprit)) => (Err(fault), culprit),
        None => (Ok(()), None),
    };
    let looked = ground.looked(what, Party::new("hub", here.clone()), begun, done);
    Tried { culprit, ..Tried::of(vec![Subject::Queue(here)]) }.with(looked)
}

/// Whether the hub takes messages.
pub fn hub(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let state = ground.services.works.hub.state();
    let here = ground.here();
    let fault = (state != ComponentState::Active).then(|| {
        let text = format!("HubTransport of {here} is {state:?}");
        (Fault::new(cause::COMPONENT, text), Some(Subject::listener(&here, "HubTransport")))
    });
    result(ground, "hub.state", begun, fault)
}

pub fn back_pressure(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let here = ground.here();
    let about = |cause: waypost_base::explain::Cause| match cause {
        cause::DISK_FULL => Subject::Disk(here.clone()),
        cause::MEMORY => Subject::Memory(here.clone()),
        _ => Subject::Queue(here.clone()),
    };
    let fault = pressure_fault(ground).map(|fault| {
        let culprit = about(fault.cause);
        (fault, Some(culprit))
    });
    result(ground, "hub.back-pressure", begun, fault)
}

pub async fn poison(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let lines = lines(ground, |q| q.next_hop == NextHop::Poison && q.message_count > 0);
    let fault = match lines.first() {
        Some(line) => {
            let text = format!("{} messages are in the poison queue", line.message_count);
            let evidence = evidence(ground, line).await;
            Some((Fault { evidence, ..Fault::new(cause::POISON, text) }, None))
        }
        None => None,
    };
    result(ground, "hub.poison", begun, fault)
}

/// What the first messages of a queue came to grief by.
async fn evidence(ground: &Ground, line: &QueueInfo) -> Vec<String> {
    let only = Filter { queue: Some(line.identity.clone()), ..Filter::default() };
    let page = ground.services.works.hub.queue().get_messages(&only, |_| true, None, SHOWN).await;
    let told = |m: &MessageInfo| {
        format!("{}: {}", m.identity(), m.last_error.as_deref().unwrap_or("nothing is known"))
    };
    match page {
        Ok(page) => page.messages.iter().take(SHOWN).map(told).collect(),
        Err(e) => vec![format!("the messages cannot be looked at: {e}")],
    }
}

pub fn unreachable(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let lines = lines(ground, |q| q.next_hop == NextHop::Unreachable && q.message_count > 0);
    let fault = lines.first().map(|q| {
        let text =
            format!("{} messages wait for destinations that no send connector leads to", q.message_count);
        (Fault::new(cause::UNREACHABLE, text).seen(described(q)), None)
    });
    result(ground, "hub.unreachable", begun, fault)
}

/// Queues to other places that fail again and again, have been suspended, or are old.
pub fn submission(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let now = ground.now();
    let special =
        |q: &QueueInfo| matches!(q.next_hop, NextHop::Mailbox | NextHop::Unreachable | NextHop::Poison);
    let lines = lines(ground, |q| !special(q) && !is_internal(q) && q.message_count > 0);
    let fault = lines.iter().find_map(|q| fault_of(ground, q, now));
    result(ground, "hub.queues", begun, fault)
}

fn is_internal(q: &QueueInfo) -> bool {
    matches!(q.next_hop, NextHop::Home(_) | NextHop::Hub)
}

/// The same between the servers of the organisation.
pub fn internal(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let now = ground.now();
    let lines = lines(ground, |q| is_internal(q) && q.message_count > 0);
    let fault = lines.iter().find_map(|q| fault_of(ground, q, now));
    result(ground, "hub.internal-queues", begun, fault)
}

/// Deliveries to mailboxes of this server.
pub fn mailbox(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let now = ground.now();
    let lines = lines(ground, |q| q.next_hop == NextHop::Mailbox && q.message_count > 0);
    let fault = lines.iter().find_map(|q| fault_of(ground, q, now));
    result(ground, "hub.deliveries", begun, fault)
}

fn lines(ground: &Ground, fits: impl Fn(&QueueInfo) -> bool) -> Vec<QueueInfo> {
    ground.services.works.hub.queue().list_queues(fits)
}

fn described(q: &QueueInfo) -> String {
    let error = q.last_error.as_ref().map_or("none", |e| e.text.as_str());
    let oldest = q.oldest.map_or_else(|| "unknown".to_owned(), |at| at.to_string());
    format!(
        "queue {}: {} messages, {} put off, the oldest of {oldest}, {} retries, last error: {error}",
        q.identity, q.message_count, q.deferred_count, q.retry_count
    )
}

fn culprit(ground: &Ground, q: &QueueInfo) -> Option<Subject> {
    match &q.next_hop {
        NextHop::Home(id) => Some(Subject::leg(&ground.here(), id)),
        NextHop::Server { host, .. } => Some(Subject::Peer(host.clone())),
        NextHop::Connector { domain: Some(domain), .. } => Some(Subject::Peer(domain.clone())),
        _ => None,
    }
}

fn fault_of(
    ground: &Ground,
    q: &QueueInfo,
    now: waypost_base::Timestamp,
) -> Option<(Fault, Option<Subject>)> {
    let age = q.oldest.map_or(0, |at| now.since(at));
    let ours = matches!(q.next_hop, NextHop::Home(_) | NextHop::Hub | NextHop::Mailbox);
    let old = if ours { OWN_MILLIS } else { OLD_MILLIS };
    let (cause, text) = match () {
        () if q.status == QueueStatus::Suspended => (
            cause::QUEUE_SUSPENDED,
            format!("queue {} is suspended with {} messages", q.identity, q.message_count),
        ),
        () if q.retry_count >= RETRIES && q.status == QueueStatus::Retry => {
            (cause::QUEUE_STUCK, format!("queue {} has failed {} times", q.identity, q.retry_count))
        }
        () if age > old => (
            cause::QUEUE_GROWS,
            format!("the oldest message of queue {} waits for {} minutes", q.identity, age / 60_000),
        ),
        () if q.message_count > GROWS && q.velocity() < 0.0 => {
            (cause::QUEUE_GROWS, format!("queue {} has {} messages and grows", q.identity, q.message_count))
        }
        () => return None,
    };
    Some((Fault::new(cause, text).seen(described(q)), culprit(ground, q)))
}

/// Why mail for a server's mailboxes waits, if something is known of it.
pub fn line_to(ground: &Ground, home: &str) -> Option<(Fault, Option<Subject>)> {
    let here = ground.here();
    let wanted = |q: &QueueInfo| match &q.next_hop {
        NextHop::Home(id) => id == home,
        NextHop::Mailbox => home == here,
        NextHop::Hub => true,
        _ => false,
    };
    let hub = ground.services.works.hub.state();
    if hub != ComponentState::Active && ground.services.roles.transport {
        let text = format!("HubTransport of {here} is {hub:?}: what it has stays where it is");
        return Some((Fault::new(cause::COMPONENT, text), Some(Subject::listener(&here, "HubTransport"))));
    }
    let lines = lines(ground, |q| wanted(q) && q.message_count > 0);
    let line = lines.first()?;
    if line.status == QueueStatus::Suspended {
        let text = format!("queue {} is suspended", line.identity);
        return Some((
            Fault::new(cause::QUEUE_SUSPENDED, text).seen(described(line)),
            Some(Subject::Queue(here)),
        ));
    }
    let error = line.last_error.as_ref()?;
    let text = format!("queue {} waits: {}", line.identity, error.text);
    Some((Fault::new(cause::QUEUE_STUCK, text).seen(described(line)), culprit(ground, line)))
}
