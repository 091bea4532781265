//! What the queue costs: `million [folder] [items]`. Fills a queue on SQLite, reads it as a start does, and takes and settles
//! some, beside an empty queue doing the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use waypost_base::id::Correlation;
use waypost_base::{Clock, Timestamp};
use waypost_queue::{
    Accepted, Envelope, Fate, Hop, NewItem, NullRouter, Queue, Rest, RetryPlan, Route, Target, Work,
};
use waypost_smtp::{Mailbox, RcptParams};
use waypost_store::{Options, Store};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().map_or_else(|| std::env::temp_dir().join("waypost-million"), PathBuf::from);
    let items: u64 = args.next().map_or(Ok(1_000_000), |s| s.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(folder, items))
}

fn clock() -> Clock {
    let start = Instant::now();
    Clock::new(move || Timestamp(1_772_525_720_114 + start.elapsed().as_millis() as i64))
}

async fn run(folder: PathBuf, items: u64) -> Result<(), Failure> {
    let memory = Store::memory();
    let queue = Queue::new(memory, clock(), RetryPlan::default(), Arc::new(NullRouter));
    round("in memory, empty", &queue, 20_000).await?;

    let store = Store::open(&folder, Options::new([1; 32], clock()))?;
    let queue = Queue::new(store.clone(), clock(), RetryPlan::default(), Arc::new(NullRouter));
    let found = queue.recover().await?;
    println!("found {} items of an earlier run", found.items);
    if found.items == 0 {
        round("on SQLite, empty", &queue, 20_000).await?;
    }
    let (began, cpu) = (Instant::now(), cpu_micros());
    let missing = items.saturating_sub(found.items);
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for i in 0..missing / 64 {
                    // Never to be sent here: what lies there is what is measured.
                    if queue.submit(item(&queue, i * 64 + task, "waits").await?, false).await.is_err() {
                        break;
                    }
                }
                Ok::<_, waypost_store::BlobError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    if missing > 0 {
        let (took, cpu) = (began.elapsed(), cpu_micros() - cpu);
        println!("filled in {took:.1?}, {} us of CPU an item", cpu / missing.max(1));
    }
    drop(queue);
    let before = resident();
    let queue = Queue::new(store.clone(), clock(), RetryPlan::default(), Arc::new(NullRouter));
    let (began, cpu) = (Instant::now(), cpu_micros());
    let found = queue.recover().await?;
    println!(
        "recovered {} items in {:.2?}, {} us of CPU each; {} MiB before, {} MiB after",
        found.items,
        began.elapsed(),
        (cpu_micros() - cpu) as f64 / found.items.max(1) as f64,
        before,
        resident(),
    );
    for figure in queue.figures() {
        println!("  {} {}", figure.name, figure.value);
    }
    let names: Vec<String> = queue.list_queues(|_| true).into_iter().map(|q| q.identity).collect();
    for name in names {
        queue.suspend_queue(&name).await?;
    }
    let beside = folder.with_extension("empty");
    let other = Store::open(&beside, Options::new([1; 32], clock()))?;
    let empty = Queue::new(other.clone(), clock(), RetryPlan::default(), Arc::new(NullRouter));
    for _ in 0..3 {
        round("on SQLite, full", &queue, 20_000).await?;
        round("on SQLite, empty", &empty, 20_000).await?;
    }
    store.close().await;
    other.close().await;
    std::fs::remove_dir_all(&beside)?;
    Ok(())
}

/// Submits and settles, from 16 tasks.
async fn round(name: &str, queue: &Arc<Queue>, count: u64) -> Result<(), Failure> {
    let (began, cpu) = (Instant::now(), cpu_micros());
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for i in 0..count / 16 {
                    let new = item(&queue, i * 16 + task, "goes").await.map_err(|e| e.to_string())?;
                    queue.submit(new, false).await.map_err(|e| e.to_string())?;
                    loop {
                        match queue.work().await {
                            Work::Connect(ticket) => {
                                ticket.ok();
                                let Some(mut lease) = ticket.next() else { continue };
                                lease.load().await.map_err(|e| e.to_string())?;
                                let server = "mx".to_owned();
                                let fate = Fate::Relayed { server, text: "250 ok".into(), dsn: false };
                                let done = queue.settle(lease, vec![(0, fate)], Rest::Done, vec![]);
                                done.await.map_err(|e| e.to_string())?;
                                break;
                            }
                            other => return Err(format!("{other:?}")),
                        }
                    }
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let (took, cpu) = (began.elapsed(), cpu_micros() - cpu);
    let rate = count as f64 / took.as_secs_f64();
    println!("{name}: {rate:.0} items/s, {} us of CPU each for submit, work, load, settle", cpu / count);
    Ok(())
}

async fn item(queue: &Arc<Queue>, number: u64, kind: &str) -> Result<NewItem, waypost_store::BlobError> {
    let text = format!("Subject: number {number}\r\n\r\nA short message, as most are.\r\n");
    let blob = queue.store().blobs().write(text.as_bytes()).await?;
    let domain = format!("{kind}{}.example", number % 1000);
    let to = Mailbox::new(format!("recipient{number}"), domain.clone());
    let from = Some(Mailbox::new("sender", "contoso.example"));
    let id = queue.next_id();
    let mut envelope = Envelope::new(from, Timestamp((id >> 20) as i64), Correlation(number));
    envelope.subject = format!("number {number}");
    envelope.message_id = format!("{number}.abcdef@contoso.example");
    let target = Target { to: to.clone(), of: 0, local: None };
    Ok(NewItem {
        id,
        envelope,
        blob,
        recipients: vec![Accepted { to, params: RcptParams::default() }],
        hops: vec![Hop { number: 0, route: Route::Domain(domain), targets: vec![target] }],
    })
}

/// User and system time of this process in microseconds (a tick is a hundredth of a second).
fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000
}

/// Resident memory in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
