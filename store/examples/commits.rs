//! How many delivery-like batches a second the committer takes, and what each costs: `commits [folder] [seconds] [accounts]`.
//! Eight operations, two allocations and 5 KB each, from 1, 8 and 64 callers.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use waypost_base::{Clock, Timestamp};
use waypost_store::{Batch, Options, Partition, Store, Template};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().map_or_else(|| std::env::temp_dir().join("waypost-commits"), PathBuf::from);
    let seconds = args.next().map_or(Ok(3), |s| s.parse())?;
    let accounts: u32 = args.next().map_or(Ok(1000), |s| s.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let store = Store::open(&folder, Options::new([1; 32], Clock::fixed(Timestamp(0))))?;
    for (callers, size) in [(1, 5000), (8, 5000), (64, 5000), (64, 300)] {
        let (began, cpu) = (Instant::now(), cpu_micros());
        let until = began + Duration::from_secs(seconds);
        let done = runtime.block_on(async {
            let tasks: Vec<_> = (0..callers)
                .map(|i| tokio::spawn(deliver(store.clone(), i * 7919, accounts, size, until)))
                .collect();
            let mut latencies = Vec::new();
            for task in tasks {
                latencies.extend(task.await.unwrap_or_default());
            }
            latencies
        });
        report(callers, size, done, began.elapsed(), cpu_micros() - cpu);
    }
    for figure in store.figures() {
        println!("{} {}", figure.name, figure.value);
    }
    runtime.block_on(store.close());
    Ok(())
}

fn report(callers: u32, size: usize, mut latencies: Vec<u64>, took: Duration, cpu: u64) {
    latencies.sort_unstable();
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or(0);
    println!(
        "{callers} callers, {size} bytes: {:.0} batches/s, median {} us, p99 {} us, {} us of CPU each",
        latencies.len() as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
        cpu / latencies.len().max(1) as u64,
    );
}

async fn deliver(store: Store, first: u32, accounts: u32, size: usize, until: Instant) -> Vec<u64> {
    let mut latencies = Vec::new();
    let body: Vec<u8> = (0..size).map(|i| (i * 7 + i / 13) as u8).collect();
    while Instant::now() < until {
        let p = Partition::numbered(0x10, (first + latencies.len() as u32) % accounts);
        let mut batch = Batch::new(p);
        let uid = batch.alloc(p.key(b"\x11\0\0\0\x01"), 1);
        let modseq = batch.alloc(p.key(b"\x12\0\0\0\x01"), 1);
        let message = batch.alloc(p.key(b"\x04"), 1);
        batch.put(
            Template::new(p.key(b"\x14\0\0\0\x01")).slot4(uid, 0),
            Template::new(vec![0; 20]).slot8(modseq, 0),
        );
        batch.put(
            Template::new(p.key(b"\x15\0\0\0\x01")).slot8(modseq, 0),
            Template::new(vec![1; 12]).slot4(uid, 0),
        );
        batch.put(Template::new(p.key(b"\x20")).slot8(message, 0), body[..size / 10].to_vec());
        batch.put(Template::new(p.key(b"\x31")).slot8(message, 0), body.clone());
        batch.add(p.key(b"\x03"), size as i64);
        let began = Instant::now();
        if store.commit(batch).await.is_err() {
            break;
        }
        latencies.push(began.elapsed().as_micros() as u64);
    }
    latencies
}

/// User and system time of this process, from the kernel's own account.
fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000
}
