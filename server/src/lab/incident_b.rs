//! A renewed certificate is bound, and IMAP and POP are dead for everyone: in Exchange, because the binding changed a name
//! by which one server recognised another.
//!
//! Here: a front end and the server behind it. Public certificates are changed in every way that goes wrong, under every
//! LoginType; the hop behind them never notices. What could harm clients is refused with its reason, and what is forced
//! is taken back by one command.

use super::talk::{Talk, curl_imap, from_internet, subjects, submit};
use super::{Found, Member, Report, Site, until};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const DOMAIN: &str = "contoso.test";
const USER: &str = "amy@contoso.test";
const PASSWORD: &str = "a long password of amy";
const LOGIN_TYPES: [&str; 3] = ["PlainTextLogin", "PlainTextAuthentication", "SecureLogin"];
/// A change of settings is everywhere within this.
const SOON: Duration = Duration::from_secs(20);

struct Stage {
    back: Member,
    front: Member,
}

/// How a sign-in through the proxy ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    In,
    Unavailable,
    /// Whatever makes a mail program ask for the password: the harm of the incident.
    WrongPassword(String),
    Other(String),
}

pub fn play(report: &mut Report) -> Result<(), String> {
    report.symptom = "Outlook asks for the password again and again although it is right; Test-ImapConnectivity says \
                      \"NO LOGIN failed\" and nothing more; every IMAP and POP health set is unhealthy since the \
                      renewed certificate was bound."
        .into();
    let mut site = Site::new("incident-b")?;
    report.chapter("A front end (server-2) and the server that holds the mailboxes (server-1).");
    let mut stage = build(&mut site)?;
    every_way_in(report, &stage, "before anything is changed")?;

    report.chapter("The certificate is renewed under another name, and bound to IMAP, POP, SMTP and web.");
    let renewed = renewed(report, &stage)?;
    every_way_in(report, &stage, "with the renewed certificate")?;
    unbinding(report, &stage, &renewed)?;

    report.chapter("Certificates that would harm clients are refused, each with its reason.");
    refusals(report, &site, &stage)?;

    report.chapter("Forced in, under every LoginType: the hop behind the front end never notices.");
    forced(report, &site, &stage)?;

    report.chapter("Files that go wrong behind the server's back: another key, unreadable, gone.");
    files(report, &mut stage)?;

    report.mail_flows = mail(report, &stage)?;
    let said =
        from_internet(stage.front.address("smtp"), USER, "from the internet").map_err(|e| e.to_string())?;
    let arrived = until(SOON, || seen(&stage, "from the internet"));
    report.internet_mail_flows =
        report.check("mail from the internet arrives all the while", arrived.is_ok(), said);
    if report.checks.iter().any(|c| !c.held) {
        site.keep();
    }
    Ok(())
}

fn build(site: &mut Site) -> Result<Stage, String> {
    let mut back = site.primary(DOMAIN)?;
    back.start(Some("transport,mailbox"))?;
    back.run(&["New-Mailbox", "amy", "-PrimarySmtpAddress", USER, "-Password", PASSWORD])?;
    back.run(&["New-Mailbox", "ben", "-Password", PASSWORD])?;
    // What people are told to put into their mail programs.
    for (command, port) in [("Set-ImapSettings", 993), ("Set-PopSettings", 995)] {
        back.run(&[command, "-ExternalConnectionSettings", &format!("mail.contoso.test:{port}:SSL")])?;
    }
    let mut front = site.join(&back, "frontend")?;
    front.start(None)?;
    until(SOON, || front.run(&["Get-Mailbox", "amy"]).map(drop))?;
    Ok(Stage { back, front })
}

/// Signs in by every protocol under every LoginType.
fn every_way_in(report: &mut Report, stage: &Stage, when: &str) -> Result<(), String> {
    for login_type in LOGIN_TYPES {
        set_login_type(stage, login_type)?;
        let ways = ways_in(stage, login_type);
        let bad: Vec<String> =
            ways.iter().filter(|(_, e)| *e != Ended::In).map(|(way, e)| format!("{way}: {e:?}")).collect();
        let text = format!("{login_type}: {} sign-ins through the front end succeed {when}", ways.len());
        report.check(text, bad.is_empty(), bad.join("\n"));
    }
    Ok(())
}

fn set_login_type(stage: &Stage, login_type: &str) -> Result<(), String> {
    for command in ["Set-ImapSettings", "Set-PopSettings"] {
        stage.back.run(&[command, "-LoginType", login_type])?;
    }
    for command in ["Get-ImapSettings", "Get-PopSettings"] {
        until(SOON, || {
            let there = stage.front.one(&[command])?;
            let held = there["LoginType"] == login_type;
            if held { Ok(()) } else { Err(format!("{} has not heard of {login_type} yet", stage.front.id)) }
        })?;
    }
    Ok(())
}

/// Every way in that a client of this LoginType has, and how each ended. A client takes TLS where it is offered.
fn ways_in(stage: &Stage, login_type: &str) -> Vec<(String, Ended)> {
    let front = &stage.front;
    let (imap, imaps, pop3) = (front.port("imap"), front.port("imaps"), front.port("pop3"));
    let mut ways = vec![
        ("imap with STARTTLS where offered".to_owned(), by_lines(front)),
        ("imaps".to_owned(), by_curl(&format!("imaps://127.0.0.1:{imaps}/INBOX"), &[])),
        (
            "pop3 with STLS where offered".to_owned(),
            by_curl(&format!("pop3://127.0.0.1:{pop3}/"), &["--ssl"]),
        ),
        ("submission".to_owned(), by_submission(front)),
    ];
    if login_type == "PlainTextLogin" {
        let url = format!("imap://127.0.0.1:{imap}/INBOX");
        ways.push(("imap in clear".to_owned(), by_curl(&url, &[])));
    }
    ways
}

fn by_curl(url: &str, more: &[&str]) -> Ended {
    match curl_imap(url, USER, PASSWORD, more) {
        Ok(_) => Ended::In,
        Err((_, said)) => sort(&said),
    }
}

fn by_submission(front: &Member) -> Ended {
    match submit(front.port("submission"), USER, PASSWORD, "ben@contoso.test", "a way in") {
        Ok(()) => Ended::In,
        Err(said) => sort(&said),
    }
}

/// As a client that looks at the capabilities: STARTTLS by curl where it is there, else LOGIN as it stands.
fn by_lines(front: &Member) -> Ended {
    let talk = || -> std::io::Result<Ended> {
        let mut talk = Talk::to(front.address("imap"))?;
        let greeting = talk.line()?;
        if greeting.contains("STARTTLS") {
            let url = format!("imap://127.0.0.1:{}/INBOX", front.port("imap"));
            return Ok(by_curl(&url, &["--ssl-reqd"]));
        }
        let (_, answer) = talk.imap(&format!("LOGIN \"{USER}\" \"{PASSWORD}\""))?;
        Ok(if answer.starts_with("x OK") { Ended::In } else { sort(&answer) })
    };
    talk().unwrap_or_else(|e| sort(&e.to_string()))
}

/// What a client makes of an answer.
fn sort(said: &str) -> Ended {
    let last = |part: &str| said.lines().rev().find(|l| l.contains(part)).map(str::to_owned);
    for wrong in ["[AUTHENTICATIONFAILED]", "[AUTH]", "535 "] {
        if let Some(line) = last(wrong) {
            return Ended::WrongPassword(line);
        }
    }
    let unavailable = ["[UNAVAILABLE]", "[SYS/TEMP]", "454 ", "421 "];
    // A door that closes, or has no TLS to offer, asks nobody for a password.
    let closed = [
        "SSL_ERROR",
        "TLS connect error",
        "SSL connection",
        "Connection reset",
        "Connection refused",
        "refused",
    ];
    let closed =
        closed.iter().chain(&["unexpected eof", "STARTTLS not", "Requested SSL level failed", "end of file"]);
    if unavailable.iter().any(|part| said.contains(part)) || closed.clone().any(|part| said.contains(part)) {
        return Ended::Unavailable;
    }
    Ended::Other(said.lines().rev().take(4).collect::<Vec<_>>().join(" | "))
}

/// Makes and binds a certificate whose names clients use, and whose common name is not the server's own.
fn renewed(report: &mut Report, stage: &Stage) -> Result<String, String> {
    let names = "webmail.contoso.test,server-2.lab.test,localhost,mail.contoso.test,server-1.lab.test";
    let subject = "CN=webmail.contoso.test";
    let made =
        stage.front.one(&["New-ExchangeCertificate", "-SubjectName", subject, "-DomainName", names])?;
    let thumbprint = made["Thumbprint"].as_str().unwrap_or_default().to_owned();
    let bound =
        stage.front.run(&["Enable-ExchangeCertificate", &thumbprint, "-Services", "IMAP,POP,SMTP,IIS"]);
    report.check("the renewed certificate is bound", bound.is_ok(), bound.err().unwrap_or_default());
    let settings = stage.front.one(&["Get-ImapSettings"])?;
    let name = settings["X509CertificateName"].as_str().unwrap_or_default();
    report.check(
        "X509CertificateName is as it was: binding changes the binding, and nothing else",
        name != "webmail.contoso.test",
        name,
    );
    Ok(thumbprint)
}

fn unbinding(report: &mut Report, stage: &Stage, thumbprint: &str) -> Result<(), String> {
    let words = ["Disable-ExchangeCertificate", thumbprint, "-Services", "POP", "-Confirm:$false"];
    let done = stage.front.run(&words);
    report.check("a certificate can be unbound", done.is_ok(), done.err().unwrap_or_default());
    let bound = stage.front.one(&["Get-ExchangeCertificate", thumbprint])?;
    let services = bound["Services"].as_str().unwrap_or_default();
    let alone = services.contains('I') && !services.contains('P');
    report.check("and is unbound from that service alone", alone, services);
    // So that what is tried next stands for itself.
    stage.front.run(&["Disable-ExchangeCertificate", thumbprint, "-Confirm:$false"])?;
    Ok(())
}

/// A certificate and its key in files, as somebody would bring them.
struct Brought {
    name: &'static str,
    chain: String,
    key: String,
    /// Part of the refusal's reason.
    because: &'static str,
}

fn bad_certificates(folder: &Path) -> Result<Vec<Brought>, String> {
    let names = "DNS:server-2.lab.test,DNS:localhost,DNS:mail.contoso.test,DNS:webmail.contoso.test,DNS:server-1.lab.test";
    make(folder, "expired", names, &["-not_before", "20200101000000Z", "-not_after", "20200201000000Z"])?;
    make(folder, "wrong-name", "DNS:something.else.test", &["-days", "90"])?;
    make(folder, "good", names, &["-days", "90"])?;
    let path = |name: &str, end: &str| folder.join(format!("{name}.{end}")).display().to_string();
    let both = |name: &'static str, because: &'static str| Brought {
        name,
        chain: path(name, "crt"),
        key: path(name, "key"),
        because,
    };
    Ok(vec![
        both("expired", "expired"),
        both("wrong-name", "name"),
        Brought {
            name: "wrong-key",
            chain: path("good", "crt"),
            key: path("wrong-name", "key"),
            because: "key",
        },
    ])
}

/// By OpenSSL's little CA, since that can make what has expired already.
fn make(folder: &Path, name: &str, names: &str, times: &[&str]) -> Result<(), String> {
    let at = |end: &str| folder.join(format!("{name}.{end}"));
    let mut command = Command::new("openssl");
    command.args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"]);
    command.arg(format!("/CN={name}.contoso.test")).arg("-keyout").arg(at("key")).arg("-out").arg(at("csr"));
    openssl(command)?;
    let config = format!(
        "[ca]\ndefault_ca=d\n[d]\ndatabase={0}/index\nnew_certs_dir={0}\nserial={0}/serial\ndefault_md=sha256\n\
         policy=p\nx509_extensions=x\nunique_subject=no\ncopy_extensions=none\n[p]\ncommonName=supplied\n\
         [x]\nsubjectAltName={names}\nextendedKeyUsage=serverAuth\n",
        folder.display()
    );
    let write =
        |file: &Path, text: &str| fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()));
    write(&at("cnf"), &config)?;
    write(&folder.join("index"), "")?;
    write(&folder.join("serial"), &format!("{:04X}", name.len() * 257))?;
    let mut command = Command::new("openssl");
    command.args(["ca", "-batch", "-notext", "-selfsign", "-config"]).arg(at("cnf"));
    command.arg("-keyfile").arg(at("key")).arg("-in").arg(at("csr")).arg("-out").arg(at("crt"));
    let times: Vec<&str> = times
        .iter()
        .map(|t| match *t {
            "-not_before" => "-startdate",
            "-not_after" => "-enddate",
            other => other,
        })
        .collect();
    command.args(times);
    openssl(command)
}

fn openssl(mut command: Command) -> Result<(), String> {
    let out = command.output().map_err(|e| format!("openssl: {e}"))?;
    if out.status.success() {
        Ok(())
    } else {
        Err(format!("openssl: {}", String::from_utf8_lossy(&out.stderr)))
    }
}

fn import(front: &Member, brought: &Brought) -> Result<String, String> {
    let words = ["Import-ExchangeCertificate", "-FileName", &brought.chain, "-KeyFileName", &brought.key];
    let made = front.one(&words)?;
    Ok(made["Thumbprint"].as_str().unwrap_or_default().to_owned())
}

fn refusals(report: &mut Report, site: &Site, stage: &Stage) -> Result<(), String> {
    for brought in bad_certificates(site.folder())? {
        let refused = match import(&stage.front, &brought) {
            Ok(thumbprint) => {
                let words = ["Enable-ExchangeCertificate", &thumbprint, "-Services", "IMAP,POP", "--json"];
                stage.front.shown(&words)
            }
            Err(refused) => refused,
        };
        let named = refused.to_lowercase().contains(brought.because) && refused.contains("message");
        report.check(format!("{}: refused, and the reason is said", brought.name), named, refused.as_str());
        if let Some(found) = finding(&refused) {
            report.found(found);
        }
    }
    Ok(())
}

/// The finding in an error record.
fn finding(text: &str) -> Option<Found> {
    let error = text.lines().find_map(|line| {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get("error").or(Some(&value)).filter(|v| v.get("message").is_some()).cloned()
    })?;
    let finding = error.get("finding")?;
    let list = |name: &str| {
        let all = finding[name].as_array().cloned().unwrap_or_default();
        let line = |v: &Value| v.as_str().or_else(|| v["fact"].as_str()).unwrap_or_default().to_owned();
        all.iter().map(line).collect()
    };
    let message = error["message"].as_str().unwrap_or_default();
    Some(Found {
        cause: finding["cause"]["code"].as_str().unwrap_or_default().to_owned(),
        text: message.lines().next().unwrap_or_default().to_owned(),
        evidence: list("evidence"),
        remedy: list("remedy"),
    })
}

/// Expired and wrong names, bound by force: clients that look at certificates may complain of them; signing in goes on.
fn forced(report: &mut Report, site: &Site, stage: &Stage) -> Result<(), String> {
    for brought in bad_certificates(site.folder())?.into_iter().filter(|b| b.name != "wrong-key") {
        let thumbprint = match import(&stage.front, &brought) {
            Ok(thumbprint) => thumbprint,
            // It is in the store since it was refused.
            Err(_) => stored(&stage.front, &brought)?,
        };
        let words = ["Enable-ExchangeCertificate", &thumbprint, "-Services", "IMAP,POP", "-Force"];
        let bound = stage.front.run(&words);
        report.check(
            format!("{}: -Force binds it", brought.name),
            bound.is_ok(),
            bound.err().unwrap_or_default(),
        );
        for login_type in LOGIN_TYPES {
            set_login_type(stage, login_type)?;
            harmless(report, stage, login_type, brought.name);
        }
        let history = stage.front.run(&["Get-WaypostSettingHistory", "-Server", "server-2"])?;
        let recorded = history.iter().any(|v| v["Forced"].as_bool() == Some(true) || v["Forced"] == "True");
        report.check(format!("{}: that it was forced is recorded", brought.name), recorded, "");
        let undone = stage.front.run(&["Undo-WaypostSetting", "-Server", "server-2"]);
        let bound = stage.front.one(&["Get-ExchangeCertificate", &thumbprint])?;
        let services = bound["Services"].as_str().unwrap_or_default();
        let gone = !services.contains('I') && !services.contains('P');
        let seen = undone.err().unwrap_or_else(|| services.to_owned());
        report.check(format!("{}: one command takes it back", brought.name), gone, seen);
    }
    Ok(())
}

fn stored(front: &Member, brought: &Brought) -> Result<String, String> {
    let subject = format!("CN={}.contoso.test", brought.name);
    let all = front.run(&["Get-ExchangeCertificate"])?;
    let found = all.iter().find(|c| c["Subject"].as_str().is_some_and(|s| s.contains(&subject)));
    let thumbprint = found.and_then(|c| c["Thumbprint"].as_str()).map(str::to_owned);
    thumbprint.ok_or_else(|| format!("no certificate {subject} is in the store"))
}

/// Nobody is asked for a password that is right.
fn harmless(report: &mut Report, stage: &Stage, login_type: &str, what: &str) {
    let ways = ways_in(stage, login_type);
    let bad: Vec<String> = ways
        .iter()
        .filter(|(_, ended)| !matches!(ended, Ended::In | Ended::Unavailable))
        .map(|(way, ended)| format!("{way}: {ended:?}"))
        .collect();
    let ins = ways.iter().filter(|(_, ended)| *ended == Ended::In).count();
    let text = format!(
        "{what}, {login_type}: {ins} of {} sign-ins succeed, the others are told \"unavailable\"; none \"wrong password\"",
        ways.len()
    );
    report.check(text, bad.is_empty(), bad.join("\n"));
}

/// What a broken renewal script leaves: the server is restarted on it, and still nothing behind it breaks.
fn files(report: &mut Report, stage: &mut Stage) -> Result<(), String> {
    // Back to the certificate of the section tls, whose files these are.
    let all = stage.front.run(&["Get-ExchangeCertificate"])?;
    for certificate in
        all.iter().filter(|c| !c["Services"].as_str().unwrap_or_default().trim_matches('.').is_empty())
    {
        let thumbprint = certificate["Thumbprint"].as_str().unwrap_or_default();
        let _ = stage.front.run(&["Disable-ExchangeCertificate", thumbprint, "-Confirm:$false"]);
    }
    let public = stage.front.data().join("public");
    let (chain, key) = (public.join("public.crt"), public.join("public.key"));
    let read = |path: &Path| fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let (good_chain, good_key) = (read(&chain)?, read(&key)?);
    let other = stage.front.data().parent().map(|f| f.join("wrong-name.key")).unwrap_or_default();
    let other = read(&other)?;
    let breaks: [(&str, &dyn Fn() -> std::io::Result<()>); 3] = [
        ("wrong key on disk", &|| fs::write(&key, &other)),
        // A folder in a file's place cannot be read by anybody, whatever their rights.
        ("unreadable key", &|| fs::remove_file(&key).and_then(|()| fs::create_dir(&key))),
        ("missing files", &|| fs::remove_dir(&key).and_then(|()| fs::remove_file(&chain))),
    ];
    for (what, damage) in breaks {
        damage().map_err(|e| format!("{what}: {e}"))?;
        stage.front.stop();
        let started = stage.front.start(None);
        let up = report.check(
            format!("{what}: the front end starts"),
            started.is_ok(),
            started.err().unwrap_or_default(),
        );
        if !up {
            continue;
        }
        for login_type in LOGIN_TYPES {
            set_login_type(stage, login_type)?;
            harmless(report, stage, login_type, what);
        }
    }
    let put =
        |path: &Path, bytes: &[u8]| fs::write(path, bytes).map_err(|e| format!("{}: {e}", path.display()));
    put(&chain, &good_chain)?;
    put(&key, &good_key)?;
    stage.front.stop();
    stage.front.start(None)?;
    every_way_in(report, stage, "with the files as they were")
}

fn mail(report: &mut Report, stage: &Stage) -> Result<bool, String> {
    submit(stage.front.port("submission"), USER, PASSWORD, USER, "from amy to amy")?;
    let arrived = until(SOON, || seen(stage, "from amy to amy"));
    Ok(report.check("mail between mailboxes flows", arrived.is_ok(), arrived.err().unwrap_or_default()))
}

fn seen(stage: &Stage, subject: &str) -> Result<(), String> {
    let all = subjects(stage.back.address("imap"), USER, PASSWORD, "INBOX").map_err(|e| e.to_string());
    let all = match all {
        Ok(all) => all,
        // The server behind has no public doors of its own: look through the front end, in clear on loopback.
        Err(_) => {
            subjects(stage.front.address("imap"), USER, PASSWORD, "INBOX").map_err(|e| e.to_string())?
        }
    };
    let here = all.iter().any(|s| s == subject);
    if here { Ok(()) } else { Err(format!("{subject:?} is not among {all:?}")) }
}
