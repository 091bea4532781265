//! Whatever is written comes back, and whatever is read does not panic.

use super::*;
use crate::model::{Local, Place};
use proptest::prelude::*;
use waypost_smtp::{Notify, OriginalRecipient, RcptParams, Status};
use waypost_store::{Op, Store};

fn mailbox() -> impl Strategy<Value = Mailbox> {
    ("[a-zü]{0,9}", "[a-z.]{0,9}").prop_map(|(local, domain)| Mailbox::new(local, domain))
}

fn accepted() -> impl Strategy<Value = Accepted> {
    (mailbox(), proptest::option::of(any::<[bool; 3]>()), proptest::option::of("[a-z]{0,9}")).prop_map(
        |(to, notify, orcpt)| Accepted {
            to,
            params: RcptParams {
                notify: notify.map(|[success, failure, delay]| Notify { success, failure, delay }),
                orcpt: orcpt.map(|address| OriginalRecipient { kind: "rfc822".into(), address }),
                inner: None,
            },
        },
    )
}

fn route() -> impl Strategy<Value = Route> {
    prop_oneof![
        Just(Route::Mailbox),
        "[a-z.]{0,9}".prop_map(Route::Domain),
        ("[a-z.]{0,9}", any::<u16>()).prop_map(|(host, port)| Route::Server { host, port }),
        "[a-z0-9-]{1,9}".prop_map(Route::Home),
        Just(Route::Hub),
    ]
}

fn hop() -> impl Strategy<Value = Hop> {
    let place = prop_oneof![Just(Place::Inbox), Just(Place::Sent), Just(Place::Junk)];
    let local = (any::<u32>(), place).prop_map(|(a, place)| Local { account: AccountId(a), place });
    let target = (mailbox(), 0u32..4, proptest::option::of(local)).prop_map(|(to, of, local)| Target {
        to,
        of,
        local,
    });
    (any::<u32>(), route(), proptest::collection::vec(target, 1..5))
        .prop_map(|(number, route, targets)| Hop { number, route, targets })
}

fn reason() -> impl Strategy<Value = Reason> {
    (any::<u16>(), proptest::option::of(any::<u16>()), proptest::option::of("[a-z]{0,5}"), "[a-zü]{0,20}")
        .prop_map(|(n, code, server, text)| Reason {
            status: Status(4, n, 7),
            code,
            server,
            text,
            temporary: n % 2 == 0,
        })
}

fn rows_of(item: &NewItem) -> (Vec<u8>, Vec<u8>) {
    let mut last = Batch::new(PARTITION);
    let chain = new_item(item, &mut last);
    let put = |op: &Op| match op {
        Op::Put(key, value) => (key.bytes.clone(), value.bytes.clone()),
        _ => panic!("only puts"),
    };
    let pages = chain.iter().flat_map(|batch| &batch.ops).flat_map(|op| put(op).1).collect();
    let row = last.ops.iter().map(put).find(|(key, _)| key[1] == ITEM).unwrap().1;
    (row, pages)
}

fn new(recipients: Vec<Accepted>, hops: Vec<Hop>) -> NewItem {
    let blob = Store::memory().blobs().inline(BlobId([9; 32]), 77, vec![1, 2, 3].into());
    let envelope = Envelope::new(None, Timestamp(5), Correlation(6));
    NewItem { id: 8, envelope, blob, recipients, hops }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn items_come_back(
        recipients in proptest::collection::vec(accepted(), 0..5),
        hops in proptest::collection::vec(hop(), 1..5),
        from in proptest::option::of(mailbox()),
        texts in proptest::collection::vec("[ -~ü]{0,30}", 5),
        numbers in any::<[u32; 4]>(),
        bits in any::<[bool; 4]>(),
    ) {
        let mut item = new(recipients, hops);
        let e = &mut item.envelope;
        e.from = from;
        e.params.envid = bits[0].then(|| texts[0].clone());
        e.params.utf8 = bits[1];
        e.params.ret = [None, Some(Return::Full), Some(Return::Headers)][numbers[0] as usize % 3];
        e.params.body = [BodyKind::SevenBit, BodyKind::EightBit, BodyKind::Binary][numbers[1] as usize % 3];
        e.owner = bits[2].then_some(AccountId(numbers[2]));
        e.priority = [Priority::High, Priority::Normal, Priority::Low][numbers[3] as usize % 3];
        e.kind = if bits[3] { Kind::Report } else { Kind::Mail };
        e.client.ip = [None, Some([1, 2, 3, 4].into()), Some([7u8; 16].into())][numbers[1] as usize / 3 % 3];
        e.client.helo.clone_from(&texts[1]);
        (e.subject, e.message_id, e.headers_from) = (texts[2].clone(), texts[3].clone(), texts[4].clone());
        e.hops_seen = numbers[2];
        e.delivery = bits[0].then(|| DeliveryId([numbers[1] as u8; 16]));
        let (row, pages) = rows_of(&item);
        let read = Item::decode(&row, &pages).unwrap();
        prop_assert_eq!(&read.envelope, &item.envelope);
        prop_assert_eq!(&read.recipients, &item.recipients);
        prop_assert_eq!(&read.hops, &item.hops);
        prop_assert_eq!(read.head.size, 77);
        prop_assert!(!read.head.stored && !read.head.paged && pages.is_empty());
        prop_assert_eq!(envelope(&row).unwrap().1, item.envelope);
        for cut in 0..row.len() {
            prop_assert!(Item::decode(&row[..cut], &[]).is_none(), "a torn row is not read");
        }
    }

    #[test]
    fn states_come_back(
        settled in proptest::collection::vec((0u32..40, 0usize..6), 0..40),
        last in proptest::option::of(reason()),
        failed in proptest::option::of(reason()),
        route in proptest::option::of(route()),
        bits in any::<[bool; 5]>(),
        attempts in any::<u32>(),
    ) {
        let all = [Done::Delivered, Done::Relayed, Done::Expanded, Done::Failed, Done::Dropped, Done::Recalled];
        let mut state = HopState {
            suspended: bits[0],
            warned: bits[1],
            finished: bits[2],
            poison: bits[3].then(|| "evidence".to_owned()),
            suspicions: 1,
            priority: bits[4].then_some(Priority::Low),
            route,
            attempts,
            due: Timestamp(i64::from(attempts)),
            last_attempt: Timestamp(-1),
            done: Runs::default(),
            last,
            failed,
        };
        let mut known = std::collections::BTreeMap::new();
        for (index, done) in &settled {
            known.entry(*index).or_insert(all[*done]);
            state.done.add(&[(*index, all[*done])]);
        }
        for index in 0..41 {
            prop_assert_eq!(state.done.get(index), known.get(&index).copied());
        }
        prop_assert_eq!(state.done.count() as usize, known.len());
        prop_assert_eq!(HopState::decode(&state.encode()), Some(state));
    }

    #[test]
    fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzz_one(&data);
    }

    #[test]
    fn a_flaw_in_a_row_is_survived(at in any::<usize>(), with in any::<u8>(), hops in proptest::collection::vec(hop(), 1..4)) {
        let (mut row, _) = rows_of(&new(Vec::new(), hops));
        let at = at % row.len();
        row[at] ^= with;
        row.insert(0, 0);
        crate::fuzz_one(&row);
    }
}

#[test]
fn queues_have_keys() {
    let connector = |name: &str, domain: Option<&str>| NextHop::Connector {
        connector: name.into(),
        domain: domain.map(Into::into),
    };
    for hop in [
        NextHop::Mailbox,
        NextHop::Unreachable,
        NextHop::Poison,
        NextHop::Server { host: "h".into(), port: 25 },
        connector("sink", None),
        connector("Internet", Some("b.example")),
    ] {
        assert_eq!(queue_of(&queue_key(&hop).unwrap()), Some(hop));
    }
    assert_eq!(queue_key(&connector(&"x".repeat(600), None)), None);
}

#[test]
fn many_targets_go_into_pages() {
    let targets = (0..10_000)
        .map(|i| Target { to: Mailbox::new(format!("recipient{i}"), "b.example"), of: 0, local: None })
        .collect();
    let item = new(Vec::new(), vec![Hop { number: 3, route: Route::Mailbox, targets }]);
    let (row, pages) = rows_of(&item);
    assert!(row.len() < 200 && pages.len() > 200_000, "{} {}", row.len(), pages.len());
    assert_eq!(Item::decode(&row, &pages).unwrap().hops, item.hops);
    assert!(Item::decode(&row, &pages[..pages.len() - 1]).is_none());
}
