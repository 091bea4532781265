//! A whole IMAP session over an in-memory mailbox: whatever a client sends, the session answers, keeps or closes; it
//! never panics and never hangs. The first byte chooses the state: not signed in, signed in, or with INBOX selected.
#![no_main]

#[allow(dead_code)]
#[path = "../../access/tests/imap/world.rs"]
mod world;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waypost_access::imap::serve;
use waypost_base::id::Correlation;
use world::World;

async fn converse(data: &[u8]) {
    let Some((state, rest)) = data.split_first() else { return };
    let world = World::new().await;
    let (near, channel) = world.channel(64 * 1024);
    let mut input = Vec::new();
    if state % 3 > 0 {
        input.extend_from_slice(b"l LOGIN anna secret\r\n");
    }
    if state % 3 > 1 {
        let mail = world::mail("fuzz");
        input.extend_from_slice(format!("a APPEND INBOX {{{}+}}\r\n{mail}\r\ns SELECT INBOX\r\n", mail.len()).as_bytes());
    }
    input.extend_from_slice(rest);
    let (mut from, mut to) = tokio::io::split(near);
    let client = async move {
        // The server may close before it has read everything.
        let _ = to.write_all(&input).await;
        let _ = to.shutdown().await;
    };
    let reader = async move {
        let mut sink = Vec::new();
        let _ = from.read_to_end(&mut sink).await;
        assert!(sink.starts_with(b"* OK "), "no greeting");
    };
    tokio::join!(serve(channel, world.service.clone(), Correlation(1)), client, reader);
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Time is virtual: whatever waits is woken at once, so that a hang shows as one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(converse(data));
});
