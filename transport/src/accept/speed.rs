//! Prints what a delivered message costs. Run by hand, in release: `cargo test --release -p waypost-transport --
//! --ignored --nocapture`.

use super::Kind;
use crate::world::World;
use std::time::Instant;

/// User and system time of this process, milliseconds.
fn cpu_millis() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10
}

async fn measure(world: World, connections: usize, each: usize, size: usize) {
    let mut message = String::from(
        "From: Pat <pat@elsewhere.example>\r\nTo: Ann <ann@contoso.test>\r\nSubject: what it costs\r\n\
         Message-ID: <x@elsewhere.example>\r\nDate: Tue, 3 Mar 2026 08:15:20 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n",
    );
    while message.len() < size {
        message.push_str(&format!(
            "line {} with some words that are not all the same in each line\r\n",
            message.len() * 7919
        ));
    }
    message.push_str(".\r\n");
    let (begun, cpu) = (Instant::now(), cpu_millis());
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let mut talk = world.connect(Kind::Smtp);
        let message = message.clone();
        tasks.push(tokio::spawn(async move {
            talk.hello().await;
            for _ in 0..each {
                talk.script("C: MAIL FROM:<pat@elsewhere.example>\nS: 250 *").await;
                talk.script("C: RCPT TO:<ann@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *").await;
                talk.send(message.as_bytes()).await;
                talk.script("S: 250 *").await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let count = (connections * each) as f64;
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_millis() - cpu);
    println!(
        "{connections} connections, {size} octets: {:.0} messages/s, {:.3} ms CPU each (the client's share included)",
        count / wall,
        cpu as f64 / count
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures; meant for release builds"]
async fn what_a_message_costs() {
    measure(World::new().await, 10, 1000, 4096).await;
    measure(World::new().await, 10, 200, 100 * 1024).await;
    let folder = std::env::temp_dir().join(format!("waypost-speed-{}", std::process::id()));
    for (connections, each, size) in [(10, 500, 4096), (64, 200, 4096), (10, 100, 100 * 1024)] {
        measure(World::on_disk(&folder).await, connections, each, size).await;
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
