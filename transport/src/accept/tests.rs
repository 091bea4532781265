//! Whole conversations, in memory, with a store and a directory behind them.

use super::Kind;
use crate::world::{PASSWORD, World};
use waypost_base::explain::Outcome;

/// base64 of `\0ann\0<PASSWORD>`
const ANN: &str = "AGFubgBjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl";
/// base64 of `\0dan\0<PASSWORD>`
const DAN: &str = "AGRhbgBjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl";
/// base64 of `\0ann\0wrong password`
const WRONG: &str = "AGFubgB3cm9uZyBwYXNzd29yZA==";

#[tokio::test(start_paused = true)]
async fn from_a_stranger() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.script("S: 220 mx.contoso.test ESMTP Waypost").await;
    let hello = talk.ehlo("EHLO").await;
    assert!(hello.contains(&"250-STARTTLS".to_owned()));
    assert!(!hello.iter().any(|l| l.contains("AUTH")), "strangers have nothing to sign in with");
    talk.script(
        "
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<Ann+Lists@Contoso.TEST>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 *
        C: From: pat@elsewhere.example
        C: Message-ID: <m1@elsewhere.example>
        C: Subject: hi
        C:
        C: ..dot
        C: .
        S: 250 2.0.0 Accepted as 0000000000000001-1
        C: QUIT
        S: 221 2.0.0 Goodbye
    ",
    )
    .await;
    assert_eq!(talk.rest().await, "");
    talk.task.await.unwrap();
    assert_eq!(
        world.inbox("ann").await,
        ["Return-Path: <pat@elsewhere.example>\r\n\
          Received: from client.example ([192.0.2.1])\r\n\
          \tby mx.contoso.test with ESMTP id 0000000000000001-1\r\n\
          \tfor <Ann+Lists@Contoso.TEST>;\r\n\
          \tTue, 3 Mar 2026 08:15:20 +0000\r\n\
          From: pat@elsewhere.example\r\n\
          Message-ID: <m1@elsewhere.example>\r\n\
          Subject: hi\r\n\r\n.dot\r\n"]
    );
    let legs = world.seen.legs.lock().unwrap();
    let told: Vec<_> = legs.iter().map(|(id, leg)| (id.as_str(), leg.operation.as_ref())).collect();
    assert_eq!(told, [("m1@elsewhere.example", "deliver"), ("m1@elsewhere.example", "smtp.receive")]);
    let steps: Vec<_> = legs[1].1.steps.iter().map(|s| s.name.as_ref()).collect();
    assert_eq!(steps, ["connect", "ehlo", "mail", "rcpt", "data", "commit"]);
    assert_eq!(legs[1].1.outcome, Outcome::Ok);
    let lines = world.seen.lines.lock().unwrap();
    assert_eq!(lines[..3], ["+", "> 220 mx.contoso.test ESMTP Waypost", "< EHLO client.example"]);
    assert!(
        lines[3].starts_with("> 250-mx.contoso.test PIPELINING ") && lines[3].ends_with(" VRFY HELP"),
        "{}",
        lines[3]
    );
    assert_eq!(lines.last().unwrap(), "- Local");
}

#[tokio::test(start_paused = true)]
async fn refusals() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script(
        "
        C: MAIL FROM:<>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<nobody@contoso.test>
        S: 550 5.1.1 No such recipient here
        C: RCPT TO:<ann@elsewhere.example>
        S: 550 5.7.1 Unable to relay*
        C: RCPT TO:<dan@contoso.test>
        S: 550 5.2.1 This mailbox is disabled
        C: RCPT TO:<staff@contoso.test>
        S: 550 5.7.1 This group takes mail from authenticated senders only
        C: RCPT TO:<ann@[192.0.2.1]>
        S: 550 5.7.1 Unable to relay*
        C: DATA
        S: 554 5.5.1 No valid recipients
        C: VRFY ann
        S: 252 *
        C: RSET
        S: 250 2.0.0 OK
        C: MAIL FROM:<a@b.example> SIZE=3000
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<cat@contoso.test>
        S: 452 4.2.2 This mailbox is full
        C: AUTH PLAIN
        S: 502 5.5.1 Authentication is not available here
    ",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pipelined_conversation_is_answered_in_one_piece() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.send(
        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@contoso.test>\r\nRCPT TO:<ann@contoso.test>\r\n\
          BDAT 17\r\nSubject: one\r\n\r\nxBDAT 2 LAST\r\nyzMAIL FROM:<a@b.example>\r\nRCPT TO:<ben@contoso.test>\r\n\
          BDAT 3 LAST\r\nabcQUIT\r\n",
    )
    .await;
    let answers = talk.rest().await;
    let codes: Vec<&str> = answers.lines().map(|l| &l[..3]).collect();
    assert_eq!(codes, ["250", "550", "250", "250", "250", "250", "250", "250", "221"], "{answers}");
    assert!(world.inbox("ann").await[0].ends_with("\r\nSubject: one\r\n\r\nxyz"));
    assert!(world.inbox("ben").await[0].ends_with("\r\nabc"));
}

#[tokio::test(start_paused = true)]
async fn submission() {
    let world = World::with_passwords().await;
    let mut talk = world.connect_from(Kind::Submission, "127.0.0.1:4000");
    talk.line().await;
    let hello = talk.ehlo("EHLO").await;
    assert!(hello.contains(&"250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN".to_owned()), "{hello:?}");
    talk.script(&format!(
        "
        C: MAIL FROM:<ann@contoso.test>
        S: 530 5.7.0 Authentication required
        C: AUTH PLAIN {WRONG}
        S: 535 5.7.8 Authentication credentials invalid
        C: AUTH PLAIN {DAN}
        S: 535 5.7.1 Signing in is not allowed: the account is disabled
        C: AUTH PLAIN {ANN}
        S: 235 2.7.0 Authentication successful
        C: MAIL FROM:<ben@contoso.test>
        S: 550 5.7.60 You may not send as this address
        C: MAIL FROM:<ann@contoso.test>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<pat@elsewhere.example>
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<ben@contoso.test>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 *
        C: Subject: bare
        C:
        C: text
        C: .
        S: 250 *
        C: VRFY ben@contoso.test
        S: 250 2.1.5 ben <ben@contoso.test>
        C: MAIL FROM:<ann+tag@contoso.test>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ben@contoso.test>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 *
        C: no header
        C: .
        S: 250 *
        C: QUIT
        S: 221 *
    "
    ))
    .await;
    let messages = world.inbox("ben").await;
    assert!(messages[0].contains("with ESMTPA id"), "{}", messages[0]);
    assert!(
        messages[0].ends_with(
            "From: <ann@contoso.test>\r\nDate: Tue, 3 Mar 2026 08:15:20 +0000\r\n\
             Message-ID: <1772525720114.0000000000000001-1@mx.contoso.test>\r\nSubject: bare\r\n\r\ntext\r\n"
        ),
        "{}",
        messages[0]
    );
    assert!(messages[1].ends_with("@mx.contoso.test>\r\n\r\nno header\r\n"), "{}", messages[1]);
    let lines = world.seen.lines.lock().unwrap().join("\n");
    assert!(
        lines.contains("< AUTH PLAIN <hidden>") && !lines.contains(ANN) && !lines.contains(PASSWORD),
        "{lines}"
    );
    let legs = world.seen.legs.lock().unwrap();
    let leg = &legs.iter().find(|(_, leg)| leg.operation == "smtp.submit").unwrap().1;
    assert_eq!((leg.mechanism.as_ref(), leg.key.as_deref()), ("PLAIN", Some("ann@contoso.test")));
}

#[tokio::test(start_paused = true)]
async fn passwords_stay_off_an_open_wire() {
    let world = World::with_passwords().await;
    let mut talk = world.connect(Kind::Submission);
    talk.line().await;
    let hello = talk.ehlo("EHLO").await;
    assert!(!hello.iter().any(|line| line.contains("AUTH")), "{hello:?}");
    talk.script(&format!(
        "
        C: AUTH PLAIN {ANN}
        S: 538 5.7.11 *
        C: STARTTLS
        S: 220 2.0.0 Begin TLS now
    "
    ))
    .await;
    let hello = talk.ehlo("EHLO").await;
    assert!(
        hello.contains(
            &"250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN".to_owned()
        ),
        "{hello:?}"
    );
    talk.script(&format!(
        "
        C: AUTH PLAIN {ANN}
        S: 235 *
        C: MAIL FROM:<ann@contoso.test>
        S: 250 *
        C: RCPT TO:<ann@contoso.test>
        S: 250 *
        C: BDAT 0 LAST
        S: 250 *
    "
    ))
    .await;
    let message = world.inbox("ann").await.remove(0);
    assert!(message.contains("with ESMTPSA id") && message.contains("tls TLS_AES_256_GCM_SHA384 (TLSv1.3);"));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_before_the_handshake_is_not_heard_after_it() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.send(b"STARTTLS\r\nMAIL FROM:<evil@b.example>\r\n").await;
    talk.script(
        "
        S: 220 2.0.0 Begin TLS now
        C: RCPT TO:<ann@contoso.test>
        S: 503 5.5.1 MAIL comes first
    ",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn several_recipients_get_it_once_each() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    // ann is there by herself, by her tag, and through a group that holds itself.
    talk.script(
        "
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 *
        C: RCPT TO:<ann@contoso.test>
        S: 250 *
        C: RCPT TO:<ann+x@contoso.test>
        S: 250 *
        C: RCPT TO:<all@contoso.test>
        S: 250 *
        C: DATA
        S: 354 *
        C: Subject: to all
        C:
        C: .
        S: 250 *
    ",
    )
    .await;
    world.hub.idle().await;
    assert_eq!(world.inbox("ann").await.len(), 1);
    let ben = world.inbox("ben").await;
    assert_eq!(ben.len(), 1);
    assert!(!ben[0].contains("\tfor "), "nobody learns of the others");
    assert!(world.hub.queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_account_behind_two_addresses_needs_no_queue() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script(
        "
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 *
        C: RCPT TO:<ann@contoso.test>
        S: 250 *
        C: RCPT TO:<ann+x@contoso.test>
        S: 250 *
        C: BDAT 0 LAST
        S: 250 *
    ",
    )
    .await;
    assert_eq!(world.inbox("ann").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn large_messages_stream() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script(
        "
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 *
        C: RCPT TO:<ann@contoso.test>
        S: 250 *
        C: RCPT TO:<ben@contoso.test>
        S: 250 *
        C: DATA
        S: 354 *
    ",
    )
    .await;
    let mut random = 88172645463325252u64;
    let mut body = String::from("Subject: large\r\n\r\n");
    while body.len() < 1_000_000 {
        for _ in 0..8 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            body.push_str(&format!("{random:016x}"));
        }
        body.push_str("\r\n");
    }
    talk.send(body.as_bytes()).await;
    talk.script("C: .\nS: 250 *").await;
    world.hub.idle().await;
    for name in ["ann", "ben"] {
        let messages = world.inbox(name).await;
        assert!(messages.len() == 1 && messages[0].ends_with(&body), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn lmtp_answers_for_each_recipient() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Lmtp);
    talk.script("S: 220 mx.contoso.test LMTP Waypost").await;
    talk.ehlo("LHLO").await;
    talk.script(
        "
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 *
        C: RCPT TO:<ann@contoso.test>
        S: 250 *
        C: RCPT TO:<nobody@contoso.test>
        S: 550 5.1.1 *
        C: RCPT TO:<cat@contoso.test>
        S: 250 *
        C: RCPT TO:<ben@contoso.test>
        S: 250 *
        C: DATA
        S: 354 *
    ",
    )
    .await;
    talk.send("x".repeat(3000).as_bytes()).await;
    talk.script(
        "
        C:
        C: .
        S: 250 2.0.0 *
        S: 452 4.2.2 This mailbox is full
        S: 250 2.0.0 *
        C: QUIT
        S: 221 *
    ",
    )
    .await;
    assert_eq!(world.inbox("ann").await.len(), 1);
    assert_eq!(world.inbox("ben").await.len(), 1);
    assert_eq!(world.inbox("cat").await.len(), 0);
    assert!(world.inbox("ann").await[0].contains("with LMTP id"));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_puts_mail_off_and_later_it_flows() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    let envelope = "
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 *
        C: RCPT TO:<ann@contoso.test>
        S: 250 *
    ";
    for more in ["", "C: RCPT TO:<ben@contoso.test>\nS: 250 *\n"] {
        talk.script(&format!("{envelope}{more}C: DATA\nS: 354 *")).await;
        world.model.set_full(Some("no space left"));
        talk.script(
            "
            C: x
            C: .
            S: 452 4.3.1 *
            C: MAIL FROM:<pat@elsewhere.example>
            S: 452 4.3.1 *
        ",
        )
        .await;
        world.model.set_full(None);
    }
    world.model.set_read_only(Some("an fsync failed"));
    talk.script("C: MAIL FROM:<pat@elsewhere.example>\nS: 451 4.3.0 *").await;
    world.model.set_read_only(None);
    talk.script(&format!("{envelope}C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *")).await;
    world.hub.idle().await;
    assert_eq!(world.inbox("ann").await.len(), 1);
    assert_eq!(world.inbox("ben").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_messages_finish() {
    let world = World::new().await;
    let mut idle = world.connect(Kind::Smtp);
    idle.hello().await;
    let mut busy = world.connect(Kind::Smtp);
    busy.hello().await;
    busy.script("C: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<ann@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *")
        .await;
    world.hub.stop();
    assert_eq!(idle.rest().await, "421 4.3.2 mx.contoso.test Service is shutting down, please reconnect\r\n");
    busy.script("C: x\nC: .\nS: 250 *\nS: 421 4.3.2 *").await;
    assert_eq!(busy.rest().await, "");
    assert_eq!(world.inbox("ann").await.len(), 1);
    // One who never finishes is not waited for for ever.
    let mut late = world.connect(Kind::Smtp);
    assert!(
        late.rest()
            .await
            .ends_with("421 4.3.2 mx.contoso.test Service is shutting down, please reconnect\r\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_that_goes_in_circles_ends_here() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script("C: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<ann@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *")
        .await;
    talk.send("Received: from a by b\r\n".repeat(101).as_bytes()).await;
    talk.script("C:\nC: .\nS: 554 5.4.6 *").await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_leaves_nothing() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script(
        "C: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<ann@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *\nC: half",
    )
    .await;
    let task = talk.task;
    drop(world.connect(Kind::Smtp));
    task.abort();
    let _ = task.await;
    assert_eq!(world.inbox("ann").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn success_is_reported_to_those_who_ask() {
    let world = World::with_passwords().await;
    let mut talk = world.connect_from(Kind::Submission, "127.0.0.1:4000");
    talk.hello().await;
    talk.script(&format!("C: AUTH PLAIN {ANN}\nS: 235 *")).await;
    for more in ["", "C: RCPT TO:<all@contoso.test> NOTIFY=SUCCESS,FAILURE\nS: 250 *\n"] {
        talk.script(&format!(
            "
            C: MAIL FROM:<ann@contoso.test> ENVID=Q+2B1 RET=HDRS
            S: 250 *
            C: RCPT TO:<ben@contoso.test> NOTIFY=SUCCESS ORCPT=rfc822;benjamin@contoso.test
            S: 250 *
            {more}C: DATA
            S: 354 *
            C: Subject: tell me
            C: Message-ID: <m@contoso.test>
            C:
            C: secret text
            C: .
            S: 250 *
        "
        ))
        .await;
    }
    world.hub.idle().await;
    world.work().await;
    let messages = world.inbox("ann").await;
    let reports: Vec<&String> = messages.iter().filter(|m| m.contains("multipart/report")).collect();
    // One for the first; for the second one when the group was opened and one when ben had it.
    assert_eq!(reports.len(), 3, "{messages:#?}");
    for report in &reports {
        for part in [
            "In-Reply-To: <m@contoso.test>\r\n",
            "Reporting-MTA: dns; mx.contoso.test\r\nOriginal-Envelope-Id: Q+1\r\n",
            "Content-Type: text/rfc822-headers",
            "\r\nSubject: tell me\r\n",
        ] {
            assert!(report.contains(part), "{part:?} in {report}");
        }
        assert!(!report.contains("secret text"));
    }
    let ben = "Original-Recipient: rfc822; benjamin@contoso.test\r\nFinal-Recipient: rfc822; ben@contoso.test\r\n\
               Action: delivered\r\nStatus: 2.1.5\r\n";
    assert_eq!(reports.iter().filter(|r| r.contains(ben)).count(), 2);
    assert!(
        reports[1].contains("Final-Recipient: rfc822; all@contoso.test\r\nAction: expanded\r\n"),
        "{}",
        reports[1]
    );
}

#[tokio::test(start_paused = true)]
async fn scram_with_channel_binding() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use waypost_sasl::{Bindings, ClientExchange, Credentials, Mechanism};
    let world = World::with_passwords().await;
    let mut talk = world.connect(Kind::Submissions);
    talk.hello().await;
    let bindings = Bindings { exporter: Some([9; 32]), end_point: None };
    let credentials = Credentials::new("ann@contoso.test", PASSWORD);
    let plus = Mechanism::ScramSha256Plus;
    let mut client = ClientExchange::start(plus, credentials, &bindings, &[5; 18]).unwrap();
    let first = client.initial().unwrap();
    talk.send(format!("AUTH SCRAM-SHA-256-PLUS {}\r\n", STANDARD.encode(first.expose())).as_bytes()).await;
    for _ in 0..2 {
        let challenge = talk.line().await;
        let challenge = STANDARD.decode(challenge.strip_prefix("334 ").unwrap()).unwrap();
        let response = client.step(&challenge).unwrap();
        talk.send(format!("{}\r\n", STANDARD.encode(response.expose())).as_bytes()).await;
    }
    talk.script("S: 235 2.7.0 Authentication successful").await;
    let lines = world.seen.lines.lock().unwrap();
    assert!(lines.contains(&"< <hidden>".to_owned()) && lines.contains(&"> 334 <authentication>".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_copy_for_the_sender_where_it_is_wanted() {
    let world = World::with_passwords().await;
    world.directory.update_account(world.account("ann"), |ann| ann.copy_smtp_sent = true).await.unwrap();
    let mut talk = world.connect_from(Kind::Submission, "127.0.0.1:4000");
    talk.hello().await;
    talk.script(&format!(
        "
        C: AUTH PLAIN {ANN}
        S: 235 *
        C: MAIL FROM:<ann@contoso.test>
        S: 250 *
        C: RCPT TO:<ben@contoso.test>
        S: 250 *
        C: BDAT 0 LAST
        S: 250 *
    "
    ))
    .await;
    world.hub.idle().await;
    assert_eq!((world.inbox("ann").await.len(), world.inbox("ben").await.len()), (0, 1));
    let ann = world.hub.mailbox(world.account("ann")).await.unwrap();
    let sent = ann.folders().with_role(waypost_mailbox::Role::Sent).unwrap().id;
    let status = ann.status(sent).await.unwrap();
    assert_eq!((status.messages, status.unseen), (1, 0));
}

/// Whatever comes, in whatever pieces: an answer or an end, and never a panic.
#[tokio::test(start_paused = true)]
async fn garbage() {
    const WORDS: [&[u8]; 24] = [
        b"EHLO x\r\n",
        b"HELO x\r\n",
        b"LHLO x\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<ann@contoso.test>\r\n",
        b"RCPT TO:<ben@contoso.test> NOTIFY=SUCCESS\r\n",
        b"RCPT TO:<x@y>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n",
        b"\r\n",
        b".\r\n",
        b"\n",
        b"\r",
        b"BDAT 3\r\n",
        b"BDAT 4 LAST\r\n",
        b"BDAT 0 LAST\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"AUTH PLAIN\r\n",
        b"VRFY ann\r\n",
        b"\xFF\xFE\0",
        b"..\r\n",
        b"QUIT\r\n",
    ];
    let world = World::new().await;
    let mut random = 88172645463325252u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for round in 0..120 {
        let kind = [Kind::Smtp, Kind::Lmtp, Kind::Submission][round % 3];
        let mut talk = world.connect(kind);
        let wire: Vec<u8> = (0..60).flat_map(|_| WORDS[next(WORDS.len())].to_vec()).collect();
        for piece in wire.chunks(1 + next(40)) {
            talk.send(piece).await;
            tokio::task::yield_now().await;
        }
        let (task, heard) = talk.close().await;
        task.await.unwrap();
        assert!(heard.starts_with("220 ") && heard.ends_with("\r\n"), "{heard}");
    }
    world.hub.idle().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_small() {
    let world = World::new().await;
    let (stream, _peer) = tokio::io::duplex(16);
    let channel = waypost_trust::channel::Channel {
        stream: Box::new(stream),
        local: ([127, 0, 0, 1], 25).into(),
        peer: ([127, 0, 0, 1], 26).into(),
        tls: None,
        upgrade: None,
    };
    let session = super::serve(channel, world.hub.service(Kind::Smtp), waypost_base::id::Correlation(1));
    let bytes = std::mem::size_of_val(&session);
    assert!(bytes < 12 * 1024, "{bytes}");
}
