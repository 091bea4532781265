//! What each door did: whether it opened, greeted, began TLS, and how it takes passwords and mail.

use super::certificate::{self, party};
use super::seen::{Door, Seen, Speaks, Upgrade};
use super::words::{is_inside, said};
use super::{Found, causes};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub fn judge(seen: &Seen, out: &mut Vec<Found>) {
    shut(seen, out);
    for door in &seen.doors {
        greeting(door, out);
        tls(door, out);
        if let Some(tls) = &door.tls {
            certificate::judge(seen, door, tls, out);
        }
        passwords(door, out);
        relay(door, out);
        signed_in(door, out);
        web(door, out);
    }
}

/// Characters of what a step found that its line shows; the JSON form has more.
const STEP_NOTE_MAX: usize = 60;

/// `tls 12.3 ms (TLSv1.3 …)`
pub fn step(step: &super::seen::Step) -> String {
    let note: String = step.note.chars().take(STEP_NOTE_MAX).collect();
    let more = if note.len() < step.note.len() { "…" } else { "" };
    let note = if note.is_empty() { note } else { format!(" ({note}{more})") };
    format!("{} {:.1} ms{note}", step.name, step.micros as f64 / 1000.0)
}

/// This machine has no way to addresses of that kind: nothing is learned about the server.
fn no_way_here(why: &str) -> bool {
    let why = why.to_ascii_lowercase();
    ["network is unreachable", "no route to host", "address family not supported", "cannot assign"]
        .iter()
        .any(|w| why.contains(w))
}

/// Doors that did not open. Of the usual ports of a service one is enough; a port that was promised has to open.
fn shut(seen: &Seen, out: &mut Vec<Found>) {
    let mut ports: BTreeMap<(Speaks, &str, u16), Vec<&Door>> = BTreeMap::new();
    for door in &seen.doors {
        ports.entry((door.speaks, door.host.as_str(), door.port)).or_default().push(door);
    }
    let open = |doors: &[&Door]| doors.iter().any(|d| d.refused.is_none());
    let mut services: BTreeMap<(Speaks, &str), bool> = BTreeMap::new();
    for ((speaks, host, _), doors) in &ports {
        *services.entry((*speaks, *host)).or_default() |= open(doors);
    }
    for ((speaks, host, port), doors) in &ports {
        let dead: Vec<&&Door> =
            doors.iter().filter(|d| d.refused.as_deref().is_some_and(|why| !no_way_here(why))).collect();
        if dead.is_empty() {
            continue;
        }
        let service_open = services.get(&(*speaks, *host)).copied().unwrap_or(false);
        let found = if open(doors) {
            let so = format!("{host} answers at port {port} by some of its addresses only.");
            Found::new(&causes::ONE_ADDRESS_DEAD, 0.8, format!("{} → {host}:{port}", party(*speaks)), host)
                .so(so)
        } else if !service_open || doors.iter().any(|d| d.promised) {
            unreachable(*speaks, host, *port, &dead)
        } else {
            continue;
        };
        out.push(
            dead.iter().fold(found, |found, door| {
                found.seen(door.place(), door.refused.clone().unwrap_or_default())
            }),
        );
    }
}

fn unreachable(speaks: Speaks, host: &str, port: u16, dead: &[&&Door]) -> Found {
    let timed = dead.iter().all(|d| d.refused.as_deref().is_some_and(|w| w.contains("time")));
    let so = if timed {
        format!(
            "Nothing came back from {host}:{port}: packets are dropped on the way, or the machine is down."
        )
    } else {
        format!("{host} refuses connections at port {port}: nothing listens there.")
    };
    // Many networks let nobody connect to port 25 of others.
    let blocked_here = port == 25 && timed;
    let confidence = if blocked_here { 0.55 } else { 0.92 };
    let found =
        Found::new(&causes::UNREACHABLE, confidence, format!("{} → {host}:{port}", party(speaks)), host)
            .so(so);
    if blocked_here {
        return found.untested(
            "Many networks block port 25 to the outside. Repeat from a machine whose network does not, or connect to another mail server's port 25 from here.",
        );
    }
    found
}

fn greeting(door: &Door, out: &mut Vec<Found>) {
    if door.refused.is_some() || door.speaks == Speaks::Web || door.tls_fault.is_some() {
        return;
    }
    let found = |confidence| Found::new(&causes::GREETING, confidence, leg(door), &door.host);
    let good = match door.speaks {
        Speaks::Imap => ["* OK", "* PREAUTH"].as_slice(),
        Speaks::Pop => &["+OK"],
        _ => &["220"],
    };
    let Some(first) = door.greeting.first() else {
        let why = door.broke.clone().unwrap_or_else(|| "it said nothing".into());
        let so = format!("{} takes connections and does not greet.", door.place());
        return out.push(found(0.85).seen(door.place(), why).so(so));
    };
    if !good.iter().any(|g| first.to_ascii_uppercase().starts_with(g)) {
        let so = format!("{} does not greet as a server for {} does.", door.place(), door.speaks.name());
        out.push(found(0.9).seen(door.place(), format!("greets with {:?}", said(&door.greeting))).so(so));
    } else if let Some(broke) = door.broke.as_ref().filter(|_| door.able().is_empty()) {
        let last = door.steps.last().map_or("the greeting", |s| s.name.as_str());
        let so = format!("{} breaks the conversation off after {last}.", door.place());
        out.push(found(0.7).seen(door.place(), format!("after {last}: {broke}")).so(so));
    }
}

fn leg(door: &Door) -> String {
    format!("{} → {}", party(door.speaks), door.place())
}

fn tls(door: &Door, out: &mut Vec<Found>) {
    match &door.upgrade {
        Upgrade::NotOffered => {
            let word = door.speaks.upgrade();
            let so = format!("{} does not offer {word}.", door.place());
            let fact = format!(
                "offers {}",
                if door.plain.is_empty() { "nothing".into() } else { said(&door.plain) }
            );
            out.push(
                Found::new(&causes::NO_STARTTLS, 0.93, leg(door), &door.host).seen(door.place(), fact).so(so),
            );
        }
        Upgrade::Refused(text) => {
            let so = format!("{} offers {} and then refuses it.", door.place(), door.speaks.upgrade());
            let found = Found::new(&causes::TLS_FAILS, 0.9, leg(door), &door.host);
            out.push(found.seen(door.place(), format!("{} → {text}", door.speaks.upgrade())).so(so));
        }
        Upgrade::NotTried | Upgrade::Done => {}
    }
    if let Some(fault) = &door.tls_fault {
        let found = Found::new(&causes::TLS_FAILS, 0.9, leg(door), &door.host)
            .seen(door.place(), fault.clone())
            .so(format!("No TLS connection to {} comes about: {fault}.", door.place()))
            .remedy(command(door));
        let found = if door.old_tls.is_empty() {
            found
        } else {
            found.seen(door.place(), format!("answers to {}", door.old_tls.join(", ")))
        };
        out.push(found);
    } else if !door.old_tls.is_empty() && door.speaks != Speaks::Smtp {
        // Between servers even old TLS is better than the clear text that would take its place.
        let text = format!("answers to {}", door.old_tls.join(", "));
        let so = format!("{} still takes {}.", door.place(), door.old_tls.join(" and "));
        out.push(Found::new(&causes::TLS_OLD, 0.9, leg(door), &door.host).seen(door.place(), text).so(so));
    }
}

/// How to look at it with what every machine has.
fn command(door: &Door) -> String {
    let start = match door.speaks {
        _ if door.implicit => "",
        Speaks::Imap => " -starttls imap",
        Speaks::Pop => " -starttls pop3",
        Speaks::Web => "",
        _ => " -starttls smtp",
    };
    let at = door.address.map_or_else(
        || door.host.clone(),
        |a| match a {
            IpAddr::V4(a) => a.to_string(),
            IpAddr::V6(a) => format!("[{a}]"),
        },
    );
    format!("openssl s_client -connect {at}:{} -servername {}{start}", door.port, door.host)
}

/// The sign-ins among capabilities that send the password as it is.
pub(super) fn clear_sign_ins(speaks: Speaks, able: &[String]) -> Vec<String> {
    let words =
        |line: &String| line.to_ascii_uppercase().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let weak = |m: &str| matches!(m, "PLAIN" | "LOGIN");
    let mut found = Vec::new();
    match speaks {
        Speaks::Imap => {
            let all: Vec<String> = able.iter().flat_map(words).collect();
            if !all.is_empty() && !all.iter().any(|w| w == "LOGINDISABLED") {
                found.push("LOGIN".to_owned());
            }
            found.extend(all.iter().filter(|w| w.strip_prefix("AUTH=").is_some_and(weak)).cloned());
        }
        Speaks::Pop => {
            for line in able {
                match words(line).split_first() {
                    Some((first, _)) if first == "USER" => found.push("USER".to_owned()),
                    Some((first, rest)) if first == "SASL" => {
                        found.extend(rest.iter().filter(|m| weak(m)).map(|m| format!("SASL {m}")));
                    }
                    _ => {}
                }
            }
        }
        Speaks::Smtp | Speaks::Submission => {
            for line in able {
                let line = line.replacen("AUTH=", "AUTH ", 1);
                if let Some((first, rest)) = words(&line).split_first()
                    && first == "AUTH"
                {
                    found.extend(rest.iter().filter(|m| weak(m)).map(|m| format!("AUTH {m}")));
                }
            }
        }
        Speaks::Web => {}
    }
    found.sort();
    found.dedup();
    found
}

/// Whether there is any way to sign in at all.
fn any_sign_in(speaks: Speaks, able: &[String]) -> bool {
    let has = |word: &str| able.iter().any(|l| l.to_ascii_uppercase().split_whitespace().any(|w| w == word));
    let starts = |word: &str| {
        able.iter().any(|l| l.to_ascii_uppercase().split_whitespace().any(|w| w.starts_with(word)))
    };
    match speaks {
        Speaks::Imap => !has("LOGINDISABLED") || starts("AUTH="),
        Speaks::Pop => able.iter().any(|l| {
            let l = l.to_ascii_uppercase();
            l.starts_with("USER") || l.starts_with("SASL ")
        }),
        Speaks::Submission => able.iter().any(|l| l.to_ascii_uppercase().starts_with("AUTH")),
        Speaks::Smtp | Speaks::Web => true,
    }
}

fn passwords(door: &Door, out: &mut Vec<Found>) {
    let clear = clear_sign_ins(door.speaks, &door.plain);
    if !door.implicit && !clear.is_empty() {
        let loopback = door.address.is_some_and(|a| a.to_canonical().is_loopback());
        let fact = format!("before TLS it offers {} ({})", clear.join(", "), said(&door.plain));
        let so = format!("{} takes passwords before TLS has begun.", door.place());
        let found =
            Found::new(&causes::PASSWORD_CLEAR, if loopback { 0.6 } else { 0.93 }, leg(door), &door.host)
                .seen(door.place(), fact)
                .so(so);
        out.push(if loopback {
            found.untested("It was asked over loopback, where some servers allow what they allow nowhere else. Repeat from another machine.")
        } else {
            found
        });
    }
    let able = door.able();
    // Without TLS none may be what was wanted, and that TLS is missing is told.
    if !able.is_empty() && door.tls.is_some() && !any_sign_in(door.speaks, able) {
        let so = format!("{} offers no way to sign in.", door.place());
        let fact = format!("with TLS it offers {}", said(able));
        out.push(Found::new(&causes::NO_SIGN_IN, 0.9, leg(door), &door.host).seen(door.place(), fact).so(so));
    }
}

fn relay(door: &Door, out: &mut Vec<Found>) {
    let Some(reply) = door.relay.as_deref().filter(|r| r.starts_with('2')) else { return };
    let inside = door.address.is_some_and(is_inside);
    let found = Found::new(&causes::OPEN_RELAY, if inside { 0.6 } else { 0.93 }, leg(door), &door.host)
        .seen(door.place(), format!("RCPT TO of a domain elsewhere, without a sign-in → {reply}"))
        .so(format!("{} accepts recipients elsewhere from anybody.", door.place()))
        .untested("No message was sent: whether it would refuse later, after DATA, is not known.");
    out.push(if inside {
        found.untested("It was asked from its own network, which it may trust. Repeat from outside.")
    } else {
        found
    });
}

fn signed_in(door: &Door, out: &mut Vec<Found>) {
    let Some(tried) = door.sign_in.as_ref().filter(|s| !s.worked) else { return };
    let upper = tried.said.to_ascii_uppercase();
    let password =
        upper.contains("AUTHENTICATIONFAILED") || upper.contains("5.7.8") || upper.starts_with("535");
    let so = if password {
        format!("{} says that the name or the password of {} is wrong.", door.place(), tried.user)
    } else {
        format!("{} refuses the sign-in, and does not say that it is the password.", door.place())
    };
    let found = Found::new(&causes::SIGN_IN, if password { 0.9 } else { 0.7 }, leg(door), &door.host)
        .seen(door.place(), format!("{} for {} → {}", tried.mechanism, tried.user, tried.said))
        .so(so);
    out.push(found);
}

fn web(door: &Door, out: &mut Vec<Found>) {
    if let Some(status) = door.http_status.filter(|s| *s >= 500) {
        let found = Found::new(&causes::HTTP_ERROR, 0.85, leg(door), &door.host)
            .seen(door.place(), format!("GET / → {status}"))
            .so(format!("{} answers with an error: {status}.", door.place()));
        out.push(found);
    }
}
