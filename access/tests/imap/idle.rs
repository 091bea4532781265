//! What a connection costs that does nothing.

use crate::world::{World, mail};
use waypost_access::imap::serve;
use waypost_base::id::Correlation;

/// Resident memory of this process, as the kernel counts it.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_small() {
    let world = World::new().await;
    world.fill(&[&mail("one"), &mail("two")]).await;
    let mut clients = Vec::new();
    let mut sizes = Vec::new();
    for idle in [true, false] {
        // The first ones pay for what all share.
        for n in 0..1100 {
            if n == 100 {
                sizes.push(resident());
            }
            let mut client = world.anna_over(2048).await;
            client.send("s SELECT INBOX\r\n").await;
            client.until("s OK [READ-WRITE]").await;
            if idle {
                client.talk("C: i IDLE\nS: + …").await;
            }
            clients.push(client.shrink());
        }
        sizes.push(resident());
    }
    let each = |from: usize| (sizes[from + 1].saturating_sub(sizes[from])) / 1000;
    println!("bytes for each session: {} in IDLE, {} between commands", each(0), each(2));
    // The pipe of the test, both its ends, is in it.
    assert!(each(0) < 15 * 1024 && each(2) < 15 * 1024, "{} and {}", each(0), each(2));
}

#[tokio::test(start_paused = true)]
async fn the_future_of_a_session_is_small() {
    let world = World::new().await;
    let size = size_of_val(&serve(world.channel(64).1, world.service.clone(), Correlation(1)));
    println!("bytes of the future: {size}");
    assert!(size < 2048, "{size}");
}
