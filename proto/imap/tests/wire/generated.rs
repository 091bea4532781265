//! Generated commands and generated garbage.

use proptest::collection::vec;
use proptest::prelude::*;
use waypost_base::Timestamp;
use waypost_imap::command::*;
use waypost_imap::fuzz::{assert_round_trip, fuzz_one};
use waypost_imap::value::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "\\PC{0,8}", "(a|\"|\\\\|\r\n){0,6}"]
}

fn folder() -> impl Strategy<Value = FolderName> {
    prop_oneof!["[ -~]{1,12}", "\\PC{1,12}", "(?i)inbox(/[a-z&]{1,3})?"]
        .prop_map(|name| FolderName::new(&name))
}

fn set() -> impl Strategy<Value = SequenceSet> {
    let bound = || prop_oneof![Just(Bound::STAR), (1..u32::MAX).prop_map(|n| Bound::new(n).unwrap())];
    let range = (bound(), bound()).prop_map(|(start, end)| Range { start, end });
    prop_oneof![
        Just(SequenceSet::Saved),
        vec(range, 1..4).prop_map(|ranges| SequenceSet::Ranges(ranges.into()))
    ]
}

fn flag() -> impl Strategy<Value = Flag> {
    prop_oneof![
        Just(Flag::Seen),
        Just(Flag::Deleted),
        "[$A-Za-z][a-z0-9.-]{0,10}".prop_map(|k| Flag::keyword(&k).unwrap()),
        "X[a-z]{1,5}".prop_map(|k| Flag::Extension(k.into())),
    ]
}

fn key() -> impl Strategy<Value = SearchKey> {
    let date = || (-700_000i64..2_900_000).prop_map(Date);
    let leaf = prop_oneof![
        Just(SearchKey::All),
        Just(SearchKey::New),
        set().prop_map(SearchKey::Sequence),
        set().prop_map(SearchKey::Uid),
        prop_oneof![Just(Flag::Seen), Just(Flag::Recent), Just(Flag::keyword("$x").unwrap())]
            .prop_map(SearchKey::Flag),
        prop_oneof![Just(Flag::Seen), Just(Flag::Recent), Just(Flag::keyword("$x").unwrap())]
            .prop_map(SearchKey::NotFlag),
        text().prop_map(SearchKey::Body),
        text().prop_map(SearchKey::Subject),
        (text(), text()).prop_map(|(name, text)| SearchKey::Header(name, text)),
        date().prop_map(SearchKey::Since),
        date().prop_map(SearchKey::SavedOn),
        (0..i64::MAX as u64).prop_map(SearchKey::Larger),
        (1..u32::MAX).prop_map(SearchKey::Younger),
        any::<u32>().prop_map(|n| SearchKey::ModSeq(n.into())),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(SearchKey::And),
            inner.clone().prop_map(|k| SearchKey::Not(Box::new(k))),
            (inner.clone(), inner).prop_map(|(a, b)| SearchKey::Or(Box::new(a), Box::new(b))),
        ]
    })
}

fn returns() -> impl Strategy<Value = Option<SearchReturn>> {
    proptest::option::of(any::<[bool; 5]>().prop_map(|[min, max, all, count, save]| SearchReturn {
        min,
        max,
        all,
        count,
        save,
    }))
}

fn item() -> impl Strategy<Value = FetchItem> {
    let part = || vec(1..u32::MAX, 0..4);
    let partial = || {
        proptest::option::of(
            (0..1u64 << 40, 1..1u64 << 40).prop_map(|(offset, length)| Partial { offset, length }),
        )
    };
    let fields = || vec("[A-Za-z-]{1,9}", 1..3);
    let section_text = prop_oneof![
        Just(SectionText::Whole),
        Just(SectionText::Header),
        Just(SectionText::Text),
        Just(SectionText::Mime),
        fields().prop_map(SectionText::HeaderFields),
        fields().prop_map(SectionText::HeaderFieldsNot),
    ];
    let section = (part(), section_text).prop_map(|(part, text)| {
        let text = if part.is_empty() && text == SectionText::Mime { SectionText::Whole } else { text };
        Section { part, text }
    });
    prop_oneof![
        Just(FetchItem::Flags),
        Just(FetchItem::Envelope),
        Just(FetchItem::Preview { lazy: true }),
        Just(FetchItem::Rfc822Header),
        (any::<bool>(), section, partial()).prop_map(|(peek, section, partial)| FetchItem::Section {
            peek,
            section,
            partial
        }),
        (any::<bool>(), part(), partial()).prop_map(|(peek, part, partial)| FetchItem::Binary {
            peek,
            part,
            partial
        }),
        part().prop_map(|part| FetchItem::BinarySize { part }),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let fetch = (any::<bool>(), set(), vec(item(), 1..5), proptest::option::of(0..1u64 << 62), any::<bool>())
        .prop_map(|(uid, set, items, changed_since, vanished)| {
            let vanished = vanished && uid && changed_since.is_some();
            Body::Fetch(Fetch { uid, set, items, changed_since, vanished })
        });
    let store = (any::<bool>(), set(), proptest::option::of(0..1u64 << 62), any::<bool>(), vec(flag(), 0..4))
        .prop_map(|(uid, set, unchanged_since, silent, flags)| {
            Body::Store(Store { uid, set, unchanged_since, action: StoreAction::Add, silent, flags })
        });
    let list = (any::<[bool; 6]>(), folder(), vec(folder(), 1..3)).prop_map(|(b, reference, patterns)| {
        let selection = ListSelection {
            subscribed: b[0],
            remote: b[1],
            recursive_match: b[2] && (b[0] || b[3]),
            special_use: b[3],
        };
        let status = if b[5] { vec![StatusItem::Messages, StatusItem::Size] } else { Vec::new() };
        let returns = ListReturn { subscribed: b[4], children: b[1], special_use: b[2], status };
        let plain =
            selection == ListSelection::default() && returns == ListReturn::default() && patterns.len() == 1;
        Body::List(List { extended: !plain, selection, reference, patterns, returns })
    });
    prop_oneof![
        (text(), vec(any::<u8>().prop_filter("no NUL", |b| *b != 0), 0..20))
            .prop_map(|(user, password)| Body::Login { user, password: Secret(password) }),
        proptest::option::of(vec((text(), proptest::option::of(text())), 0..4)).prop_map(Body::Id),
        folder().prop_map(Body::Delete),
        (folder(), folder()).prop_map(|(from, to)| Body::Rename { from, to }),
        (folder(), folder()).prop_map(|(reference, pattern)| Body::Lsub { reference, pattern }),
        (any::<bool>(), set(), folder()).prop_map(|(uid, set, folder)| Body::Move { uid, set, folder }),
        (any::<bool>(), returns(), key()).prop_map(|(uid, returns, key)| Body::Search(Search {
            uid,
            returns,
            names_charset: !uid,
            key
        })),
        (any::<bool>(), returns(), key()).prop_map(|(uid, returns, key)| {
            let criteria = vec![SortCriterion { reverse: uid, key: SortKey::DisplayTo }];
            Body::Sort(Sort { uid, returns, criteria, key })
        }),
        (text(), vec(("[A-Z]{1,8}", 0..1u64 << 62), 0..3))
            .prop_map(|(root, limits)| Body::SetQuota { root, limits }),
        list,
        fetch,
        store,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_commands_read_the_same(body in body(), utf8: bool) {
        assert_round_trip(&Command { tag: Tag::new(b"a1").unwrap(), body }, Dialect { utf8 });
    }

    #[test]
    fn printed_heads_of_append_read_the_same(
        folder in folder(), flags in vec(flag(), 0..3), seconds in -60_000_000_000i64..250_000_000_000,
        zone_minutes in -1439i16..1440, size in 0..1u64 << 62, utf8: bool, synchronising: bool,
    ) {
        let date = Some(DateTime { at: Timestamp::from_seconds(seconds), zone_minutes });
        let message = AppendMessage { flags, date, size, binary: utf8, utf8, synchronising };
        let append = Append { tag: Tag::new(b"t").unwrap(), folder, replace: None, message };
        let mut wire = Vec::new();
        append.encode(Dialect { utf8 }, &mut wire);
        let head = wire.strip_suffix(b"\r\n").unwrap();
        prop_assert_eq!(parse_append(head, Dialect { utf8 }), Ok(append));
    }

    #[test]
    fn garbage_is_survived(bytes in vec(any::<u8>(), 0..200)) {
        fuzz_one(&bytes);
    }

    #[test]
    fn near_commands_are_survived(
        choice: u8,
        words in vec(prop_oneof![
            "(a|1|UID|FETCH|SEARCH|APPEND|INBOX|LIST|STORE|FLAGS|BODY\\[|\\]|\\(|\\)| |\r\n|\"|\\\\|\\{[0-9]\\+?\\}\r\n|NOT|OR|\\$|\\*|:|,|<0\\.5>)",
            "[ -~]{0,3}",
        ], 0..40),
    ) {
        let mut bytes = vec![choice];
        bytes.extend(words.concat().bytes());
        fuzz_one(&bytes);
    }
}
