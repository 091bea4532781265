//! Probes as mail programs: each listener, each way to sign in, the mailbox behind, here or at another server.
//!
//! `ProxyTest` goes to a listener and asks what it offers; `DeepTest` signs in by every way that is offered and opens a
//! mailbox of this server; `CTP` does what people do, with a mailbox of each server: read, write, remove.

use super::cause::{self, MANNER, STRANGER};
use super::ground::{Ground, Spoken, Tried, nobody};
use super::refine;
use crate::probe::{Dialect, Done, Fault, Manner, Offer, Talk, Target, Way, Who, dialect, say};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waypost_base::explain::Party;
use waypost_directory::Account;
use waypost_health::Subject;

/// What goes into a health mailbox and out again.
const NOTE: &str =
    "From: health@waypost.invalid\r\nSubject: health probe\r\n\r\nNobody needs to read this.\r\n";

/// What a conversation went through, and the result of it.
struct Walk<'a> {
    ground: &'a Ground,
    target: &'a Target,
    /// The server that has the mailbox, where one is used.
    home: Option<&'a str>,
}

impl Walk<'_> {
    fn subjects(&self) -> Vec<Subject> {
        let here = self.ground.here();
        let mut all = vec![Subject::listener(&here, self.target.door), Subject::Directory(here.clone())];
        if let Some(home) = self.home {
            if home != here {
                all.push(Subject::leg(&here, home));
            }
            all.push(Subject::Store(home.to_owned()));
        }
        all
    }

    /// Puts a conversation into a result, with the cause that fits best.
    fn take(&self, tried: Tried, spoken: Spoken) -> Tried {
        let Spoken { mut leg, done, shown } = spoken;
        let done = done.map_err(|fault| match &shown {
            Some(c) => fault.seen(format!("certificate shown: {}, until {}", c.subject, c.not_after)),
            None => fault,
        });
        let Err(fault) = done else { return tried.with(self.ground.closed(leg, Ok(()))) };
        let better = refine::refine(self.ground, self.target.door, self.home, &leg, &fault);
        if let Some(home) = self.home {
            leg.acceptor = Party::new("listener", format!("{} for {home}", leg.acceptor.name));
        }
        let (mut leg, finding) = self.ground.closed(leg, Err::<(), _>(fault));
        match better {
            None => tried.with((leg, finding)),
            Some(refine::Better { finding, culprit, leg: other, through }) => {
                if let waypost_base::explain::Outcome::Failed { cause, .. } = &mut leg.outcome {
                    *cause = finding.cause;
                }
                let mut tried = tried;
                tried.legs.push(leg);
                tried.legs.extend(other);
                tried.subject.extend(through);
                tried.because(Some(finding), culprit)
            }
        }
    }
}

/// The listener answers: connection, TLS, greeting, what it offers.
pub async fn self_test(ground: &Ground, door: &'static str, limit: Duration) -> Tried {
    match refine::target(ground, door) {
        Ok(target) => greet(ground, target, limit).await,
        Err(tried) => *tried,
    }
}

/// The same of a further listener of a door.
pub async fn further(ground: &Ground, door: &'static str, listener: SocketAddr, limit: Duration) -> Tried {
    match ground.further_target(door, listener) {
        Some(target) => greet(ground, target, limit).await,
        // It was closed meanwhile, or its door is; that is told by the probes of the door.
        None => Tried::of(vec![Subject::listener(&ground.here(), door)]),
    }
}

async fn greet(ground: &Ground, target: Target, limit: Duration) -> Tried {
    let door = target.door;
    let way = Walk { ground, target: &target, home: None };
    let host = ground.services.settings.current().server.name.clone();
    let who = Who { address: String::new(), password: String::new(), host };
    let said = ground
        .converse(&target, &MANNER, &format!("{door}.self"), limit, async |talk: &mut Talk| {
            let offer = say::reach(talk, &target, &who, &*ground.tls).await?;
            any_way(talk.manner, door, &offer)
        })
        .await;
    way.take(Tried::of(way.subjects()), said)
}

fn any_way(manner: &Manner, door: &str, offer: &Offer) -> Done {
    if matches!(door, "smtp" | "lmtp") || !offer.ways.is_empty() || !offer.in_clear.is_empty() {
        return Ok(());
    }
    Err(Fault::new(manner.no_way, "no way to sign in is offered, not even under TLS"))
}

/// Every way to sign in that the listener offers, and the mailbox opened once. One leg for each way.
pub async fn deep_test(
    ground: &Ground,
    door: &'static str,
    (home, account): (&str, &Arc<Account>),
    limit: Duration,
) -> Tried {
    let target = match refine::target(ground, door) {
        Ok(target) => target,
        Err(tried) => return *tried,
    };
    let way = Walk { ground, target: &target, home: Some(home) };
    let who = ground.who(account);
    let _turn = turn(ground, door).await;
    let mut offer = Offer::default();
    let first = ground
        .converse(&target, &MANNER, &format!("{door}.deep"), limit, async |talk: &mut Talk| {
            offer = say::reach(talk, &target, &who, &*ground.tls).await?;
            any_way(talk.manner, door, &offer)?;
            let Some(first) = offer.ways.first() else { return Ok(()) };
            say::sign_in(talk, door, *first, &who).await?;
            say::use_it(talk, door, &who).await
        })
        .await;
    let good = first.done.is_ok();
    let mut tried = way.take(Tried::of(way.subjects()), first);
    if !good {
        return tried;
    }
    let under_tls = offer.ways.iter().skip(1).map(|way| (*way, true));
    let in_clear = offer.in_clear.iter().map(|way| (*way, false));
    for (by, private) in under_tls.chain(in_clear) {
        let name = format!("{door}.{}", if private { "sign-in" } else { "sign-in in clear" });
        let said = ground
            .converse(&target, &MANNER, &name, limit, async |talk: &mut Talk| {
                if private {
                    say::reach(talk, &target, &who, &*ground.tls).await?;
                } else {
                    say::reach_in_clear(talk, &target).await?;
                }
                say::sign_in(talk, door, by, &who).await
            })
            .await;
        tried = way.take(tried, said);
    }
    tried
}

/// What people do, from the front door to the store and back.
pub async fn ctp(
    ground: &Ground,
    door: &'static str,
    (home, account): (&str, &Arc<Account>),
    limit: Duration,
) -> Tried {
    let work = async |talk: &mut Talk, who: &Who| match dialect(door) {
        Dialect::Imap => read_and_write(talk).await,
        _ => say::use_it(talk, door, who).await,
    };
    one_way(ground, door, (home, account), limit, "ctp", work).await
}

async fn one_way(
    ground: &Ground,
    door: &'static str,
    (home, account): (&str, &Arc<Account>),
    limit: Duration,
    kind: &str,
    work: impl AsyncFnOnce(&mut Talk, &Who) -> Done,
) -> Tried {
    let target = match refine::target(ground, door) {
        Ok(target) => target,
        Err(tried) => return *tried,
    };
    let way = Walk { ground, target: &target, home: Some(home) };
    let who = ground.who(account);
    let _turn = turn(ground, door).await;
    let said = ground
        .converse(&target, &MANNER, &format!("{door}.{kind}"), limit, async |talk: &mut Talk| {
            let offer = say::reach(talk, &target, &who, &*ground.tls).await?;
            any_way(talk.manner, door, &offer)?;
            // What costs both ends least.
            let plain =
                |way: &&Way| matches!(way, Way::Command | Way::Mechanism(waypost_sasl::Mechanism::Plain));
            let Some(by) = offer.ways.iter().find(plain).or_else(|| offer.ways.first()) else {
                return Ok(());
            };
            say::sign_in(talk, door, *by, &who).await?;
            work(talk, &who).await
        })
        .await;
    way.take(Tried::of(way.subjects()), said)
}

/// A maildrop is for one session at a time (RFC 1939 §4).
async fn turn<'a>(ground: &'a Ground, door: &str) -> Option<tokio::sync::MutexGuard<'a, ()>> {
    if door.starts_with("pop3") { Some(ground.pop.lock().await) } else { None }
}

/// Puts a message into INBOX, reads it and removes it.
async fn read_and_write(talk: &mut Talk) -> Done {
    let begun = Instant::now();
    let done = expect(talk, "SELECT INBOX").await;
    talk.note("select", begun, done)?;
    let begun = Instant::now();
    let done = expect(talk, &format!("APPEND INBOX (\\Seen) {{{}+}}\r\n{NOTE}", NOTE.len())).await;
    let said = talk.note("append", begun, done)?;
    let uid =
        said.split("APPENDUID ").nth(1).and_then(|rest| rest.split([' ', ']']).nth(1)).map(str::to_owned);
    let Some(uid) = uid.filter(|uid| uid.parse::<u32>().is_ok()) else {
        return Err(Fault::new(talk.manner.mailbox, format!("APPEND is answered {said:?}, without a UID")));
    };
    let begun = Instant::now();
    let done =
        expect(talk, &format!("UID FETCH {uid} (RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")).await;
    talk.note("fetch", begun, done)?;
    let begun = Instant::now();
    let removed = async |talk: &mut Talk| {
        expect(talk, &format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)")).await?;
        expect(talk, &format!("UID EXPUNGE {uid}")).await
    };
    let done = removed(talk).await;
    talk.note("remove", begun, done).map(drop)
}

/// Sends a command whose answer must be good; its last line comes back.
pub async fn expect(talk: &mut Talk, command: &str) -> Done<String> {
    let said = talk.ask(command).await?;
    if talk.is_good(&said) {
        return Ok(said.last().to_owned());
    }
    let what: Vec<&str> = command.split([' ', '\r']).take(2).collect();
    Err(Fault::new(talk.manner.mailbox, format!("{} is answered {:?}", what.join(" "), said.last())))
}

/// SMTP and LMTP without a sign-in: a message from a stranger to somebody here, up to its recipient.
pub async fn stranger(ground: &Ground, door: &'static str, limit: Duration) -> Tried {
    let target = match refine::target(ground, door) {
        Ok(target) => target,
        Err(tried) => return *tried,
    };
    let Some((home, account)) = ground.any_mailbox() else { return without_mailbox(ground, door) };
    let way = Walk { ground, target: &target, home: None };
    let who = ground.who(&account);
    let said = ground
        .converse(&target, &STRANGER, &format!("{door}.deliver"), limit, async |talk: &mut Talk| {
            say::reach(talk, &target, &who, &*ground.tls).await?;
            say::deliver(talk, &who).await
        })
        .await;
    let _ = home;
    way.take(Tried::of(way.subjects()), said)
}

/// The probe has nobody to sign in as.
pub fn without_mailbox(ground: &Ground, door: &str) -> Tried {
    let here = ground.here();
    let to = Party::new("listener", door);
    let fault = Err(nobody());
    Tried::of(vec![Subject::Directory(here)]).with(ground.looked("mailbox", to, Instant::now(), fault))
}

/// HTTP and HTTPS on this machine: the administrators' interface and the figures.
pub async fn http(ground: &Ground, door: &'static str, limit: Duration) -> Tried {
    let here = ground.here();
    let target = match refine::target(ground, door) {
        Ok(target) => target,
        Err(tried) => return *tried,
    };
    let begun = Instant::now();
    let path = if door == "metrics" { "/metrics" } else { "/api/v1/" };
    let wanted: &[u16] = if door == "metrics" { &[200] } else { &[404] };
    let asked = async {
        let secure = door == "api" && !ground.is_near(door, target.at);
        match super::web::fetch(target.at, path, secure, ground).await {
            Ok(status) if wanted.contains(&status) => Ok(()),
            Ok(status) => Err(Fault::new(cause::ANSWER, format!("GET {path} is answered {status}"))),
            Err(e) => Err(Fault::new(cause::LISTENER, e)),
        }
    };
    let done = match tokio::time::timeout(limit, asked).await {
        Ok(done) => done,
        Err(_) => {
            let text = format!("GET {path} is not answered in {:.1} seconds", limit.as_secs_f64());
            Err(Fault::new(cause::TIMEOUT, text))
        }
    };
    let to = Party::new("listener", format!("{door} {}", target.at));
    let (leg, finding) = ground.looked(&format!("{door}.get"), to, begun, done);
    Tried::of(vec![Subject::listener(&here, door)]).with((leg, finding))
}

/// Doors that speak HTTP, or inner TLS.
pub fn http_door(door: &str) -> bool {
    matches!(door, "api" | "metrics" | "inner")
}

/// Puts a conversation of a command's into a result.
pub fn taken(ground: &Ground, target: &Target, home: &str, spoken: Spoken) -> Tried {
    let walk = Walk { ground, target, home: Some(home) };
    walk.take(Tried::of(walk.subjects()), spoken)
}
