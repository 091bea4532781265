//! How many sign-ins by SCRAM-SHA-256 a running server makes in a second, by clients that keep their key.
//!
//! ```text
//! cargo run --release -p waypost-tests --example signin_speed -- imap|smtp HOST:PORT USER PASSWORD [SECONDS] [THREADS]
//! ```
//!
//! Each sign-in is a connection of its own, without TLS: a server on this machine counts it as secure. What is printed is the
//! server's work and this program's together, so that on two cores the server can do more than it says.

#![allow(clippy::unwrap_used, reason = "a measurement stops where something is wrong")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use waypost_sasl::{Bindings, ClientExchange, Credentials, Mechanism, Salted, wire};
use waypost_tests::line::Line;

const MECHANISM: Mechanism = Mechanism::ScramSha256;

fn start(user: &str, password: &str, kept: &Option<Salted>, nonce: u64) -> ClientExchange {
    let nonce = [nonce.to_be_bytes(), nonce.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()].concat();
    let credentials = Credentials::new(user, password);
    ClientExchange::start(MECHANISM, credentials, &Bindings::default(), &nonce)
        .unwrap()
        .recalling(kept.clone())
}

/// Answers challenges until the server says something else, which is returned.
fn converse(line: &mut Line, exchange: &mut ClientExchange, kept: &mut Option<Salted>, mark: &str) -> String {
    loop {
        let said = line.line().unwrap();
        let Some(challenge) = said.strip_prefix(mark) else { return said };
        let Ok(wire::Line::Response(challenge)) = wire::line(challenge.as_bytes()) else { return said };
        let response = exchange.step(&challenge).unwrap();
        if let Some(salted) = exchange.salted() {
            *kept = Some(salted);
        }
        line.send(format!("{}\r\n", wire::challenge(response.expose())).as_bytes()).unwrap();
    }
}

fn imap(to: SocketAddr, user: &str, password: &str, kept: &mut Option<Salted>, nonce: u64) {
    let mut line = Line::connect(to).unwrap();
    line.line().unwrap();
    let mut exchange = start(user, password, kept, nonce);
    let initial = wire::challenge(exchange.initial().unwrap().expose());
    line.send(format!("a AUTHENTICATE {MECHANISM} {initial}\r\n").as_bytes()).unwrap();
    let said = converse(&mut line, &mut exchange, kept, "+ ");
    assert!(said.starts_with("a OK"), "{said}");
}

fn smtp(to: SocketAddr, user: &str, password: &str, kept: &mut Option<Salted>, nonce: u64) {
    let mut line = Line::smtp_hello(to).unwrap();
    let mut exchange = start(user, password, kept, nonce);
    let initial = wire::challenge(exchange.initial().unwrap().expose());
    line.send(format!("AUTH {MECHANISM} {initial}\r\n").as_bytes()).unwrap();
    let said = converse(&mut line, &mut exchange, kept, "334 ");
    assert!(said.starts_with("235"), "{said}");
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [protocol, to, user, password, more @ ..] = words.as_slice() else {
        eprintln!("signin_speed imap|smtp HOST:PORT USER PASSWORD [SECONDS] [THREADS]");
        std::process::exit(2);
    };
    let number = |at: usize, usual: u64| more.get(at).map_or(usual, |text| text.parse().unwrap());
    let (seconds, threads) = (number(0, 5), number(1, 8));
    let to: SocketAddr = to.parse().unwrap();
    let sign_in = if protocol == "smtp" { smtp } else { imap };
    let (done, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let begun = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|thread| {
            let (done, over) = (done.clone(), over.clone());
            let (user, password) = (user.clone(), password.clone());
            std::thread::spawn(move || {
                let mut kept = None;
                let mut nonce = thread << 40;
                while !over.load(Ordering::Relaxed) {
                    nonce += 1;
                    sign_in(to, &user, &password, &mut kept, nonce);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(seconds));
    over.store(true, Ordering::Relaxed);
    let (count, took) = (done.load(Ordering::Relaxed), begun.elapsed());
    let whole = workers.into_iter().all(|worker| worker.join().is_ok());
    assert!(whole, "a sign-in failed");
    println!("{protocol}: {count} sign-ins in {took:.1?}, {:.0} a second", count as f64 / took.as_secs_f64());
}
