//! What is said to each service: from the greeting to the mailbox, or to the recipient of a message that is never sent.

use super::talk::{Dialect, Done, Fault, Said, Talk};
use crate::run::is_implicit;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use waypost_sasl::Mechanism;
use waypost_trust::channel::TlsConnect;

/// Mechanisms that are tried, of those that are offered: the ones that need nothing but a name and a password.
const TRIED: [Mechanism; 6] = [
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha1,
    Mechanism::Plain,
    Mechanism::Login,
];

/// How often, and after which pause, a maildrop that is still in use is tried again.
const IN_USE_TRIES: u8 = 10;
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// How somebody signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The protocol's own command: LOGIN, USER and PASS.
    Command,
    Mechanism(Mechanism),
}

impl Way {
    pub fn name(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Way::Command, Dialect::Pop) => "USER/PASS",
            (Way::Command, _) => "LOGIN command",
            (Way::Mechanism(mechanism), _) => mechanism.name(),
        }
    }
}

/// What is known of a door before it is spoken to.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub door: &'static str,
    pub at: SocketAddr,
    /// A door without TLS is a fault only where the settings promise it.
    pub wants_tls: bool,
}

/// The account that tries, and the name that clients would ask TLS for.
#[derive(Clone, Debug)]
pub struct Who {
    pub address: String,
    pub password: String,
    pub host: String,
}

/// What a door offered once TLS stood.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    pub ways: Vec<Way>,
    /// Ways that are offered before TLS.
    pub in_clear: Vec<Way>,
}

pub fn dialect(door: &str) -> Dialect {
    match door {
        "imap" | "imaps" => Dialect::Imap,
        "pop3" | "pop3s" => Dialect::Pop,
        _ => Dialect::Smtp,
    }
}

/// Connects, greets, starts TLS; tells what is offered.
pub async fn reach(talk: &mut Talk, target: &Target, who: &Who, tls: &dyn TlsConnect) -> Done<Offer> {
    if is_implicit(target.door) {
        let begun = Instant::now();
        let done = talk.start_tls(tls, &who.host).await;
        talk.note("tls", begun, done)?;
    }
    let begun = Instant::now();
    let greeted = greet(talk, target).await;
    talk.note("greeting", begun, greeted)?;
    let begun = Instant::now();
    let said = capabilities(talk, target).await;
    let said = talk.note("capability", begun, said)?;
    let mut offer = Offer { ways: ways(target, &said), in_clear: Vec::new() };
    if is_implicit(target.door) || target.door == "lmtp" {
        return Ok(offer);
    }
    let word = if target.door == "pop3" { "STLS" } else { "STARTTLS" };
    if !said.has(word) {
        if target.wants_tls {
            let fault =
                Fault::new(talk.manner.tls, format!("{word} is not offered: no certificate can be shown"));
            return Err(fault.seen(said.lines.join(" / ")));
        }
        return Ok(offer);
    }
    offer.in_clear = std::mem::take(&mut offer.ways);
    let begun = Instant::now();
    let done = upgrade(talk, word, who, tls).await;
    talk.note("tls", begun, done)?;
    let begun = Instant::now();
    let said = capabilities(talk, target).await;
    let said = talk.note("capability", begun, said)?;
    offer.ways = ways(target, &said);
    Ok(offer)
}

/// Up to the ways that are offered, where the line is private from the beginning.
pub async fn reach_by(talk: &mut Talk, door: &'static str) -> Done<Vec<Way>> {
    let target = Target { door, at: SocketAddr::from(([127, 0, 0, 1], 0)), wants_tls: false };
    let begun = Instant::now();
    let greeted = greet(talk, &target).await;
    talk.note("greeting", begun, greeted)?;
    let begun = Instant::now();
    let said = capabilities(talk, &target).await;
    let said = talk.note("capability", begun, said)?;
    Ok(ways(&target, &said))
}

/// Only up to the greeting, without TLS: for what is offered in clear.
pub async fn reach_in_clear(talk: &mut Talk, target: &Target) -> Done {
    let begun = Instant::now();
    let greeted = greet(talk, target).await;
    talk.note("greeting", begun, greeted)?;
    let begun = Instant::now();
    let said = capabilities(talk, target).await;
    talk.note("capability", begun, said).map(drop)
}

async fn greet(talk: &mut Talk, target: &Target) -> Done {
    let said = match dialect(target.door) {
        // Untagged, and so not what `answer` looks for.
        Dialect::Imap => Said { lines: vec![talk.line("the connection").await?] },
        _ => talk.answer("the connection").await?,
    };
    let good = match dialect(target.door) {
        Dialect::Imap => said.last().starts_with("* OK"),
        Dialect::Pop => said.last().starts_with("+OK"),
        Dialect::Smtp => said.last().starts_with("220"),
    };
    if good {
        return Ok(());
    }
    Err(Fault::new(talk.manner.greeting, format!("the greeting is {:?}", said.last())))
}

async fn capabilities(talk: &mut Talk, target: &Target) -> Done<Said> {
    let command = match target.door {
        "imap" | "imaps" => "CAPABILITY".to_owned(),
        "pop3" | "pop3s" => "CAPA".to_owned(),
        "lmtp" => format!("LHLO {}", talk.manner.name),
        _ => format!("EHLO {}", talk.manner.name),
    };
    let said = talk.ask(&command).await?;
    if !talk.is_good(&said) {
        return Err(Fault::new(talk.manner.greeting, format!("{command} is answered {:?}", said.last())));
    }
    if dialect(target.door) == Dialect::Pop { talk.rest(&command).await } else { Ok(said) }
}

fn ways(target: &Target, said: &Said) -> Vec<Way> {
    let mut ways = Vec::new();
    match dialect(target.door) {
        Dialect::Imap if !said.has("LOGINDISABLED") => ways.push(Way::Command),
        Dialect::Pop if said.lines.iter().any(|l| l.eq_ignore_ascii_case("USER")) => ways.push(Way::Command),
        _ => {}
    }
    let offered = |m: &Mechanism| match dialect(target.door) {
        Dialect::Imap => {
            let wanted = format!("AUTH={}", m.name());
            said.lines.iter().any(|l| l.split(' ').any(|w| w.eq_ignore_ascii_case(&wanted)))
        }
        Dialect::Pop => mechanisms_of(said, "SASL").any(|w| w.eq_ignore_ascii_case(m.name())),
        Dialect::Smtp => mechanisms_of(said, "AUTH").any(|w| w.eq_ignore_ascii_case(m.name())),
    };
    ways.extend(TRIED.into_iter().filter(offered).map(Way::Mechanism));
    ways
}

/// `250-AUTH PLAIN LOGIN`, `SASL PLAIN LOGIN`
fn mechanisms_of<'a>(said: &'a Said, word: &'a str) -> impl Iterator<Item = &'a str> {
    said.lines
        .iter()
        .filter_map(move |line| {
            let bare = line.strip_prefix("250").map_or(line.as_str(), |l| l.get(1..).unwrap_or_default());
            let (first, rest) = bare.split_once(' ')?;
            first.eq_ignore_ascii_case(word).then_some(rest)
        })
        .flat_map(|rest| rest.split(' '))
}

async fn upgrade(talk: &mut Talk, word: &str, who: &Who, tls: &dyn TlsConnect) -> Done {
    let said = talk.ask(word).await?;
    if !talk.is_good(&said) {
        return Err(Fault::new(talk.manner.tls, format!("{word} is answered {:?}", said.last())));
    }
    talk.start_tls(tls, &who.host).await
}

/// Signs in; whatever is not a success is a fault, by what was said.
pub async fn sign_in(talk: &mut Talk, door: &str, way: Way, who: &Who) -> Done {
    let begun = Instant::now();
    let mut done = try_sign_in(talk, door, way, who).await;
    for _ in 0..IN_USE_TRIES {
        // A maildrop is for one session; the probe before this one may be about to give it back (RFC 1939 §4).
        match &done {
            Err(fault) if fault.text.contains("[IN-USE]") => {}
            _ => break,
        }
        tokio::time::sleep(IN_USE_PAUSE).await;
        done = try_sign_in(talk, door, way, who).await;
    }
    talk.note("sign-in", begun, done)
}

async fn try_sign_in(talk: &mut Talk, door: &str, way: Way, who: &Who) -> Done {
    let dialect = dialect(door);
    let said = match (way, dialect) {
        (Way::Mechanism(mechanism), _) => talk.authenticate(mechanism, &who.address, &who.password).await?,
        (Way::Command, Dialect::Pop) => {
            talk.mechanism = Some(way.name(dialect).to_owned());
            let named = talk.ask(&format!("USER {}", who.address)).await?;
            if talk.is_good(&named) { talk.ask(&format!("PASS {}", who.password)).await? } else { named }
        }
        (Way::Command, _) => {
            talk.mechanism = Some("LOGIN".to_owned());
            talk.ask(&format!("LOGIN {} {}", who.address, who.password)).await?
        }
    };
    if talk.is_good(&said) {
        return Ok(());
    }
    let text = format!("{} with the right password is answered {:?}", way.name(dialect), said.last());
    Err(Fault::new(talk.manner.sign_in, text))
}

/// What somebody does who is signed in. Nothing is changed by it.
pub async fn use_it(talk: &mut Talk, door: &str, who: &Who) -> Done {
    let begun = Instant::now();
    let (name, done) = match dialect(door) {
        Dialect::Imap => {
            ("mailbox", want(talk, &["SELECT INBOX", "NOOP", "LOGOUT"], talk.manner.mailbox).await)
        }
        Dialect::Pop => ("mailbox", want(talk, &["STAT", "NOOP", "QUIT"], talk.manner.mailbox).await),
        Dialect::Smtp => {
            let from = format!("MAIL FROM:<{}>", who.address);
            ("recipient", submit(talk, &from, who).await)
        }
    };
    talk.note(name, begun, done)
}

/// A message from a stranger to somebody here, up to its recipient.
pub async fn deliver(talk: &mut Talk, who: &Who) -> Done {
    let begun = Instant::now();
    let done = submit(talk, "MAIL FROM:<>", who).await;
    talk.note("recipient", begun, done)
}

async fn submit(talk: &mut Talk, from: &str, who: &Who) -> Done {
    let to = format!("RCPT TO:<{}>", who.address);
    want(talk, &[from, &to, "RSET", "QUIT"], talk.manner.submit).await
}

async fn want(talk: &mut Talk, commands: &[&str], cause: waypost_base::explain::Cause) -> Done {
    for command in commands {
        let said = talk.ask(command).await?;
        if !talk.is_good(&said) {
            return Err(Fault::new(cause, format!("{command} is answered {:?}", said.last())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(door: &'static str, lines: &[&str]) -> Vec<&'static str> {
        let target = Target { door, at: SocketAddr::from(([127, 0, 0, 1], 1)), wants_tls: true };
        let said = Said { lines: lines.iter().map(|l| (*l).to_owned()).collect() };
        ways(&target, &said).into_iter().map(|w| w.name(dialect(door))).collect()
    }

    #[test]
    fn offers_are_read() {
        assert_eq!(
            offered("imap", &["* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256", "OK done"]),
            ["SCRAM-SHA-256"]
        );
        assert_eq!(
            offered("imaps", &["* CAPABILITY IMAP4rev1 AUTH=PLAIN", "OK"]),
            ["LOGIN command", "PLAIN"]
        );
        assert_eq!(
            offered("pop3", &["USER", "SASL PLAIN SCRAM-SHA-256-PLUS", "STLS"]),
            ["USER/PASS", "SCRAM-SHA-256-PLUS", "PLAIN"]
        );
        assert_eq!(
            offered("submission", &["250-host", "250-AUTH PLAIN LOGIN", "250 HELP"]),
            ["PLAIN", "LOGIN"]
        );
        assert!(offered("submission", &["250-host", "250 STARTTLS"]).is_empty());
    }
}
