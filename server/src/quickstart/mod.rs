//! The demonstration: an organisation on loopback that anybody can start in a minute, with real messages.
//!
//! Every step can be repeated: a start that was killed half-way is completed by the next one. Passwords are made up and
//! kept first, so that an account never has a password that nobody knows.

mod client;
mod story;

use crate::init;
use crate::machine;
use crate::place::{Place, write_secret};
use crate::run::organisation::Organisation;
use crate::run::{self, Doors, Running};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use waypost_admin::settings::{Author, Edit, SettingsStore, save_change};
use waypost_directory::{Address, NewAccount, NewDomain, Recipient, Roles};
use waypost_mailbox::AccountOptions;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub const HOST: &str = "localhost";
const DOMAINS: [&str; 2] = ["contoso.test", "fabrikam.test"];
const PEOPLE: [(&str, &str); 4] = [
    ("amy@contoso.test", "Amy Alder"),
    ("ben@contoso.test", "Ben Birch"),
    ("carla@fabrikam.test", "Carla Cedar"),
    ("dan@fabrikam.test", "Dan Damson"),
];

/// Ports that need no privilege: the usual ones plus 2000.
const PORTS: [(&str, u16); 11] = [
    ("smtp", 2025),
    ("submission", 2587),
    ("submissions", 2465),
    ("lmtp", 2475),
    ("imap", 2143),
    ("imaps", 2993),
    ("pop3", 2110),
    ("pop3s", 2995),
    ("inner", 2444),
    ("api", 2901),
    ("metrics", 2900),
];

/// An account of the demonstration.
struct Person {
    address: String,
    password: String,
}

/// Runs until Ctrl-C.
pub async fn run(place: Place, auto_ports: bool, as_json: bool) -> Result<(), Failure> {
    place.create()?;
    let settings = settings(&place)?;
    let names = ["localhost", "mail.contoso.test", "mail.fabrikam.test", "127.0.0.1", "::1"];
    let organisation = Organisation::open(&place, &names, &settings.current()).await?;
    let people = set_up(&organisation).await?;
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, if auto_ports { 0 } else { port }));
    let doors: Doors = PORTS.iter().map(|(name, port)| (*name, vec![address(*port)])).collect();
    let running = Running::start(&organisation, settings, Roles::ALL, doors).await?;
    answers(&running).await?;
    if as_json {
        println!("{}", ready(&place, &running, &people)?);
    } else {
        story::tell(&place, &running, &people).await?;
    }
    run::until_stopped(running, organisation).await;
    Ok(())
}

/// The settings of the data folder; at the first start with what suits a demonstration.
fn settings(place: &Place) -> Result<Arc<SettingsStore>, Failure> {
    // Until the passwords are there, the first start has not come so far; saying the same twice changes nothing.
    if !place.demonstration().exists() {
        init::first_settings(place)?;
        let author = Author {
            who: "quickstart".into(),
            when: machine::clock().now(),
            command: "quickstart".into(),
            ..Author::default()
        };
        let edits = [
            Edit::set("server.name", &HOST.to_owned()),
            Edit::set("imap.protocol_log_enabled", &true),
            Edit::set("pop.protocol_log_enabled", &true),
            Edit::set("smtp.protocol_log_enabled", &true),
            // Four accounts stand for a whole organisation here, and one machine for all of its clients.
            Edit::set("imap.max_connections_per_user", &20_000),
            Edit::set("pop.max_connections_per_user", &20_000),
            Edit::set("smtp.max_connections_per_source", &5_000),
        ];
        save_change(place.root(), &edits, &author)?;
    }
    Ok(Arc::new(SettingsStore::open(place.root())?))
}

/// Domains, accounts and their mailboxes: what is missing of them.
async fn set_up(organisation: &Organisation) -> Result<Vec<Person>, Failure> {
    let people = passwords(&organisation.place)?;
    let directory = &organisation.directory;
    for domain in DOMAINS {
        if directory.snapshot().domain(domain).is_none() {
            directory.add_domain(NewDomain::new(domain)).await?;
        }
    }
    for (person, (address, name)) in people.iter().zip(PEOPLE) {
        let account = match directory.resolve(address) {
            Recipient::Account { account, .. } => account,
            _ => {
                let mut new = NewAccount::new(name);
                new.primary = Some(Address::parse(address)?);
                new.alias = address.split('@').next().map(str::to_owned);
                new.password = Some(person.password.clone());
                if address == PEOPLE[0].0 {
                    // RFC 5321 §4.5.1: somebody has to read what is sent to postmaster.
                    new.others = DOMAINS
                        .iter()
                        .map(|d| Address::parse(&format!("postmaster@{d}")))
                        .collect::<Result<_, _>>()?;
                }
                directory.add_account(new).await?
            }
        };
        if organisation.mailboxes.account(account.id).await.is_err() {
            organisation.mailboxes.create_account(account.id, AccountOptions::default()).await?;
        }
    }
    Ok(people)
}

/// Made up at the first start, read at later ones.
fn passwords(place: &Place) -> Result<Vec<Person>, Failure> {
    let file = place.demonstration();
    let known: BTreeMap<String, String> = match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let made =
                PEOPLE.iter().map(|(address, _)| ((*address).to_owned(), machine::password())).collect();
            write_secret(&file, &serde_json::to_vec_pretty(&made)?)?;
            made
        }
        Err(e) => return Err(e.into()),
    };
    let find = |address: &str| {
        known.get(address).cloned().ok_or_else(|| format!("{address} is not in {}", file.display()))
    };
    PEOPLE
        .iter()
        .map(|(address, _)| Ok(Person { address: (*address).to_owned(), password: find(address)? }))
        .collect()
}

/// Every listener greets, or at least takes a connection where TLS comes first.
async fn answers(running: &Running) -> Result<(), Failure> {
    for (name, address) in running.addresses() {
        let mut stream =
            TcpStream::connect(address).await.map_err(|e| format!("{name} at {address}: {e}"))?;
        if !name.ends_with("s") && !matches!(name, "metrics" | "inner" | "api") {
            let mut greeting = [0; 1];
            stream
                .read_exact(&mut greeting)
                .await
                .map_err(|e| format!("{name} at {address} is silent: {e}"))?;
        }
    }
    Ok(())
}

fn ready(place: &Place, running: &Running, people: &[Person]) -> io::Result<Value> {
    let listeners: serde_json::Map<String, Value> = running
        .addresses()
        .into_iter()
        .map(|(name, address)| (name.to_owned(), address.to_string().into()))
        .collect();
    let accounts: Vec<Value> =
        people.iter().map(|p| json!({ "address": p.address, "password": p.password })).collect();
    Ok(json!({
        "listeners": listeners,
        "accounts": accounts,
        "waypost": std::env::current_exe()?,
        "data": place.root(),
    }))
}
