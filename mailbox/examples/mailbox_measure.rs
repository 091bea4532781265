//! Prints how long the room's main work takes on the embedded engine, in a folder under the system's temporary folder.
//!
//! `cargo run --release -p waypost-mailbox --example mailbox_measure [messages]`

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use waypost_base::{AccountId, Clock, MessageId, Timestamp};
use waypost_mailbox::{
    Account, AccountOptions, Cancel, Content, Delivery, FlagOp, Flags, Limits, Mailboxes, Mark, NewMessage,
    Query, Role, UidSet,
};
use waypost_store::{Options, Store};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn report(what: &str, start: Instant, count: u64) {
    let time = start.elapsed();
    let each = time.as_nanos() as f64 / 1000.0 / count.max(1) as f64;
    println!("{what:<48} {:>10.2} ms  {each:>9.2} us each", time.as_secs_f64() * 1000.0);
}

fn text(i: u64) -> String {
    let body = "It was a bright cold day in April and the clocks were striking.\r\n".repeat(58);
    format!(
        "From: Ada Number{i} <ada{i}@contoso.test>\r\nTo: Ben <ben@fabrikam.test>\r\nSubject: Subject {i}\r\n\
         Date: Tue, 3 Mar 2026 08:15:20 +0000\r\nMessage-ID: <{i}@contoso.test>\r\n\r\nLine {i}\r\n{body}"
    )
}

async fn content(mailboxes: &Mailboxes, i: u64) -> Result<Content, waypost_store::BlobError> {
    let mut writer = mailboxes.writer();
    writer.write(text(i).as_bytes()).await?;
    writer.finish().await
}

async fn deliver_all(mailboxes: &Mailboxes, clients: u64, each: u64) -> Outcome {
    let start = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..clients {
        let mailboxes = mailboxes.clone();
        tasks.push(tokio::spawn(async move {
            let account = mailboxes.account(AccountId(1)).await.map_err(|e| e.to_string())?;
            for i in 0..each {
                let content = content(&mailboxes, client * 1_000_000 + i).await.map_err(|e| e.to_string())?;
                let delivery = Delivery {
                    folder: account.inbox(),
                    message: NewMessage::new(content),
                    token: None,
                    ignore_quota: false,
                };
                account.deliver(delivery).await.map_err(|e| e.to_string())?.announce();
            }
            Ok::<(), String>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    report(&format!("deliver {} of 4 KiB, {clients} at a time", clients * each), start, clients * each);
    Ok(())
}

async fn fill(mailboxes: &Mailboxes, account: &Account, count: u64) -> Outcome {
    let archive = account.folders().with_role(Role::Archive).ok_or("no archive")?.id;
    let start = Instant::now();
    for from in (0..count).step_by(1000) {
        let mut messages = Vec::new();
        for i in from..count.min(from + 1000) {
            messages.push(NewMessage::new(content(mailboxes, i).await?));
        }
        account.append(archive, messages, None).await?.announce();
    }
    report(&format!("append {count} in calls of 1000"), start, count);
    Ok(())
}

async fn flags(account: &Account, what: &str, flag: Flags, count: u64) -> Outcome {
    let archive = account.folders().with_role(Role::Archive).ok_or("no archive")?.id;
    let start = Instant::now();
    let mark = Mark { flags: flag, keywords: 0 };
    let outcome = account.store_flags(archive, &UidSet::all(), FlagOp::Add, mark, None).await?;
    report(what, start, count);
    outcome.changes.announce();
    Ok(())
}

async fn read(mailboxes: &Mailboxes, account: &Account, count: u64) -> Outcome {
    let archive = account.folders().with_role(Role::Archive).ok_or("no archive")?.id;
    let start = Instant::now();
    let mut session = account.select(archive).await?;
    report("select, cold", start, count);
    let start = Instant::now();
    for _ in 0..1000 {
        drop(account.select(archive).await?);
    }
    report("select, warm, a thousand times", start, 1000);
    flags(account, "flags of all, a session watching", Flags::SEEN, count).await?;
    let start = Instant::now();
    let deltas = session.poll_changes(true).len() as u64;
    report("poll all of them", start, deltas);
    flags(account, "flags of all again, nothing to do", Flags::SEEN, count).await?;
    let ids: Vec<MessageId> = session.rows(1, u32::MAX).map(|(_, r)| r.message).collect();
    let start = Instant::now();
    let mut bytes = 0;
    for page in ids.chunks(512) {
        for stored in account.summaries(page).await {
            bytes += stored?.summary()?.envelope(false).len();
        }
    }
    report(&format!("summaries of all ({bytes} bytes of ENVELOPE)"), start, count);
    let start = Instant::now();
    let mut bytes = 0;
    for page in ids.chunks(64) {
        for body in account.bodies(page).await {
            bytes += body?.size();
        }
    }
    report(&format!("bodies of all ({} MB)", bytes / 1_000_000), start, count);
    let start = Instant::now();
    let found = account.search(&session, &Query::Body("xyzzy".into()), &Cancel::new()).await?;
    report(&format!("search all bodies, {} found", found.len()), start, count);
    let start = Instant::now();
    let found = account.search(&session, &Query::Subject("subject 77".into()), &Cancel::new()).await?;
    report(&format!("search all subjects, {} found", found.len()), start, count);
    let trash = account.folders().with_role(Role::Trash).ok_or("no trash")?.id;
    let start = Instant::now();
    account.copy(archive, &UidSet::all(), trash).await?.changes.announce();
    report("copy all", start, count);
    let start = Instant::now();
    account.remove(archive, &UidSet::all()).await?.changes.announce();
    report("expunge all", start, count);
    drop(session);
    let start = Instant::now();
    println!("{}", mailboxes.verify().await);
    report("verify", start, count);
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    let count: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let dir = std::env::temp_dir().join(format!("waypost-measure-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let clock = Clock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_millis() as i64)
    });
    let store = Store::open(&dir, Options::new([7; 32], clock.clone()))?;
    let mailboxes = Mailboxes::open(store.clone(), clock.clone(), Limits::default());
    let account = mailboxes.create_account(AccountId(1), AccountOptions::default()).await?;
    for clients in [1, 10, 64] {
        deliver_all(&mailboxes, clients, 4000 / clients).await?;
    }
    fill(&mailboxes, &account, count).await?;
    let fresh = Mailboxes::open(store.clone(), clock, Limits::default());
    let outcome = read(&fresh, &fresh.account(AccountId(1)).await?, count).await;
    store.close().await;
    std::fs::remove_dir_all(&dir)?;
    outcome
}
