//! Whatever has happened, a queue that is built from the rows says the same as the one that wrote them.
#![allow(clippy::unwrap_used)] // The helpers of a test may fail it as the test itself may.

mod tools;

use proptest::prelude::*;
use tools::{Rig, item, relayed, temporary};
use waypost_queue::*;
use waypost_store::Store;

#[derive(Clone, Debug)]
enum Step {
    Submit(Vec<u8>, u8),
    /// Take something, and settle so many of its targets; put the rest off.
    Send(u8),
    Fail,
    Suspend(u8),
    Resume(u8),
    Urgent(u8),
    Redirect(u8),
    Remove(u8),
    HoldQueue(u8),
    Minutes(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (proptest::collection::vec(0u8..5, 1..6), 0u8..3).prop_map(|(d, p)| Step::Submit(d, p)),
        6 => (0u8..4).prop_map(Step::Send),
        1 => Just(Step::Fail),
        1 => any::<u8>().prop_map(Step::Suspend),
        1 => any::<u8>().prop_map(Step::Resume),
        1 => any::<u8>().prop_map(Step::Urgent),
        1 => any::<u8>().prop_map(Step::Redirect),
        1 => any::<u8>().prop_map(Step::Remove),
        1 => (0u8..5).prop_map(Step::HoldQueue),
        3 => any::<u8>().prop_map(Step::Minutes),
        1 => Just(Step::Restart),
    ]
}

/// What there is to do at this moment. Time stands still, so whatever is not there at once is not there.
async fn work(rig: &Rig) -> Option<Work> {
    tokio::time::timeout(std::time::Duration::from_micros(1), rig.queue.work()).await.ok()
}

async fn apply(mut rig: Rig, step: Step, ids: &mut Vec<u64>) -> Rig {
    let pick = |i: u8| ids.get(usize::from(i) % ids.len().max(1)).copied().unwrap_or(0);
    match step {
        Step::Submit(domains, priority) => {
            let names: Vec<(String, Option<u32>)> = (0u32..)
                .zip(domains)
                .map(|(i, d)| (format!("r{i}@d{d}.example"), (d == 0).then_some(i)))
                .collect();
            let to: Vec<(&str, Option<u32>)> =
                names.iter().map(|(name, local)| (name.as_str(), *local)).collect();
            let mut new = item(&rig, &to, b"x").await;
            new.envelope.priority = [Priority::High, Priority::Normal, Priority::Low][usize::from(priority)];
            ids.push(rig.queue.submit(new, false).await.unwrap().id);
        }
        Step::Send(some) => {
            let (_ticket, mut lease) = match work(&rig).await {
                Some(Work::Connect(ticket)) => {
                    ticket.ok();
                    let Some(lease) = ticket.next() else { return rig };
                    (Some(ticket), lease)
                }
                Some(Work::Deliver(lease) | Work::Warn(lease) | Work::Expired(lease)) => (None, lease),
                _ => return rig,
            };
            let loaded = lease.load().await.unwrap();
            let fates = loaded.targets.iter().take(some.into()).map(|(i, _)| (*i, relayed())).collect();
            let rest = Rest::Retry { reason: temporary("later"), at: None };
            rig.queue.settle(lease, fates, rest, vec![]).await.unwrap();
        }
        Step::Fail => {
            if let Some(Work::Connect(ticket)) = work(&rig).await {
                ticket.failed(temporary("refused"));
            }
        }
        Step::Suspend(i) => drop(rig.queue.suspend(pick(i)).await),
        Step::Resume(i) => drop(rig.queue.resume(pick(i)).await),
        Step::Urgent(i) => drop(rig.queue.set_priority(pick(i), Priority::High).await),
        Step::Redirect(i) => {
            drop(rig.queue.redirect(pick(i), Route::Server { host: "other".into(), port: 25 }).await);
        }
        Step::Remove(i) => drop(rig.queue.remove(pick(i)).await),
        Step::HoldQueue(d) => {
            let name = format!("d{d}.example");
            match rig.queue.list_queues(|q| q.identity == name).first().map(|q| q.status) {
                Some(QueueStatus::Suspended) => rig.queue.resume_queue(&name).await.unwrap(),
                Some(_) => rig.queue.suspend_queue(&name).await.unwrap(),
                None => {}
            }
        }
        Step::Minutes(minutes) => rig.advance(i64::from(minutes) * 60_000),
        Step::Restart => rig = rig.restart().await,
    }
    rig
}

/// Everything that can be seen from outside and that outlives a restart.
async fn seen(queue: &Queue) -> (Vec<MessageInfo>, Vec<String>) {
    let messages = queue.get_messages(&Filter::default(), |_| true, None, 1000).await.unwrap().messages;
    let queues = queue.list_queues(|q| q.message_count > 0).into_iter().map(|q| {
        // Others than those of the last failure are forgotten.
        let error = q.next_retry.and(q.last_error);
        format!(
            "{} {:?} {} {} {} {:?} {error:?} {:?} {} {:?}",
            q.identity,
            q.status,
            q.message_count,
            q.deferred_count,
            q.suspended_count,
            q.count_per_priority,
            q.next_retry,
            q.retry_count,
            q.oldest
        )
    });
    (messages, queues.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_rows_say_everything(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new(Store::memory()).await;
            let mut ids = Vec::new();
            for step in steps {
                rig = apply(rig, step, &mut ids).await;
            }
            let before = seen(&rig.queue).await;
            let store = rig.queue.store().clone();
            let rig = rig.restart().await;
            assert_eq!(before, seen(&rig.queue).await);
            let report = store.verify(&[&QueueCheck]).await;
            assert!(report.is_clean(), "{report}");
            for id in ids {
                // It may be gone, and nothing is being sent.
                drop(rig.queue.remove(id).await);
            }
            for queue in rig.queue.list_queues(|_| true) {
                drop(rig.queue.resume_queue(&queue.identity).await);
                drop(rig.queue.retry_queue(&queue.identity).await);
            }
            rig.check_empty().await;
        });
    }
}
