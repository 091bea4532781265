//! What clients must not do, and how long they may take.

use crate::world::{World, mail};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[tokio::test(start_paused = true)]
async fn nonsense_is_answered_and_the_session_lives() {
    let world = World::new().await;
    world.fill(&[&mail("one")]).await;
    let mut c = world.selected().await;
    c.talk(
        "C: a FOO
         S: a BAD Unknown command
         C: b FETCH
         S: b BAD …
         C: c FETCH 1 (FLAGS
         S: c BAD …
         C: d FETCH 0 FLAGS
         S: d BAD …
         C: e STORE 1 FLAGS
         S: e BAD …
         C:
         S: * BAD …
         C: nothing
         S: … BAD …
         C: f UID NOOP
         S: f BAD …
         C: g SELECT INBOX extra
         S: g BAD …
         C: h APPEND INBOX
         S: h BAD …
         C: i LOGIN {4}
         S: + …
         C: anna {6}
         S: + …
         C: secret
         S: i BAD Already signed in
         C: j NOOP
         S: j OK …",
    )
    .await;
    c.send(&format!("k FETCH {} FLAGS\r\n", "1,".repeat(60_000))).await;
    c.talk("S: k BAD Command line too long\nC: l NOOP\nS: l OK …").await;
    c.send("m SELECT {70000}\r\n").await;
    c.talk("S: m BAD Literal too large\nC: n NOOP\nS: n OK …").await;
    let deep = format!("o SEARCH {}ALL{}\r\n", "(".repeat(500), ")".repeat(500));
    c.send(&deep).await;
    c.talk("S: o BAD …\nC: p NOOP\nS: p OK …").await;
}

#[tokio::test(start_paused = true)]
async fn strangers_get_less() {
    let world = World::new().await;
    let mut c = world.client().await;
    c.send(&format!("a LOGIN {}\r\n", "x".repeat(9000))).await;
    c.talk("S: a BAD Command line too long").await;
    c.send("b LOGIN {5000+}\r\n").await;
    c.bytes(&[b'x'; 5000]).await;
    c.talk("C:  secret\nS: b BAD Literal too large\nC: c NOOP\nS: c OK …").await;
    c.send("d LOGIN {99999999999+}\r\n").await;
    c.talk("S: d BAD Literal too large\nS: * BYE …").await;
    c.closed().await;
    let mut c = world.client().await;
    for _ in 0..50 {
        c.talk("C: GET / HTTP/1.1\nS: GET BAD …").await;
    }
    c.talk("C: x y\nS: x BAD …\nS: * BYE …").await;
    c.closed().await;
}

#[tokio::test(start_paused = true)]
async fn time_runs_out() {
    let world = World::new().await;
    let mut c = world.client().await;
    tokio::time::advance(Duration::from_secs(50)).await;
    c.talk("C: a NOOP\nS: a OK …").await;
    tokio::time::advance(Duration::from_secs(11)).await;
    c.talk("S: * BYE No sign-in in time").await;
    c.closed().await;
    let mut c = world.anna().await;
    tokio::time::advance(Duration::from_secs(29 * 60)).await;
    c.talk("C: a NOOP\nS: a OK …").await;
    tokio::time::advance(Duration::from_secs(31 * 60)).await;
    c.talk("S: * BYE Autologout…").await;
    c.closed().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_command_at_hand() {
    let world = World::new().await;
    let mut idle = world.selected().await;
    idle.talk("C: i IDLE\nS: + …").await;
    let mut appending = world.anna().await;
    appending.talk("C: a APPEND INBOX {10}\nS: + …").await;
    let mut resting = world.anna().await;
    world.service.stop();
    resting.talk("S: * BYE The server is shutting down…").await;
    resting.closed().await;
    idle.talk("S: * BYE The server is shutting down…").await;
    appending.talk("C: 0123456789\nS: a OK [APPENDUID … 1] …\nS: * BYE The server is shutting down…").await;
    appending.closed().await;
}

#[tokio::test(start_paused = true)]
async fn byte_by_byte() {
    let world = World::new().await;
    let mut c = world.client().await;
    let talk = "a LOGIN {4+}\r\nanna secret\r\nb APPEND INBOX {5+}\r\nA: b\n\r\nc SELECT INBOX\r\nd UID FETCH 1 (UID)\r\n";
    for byte in talk.as_bytes() {
        c.stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    c.until("c OK").await;
    c.talk("S: * 1 FETCH (UID 1)\nS: d OK …").await;
}

#[tokio::test(start_paused = true)]
async fn pipelined_to_the_end() {
    let world = World::new().await;
    let mut c = world.client().await;
    c.send("a LOGIN anna secret\r\nb SELECT INBOX\r\nc NOOP\r\nd LOGOUT\r\n").await;
    c.until("a OK").await;
    c.until("b OK").await;
    c.talk("S: c OK …\nS: * BYE …\nS: d OK …").await;
    c.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_ends_the_session() {
    let world = World::new().await;
    let c = world.selected().await;
    drop(c);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let open = world.service.figures().into_iter().find(|f| f.name == "imap_sessions").unwrap();
    assert_eq!(open.value, 0.0);
}
