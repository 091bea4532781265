//! What the demonstration tells: messages sent and read over the real listeners, and the legs that each took.

use super::client::Client;
use super::{Failure, Person};
use crate::place::Place;
use crate::run::Running;
use base64::Engine as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use waypost_base::explain::Leg;

/// Deliveries to several accounts follow the reply by a moment.
const LEGS_PATIENCE: Duration = Duration::from_secs(2);

struct Letter<'a> {
    door: &'static str,
    from: &'a str,
    /// Who signs in; nobody on the way in from outside.
    sender: Option<&'a Person>,
    to: Vec<&'a Person>,
    subject: &'static str,
    text: &'static str,
}

pub async fn tell(place: &Place, running: &Running, people: &[Person]) -> Result<(), Failure> {
    let [amy, ben, carla, dan] = people else { return Err("four accounts were expected".into()) };
    println!("Waypost {} serves the data folder {}\n", env!("CARGO_PKG_VERSION"), place.root().display());
    let letters = [
        Letter {
            door: "submission",
            from: &amy.address,
            sender: Some(amy),
            to: vec![ben],
            subject: "Lunch on Thursday?",
            text: "Noon at the usual place.\r\n",
        },
        Letter {
            door: "smtp",
            from: "orders@example.net",
            sender: None,
            to: vec![carla],
            subject: "Your order has been shipped",
            text: "It should arrive on Friday.\r\n",
        },
        Letter {
            door: "submission",
            from: &dan.address,
            sender: Some(dan),
            to: vec![amy, carla],
            subject: "Minutes of the meeting",
            text: "We agreed on everything.\r\n",
        },
    ];
    for letter in &letters {
        send(running, letter).await?;
    }
    read_back(running, ben).await?;
    print_access(place, running, people);
    Ok(())
}

fn address(running: &Running, door: &str) -> Result<SocketAddr, Failure> {
    let found = running.addresses().into_iter().find(|(name, _)| *name == door);
    found.map(|(_, address)| address).ok_or_else(|| format!("no listener {door}").into())
}

async fn send(running: &Running, letter: &Letter<'_>) -> Result<(), Failure> {
    let to: Vec<&str> = letter.to.iter().map(|p| p.address.as_str()).collect();
    let message = format!(
        "From: {}\r\nTo: {}\r\nSubject: {}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}",
        letter.from,
        to.join(", "),
        letter.subject,
        letter.text
    );
    let login = letter.sender.map(|p| {
        let plain = format!("\0{}\0{}", p.address, p.password);
        base64::engine::general_purpose::STANDARD.encode(plain)
    });
    running.legs().drain();
    let start = Instant::now();
    let mut client = Client::connect(address(running, letter.door)?).await?;
    let reply = client.submit(login.as_deref(), letter.from, &to, message.as_bytes()).await?;
    let took = start.elapsed();
    println!("{} → {}: \"{}\"", letter.from, to.join(", "), letter.subject);
    println!("  accepted in {:.1} ms: {reply}", took.as_secs_f64() * 1000.0);
    for leg in legs_of(running, letter.to.len()).await {
        println!("  leg: {leg}");
    }
    println!();
    Ok(())
}

/// The legs noted since the message was sent, when each recipient's delivery is among them or patience ends.
async fn legs_of(running: &Running, recipients: usize) -> Vec<Leg> {
    let start = Instant::now();
    let mut legs = Vec::new();
    loop {
        legs.extend(running.legs().drain());
        let delivered = legs.iter().filter(|leg| leg.operation.contains("deliver")).count();
        let received = legs.iter().any(|leg| leg.operation.contains("smtp"));
        if (delivered >= recipients && received) || start.elapsed() > LEGS_PATIENCE {
            return legs;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn read_back(running: &Running, reader: &Person) -> Result<(), Failure> {
    running.legs().drain();
    let start = Instant::now();
    let mut client = Client::connect(address(running, "imap")?).await?;
    let message = client.read_newest(&reader.address, &reader.password).await?;
    let took = start.elapsed();
    let text = String::from_utf8_lossy(&message);
    let subject = text.lines().find(|l| l.starts_with("Subject: ")).unwrap_or("Subject: (none)");
    println!("{} reads it over IMAP in {:.1} ms: {subject}", reader.address, took.as_secs_f64() * 1000.0);
    drop(client);
    for leg in running.legs().drain() {
        println!("  leg: {leg}");
    }
    println!();
    Ok(())
}

fn print_access(place: &Place, running: &Running, people: &[Person]) {
    println!("Connect a mail client (user name = address; the certificate is self-signed):");
    for (name, address) in running.addresses() {
        let how = match name {
            "smtp" => "SMTP from other servers",
            "submission" => "sending, STARTTLS",
            "submissions" => "sending, TLS",
            "lmtp" => "local delivery by LMTP",
            "imap" => "reading, STARTTLS (in clear on this machine only)",
            "imaps" => "reading, TLS",
            "pop3" => "fetching, STLS",
            "pop3s" => "fetching, TLS",
            "inner" => "the other servers of the organisation",
            "api" => "administration over HTTP: /api/v1/openapi.json",
            "metrics" => "figures for Prometheus: /metrics",
            _ => "",
        };
        println!("  {name:12} {address:22} {how}");
    }
    println!("\nAccounts:");
    for person in people {
        println!("  {:24} {}", person.address, person.password);
    }
    println!("\nCommands: waypost --data {} Get-Mailbox   (Get-Command lists all)", place.root().display());
    println!("Serving until Ctrl-C.");
}
