//! Between the hub and the mailboxes of this server: a message of the queue into a mailbox (delivery), and one that a mailbox
//! hands to the hub (submission), both without listeners, TLS and the network, so that it is seen which of the two is at fault.

use super::cause::{self, MANNER};
use super::flow::{ARRIVAL_MIN, LOOK, LOOK_MAX, hand_in, message_id, waits};
use super::ground::{Ground, Tried, micros};
use super::{out, refine};
use crate::probe::{Done, Fault, Talk, Way, say};
use std::sync::Arc;
use std::time::{Duration, Instant};
use waypost_base::MessageId;
use waypost_base::explain::{Leg, Party};
use waypost_directory::Account;
use waypost_health::Subject;
use waypost_mailbox::UidSet;
use waypost_queue::{Filter, Local, Place, Route, Target};
use waypost_smtp::Mailbox;
use waypost_transport::ComponentState;

/// Of a health mailbox, the newest so many messages are looked at.
const NEWEST: u32 = 64;

/// From the queue into a mailbox of this server.
pub async fn delivery(ground: &Ground, account: &Arc<Account>, limit: Duration) -> Tried {
    let here = ground.here();
    if ground.services.works.hub.state() == ComponentState::Inactive {
        return super::queue::hub(ground);
    }
    let through = vec![Subject::Queue(here.clone()), Subject::Store(here.clone())];
    let mut leg = ground.leg("mail.delivery", Party::new("mailbox", account.primary.to_string()));
    leg.mechanism = "in-process".into();
    let id = message_id(ground);
    let (local, domain) = (account.primary.local(), account.primary.domain());
    let target = Target {
        to: Mailbox::new(local, domain),
        of: 0,
        local: Some(Local { account: account.id, place: Place::Inbox }),
    };
    let arrival = limit.max(ARRIVAL_MIN);
    let begun = Instant::now();
    let item = out::put(ground, &id, Route::Mailbox, target, arrival).await;
    leg.step("queue", micros(begun), item.as_ref().err().map(|(fault, _)| fault.text.clone()));
    let item = match item {
        Ok(item) => item,
        Err((fault, culprit)) => {
            let (leg, finding) = ground.closed(leg, Err::<(), _>(fault));
            let mut tried = Tried::of(through);
            tried.legs.push(leg);
            return tried.because(finding, culprit);
        }
    };
    let tried = awaited(ground, leg, (account, &id), arrival, through).await;
    let queue = ground.services.works.hub.queue();
    if tried.fault.is_some() || out::settled(queue, item).await.is_err() {
        // It is gone, or goes as soon as nobody handles it.
        let _ = queue.remove(item).await;
    }
    tried
}

/// Handed to this server's own submission service in memory, signed in as the mailbox, and waited for.
pub async fn submission(ground: &Ground, account: &Arc<Account>, limit: Duration) -> Tried {
    let here = ground.here();
    let through =
        vec![Subject::Directory(here.clone()), Subject::Queue(here.clone()), Subject::Store(here.clone())];
    let mut leg = ground.leg("mail.submission", Party::new("hub", here.clone()));
    let id = message_id(ground);
    let done = match tokio::time::timeout(limit, handed_in(ground, account, &id, &mut leg)).await {
        Ok(done) => done,
        Err(_) => {
            let text = format!("a message is not taken in {:.1} seconds", limit.as_secs_f64());
            Err(Fault::new(MANNER.time, text))
        }
    };
    if let Err(fault) = done {
        let better = refine::refine(ground, "submission", Some(&here), &leg, &fault);
        let (leg, finding) = ground.closed(leg, Err::<(), _>(fault));
        let mut tried = Tried::of(through);
        tried.legs.push(leg);
        return match better {
            Some(better) => tried.because(Some(better.finding), better.culprit),
            None => tried.because(finding, None),
        };
    }
    let tried = awaited(ground, leg, (account, &id), limit.max(ARRIVAL_MIN), through).await;
    if tried.fault.is_some() {
        recall(ground, account, &id).await;
    }
    tried
}

async fn handed_in(ground: &Ground, account: &Arc<Account>, id: &str, leg: &mut Leg) -> Done {
    let who = ground.who(account);
    let (mut talk, serving) = super::inside::submission(ground);
    let work = async |talk: &mut Talk| {
        let offer = say::reach_by(talk, "submissions").await?;
        let plain = |way: &&Way| matches!(way, Way::Mechanism(waypost_sasl::Mechanism::Plain));
        let by = offer.iter().find(plain).or_else(|| offer.first());
        let Some(by) = by else { return Err(Fault::new(cause::NO_WAY, "no way to sign in is offered")) };
        say::sign_in(talk, "submissions", *by, &who).await?;
        hand_in(talk, &who.address, &who.address, id).await
    };
    let done = work(&mut talk).await;
    talk.leave().await;
    leg.steps.append(&mut talk.steps);
    serving.abort();
    done
}

/// Waits for the message in the store and removes it.
async fn awaited(
    ground: &Ground,
    mut leg: Leg,
    (account, id): (&Arc<Account>, &str),
    limit: Duration,
    through: Vec<Subject>,
) -> Tried {
    let begun = Instant::now();
    let work = async {
        let mut pause = LOOK / 5;
        while !found(ground, account, id).await? {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
        Ok(())
    };
    let done = match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            let text = format!(
                "the message <{id}> was queued and is not in its mailbox after {:.1} s",
                limit.as_secs_f64()
            );
            Err(Fault::new(cause::MAIL_LATE, text))
        }
    };
    leg.step("arrival", micros(begun), done.as_ref().err().map(|fault| fault.text.clone()));
    let here = ground.here();
    let why = done.as_ref().err().and_then(|fault| {
        let known = refine::refine(ground, "lmtp", Some(&here), &leg, fault);
        known.or_else(|| waits(ground, &here))
    });
    let (leg, finding) = ground.closed(leg, done);
    let mut tried = Tried::of(through);
    tried.legs.push(leg);
    match why {
        Some(better) => tried.because(Some(better.finding), better.culprit),
        None => tried.because(finding, None),
    }
}

/// Whether the message is there; then it is no longer.
async fn found(ground: &Ground, account: &Account, id: &str) -> Done<bool> {
    let failed =
        |e: &dyn std::fmt::Display| Fault::new(cause::MAILBOX, format!("the mailbox cannot be read: {e}"));
    let mailboxes = &ground.services.organisation.mailboxes;
    let mailbox = mailboxes.account(account.id).await.map_err(|e| failed(&e))?;
    let session = mailbox.select(mailbox.inbox()).await.map_err(|e| failed(&e))?;
    let first = session.len().saturating_sub(NEWEST) + 1;
    let rows: Vec<(MessageId, u32)> =
        session.rows(first, session.len()).map(|(_, row)| (row.message, row.uid)).collect();
    drop(session);
    let ids: Vec<MessageId> = rows.iter().map(|(message, _)| *message).collect();
    let ours = |stored: &waypost_mailbox::Stored| {
        stored.summary().is_ok_and(|summary| summary.message_id.trim_matches(['<', '>']) == id)
    };
    let all = mailbox.summaries(&ids).await;
    let uids: UidSet = all
        .iter()
        .zip(&rows)
        .filter(|(stored, _)| stored.as_ref().is_ok_and(ours))
        .map(|(_, (_, uid))| *uid)
        .collect();
    if uids.is_empty() {
        return Ok(false);
    }
    mailbox.discard(mailbox.inbox(), &uids).await.map_err(|e| failed(&e))?;
    Ok(true)
}

/// Removes a message from the queue that a mailbox has handed in.
async fn recall(ground: &Ground, account: &Account, id: &str) {
    let queue = ground.services.works.hub.queue();
    for item in queue.items_of(account.id) {
        let filter = Filter { item: Some(item), ..Filter::default() };
        let same = |info: &waypost_queue::MessageInfo| {
            info.envelope.as_ref().is_some_and(|envelope| envelope.message_id == id)
        };
        if queue.get_messages(&filter, same, None, 1).await.is_ok_and(|page| !page.messages.is_empty()) {
            let _ = queue.remove(item).await;
        }
    }
}
