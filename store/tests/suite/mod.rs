//! The behaviour that every engine must have, as functions over `&dyn Engine`. Each uses its own partition, so all of
//! them can run on one engine, one after the other or at once.

use std::sync::Arc;
use waypost_store::{
    Batch, CommitError, Committed, Engine, Expect, Hex, Key, Op, Page, Partition, ReadError, Slot, Template,
    Width, limits, prefix_range,
};

/// Runs all of it.
pub async fn all(engine: &Arc<dyn Engine>) {
    let e = &**engine;
    order_and_pages(e).await;
    many_gets(e).await;
    preconditions(e).await;
    a_failing_batch_drops_out_alone(e).await;
    allocation(e).await;
    slots(e).await;
    counters(e).await;
    what_fails_leaves_nothing(e).await;
    ranges(e).await;
    tokens(e).await;
    size_limits(e).await;
    ill_formed(e).await;
    calls_are_in_order(e).await;
    a_dropped_answer_is_committed(e).await;
    a_chain_ends_at_the_first_failure(e).await;
    a_read_is_one_snapshot(engine).await;
}

fn part(n: u32) -> Partition {
    Partition::numbered(0x10, 0x7E57_0000 + n)
}

async fn put(e: &dyn Engine, p: Partition, rest: &[u8], value: &[u8]) {
    let mut batch = Batch::new(p);
    batch.put(p.key(rest), value);
    e.commit(batch).await.unwrap();
}

async fn get(e: &dyn Engine, p: Partition, rest: &[u8]) -> Option<Vec<u8>> {
    e.get(vec![p.key(rest)]).await.unwrap().pop().unwrap().map(|b| b.to_vec())
}

fn rows(page: &Page, p: Partition) -> Vec<(Vec<u8>, Vec<u8>)> {
    page.rows().map(|(k, v)| (k[p.as_bytes().len()..].to_vec(), v.to_vec())).collect()
}

/// Everything in a partition, by pages of `n` rows.
async fn dump(e: &dyn Engine, p: Partition, rev: bool, n: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let mut rest = Some(prefix_range(p.as_bytes()));
    while let Some(range) = rest {
        let page = e.scan(range, rev, n, u32::MAX).await.unwrap();
        assert!(page.len() <= n as usize && page.corrupt.is_empty());
        all.extend(rows(&page, p));
        rest = page.next;
    }
    all
}

pub async fn order_and_pages(e: &dyn Engine) {
    let p = part(1);
    let mut keys: Vec<Vec<u8>> = vec![b"".to_vec(), b"\0".to_vec(), b"a".to_vec(), b"a\0".to_vec()];
    keys.extend([b"ab".to_vec(), b"b".to_vec(), b"\xFF".to_vec(), b"\xFF\xFF".to_vec()]);
    for (i, key) in keys.iter().enumerate().rev() {
        put(e, p, key, &[i as u8; 3]).await;
    }
    // The neighbours must not show.
    put(e, part(2), b"", b"x").await;
    let forward: Vec<_> = keys.iter().enumerate().map(|(i, k)| (k.clone(), vec![i as u8; 3])).collect();
    let backward: Vec<_> = forward.iter().rev().cloned().collect();
    for n in [1, 2, 3, 7, 8, 1000] {
        assert_eq!(dump(e, p, false, n).await, forward);
        assert_eq!(dump(e, p, true, n).await, backward);
    }
    let page = e.scan(p.key(b"a")..p.key(b"b"), false, 10, u32::MAX).await.unwrap();
    assert_eq!(page.len(), 3, "the start is in, the end is not");
    assert!(page.next.is_none());
    let page = e.scan(p.key(b"a")..p.key(b"b"), true, 10, 1).await.unwrap();
    assert_eq!(
        rows(&page, p),
        vec![(b"ab".to_vec(), vec![4; 3])],
        "one row, however few bytes are asked for"
    );
    assert_eq!(page.next, Some(p.key(b"a")..p.key(b"a\0\0")));
    let page = e.scan(p.key(b"b")..p.key(b"a"), false, 10, u32::MAX).await.unwrap();
    assert!(page.is_empty() && page.next.is_none(), "an empty range");
}

pub async fn many_gets(e: &dyn Engine) {
    let p = part(3);
    put(e, p, b"1", b"one").await;
    put(e, p, b"2", b"").await;
    let found = e.get(vec![p.key(b"2"), p.key(b"0"), p.key(b"1"), p.key(b"1")]).await.unwrap();
    let found: Vec<_> = found.iter().map(|v| v.as_deref()).collect();
    assert_eq!(found, [Some(&b""[..]), None, Some(b"one"), Some(b"one")]);
    assert!(e.get(Vec::new()).await.unwrap().is_empty());
    let too_many = vec![p.key(b"1"); limits::GET_KEYS + 1];
    assert_eq!(e.get(too_many).await, Err(ReadError::TooLarge));
}

pub async fn preconditions(e: &dyn Engine) {
    let p = part(4);
    let version = [&7u64.to_be_bytes()[..], b"rest"].concat();
    put(e, p, b"v", &version).await;
    let holds = [
        (b"v", Expect::Present, true),
        (b"v", Expect::Absent, false),
        (b"v", Expect::Version(7), true),
        (b"v", Expect::Version(8), false),
        (b"v", Expect::Value(version.clone()), true),
        (b"v", Expect::Value(b"other".to_vec()), false),
        (b"n", Expect::Present, false),
        (b"n", Expect::Absent, true),
        (b"n", Expect::Version(0), false),
        (b"n", Expect::Value(Vec::new()), false),
    ];
    for (key, expect, holds) in holds {
        let mut batch = Batch::new(p);
        batch.expect(p.key(key), expect.clone()).put(p.key(b"done"), &b"1"[..]);
        let answer = e.commit(batch).await;
        if holds {
            assert_eq!(answer, Ok(Committed::default()), "{expect:?}");
        } else {
            assert_eq!(answer, Err(CommitError::Conflict(vec![p.key(key)])), "{expect:?}");
        }
    }
    // All that fail are named, and the batch's own writes do not count.
    let mut batch = Batch::new(p);
    batch.put(p.key(b"new"), &b"1"[..]);
    batch.expect(p.key(b"v"), Expect::Present).expect(p.key(b"x"), Expect::Present);
    batch.expect(p.key(b"new"), Expect::Present);
    let failed = vec![p.key(b"x"), p.key(b"new")];
    assert_eq!(e.commit(batch).await, Err(CommitError::Conflict(failed)));
    assert_eq!(get(e, p, b"new").await, None);
}

pub async fn a_failing_batch_drops_out_alone(e: &dyn Engine) {
    let p = part(5);
    let batch = |i: u8| {
        let mut batch = Batch::new(p);
        if i % 3 == 1 {
            batch.expect(p.key(b"never"), Expect::Present);
        } else if i > 0 {
            // Sees what the batches before it in the same group have done.
            batch.expect(p.key(b"last"), Expect::Value(vec![if i % 3 == 2 { i - 2 } else { i - 1 }]));
        }
        let n = batch.alloc(p.key(b"count"), 1);
        batch.put(p.key(b"last"), vec![i]).put(Template::new(p.key(b"row")).slot4(n, 0), vec![i]);
        batch
    };
    let pending: Vec<_> = (0..30).map(|i| e.commit(batch(i))).collect();
    let mut given = 0;
    for (i, pending) in pending.into_iter().enumerate() {
        let answer = pending.await;
        if i % 3 == 1 {
            assert_eq!(answer, Err(CommitError::Conflict(vec![p.key(b"never")])));
        } else {
            given += 1;
            assert_eq!(answer, Ok(Committed { allocated: vec![given], replayed: false }), "batch {i}");
        }
    }
    assert_eq!(dump(e, p, false, 100).await.len(), 22);
}

pub async fn allocation(e: &dyn Engine) {
    let p = part(6);
    let mut batch = Batch::new(p);
    batch.alloc(p.key(b"a"), 5);
    batch.alloc(p.key(b"b"), 1);
    batch.alloc(p.key(b"a"), 2);
    batch.alloc(p.key(b"c"), 0);
    let first = e.commit(batch.clone()).await.unwrap();
    assert_eq!(first.allocated, [1, 1, 6, 1]);
    assert_eq!(e.commit(batch).await.unwrap().allocated, [8, 2, 13, 1]);
    assert_eq!(get(e, p, b"a").await, Some(14u64.to_be_bytes().to_vec()));
    // Numbers handed out to many at once: each once, none left out.
    let pending: Vec<_> = (0..200)
        .map(|_| {
            let mut batch = Batch::new(p);
            batch.alloc(p.key(b"many"), 3);
            e.commit(batch)
        })
        .collect();
    for (i, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.await.unwrap().allocated, [3 * i as u64 + 1]);
    }
}

pub async fn slots(e: &dyn Engine) {
    let p = part(7);
    let mut batch = Batch::new(p);
    let uid = batch.alloc(p.key(b"uid"), 3);
    let seq = batch.alloc(p.key(b"seq"), 1);
    for i in 0..3 {
        let key = Template::new(p.key(b"row")).slot4(uid, i);
        let value = Template::new(&b"<"[..]).slot8(seq, 0).push(b"|").slot4(uid, i).push(b">");
        batch.put(key, value);
    }
    e.commit(batch).await.unwrap();
    for uid in 1..=3u32 {
        let key = [&b"row"[..], &uid.to_be_bytes()].concat();
        let value = [b"<", &1u64.to_be_bytes()[..], b"|", &uid.to_be_bytes(), b">"].concat();
        assert_eq!(get(e, p, &key).await, Some(value));
    }
    // Four bytes can be used up, eight go on.
    put(e, p, b"full", &u64::from(u32::MAX).to_be_bytes()).await;
    let mut batch = Batch::new(p);
    let n = batch.alloc(p.key(b"full"), 1);
    batch.put(Template::new(p.key(b"w4")).slot4(n, 0), &b""[..]);
    assert_eq!(e.commit(batch.clone()).await, Err(CommitError::Exhausted));
    batch.ops = vec![Op::Put(Template::new(p.key(b"w8")).slot8(n, 0), Template::default())];
    assert_eq!(e.commit(batch).await.unwrap().allocated, [1 << 32]);
}

pub async fn counters(e: &dyn Engine) {
    let p = part(8);
    for (amount, sum) in [(5i64, 5i64), (-7, -2), (2, 0), (0, 0), (i64::MAX, i64::MAX)] {
        let mut batch = Batch::new(p);
        batch.add(p.key(b"n"), amount);
        e.commit(batch).await.unwrap();
        assert_eq!(get(e, p, b"n").await, Some(sum.to_be_bytes().to_vec()));
    }
    let mut batch = Batch::new(p);
    batch.add(p.key(b"n"), 1);
    assert_eq!(e.commit(batch).await, Err(CommitError::Exhausted));
    let mut batch = Batch::new(p);
    batch.del(p.key(b"n")).add(p.key(b"n"), 3).add(p.key(b"n"), 4).put(p.key(b"m"), &9i64.to_be_bytes()[..]);
    batch.add(p.key(b"m"), -1);
    e.commit(batch).await.unwrap();
    assert_eq!(get(e, p, b"n").await, Some(7i64.to_be_bytes().to_vec()));
    assert_eq!(get(e, p, b"m").await, Some(8i64.to_be_bytes().to_vec()));
}

pub async fn what_fails_leaves_nothing(e: &dyn Engine) {
    let p = part(9);
    put(e, p, b"text", b"not a number").await;
    put(e, p, b"keep", b"1").await;
    put(e, p, b"top", &u64::MAX.to_be_bytes()).await;
    let before = dump(e, p, false, 100).await;
    for bad in 0..4 {
        let mut batch = Batch::new(p);
        batch.token([bad; 16]);
        batch.alloc(p.key(b"count"), 1);
        batch.put(p.key(b"new"), &b"1"[..]).del(p.key(b"keep"));
        batch.del_range(p.key(b"k")..p.key(b"l"));
        let expected = match bad {
            0 => {
                batch.add(p.key(b"text"), 1);
                CommitError::Invalid("not a counter row")
            }
            1 => {
                batch.alloc(p.key(b"text"), 1);
                CommitError::Invalid("not a counter row")
            }
            2 => {
                batch.alloc(p.key(b"top"), 1);
                CommitError::Exhausted
            }
            _ => {
                batch.put(p.key(b"w"), &b"xyz"[..]).add(p.key(b"w"), 1);
                CommitError::Invalid("not a counter row")
            }
        };
        assert_eq!(e.commit(batch).await, Err(expected));
        assert_eq!(dump(e, p, false, 100).await, before, "case {bad}");
    }
}

pub async fn ranges(e: &dyn Engine) {
    let p = part(10);
    let letters = |rows: Vec<(Vec<u8>, Vec<u8>)>| -> String {
        rows.iter().map(|(k, _)| String::from_utf8_lossy(k).into_owned()).collect()
    };
    for c in b'a'..=b'h' {
        put(e, p, &[c], b"1").await;
    }
    let mut batch = Batch::new(p);
    batch.put(p.key(b"ca"), &b"gone"[..]);
    batch.del_range(p.key(b"b")..p.key(b"e"));
    batch.put(p.key(b"c"), &b"new"[..]);
    // Empty and reversed ranges delete nothing.
    batch.del_range(p.key(b"a")..p.key(b"a")).del_range(p.key(b"h")..p.key(b"a"));
    e.commit(batch).await.unwrap();
    assert_eq!(letters(dump(e, p, false, 100).await), "acefgh");
    assert_eq!(get(e, p, b"c").await.as_deref(), Some(&b"new"[..]));
    // Across batches that may share a group.
    let mut one = Batch::new(p);
    one.put(p.key(b"fa"), &b"1"[..]);
    let mut two = Batch::new(p);
    two.del_range(p.key(b"f")..p.key(b"g")).put(p.key(b"fb"), &b"1"[..]);
    let mut three = Batch::new(p);
    three.expect(p.key(b"f"), Expect::Absent).expect(p.key(b"fa"), Expect::Absent);
    three.expect(p.key(b"fb"), Expect::Present).put(p.key(b"f"), &b"2"[..]);
    let (one, two, three) = (e.commit(one), e.commit(two), e.commit(three));
    one.await.unwrap();
    two.await.unwrap();
    three.await.unwrap();
    assert_eq!(letters(dump(e, p, false, 100).await), "aceffbgh");
    let mut all = Batch::new(p);
    all.del_range(prefix_range(p.as_bytes()));
    e.commit(all).await.unwrap();
    assert!(dump(e, p, false, 100).await.is_empty());
}

pub async fn tokens(e: &dyn Engine) {
    let p = part(11);
    let mut batch = Batch::new(p);
    batch.token(*b"suite token 0001");
    batch.alloc(p.key(b"n"), 2);
    batch.add(p.key(b"sum"), 1);
    let first = e.commit(batch.clone()).await.unwrap();
    assert_eq!(first, Committed { allocated: vec![1], replayed: false });
    let again = e.commit(batch.clone()).await.unwrap();
    assert_eq!(again, Committed { allocated: vec![1], replayed: true });
    // Twice at once: one of them is the replay.
    batch.token(*b"suite token 0002");
    let (a, b) = (e.commit(batch.clone()), e.commit(batch.clone()));
    assert_eq!(a.await.unwrap(), Committed { allocated: vec![3], replayed: false });
    assert_eq!(b.await.unwrap(), Committed { allocated: vec![3], replayed: true });
    assert_eq!(get(e, p, b"sum").await, Some(2i64.to_be_bytes().to_vec()));
    // A batch that failed may be tried again with the same token; what it expects is not looked at in a replay.
    batch.token(*b"suite token 0003");
    batch.expect(p.key(b"gate"), Expect::Present);
    assert!(matches!(e.commit(batch.clone()).await, Err(CommitError::Conflict(_))));
    put(e, p, b"gate", b"").await;
    assert!(!e.commit(batch.clone()).await.unwrap().replayed);
    let mut close = Batch::new(p);
    close.del(p.key(b"gate"));
    e.commit(close).await.unwrap();
    assert_eq!(e.commit(batch).await.unwrap(), Committed { allocated: vec![5], replayed: true });
}

pub async fn size_limits(e: &dyn Engine) {
    let p = part(12);
    let limits = e.limits();
    let key = |len: usize| p.key(&vec![b'k'; len - p.as_bytes().len()]);
    let commit = |key: Key, value: usize| {
        let mut batch = Batch::new(p);
        batch.put(key, vec![1; value]);
        e.commit(batch)
    };
    commit(key(limits.key_bytes), limits.value_bytes).await.unwrap();
    let found = e.get(vec![key(limits.key_bytes)]).await.unwrap().pop().unwrap().unwrap();
    assert_eq!(found.len(), limits.value_bytes);
    assert_eq!(commit(key(limits.key_bytes + 1), 1).await, Err(CommitError::TooLarge));
    assert_eq!(commit(key(20), limits.value_bytes + 1).await, Err(CommitError::TooLarge));
    let mut batch = Batch::new(p);
    for i in 0..limits.batch_ops {
        batch.put(p.key(&(i as u32).to_be_bytes()), &b""[..]);
    }
    e.commit(batch.clone()).await.unwrap();
    batch.del(p.key(b"one more"));
    assert_eq!(e.commit(batch).await, Err(CommitError::TooLarge));
    let mut batch = Batch::new(p);
    for i in 0..limits.batch_bytes / limits.value_bytes {
        batch.put(p.key(&(i as u32).to_be_bytes()), vec![0; limits.value_bytes]);
    }
    assert_eq!(e.commit(batch).await, Err(CommitError::TooLarge), "the keys make it too large");
    // Pages are cut by bytes.
    for i in 0..8u8 {
        commit(p.key(&[b'p', i]), limits.value_bytes).await.unwrap();
    }
    let page = e.scan(prefix_range(&p.key(b"p")), false, 100, u32::MAX).await.unwrap();
    assert!(page.size() <= (limits.page_bytes as usize) + limits.value_bytes + 100 && page.next.is_some());
}

pub async fn ill_formed(e: &dyn Engine) {
    let p = part(13);
    let refused = |batch: &Batch| {
        let pending = e.commit(batch.clone());
        async move { assert!(matches!(pending.await, Err(CommitError::Invalid(_)))) }
    };
    let mut foreign = Batch::new(p);
    foreign.put(part(14).key(b"x"), &b""[..]);
    refused(&foreign).await;
    foreign.ops = vec![Op::DelRange(p.key(b"x"), part(15).key(b"x"))];
    refused(&foreign).await;
    let mut reserved = Batch::new(Partition::tag(0x7F));
    reserved.put(vec![0x7F, 0, 1], &b""[..]);
    refused(&reserved).await;
    let mut nowhere = Batch::new(p);
    nowhere.put(Template::new(p.key(b"x")).slot4(0, 0), &b""[..]);
    refused(&nowhere).await;
    let mut outside = Batch::new(p);
    outside.alloc(p.key(b"n"), 1);
    let slots = vec![Slot { at: 3, alloc: 0, plus: 0, width: Width::W8 }];
    outside.put(p.key(b"x"), Template { bytes: vec![0; 10], slots });
    refused(&outside).await;
    // A slot must not move a key to another partition.
    let mut moving = Batch::new(p);
    moving.alloc(p.key(b"n"), 1);
    let slots = vec![Slot { at: 1, alloc: 0, plus: 0, width: Width::W4 }];
    moving.put(Template { bytes: p.key(b"x"), slots }, &b""[..]);
    refused(&moving).await;
}

pub async fn calls_are_in_order(e: &dyn Engine) {
    let p = part(16);
    let pending: Vec<_> = (0..700u32)
        .map(|i| {
            let mut batch = Batch::new(p);
            if i > 0 {
                batch.expect(p.key(b"x"), Expect::Value((i - 1).to_be_bytes().to_vec()));
            }
            batch.put(p.key(b"x"), &i.to_be_bytes()[..]);
            e.commit(batch)
        })
        .collect();
    for (i, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.await, Ok(Committed::default()), "batch {i}");
    }
}

pub async fn a_dropped_answer_is_committed(e: &dyn Engine) {
    let p = part(17);
    let mut batch = Batch::new(p);
    batch.put(p.key(b"x"), &b"1"[..]);
    drop(e.commit(batch));
    // The next one is behind it in line.
    put(e, p, b"y", b"1").await;
    assert!(get(e, p, b"x").await.is_some());
}

pub async fn a_chain_ends_at_the_first_failure(e: &dyn Engine) {
    let (p, q) = (part(19), part(20));
    let step = |part: Partition, name: &[u8], expect: Option<&[u8]>| {
        let mut batch = Batch::new(part);
        batch.alloc(part.key(b"n"), 1);
        batch.put(part.key(name), &b""[..]);
        if let Some(other) = expect {
            batch.expect(part.key(other), Expect::Present);
        }
        batch
    };
    // Each sees what those before it have done; the answer is the last one's.
    let good = e.commit_chain(vec![step(p, b"1", None), step(q, b"2", None), step(p, b"3", Some(b"1"))]);
    assert_eq!(good.await.unwrap().allocated, [2]);
    let bad = e.commit_chain(vec![step(p, b"4", None), step(q, b"5", Some(b"9")), step(p, b"6", None)]);
    assert_eq!(bad.await, Err(CommitError::Conflict(vec![q.key(b"9")])));
    let keys = |rows: Vec<(Vec<u8>, Vec<u8>)>| rows.into_iter().map(|(k, _)| k).collect::<Vec<_>>();
    assert_eq!(keys(dump(e, p, false, 10).await), [b"1", b"3", b"4", b"n"]);
    assert_eq!(keys(dump(e, q, false, 10).await), [b"2", b"n"]);
    // One that is ill-formed spoils all of them, before any is done.
    let mut wrong = Batch::new(p);
    wrong.put(q.key(b"x"), &b""[..]);
    let spoilt = e.commit_chain(vec![step(p, b"7", None), wrong]);
    assert!(matches!(spoilt.await, Err(CommitError::Invalid(_))));
    assert_eq!(get(e, p, b"7").await, None);
    assert_eq!(e.commit_chain(Vec::new()).await, Ok(Committed::default()));
}

pub async fn a_read_is_one_snapshot(engine: &Arc<dyn Engine>) {
    let p = part(18);
    let writer = {
        let engine = engine.clone();
        tokio::spawn(async move {
            for i in 0..200u32 {
                let mut batch = Batch::new(p);
                batch.put(p.key(b"a"), &i.to_be_bytes()[..]).put(p.key(b"z"), &i.to_be_bytes()[..]);
                engine.commit(batch).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let found = engine.get(vec![p.key(b"a"), p.key(b"z")]).await.unwrap();
        assert_eq!(found[0], found[1]);
        let page = engine.scan(prefix_range(p.as_bytes()), false, 10, u32::MAX).await.unwrap();
        let rows = rows(&page, p);
        assert!(rows.is_empty() || rows[0].1 == rows[1].1, "{}", Hex(&rows[0].1));
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}
