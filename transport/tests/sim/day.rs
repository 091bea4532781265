//! A day of a busy server: a million messages to a hundred domains, each of which is down for an hour of its own. For the
//! night, in a release build (`./test nightly`); `WAYPOST_SIM_MESSAGES` is another number. A quiet day is among the
//! tests of every hour.

use crate::internet::{Names, Peers, network, random};
use crate::site::{BEGIN, Hands, Seen, Site, populate, settings};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::time::sleep;
use waypost_store::Model;

const DOMAINS: u64 = 100;
const CLIENTS: u64 = 10;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How often each message was taken by another server.
type Taken = Arc<Mutex<Vec<u8>>>;

/// A server that takes everything, as long as its connections live.
async fn sink(stream: DuplexStream, taken: Taken) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut answer) = (String::new(), "220 sink ESMTP\r\n");
    let (mut data, mut number) = (false, None);
    loop {
        if !answer.is_empty() && stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        answer = "";
        if data {
            if let Some(found) = line.strip_prefix("Subject: number ") {
                number = found.trim().parse::<usize>().ok();
            } else if line == ".\r\n" {
                data = false;
                let mut taken = taken.lock().unwrap();
                if let Some(times) = number.take().and_then(|number| taken.get_mut(number)) {
                    *times = times.saturating_add(1);
                }
                answer = "250 taken\r\n";
            }
            continue;
        }
        answer = match line.get(..4).unwrap_or_default() {
            "EHLO" => "250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
            "DATA" => {
                data = true;
                "354 go\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
    }
}

fn address(domain: u64) -> String {
    format!("198.51.100.{}:25", domain + 1)
}

/// Each domain's server goes down once, for an hour.
async fn outages(peers: Peers, taken: Taken, domain: u64, at: Duration) {
    let up = |peers: &Peers| {
        let taken = taken.clone();
        peers.listen(&address(domain), Arc::new(move |stream| Box::pin(sink(stream, taken.clone()))));
    };
    up(&peers);
    sleep(at).await;
    peers.gone(&address(domain));
    sleep(Duration::from_secs(3600)).await;
    up(&peers);
}

async fn client(site: Arc<Site>, next: Arc<AtomicU64>, messages: u64) {
    let pause = DAY.mul_f64(0.9).mul_f64(CLIENTS as f64 / messages as f64);
    let mut client = site.connect();
    client.reply().await;
    client.say("EHLO client.example").await;
    let mut sent = 0;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= messages {
            return;
        }
        sleep(pause).await;
        sent += 1;
        // Who is silent for minutes is sent away.
        if sent % 1000 == 0 || pause > Duration::from_secs(60) {
            client = site.connect();
            client.reply().await;
            client.say("EHLO client.example").await;
        }
        client.say("MAIL FROM:<ann@contoso.test>").await;
        let answer = client.say(&format!("RCPT TO:<p@d{}.example>", number % DOMAINS)).await;
        assert!(answer.starts_with("250"), "{answer}");
        client.say("DATA").await;
        let text =
            format!("Message-ID: <m{number}@client.example>\r\nSubject: number {number}\r\n\r\nhello\r\n.");
        let answer = client.say(&text).await;
        assert!(answer.starts_with("250"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_day() {
    a_day(1000).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes minutes in a release build; for the night"]
async fn a_day_with_a_million_messages() {
    let messages = std::env::var("WAYPOST_SIM_MESSAGES").ok().and_then(|n| n.parse().ok());
    a_day(messages.unwrap_or(1_000_000)).await;
}

/// Octets of memory that this process has for itself.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

async fn a_day(messages: u64) {
    let clock = Hands::new(BEGIN).clock();
    let model = Arc::new(Model::new(clock.clone()));
    populate(model.clone(), clock.clone()).await;
    let (peers, taken) = (Peers::default(), Taken::default());
    taken.lock().unwrap().resize(usize::try_from(messages).unwrap(), 0);
    let mut names = Names::default();
    let roll = random(1);
    for domain in 0..DOMAINS {
        let (name, host) = (format!("d{domain}.example"), format!("mx.d{domain}.example"));
        let ip = address(domain).replace(":25", "");
        names = names.mx(&name, &[(10, &host)]).a(&host, &[&ip]);
        let at = Duration::from_secs(roll() % (20 * 3600));
        tokio::spawn(outages(peers.clone(), taken.clone(), domain, at));
    }
    let seen = Some(Arc::new(Seen { silent: true, ..Seen::default() }));
    let site = Site::start(model, Arc::default(), clock, network(names, &peers), settings(), seen).await;
    let site = Arc::new(site);
    let before = memory();
    let next = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(client(site.clone(), next.clone(), messages))).collect();
    for client in clients {
        client.await.unwrap();
    }
    let mut waited = 0;
    while !site.hub.queue().is_empty() {
        sleep(Duration::from_secs(60)).await;
        waited += 1;
        assert!(
            waited < 6 * 60,
            "still in the queue: {:?}",
            site.hub.queue().list_queues(|q| q.message_count > 0)
        );
    }
    let taken = taken.lock().unwrap();
    // Nothing stays of what has gone: not in rows, and next to nothing in memory.
    let grown = memory().saturating_sub(before);
    println!("{messages} messages left {} KiB", grown >> 10);
    // By day there are other tests in this process.
    assert!(messages < 100_000 || grown < 256 << 20, "{grown} octets are left of {messages} messages");
    let wrong: Vec<usize> = (0..taken.len()).filter(|n| taken[*n] != 1).take(20).collect();
    assert!(wrong.is_empty(), "not delivered once: {wrong:?}");
}
