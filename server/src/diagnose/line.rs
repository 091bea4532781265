//! The words of `waypost diagnose`.

use super::outside::Question;
use super::{Telling, What, question};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::io::{BufRead, IsTerminal};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use waypost_diagnose::outside::seen::Kind;

const TEACHES: &str = "\
What can be diagnosed:
  waypost diagnose                            this organisation, live: alerts, legs, certificates, rights, queues
  waypost diagnose PATH                       artefacts of Exchange (or of Waypost): a folder, a zip or a file, as collected by
                                              ExchangeLogCollector or by hand; logs, event logs, outputs of commands, even pasted
                                              into prose. Files are recognised by what is in them
  waypost diagnose -                          the same, from standard input
  waypost diagnose imap mail.example.org      one service of any mail server, from outside; also pop, smtp, submission, web
  waypost diagnose autodiscover example.org   how Outlook, Thunderbird and telephones find their settings
  waypost diagnose mail example.org           a whole domain: MX, TLS, SPF, DKIM, DMARC, MTA-STS, DNSSEC, DANE, settings for clients
  waypost diagnose explain KRB-SKEW           what a cause means, how it is recognised and what to do

Every finding says what was seen and where, what follows, how sure that is, what to do, what fits as well and which test
tells them apart, and what was not looked at.

Examples:
  waypost diagnose logs.zip --html report.html
  Get-ServerHealth -Identity mbx1 | Out-String | waypost diagnose -
  waypost diagnose submission mail.example.org --user amy@example.org
  waypost diagnose imap mail.example.org --address 10.0.0.7 --port 1993 --ca corporate-root.pem
  waypost diagnose mail example.org --selector s2026 --json

Looking from outside takes half a minute at most, asks for no mail, and sends none: the test for open relaying ends before DATA.
A password goes over TLS only: as it is only to a server whose certificate is good for its name, else by SCRAM.

Exit codes: 0 it ran, whatever was found; 1 it could not be done (with --check also: something was found); 2 wrong usage;
3 there is no such cause.";

/// What can be asked for by a word.
pub const WORDS: [&str; 8] = ["imap", "pop", "smtp", "submission", "web", "autodiscover", "mail", "explain"];

pub fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let text = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let what = Arg::new("what")
        .value_name("WHAT")
        .help("PATH, -, imap, pop, smtp, submission, web, autodiscover, mail, explain");
    let outside = "From outside";
    Command::new("diagnose")
        .about("Find the cause: of this organisation's faults, in artefacts of Exchange, or of any mail server from outside")
        .after_help(TEACHES)
        .arg(what)
        .arg(Arg::new("whom").value_name("HOST|CODE").help("Host or domain, or the code of a cause"))
        .arg(flag("json").help("One document on standard output"))
        .arg(text("html", "FILE").value_parser(value_parser!(PathBuf)).help("Write a page that can be mailed"))
        .arg(flag("no-mask").help("Show people's addresses, passwords and tokens as they are"))
        .arg(flag("check").help("Exit code 1 when something is found"))
        .arg(text("port", "PORT").value_parser(value_parser!(u16)).help("This port only").help_heading(outside))
        .arg(text("address", "IP").value_parser(value_parser!(IpAddr)).help("Connect there, whatever the DNS says").help_heading(outside))
        .arg(text("tls", "KIND").value_parser(["implicit", "starttls"]).help("How TLS begins at that port [default: found out]").help_heading(outside))
        .arg(text("user", "NAME").help("Sign in as this user; the password is asked for, or read from standard input").help_heading(outside))
        .arg(text("selector", "NAME").action(ArgAction::Append).help("DKIM selector; may be given several times").help_heading(outside))
        .arg(text("dns", "IP[:PORT]").action(ArgAction::Append).help("Ask this name server [default: this machine's]").help_heading(outside))
        .arg(text("ca", "FILE").value_parser(value_parser!(PathBuf)).help("Trust these authorities too (PEM)").help_heading(outside))
        .arg(text("anchor", "FILE").value_parser(value_parser!(PathBuf)).help("Trust these DNSSEC keys too (DS or DNSKEY records)").help_heading(outside))
        .arg(text("https-port", "PORT").value_parser(value_parser!(u16)).help("Port of web servers [default: 443]").hide(true))
        .arg(text("http-port", "PORT").value_parser(value_parser!(u16)).help("Port of web servers in the clear [default: 80]").hide(true))
}

pub(super) fn telling(given: &ArgMatches) -> Telling {
    Telling {
        json: given.get_flag("json"),
        html: given.get_one::<PathBuf>("html").cloned(),
        bare: given.get_flag("no-mask"),
        check: given.get_flag("check"),
    }
}

/// What is wanted.
pub(super) fn what(given: &ArgMatches) -> Result<What, String> {
    let word = |name: &str| given.get_one::<String>(name).map(String::as_str);
    let (what, whom) = (word("what"), word("whom"));
    match (what, whom) {
        (None, _) => Ok(What::Live),
        (Some("-"), None) => Ok(What::Pasted),
        (Some("explain"), Some(code)) => Ok(What::Explain(code.to_owned())),
        (Some("explain"), None) => Err("which cause? waypost diagnose explain CODE".into()),
        (Some(what), Some(whom)) => match Kind::parse(what) {
            Some(kind) => outside(given, kind, whom).map(|q| What::Outside(Box::new(q))),
            None => Err(format!(
                "{what:?} is none of imap, pop, smtp, submission, web, autodiscover, mail, explain"
            )),
        },
        (Some(what), None) => {
            let path = PathBuf::from(what);
            if let (Some(kind), false) = (Kind::parse(what), path.exists()) {
                return Err(format!("which host? waypost diagnose {} HOST", kind.name()));
            }
            Ok(What::Path(path))
        }
    }
}

fn outside(given: &ArgMatches, kind: Kind, whom: &str) -> Result<Question, String> {
    let (host, port) = split(whom);
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '"' | '<' | '>');
    if host.is_empty() || host.len() > 253 || host.contains(bad) {
        return Err(format!("{whom:?} is no host. Give a name or an address, such as mail.example.org"));
    }
    let number = |name: &str| given.get_one::<u16>(name).copied();
    let many = |name: &str| given.get_many::<String>(name).into_iter().flatten().cloned().collect::<Vec<_>>();
    let dns = many("dns").iter().map(|text| name_server(text)).collect::<Result<Vec<_>, _>>()?;
    let user = match given.get_one::<String>("user") {
        Some(name) => Some((name.clone(), password(name)?)),
        None => None,
    };
    Ok(Question {
        port: number("port").or(port),
        implicit: given.get_one::<String>("tls").map(|kind| kind == "implicit"),
        address: given.get_one::<IpAddr>("address").copied(),
        user,
        dns,
        ca: given.get_one::<PathBuf>("ca").cloned(),
        anchor: given.get_one::<PathBuf>("anchor").cloned(),
        selectors: many("selector"),
        https_port: number("https-port").unwrap_or(443),
        http_port: number("http-port").unwrap_or(80),
        ..question(kind, host)
    })
}

/// `host`, `host:port`, `[v6]:port`, `v6`
fn split(whom: &str) -> (&str, Option<u16>) {
    if let Some(rest) = whom.strip_prefix('[') {
        let (host, port) = rest.split_once(']').unwrap_or((rest, ""));
        return (host, port.strip_prefix(':').and_then(|p| p.parse().ok()));
    }
    match whom.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (whom, None),
        },
        _ => (whom, None),
    }
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    alone
        .or_else(|_| text.parse())
        .map_err(|_| format!("{text:?} is no address of a name server, such as 9.9.9.9 or 127.0.0.1:5353"))
}

/// Never from the command line, where others could read it.
fn password(user: &str) -> Result<String, String> {
    if std::io::stdin().is_terminal() {
        eprint!("Password of {user}: ");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| e.to_string())?;
    let line = line.trim_end_matches(['\r', '\n']).to_owned();
    if line.is_empty() { Err("no password was given".into()) } else { Ok(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<What, String> {
        let matches = command().try_get_matches_from(line.split(' ')).map_err(|e| e.to_string())?;
        what(&matches)
    }

    #[test]
    fn words_are_told_apart() {
        assert!(matches!(read("diagnose"), Ok(What::Live)));
        assert!(matches!(read("diagnose -"), Ok(What::Pasted)));
        assert!(matches!(read("diagnose ./imap"), Ok(What::Path(_))));
        assert!(matches!(read("diagnose explain KRB-NOKEY"), Ok(What::Explain(_))));
        let Ok(What::Outside(question)) = read("diagnose imap [2001:db8::1]:2993 --dns 127.0.0.1:5353")
        else {
            panic!("not from outside")
        };
        assert_eq!((question.host.as_str(), question.port), ("2001:db8::1", Some(2993)));
        assert_eq!(question.dns.len(), 1);
        for bad in [
            "diagnose imap",
            "diagnose telnet mail.example.org",
            "diagnose explain",
            "diagnose smtp a@b",
            "diagnose smtp x --dns y",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_and_ports() {
        assert_eq!(split("mail.example.org:25"), ("mail.example.org", Some(25)));
        assert_eq!(split("2001:db8::1"), ("2001:db8::1", None));
        assert_eq!(split("[::1]"), ("::1", None));
    }
}
