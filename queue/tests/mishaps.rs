//! Clocks that are set back, and leases that come back without having been settled.
#![allow(clippy::unwrap_used)] // The helpers of a test may fail it as the test itself may.

mod tools;

use tools::{Rig, both, relayed, temporary};
use waypost_queue::*;
use waypost_store::Store;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

#[tokio::test]
async fn a_clock_set_back_between_two_runs_holds_up_nothing() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        rig.submit(&[("b@b.example", None), ("c@c.example", None)], b"hello").await;
        // One queue cannot connect, a message of the other is put off.
        let Work::Connect(first) = rig.work().await else { panic!() };
        let Work::Connect(second) = rig.work().await else { panic!() };
        first.failed(temporary("connection refused"));
        second.ok();
        let mut lease = second.next().unwrap();
        lease.load().await.unwrap();
        let rest = Rest::Retry { reason: temporary("451 later"), at: None };
        rig.queue.settle(lease, vec![], rest, vec![]).await.unwrap();
        drop((first, second));
        rig.quiet().await;
        rig.advance(-DAY);
        let rig = rig.restart().await;
        assert!(rig.nothing().await, "they wait as long as they were to");
        rig.advance(6 * MINUTE);
        for _ in 0..2 {
            let Work::Connect(ticket) = rig.work().await else { panic!() };
            ticket.ok();
            let mut lease = ticket.next().unwrap();
            lease.load().await.unwrap();
            rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
        }
        rig.check_empty().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_to_be_taken_away_is_even_if_its_lease_comes_back() {
    both(async |store: Store| {
        let rig = Rig::new(store).await;
        let id = rig.submit(&[("b@b.example", None)], b"hello").await;
        let Work::Connect(ticket) = rig.work().await else { panic!() };
        let mut lease = ticket.next().unwrap();
        lease.load().await.unwrap();
        assert_eq!(rig.queue.remove(id).await.unwrap(), 1);
        ticket.failed(temporary("the connection broke"));
        drop(lease);
        drop(ticket);
        rig.queue.retry_queue("b.example").await.unwrap();
        let mut changes = rig.queue.subscribe();
        while rig.queue.has(id) {
            changes.recv().await.unwrap();
        }
        rig.check_empty().await;
    })
    .await;
}
