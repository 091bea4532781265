//! The keeper of the organisation's alerts: asks every server for its report, judges them together, and has done what is
//! decided.
//!
//! The server that keeps the directory is the keeper. Where it has not asked for a while, the first of the others by id does
//! its work until it asks again: each server waits the longer before it begins, the later its id comes. Open alerts go
//! along with every question, so that the next keeper goes on with them.
//!
//! The leg for it stays open, since it is used again and again; a leg of a keeper that is not heard is another one's turn.

use super::act;
use super::rounds::Health;
use crate::inner::{Handlers, Handling};
use crate::machine;
use crate::run::services::Services;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use waypost_base::explain::{Confidence, Evidence, Finding, Leg, Outcome, Party};
use waypost_directory::Snapshot;
use waypost_health::respond::{Kind as RespondKind, component};
use waypost_health::{Alert, Decision, Keeper, Moment, ProbeId, ProbeResult, ServerReport, Subject, Timing};
use waypost_trust::leg::{Arrived, Hello, Opened, Refusal, Service};

/// Bytes of a report or of all open alerts: two thousand monitors with their last results.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Alerts that a question carries.
const CARRIED_MAX: usize = 200;
/// A server that is not the first in line waits so many silences of the keeper, and one more for each before it.
const PATIENCE: u32 = 4;
/// For questions of commands to the keeper.
const ASKING_MAX: Duration = Duration::from_secs(10);

/// What a leg for health is opened for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Ask {
    /// The keeper's leg: questions go one way, reports come the other.
    Follow,
    /// The alerts, of the keeper.
    Alerts { past: bool },
    /// Something that the keeper wants done at that server.
    Act { decision: Box<Decision> },
}

/// The keeper's question.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    /// The keeper's clock.
    now: waypost_base::Timestamp,
    alerts: Vec<Alert>,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// The server's clock.
    now: waypost_base::Timestamp,
    report: ServerReport,
}

async fn send<S: AsyncWrite + Unpin, T: Serialize>(stream: &mut S, value: &T) -> io::Result<()> {
    let json = serde_json::to_vec(value).map_err(io::Error::other)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&json).await?;
    stream.flush().await
}

async fn receive<S: AsyncRead + Unpin, T: DeserializeOwned>(stream: &mut S) -> io::Result<T> {
    let length = stream.read_u32().await? as usize;
    if length > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes are too many")));
    }
    let mut json = vec![0; length];
    stream.read_exact(&mut json).await?;
    serde_json::from_slice(&json).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// The keeper, where it is here, and what is known of it elsewhere.
pub struct Keeping {
    here: String,
    begun: Instant,
    keeper: Mutex<Keeper>,
    elsewhere: Mutex<Elsewhere>,
}

#[derive(Default)]
struct Elsewhere {
    /// The keeper here is at work.
    active: bool,
    /// Who asked last, and when.
    asked: Option<(String, Instant)>,
    /// The open alerts that it told.
    alerts: Vec<Alert>,
    /// Alerts that this server has kept until another one asked, and that the other one has not told of yet.
    handed: Vec<Alert>,
}

impl Keeping {
    pub fn new(here: String, timing: Timing) -> Keeping {
        let keeper = Mutex::new(Keeper::new(here.clone(), timing));
        Keeping { here, begun: Instant::now(), keeper, elsewhere: Mutex::default() }
    }

    fn elsewhere(&self) -> std::sync::MutexGuard<'_, Elsewhere> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn with<T>(&self, work: impl FnOnce(&mut Keeper) -> T) -> T {
        work(&mut self.keeper.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Open alerts, where they are kept here.
    pub fn open(&self) -> usize {
        if self.is_active() { self.with(|k| k.alerts(false).len()) } else { 0 }
    }

    pub fn is_active(&self) -> bool {
        self.elsewhere().active
    }

    /// Who keeps the alerts, as far as this server knows.
    pub fn keeper(&self) -> Option<String> {
        let elsewhere = self.elsewhere();
        if elsewhere.active {
            Some(self.here.clone())
        } else {
            elsewhere.asked.as_ref().map(|(id, _)| id.clone())
        }
    }

    /// The open alerts as they were told last.
    pub fn told(&self) -> Vec<Alert> {
        self.elsewhere().alerts.clone()
    }

    fn handed(&self) -> Vec<Alert> {
        self.elsewhere().handed.clone()
    }
}

impl Health {
    /// Alerts, wherever they are kept.
    pub async fn alerts(&self, past: bool) -> Result<Vec<Alert>, String> {
        if self.keeping.is_active() {
            return Ok(self.keeping.with(|k| k.alerts(past)));
        }
        let keeper = self.keeping.keeper().ok_or("no server has asked for this one's health yet")?;
        self.ask(&keeper, &Ask::Alerts { past }).await
    }

    /// Asks another server's health for something.
    pub async fn ask<T: DeserializeOwned>(&self, server: &str, ask: &Ask) -> Result<T, String> {
        let mut hello = Hello::new(Service::Health, machine::correlation());
        hello.detail = serde_json::to_value(ask).map_err(|e| e.to_string())?;
        let asking = async {
            let opened = self.ground.services.inner.open(server, hello).await.map_err(|e| e.to_string())?;
            let mut stream = opened.stream;
            receive(&mut stream).await.map_err(|e| format!("{server} broke off: {e}"))
        };
        // Sessions that are ended get their time to go.
        let limit = if matches!(ask, Ask::Act { .. }) { act::ACT_MAX } else { ASKING_MAX };
        match tokio::time::timeout(limit, asking).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("{server} does not answer in {} s", limit.as_secs())),
        }
    }

    fn report(&self) -> ServerReport {
        let now = self.moment();
        let mut report = self.with_watch(|watch| watch.report(now));
        if !self.keeping.is_active() {
            report.alerts = self.keeping.told();
            report.handed = self.keeping.handed();
        }
        report
    }
}

// ---- at every server

/// Registers the service.
pub fn register(handlers: &mut Handlers, services: &Arc<Services>) {
    let services = Arc::downgrade(services);
    handlers.on(Service::Health, move |arrived: Arrived| {
        let health = services.upgrade().and_then(|s| s.health.get()?.upgrade());
        Box::pin(async move {
            let from = arrived.from.to_string();
            let done = match health {
                Some(health) => answer(arrived, &health).await,
                None => refuse(arrived, "NOT-STARTED", "health has not started here").await,
            };
            if let Err(e) = done {
                tracing::debug!(server = %from, error = %e, "a leg for health has ended");
            }
        }) as Handling
    });
}

async fn refuse(arrived: Arrived, code: &str, text: &str) -> io::Result<()> {
    let (code, text) = (code.to_owned(), text.to_owned());
    arrived.refuse(Refusal { code, text, elsewhere: false, answer: serde_json::Value::Null }).await
}

async fn answer(arrived: Arrived, health: &Arc<Health>) -> io::Result<()> {
    let from = arrived.from.to_string();
    match serde_json::from_value(arrived.hello.detail.clone()) {
        Ok(Ask::Follow) if !may_keep(health, &from) => {
            refuse(arrived, "NOT-KEEPER", "the primary keeps the alerts, and is well").await
        }
        Ok(Ask::Follow) => {
            let (stream, _leg) = arrived.welcome(serde_json::Value::Null).await?;
            followed(stream, health, &from).await
        }
        Ok(Ask::Alerts { past }) => {
            let alerts = health.keeping.with(|k| k.alerts(past));
            let (mut stream, _leg) = arrived.welcome(serde_json::Value::Null).await?;
            send(&mut stream, &alerts).await
        }
        Ok(Ask::Act { .. }) if !is_keeper(health, &from) => {
            refuse(arrived, "NOT-KEEPER", "only the keeper of the alerts has something done").await
        }
        Ok(Ask::Act { decision }) if !may_act(health, &decision) => {
            refuse(arrived, "NOT-ALLOWED", "the settings of this server do not allow that").await
        }
        Ok(Ask::Act { decision }) => {
            let (mut stream, _leg) = arrived.welcome(serde_json::Value::Null).await?;
            let done = act::here(health, &decision).await;
            send(&mut stream, &done).await
        }
        Err(e) => refuse(arrived, "NOT-UNDERSTOOD", &e.to_string()).await,
    }
}

/// Whether a server may be the keeper: the primary always, another while the primary is not heard.
fn may_keep(health: &Health, from: &str) -> bool {
    let now = health.ground.snapshot();
    let Some(primary) = now.primary() else { return true };
    if primary.id == from {
        return true;
    }
    let elsewhere = health.keeping.elsewhere();
    let heard = elsewhere.asked.as_ref().filter(|(id, _)| *id == primary.id);
    let silent = heard.map_or(health.keeping.begun, |(_, at)| *at).elapsed();
    stands_in(&now, from) && silent > silence(health) * PATIENCE && primary.id != health.ground.here()
}

/// Whether a server may be the keeper where the primary is not heard: one that meets strangers alone may not, since the
/// keeper has things done elsewhere.
fn stands_in(now: &Snapshot, id: &str) -> bool {
    now.server(id).is_some_and(|s| s.revoked.is_none() && (s.roles.mailbox || s.roles.transport))
}

/// Whether the keeper may have that done here: what is done at other servers, to this one, as the settings allow.
fn may_act(health: &Health, decision: &Decision) -> bool {
    let here = health.ground.here();
    let kind = match decision {
        Decision::RestartRole { server, .. } if *server == here => RespondKind::RestartRole,
        Decision::RenewCertificate { server, .. } if *server == here => RespondKind::RenewCertificate,
        _ => return false,
    };
    health.settings().health.responders().may.contains(&kind)
}

fn is_keeper(health: &Health, from: &str) -> bool {
    health.keeping.keeper().as_deref() == Some(from) && may_keep(health, from)
}

fn silence(health: &Health) -> Duration {
    Duration::from_millis(health.timing().silent())
}

/// The keeper asks, this server answers; what changes is told unasked.
async fn followed<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    health: &Arc<Health>,
    from: &str,
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (sender, mut questions) = mpsc::channel::<Question>(4);
    let reading = tokio::spawn(async move {
        while let Ok(question) = receive::<_, Question>(&mut reader).await {
            if sender.send(question).await.is_err() {
                return;
            }
        }
    });
    let mut changed = health.changed.subscribe();
    let mut stop = health.ground.services.stopping();
    let done = loop {
        let question = tokio::select! {
            question = questions.recv() => match question {
                Some(question) => Some(question),
                None => break Ok(()),
            },
            told = changed.changed() => match told {
                Ok(()) => None,
                Err(_) => break Ok(()),
            },
            _ = stop.wait_for(|stop| *stop) => break Ok(()),
        };
        if let Some(question) = question {
            let offset = question.now.since(health.ground.now());
            health.shared.clocks.heard(from, offset, 0);
            let mut elsewhere = health.keeping.elsewhere();
            elsewhere.asked = Some((from.to_owned(), Instant::now()));
            elsewhere.handed.retain(|alert| !question.alerts.iter().any(|known| known.id == alert.id));
            elsewhere.alerts = question.alerts;
        }
        let answer = Answer { now: health.ground.now(), report: health.report() };
        if let Err(e) = send(&mut writer, &answer).await {
            break Err(e);
        }
    };
    reading.abort();
    done
}

// ---- at the keeper

/// What a link brings.
enum News {
    Report { from: String, report: Box<ServerReport>, at: Moment },
    Unheard { server: String, result: Box<ProbeResult> },
}

/// Keeps the organisation's alerts while it is this server's turn, until the server stops.
pub async fn keep(health: Arc<Health>, mut stop: watch::Receiver<bool>) {
    let begun = Instant::now();
    let (sender, mut news) = mpsc::channel::<News>(256);
    let mut links: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
    let mut changed = health.changed.subscribe();
    loop {
        let timing = health.timing();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(timing.gather())) => {}
            _ = changed.changed() => {}
            Some(heard) = news.recv() => take(&health, heard),
            _ = stop.wait_for(|stop| *stop) => break,
        }
        while let Ok(heard) = news.try_recv() {
            take(&health, heard);
        }
        let settings = health.settings();
        let turn = settings.health.enabled && is_our_turn(&health, begun);
        set_active(&health, turn);
        let wanted = if turn { others(&health) } else { Vec::new() };
        links.retain(|server, link| {
            let stays = wanted.contains(server) && !link.is_finished();
            if !stays {
                link.abort();
            }
            stays
        });
        for server in &wanted {
            if !links.contains_key(server) {
                let task = tokio::spawn(link(Arc::clone(&health), server.clone(), sender.clone()));
                links.insert(server.clone(), task);
            }
        }
        if turn {
            judge(&health, &wanted, timing).await;
        }
    }
    links.into_values().for_each(|link| link.abort());
}

/// The other servers of the organisation.
fn others(health: &Health) -> Vec<String> {
    let here = health.ground.here();
    let now = health.ground.snapshot();
    now.servers().filter(|s| s.revoked.is_none() && s.id != here).map(|s| s.id.clone()).collect()
}

fn is_our_turn(health: &Health, begun: Instant) -> bool {
    let now = health.ground.snapshot();
    let here = health.ground.here();
    let Some(primary) = now.primary() else { return true };
    if primary.id == here {
        return true;
    }
    if !stands_in(&now, &here) || is_shown_out(health, &primary.id) {
        return false;
    }
    let before =
        now.servers().filter(|s| stands_in(&now, &s.id) && s.id < here && s.id != primary.id).count();
    let patience = silence(health) * (PATIENCE + u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1));
    let elsewhere = health.keeping.elsewhere();
    let heard = elsewhere.asked.as_ref().map_or(begun, |(_, at)| *at);
    heard.elapsed() > patience
}

/// Whether the primary has refused this server as one that was revoked: it is there, and keeps the alerts without it.
fn is_shown_out(health: &Health, primary: &str) -> bool {
    let here = health.ground.here();
    let refused = |finding: &Option<Finding>| {
        finding.as_ref().is_some_and(|f| f.cause == waypost_trust::leg::cause::REVOKED)
    };
    let rows = health.ground.services.inside.board.rows();
    rows.iter().any(|(key, state)| key.from == here && key.to == primary && refused(&state.finding))
}

fn set_active(health: &Health, turn: bool) {
    let mut elsewhere = health.keeping.elsewhere();
    if elsewhere.active == turn {
        return;
    }
    elsewhere.active = turn;
    let heard = elsewhere.asked.is_some();
    let mut alerts = std::mem::take(&mut elsewhere.alerts);
    if turn {
        alerts.append(&mut elsewhere.handed);
    }
    drop(elsewhere);
    let here = health.ground.here();
    if turn {
        let now = health.moment();
        // Whoever has kept them meanwhile knows more than this server did.
        if !heard {
            let kept = health.memory.alerts();
            if kept.is_empty() && alerts.is_empty() {
                alerts = health.log().open_alerts();
            }
            health.keeping.with(|k| k.recall(kept, now));
        }
        health.keeping.with(|k| k.adopt(alerts, now));
    } else {
        let open = health.keeping.with(Keeper::hand_over);
        health.keeping.elsewhere().handed = open;
    }
    let text = if turn {
        format!("{here} keeps the alerts from now on.")
    } else {
        format!("{here} no longer keeps the alerts.")
    };
    tracing::info!("{text}");
    health.with_watch(|watch| {
        use waypost_health::event::{Event, Level, id};
        watch.event(Event::new(health.ground.now(), Level::Information, "Keeper", id::KEEPER_CHANGED, text));
    });
}

fn take(health: &Health, news: News) {
    let now = health.moment();
    match news {
        News::Report { from, mut report, at } => {
            let directory = health.ground.snapshot();
            if !stands_in(&directory, &from) {
                report.handed.clear();
            }
            // Whatever it says of itself, it is who the leg has proved.
            report.server = from;
            health.keeping.with(|k| k.hear(*report, at));
        }
        News::Unheard { server, result } => health.keeping.with(|k| k.unheard(&server, *result, now)),
    }
}

async fn judge(health: &Arc<Health>, others: &[String], timing: Timing) {
    let settings = health.settings();
    let report = health.report();
    let now = health.moment();
    let mut servers = others.to_vec();
    servers.push(health.ground.here());
    let drained = drained(health);
    let (decisions, events) = health.keeping.with(|k| {
        k.set_timing(timing);
        k.set_responders(settings.health.responders());
        k.set_alert_slow(settings.health.alert_slow);
        k.servers(&servers);
        k.set_drained(drained);
        k.hear(report, now);
        (k.judge(now), k.take_events())
    });
    let noted = note(health);
    if !events.is_empty() {
        health.with_watch(|watch| events.into_iter().for_each(|event| watch.event(event)));
    }
    health.shared.clocks.keep_only(others);
    for decision in decisions {
        act::carry_out(health, decision, noted.as_ref().err().map(ToString::to_string));
    }
}

/// Writes down what the keeper has to know after a restart, where that has changed.
pub fn note(health: &Health) -> io::Result<()> {
    let now = health.moment();
    let (changes, kept) = health.keeping.with(|k| {
        let changes = k.changes();
        (changes, health.memory.is_behind(changes).then(|| k.remember(now)))
    });
    let Some(kept) = kept else { return Ok(()) };
    let done = health.memory.keep_alerts(kept, changes);
    if let Err(e) = &done {
        tracing::warn!(error = %e, "alerts are forgotten when the server restarts");
    }
    done
}

/// What responders have taken out of service, by the directory.
fn drained(health: &Health) -> BTreeSet<(String, String)> {
    let now = health.ground.snapshot();
    let services = |id: &str| {
        let server = now.server(id).cloned();
        ["imap", "pop", "transport"].into_iter().filter(move |service| {
            let component = component(service).unwrap_or_default();
            server.as_ref().is_some_and(|s| s.is_drained_for_health(component))
        })
    };
    now.servers().flat_map(|s| services(&s.id).map(|of| (s.id.clone(), of.to_owned()))).collect()
}

/// Asks one server again and again, over one leg, until it breaks; then over the next one.
async fn link(health: Arc<Health>, server: String, news: mpsc::Sender<News>) {
    loop {
        let timing = health.timing();
        let silent = Duration::from_millis(timing.silent()).max(Duration::from_millis(500));
        let mut hello = Hello::new(Service::Health, machine::correlation());
        hello.detail = serde_json::to_value(Ask::Follow).unwrap_or_default();
        let opening = health.ground.services.inner.open(&server, hello);
        let failed = match tokio::time::timeout(silent.max(Duration::from_secs(1)), opening).await {
            Ok(Ok(opened)) => talk(&health, &server, opened, &news).await,
            Ok(Err(no)) => Some((*no.leg, *no.finding)),
            Err(_) => Some(mute(&health, &server, "the inner leg was not opened in time")),
        };
        let Some((leg, finding)) = failed else { return };
        let here = health.ground.here();
        let probe = ProbeId::new("RemoteMonitoring", "ServerReportProbe", server.clone());
        let mut result = ProbeResult::new(probe, &here, health.ground.now());
        result.legs.push(leg);
        result.finding = Some(finding);
        result.subject = vec![Subject::leg(&here, &server)];
        if news.send(News::Unheard { server: server.clone(), result: Box::new(result) }).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(timing.gap())).await;
    }
}

/// A server that says nothing.
fn mute(health: &Health, server: &str, text: &str) -> (Leg, Finding) {
    let cause = waypost_health::cause::SILENT;
    let mut leg = Leg::start(
        "inner.health",
        Party::new("keeper", health.ground.here()),
        Party::new("server", server),
        health.ground.now(),
    );
    leg.outcome = Outcome::Failed { cause, text: text.to_owned(), retry: true };
    let fact =
        Evidence { source: health.ground.here(), time: Some(health.ground.now()), fact: text.to_owned() };
    let remedy = vec![cause.remedy.to_owned()];
    let finding = Finding {
        cause,
        confidence: Confidence::Certain,
        evidence: vec![fact],
        remedy,
        untested: Vec::new(),
    };
    (leg, finding)
}

/// Over a leg that stands. What comes back is why it does so no longer; `None`: nobody wants to know any more.
async fn talk(
    health: &Arc<Health>,
    server: &str,
    opened: Opened,
    news: &mpsc::Sender<News>,
) -> Option<(Leg, Finding)> {
    let (mut reader, mut writer) = tokio::io::split(opened.stream);
    let (sender, mut answers) = mpsc::channel::<io::Result<Answer>>(8);
    let reading = tokio::spawn(async move {
        loop {
            let answer = receive::<_, Answer>(&mut reader).await;
            let over = answer.is_err();
            if sender.send(answer).await.is_err() || over {
                return;
            }
        }
    });
    let _ends = AbortOnDrop(reading.abort_handle());
    loop {
        let timing = health.timing();
        let mut alerts = health.keeping.with(|k| k.alerts(false));
        alerts.truncate(CARRIED_MAX);
        let asked = Instant::now();
        if let Err(e) = send(&mut writer, &Question { now: health.ground.now(), alerts }).await {
            return Some(mute(health, server, &format!("{server} broke off: {e}")));
        }
        let mut answered = false;
        let next = Duration::from_millis(timing.gather());
        let silent = Duration::from_millis(timing.silent()).max(Duration::from_millis(500));
        loop {
            let until = if answered { next } else { silent };
            let left = until.saturating_sub(asked.elapsed());
            match tokio::time::timeout(left, answers.recv()).await {
                Err(_) if answered => break,
                Err(_) => {
                    let text = format!("{server} does not answer in {:.1} s", silent.as_secs_f64());
                    return Some(mute(health, server, &text));
                }
                Ok(Some(Ok(answer))) => {
                    if !answered {
                        let way = i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX);
                        let offset = answer.now.since(health.ground.now()) + way / 2;
                        health.shared.clocks.heard(server, offset, way);
                    }
                    answered = true;
                    let (from, report) = (server.to_owned(), Box::new(answer.report));
                    let heard = News::Report { from, report, at: health.moment() };
                    if news.send(heard).await.is_err() {
                        return None;
                    }
                }
                Ok(Some(Err(e))) => return Some(mute(health, server, &format!("{server} broke off: {e}"))),
                Ok(None) => return Some(mute(health, server, &format!("{server} broke off"))),
            }
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
