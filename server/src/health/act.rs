//! What the keeper has decided, done: people are told, and where settings allow it something is mended.
//!
//! What is done is done at the server concerned, by the same means as the commands have, and noted: in the alert, in the
//! events, in the history of the settings.

use super::gather::{self, Ask};
use super::rounds::Health;
use super::tell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use waypost_admin::catalogue::Value;
use waypost_admin::run::{Services as _, Sink};
use waypost_admin::settings::candidate::changes;
use waypost_admin::settings::store::versions_of;
use waypost_admin::settings::{Author, Scope, Settings, parse_time};
use waypost_admin::{Catalogue, Event as Said, Exit, Invocation};
use waypost_directory::Server;
use waypost_health::event::{Event, Level, id};
use waypost_health::respond::SettingsChange;
use waypost_health::respond::component;
use waypost_health::{Alert, Decision};

/// Longest time of one action.
pub const ACT_MAX: Duration = Duration::from_secs(60);
/// As whom responders appear in histories.
pub const WHO: &str = "health responder";

/// Does it in the background: nobody's next look waits for it. `unnoted`: why it could not be written down before; then
/// people are told, and nothing else is done.
pub fn carry_out(health: &Arc<Health>, decision: Decision, unnoted: Option<String>) {
    match &decision {
        Decision::Alert(alert) | Decision::Changed(alert) | Decision::Mended(alert) => {
            health.log().alert(alert);
            note_alert(&decision, alert);
            if matches!(decision, Decision::Changed(_)) {
                return;
            }
            let (health, alert) = (Arc::clone(health), alert.clone());
            tokio::spawn(async move { tell::tell(&health, &alert).await });
        }
        _ => {
            let health = Arc::clone(health);
            tokio::spawn(async move {
                let done = match unnoted {
                    Some(why) => Err(format!("not done, since it could not be written down before: {why}")),
                    None => match tokio::time::timeout(ACT_MAX, somewhere(&health, &decision)).await {
                        Ok(done) => done,
                        Err(_) => Err(format!("it was not done in {} s", ACT_MAX.as_secs())),
                    },
                };
                match &done {
                    Ok(text) => tracing::warn!("responder: {}: {text}", decision.what()),
                    Err(e) => tracing::warn!("responder: {} failed: {e}", decision.what()),
                }
                let now = health.moment();
                health.keeping.with(|k| k.acted(&decision, done, now));
                // That it was not written is logged; what was decided is written already.
                let _ = gather::note(&health);
            });
        }
    }
}

fn note_alert(decision: &Decision, alert: &Alert) {
    let (code, line) = (alert.finding.cause.code, alert.line());
    match decision {
        Decision::Alert(_) => tracing::warn!(alert = alert.id, code, "{line}"),
        Decision::Mended(_) => tracing::info!(alert = alert.id, code, "mended: {line}"),
        _ => tracing::debug!(alert = alert.id, code, "more is known: {line}"),
    }
}

/// At the server that it concerns.
async fn somewhere(health: &Arc<Health>, decision: &Decision) -> Result<String, String> {
    let server = match decision {
        Decision::RestartRole { server, .. } | Decision::RenewCertificate { server, .. } => server.clone(),
        // The directory and the settings are kept by the primary, which is the keeper whenever it is there.
        _ => health.ground.here(),
    };
    if server == health.ground.here() {
        return here(health, decision).await;
    }
    let ask = Ask::Act { decision: Box::new(decision.clone()) };
    health.ask::<Result<String, String>>(&server, &ask).await?
}

/// At this server.
pub async fn here(health: &Arc<Health>, decision: &Decision) -> Result<String, String> {
    match decision {
        Decision::RestartRole { service, .. } => restart(health, service).await,
        Decision::Drain { server, service, .. } => drain(health, server, service).await,
        Decision::Restore { server, service, .. } => restore(health, server, service).await,
        Decision::UndoSettings { version, alert } => undo(health, *version, alert).await,
        Decision::RenewCertificate { thumbprint, .. } => renew(health, thumbprint),
        Decision::Alert(_) | Decision::Changed(_) | Decision::Mended(_) => {
            Err("there is nothing to do".into())
        }
    }
}

fn doors_of(service: &str) -> &'static [&'static str] {
    match service {
        "imap" => &["imap", "imaps"],
        "pop" => &["pop3", "pop3s"],
        "transport" => &["smtp", "submission", "submissions", "lmtp"],
        _ => &[],
    }
}

/// A restart that has begun is brought to its end, whoever waits for it: a service that is only stopped is worse than one
/// that hangs.
async fn restart(health: &Arc<Health>, service: &str) -> Result<String, String> {
    let (health, service) = (Arc::clone(health), service.to_owned());
    let done = tokio::spawn(async move { stop_and_start(&health, &service).await }).await;
    done.unwrap_or_else(|e| Err(format!("it broke off: {e}")))
}

async fn stop_and_start(health: &Health, service: &str) -> Result<String, String> {
    let hand = crate::run::hand(&health.ground.services, &health.ground.doors);
    let service = super::refine::service_of(service);
    if doors_of(service).iter().any(|door| health.ground.doors.is_waiting(door)) {
        return Err(format!("{service} was stopped by command: it stays so"));
    }
    // Sessions that do not end may be the very reason: the doors are opened again in any case.
    let stopped = hand.stop(service).await;
    hand.start(service).await.map_err(|e| e.message)?;
    match stopped {
        Ok(()) => Ok(format!("{service} was stopped and started")),
        Err(e) => Ok(format!("{service} was stopped and started; {}", e.message)),
    }
}

/// Runs a command of the catalogue, wherever it belongs.
async fn command(health: &Health, name: &str, args: &[(&str, &str)]) -> Result<(), String> {
    let context = health.ground.services.context.get().ok_or("the server has not finished starting")?;
    let context = waypost_admin::Context { caller: WHO.to_owned(), ..context.clone() };
    let args: BTreeMap<String, Value> =
        args.iter().map(|(k, v)| ((*k).to_owned(), Value::Text((*v).to_owned()))).collect();
    let invocation = Invocation { command: name.to_owned(), args, confirmed: true, ..Invocation::default() };
    let (sink, mut events) = Sink::new();
    let catalogue = Catalogue::new();
    let running = catalogue.run(&context, &invocation, sink);
    tokio::pin!(running);
    let mut failure = None;
    let exit = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => if let Said::Error(e) = event { failure = Some(e.message) },
            exit = &mut running => break exit,
        }
    };
    while let Ok(event) = events.try_recv() {
        if let Said::Error(e) = event {
            failure = Some(e.message);
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None if exit == Exit::OK => Ok(()),
        None => Err(format!("{name} ended with {}", exit.0)),
    }
}

/// Sends those who come to other servers, if there are any.
async fn drain(health: &Health, server: &str, service: &str) -> Result<String, String> {
    let component = component(service).ok_or_else(|| format!("{service} cannot be drained"))?;
    let now = health.ground.snapshot();
    let known = now.server(server).ok_or_else(|| format!("there is no server {server}"))?;
    if !known.is_active(component) {
        return Err(format!("{component} of {server} is out of service already"));
    }
    let able = |s: &&Arc<Server>| {
        s.id != server && s.revoked.is_none() && s.roles.frontend && s.is_active(component)
    };
    let Some(other) = now.servers().find(able) else {
        return Err(format!("{server} is the last one with {component} in service"));
    };
    set_component(health, server, component, "Draining").await?;
    Ok(format!("{component} of {server} takes nothing new; {} does the same", other.id))
}

/// Takes back what a responder has drained, and nothing that somebody else did.
async fn restore(health: &Health, server: &str, service: &str) -> Result<String, String> {
    let component = component(service).ok_or_else(|| format!("{service} cannot be drained"))?;
    if !health.ground.snapshot().server(server).is_some_and(|s| s.is_drained_for_health(component)) {
        return Err(format!("no responder has {component} of {server} drained any more"));
    }
    set_component(health, server, component, "Active").await?;
    Ok(format!("{component} of {server} takes new work again"))
}

async fn set_component(health: &Health, server: &str, component: &str, state: &str) -> Result<(), String> {
    let args =
        [("Identity", server), ("Component", component), ("State", state), ("Requester", Server::HEALTH)];
    command(health, "Set-ServerComponentState", &args).await
}

async fn undo(health: &Health, version: u32, alert: &str) -> Result<String, String> {
    let services = &health.ground.services;
    if !services.organisation.is_primary() {
        return Err("the server that keeps the settings is away".into());
    }
    let store = Arc::clone(&services.settings);
    let _turn = store.turn().await;
    let versions = versions_of(store.data(), Scope::Organisation).map_err(|e| e.to_string())?;
    if versions.last().is_none_or(|last| last.number != version) {
        return Err(format!("version {version} is not the last one any more"));
    }
    let before = versions.iter().rev().nth(1).map(|v| v.number).ok_or("there is nothing before it")?;
    let candidate = store.plan_version(Scope::Organisation, before).map_err(|e| e.to_string())?;
    let author = Author {
        who: WHO.to_owned(),
        when: health.ground.now(),
        why: Some(format!("version {version} broke what worked before: alert {alert}")),
        command: "health responder undo-settings".to_owned(),
        ..Author::default()
    };
    let saved = store.put(&candidate, &author).map_err(|e| e.to_string())?;
    let number = saved.version.map_or_else(|| "no new version".to_owned(), |n| format!("version {n}"));
    Ok(format!("what held before version {version} holds again, as {number}"))
}

/// Has ACME order a successor at once, whenever it was to be tried again.
fn renew(health: &Health, thumbprint: &str) -> Result<String, String> {
    let services = &health.ground.services;
    if !services.settings.current().acme.enabled {
        return Err("no certificates come by themselves here (acme.enabled)".into());
    }
    let root = services.organisation.place.root();
    if !crate::acme::came_by_itself(root, thumbprint) {
        return Err(format!(
            "{thumbprint} did not come from an authority by itself: who brought it has to renew it"
        ));
    }
    crate::acme::renew(root, thumbprint).map_err(|e| e.to_string())?;
    services.settings.announce();
    Ok(format!("the authority is asked for a successor of {thumbprint}"))
}

/// Notes every change of the settings: what came just before a fault is often its reason.
pub async fn follow_settings(health: Arc<Health>, mut stop: watch::Receiver<bool>) {
    let store = Arc::clone(&health.ground.services.settings);
    let mut changed = store.subscribe();
    let mut before = store.current();
    loop {
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let now = changed.borrow_and_update().clone();
        if now == before {
            continue;
        }
        let was = health.version();
        health.note_version();
        // What one machine has for itself is in its own document, and nobody else's business.
        let fresh = health.version() != was;
        if let Some(change) = change_of(&health, &before, &now).filter(|_| fresh) {
            let line = change.line();
            health.with_watch(|watch| {
                let mut event = Event::new(
                    change.at,
                    Level::Information,
                    "Settings",
                    id::SETTINGS_CHANGED,
                    format!("Settings: {line}"),
                );
                event.index = 0;
                watch.event(event);
            });
            let moment = health.moment();
            health.keeping.with(|k| k.settings_changed(change, moment));
        }
        before = now;
    }
}

fn change_of(health: &Health, before: &Settings, now: &Settings) -> Option<SettingsChange> {
    let data = health.ground.services.settings.data();
    let last = versions_of(data, Scope::Organisation).ok()?.pop()?;
    let head: BTreeMap<String, String> = last.head().into_iter().collect();
    let of = |name: &str| head.get(name).cloned().unwrap_or_default();
    let keys: Vec<String> = changes(before, now).into_iter().map(|c| c.key).collect();
    if keys.is_empty() {
        return None;
    }
    Some(SettingsChange {
        version: last.number,
        at: parse_time(&of("when")).unwrap_or_else(|| health.ground.now()),
        by: of("who"),
        keys,
        forced: head.contains_key("forced"),
        by_responder: of("who") == WHO,
    })
}
