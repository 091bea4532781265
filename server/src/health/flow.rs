//! Mail on its way: real messages from health mailbox to health mailbox, by the doors that people use, timed, read, and
//! removed; one from a stranger; and a look at the servers that mail leaves by. What goes out is in [`super::out`].
//!
//! A probe's message has a Message-ID that begins with [`MARK`], by which searches for people leave it out.

use super::cause::{self, MANNER, STRANGER};
use super::client::{self, expect, without_mailbox};
use super::ground::{Ground, Spoken, Tried};
use super::refine;
use crate::machine;
use crate::probe::{Done, Fault, Talk, Way, say};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use waypost_base::explain::Party;
use waypost_directory::Account;
use waypost_health::Subject;

/// How Message-IDs of probes begin.
pub const MARK: &str = waypost_tracking::search::PROBES;
/// Between two looks into a mailbox.
pub const LOOK: Duration = Duration::from_millis(50);
pub const LOOK_MAX: Duration = Duration::from_millis(800);
/// A message may be so long on its way, however short the interval: queues have other work, too.
pub const ARRIVAL_MIN: Duration = Duration::from_secs(5);
/// Lines of an answer that are read.
const PEER_LINES_MAX: usize = 200;

pub fn message_id(ground: &Ground) -> String {
    let [a, b] = [machine::random::<8>(), machine::random::<8>()].map(u64::from_be_bytes);
    format!("{MARK}{a:016x}{b:016x}@{}", ground.here())
}

pub fn letter(from: &str, to: &str, id: &str) -> String {
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: health probe\r\nMessage-ID: <{id}>\r\nAuto-Submitted: auto-generated\r\n\r\nNobody needs to read this.\r\n"
    )
}

/// From the submission door to the mailbox of a server. `limit` is for the way, and again for the arrival.
pub async fn mail(ground: &Ground, mailbox: (&str, &Arc<Account>), limit: Duration) -> Tried {
    mail_named(ground, mailbox, limit).await.0
}

/// The same, with the Message-ID.
pub async fn mail_named(
    ground: &Ground,
    (home, account): (&str, &Arc<Account>),
    limit: Duration,
) -> (Tried, String) {
    let (tried, id) = submit(ground, &account.primary.to_string(), home, limit).await;
    if tried.fault.is_some() {
        (tried, id)
    } else {
        (arrives(ground, tried, (home, account), &id, limit).await, id)
    }
}

/// To any address; that it was taken is all that is seen.
pub async fn hand_in_for(ground: &Ground, address: &str, limit: Duration) -> (Tried, String) {
    let here = ground.here();
    submit(ground, address, &here, limit).await
}

async fn submit(ground: &Ground, to: &str, home: &str, limit: Duration) -> (Tried, String) {
    let id = message_id(ground);
    let door = ["submission", "submissions"]
        .into_iter()
        .find(|d| ground.target(d).is_some())
        .unwrap_or("submission");
    let Some((_, sender)) = ground.any_mailbox() else { return (without_mailbox(ground, door), id) };
    let target = match refine::target(ground, door) {
        Ok(target) => target,
        Err(tried) => return (*tried, id),
    };
    let from = ground.who(&sender);
    let said = ground
        .converse(&target, &MANNER, "mail.submit", limit, async |talk: &mut Talk| {
            let offer = say::reach(talk, &target, &from, &*ground.tls).await?;
            let plain = |way: &&Way| matches!(way, Way::Mechanism(waypost_sasl::Mechanism::Plain));
            let by = offer.ways.iter().find(plain).or_else(|| offer.ways.first());
            let Some(by) = by else { return Err(Fault::new(cause::NO_WAY, "no way to sign in is offered")) };
            say::sign_in(talk, door, *by, &from).await?;
            hand_in(talk, &from.address, to, &id).await
        })
        .await;
    (put(ground, door, None, way_of(ground, door, home), said), id)
}

/// From a stranger at the door for other servers to a mailbox.
pub async fn inbound(ground: &Ground, limit: Duration) -> Tried {
    let Some((home, account)) = ground.any_mailbox() else { return without_mailbox(ground, "smtp") };
    let target = match refine::target(ground, "smtp") {
        Ok(target) => target,
        Err(tried) => return *tried,
    };
    let (who, to, id) = (ground.who(&account), account.primary.to_string(), message_id(ground));
    let said = ground
        .converse(&target, &STRANGER, "mail.in", limit, async |talk: &mut Talk| {
            say::reach(talk, &target, &who, &*ground.tls).await?;
            hand_in(talk, "", &to, &id).await
        })
        .await;
    let mut tried = put(ground, "smtp", None, way_of(ground, "smtp", &home), said);
    if tried.fault.is_some() && !target.at.ip().is_loopback() {
        // Who comes from a network is looked up.
        tried.subject.push(Subject::Dns(ground.here()));
    }
    if tried.fault.is_some() { tried } else { arrives(ground, tried, (&home, &account), &id, limit).await }
}

fn way_of(ground: &Ground, door: &str, home: &str) -> Vec<Subject> {
    let here = ground.here();
    let mut way =
        vec![Subject::listener(&here, door), Subject::Directory(here.clone()), Subject::Queue(here.clone())];
    if home != here {
        way.push(Subject::leg(&here, home));
    }
    way.push(Subject::Store(home.to_owned()));
    way
}

fn put(ground: &Ground, door: &str, home: Option<&str>, way: Vec<Subject>, spoken: Spoken) -> Tried {
    let Spoken { leg, done, .. } = spoken;
    let Err(fault) = done else { return Tried::of(way).with(ground.closed(leg, Ok(()))) };
    let better = refine::refine(ground, door, home, &leg, &fault);
    let (leg, finding) = ground.closed(leg, Err::<(), _>(fault));
    let mut tried = Tried::of(way);
    tried.legs.push(leg);
    match better {
        Some(better) => {
            tried.legs.extend(better.leg);
            tried.subject.extend(better.through);
            tried.because(Some(better.finding), better.culprit)
        }
        None => tried.because(finding, None),
    }
}

pub async fn hand_in(talk: &mut Talk, from: &str, to: &str, id: &str) -> Done {
    let begun = Instant::now();
    let letter = letter(if from.is_empty() { "health@waypost.invalid" } else { from }, to, id);
    let commands = [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>")];
    let work = async |talk: &mut Talk| {
        for command in &commands {
            let said = talk.ask(command).await?;
            if !talk.is_good(&said) {
                return Err(Fault::new(
                    talk.manner.submit,
                    format!("{command} is answered {:?}", said.last()),
                ));
            }
        }
        let said = talk.ask("DATA").await?;
        if !said.last().starts_with("354") {
            return Err(Fault::new(talk.manner.submit, format!("DATA is answered {:?}", said.last())));
        }
        let said = talk.ask(&format!("{letter}.")).await?;
        if !talk.is_good(&said) {
            return Err(Fault::new(talk.manner.submit, format!("the message is answered {:?}", said.last())));
        }
        Ok(())
    };
    let done = work(talk).await;
    talk.note("message", begun, done)
}

/// Waits for the message, reads it and removes it: in the store where the mailbox is here, else by IMAP through the front
/// door. Where this server has no IMAP door, that the hub took it is all that can be seen.
async fn arrives(
    ground: &Ground,
    mut tried: Tried,
    (home, account): (&str, &Arc<Account>),
    id: &str,
    limit: Duration,
) -> Tried {
    let Some(door) = ["imaps", "imap"].into_iter().find(|d| ground.target(d).is_some()) else { return tried };
    let Some(target) = ground.target(door) else { return tried };
    let who = ground.who(account);
    let arrival = limit.max(ARRIVAL_MIN);
    let said = ground
        .converse(&target, &MANNER, "mail.arrive", limit + arrival, async |talk: &mut Talk| {
            let offer = say::reach(talk, &target, &who, &*ground.tls).await?;
            let plain =
                |way: &&Way| matches!(way, Way::Command | Way::Mechanism(waypost_sasl::Mechanism::Plain));
            let by = offer.ways.iter().find(plain).or_else(|| offer.ways.first());
            let Some(by) = by else { return Err(Fault::new(cause::NO_WAY, "no way to sign in is offered")) };
            say::sign_in(talk, door, *by, &who).await?;
            let begun = Instant::now();
            let done = fetch(talk, id, arrival).await;
            talk.note("arrival", begun, done)
        })
        .await;
    let Spoken { leg, done, .. } = said;
    let Err(fault) = done else {
        tried.legs.push(ground.closed(leg, Ok(())).0);
        return tried;
    };
    let late = fault.cause == cause::MAIL_LATE;
    if late {
        tried.subject.extend(by_hubs(ground));
    }
    if !late {
        // It was handed in well: what fails is the way to the mailbox.
        tried.subject = vec![
            Subject::listener(&ground.here(), door),
            Subject::Directory(ground.here()),
            Subject::Store(home.to_owned()),
        ];
        if home != ground.here() {
            tried.subject.push(Subject::leg(&ground.here(), home));
        }
    }
    let why = if late { waits(ground, home) } else { refine::refine(ground, door, Some(home), &leg, &fault) };
    let (leg, finding) = ground.closed(leg, Err::<(), _>(fault));
    tried.legs.push(leg);
    match why {
        Some(better) => {
            tried.legs.extend(better.leg);
            tried.subject.extend(better.through);
            tried.because(Some(better.finding), better.culprit)
        }
        None => tried.because(finding, None),
    }
}

/// A front end hands messages to any hub: which of them has kept one back is not known here.
fn by_hubs(ground: &Ground) -> Vec<Subject> {
    let (now, here) = (ground.snapshot(), ground.here());
    if ground.services.roles.transport {
        return Vec::new();
    }
    let hubs = now.servers().filter(|s| s.roles.transport && s.revoked.is_none() && s.id != here);
    hubs.map(|hub| Subject::leg(&here, &hub.id)).collect()
}

/// Looks into INBOX until the message is there, then removes it.
async fn fetch(talk: &mut Talk, id: &str, limit: Duration) -> Done {
    let until = Instant::now() + limit;
    let mut pause = LOOK;
    expect(talk, "SELECT INBOX").await?;
    loop {
        let said = talk.ask(&format!("UID SEARCH HEADER Message-ID {id}")).await?;
        let found =
            said.lines.iter().find_map(|l| l.strip_prefix("* SEARCH ")).map(str::trim).unwrap_or_default();
        let uids: Vec<&str> = found.split(' ').filter(|u| u.parse::<u32>().is_ok()).collect();
        if !uids.is_empty() {
            let set = uids.join(",");
            expect(talk, &format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)")).await?;
            return expect(talk, &format!("UID EXPUNGE {set}")).await.map(drop);
        }
        if Instant::now() + pause > until {
            let text = format!(
                "the message <{id}> was taken and is not in its mailbox after {:.1} s",
                limit.as_secs_f64()
            );
            return Err(Fault::new(cause::MAIL_LATE, text));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
        expect(talk, "NOOP").await?;
    }
}

/// What keeps mail for a server waiting.
pub fn waits(ground: &Ground, home: &str) -> Option<refine::Better> {
    let fault = super::queue::line_to(ground, home)?;
    let leg = ground.leg("queue", Party::new("hub", ground.here()));
    let finding = ground.finding(&leg, &fault.0);
    Some(refine::Better { finding, culprit: fault.1, leg: None, through: None })
}

/// A server that mail leaves by greets, and offers TLS where the connector wants it.
pub async fn smart_host(
    ground: &Ground,
    (host, port, wants_tls): (&str, u16, bool),
    limit: Duration,
) -> Tried {
    let begun = Instant::now();
    let work = async {
        let failed = |text: String| Fault::new(cause::SMART_HOST, text);
        let address = tokio::net::lookup_host((host, port)).await;
        let address = address.map_err(|e| failed(format!("{host} is not found: {e}")))?.next();
        let address = address.ok_or_else(|| failed(format!("{host} has no address")))?;
        let stream = TcpStream::connect(address).await;
        let stream =
            stream.map_err(|e| failed(format!("{host}:{port} ({address}) takes no connection: {e}")))?;
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        let read = tokio::io::AsyncReadExt::take(&mut stream, 2_000).read_until(b'\n', &mut line).await;
        read.map_err(|e| failed(format!("{host}:{port} does not greet: {e}")))?;
        if !line.starts_with(b"220") {
            let said = String::from_utf8_lossy(&line).trim().to_owned();
            return Err(failed(format!("{host}:{port} greets with {said:?}")));
        }
        if wants_tls && !offers_tls(&mut stream, &ground.services.settings.current().server.name).await {
            return Err(failed(format!(
                "{host}:{port} does not offer STARTTLS, and the connector wants TLS"
            )));
        }
        // It need not be told why.
        let _ = stream.get_mut().write_all(b"QUIT\r\n").await;
        Ok(())
    };
    let done = match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            let text = format!("{host}:{port} does not greet in {:.1} s", limit.as_secs_f64());
            Err(Fault::new(cause::SMART_HOST, text))
        }
    };
    let peer = Subject::Peer(host.to_owned());
    let looked = ground.looked("smtp.send", Party::new("smart host", format!("{host}:{port}")), begun, done);
    Tried { culprit: Some(peer.clone()), ..Tried::of(vec![peer]) }.with(looked)
}

/// What it answers to EHLO has STARTTLS in it.
async fn offers_tls(stream: &mut BufReader<TcpStream>, name: &str) -> bool {
    if stream.get_mut().write_all(format!("EHLO {name}\r\n").as_bytes()).await.is_err() {
        return false;
    }
    for _ in 0..PEER_LINES_MAX {
        let mut line = Vec::new();
        let read = tokio::io::AsyncReadExt::take(&mut *stream, 2_000).read_until(b'\n', &mut line).await;
        if line.to_ascii_uppercase().windows(8).any(|w| w == b"STARTTLS") {
            return true;
        }
        if !read.is_ok_and(|n| n > 0) || line.get(3) != Some(&b'-') {
            return false;
        }
    }
    false
}

/// A mail filter takes connections.
pub async fn filter(ground: &Ground, name: &str, limit: Duration) -> Tried {
    use waypost_transport::agents::milter::OpenMilter;
    let begun = Instant::now();
    let settings = ground.services.settings.current();
    let found = crate::run::transport::milters(&settings).into_iter().find(|f| f.name == name);
    let work = async {
        let Some(filter) = found else { return Ok(()) };
        let opened = crate::outbound::MilterOpener.open(filter.address.clone()).await;
        opened.map(drop).map_err(|e| Fault::new(cause::FILTER, format!("{name} takes no connection: {e}")))
    };
    let done = match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Fault::new(cause::FILTER, format!("{name} takes no connection in time"))),
    };
    let subject = Subject::Filter(name.to_owned());
    let looked = ground.looked("mail.filter", Party::new("mail filter", name), begun, done);
    Tried { culprit: Some(subject.clone()), ..Tried::of(vec![subject]) }.with(looked)
}

/// Sign-in and recipient at the submission door for a mailbox of a server; nothing is handed in.
pub async fn submission(ground: &Ground, mailbox: (&str, &Arc<Account>), limit: Duration) -> Tried {
    let door = ["submission", "submissions"].into_iter().find(|d| ground.target(d).is_some());
    client::ctp(ground, door.unwrap_or("submission"), mailbox, limit).await
}
