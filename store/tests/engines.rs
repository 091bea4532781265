//! The behavioural suite on every engine, and random sequences of batches compared with the model.
#![allow(clippy::unwrap_used)] // The helpers of a test may fail it as the test itself may.

mod suite;
mod tools;

use proptest::prelude::*;
use std::sync::Arc;
use tools::{Folder, clock, runtime, sqlite};
use waypost_store::{Batch, CommitError, Engine, Expect, Key, Model, Op, Page, Partition, Report, Template};

#[test]
fn the_model_behaves() {
    runtime().block_on(async { suite::all(&(Arc::new(Model::new(clock())) as Arc<dyn Engine>)).await });
}

#[test]
fn sqlite_behaves() {
    let folder = Folder::new();
    runtime().block_on(async {
        let engine: Arc<dyn Engine> = Arc::new(sqlite(&folder));
        suite::all(&engine).await;
        let mut report = Report::default();
        engine.verify(&mut report).await;
        assert!(report.is_clean(), "{report}");
        engine.close().await;
        let late = engine.commit(Batch::new(Partition::tag(1))).await;
        assert!(matches!(late, Err(CommitError::ReadOnly(_))));
        assert!(engine.get(vec![vec![1]]).await.is_err());
    });
}

const PART: Partition = Partition::tag(0x33);

/// Few keys, so that batches meet each other.
fn key() -> impl Strategy<Value = Key> {
    (0u8..3, 0u8..5).prop_map(|(a, b)| PART.key(&[a, b]))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => (0u64..4).prop_map(|n| n.to_be_bytes().to_vec()),
        2 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => (0usize..9000).prop_map(|n| vec![n as u8; n]),
    ]
}

fn template(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Template> {
    (bytes, proptest::option::weighted(0.2, (0u16..2, 0u32..3, any::<bool>()))).prop_map(|(bytes, slot)| {
        match slot {
            None => Template::new(bytes),
            Some((alloc, plus, true)) => Template::new(bytes).slot4(alloc, plus),
            Some((alloc, plus, false)) => Template::new(bytes).slot8(alloc, plus),
        }
    })
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        Just(Expect::Absent),
        Just(Expect::Present),
        (0u64..4).prop_map(Expect::Version),
        value().prop_map(Expect::Value),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (template(key()), template(value())).prop_map(|(k, v)| Op::Put(k, v)),
        2 => key().prop_map(Op::Del),
        1 => (key(), key()).prop_map(|(a, b)| Op::DelRange(a, b)),
        2 => (key(), -3i64..4).prop_map(|(k, n)| Op::Add(k, n)),
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    (
        proptest::collection::vec((key(), expect()), 0..2),
        proptest::collection::vec((key(), 0u32..3), 0..3),
        proptest::collection::vec(op(), 0..6),
        proptest::option::weighted(0.3, 0u8..4),
    )
        .prop_map(|(expect, alloc, ops, token)| Batch {
            part: PART,
            expect,
            alloc,
            ops,
            token: token.map(|t| [t; 16]),
        })
}

#[derive(Clone, Debug)]
enum Step {
    /// Handed in together, so that they share a group as chance has it.
    Commit(Vec<Batch>),
    Scan(Key, Key, bool, u32),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(batch(), 1..6).prop_map(Step::Commit),
        3 => (key(), key(), any::<bool>(), 1u32..6).prop_map(|(a, b, rev, n)| Step::Scan(a, b, rev, n)),
        1 => Just(Step::Reopen),
    ]
}

fn rows(page: &Page) -> Vec<(Vec<u8>, Vec<u8>)> {
    page.rows().map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
}

async fn run(steps: Vec<Step>) {
    let folder = Folder::new();
    let model = Model::new(clock());
    let mut real = sqlite(&folder);
    for step in steps {
        match step {
            Step::Commit(batches) => {
                let pending: Vec<_> = batches.iter().map(|b| real.commit(b.clone())).collect();
                for (batch, pending) in batches.into_iter().zip(pending) {
                    assert_eq!(pending.await, model.commit(batch).await);
                }
            }
            Step::Scan(from, to, rev, n) => {
                let ours = real.scan(from.clone()..to.clone(), rev, n, u32::MAX).await.unwrap();
                let theirs = model.scan(from..to, rev, n, u32::MAX).await.unwrap();
                assert_eq!((rows(&ours), ours.next), (rows(&theirs), theirs.next));
            }
            Step::Reopen => {
                real.close().await;
                real = sqlite(&folder);
            }
        }
    }
    let everything = || waypost_store::prefix_range(PART.as_bytes());
    let ours = real.scan(everything(), false, 4000, u32::MAX).await.unwrap();
    let theirs = model.scan(everything(), false, 4000, u32::MAX).await.unwrap();
    assert_eq!(rows(&ours), rows(&theirs));
    let mut report = Report::default();
    real.verify(&mut report).await;
    assert!(report.is_clean(), "{report}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_batches_do_what_the_model_does(steps in proptest::collection::vec(step(), 1..16)) {
        runtime().block_on(run(steps));
    }
}
