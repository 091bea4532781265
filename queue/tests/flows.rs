//! The queue's main flows, on the store in memory and on SQLite.
#![allow(clippy::unwrap_used)] // The helpers of a test may fail it as the test itself may.

mod tools;

use tools::{Rig, both, item, permanent, relayed, temporary};
use waypost_base::AccountId;
use waypost_queue::*;
use waypost_store::Store;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Takes the next hop by a connection that works.
async fn take(rig: &Rig) -> (Ticket, Lease) {
    let Work::Connect(ticket) = rig.work().await else { panic!("nothing to connect to") };
    ticket.ok();
    let lease = ticket.next().unwrap();
    (ticket, lease)
}

#[tokio::test]
async fn a_message_goes_out_and_leaves_no_rows() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let id = rig.submit(&[("b@b.example", None)], b"hello").await;
        assert_eq!(rig.rows().await, 2, "a small item is its row and its bytes");
        let (ticket, mut lease) = take(&rig).await;
        assert_eq!(ticket.next_hop().to_string(), "b.example");
        assert!(ticket.next().is_none());
        let loaded = lease.load().await.unwrap();
        assert_eq!(lease.item(), id);
        assert_eq!((loaded.targets.len(), loaded.attempts), (1, 0));
        assert_eq!(loaded.targets[0].1.to.to_string(), "b@b.example");
        assert_eq!(loaded.recipients[0].to.to_string(), "b@b.example");
        assert_eq!(loaded.envelope.subject, "Über x");
        assert_eq!(loaded.envelope.from.as_ref().unwrap().to_string(), "a@a.example");
        let bytes = rig.queue.store().blobs().read(&loaded.blob, 0..100).await.unwrap();
        assert_eq!(&bytes[..], b"hello");
        rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        drop(ticket);
        assert!(rig.queue.is_empty());
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn a_local_hop_can_be_claimed_at_once() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let to = [("ann@here", Some(1)), ("ben@here", Some(2)), ("c@c.example", None)];
        let new = item(&rig, &to, b"x").await;
        let done = rig.queue.submit(new, true).await.unwrap();
        let mut local = done.local.unwrap();
        assert_eq!(*local.route(), Route::Mailbox);
        assert_eq!(local.load().await.unwrap().targets.len(), 2);
        let by = Fate::Delivered { by: "here".into() };
        rig.queue.settle(local, vec![(0, by.clone()), (1, by)], Rest::Done, vec![]).await.unwrap();
        let (_ticket, lease) = take(&rig).await;
        rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        rig.check_empty().await;
        // Whoever has it all in hand need not read it again.
        let new = item(&rig, &to[..2], &tools::noise(100_000)).await;
        let local = rig.queue.submit(new, true).await.unwrap().local.unwrap();
        let by = Fate::Delivered { by: "here".into() };
        rig.queue.settle(local, vec![(0, by.clone()), (1, by)], Rest::Done, vec![]).await.unwrap();
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_put_off_outlives_a_restart() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let id = rig.submit(&[("b@b.example", None), ("c@b.example", None)], b"hello").await;
        let (ticket, mut lease) = take(&rig).await;
        lease.load().await.unwrap();
        let rest = Rest::Retry { reason: temporary("451 greylisted"), at: None };
        rig.queue.settle(lease, vec![(1, relayed())], rest, vec![]).await.unwrap();
        assert!(ticket.next().is_none(), "not due yet");
        drop(ticket);
        let rig = rig.restart().await;
        assert_eq!(rig.queue.len(), 1);
        let story = rig.queue.story(id).await.unwrap().unwrap();
        assert_eq!(story.targets.len(), 2);
        assert!(matches!(&story.targets[0].state, State::Deferred { reason, attempts: 1, .. }
            if reason.text == "451 greylisted"));
        assert_eq!(story.targets[1].state, State::Settled(Done::Relayed, None));
        let page = rig.queue.get_messages(&Filter::default(), |_| true, None, 10).await.unwrap();
        assert_eq!(page.messages.len(), 1);
        assert_eq!(page.messages[0].status, MessageStatus::Retry);
        assert_eq!(page.messages[0].last_error.as_deref(), Some("451 4.7.1 mx.b.example: 451 greylisted"));
        assert_eq!(page.messages[0].targets[1].1, Some(Done::Relayed));
        assert_eq!(rig.queue.list_queues(|_| true)[0].deferred_count, 1);
        rig.advance(6 * MINUTE);
        let (_ticket, mut lease) = take(&rig).await;
        let loaded = lease.load().await.unwrap();
        assert_eq!(loaded.targets.len(), 1);
        assert_eq!((loaded.targets[0].0, loaded.attempts), (0, 1));
        rig.queue.settle(lease, vec![(0, Fate::Failed(permanent()))], Rest::Done, vec![]).await.unwrap();
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_recipients_in_one_item() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let names: Vec<String> = (0..10_000).map(|i| format!("recipient.number.{i}@here.example")).collect();
        let to: Vec<(&str, Option<u32>)> = (0u32..).zip(&names).map(|(i, n)| (n.as_str(), Some(i))).collect();
        let id = rig.submit(&to, b"hello all").await;
        let Work::Deliver(mut lease) = rig.work().await else { panic!() };
        let loaded = lease.load().await.unwrap();
        assert_eq!((loaded.targets.len(), loaded.recipients.len()), (10_000, 10_000));
        let by = Fate::Delivered { by: "here".into() };
        let some: Vec<(u32, Fate)> = (0..10_000).filter(|i| i % 2 == 0).map(|i| (i, by.clone())).collect();
        let rest = Rest::Retry { reason: temporary("full"), at: Some(rig.now()) };
        rig.queue.settle(lease, some, rest, vec![]).await.unwrap();
        let rig = rig.restart().await;
        let Work::Deliver(mut lease) = rig.work().await else { panic!() };
        assert_eq!(lease.item(), id);
        let loaded = lease.load().await.unwrap();
        assert_eq!(loaded.targets.len(), 5_000);
        assert!(loaded.targets.iter().all(|(i, t)| i % 2 == 1 && t.to.to_string() == names[*i as usize]));
        let rest: Vec<(u32, Fate)> = loaded.targets.iter().map(|(i, _)| (*i, by.clone())).collect();
        rig.queue.settle(lease, rest, Rest::Done, vec![]).await.unwrap();
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn a_thousand_domains_of_one_item_end_one_by_one() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let names: Vec<String> = (0..1000).map(|i| format!("x@d{i}.example")).collect();
        let to: Vec<(&str, Option<u32>)> = names.iter().map(|n| (n.as_str(), None)).collect();
        rig.submit(&to, b"hello all").await;
        assert_eq!(rig.queue.len(), 1000);
        let mut settling = Vec::new();
        for _ in 0..1000 {
            let (_ticket, mut lease) = take(&rig).await;
            lease.load().await.unwrap();
            settling.push(rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]));
            if settling.len() == 100 {
                for one in settling.drain(..) {
                    one.await.unwrap();
                }
            }
        }
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn hops_that_end_together_take_their_item_with_them() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        rig.submit(&[("b@b.example", None), ("c@c.example", None)], &tools::noise(100_000)).await;
        let (t1, mut one) = take(&rig).await;
        let (t2, mut two) = take(&rig).await;
        one.load().await.unwrap();
        two.load().await.unwrap();
        let first = rig.queue.settle(one, vec![(0, relayed())], Rest::Done, vec![]);
        let second = rig.queue.settle(two, vec![(0, relayed())], Rest::Done, vec![]);
        drop(second);
        first.await.unwrap();
        drop((t1, t2));
        rig.quiet().await;
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn a_report_is_queued_with_what_it_reports_on() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        rig.submit(&[("b@b.example", None)], b"hello").await;
        let (_ticket, mut lease) = take(&rig).await;
        lease.load().await.unwrap();
        let mut report = item(&rig, &[("a@a.example", None)], b"it failed").await;
        report.envelope.from = None;
        let settling =
            rig.queue.settle(lease, vec![(0, Fate::Failed(permanent()))], Rest::Done, vec![report]);
        settling.await.unwrap();
        assert_eq!(rig.queue.len(), 1);
        let rig = rig.restart().await;
        let (_ticket, mut lease) = take(&rig).await;
        let loaded = lease.load().await.unwrap();
        assert_eq!(loaded.envelope.from, None);
        assert_eq!(loaded.targets[0].1.to.to_string(), "a@a.example");
        rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn large_bytes_are_held_and_let_go() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let large = tools::noise(300_000);
        rig.submit(&[("b@b.example", None)], &large).await;
        let rig = rig.restart().await;
        let (_ticket, mut lease) = take(&rig).await;
        let loaded = lease.load().await.unwrap();
        assert!(loaded.blob.is_stored());
        let bytes = rig.queue.store().blobs().read(&loaded.blob, 0..u64::MAX).await.unwrap();
        assert_eq!(bytes, large);
        let mut report = item(&rig, &[("a@a.example", None)], &large).await;
        report.envelope.kind = Kind::Report;
        rig.queue.settle(lease, vec![(0, Fate::Dropped)], Rest::Done, vec![report]).await.unwrap();
        let (_ticket, mut lease) = take(&rig).await;
        assert!(lease.load().await.unwrap().blob.is_stored());
        rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_cannot_connect_waits_and_says_why() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let id = rig.submit(&[("b@b.example", None)], b"hello").await;
        let mut changes = rig.queue.subscribe();
        let Work::Connect(ticket) = rig.work().await else { panic!() };
        ticket.failed(temporary("connection refused"));
        drop(ticket);
        assert_eq!(changes.try_recv().unwrap().item, id, "those who wait in it are told");
        let before = rig.rows().await;
        assert_eq!(before, 3, "the queue's row alone is new");
        assert!(rig.nothing().await);
        let rig = rig.restart().await;
        let queue = &rig.queue.list_queues(|q| q.message_count > 0)[0];
        assert_eq!((queue.status, queue.retry_count), (QueueStatus::Retry, 1));
        assert_eq!(queue.last_error.as_ref().unwrap().text, "connection refused");
        let story = rig.queue.story(id).await.unwrap().unwrap();
        assert!(matches!(&story.targets[0].state, State::Deferred { reason, next, .. }
            if reason.text == "connection refused" && *next >= rig.now().plus_millis(MINUTE)));
        assert!(rig.nothing().await);
        rig.queue.retry_queue("b.example").await.unwrap();
        let Work::Connect(ticket) = rig.work().await else { panic!() };
        ticket.failed(temporary("connection refused again"));
        drop(ticket);
        assert!(rig.nothing().await);
        rig.advance(2 * MINUTE);
        let (ticket, mut lease) = take(&rig).await;
        lease.load().await.unwrap();
        rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        drop(ticket);
        rig.quiet().await;
        rig.check_empty().await;
        rig.advance(4 * MINUTE);
        assert!(rig.nothing().await);
        assert!(rig.queue.list_queues(|_| true).is_empty(), "an idle queue is forgotten");
    })
    .await;
}

#[tokio::test]
async fn senders_are_warned_once_and_messages_expire() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        rig.submit(&[("b@b.example", None)], b"hello").await;
        rig.queue.suspend_queue("b.example").await.unwrap();
        assert!(rig.nothing().await);
        rig.advance(4 * HOUR + 1000);
        let Work::Warn(mut lease) = rig.work().await else { panic!() };
        lease.load().await.unwrap();
        rig.queue.settle(lease, vec![], Rest::Warned, vec![]).await.unwrap();
        assert!(rig.nothing().await);
        let rig = rig.restart().await;
        rig.advance(HOUR);
        assert!(rig.nothing().await);
        rig.advance(48 * HOUR);
        let Work::Expired(mut lease) = rig.work().await else { panic!() };
        let loaded = lease.load().await.unwrap();
        let fates = loaded.targets.iter().map(|(i, _)| (*i, Fate::Failed(permanent()))).collect();
        rig.queue.settle(lease, fates, Rest::Done, vec![]).await.unwrap();
        rig.queue.resume_queue("B.example").await.unwrap();
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn administrators_hold_and_move_and_remove() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let id = rig.submit(&[("b@b.example", None), ("c@c.example", None)], b"hello").await;
        assert_eq!(rig.queue.suspend(id).await.unwrap(), 2);
        assert!(rig.nothing().await);
        let rig = rig.restart().await;
        assert!(rig.nothing().await);
        let filter = Filter { queue: Some("host\\b.example".into()), ..Filter::default() };
        let page = rig.queue.get_messages(&filter, |_| true, None, 10).await.unwrap();
        assert_eq!(page.messages.len(), 1);
        assert_eq!(page.messages[0].status, MessageStatus::Suspended);
        let to = Route::Server { host: "other".into(), port: 2525 };
        assert_eq!(rig.queue.redirect(id, to).await.unwrap(), 2);
        assert_eq!(rig.queue.set_priority(id, Priority::High).await.unwrap(), 2);
        let rig = rig.restart().await;
        let queues = rig.queue.list_queues(|q| q.message_count > 0);
        assert_eq!(queues.len(), 1);
        assert_eq!((queues[0].identity.as_str(), queues[0].message_count), ("other:2525", 2));
        assert_eq!((queues[0].count_per_priority, queues[0].suspended_count), ([2, 0, 0], 2));
        assert_eq!(rig.queue.resume(id).await.unwrap(), 2);
        let (ticket, mut lease) = take(&rig).await;
        assert_eq!(*lease.route(), Route::Server { host: "other".into(), port: 2525 });
        lease.load().await.unwrap();
        // One is being sent: it goes when it is put off; the other at once.
        assert_eq!(rig.queue.remove(id).await.unwrap(), 2);
        assert_eq!(rig.queue.len(), 1);
        let page = rig.queue.get_messages(&Filter::default(), |_| true, None, 10).await.unwrap();
        assert_eq!(page.messages[0].status, MessageStatus::PendingRemove);
        let rest = Rest::Retry { reason: temporary("later"), at: None };
        rig.queue.settle(lease, vec![], rest, vec![]).await.unwrap();
        drop(ticket);
        rig.check_empty().await;
        assert!(matches!(rig.queue.remove(id).await, Err(QueueError::NoMessage(_))));
    })
    .await;
}

#[tokio::test]
async fn a_message_is_removed_with_a_report() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let id = rig.submit(&[("b@b.example", None)], b"hello").await;
        rig.queue.suspend(id).await.unwrap();
        let (_, blob) = rig.queue.export(id).await.unwrap();
        assert_eq!(&rig.queue.store().blobs().read(&blob, 0..9).await.unwrap()[..], b"hello");
        for mut lease in rig.queue.claim(id) {
            let loaded = lease.load().await.unwrap();
            let fates = loaded.targets.iter().map(|(i, _)| (*i, Fate::Failed(permanent()))).collect();
            rig.queue.settle(lease, fates, Rest::Done, vec![]).await.unwrap();
        }
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn a_sender_takes_back_what_has_not_gone() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let mut changes = rig.queue.subscribe();
        let id =
            rig.submit(&[("b@b.example", None), ("c@c.example", None), ("d@c.example", None)], b"hi").await;
        assert_eq!(changes.try_recv().unwrap(), Change { owner: Some(AccountId(9)), item: id });
        assert_eq!(rig.queue.items_of(AccountId(9)), [id]);
        let (_ticket, mut lease) = take(&rig).await;
        lease.load().await.unwrap();
        assert_eq!(rig.queue.recall(id).await.unwrap(), Recall { recalled: 2, in_flight: 1 });
        rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        assert_eq!(rig.queue.items_of(AccountId(9)), []);
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn two_panics_make_poison_with_evidence() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let bad = rig.submit(&[("b@b.example", None)], b"bad").await;
        for _ in 0..2 {
            let (ticket, mut lease) = take(&rig).await;
            lease.load().await.unwrap();
            let held = tokio::spawn(async move {
                let _held = lease;
                std::panic::resume_unwind(Box::new("a fault in a lower room"));
            });
            assert!(held.await.is_err());
            drop(ticket);
            rig.advance(MINUTE);
        }
        let (told, evidence) = rig.queue.poisoned().await;
        assert_eq!((told, evidence.as_str()), (bad, "handling it ended in a panic 2 times"));
        let good = rig.submit(&[("c@b.example", None)], b"good").await;
        let rig = rig.restart().await;
        let poison = Filter { queue: Some("Poison".into()), ..Filter::default() };
        let page = rig.queue.get_messages(&poison, |_| true, None, 10).await.unwrap();
        assert_eq!(page.messages[0].id, bad);
        assert!(page.messages[0].last_error.as_ref().unwrap().contains("panic 2 times"));
        let (ticket, mut lease) = take(&rig).await;
        assert_eq!(lease.item(), good, "the rest goes on");
        lease.load().await.unwrap();
        rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        drop(ticket);
        rig.queue.resume(bad).await.unwrap();
        let (_ticket, lease) = take(&rig).await;
        drop(lease);
        rig.queue.remove(bad).await.unwrap();
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn damaged_rows_are_poison_and_the_rest_goes_on() {
    both(async |store: Store| {
        let rig = Rig::new(store.clone()).await;
        let a = rig.submit(&[("b@b.example", None)], b"a").await;
        let b = rig.submit(&[("b@b.example", None)], b"b").await;
        let c = rig.submit(&[("b@b.example", None)], b"c").await;
        let key = |kind: u8, id: u64| [&[0x20, kind][..], &id.to_be_bytes()].concat();
        let mut batch = waypost_store::Batch::new(waypost_store::Partition::tag(0x20));
        batch.put(key(1, a), b"rubbish".to_vec()).del(key(2, b));
        store.commit(batch).await.unwrap();
        let rig = rig.restart_with(|found| assert_eq!(found.damaged, [a])).await;
        let (ticket, mut lease) = take(&rig).await;
        assert_eq!(lease.item(), b);
        assert!(matches!(lease.load().await, Err(QueueError::Damaged { .. })));
        drop(lease);
        let mut lease = ticket.next().unwrap();
        assert_eq!(lease.item(), c);
        lease.load().await.unwrap();
        rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        let page = rig.queue.get_messages(&Filter::default(), |_| true, None, 10).await.unwrap();
        let seen: Vec<(u64, &str, bool)> =
            page.messages.iter().map(|m| (m.id, m.queue.as_str(), m.envelope.is_some())).collect();
        assert_eq!(seen, [(a, "Poison", false), (b, "Poison", true)]);
        assert!(!store.verify(&[&QueueCheck]).await.is_clean());
        rig.queue.remove(a).await.unwrap();
        rig.queue.remove(b).await.unwrap();
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn pages_of_messages() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let mut ids = Vec::new();
        for i in 0..25 {
            ids.push(rig.submit(&[(&format!("x@d{}.example", i % 3), None)], b"x").await);
        }
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = rig.queue.get_messages(&Filter::default(), |m| m.size == 1, after, 10).await.unwrap();
            seen.extend(page.messages.iter().map(|m| m.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, ids);
        let one = Filter { item: Some(ids[3]), ..Filter::default() };
        let page = rig.queue.get_messages(&one, |_| true, None, 10).await.unwrap();
        assert_eq!(
            (page.messages.len(), page.messages[0].identity()),
            (1, format!("d0.example\\{}", ids[3]))
        );
        let none = Filter { owner: Some(AccountId(77)), ..Filter::default() };
        assert_eq!(rig.queue.get_messages(&none, |_| true, None, 10).await.unwrap(), Page::default());
    })
    .await;
}

#[tokio::test]
async fn runs_that_crash_find_the_message_that_does_it() {
    both(async |store: Store| {
        let mut rig = Rig::new(store).await;
        let bad = rig.submit(&[("b@b.example", None)], b"bad").await;
        // Five runs end without a word, each while this message is handled; once suspected, it waits for others to go first.
        for _ in 0..5 {
            rig.advance(6_000);
            if let Some(Work::Connect(ticket)) = rig.maybe_work().await {
                ticket.ok();
                let mut lease = ticket.next().unwrap();
                lease.load().await.unwrap();
                std::mem::forget((lease, ticket));
            }
            rig = rig.restart().await;
        }
        let queues = rig.queue.list_queues(|q| q.next_hop == NextHop::Poison);
        assert_eq!(queues[0].message_count, 1);
        rig.queue.remove(bad).await.unwrap();
        rig.queue.stop();
        assert!(matches!(rig.queue.work().await, Work::Stop));
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn the_innocent_leave_whatever_was_under_way_beside_them() {
    both(async |store: Store| {
        let mut rig = Rig::new(store).await;
        let mut innocent = std::collections::BTreeSet::new();
        for n in 0..2 {
            innocent.insert(rig.submit(&[(&format!("x@d{n}.example"), None)], b"good").await);
        }
        let bad = rig.submit(&[("b@b.example", None)], b"bad").await;
        for n in 2..5 {
            innocent.insert(rig.submit(&[(&format!("x@d{n}.example"), None)], b"good").await);
        }
        // Runs that are killed while everything is under way, again and again: nobody is to blame for that.
        for _ in 0..6 {
            let mut held = Vec::new();
            while let Some(Work::Connect(ticket)) = rig.maybe_work().await {
                ticket.ok();
                let mut lease = ticket.next().unwrap();
                lease.load().await.unwrap();
                held.push((lease, ticket));
            }
            std::mem::forget(held);
            rig = rig.restart().await;
        }
        assert!(rig.queue.list_queues(|q| q.next_hop == NextHop::Poison && q.message_count > 0).is_empty());
        // Then one of them brings the server down whenever it is handled.
        let mut told = false;
        for _ in 0..4 {
            rig.advance(6_000);
            while let Some(Work::Connect(ticket)) = rig.maybe_work().await {
                ticket.ok();
                let mut lease = ticket.next().unwrap();
                lease.load().await.unwrap();
                if lease.item() == bad {
                    std::mem::forget((lease, ticket));
                    break;
                }
                assert!(innocent.remove(&lease.item()), "sent twice");
                rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
            }
            rig = rig.restart().await;
            told |= tokio::time::timeout(std::time::Duration::from_millis(1), rig.queue.poisoned())
                .await
                .is_ok_and(|(item, _)| item == bad);
        }
        assert!(told && innocent.is_empty(), "{innocent:?}");
        let poison = Filter { queue: Some("Poison".into()), ..Filter::default() };
        let page = rig.queue.get_messages(&poison, |_| true, None, 10).await.unwrap();
        assert_eq!(page.messages.iter().map(|m| m.id).collect::<Vec<_>>(), [bad]);
        assert!(page.messages[0].last_error.as_ref().unwrap().contains("ended 2 times"));
        rig.queue.remove(bad).await.unwrap();
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn routes_are_keyed_anew() {
    struct All(Option<&'static str>);
    impl Router for All {
        fn next_hop(&self, _: &Route) -> NextHop {
            match self.0 {
                Some(connector) => NextHop::Connector { connector: connector.into(), domain: None },
                None => NextHop::Unreachable,
            }
        }
    }
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        rig.queue.reroute(std::sync::Arc::new(All(None)));
        let id = rig.submit(&[("b@b.example", None), ("c@c.example", None)], b"hello").await;
        assert!(rig.nothing().await);
        assert_eq!(rig.queue.story(id).await.unwrap().unwrap().targets[0].state, State::Unreachable);
        rig.queue.reroute(std::sync::Arc::new(All(Some("sink"))));
        let (ticket, one) = take(&rig).await;
        assert_eq!(ticket.next_hop().to_string(), "sink");
        let two = ticket.next().unwrap();
        for mut lease in [one, two] {
            lease.load().await.unwrap();
            rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        }
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn what_another_server_hands_over_again_is_there_once_also_after_a_restart() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let blob = waypost_store::BlobId([7; 32]);
        let number = rig.queue.next_id();
        let delivery = DeliveryId::of("server-2", number, &blob);
        let mut new = item(&rig, &[("a@x.example", None)], b"x").await;
        new.envelope.delivery = Some(delivery);
        let first = new.id;
        let taken = rig.queue.submit_once(new.clone(), false).await.unwrap();
        assert!(matches!(taken, Put::New(submitted) if submitted.id == first));
        let again = NewItem { id: rig.queue.next_id(), ..new };
        let taken = rig.queue.submit_once(again.clone(), false).await.unwrap();
        assert!(matches!(taken, Put::Before(id) if id == first));
        let rig = rig.restart().await;
        let taken = rig.queue.submit_once(again, false).await.unwrap();
        assert!(matches!(taken, Put::Before(id) if id == first));
        assert_eq!((rig.queue.len(), rig.queue.taken(delivery).await.unwrap()), (1, Some(first)));
        let other = DeliveryId::of("server-3", number, &blob);
        assert_eq!(rig.queue.taken(other).await.unwrap(), None);
        assert_eq!(delivery.to_string().parse(), Ok(delivery));
        let (_ticket, mut lease) = take(&rig).await;
        assert_eq!(lease.load().await.unwrap().envelope.delivery, Some(delivery));
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_was_empty_for_long_starts_anew_also_after_a_restart() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let elsewhere = || Route::Server { host: "other".into(), port: 25 };
        // One that could not connect, and one that somebody held; both are emptied.
        let first = rig.submit(&[("a@late.example", None)], b"x").await;
        let Work::Connect(ticket) = rig.work().await else { panic!("not a connection") };
        ticket.failed(temporary("refused"));
        drop(ticket);
        let second = rig.submit(&[("a@held.example", None)], b"x").await;
        rig.queue.suspend_queue("held.example").await.unwrap();
        rig.queue.redirect(second, elsewhere()).await.unwrap();
        rig.advance(3 * MINUTE);
        rig.queue.redirect(first, elsewhere()).await.unwrap();
        rig.queue.resume_queue("held.example").await.unwrap();
        for domain in ["late.example", "held.example"] {
            rig.submit(&[(&format!("b@{domain}"), None)], b"y").await;
        }
        let rig = rig.restart().await;
        for domain in ["late.example", "held.example"] {
            let queues = rig.queue.list_queues(|q| q.identity == domain);
            assert_eq!(queues[0].status, QueueStatus::Ready, "{domain}");
            assert_eq!(queues[0].next_retry, None, "{domain}");
        }
    })
    .await;
}
