//! The message is whole: make it durable, then say so.
//!
//! One account: the batch that delivers it is the commit. Several: the queue's rows are, and the accounts follow at
//! once without holding up the reply. LMTP: each account by itself, since each recipient has its own reply.

use super::driver::{Conn, Message};
use super::policy::{DISK_FULL, STORE_DOWN, blob_failed, too_large_to_send};
use crate::categorize::{self, Route, Target};
use crate::deliver::{self, Job};
use crate::limits::HOPS;
use crate::queue::{self, Accepted, Item};
use crate::report::{self, About, Fate};
use std::collections::BTreeMap;
use tokio::time::Instant;
use waypost_base::AccountId;
use waypost_base::explain::{Cause, Outcome};
use waypost_mailbox::{Content, DeliverError};
use waypost_smtp::{Answer, Reply, Status};
use waypost_store::CommitError;

const REFUSED: Cause = Cause {
    code: "SMTP-REFUSED",
    meaning: "the message was refused after it had come",
    remedy: "the text says what the sender was told",
    reference: "RFC 5321 §4.2",
};
const LOOP: Reply = Reply::new(554, Status(5, 4, 6), "Too many hops, this message goes round in circles");

impl Conn {
    pub(super) async fn finish(&mut self) -> Answer {
        let Some(message) = self.message.take() else { return Answer::Refuse(STORE_DOWN) };
        let mut message = *message;
        message.leg.step("data", deliver::micros(message.data_begun), None);
        let begun = Instant::now();
        let Some(intake) = message.intake.take() else { return Answer::Refuse(STORE_DOWN) };
        let octets = intake.octets;
        let mut message_id = String::new();
        let answer = match intake.finish().await {
            Err(e) => Answer::Refuse(blob_failed(&e)),
            Ok(content) => {
                message_id.clone_from(&content.summary.message_id);
                match self.unacceptable(&content, octets) {
                    Some(reply) => Answer::Refuse(reply),
                    None => self.commit(&message, content).await,
                }
            }
        };
        self.count(&answer, octets);
        self.tell(message, &message_id, octets, deliver::micros(begun), &answer);
        answer
    }

    /// What could only be seen in the message itself.
    fn unacceptable(&self, content: &Content, octets: u64) -> Option<Reply> {
        let hops = content.summary.fields.iter().filter(|f| f.name.eq_ignore_ascii_case("received")).count();
        if hops > HOPS {
            return Some(LOOP);
        }
        let directory = self.service.hub.directory.snapshot();
        let sender = directory.account(self.identity.as_ref()?.account)?;
        sender.limits.send_bytes.or(None).filter(|limit| octets > *limit).map(too_large_to_send)
    }

    async fn commit(&mut self, message: &Message, content: Content) -> Answer {
        let lmtp = self.service.kind == super::Kind::Lmtp;
        if lmtp && message.recipients.iter().all(|r| matches!(r.route, Route::Account(_))) {
            return self.each(message, content).await;
        }
        let targets = categorize::targets(message.recipients.iter().map(|r| &r.route), self.sent_copy());
        if let [target] = targets.as_slice() {
            let job = self.job(message, content.clone(), *target);
            let hub = self.service.hub.clone();
            return match deliver::deliver(&hub, job).await {
                Ok(()) => {
                    self.report(message, &content, |_| true).await;
                    Answer::Accept(accepted(&message.id))
                }
                Err(e) => Answer::Refuse(self.not_delivered(&e)),
            };
        }
        self.several(message, content, targets).await
    }

    /// The account whose Sent folder gets a copy, where it asked for that.
    fn sent_copy(&self) -> Option<AccountId> {
        let me = self.identity.as_ref().filter(|_| self.service.kind.is_submission())?.account;
        let copies = self.service.hub.directory.snapshot().account(me).is_some_and(|a| a.copy_smtp_sent);
        copies.then_some(me)
    }

    fn job(&self, message: &Message, content: Content, target: Target) -> Job {
        Job {
            target,
            content,
            accepted: message.accepted,
            session: self.correlation,
            token: None,
            ignore_quota: false,
        }
    }

    /// The queue's rows are the commit; the accounts follow without holding up the reply.
    async fn several(&mut self, message: &Message, content: Content, targets: Vec<Target>) -> Answer {
        let hub = self.service.hub.clone();
        // So many at once: more wait here, and their senders with them.
        let Ok(permit) = hub.delivering.clone().acquire_owned().await else {
            return Answer::Refuse(STORE_DOWN);
        };
        let id = hub.next_id(message.accepted);
        let Some(claim) = hub.claim(id) else { return Answer::Refuse(STORE_DOWN) };
        let from = message.from.clone();
        let mut item =
            Item::new(id, message.accepted, self.correlation, from, &message.params, &content.blob);
        item.reports = message.recipients.iter().any(|r| report::wants_success(&r.accepted));
        let recipients: Vec<Accepted> = message.recipients.iter().map(|r| r.accepted.clone()).collect();
        let mut put =
            queue::put(hub.mailboxes.store(), &item, &content.blob, &recipients, &targets).await.map(drop);
        if let Err(CommitError::Unknown(_)) = put
            && let Ok(true) = queue::exists(hub.mailboxes.store(), id).await
        {
            put = Ok(());
        }
        match put {
            Err(e) => Answer::Refuse(commit_failed(&e)),
            Ok(()) => {
                hub.metrics.queue_items.add(1);
                tokio::spawn(async move {
                    deliver::run(hub, item, content, targets, claim).await;
                    drop(permit);
                });
                Answer::Accept(accepted(&message.id))
            }
        }
    }

    /// LMTP: a reply for each recipient, in order; recipients that are the same account share one delivery.
    async fn each(&mut self, message: &Message, content: Content) -> Answer {
        let hub = self.service.hub.clone();
        let targets = categorize::targets(message.recipients.iter().map(|r| &r.route), None);
        let mut under_way = tokio::task::JoinSet::new();
        let mut results: BTreeMap<AccountId, Reply> = BTreeMap::new();
        if let [target] = targets.as_slice() {
            let done = deliver::deliver(&hub, self.job(message, content.clone(), *target)).await;
            results.insert(target.account, self.outcome(done, &message.id));
        } else {
            for target in targets {
                let (hub, job) = (hub.clone(), self.job(message, content.clone(), target));
                under_way.spawn(async move { (target.account, deliver::deliver(&hub, job).await) });
            }
            while let Some(joined) = under_way.join_next().await {
                if let Ok((account, done)) = joined {
                    results.insert(account, self.outcome(done, &message.id));
                }
            }
        }
        let reply = |route: &Route| match route {
            Route::Account(account) => results.get(&account.id).cloned(),
            _ => None,
        };
        let has_it = |account| results.get(&account).is_some_and(Reply::is_positive);
        self.report(message, &content, has_it).await;
        Answer::Each(message.recipients.iter().map(|r| reply(&r.route).unwrap_or(STORE_DOWN)).collect())
    }

    /// Success, told to those who asked (NOTIFY=SUCCESS).
    async fn report(&mut self, message: &Message, content: &Content, has_it: impl Fn(AccountId) -> bool) {
        let mut fates = Vec::new();
        for recipient in message.recipients.iter().filter(|r| report::wants_success(&r.accepted)) {
            match &recipient.route {
                Route::Account(account) if has_it(account.id) => {
                    fates.push((&recipient.accepted, Fate::Delivered));
                }
                Route::Group { .. } => fates.push((&recipient.accepted, Fate::Expanded)),
                _ => {}
            }
        }
        if fates.is_empty() {
            return;
        }
        let about = About {
            from: message.from.as_ref(),
            envid: message.params.envid.as_deref(),
            ret: message.params.ret,
            accepted: message.accepted,
            session: self.correlation,
        };
        let hub = self.service.hub.clone();
        report::send(&hub, about, content, &fates, None).await;
    }

    fn outcome(&self, done: Result<(), DeliverError>, id: &str) -> Reply {
        match done {
            Ok(()) => accepted(id),
            Err(e) => self.not_delivered(&e),
        }
    }

    fn not_delivered(&self, e: &DeliverError) -> Reply {
        if deliver::is_over_quota(e) {
            self.over_quota()
        } else if e.disk_full() {
            DISK_FULL
        } else {
            tracing::warn!(session = %self.correlation, error = %e, "message not delivered");
            STORE_DOWN
        }
    }

    fn count(&self, answer: &Answer, octets: u64) {
        let metrics = &self.service.hub.metrics;
        let one = |reply: &Reply| match reply.code {
            0..400 => metrics.accepted.one(),
            400..500 => metrics.deferred.one(),
            _ => metrics.refused.one(),
        };
        match answer {
            Answer::Accept(reply) | Answer::Refuse(reply) => one(reply),
            Answer::Each(replies) => replies.iter().for_each(one),
            _ => {}
        }
        if matches!(answer, Answer::Accept(_) | Answer::Each(_)) {
            metrics.bytes.add(octets);
        }
    }

    /// The leg of the message, with the session's own steps before the first one's.
    fn tell(&mut self, message: Message, message_id: &str, octets: u64, micros: u64, answer: &Answer) {
        let mut leg = message.leg;
        let refused = match answer {
            Answer::Refuse(reply) => Some(reply),
            Answer::Each(replies) => replies.iter().find(|reply| !reply.is_positive()),
            _ => None,
        };
        leg.step("commit", micros, Some(format!("{octets} octets, id {}", message.id)));
        leg.outcome = match refused {
            None => Outcome::Ok,
            Some(reply) => {
                Outcome::Failed { cause: REFUSED, text: reply.to_string(), retry: reply.is_transient() }
            }
        };
        tracing::info!(session = %self.correlation, id = %message.id, message_id, octets,
            recipients = message.recipients.len(), outcome = %leg.outcome, "message");
        if let Some(legs) = &self.service.hub.legs {
            legs.leg(message_id, leg);
        }
    }
}

fn accepted(id: &str) -> Reply {
    Reply::with(250, Status(2, 0, 0), format!("Accepted as {id}"))
}

fn commit_failed(e: &CommitError) -> Reply {
    match e {
        CommitError::Full(_) => DISK_FULL,
        e => {
            tracing::warn!(error = %e, "message could not be queued");
            STORE_DOWN
        }
    }
}
