use super::*;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn every_command() {
    let w = world(&["A: 1\r\n\r\none\r\n.two\r\n", "B: 2\r\n\r\nbody", "C: 3\r\n\r\n"]);
    let mut c = w.inside().await;
    c.talk(
        "C: STAT
         S: +OK 3 39
         C: LIST
         S: +OK 3 messages (39 octets)
         S: 1 19
         S: 2 12
         S: 3 8
         S: .
         C: LIST 2
         S: +OK 2 12
         C: LIST 4
         S: -ERR No such message
         C: LIST 0
         S: -ERR No such message
         C: UIDL
         S: +OK
         S: 1 7.10
         S: 2 7.20
         S: 3 7.30
         S: .
         C: UIDL 3
         S: +OK 3 7.30
         C: UIDL 9
         S: -ERR No such message
         C: RETR 1
         S: +OK 19 octets
         S: A: 1
         S: 
         S: one
         S: ..two
         S: .
         C: RETR 2
         S: +OK 12 octets
         S: B: 2
         S: 
         S: body
         S: .
         C: TOP 1 0
         S: +OK
         S: A: 1
         S: 
         S: .
         C: TOP 1 1
         S: +OK
         S: A: 1
         S: 
         S: one
         S: .
         C: TOP 2 99
         S: +OK
         S: B: 2
         S: 
         S: body
         S: .
         C: DELE 2
         S: +OK Marked to be deleted
         C: DELE 2
         S: -ERR No such message
         C: RETR 2
         S: -ERR No such message
         C: TOP 2 1
         S: -ERR No such message
         C: LIST 2
         S: -ERR No such message
         C: UIDL 2
         S: -ERR No such message
         C: STAT
         S: +OK 2 27
         C: LIST
         S: +OK 2 messages (27 octets)
         S: 1 19
         S: 3 8
         S: .
         C: RSET
         S: +OK
         C: STAT
         S: +OK 3 39
         C: NOOP
         S: +OK
         C: DELE 1
         S: +OK Marked to be deleted
         C: DELE 3
         S: +OK Marked to be deleted
         C: QUIT
         S: +OK Bye, 2 messages deleted
         S: (closed)",
    )
    .await;
    assert_eq!(w.boxes.uids(1), [20]);
    assert_eq!(w.service.figures.removed.value(), 2);
    assert_eq!(w.service.figures.retrieved.value(), 2);
}

/// What comes in while the session lasts is seen by the next.
#[tokio::test(start_paused = true)]
async fn the_drop_is_a_snapshot() {
    let w = world(&["a\r\n"]);
    let mut c = w.inside().await;
    let late = Bytes::from_static(b"late\r\n");
    w.boxes.messages.lock().unwrap().get_mut(&AccountId(1)).unwrap().insert(99, late);
    c.talk("C: STAT\nS: +OK 1 3\nC: QUIT\nS: +OK Bye\nS: (closed)").await;
    w.inside().await.talk("C: UIDL 2\nS: +OK 2 7.99").await;
}

#[tokio::test(start_paused = true)]
async fn newest_first_by_setting() {
    let settings = Settings { newest_first: true, ..Settings::default() };
    let policy = Policy { login_type: LoginType::PlainTextLogin, ..Policy::default() };
    let w = world_with(Boxes::with(1, &["old\r\n", "new\r\n"]), settings, policy);
    let mut c = w.inside().await;
    c.talk("C: RETR 1\nS: +OK 5 octets\nS: new\nS: .\nC: DELE 1\nS: +OK …\nC: DELE 2\nS: +OK …").await;
    c.talk("C: QUIT\nS: +OK Bye, 2 messages deleted").await;
}

#[tokio::test(start_paused = true)]
async fn bad_commands() {
    let w = world(&["a\r\n"]);
    let mut c = w.inside().await;
    c.talk(
        "C: APOP adele c4c9334bac560ecc979e58001b3e22fb
         S: -ERR Unknown command
         C: RETR
         S: -ERR Usage: RETR msg
         C: RETR one
         S: -ERR Usage: RETR msg
         C: TOP 1
         S: -ERR Usage: TOP msg lines
         C: STAT 1
         S: -ERR Usage: STAT
         C: UTF8
         S: -ERR Already signed in
         C: STLS
         S: -ERR Already signed in",
    )
    .await;
    c.send(&format!("NOOP{}\r\nNOOP\r\n", " ".repeat(4000))).await;
    c.talk("S: -ERR Line too long\nS: +OK").await;
    c.send("\r\n\0\0\r\n\u{ff}\r\n").await;
    c.talk("S: -ERR Unknown command\nS: -ERR Unknown command\nS: -ERR Unknown command\nC: NOOP\nS: +OK")
        .await;
    for _ in 0..10 {
        c.talk("C: HELO\nS: -ERR Unknown command").await;
    }
    c.talk("S: (closed)").await;
}

#[tokio::test(start_paused = true)]
async fn a_line_without_end_closes() {
    let w = world(&[]);
    let mut c = w.call().await;
    let junk = vec![b'x'; 60_000];
    for _ in 0..40 {
        if c.0.get_mut().write_all(&junk).await.is_err() {
            break;
        }
    }
    c.talk("S: (closed)").await;
}

#[tokio::test(start_paused = true)]
async fn one_byte_at_a_time() {
    let w = world(&["a\r\n"]);
    let mut c = w.call().await;
    for byte in "USER adele\r\nPASS pencil\r\nRETR 1\r\nQUIT\r\n".chars() {
        c.send(&byte.to_string()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(c.rest().await, "+OK\r\n+OK 1 messages (3 octets)\r\n+OK 3 octets\r\na\r\n.\r\n+OK Bye\r\n");
}

/// Everything at once, and bare line feeds too.
#[tokio::test(start_paused = true)]
async fn all_at_once() {
    let w = world(&["a\r\n"]);
    let mut c = w.call().await;
    c.send("USER adele\nPASS pencil\nRETR 1\nDELE 1\nQUIT\nNOOP\n").await;
    assert_eq!(
        c.rest().await,
        "+OK\r\n+OK 1 messages (3 octets)\r\n+OK 3 octets\r\na\r\n.\r\n+OK Marked to be deleted\r\n+OK Bye, 1 messages deleted\r\n"
    );
}

/// A client that lies slow bytes on the line does not hold it for longer than a silent one.
#[tokio::test(start_paused = true)]
async fn slow_lines_time_out() {
    let w = world(&[]);
    let mut c = w.call().await;
    let started = tokio::time::Instant::now();
    for _ in 0..5 {
        c.send("N").await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        if w.service.figures.sessions.value() == 0 {
            break;
        }
    }
    c.talk("S: (closed)").await;
    assert!(started.elapsed() <= Duration::from_secs(80));
}

#[tokio::test(start_paused = true)]
async fn the_protocol_log_tells_all_but_passwords() {
    let w = world(&["a\r\n"]);
    let mut c = w.inside().await;
    c.talk("C: RETR 1\nS: +OK …\nS: a\nS: .\nC: RETR 2\nS: -ERR …\nC: QUIT\nS: +OK Bye\nS: (closed)").await;
    let lines = w.ears.lines.lock().unwrap();
    assert_eq!(
        *lines,
        [
            "0  OpenSession  ",
            "1  user adele R=OK",
            "2 adele@contoso.test pass ***** R=OK",
            "3 adele@contoso.test retr 1 R=OK",
            "4 adele@contoso.test retr 2 R=\"-ERR No such message\"",
            "5 adele@contoso.test quit  R=OK",
            "6 adele@contoso.test CloseSession  ",
        ]
    );
    let legs = w.ears.legs.lock().unwrap();
    let steps: Vec<&str> = legs[0].steps.iter().map(|s| s.name.as_ref()).collect();
    assert_eq!(steps, ["sign-in", "open", "retrieve"]);
}

#[tokio::test(start_paused = true)]
async fn strangers_cannot_stay_for_ever() {
    let w = world(&[]);
    let mut c = w.call().await;
    let started = tokio::time::Instant::now();
    while w.service.figures.sessions.value() > 0 {
        c.0.get_mut().write_all(b"AUTH\r\n").await.ok();
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    assert!(started.elapsed() <= Duration::from_secs(660));
}

/// Whatever is sent, in any state: each command gets one answer, and nothing panics.
#[test]
fn any_conversation_gets_answers() {
    use proptest::prelude::*;
    let line = "(STAT|LIST|UIDL|RETR|TOP|DELE|RSET|NOOP|CAPA|USER|PASS|AUTH|STLS|UTF8|XYZ)( ?[0-4a-zA-Z=]{0,9}){0,3}";
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) };
    proptest!(config, |(lines in proptest::collection::vec(line, 0..30), inside in any::<bool>())| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let rest = runtime.block_on(async {
            let w = world(&["A: b\r\n\r\nbody\r\n", "x\r\n", ".\r\n"]);
            let mut c = if inside { w.inside().await } else { w.call().await };
            c.0.get_mut().write_all((lines.join("\r\n") + "\r\nQUIT\r\n*\r\nQUIT\r\n").as_bytes()).await.ok();
            let rest = c.rest().await;
            while w.service.figures.sessions.value() > 0 {
                tokio::task::yield_now().await;
            }
            rest
        });
        let first = rest.split("\r\n").next().unwrap_or_default();
        prop_assert!(first.starts_with("+OK") || first.starts_with("-ERR") || first.starts_with("+ "), "{rest}");
        prop_assert!(rest.ends_with("\r\n"));
    });
}
