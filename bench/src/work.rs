//! The kinds of work. Each returns named figures; times are seconds, memory and latency come from the caller or here.

use crate::Args;
use crate::message::compose;
use crate::wire::{Wire, tls_config};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub type Figures = Vec<(&'static str, f64)>;

pub async fn run(work: &str, args: &Args) -> io::Result<Figures> {
    match work {
        "deliver" => deliver(args).await,
        "append" => append(args).await,
        "fill" => fill(args).await,
        "imap" => imap(args).await,
        "bodies" => bodies(args).await,
        "login" => login(args).await,
        "idle" => idle(args).await,
        "pop3" => pop3(args).await,
        other => Err(io::Error::other(format!("no such work: {other:?}"))),
    }
}

fn tls(args: &Args) -> Option<Arc<rustls::ClientConfig>> {
    args.has("tls").then(tls_config)
}

/// Messages in all users' INBOXes.
async fn visible(port: u16, users: &[(String, String)]) -> io::Result<usize> {
    let mut total = 0;
    for (user, password) in users {
        let mut wire = Wire::imap_login(port, None, user, password).await?;
        wire.send(b"s STATUS INBOX (MESSAGES)\r\n").await?;
        let (line, _) = wire.until("* STATUS").await?;
        let count = line.rsplit_once("MESSAGES ").and_then(|(_, n)| n.trim_end_matches(')').parse().ok());
        total += count.unwrap_or(0usize);
        wire.ok("s").await?;
    }
    Ok(total)
}

/// SMTP or LMTP (`lmtp=1`) in, until the last message shows in IMAP.
async fn deliver(args: &Args) -> io::Result<Figures> {
    let users = args.users();
    let (port, imap) = (args.port("port"), args.port("imap"));
    let (connections, count, size) =
        (args.number("connections", 10), args.number("count", 2000), args.number("size", 4096));
    let before = visible(imap, &users).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let bodies: Arc<Vec<Vec<u8>>> = Arc::new((0..64).map(|n| compose(n, size)).collect());
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (next, bodies, users) = (Arc::clone(&next), Arc::clone(&bodies), users.clone());
        let greeting = if args.has("lmtp") { "LHLO load.test\r\n" } else { "EHLO load.test\r\n" };
        tasks.push(tokio::spawn(async move {
            let mut wire = Wire::connect(port, None).await?;
            wire.reply().await?;
            wire.send(greeting.as_bytes()).await?;
            wire.reply().await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return wire.send(b"QUIT\r\n").await;
                }
                let to = &users[number % users.len()].0;
                // Pipelined, as servers talk to each other.
                wire.send(format!("MAIL FROM:<load@example.net>\r\nRCPT TO:<{to}>\r\nDATA\r\n").as_bytes())
                    .await?;
                wire.reply().await?;
                wire.reply().await?;
                wire.reply().await?;
                let body = &bodies[number % bodies.len()];
                let mut data = Vec::with_capacity(body.len() + 40);
                data.extend_from_slice(format!("X-Number: {number}\r\n").as_bytes());
                data.extend_from_slice(body);
                data.extend_from_slice(b".\r\n");
                wire.send(&data).await?;
                wire.reply().await?;
            }
        }));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    let accepted = start.elapsed().as_secs_f64();
    while visible(imap, &users).await? < before + count {
        if start.elapsed() > Duration::from_secs(300) {
            return Err(io::Error::other("not all became visible in 300 s"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(vec![
        ("rate", count as f64 / seconds),
        ("accepted_rate", count as f64 / accepted),
        ("seconds", seconds),
    ])
}

/// APPEND of single messages over several connections.
async fn append(args: &Args) -> io::Result<Figures> {
    let users = args.users();
    let port = args.port("imap");
    let (connections, count, size) =
        (args.number("connections", 10), args.number("count", 2000), args.number("size", 4096));
    let start = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for c in 0..connections {
        let ((user, password), next) = (users[c % users.len()].clone(), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut wire = Wire::imap_login(port, None, &user, &password).await?;
            let body = compose(c as u64, size);
            while next.fetch_add(1, Ordering::Relaxed) < count {
                wire.send(format!("a APPEND INBOX (\\Seen) {{{}}}\r\n", body.len()).as_bytes()).await?;
                wire.until("+").await?;
                wire.send(&body).await?;
                wire.send(b"\r\n").await?;
                wire.ok("a").await?;
            }
            io::Result::Ok(())
        }));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(vec![("rate", count as f64 / start.elapsed().as_secs_f64())])
}

/// MULTIAPPEND import of `count` messages by one connection, `batch` at a time.
async fn fill(args: &Args) -> io::Result<Figures> {
    let (user, password) = args.users().into_iter().next().ok_or_else(|| io::Error::other("users="))?;
    let (count, batch, size) =
        (args.number("count", 10_000), args.number("batch", 100), args.number("size", 2048));
    let folder = if args.has("folder") { args.text("folder").to_owned() } else { "INBOX".to_owned() };
    let mut wire = Wire::imap_login(args.port("imap"), None, &user, &password).await?;
    if folder != "INBOX" {
        wire.command("c", &format!("CREATE {folder}")).await?;
    }
    let start = Instant::now();
    let mut number = 0;
    while number < count {
        let mut data = format!("a APPEND {folder}").into_bytes();
        for _ in 0..batch.min(count - number) {
            let mut body = compose(number as u64, size);
            if number % 10_000 == 77 {
                body.extend_from_slice(b"zebrafinch\r\n");
            }
            data.extend_from_slice(format!(" {{{}+}}\r\n", body.len()).as_bytes());
            data.extend_from_slice(&body);
            number += 1;
        }
        data.extend_from_slice(b"\r\n");
        wire.send(&data).await?;
        wire.ok("a").await?;
    }
    Ok(vec![("rate", count as f64 / start.elapsed().as_secs_f64())])
}

/// One client on a large folder: select, fetch, store, search; each time in seconds.
async fn imap(args: &Args) -> io::Result<Figures> {
    let (user, password) = args.users().into_iter().next().ok_or_else(|| io::Error::other("users="))?;
    let folder = args.text("folder");
    let mut wire = Wire::imap_login(args.port("imap"), None, &user, &password).await?;
    let mut figures = Figures::new();
    let select = format!("SELECT {folder}");
    let works: [(&'static str, &str); 12] = [
        ("select_first", &select),
        ("select", &select),
        ("fetch_flags", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"),
        ("fetch_flags_again", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"),
        ("fetch_envelope_first", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"),
        ("fetch_envelope_later", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"),
        ("store", "STORE 1:* +FLAGS (\\Flagged)"),
        ("store_silent", "STORE 1:* +FLAGS.SILENT (\\Answered)"),
        ("search_body", "SEARCH BODY zebrafinch"),
        ("search_text", "SEARCH TEXT zebrafinch"),
        ("search_subject", "SEARCH SUBJECT zebrafinch"),
        ("sort", "SORT (SUBJECT) UTF-8 ALL"),
    ];
    for (name, command) in works {
        let start = Instant::now();
        match wire.command("a", command).await {
            Ok(_) => figures.push((name, start.elapsed().as_secs_f64())),
            Err(e) => eprintln!("{name}: {e}"),
        }
    }
    Ok(figures)
}

/// Full bodies of a folder, in MB/s; `tls=1` over TLS.
async fn bodies(args: &Args) -> io::Result<Figures> {
    let (user, password) = args.users().into_iter().next().ok_or_else(|| io::Error::other("users="))?;
    let mut wire = Wire::imap_login(args.port("imap"), tls(args).as_ref(), &user, &password).await?;
    wire.command("s", &format!("EXAMINE {}", args.text("folder"))).await?;
    wire.command("zq7w", "FETCH 1:* (BODY.PEEK[])").await?;
    let start = Instant::now();
    // Tags that no body has at the start of a line.
    let bytes = wire.command("zq7x", "FETCH 1:* (BODY.PEEK[])").await?;
    Ok(vec![("mb_per_second", bytes as f64 / 1e6 / start.elapsed().as_secs_f64())])
}

/// Full TLS handshakes, each with one login.
async fn login(args: &Args) -> io::Result<Figures> {
    let users = args.users();
    let port = args.port("imap");
    let (connections, count) = (args.number("connections", 10), args.number("count", 1000));
    let config = tls_config();
    // The first login of each user pays for the password hash on both servers; the figure is of those who come back.
    for (user, password) in &users {
        Wire::imap_login(port, Some(&config), user, password).await?;
    }
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = Vec::new();
    for c in 0..connections {
        let ((user, password), next) = (users[c % users.len()].clone(), Arc::clone(&next));
        let config = Arc::clone(&config);
        tasks.push(tokio::spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < count {
                let mut wire = Wire::imap_login(port, Some(&config), &user, &password).await?;
                wire.command("o", "LOGOUT").await?;
            }
            io::Result::Ok(())
        }));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(vec![("rate", count as f64 / start.elapsed().as_secs_f64())])
}

fn resident_kib(pids: &str) -> f64 {
    let one = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("Pss:"));
        line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0)
    };
    pids.split(',').map(one).sum()
}

/// Processes whose name or parent's name marks them as the server's: `pid=N` and its descendants.
fn family(root: &str) -> String {
    let mut found = vec![root.to_owned()];
    let mut at = 0;
    while at < found.len() {
        let listing =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", found[at])).unwrap_or_default();
        found.extend(listing.split_whitespace().map(str::to_owned));
        at += 1;
    }
    found.join(",")
}

/// Idle connections: memory of the server for each, and how soon IDLE tells of a delivery.
async fn idle(args: &Args) -> io::Result<Figures> {
    let users = args.users();
    let (port, count) = (args.port("imap"), args.number("connections", 1000));
    let config = tls(args);
    let before = resident_kib(&family(args.text("pid")));
    let mut wires = Vec::with_capacity(count);
    for n in 0..count {
        let (user, password) = &users[n % users.len()];
        let mut wire = Wire::imap_login(port, config.as_ref(), user, password).await?;
        wire.command("s", "SELECT INBOX").await?;
        wire.send(b"i IDLE\r\n").await?;
        wire.until("+").await?;
        wire.rest();
        wires.push(wire);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = resident_kib(&family(args.text("pid")));
    let mut late: Vec<f64> = Vec::new();
    let mut sender = Wire::connect(args.port("port"), None).await?;
    sender.reply().await?;
    sender.send(b"EHLO load.test\r\n").await?;
    sender.reply().await?;
    for round in 0..args.number("rounds", 100) {
        let watched = round % users.len();
        let body = compose(round as u64, 2048);
        sender
            .send(
                format!("MAIL FROM:<l@example.net>\r\nRCPT TO:<{}>\r\nDATA\r\n", users[watched].0).as_bytes(),
            )
            .await?;
        for _ in 0..3 {
            sender.reply().await?;
        }
        sender.send(&[&body[..], b".\r\n"].concat()).await?;
        sender.reply().await?;
        let replied = Instant::now();
        loop {
            let (line, _) = wires[watched].until("* ").await?;
            if line.ends_with("EXISTS") {
                break;
            }
        }
        late.push(replied.elapsed().as_secs_f64() * 1000.0);
    }
    late.sort_by(f64::total_cmp);
    let p99 = late.get(late.len() * 99 / 100).copied().unwrap_or(0.0);
    Ok(vec![("kib_each", (after - before) / count as f64), ("exists_p99_ms", p99)])
}

/// RETR of everything, pipelined.
async fn pop3(args: &Args) -> io::Result<Figures> {
    let (user, password) = args.users().into_iter().next().ok_or_else(|| io::Error::other("users="))?;
    let count = args.number("count", 10_000);
    let mut wire = Wire::connect(args.port("pop3"), None).await?;
    wire.line().await?;
    for command in [format!("USER {user}\r\n"), format!("PASS {password}\r\n")] {
        wire.send(command.as_bytes()).await?;
        let line = wire.line().await?;
        if !line.starts_with("+OK") {
            return Err(io::Error::other(line));
        }
    }
    let start = Instant::now();
    let mut bytes = 0;
    let mut sent = 0;
    let mut got = 0;
    while got < count {
        while sent < count && sent < got + 100 {
            let burst: String =
                (sent..(sent + 50).min(count)).map(|n| format!("RETR {}\r\n", n + 1)).collect();
            sent = (sent + 50).min(count);
            wire.send(burst.as_bytes()).await?;
        }
        bytes += wire.until(".\r").await?.1;
        got += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(vec![("rate", count as f64 / seconds), ("mb_per_second", bytes as f64 / 1e6 / seconds)])
}
