//! Responses: their exact bytes, and what imap-codec, written by others for clients, makes of them.

use imap_codec::decode::Decoder;
use imap_codec::{GreetingCodec, ResponseCodec};
use waypost_base::Timestamp;
use waypost_imap::command::{Section, SectionText, SpecialUse};
use waypost_imap::response::*;
use waypost_imap::value::*;

fn written(utf8: bool, write: impl FnOnce(&mut Responder<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Responder::new(&mut out, utf8));
    String::from_utf8(out).expect("all of these are text")
}

fn tag() -> Tag {
    Tag::new(b"A1").unwrap()
}

/// The oracle reads all of it as one response.
fn understood(wire: &str) {
    match ResponseCodec::default().decode(wire.as_bytes()) {
        Ok((rest, _)) => assert!(rest.is_empty(), "{wire:?} leaves {:?}", String::from_utf8_lossy(rest)),
        Err(error) => panic!("{wire:?}: {error:?}"),
    }
}

/// Written so, and understood.
fn is(expected: &str, write: impl FnOnce(&mut Responder<'_>)) {
    let wire = written(false, write);
    assert_eq!(wire, format!("{expected}\r\n"));
    understood(&wire);
}

/// Written so; the oracle does not know it, for the reason given. If it learns, the test says so.
fn is_beyond_the_oracle(expected: &str, reason: &str, write: impl FnOnce(&mut Responder<'_>)) {
    let wire = written(false, write);
    assert_eq!(wire, format!("{expected}\r\n"));
    let whole = matches!(ResponseCodec::default().decode(wire.as_bytes()), Ok((rest, _)) if rest.is_empty());
    assert!(!whole, "the oracle now understands {wire:?}, which it did not because: {reason}");
}

#[test]
fn numbers_and_lists() {
    is("* CAPABILITY IMAP4rev2 IMAP4rev1 IDLE", |r| r.capability("IMAP4rev2 IMAP4rev1 IDLE"));
    is("* ENABLED CONDSTORE QRESYNC", |r| r.enabled(&["CONDSTORE", "QRESYNC"]));
    is("* ENABLED", |r| r.enabled(&[]));
    is("* 172 EXISTS", |r| r.exists(172));
    is("* 0 RECENT", |r| r.recent(0));
    is("* 44 EXPUNGE", |r| r.expunge(44));
    is("* VANISHED 405,407:410", |r| r.vanished(false, &[(405, 405), (407, 410)]));
    is("* VANISHED (EARLIER) 41", |r| r.vanished(true, &[(41, 41)]));
    assert_eq!(written(false, |r| r.vanished(true, &[])), "");
    let flags = [Flag::Answered, Flag::Seen, Flag::keyword("$MDNSent").unwrap()];
    is("* FLAGS (\\Answered \\Seen $MDNSent)", |r| r.flags(&flags));
    is("* FLAGS ()", |r| r.flags(&[]));
    is("* SEARCH 2 84 882", |r| r.search([2, 84, 882], None));
    is("* SEARCH", |r| r.search([], None));
    is("* SEARCH 2 5 (MODSEQ 917162500)", |r| r.search([2, 5], Some(917_162_500)));
    is("* SORT 5 3 4", |r| r.sort([5, 3, 4], None));
    is("* SORT", |r| r.sort([], None));
    is("+ idling", |r| r.continuation("idling"));
    is("+ AGE=", |r| r.challenge(b"\0a"));
    is("+ ", |r| r.challenge(b""));
}

#[test]
fn statuses() {
    is("A1 OK NOOP completed", |r| r.tagged(&tag(), Status::Ok, None, "NOOP completed"));
    is("A1 NO [TRYCREATE] no such folder", |r| {
        r.tagged(&tag(), Status::No, Some(&Code::TryCreate), "no such folder");
    });
    is("A1 BAD Done", |r| r.tagged(&tag(), Status::Bad, None, ""));
    is("* BYE bye  now", |r| r.untagged(Status::Bye, None, "bye\r\nnow"));
    let greeting =
        written(false, |r| r.untagged(Status::PreAuth, Some(&Code::Capability("IMAP4rev1")), "hello"));
    assert_eq!(greeting, "* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n");
    assert!(GreetingCodec::default().decode(greeting.as_bytes()).is_ok());
}

#[test]
fn codes() {
    let flags = [Flag::Deleted, Flag::Seen];
    let codes: [(Code<'_>, &str); 41] = [
        (Code::Alert, "ALERT"),
        (Code::AlreadyExists, "ALREADYEXISTS"),
        (Code::AppendUid { uid_validity: 38_505, uids: &[(3955, 3957)] }, "APPENDUID 38505 3955:3957"),
        (Code::AuthenticationFailed, "AUTHENTICATIONFAILED"),
        (Code::AuthorizationFailed, "AUTHORIZATIONFAILED"),
        (Code::BadCharset(&["US-ASCII", "UTF-8"]), "BADCHARSET (US-ASCII UTF-8)"),
        (Code::BadCharset(&[]), "BADCHARSET"),
        (Code::Cannot, "CANNOT"),
        (Code::Capability("IMAP4rev1 IDLE"), "CAPABILITY IMAP4rev1 IDLE"),
        (Code::ClientBug, "CLIENTBUG"),
        (Code::Closed, "CLOSED"),
        (Code::CompressionActive, "COMPRESSIONACTIVE"),
        (Code::ContactAdmin, "CONTACTADMIN"),
        (
            Code::CopyUid { uid_validity: 38_505, from: &[(304, 304), (319, 320)], to: &[(3956, 3958)] },
            "COPYUID 38505 304,319:320 3956:3958",
        ),
        (Code::Corruption, "CORRUPTION"),
        (Code::Expired, "EXPIRED"),
        (Code::ExpungeIssued, "EXPUNGEISSUED"),
        (Code::HasChildren, "HASCHILDREN"),
        (Code::HighestModSeq(715_194_045_007), "HIGHESTMODSEQ 715194045007"),
        (Code::InUse, "INUSE"),
        (Code::Limit, "LIMIT"),
        (
            Code::MailboxId("F2212ea87-6097-4256-9d51-71338625"),
            "MAILBOXID (F2212ea87-6097-4256-9d51-71338625)",
        ),
        (Code::Modified(&[(7, 7), (9, 9)]), "MODIFIED 7,9"),
        (Code::NoModSeq, "NOMODSEQ"),
        (Code::NonExistent, "NONEXISTENT"),
        (Code::NoPerm, "NOPERM"),
        (Code::NotSaved, "NOTSAVED"),
        (Code::OverQuota, "OVERQUOTA"),
        (Code::Parse, "PARSE"),
        (Code::PermanentFlags { flags: &flags, any: true }, "PERMANENTFLAGS (\\Deleted \\Seen \\*)"),
        (Code::PermanentFlags { flags: &[], any: false }, "PERMANENTFLAGS ()"),
        (Code::PrivacyRequired, "PRIVACYREQUIRED"),
        (Code::ReadOnly, "READ-ONLY"),
        (Code::ReadWrite, "READ-WRITE"),
        (Code::ServerBug, "SERVERBUG"),
        (Code::TooBig, "TOOBIG"),
        (Code::UidNext(4392), "UIDNEXT 4392"),
        (Code::UidNotSticky, "UIDNOTSTICKY"),
        (Code::UidValidity(3_857_529_045), "UIDVALIDITY 3857529045"),
        (Code::Unavailable, "UNAVAILABLE"),
        (Code::Unseen(17), "UNSEEN 17"),
    ];
    for (code, text) in codes {
        is(&format!("* OK [{text}] said"), |r| r.untagged(Status::Ok, Some(&code), "said"));
    }
    for (code, text) in [(Code::UnknownCte, "UNKNOWN-CTE"), (Code::UseAttr, "USEATTR")] {
        is(&format!("A1 NO [{text}] said"), |r| r.tagged(&tag(), Status::No, Some(&code), "said"));
    }
}

#[test]
fn folders() {
    let name = FolderName::new("Sent items");
    let entry = ListEntry {
        attributes: &[ListAttribute::HasNoChildren, ListAttribute::Use(SpecialUse::Sent)],
        delimiter: Some('/'),
        name: &name,
        old_name: None,
        child_subscribed: false,
    };
    is("* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent items\"", |r| r.list(&entry));
    is("* LSUB (\\HasNoChildren \\Sent) \"/\" \"Sent items\"", |r| r.lsub(&entry));
    let flat = ListEntry { attributes: &[ListAttribute::NoSelect], delimiter: None, ..entry.clone() };
    is("* LIST (\\Noselect) NIL \"Sent items\"", |r| r.list(&flat));
    let old = FolderName::new("\u{e9}t\u{e9}");
    let extended = ListEntry { old_name: Some(&old), child_subscribed: true, ..entry };
    let reason = "extended data of LIST is not in its grammar";
    let expected = "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent items\" (\"CHILDINFO\" (\"SUBSCRIBED\") \"OLDNAME\" (&AOk-t&AOk-))";
    is_beyond_the_oracle(expected, reason, |r| r.list(&extended));
    let utf8 = written(true, |r| r.lsub(&ListEntry { name: &old, attributes: &[], ..extended }));
    assert_eq!(utf8, "* LSUB () \"/\" \"\u{e9}t\u{e9}\"\r\n");
    understood(&utf8);

    let inbox = FolderName::new("inbox");
    let values = [
        StatusValue::Messages(231),
        StatusValue::Recent(1),
        StatusValue::UidNext(44_292),
        StatusValue::UidValidity(5),
        StatusValue::Unseen(2),
        StatusValue::Deleted(3),
        StatusValue::HighestModSeq(7_011_231_777),
        StatusValue::Size(8_283),
        StatusValue::DeletedStorage(4),
    ];
    let expected = "* STATUS INBOX (MESSAGES 231 RECENT 1 UIDNEXT 44292 UIDVALIDITY 5 UNSEEN 2 DELETED 3 \
                    HIGHESTMODSEQ 7011231777 SIZE 8283 DELETED-STORAGE 4)";
    is(expected, |r| r.status(&inbox, &values));
    is("* STATUS INBOX ()", |r| r.status(&inbox, &[]));
    let newer =
        [StatusValue::MailboxId("F5"), StatusValue::AppendLimit(Some(9)), StatusValue::AppendLimit(None)];
    is_beyond_the_oracle(
        "* STATUS INBOX (MAILBOXID (F5) APPENDLIMIT 9 APPENDLIMIT NIL)",
        "RFC 8474 and RFC 7889 are not in its grammar",
        |r| r.status(&inbox, &newer),
    );
    let root = FolderName::new("");
    let personal = [NamespaceEntry { prefix: &root, delimiter: Some('/') }];
    is("* NAMESPACE ((\"\" \"/\")) NIL NIL", |r| r.namespace(&personal, &[], &[]));
}

#[test]
fn quotas_and_identity() {
    let resources = [
        Resource { name: "STORAGE", usage: 10, limit: 512 },
        Resource { name: "MESSAGE", usage: 1, limit: 20 },
    ];
    is("* QUOTA \"\" (STORAGE 10 512 MESSAGE 1 20)", |r| r.quota("", &resources));
    is("* QUOTAROOT INBOX \"\"", |r| r.quota_root(&FolderName::new("INBOX"), &[""]));
    is("* ID (\"name\" \"Waypost\" \"os\" NIL)", |r| r.id(&[("name", Some("Waypost")), ("os", None)]));
    is("* ID NIL", |r| r.id(&[]));
}

#[test]
fn results() {
    let reply = EsearchReply {
        tag: &tag(),
        uid: true,
        min: Some(2),
        max: Some(9),
        count: Some(3),
        all: None,
        mod_seq: None,
    };
    let reason = "ESEARCH is not in its grammar";
    is_beyond_the_oracle("* ESEARCH (TAG \"A1\") UID MIN 2 MAX 9 COUNT 3", reason, |r| r.esearch(&reply));
    let all = EsearchReply {
        uid: false,
        min: None,
        max: None,
        count: None,
        all: Some(&[(1, 3), (5, 5)]),
        ..reply.clone()
    };
    is_beyond_the_oracle("* ESEARCH (TAG \"A1\") ALL 1:3,5", reason, |r| r.esearch(&all));
    let none = EsearchReply { count: Some(0), all: Some(&[]), mod_seq: Some(5), ..all };
    is_beyond_the_oracle("* ESEARCH (TAG \"A1\") COUNT 0 MODSEQ 5", reason, |r| r.esearch(&none));
}

#[test]
fn threads() {
    let node = |n: u32, children: Vec<ThreadNode>| ThreadNode { number: Some(n), children };
    let leaf = |n: u32| node(n, Vec::new());
    // RFC 5256 §4
    let second =
        node(3, vec![node(6, vec![node(4, vec![leaf(23)]), node(44, vec![node(7, vec![leaf(96)])])])]);
    is("* THREAD (2)(3 6 (4 23)(44 7 96))", |r| r.thread(&[leaf(2), second.clone()]));
    let orphans = ThreadNode { number: None, children: vec![leaf(3), leaf(5)] };
    is("* THREAD ((3)(5))", |r| r.thread(std::slice::from_ref(&orphans)));
    is("* THREAD", |r| r.thread(&[]));
    let deep = (1..5000).fold(leaf(5000), |below, n| node(5000 - n, vec![below]));
    assert!(written(false, |r| r.thread(std::slice::from_ref(&deep))).ends_with("4999 5000)\r\n"));
}

#[test]
fn fetches() {
    let seen = FlagList::new(&[Flag::Seen, Flag::keyword("$Junk").unwrap()]);
    let at = Timestamp::from_seconds(837_596_665);
    is(
        "* 12 FETCH (UID 5 FLAGS (\\Seen $Junk) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 4286 MODSEQ (624140003))",
        |r| {
            let mut line = r.fetch(12);
            line.uid(5).flags(&seen).internal_date(at, -420).size(4286).mod_seq(624_140_003);
            line.finish();
        },
    );
    let address = "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\"))";
    let envelope = format!(
        "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"minutes\" {address} {address} {address} {address} NIL NIL NIL \"<B@cac>\")"
    );
    let structure = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92)";
    is(&format!("* 12 FETCH (ENVELOPE {envelope} BODY {structure} BODYSTRUCTURE {structure})"), |r| {
        let mut line = r.fetch(12);
        line.envelope(envelope.as_bytes()).body(structure.as_bytes()).body_structure(structure.as_bytes());
        line.finish();
    });
    let fields =
        Section { part: vec![1, 2], text: SectionText::HeaderFields(vec!["To".into(), "Cc".into()]) };
    let whole = Section { part: Vec::new(), text: SectionText::Whole };
    is("* 1 FETCH (BODY[]<0> {3}\r\na\r\n BODY[1.2.HEADER.FIELDS (To Cc)] {0}\r\n BODY[] NIL)", |r| {
        let mut line = r.fetch(1);
        line.section(&whole, Some(0), Some(b"a\r\n"))
            .section(&fields, None, Some(b""))
            .section(&whole, None, None);
        line.finish();
    });
    is("* 1 FETCH (RFC822.HEADER {2}\r\n\r\n BINARY.SIZE[1.2] 7 BINARY[1] ~{1}\r\nx BINARY[2] NIL)", |r| {
        let mut line = r.fetch(1);
        line.rfc822_head(".HEADER", 2).raw(b"\r\n").binary_size(&[1, 2], 7);
        line.binary_head(&[1], None, 1, true).raw(b"x").binary_nil(&[2], None);
        line.finish();
    });
    is_beyond_the_oracle(
        "* 1 FETCH (EMAILID (M1) THREADID (T1) THREADID NIL SAVEDATE NIL PREVIEW \"hi\" PREVIEW NIL)",
        "RFC 8474, 8514 and 8970 are not in its grammar",
        |r| {
            let mut line = r.fetch(1);
            line.email_id("M1").thread_id(Some("T1")).thread_id(None).save_date(None);
            line.preview(Some("hi")).preview(None);
            line.finish();
        },
    );
    // A line sent in parts, as when a message streams from the store.
    let mut out = Vec::new();
    let _ = Responder::new(&mut out, false).fetch(1).section_head(&whole, None, 5);
    out.extend_from_slice(b"hello");
    let mut responder = Responder::new(&mut out, false);
    let mut line = responder.fetch_resume();
    line.uid(9);
    line.finish();
    assert_eq!(out, b"* 1 FETCH (BODY[] {5}\r\nhello UID 9)\r\n");
}

#[test]
fn strings() {
    let string = |bytes: &[u8], utf8| {
        let mut out = Vec::new();
        Responder::new(&mut out, utf8).string(bytes);
        out
    };
    assert_eq!(string(b"a \"b\" \\", false), b"\"a \\\"b\\\" \\\\\"");
    assert_eq!(string(b"", false), b"\"\"");
    assert_eq!(string("\u{e9}".as_bytes(), false), b"{2}\r\n\xc3\xa9");
    assert_eq!(string("\u{e9}".as_bytes(), true), "\"\u{e9}\"".as_bytes());
    assert_eq!(string(b"\xff", true), b"{1}\r\n\xff");
    assert_eq!(string(b"a\r\nb", true), b"{4}\r\na\r\nb");
    assert_eq!(string(b"a\0b", true), b"{2}\r\nab");
    assert_eq!(string(&[b'x'; 1001], true).first(), Some(&b'{'));
    let astring = |bytes: &[u8]| written(false, |r| r.astring(bytes));
    assert_eq!(astring(b"INBOX"), "INBOX");
    assert_eq!(astring(b"a]b"), "a]b");
    assert_eq!(astring(b"nil"), "\"nil\"");
    assert_eq!(astring(b"50%"), "\"50%\"");
    assert_eq!(astring(b""), "\"\"");
}
