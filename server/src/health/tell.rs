//! Telling people: by mail through our own queue, by a web address, by a program. Each way by itself: when mail is what is
//! broken, the others still work. Alerts are also in the log and in Get-HealthAlert.

use super::cause::MANNER;
use super::rounds::Health;
use crate::machine;
use crate::probe::Talk;
use crate::web_client;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use waypost_health::Alert;
use waypost_health::event::{Event, Level, id};

/// Longest time of one way.
const WITHIN: Duration = Duration::from_secs(30);
/// Times that a way is tried, and the pause between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(5);
/// The folder of the data folder in which programs for alerts are.
const HOOKS: &str = "hooks";

/// By every way that the settings have.
pub async fn tell(health: &Arc<Health>, alert: &Alert) {
    let settings = health.settings();
    let chosen = &settings.health;
    let json = serde_json::to_vec(&body(alert)).unwrap_or_default();
    let mail = async {
        if !chosen.alert_mail.is_empty() {
            let done = again(|| by_mail(health, &chosen.alert_mail, alert)).await;
            note(health, alert, "mail", &done);
        }
    };
    let web = async {
        if !chosen.alert_webhook.is_empty() {
            let done = again(|| by_web(&chosen.alert_webhook, json.clone())).await;
            note(health, alert, "webhook", &done);
        }
    };
    let program = async {
        if !chosen.alert_command.is_empty() {
            // Once: nobody knows what it has done before it failed.
            let done = bounded(by_command(health, &chosen.alert_command, json.clone())).await;
            note(health, alert, "command", &done);
        }
    };
    tokio::join!(mail, web, program);
}

/// The alert with what programs would have to work out.
fn body(alert: &Alert) -> serde_json::Value {
    let state = if alert.is_open() { "raised" } else { "mended" };
    serde_json::json!({ "state": state, "line": alert.line(), "text": alert.text(), "alert": alert })
}

async fn bounded(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    match tokio::time::timeout(WITHIN, work).await {
        Ok(done) => done,
        Err(_) => Err(format!("it took longer than {} s", WITHIN.as_secs())),
    }
}

async fn again<F: Future<Output = Result<(), String>>>(work: impl Fn() -> F) -> Result<(), String> {
    let mut done = bounded(work()).await;
    for _ in 1..TRIES {
        if done.is_ok() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        done = bounded(work()).await;
    }
    done
}

fn note(health: &Health, alert: &Alert, way: &str, done: &Result<(), String>) {
    let (level, kind, text) = match done {
        Ok(()) => (Level::Information, id::ALERT_SENT, format!("Alert {} was sent by {way}.", alert.id)),
        Err(e) => {
            tracing::warn!(alert = alert.id, "an alert was not sent by {way}: {e}");
            (Level::Warning, id::ALERT_NOT_SENT, format!("Alert {} was not sent by {way}: {e}", alert.id))
        }
    };
    let mut event = Event::new(health.ground.now(), level, "Keeper", kind, text);
    event.alert = Some(alert.id.clone());
    health.with_watch(|watch| watch.event(event));
}

/// Handed to this server's own submission service in memory, signed in as the health mailbox: listeners and TLS are not
/// needed for it.
async fn by_mail(health: &Arc<Health>, to: &[String], alert: &Alert) -> Result<(), String> {
    let ground = &health.ground;
    let (_, account) = ground.any_mailbox().ok_or("there is no health mailbox to send from")?;
    let who = ground.who(&account);
    let (talk, serving) = super::inside::submission(ground);
    let done = submit(talk, &who, to, &letter(health, &who.address, to, alert)).await;
    serving.abort();
    done
}

async fn submit(mut talk: Talk, who: &crate::probe::Who, to: &[String], letter: &str) -> Result<(), String> {
    let text = |fault: crate::probe::Fault| fault.text;
    talk.answer("the connection").await.map_err(text)?;
    talk.ask(&format!("EHLO {}", MANNER.name)).await.map_err(text)?;
    let plain = waypost_sasl::Mechanism::Plain;
    let said = talk.authenticate(plain, &who.address, &who.password).await.map_err(text)?;
    if !talk.is_good(&said) {
        return Err(format!("the sign-in is answered {:?}", said.last()));
    }
    let from = format!("MAIL FROM:<{}>", who.address);
    let said = talk.ask(&from).await.map_err(text)?;
    if !talk.is_good(&said) {
        return Err(format!("{from} is answered {:?}", said.last()));
    }
    let mut taken = 0;
    let mut refused = String::new();
    for address in to {
        let said = talk.ask(&format!("RCPT TO:<{address}>")).await.map_err(text)?;
        if talk.is_good(&said) {
            taken += 1;
        } else {
            refused = format!("{address} is refused: {:?}", said.last());
        }
    }
    if taken == 0 {
        return Err(refused);
    }
    talk.ask("DATA").await.map_err(text)?;
    let said = talk.ask(&format!("{letter}.")).await.map_err(text)?;
    if !talk.is_good(&said) {
        return Err(format!("the message is answered {:?}", said.last()));
    }
    // It has been taken, whatever becomes of the goodbye.
    let _ = talk.ask("QUIT").await;
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

fn letter(health: &Health, from: &str, to: &[String], alert: &Alert) -> String {
    let word = if alert.is_open() { "" } else { "Mended: " };
    // A header line holds no more than this comfortably, and only ASCII as it is.
    let ascii = |c: char| {
        if c == '→' {
            '>'
        } else if c.is_ascii() && !c.is_ascii_control() {
            c
        } else {
            '?'
        }
    };
    let subject: String = format!("{word}{}", alert.line()).chars().map(ascii).take(160).collect();
    let now = health.ground.now();
    let id = format!("alert.{:016x}@{}", u64::from_be_bytes(machine::random()), health.ground.here());
    let head = format!(
        "From: Waypost health <{from}>\r\nTo: {}\r\nSubject: {subject}\r\nMessage-ID: <{id}>\r\nDate: {}\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n",
        to.join(", "),
        now.civil().rfc5322()
    );
    let mut out = head;
    for line in alert.text().lines() {
        if line.starts_with('.') {
            out.push('.');
        }
        // What a peer said may hold a bare CR, which no server takes.
        out.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(900));
        out.push_str("\r\n");
    }
    out
}

async fn by_web(url: &str, json: Vec<u8>) -> Result<(), String> {
    // Such an address often is a secret itself: events and logs have no more of it than its host.
    let host = url.split_inclusive('/').take(3).collect::<String>();
    let host = host.rsplit_once('@').map_or(host.as_str(), |(_, host)| host).trim_end_matches('/');
    let answer = web_client::send(url, Some(("application/json", json)), None).await;
    let answer = answer.map_err(|e| e.replace(url, host))?;
    if (200..300).contains(&answer.status) {
        Ok(())
    } else {
        Err(format!("{host} answers {}", answer.status))
    }
}

/// The program with its arguments; the alert on its standard input. No shell.
async fn by_command(health: &Health, words: &[String], json: Vec<u8>) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("there is no program")?;
    let folder = health.ground.services.organisation.place.root().join(HOOKS);
    let path: PathBuf = folder.join(program);
    let mut child = tokio::process::Command::new(&path)
        .args(arguments)
        .current_dir(health.ground.services.organisation.place.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("{}: {e}", path.display()))?;
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read its input has perhaps no use for it.
        let _ = input.write_all(&json).await;
    }
    let status = child.wait().await.map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", path.display())) }
}
