use super::*;
use std::time::Duration;
use waypost_base::explain::Outcome;

fn outcome(w: &World) -> &'static str {
    match w.ears.legs.lock().unwrap()[0].outcome {
        Outcome::Failed { cause, .. } => cause.code,
        _ => "none",
    }
}

#[tokio::test(start_paused = true)]
async fn a_drop_that_cannot_be_opened_is_no_failed_sign_in() {
    let w = world(&["a\r\n"]);
    w.boxes.broken(Broken::Open);
    let mut c = w.call().await;
    c.talk("C: USER adele\nS: +OK\nC: PASS pencil\nS: -ERR [SYS/TEMP] The mailbox cannot be opened now")
        .await;
    w.boxes.broken(Broken::OpenForGood);
    c.talk("C: USER adele\nS: +OK\nC: PASS pencil\nS: -ERR [SYS/PERM] The mailbox cannot be opened now")
        .await;
    assert_eq!(w.service.figures.unavailable.value(), 2);
    // It is not locked by the tries, and a later one succeeds.
    w.boxes.broken(Broken::Nothing);
    c.talk("C: USER adele\nS: +OK\nC: PASS pencil\nS: +OK …").await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_read() {
    let w = world(&["a\r\n", "b\r\n"]);
    let mut c = w.inside().await;
    w.boxes.broken(Broken::Read);
    c.talk("C: RETR 1\nS: -ERR [SYS/TEMP] The message cannot be read now").await;
    w.boxes.broken(Broken::Damaged);
    c.talk("C: TOP 1 0\nS: -ERR [SYS/PERM] The message cannot be read now").await;
    w.boxes.broken(Broken::Gone);
    c.talk("C: RETR 1\nS: -ERR The message has been removed").await;
    w.boxes.broken(Broken::Nothing);
    c.talk("C: RETR 2\nS: +OK 3 octets\nS: b\nS: .\nC: QUIT\nS: +OK Bye\nS: (closed)").await;
    assert_eq!(outcome(&w), "POP-NOMESSAGE");
}

#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_removed_stay() {
    let w = world(&["a\r\n"]);
    let mut c = w.inside().await;
    w.boxes.broken(Broken::Remove);
    c.talk(
        "C: DELE 1
         S: +OK …
         C: QUIT
         S: -ERR [SYS/TEMP] Some deleted messages were not removed
         S: (closed)",
    )
    .await;
    assert_eq!(w.boxes.uids(1), [10]);
    assert_eq!(outcome(&w), "POP-NOTREMOVED");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_removes_nothing() {
    let w = world(&["a\r\n"]);
    let mut c = w.inside().await;
    c.talk("C: DELE 1\nS: +OK …").await;
    drop(c);
    while w.service.figures.sessions.value() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(w.boxes.uids(1), [10]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_left() {
    let big = "x".repeat(400_000);
    let w = world(&[&big]);
    let mut c = w.inside().await;
    let started = tokio::time::Instant::now();
    c.send("RETR 1\r\n").await;
    while w.service.figures.sessions.value() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(300));
    assert!(started.elapsed() < Duration::from_secs(310));
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_sessions_finish() {
    let w = world(&["a\r\n"]);
    let mut stranger = w.call().await;
    let mut busy = w.inside().await;
    w.service.stop();
    stranger.talk("S: -ERR [SYS/TEMP] Server is shutting down\nS: (closed)").await;
    busy.talk("C: DELE 1\nS: +OK …\nC: QUIT\nS: +OK Bye, 1 messages deleted\nS: (closed)").await;
    assert!(w.boxes.uids(1).is_empty());
    let w = world(&["a\r\n"]);
    let mut idle = w.inside().await;
    w.service.stop();
    idle.talk("S: -ERR [SYS/TEMP] Server is shutting down\nS: (closed)").await;
}

struct BrokenTls;

impl TlsAccept for BrokenTls {
    fn accept(&self, _: BoxStream) -> Accepting {
        Box::pin(std::future::ready(Err(std::io::Error::other("no shared cipher"))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_handshake_closes() {
    let w = world(&[]);
    let mut c = w.channel(None, Some(Arc::new(BrokenTls)));
    c.talk("S: +OK …\nC: STLS\nS: +OK Begin TLS negotiation\nS: (closed)").await;
    assert_eq!(outcome(&w), "POP-TLS");
}
