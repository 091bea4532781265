//! Commands: examples of the RFCs and their edges.

use waypost_base::Timestamp;
use waypost_imap::command::*;
use waypost_imap::fuzz::assert_round_trip;
use waypost_imap::value::*;

const REV1: Dialect = Dialect { utf8: false };
const REV2: Dialect = Dialect { utf8: true };

fn body(text: &str) -> Body {
    body_in(text, REV1)
}

fn body_in(text: &str, dialect: Dialect) -> Body {
    match parse(text.as_bytes(), dialect) {
        Ok(command) => {
            assert_round_trip(&command, dialect);
            command.body
        }
        Err(error) => panic!("{text:?}: {error}"),
    }
}

fn problem(text: &str) -> Problem {
    match parse(text.as_bytes(), REV1) {
        Ok(command) => panic!("{text:?} was read as {command:?}"),
        Err(error) => error.problem,
    }
}

fn set(ranges: &[(u32, u32)]) -> SequenceSet {
    let bound = |n| Bound::new(n).unwrap_or(Bound::STAR);
    SequenceSet::Ranges(ranges.iter().map(|&(a, b)| Range { start: bound(a), end: bound(b) }).collect())
}

fn folder(name: &str) -> FolderName {
    FolderName::new(name)
}

/// Each must be read, and read the same after printing.
#[test]
fn examples_of_the_standards() {
    let examples = [
        // RFC 9051 and 3501
        "abcd CAPABILITY",
        "a002 NOOP",
        "A023 LOGOUT",
        "a002 STARTTLS",
        "A001 AUTHENTICATE GSSAPI",
        "C01 AUTHENTICATE PLAIN dGVzdAB0ZXN0AHRlc3Q=",
        "c AUTHENTICATE EXTERNAL =",
        "a001 LOGIN SMITH SESAME",
        "a001 LOGIN \"John \\\"J\\\" Smith\" {6}\r\nse\r\nam",
        "t2 ENABLE IMAP4rev2 CONDSTORE X-GOOD-IDEA",
        "A142 SELECT INBOX",
        "A932 EXAMINE blurdybloop",
        "A003 CREATE owatagusiam/",
        "A683 DELETE blurdybloop",
        "Z433 RENAME INBOX old-mail",
        "A002 SUBSCRIBE #news.comp.mail.mime",
        "A002 UNSUBSCRIBE #news.comp.mail.mime",
        "A101 LIST \"\" \"\"",
        "A202 LIST ~/Mail/ %",
        "A01 LIST (SUBSCRIBED) \"\" *",
        "A02 LIST () \"\" \"%\" RETURN (CHILDREN)",
        "A03 LIST (REMOTE) \"\" \"%\" RETURN (CHILDREN)",
        "A05 LIST (REMOTE SUBSCRIBED) \"\" \"*\"",
        "BBB LIST \"\" (\"INBOX\" \"Drafts\" \"Sent/%\")",
        "A08 LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"%\"",
        "A01 LIST \"\" % RETURN (STATUS (MESSAGES UNSEEN) SUBSCRIBED)",
        "t1 list \"\" \"%\" return (special-use)",
        "t1 LIST (SPECIAL-USE) \"\" \"*\"",
        "A002 LSUB \"#news.\" \"comp.mail.*\"",
        "A001 NAMESPACE",
        "A042 STATUS blurdybloop (UIDNEXT MESSAGES)",
        "A042 STATUS x (recent unseen uidvalidity deleted size highestmodseq mailboxid appendlimit deleted-storage)",
        "A002 IDLE",
        "FXXZ CHECK",
        "A341 CLOSE",
        "A342 UNSELECT",
        "A202 EXPUNGE",
        "A003 UID EXPUNGE 3000:3002",
        "A282 SEARCH RETURN (MIN COUNT) FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
        "A283 SEARCH RETURN () FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
        "A284 SEARCH TEXT \"string not in mailbox\"",
        "A285 SEARCH RETURN (SAVE) CHARSET UTF-8 BODY {12}\r\n\u{442}\u{435}\u{43a}\u{441}\u{442}ab",
        "a SEARCH $ SMALLER 4096",
        "a UID SEARCH UID 5:* OR (SEEN DELETED) UNKEYWORD $Junk",
        "a SEARCH 1:3,7,9:* NEW OLD RECENT UNANSWERED UNDELETED UNDRAFT UNFLAGGED UNSEEN ALL ANSWERED DRAFT",
        "a SEARCH BCC a CC b TO c SUBJECT d HEADER Message-ID \"\" LARGER 99999999999",
        "a SEARCH BEFORE 1-jan-2020 ON \"02-Feb-2020\" SENTBEFORE 1-Jan-2020 SENTON 1-Jan-2020 SENTSINCE 29-Feb-2020",
        "A999 UID FETCH 4827313:4828442 FLAGS",
        "A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
        "a FETCH 1 ALL",
        "a FETCH 1 fast",
        "a FETCH 1 Full",
        "a FETCH $ (ENVELOPE BODYSTRUCTURE BODY RFC822 RFC822.HEADER RFC822.TEXT RFC822.SIZE INTERNALDATE UID)",
        "a FETCH * BODY.PEEK[]<0.2048>",
        "a FETCH 1 (BODY[1.2.MIME] BODY[TEXT] BODY[4.2.2.HEADER.FIELDS.NOT (To \"Cc\")] BODY[1] BODY[HEADER]<5.1>)",
        "A003 STORE 2:4 +FLAGS (\\Deleted)",
        "a UID STORE 1,* -FLAGS.SILENT \\Seen $Forwarded",
        "a STORE 1 FLAGS ()",
        "A003 COPY 2:4 MEETING",
        "a UID MOVE 42:69 foo",
        // RFC 7162
        "A142 SELECT INBOX (CONDSTORE)",
        "A02 SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))",
        "B04 SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541 (1:2,5 41:42,50)))",
        "B04 SELECT INBOX (QRESYNC (67890007 90060115194045000 (1,3 41,50)))",
        "s100 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345)",
        "s100 UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
        "a103 UID STORE 6,4,8 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\\Deleted)",
        "d105 STORE 7,5,9 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\\Deleted)",
        "a1 SEARCH MODSEQ \"/flags/\\\\draft\" all 620162338",
        "t SEARCH OR NOT MODSEQ 720162338 LARGER 50000",
        // RFC 5256, 5267, 5957
        "A282 SORT (SUBJECT) UTF-8 SINCE 1-Feb-1994",
        "A283 SORT (SUBJECT REVERSE DATE DISPLAYFROM) UTF-8 ALL",
        "E01 UID SORT RETURN (COUNT MIN) (REVERSE DATE) UTF-8 UNDELETED UNKEYWORD $Junk",
        "A283 THREAD ORDEREDSUBJECT UTF-8 SINCE 5-MAR-2000",
        "A284 UID THREAD REFERENCES US-ASCII TEXT \"gewp\"",
        // RFC 5032, 8514, 8474, 8970, 3516
        "a1 SEARCH UNSEEN YOUNGER 259200 OLDER 5",
        "F SEARCH SAVEDSINCE 28-Dec-2014 SAVEDBEFORE 1-Jan-2015 SAVEDON 30-Dec-2014 SAVEDATESUPPORTED",
        "s SEARCH EMAILID M6d99ac3275bb4e THREADID T64b478a75b7ea9",
        "A FETCH 1 (PREVIEW (LAZY) EMAILID THREADID SAVEDATE MODSEQ)",
        "A FETCH 1 PREVIEW (LAZY)",
        "A FETCH 1 PREVIEW (CHANGEDSINCE 5)",
        "A FETCH 1 (BINARY[1.2] BINARY.PEEK[2]<0.10> BINARY.SIZE[3] BINARY[])",
        // RFC 6154, 9208, 2971, 4978
        "t2 CREATE MySpecial (USE (\\Drafts \\Sent))",
        "t2 CREATE Plain (USE ())",
        "G0001 GETQUOTA \"\"",
        "G0002 GETQUOTAROOT INBOX",
        "S0000 SETQUOTA \"#user/alice\" (STORAGE 510 MESSAGE 1000)",
        "a023 ID (\"name\" \"sodr\" \"version\" \"19.34\" \"vendor\" NIL)",
        "a042 ID NIL",
        "a042 ID ()",
        "a COMPRESS DEFLATE",
    ];
    for example in examples {
        body(example);
        body_in(example, REV2);
    }
}

#[test]
fn refusals() {
    let broken = [
        "a NOOP ",
        "a NOOP x",
        "a LOGIN x",
        "a LOGIN x \"y",
        "a LOGIN x \"y\\z\"",
        "a LOGIN x \"y\"z",
        "a LOGIN x {5}\r\nabc",
        "a LOGIN x {1}\r\n\0",
        "a LOGIN x (y)",
        "a ENABLE",
        "a ENABLE ",
        "a SELECT",
        "a SELECT a b",
        "a SELECT \"a\tb\"",
        "a SELECT a ()",
        "a SELECT a (QRESYNC (1))",
        "a SELECT a (QRESYNC (0 1))",
        "a SELECT a (QRESYNC (1 1 1:*))",
        "a CREATE a ()",
        "a STATUS a ()",
        "a STATUS a MESSAGES",
        "a STATUS a (NONSENSE)",
        "a LIST \"\"",
        "a LIST (NONSENSE) \"\" *",
        "a LIST \"\" () RETURN ()",
        "a LIST \"\" * RETURN CHILDREN",
        "a FETCH 0 FLAGS",
        "a FETCH 4294967296 FLAGS",
        "a FETCH 1: FLAGS",
        "a FETCH 1, FLAGS",
        "a FETCH 1",
        "a FETCH 1 ()",
        "a FETCH 1 (ALL)",
        "a FETCH 1 BODY[MIME]",
        "a FETCH 1 BODY[1.]",
        "a FETCH 1 BODY[0]",
        "a FETCH 1 BODY[1",
        "a FETCH 1 BODY[HEADER.FIELDS ()]",
        "a FETCH 1 BODY[]<0.0>",
        "a FETCH 1 BODY[]<1>",
        "a FETCH 1 RFC822.PEEK",
        "a FETCH 1 FLAGS (NONSENSE)",
        "a STORE 1 FLAGS",
        "a STORE 1 *FLAGS (\\Seen)",
        "a STORE 1 FLAGS (\\Recent)",
        "a STORE 1 FLAGS (\\)",
        "a STORE 1 FLAGS (\\*)",
        "a COPY 1",
        "a COPY 1 ",
        "a SEARCH",
        "a SEARCH NONSENSE",
        "a SEARCH ON 31-Feb-2020",
        "a SEARCH ON 2020-01-01",
        "a SEARCH ()",
        "a SEARCH (ALL",
        "a SEARCH OR ALL",
        "a SEARCH NOT",
        "a SEARCH YOUNGER 0",
        "a SEARCH KEYWORD \\Seen",
        "a SEARCH RETURN (NONSENSE) ALL",
        "a SORT () UTF-8 ALL",
        "a SORT (REVERSE) UTF-8 ALL",
        "a SORT (DATE)",
        "a THREAD NONSENSE UTF-8 ALL",
        "a AUTHENTICATE PLAIN ===",
        "a ID (\"a\")",
        "a ID (\"a\" \"b\" )",
        "a SETQUOTA \"\" STORAGE",
        "a APPEND INBOX",
        "a IDLE now",
    ];
    for text in broken {
        let problem = problem(text);
        assert!(matches!(problem, Problem::Syntax { .. } | Problem::TooLarge { .. }), "{text:?}: {problem}");
    }
    assert_eq!(problem("a NONSENSE"), Problem::UnknownCommand);
    assert_eq!(problem("a UID NOOP"), Problem::UnknownCommand);
    assert_eq!(problem("a SEARCH CHARSET KOI8-R ALL"), Problem::BadCharset { saving: false });
    let saved = "a SEARCH RETURN (SAVE) CHARSET KOI8-R ALL";
    assert_eq!(problem(saved), Problem::BadCharset { saving: true });
    assert_eq!(problem("a CREATE a (USE (\\Nonsense))"), Problem::UnknownUse);
    assert!(matches!(problem("a FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)"), Problem::Conflict(_)));
    assert!(matches!(problem("a LIST (RECURSIVEMATCH) \"\" *"), Problem::Conflict(_)));
}

#[test]
fn tags() {
    let tag = |text: &[u8]| parse(text, REV1).map(|c| c.tag).map_err(|e| e.tag);
    assert_eq!(tag(b"a.1]x NOOP"), Ok(Tag::new(b"a.1]x").unwrap()));
    assert_eq!(tag(b"a.1 XYZZY"), Err(Tag::new(b"a.1")));
    assert_eq!(tag(b"a.1"), Err(Tag::new(b"a.1")));
    for none in [&b"+ NOOP"[..], b"a+b NOOP", b"", b" NOOP", b"* NOOP", b"(a NOOP", b"\xff NOOP", b"a\0 NOOP"]
    {
        assert_eq!(tag(none), Err(None), "{none:?}");
    }
    let mut long = vec![b'x'; 200];
    long.extend_from_slice(b" NOOP");
    assert_eq!(tag(&long), Err(None));
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let login = format!("{:?}", body("a LOGIN joe hunter2"));
    assert!(login.contains("joe") && !login.contains("hunter2"), "{login}");
    assert_eq!(
        body("a LOGIN joe {7+}\r\nhunter2"),
        Body::Login { user: "joe".into(), password: Secret(b"hunter2".to_vec()) }
    );
    assert_eq!(
        body("a authenticate plain AGEAYg=="),
        Body::Authenticate { mechanism: "PLAIN".into(), initial: Some(Secret(b"\0a\0b".to_vec())) }
    );
    assert_eq!(
        body("a authenticate external ="),
        Body::Authenticate { mechanism: "EXTERNAL".into(), initial: Some(Secret(Vec::new())) }
    );
}

#[test]
fn folder_names() {
    // RFC 3501 §5.1.3
    let name = "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}";
    assert_eq!(body("a DELETE ~peter/mail/&U,BTFw-/&ZeVnLIqe-"), Body::Delete(folder(name)));
    assert_eq!(body_in(&format!("a DELETE \"{name}\""), REV2), Body::Delete(folder(name)));
    assert_eq!(body("a DELETE &-"), Body::Delete(folder("&")));
    assert_eq!(body_in("a DELETE &-", REV2), Body::Delete(folder("&-")));
    // Not valid modified UTF-7, but what clients send.
    assert_eq!(body("a DELETE a&b"), Body::Delete(folder("a&b")));
    assert_eq!(body("a DELETE \"\u{e9}t\u{e9}\""), Body::Delete(folder("\u{e9}t\u{e9}")));
    assert_eq!(body("a SELECT inBoX"), body("a SELECT INBOX"));
    assert_eq!(body("a DELETE inbox/x"), Body::Delete(folder("INBOX/x")));
    assert_ne!(body("a DELETE inboxes"), body("a DELETE INBOXes"));
    assert_eq!(folder("R&D \u{1f4e7}").to_wire(false), "R&-D &2D3c5w-");
    assert!(parse(b"a DELETE \"\xff\"", REV2).is_err());
    assert!(parse(b"a DELETE {3}\r\na\nb", REV2).is_err());
    let long = format!("a DELETE {}", "x".repeat(1001));
    assert!(parse(long.as_bytes(), REV2).is_err());
}

#[test]
fn sequence_sets() {
    let copy = |text: &str| match body(&format!("a COPY {text} x")) {
        Body::Copy { set, .. } => set,
        other => panic!("{other:?}"),
    };
    assert_eq!(copy("2,4:7,9,12:*"), set(&[(2, 2), (4, 7), (9, 9), (12, 0)]));
    // RFC 9051 §9, the example of a mailbox with 15 messages.
    assert_eq!(copy("2,4:7,9,12:*").resolve(15), [(2, 2), (4, 7), (9, 9), (12, 15)]);
    assert_eq!(copy("*:4,5:7").resolve(10), [(4, 10)]);
    assert_eq!(copy("7:5,1,3,2").resolve(10), [(1, 3), (5, 7)]);
    // UIDs: n:* with n beyond the end is the last message.
    assert_eq!(copy("559:*").resolve(20), [(20, 559)]);
    assert_eq!(copy("*").resolve(0), []);
    assert_eq!(copy("1:*").resolve(0), [(1, 1)]);
    assert_eq!(copy("4294967295,1").resolve(5), [(1, 1), (4_294_967_295, 4_294_967_295)]);
    assert_eq!(copy("$"), SequenceSet::Saved);
    assert_eq!(SequenceSet::from_sorted([1, 2, 3, 7, 9, 10]), Some(set(&[(1, 3), (7, 7), (9, 10)])));
}

#[test]
fn select_parameters() {
    let Body::Select(select) =
        body("B04 SELECT INBOX (CONDSTORE QRESYNC (67890007 90060115194045000 41:211 (1:2 5:6)))")
    else {
        panic!("not SELECT")
    };
    assert!(select.condstore && !select.read_only);
    let qresync = Qresync {
        uid_validity: 67_890_007,
        mod_seq: 90_060_115_194_045_000,
        known_uids: Some(set(&[(41, 211)])),
        sequence_match: Some((set(&[(1, 2)]), set(&[(5, 6)]))),
    };
    assert_eq!(select.qresync, Some(qresync));
}

#[test]
fn fetch_items() {
    let Body::Fetch(fetch) =
        body("a UID FETCH 1:* (FLAGS body.peek[1.HEADER.FIELDS.NOT (a B)]<3.4> preview (LAZY))")
    else {
        panic!("not FETCH")
    };
    let section = Section { part: vec![1], text: SectionText::HeaderFieldsNot(vec!["a".into(), "B".into()]) };
    assert_eq!(
        fetch.items,
        [
            FetchItem::Flags,
            FetchItem::Section { peek: true, section, partial: Some(Partial { offset: 3, length: 4 }) },
            FetchItem::Preview { lazy: true },
        ]
    );
    assert!(fetch.uid);
    assert!(!fetch.items.iter().any(FetchItem::marks_seen));
}

#[test]
fn stores() {
    let Body::Store(store) = body("a STORE 1 (UNCHANGEDSINCE 5) -flags.silent \\SEEN $MDNSent \\Strange")
    else {
        panic!("not STORE")
    };
    assert_eq!(store.unchanged_since, Some(5));
    assert_eq!((store.action, store.silent), (StoreAction::Remove, true));
    let expected = [Flag::Seen, Flag::keyword("$MDNSent").unwrap(), Flag::Extension("Strange".into())];
    assert_eq!(store.flags, expected);
}

#[test]
fn search_keys() {
    let Body::Search(search) = body("a SEARCH OR 1:2 (SEEN $) NOT SINCE 2-Jan-1970") else {
        panic!("not SEARCH")
    };
    let expected = SearchKey::And(vec![
        SearchKey::Or(
            Box::new(SearchKey::Sequence(set(&[(1, 2)]))),
            Box::new(SearchKey::And(vec![
                SearchKey::Flag(Flag::Seen),
                SearchKey::Sequence(SequenceSet::Saved),
            ])),
        ),
        SearchKey::Not(Box::new(SearchKey::Since(Date(1)))),
    ]);
    assert_eq!((search.key, search.returns), (expected, None));
    let nested = |n: usize| format!("a SEARCH {}ALL{}", "(".repeat(n), ")".repeat(n));
    body(&nested(63));
    assert!(matches!(problem(&nested(64)), Problem::TooLarge { .. }));
    assert!(matches!(problem(&format!("a SEARCH {}ALL", "NOT ".repeat(10_000))), Problem::TooLarge { .. }));
}

#[test]
fn append_heads() {
    let text = b"A003 APPEND saved-messages (\\Seen $X) \"17-Jul-1996 02:44:25 -0700\" {326}";
    let append = parse_append(text, REV1).unwrap();
    let date = DateTime { at: Timestamp::from_seconds(837_596_665), zone_minutes: -420 };
    let expected = AppendMessage {
        flags: vec![Flag::Seen, Flag::keyword("$X").unwrap()],
        date: Some(date),
        size: 326,
        binary: false,
        utf8: false,
        synchronising: true,
    };
    assert_eq!((append.folder.as_str(), &append.message), ("saved-messages", &expected));
    let mut wire = Vec::new();
    append.encode(REV1, &mut wire);
    assert_eq!(wire.strip_suffix(b"\r\n").map(<[u8]>::to_vec), Some(text.to_vec()));

    let plain = parse_append(b"a append {5}\r\nINBOX ~{0+}", REV1).unwrap();
    assert!(plain.folder.is_inbox() && plain.message.binary && !plain.message.synchronising);
    let utf8 = parse_append(b"a APPEND x UTF8 (~{4}", REV2).unwrap();
    assert!(utf8.message.utf8);
    let next = parse_append_next(b") (\\Seen) {9+}", true, REV2).unwrap();
    assert_eq!((next.flags, next.size), (vec![Flag::Seen], 9));
    assert!(parse_append_next(b" {9+}", true, REV2).is_err());
    assert!(parse_append_end(b"", false).is_ok() && parse_append_end(b")", true).is_ok());
    assert!(parse_append_end(b")", false).is_err() && parse_append_end(b"", true).is_err());
    assert!(parse_append_end(b" ", false).is_err());

    let replace = parse_append(b"A UID REPLACE 2000 drafts (\\Draft) {312}", REV1).unwrap();
    assert_eq!(replace.replace, Some(Replace { uid: true, set: set(&[(2000, 2000)]) }));
    for broken in [
        "a APPEND x{5}",
        "a APPEND x (\\Recent) {5}",
        "a APPEND x \"17-Jul-1996\" {5}",
        "a APPEND x UTF8 ({5}",
        "a LOGIN {5}",
    ] {
        assert!(parse_append(broken.as_bytes(), REV1).is_err(), "{broken}");
    }
}

#[test]
fn dates_with_times() {
    let at = |text: &str| DateTime::from_wire(text.as_bytes()).map(|d| (d.at.as_seconds(), d.zone_minutes));
    assert_eq!(at(" 1-Jan-1970 00:00:00 +0000"), Some((0, 0)));
    assert_eq!(at("01-jan-1970 05:30:00 +0530"), Some((0, 330)));
    assert_eq!(at("29-Feb-2000 23:59:60 -0000"), Some((951_868_800, 0)));
    for broken in [
        "1-Jan-1970 00:00:00 +0000",
        "29-Feb-1900 00:00:00 +0000",
        "00-Jan-1970 00:00:00 +0000",
        "01-Jan-1970 24:00:00 +0000",
        "01-Jan-1970 00:00:00 *0000",
        "01-Xxx-1970 00:00:00 +0000",
        "+1-Jan-1970 00:00:00 +0000",
        "",
    ] {
        assert_eq!(at(broken), None, "{broken}");
    }
}

#[test]
fn lines_between_commands() {
    assert!(is_done(b"DONE") && is_done(b"done") && !is_done(b"DONE "));
    assert_eq!(sasl_response(b"*"), Ok(SaslResponse::Cancel));
    assert_eq!(sasl_response(b"AGE="), Ok(SaslResponse::Octets(Secret(b"\0a".to_vec()))));
    assert_eq!(sasl_response(b""), Ok(SaslResponse::Octets(Secret(Vec::new()))));
    assert!(sasl_response(b"A=B").is_err());
}
