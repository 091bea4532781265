//! APPEND in its forms, and its refusals.

use crate::world::{World, mail};
use waypost_access::imap::ImapSettings;
use waypost_access::signin::{LoginType, Policy};
use waypost_mailbox::Quota;

#[tokio::test(start_paused = true)]
async fn with_and_without_waiting() {
    let world = World::new().await;
    let mut c = world.anna().await;
    c.talk(
        "C: a APPEND Drafts (\\Seen $Label) \"03-Mar-2026 08:00:00 +0100\" {14}
         S: + …
         C: Subject: x
         C:
         C:
         S: a OK [APPENDUID … 1] Appended
         C: b APPEND drafts {3+}
         C: abc
         S: b NO [TRYCREATE] …
         C: c SELECT Drafts
         S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft …$Label)
         S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft …$Label \\*)] …
         S: * 1 EXISTS
         S: * 0 RECENT
         S: * OK [UIDVALIDITY …] …
         S: * OK [UIDNEXT 2] …
         S: * OK [HIGHESTMODSEQ …] …
         S: * OK [MAILBOXID (F…)] …
         S: c OK [READ-WRITE] …
         C: d FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])
         S: * 1 FETCH (FLAGS (\\Seen $Label) INTERNALDATE \" 3-Mar-2026 07:00:00 +0000\" RFC822.SIZE 14 BODY[] {14}
         S: Subject: x
         S:
         S: )
         S: d OK …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn several_at_once_all_or_none() {
    let world = World::new().await;
    let mut c = world.selected().await;
    c.talk(
        "C: a APPEND INBOX {6+}
         C~ A: a\\r\\n
         C:  (\\Flagged) {6+}
         C~ B: b\\r\\n
         C:
         S: * 2 EXISTS
         S: a OK [APPENDUID … 1:2] Appended
         C: b APPEND INBOX {6+}
         C~ A: a\\r\\n
         C:  (\\Flagged) nonsense
         S: b BAD …
         C: c NOOP
         S: c OK …",
    )
    .await;
    // In this one an over-large second message takes the first along; the session lives.
    let settings = ImapSettings { append_max: 100, ..ImapSettings::default() };
    world.service.set_settings(settings);
    c.send("d APPEND INBOX {6+}\r\nA: a\r\n {200+}\r\n").await;
    c.bytes(&[b'x'; 200]).await;
    c.talk(
        "C:
         S: d NO [TOOBIG] …
         C: e STATUS INBOX (MESSAGES)
         S: * STATUS INBOX (MESSAGES 2)
         S: e OK …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn refused_before_it_is_sent() {
    let settings = ImapSettings { append_max: 1000, ..ImapSettings::default() };
    let quota = Quota { prohibit_bytes: Some(2048), messages: Some(2), warn_bytes: None };
    let policy = Policy { login_type: LoginType::PlainTextLogin, ..Policy::default() };
    let world = World::with(policy, settings, quota).await;
    let mut c = world.anna().await;
    c.talk(
        "C: a APPEND INBOX {1001}
         S: a NO [TOOBIG] …
         C: b APPEND Nowhere {10}
         S: b NO [TRYCREATE] …
         C: c APPEND INBOX {0}
         S: c NO …
         C: d APPEND INBOX (\\Recent) {10}
         S: d BAD …
         C: e APPEND INBOX {10+}
         C: 0123456789
         S: e OK …
         C: f APPEND INBOX {10+}
         C: 0123456789
         S: f OK …
         C: g APPEND INBOX {10}
         S: g NO [OVERQUOTA] …
         C: h GETQUOTAROOT INBOX
         S: * QUOTAROOT INBOX \"\"
         S: * QUOTA \"\" (STORAGE 1 2 MESSAGE 2 2)
         S: h OK …
         C: i GETQUOTA \"\"
         S: * QUOTA \"\" (STORAGE 1 2 MESSAGE 2 2)
         S: i OK …
         C: j GETQUOTA other
         S: j NO [NONEXISTENT] …
         C: k SETQUOTA \"\" (STORAGE 100)
         S: k NO [NOPERM] …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn binary_and_utf8() {
    let world = World::new().await;
    let mut c = world.anna().await;
    c.talk("C: a ENABLE UTF8=ACCEPT\nS: * ENABLED UTF8=ACCEPT\nS: a OK …").await;
    let message = "Subject: Gr\u{fc}\u{df}e\r\n\r\nHallo\r\n";
    c.send(&format!("b APPEND INBOX UTF8 (~{{{}+}}\r\n", message.len())).await;
    c.bytes(message.as_bytes()).await;
    c.talk(
        "C: )
         S: b OK [APPENDUID … 1] …
         C: c APPEND INBOX ~{5+}
         C~ a\\0b\\r\\n
         C:
         S: c OK [APPENDUID … 2] …
         C: d SELECT INBOX",
    )
    .await;
    c.until("d OK").await;
    c.talk(
        "C: e FETCH 1 ENVELOPE
         S: * 1 FETCH (ENVELOPE (NIL \"Gr\u{fc}\u{df}e\" NIL NIL NIL NIL NIL NIL NIL NIL))
         S: e OK …
         C: f CREATE Entw\u{fc}rfe
         S: f BAD …
         C: g CREATE \"Entw\u{fc}rfe\"
         S: g OK [MAILBOXID (F…)] …
         C: h LIST \"\" Entw*
         S: * LIST (\\HasNoChildren) \"/\" \"Entw\u{fc}rfe\"
         S: h OK …",
    )
    .await;
    let mut old = world.anna().await;
    old.talk("C: a LIST \"\" Entw*\nS: * LIST (\\HasNoChildren) \"/\" Entw&APw-rfe\nS: a OK …").await;
}

#[tokio::test(start_paused = true)]
async fn a_large_message_comes_back_whole() {
    let world = World::new().await;
    let mut c = world.selected().await;
    let mut message = mail("large");
    let mut n = 0u64;
    while message.len() < 700_000 {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        message.push_str(&format!("{n:016x}\r\n"));
    }
    let reading = async {
        c.append("INBOX", "", &message).await;
        c.send("a FETCH 1 (BODY.PEEK[] BODY.PEEK[]<300000.20>)\r\n").await;
        c.until("a OK").await
    };
    let lines = reading.await;
    let first = lines.iter().position(|l| l.contains("BODY[] {")).unwrap();
    let whole: String = lines[first + 1..].join("\r\n");
    assert!(whole.starts_with(&message));
    let piece = &message[300_000..300_020];
    assert!(whole.contains(&format!(" BODY[]<300000> {{20}}\r\n{piece})")), "{}", &whole[message.len()..]);
}

#[tokio::test(start_paused = true)]
async fn failures_of_ours_leave_nothing_behind() {
    let world = World::new().await;
    let mut c = world.anna().await;
    world.model.set_full(Some("no space"));
    c.talk(
        "C: a APPEND INBOX {10+}
         C: 0123456789
         S: a NO [UNAVAILABLE] …",
    )
    .await;
    world.model.set_full(None);
    world.model.set_read_only(Some("an fsync failed"));
    c.talk(
        "C: b APPEND INBOX {10+}
         C: 0123456789
         S: b NO [UNAVAILABLE] …
         C: c CREATE x
         S: c NO [UNAVAILABLE] …",
    )
    .await;
    world.model.set_read_only(None);
    c.talk(
        "C: d APPEND INBOX {10+}
         C: 0123456789
         S: d OK …
         C: e STATUS INBOX (MESSAGES UIDNEXT)
         S: * STATUS INBOX (MESSAGES 1 UIDNEXT 2)
         S: e OK …",
    )
    .await;
}
