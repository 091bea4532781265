//! Get-MessageStory, better known as `waypost why …`: what became of a message, what a session, an address, a probe or a
//! server went through, what happened at a time; in plain words.
//!
//! It reads files, so that it works while the server is stopped or its store cannot be opened, and says what it could not
//! look at. A running server asks the other servers of the organisation too.

mod asked;
mod gather;
mod history;
mod identity;
mod message;
mod others;

pub use message::{for_user, gather};

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::{Cell, Record};
use crate::run::Call;
use asked::{Span, What};
use waypost_base::explain::{Confidence, Evidence, Outcome as Ended};
use waypost_tracking::story::tale::{self, About, Known, Standing, Tale};

/// The command that `waypost why` means.
pub const NAME: &str = "Get-MessageStory";

const HOUR: i64 = 3_600_000;
/// How far back is looked where no time was named.
const SERVER_BACK: i64 = 2 * HOUR;
const PROBE_BACK: i64 = 24 * HOUR;
const ADDRESS_BACK: i64 = 48 * HOUR;

pub(super) static COMMANDS: &[Command] = &[Command {
    verb: "Get",
    noun: "MessageStory",
    about: "Tells what became of a message, or what happened to a session, an address, a probe, a server or at a time.",
    detail: "Short: `waypost why …`. Of a message it tells where it is for each recipient, why, and what can be done. Of a time (10:05, \
yesterday 10:05, 2026-11-22T10:05, last hour; UTC) what failed, what stood still, what was changed just before and by whom, and which \
test settles whether that was it. A session is named by its sixteen hexadecimal digits, a probe as IMAP\\ImapCTPProbe, a server by its id \
or host name; words around it do no harm. It joins the tracking log, the legs, the protocol logs, the queue, the histories of settings \
and commands, certificates and health. What was seen, what follows, what is only suspected and what is not known are told apart. It \
works while the server is stopped, and asks the other servers where it runs. -As shows what one user may know of a message. With -Server \
it is asked of the submission listener of that server in the name of the user of -Credential, who needs no shell on the server and is \
told of their own mail only.",
    params: &[
        Param::new(
            "MessageId",
            Kind::Text,
            "What is asked about: a Message-ID with or without angle brackets, an address, a session, a probe, a server, a time.",
        )
        .mandatory()
        .at(0)
        .alias(&["About", "Identity"]),
        Param::new("As", Kind::Text, "What the user with this name or address may know of a message."),
        Param::new(
            "Server",
            Kind::Text,
            "Ask the submission listener HOST:PORT instead; 587 if no port is given.",
        ),
        Param::new("Credential", Kind::Text, "The user who asks, with -Server."),
        Param::new("Password", Kind::Secret, "Their password; - reads it from standard input."),
    ],
    columns: &["Text"],
    examples: &[
        Example { line: "why '<q3@contoso.test>'", about: "The whole story of a message." },
        Example { line: "why q3@contoso.test -As amy@contoso.test", about: "What Amy may know of it." },
        Example { line: "why 'did mail stop at 10:05'", about: "What broke then, and what was changed just before." },
        Example { line: "why amy@contoso.test", about: "Her mail and her sessions of the last two days." },
        Example { line: "why 'IMAP\\ImapCTPProbe'", about: "Since when and why does this probe fail?" },
        Example { line: "why mbx-1", about: "What happened to a server in the last two hours." },
        Example {
            line: "why q3@contoso.test -Server mail.contoso.test -Credential amy@contoso.test -Password -",
            about: "Amy asks herself, from anywhere.",
        },
        Example { line: "why 10:05 --json", about: "For programs." },
    ],
    needs: Needs::Any,
    changes: false,
    confirm: false,
    run: |call| Box::pin(why(call)),
}];

/// The certificates that are bound on this server, and what of them could not be read.
pub(super) fn certificates(data: &std::path::Path) -> (Vec<tale::CertificateFact>, Vec<String>) {
    let mut unread = Vec::new();
    let settings = crate::settings::load(data).unwrap_or_default();
    (gather::certificates(data, &settings, &mut unread), unread)
}

pub(super) use history::changes;

async fn why(call: &Call<'_>) -> Outcome {
    if call.text("Server").is_some() {
        // The command line asks by itself; here there is nobody to ask.
        return Err(Failure::usage("Server", "-Server is for the command line only."));
    }
    let text = call.required("MessageId")?;
    if text.len() > asked::BYTES_MAX {
        return Err(Failure::usage("MessageId", "That is longer than anything that can be asked about."));
    }
    let now = call.context.clock.now();
    let Some(asked) = asked::read(text, now, |word| is_server(call, word)) else {
        return Err(Failure::usage("MessageId", not_understood(text)));
    };
    let mail = matches!(asked.what, What::Message(_) | What::MessageOrAddress(_));
    if !mail && !call.context.rights.sees_servers() {
        // Those who help people see where messages are, and nothing else of servers.
        let text = "Stories of servers, times, probes and sessions are for members of Organization Management, Server \
                    Management or View-Only Organization Management; those of messages and addresses are told.";
        return Err(Failure::new(Category::PermissionDenied, "MessageId", text));
    }
    let back = |millis: i64| asked.span.unwrap_or(Span { from: now.plus_millis(-millis), to: now, at: None });
    match asked.what {
        What::Message(id) => message::story(call, &id).await,
        What::MessageOrAddress(id) => match message::story(call, &id).await {
            // An address looks like a Message-ID, and is asked about where there is no such message.
            Err(failure) if failure.category == Category::ObjectNotFound && call.text("As").is_none() => {
                let known = call.account(&id).is_ok();
                match account(call, About::Address(id), back(ADDRESS_BACK)).await {
                    Err(second) if second.category == Category::ObjectNotFound && !known => Err(failure),
                    done => done,
                }
            }
            done => done,
        },
        What::Session(id) => account(call, About::Session(id), back(ADDRESS_BACK)).await,
        What::Probe(probe) => account(call, About::Probe(probe), back(PROBE_BACK)).await,
        What::Server(server) if is_server(call, &server) => {
            account(call, About::Server(server), back(SERVER_BACK)).await
        }
        What::Server(word) => {
            Err(Failure::new(Category::ObjectNotFound, word.clone(), not_understood(&word)))
        }
        What::Time => {
            let span = back(SERVER_BACK);
            account(call, About::Time(span.at), span).await
        }
    }
}

fn not_understood(text: &str) -> String {
    format!(
        "{text:?} is no Message-ID, address, session (sixteen hexadecimal digits), probe (IMAP\\ImapCTPProbe), server of this \
         organisation, or time (10:05, yesterday 10:05, last hour)."
    )
}

/// Whether a word is a server that is known here, by the directory or, without it, by the settings.
fn is_server(call: &Call<'_>, word: &str) -> bool {
    if let Some(world) = &call.context.world
        && crate::elsewhere::find_server(&world.directory.snapshot(), word).is_some()
    {
        return true;
    }
    crate::settings::load(&call.context.data).is_ok_and(|settings| {
        let host = settings.server.name.as_str();
        let names = [settings.server.id.as_str(), host, host.split('.').next().unwrap_or_default()];
        names.iter().any(|n| !n.is_empty() && n.eq_ignore_ascii_case(word))
    })
}

/// Tells of anything but a message.
async fn account(call: &Call<'_>, about: About, span: Span) -> Outcome {
    let (data, now) = (call.context.data.clone(), call.context.clock.now());
    let Span { from, to, .. } = span;
    let names = identity::Names::of(call, &about);
    let read = move || Ok(gather::gather(&data, about, &names, from, to, now));
    let mut known = super::tracking::reading(read).await?;
    identity::add(call, &mut known).await;
    live(call, &mut known);
    let told = tale::tell(&known);
    let others = others::ask(call).await;
    let nothing = told.is_empty() && others.tales.is_empty();
    if nothing && matches!(known.about, About::Session(_) | About::Address(_)) {
        let text = format!("Nothing is known of {}: {}.", call.required("MessageId")?, silence(&told));
        return Err(Failure::new(Category::ObjectNotFound, call.required("MessageId")?, text));
    }
    call.record(record(&told, &others)).await;
    Ok(())
}

fn silence(told: &Tale) -> String {
    if told.not_known.is_empty() {
        "no log of this organisation that is still kept has it".to_owned()
    } else {
        told.not_known.join(" ").trim_end_matches('.').to_owned()
    }
}

/// What only the running server knows, or that there is none.
fn live(call: &Call<'_>, known: &mut Known) {
    let narrow = matches!(known.about, About::Session(_));
    if !call.context.running {
        known.facts.push(Evidence {
            source: "this command".into(),
            time: None,
            fact: "no server runs on this data folder, or it does not answer".into(),
        });
        if !narrow {
            known.not_looked.push(
                "The server is not running: queues in memory, legs as they stand and the other servers were not looked at.".into(),
            );
        }
        return;
    }
    let Some(world) = &call.context.world else { return };
    if narrow || matches!(known.about, About::Address(_)) {
        return;
    }
    if let Some(facts) = &world.facts {
        for state in facts.legs() {
            let wanted = match &known.about {
                About::Server(server) => {
                    state.from.eq_ignore_ascii_case(server) || state.to.eq_ignore_ascii_case(server)
                }
                _ => true,
            };
            known.standing.extend(standing(&state).filter(|_| wanted));
        }
    }
    if let Some(services) = &world.services {
        for service in services.all().into_iter().filter(|s| !s.running) {
            known.standing.push(Standing {
                since: None,
                code: "HEALTH-SERVICE-STOPPED".into(),
                text: format!("{} ({}) is stopped.", service.display_name, service.name),
                confidence: Confidence::Certain,
                evidence: Vec::new(),
                remedy: vec![format!("Start-Service {}", service.name)],
            });
        }
    }
    if let (Some(health), true) = (&world.health, known.health.is_empty()) {
        let query = waypost_health::EventQuery {
            after: Some(known.from),
            before: Some(known.to),
            ..waypost_health::EventQuery::default()
        };
        let events = health.events(&query);
        let facts = events.iter().filter_map(|e| gather::fact(&serde_json::to_value(e).ok()?));
        let wanted = |fact: &tale::HealthFact| match &known.about {
            About::Probe(probe) => fact.probe.to_lowercase().starts_with(&probe.to_lowercase()),
            _ => true,
        };
        known.health = facts.filter(wanted).collect();
        known.health.sort_by_key(|f| f.time);
    }
}

fn standing(state: &crate::service::LegState) -> Option<Standing> {
    let finding = state.finding.as_ref()?;
    let (how, text) = match &state.leg.outcome {
        Ended::Degraded { text, .. } => ("is degraded", text),
        Ended::Failed { text, .. } => ("fails", text),
        Ended::Open | Ended::Ok => return None,
    };
    Some(Standing {
        since: Some(state.since),
        code: finding.cause.code.to_string(),
        text: format!("the {} leg from {} to {} {how}: {text}", state.service, state.from, state.to),
        confidence: finding.confidence,
        evidence: finding.evidence.clone(),
        remedy: finding.remedy.clone(),
    })
}

/// The tale as one record: what people read as `Text`, and every part for programs.
fn record(told: &Tale, others: &others::Others) -> Record {
    let whole = serde_json::to_value(told).unwrap_or_default();
    let part = |name: &str| Cell::Tree(whole.get(name).cloned().unwrap_or_default());
    let mut text = told.text();
    message::append(&mut text, others);
    let mut not_known = told.not_known.clone();
    not_known.extend(others.silent.iter().cloned());
    let servers: serde_json::Map<String, serde_json::Value> = others.tales.iter().cloned().collect();
    Record::new()
        .with("Title", told.title.clone())
        .with("Summary", told.summary.clone())
        .with("Follows", part("follows"))
        .with("Suspected", part("suspected"))
        .with("NotKnown", not_known)
        .with("Remedy", told.remedy.clone())
        .with("Seen", part("seen"))
        .with("Legs", part("legs"))
        .with("Servers", Cell::Tree(servers.into()))
        .with("Text", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::Timestamp;

    #[test]
    fn a_server_that_cannot_be_asked_is_said() {
        let known = Known::new(About::Time(None), Timestamp(0), Timestamp(60_000), Timestamp(60_000));
        let others = others::Others {
            tales: vec![("mbx-2".into(), serde_json::json!({"Text": "The time …\n  one\n"}))],
            silent: vec!["mbx-3: no answer in 20 s".into()],
        };
        let record = record(&tale::tell(&known), &others);
        let text = record.cell("Text").map(Cell::shown).unwrap();
        assert!(text.contains("On mbx-2\n  The time …\n    one\n"), "{text}");
        assert!(text.ends_with("Servers that could not be asked\n  mbx-3: no answer in 20 s\n"), "{text}");
    }
}
