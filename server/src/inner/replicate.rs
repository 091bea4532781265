//! The copy of what the organisation shares, on every server: directory, settings, inner CAs.
//!
//! The server that keeps them (the primary) answers legs for [`Service::Directory`]. One that follows opens one leg, says
//! where its copy stands, and is told of every change as it is made, in [`record`]s; whatever it knows survives a restart,
//! and it goes on with that while the primary is away. It reports back which CAs it trusts and which one made its
//! certificate, so that the primary knows when a change of the CA may go on.

use super::board::{Key, State};
use super::record::{self, Record};
use super::secrets::{self, Secrets};
use super::{Handlers, Handling, renew};
use crate::machine;
use crate::place::write_secret;
use crate::run::services::Services;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::watch;
use waypost_admin::settings::{Author, merge};
use waypost_directory::replica::{Delta, Extent, Mark};
use waypost_directory::{Directory, Roles, Server};
use waypost_trust::authority::Progress;
use waypost_trust::channel::BoxStream;
use waypost_trust::leg::{Arrived, Hello, NotOpened, Refusal, Service, frame};

/// Bytes of changes in one record.
const DELTAS_BYTES: usize = 4 * 1024 * 1024;

/// When nothing has happened for so long, the other end is told that we are there.
const ALIVE: Duration = Duration::from_secs(15);
/// When nothing was heard for so long, the other end is not there.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Between attempts to reach the primary, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// What a leg for the directory is opened for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Ask {
    /// Tell me of changes after this.
    Follow { epoch: u64, number: u64, full: bool, progress: Option<Progress> },
    /// A new inner certificate, for a request.
    Renew { request: String },
    /// The account has moved: it is at `to` from now on, if it was at `from`.
    Home { account: u32, from: String, to: String },
}

/// What those who follow report.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    progress: Progress,
}

/// Registers the service, for the server that keeps the organisation.
pub fn register(handlers: &mut Handlers, services: &Arc<Services>) {
    let services = Arc::clone(services);
    handlers
        .on(Service::Directory, move |arrived| Box::pin(answer(arrived, Arc::clone(&services))) as Handling);
}

// ---- at the primary

async fn answer(arrived: Arrived, services: Arc<Services>) {
    let from = arrived.from.to_string();
    let done = match serde_json::from_value(arrived.hello.detail.clone()) {
        _ if services.organisation.directory.is_copy() => {
            refuse(arrived, "NOT-PRIMARY", "this server has a copy itself").await
        }
        Ok(Ask::Follow { epoch, number, full, progress }) => {
            let extent = if full { Extent::Full } else { Extent::Thin };
            lead(arrived, &services, Mark { epoch, number }, extent, progress).await
        }
        Ok(Ask::Renew { request }) => match renew::issue(&services, &from, &request) {
            Ok(certificate) => {
                arrived.welcome(serde_json::json!({ "certificate": certificate })).await.map(drop)
            }
            Err(e) => refuse(arrived, "NOT-ISSUED", &e.to_string()).await,
        },
        Ok(Ask::Home { account, from: old, to }) => {
            match rehome(&services, &from, account, &old, &to).await {
                Ok(()) => arrived.welcome(serde_json::Value::Null).await.map(drop),
                Err(e) => refuse(arrived, "NOT-MOVED", &e).await,
            }
        }
        Err(e) => refuse(arrived, "NOT-UNDERSTOOD", &e.to_string()).await,
    };
    if let Err(e) = done {
        tracing::debug!(server = %from, error = %e, "a server that follows has gone");
    }
}

async fn refuse(arrived: Arrived, code: &str, text: &str) -> io::Result<()> {
    let (code, text) = (code.to_owned(), text.to_owned());
    arrived.refuse(Refusal { code, text, elsewhere: false, answer: serde_json::Value::Null }).await
}

/// An account goes from one server to another; the one that holds it may say so, or the primary itself. Were the other
/// believed, a single mailbox server could take whatever account it likes.
async fn rehome(services: &Services, by: &str, account: u32, from: &str, to: &str) -> Result<(), String> {
    let directory = &services.organisation.directory;
    if by != from {
        return Err(format!("{by} does not hold what is to move from {from} to {to}"));
    }
    set_home(directory, account, from, to).await
}

/// Says where an account is from now on, if it was at `from` until now. Saying it again changes nothing.
async fn set_home(directory: &Directory, account: u32, from: &str, to: &str) -> Result<(), String> {
    let now = directory.snapshot();
    let id = waypost_base::AccountId(account);
    let known = now.account(id).ok_or_else(|| format!("there is no account number {account}"))?;
    let target = now.server(to).ok_or_else(|| format!("there is no server {to}"))?;
    if !target.roles.mailbox || target.revoked.is_some() {
        return Err(format!("{to} holds no mailboxes"));
    }
    match now.home_of(known) {
        home if home == to => return Ok(()),
        home if home != from => return Err(format!("<{}> is at {home}, not at {from}", known.primary)),
        _ => {}
    }
    let home = target.id.clone();
    let moved = directory.update_account(id, |a| a.home = Some(home)).await;
    moved.map(drop).map_err(|e| e.to_string())
}

/// Tells a server of every change until it goes, or is not to be told any more.
async fn lead(
    arrived: Arrived,
    services: &Arc<Services>,
    mut mark: Mark,
    mut has: Extent,
    progress: Option<Progress>,
) -> io::Result<()> {
    let from = arrived.from.to_string();
    let directory = &services.organisation.directory;
    let (stream, _leg) = arrived.welcome(serde_json::Value::Null).await?;
    let (reader, mut writer) = tokio::io::split(stream);
    services.rotation.report(&from, progress);
    let reports = tokio::spawn(listen(reader, from.clone(), Arc::clone(services)));
    let _ended = Ended(reports.abort_handle());
    let mut marks = directory.marks();
    let mut settings = services.settings.subscribe();
    let mut trust = services.rotation.subscribe();
    let mut stop = services.stopping();
    let (mut told, mut trusted, mut hidden) = (None, None, None);
    loop {
        marks.borrow_and_update();
        settings.borrow_and_update();
        trust.borrow_and_update();
        let now = directory.snapshot();
        let Some(server) = now.server(&from).filter(|s| s.revoked.is_none()) else { return Ok(()) };
        let extent = server.roles.extent();
        (mark, has) = catch_up(&mut writer, directory, mark, has, extent).await?;
        tell_settings(&mut writer, services, &mut told).await?;
        tell_secrets(&mut writer, services, server.roles, &mut hidden).await?;
        let state = services.rotation.state();
        if trusted.as_ref() != Some(&state) {
            record::write(&mut writer, &Record::Bundle(state.bundle.clone())).await?;
            record::write(&mut writer, &Record::Issuer(state.issuer.clone())).await?;
            trusted = Some(state);
        }
        if directory.mark() != mark {
            continue;
        }
        tokio::select! {
            changed = marks.changed() => if changed.is_err() { return Ok(()) },
            changed = settings.changed() => if changed.is_err() { return Ok(()) },
            changed = trust.changed() => if changed.is_err() { return Ok(()) },
            () = stopped(&mut stop) => return Ok(()),
            () = tokio::time::sleep(ALIVE) => record::write(&mut writer, &Record::Alive).await?,
        }
        if reports.is_finished() {
            return Ok(());
        }
    }
}

/// Without the guard that waiting for a value gives.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Ends the listener of a leg with the leg.
struct Ended(tokio::task::AbortHandle);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn tell_settings(
    writer: &mut WriteHalf<BoxStream>,
    services: &Services,
    told: &mut Option<String>,
) -> io::Result<()> {
    let text = match services.settings.organisation_text() {
        Ok(text) => merge::shared(&text),
        Err(e) => {
            tracing::warn!(error = %e, "the settings were not read for other servers");
            return Ok(());
        }
    };
    if told.as_ref() != Some(&text) {
        record::write(writer, &Record::Settings(text.clone())).await?;
        *told = Some(text);
    }
    Ok(())
}

/// Files have no word for their changes: they are looked at whenever there is another reason to look.
async fn tell_secrets(
    writer: &mut WriteHalf<BoxStream>,
    services: &Services,
    roles: Roles,
    told: &mut Option<Secrets>,
) -> io::Result<()> {
    let found =
        if secrets::wanted(roles) { secrets::read(&services.organisation.place) } else { Ok(Secrets::new()) };
    match found {
        Ok(found) if told.as_ref() != Some(&found) => {
            record::write(writer, &Record::Secrets(found.clone())).await?;
            *told = Some(found);
        }
        Ok(_) => {}
        Err(e) => tracing::warn!(error = %e, "keys and passwords were not read for other servers"),
    }
    Ok(())
}

/// Brings a copy up to now; gives where it stands, and how much it has.
async fn catch_up(
    writer: &mut WriteHalf<BoxStream>,
    directory: &Directory,
    mark: Mark,
    has: Extent,
    extent: Extent,
) -> io::Result<(Mark, Extent)> {
    let deltas = if has == extent { directory.deltas_since(mark, DELTAS_BYTES) } else { None };
    let Some(deltas) = deltas else {
        let mark = send_copy(writer, directory, extent).await?;
        return Ok((mark, extent));
    };
    let Some(last) = deltas.last() else { return Ok((mark, has)) };
    let mark = Mark { number: last.number, ..mark };
    let deltas: Vec<Delta> = deltas.iter().map(|d| Delta::clone(&d.for_copy(extent))).collect();
    record::write(writer, &Record::Deltas(deltas)).await?;
    Ok((mark, has))
}

/// The whole directory, page by page. Gives where the copy stands at least; what changed meanwhile follows as changes.
pub async fn send_copy<W: AsyncWrite + Unpin>(
    writer: &mut W,
    directory: &Directory,
    extent: Extent,
) -> io::Result<Mark> {
    let mark = directory.mark();
    record::write(writer, &Record::Begin(extent)).await?;
    let mut from = None;
    loop {
        let page = directory.copy_page(from.take(), extent).await.map_err(io::Error::other)?;
        from = page.to.clone();
        record::write(writer, &Record::Page(page)).await?;
        if from.is_none() {
            break;
        }
    }
    record::write(writer, &Record::Copied(mark)).await?;
    Ok(mark)
}

/// Hears what a server that follows reports.
async fn listen(mut reader: ReadHalf<BoxStream>, from: String, services: Arc<Services>) {
    while let Ok(Report { progress }) = frame::read(&mut reader).await {
        services.rotation.report(&from, Some(progress));
    }
}

// ---- at a server that follows

/// Follows the primary until the server stops. Does nothing on the primary itself.
pub async fn follow(services: Arc<Services>) {
    if !services.organisation.directory.is_copy() {
        return;
    }
    let mut stop = services.stopping();
    let mut wait = AGAIN.0;
    let mut last: Option<String> = None;
    loop {
        let ended = tokio::select! {
            ended = once(&services) => ended,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let text = match ended {
            Ok(()) => {
                wait = AGAIN.0;
                "the primary has ended the connection".to_owned()
            }
            Err(e) => e.to_string(),
        };
        services.following.lost(&text, services.organisation.clock.now());
        // The same again is no news.
        if last.as_ref() != Some(&text) {
            tracing::warn!(why = %text, "the primary is not followed; what this server knows goes on to hold");
            last = Some(text);
        }
        tokio::select! {
            () = pause(&services, wait) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        wait = (wait * 2).min(AGAIN.1);
    }
}

/// Waits for so long; less where another leg between the primary and this server is well again before.
async fn pause(services: &Services, wait: Duration) {
    let (begun, failed) = (tokio::time::Instant::now(), services.organisation.clock.now());
    while let Some(left) = wait.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        tokio::time::sleep(left.min(AGAIN.0)).await;
        let now = services.organisation.directory.snapshot();
        let Some(primary) = now.primary() else { continue };
        // What was well all the time says nothing of this leg.
        let well = |(key, state): &(Key, State)| {
            let of_primary = key.from == primary.id || key.to == primary.id;
            of_primary && state.finding.is_none() && state.since.since(failed) > 0
        };
        if services.inside.board.rows().iter().any(well) {
            return;
        }
    }
}

/// Opens a leg to the server that keeps the organisation.
pub async fn ask_primary(services: &Services, ask: &Ask) -> Result<waypost_trust::leg::Opened, String> {
    let primary = services.organisation.directory.snapshot().primary().map(|s: &Arc<Server>| s.id.clone());
    let primary = primary.ok_or("the directory names no server that keeps it")?;
    let mut hello = Hello::new(Service::Directory, machine::correlation());
    hello.detail = serde_json::to_value(ask).map_err(|e| e.to_string())?;
    services.inner.open(&primary, hello).await.map_err(|e: NotOpened| e.to_string())
}

/// Says where an account is from now on, at the primary, from wherever we are.
pub async fn move_home(services: &Services, account: u32, from: &str, to: &str) -> Result<(), String> {
    let directory = &services.organisation.directory;
    if !directory.is_copy() {
        return set_home(directory, account, from, to).await;
    }
    let ask = Ask::Home { account, from: from.to_owned(), to: to.to_owned() };
    ask_primary(services, &ask).await.map(drop)
}

/// One leg, for as long as it stands.
async fn once(services: &Arc<Services>) -> Result<(), String> {
    let organisation = &services.organisation;
    let directory = &organisation.directory;
    let joined = organisation.place.read_joined().map_err(|e| e.to_string())?;
    let mark = directory.mark();
    let mut extent = joined.roles.extent();
    let progress = renew::progress(&organisation.place).ok();
    let follow = Ask::Follow {
        epoch: mark.epoch,
        number: mark.number,
        full: extent == Extent::Full,
        progress: progress.clone(),
    };
    let opened = ask_primary(services, &follow).await?;
    tracing::info!("the primary is followed");
    services.following.found(organisation.clock.now());
    let (mut reader, mut writer) = tokio::io::split(opened.stream);
    let mut reported = progress;
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, record::read(&mut reader)).await;
        let record = match next {
            Ok(Ok(record)) => record,
            Ok(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(e)) => return Err(format!("the connection to the primary: {e}")),
            Err(_) => return Err(format!("the primary was silent for {} s", SILENCE_MAX.as_secs())),
        };
        services.following.found(organisation.clock.now());
        take(services, record, &mut extent).await?;
        let progress = renew::progress(&organisation.place).ok();
        if progress != reported
            && let Some(progress) = progress.clone()
        {
            frame::write(&mut writer, &Report { progress }).await.map_err(|e| e.to_string())?;
        }
        reported = progress;
    }
}

async fn take(services: &Arc<Services>, record: Record, extent: &mut Extent) -> Result<(), String> {
    let organisation = &services.organisation;
    let directory = &organisation.directory;
    match record {
        Record::Deltas(deltas) => directory.apply(&deltas).await.map_err(|e| e.to_string())?,
        Record::Begin(begun) => *extent = begun,
        Record::Page(page) => directory.take_page(&page, *extent).await.map_err(|e| e.to_string())?,
        Record::Copied(mark) => {
            directory.copied(mark).await.map_err(|e| e.to_string())?;
            note_roles(services).map_err(|e| e.to_string())?;
        }
        Record::Settings(text) => adopt(services, text),
        Record::Secrets(theirs) => match secrets::take(&organisation.place, &theirs) {
            // Whoever needs a password reads it when the settings are applied.
            Ok(true) => services.settings.announce(),
            Ok(false) => {}
            Err(e) => tracing::error!(error = %e, "keys and passwords were not taken over"),
        },
        Record::Bundle(pem) => renew::take_bundle(services, &pem).map_err(|e| e.to_string())?,
        Record::Issuer(fingerprint) => {
            services.rotation.issuer_is(&fingerprint);
        }
        Record::Alive => {}
    }
    Ok(())
}

/// The copy is of the extent that the roles ask for: notes them, so that the next start asks for the same.
fn note_roles(services: &Services) -> io::Result<()> {
    let place = &services.organisation.place;
    let now = services.organisation.directory.snapshot();
    let Some(own) = now.here().and_then(|id| now.server(id)) else { return Ok(()) };
    let mut joined = place.read_joined()?;
    joined.roles = own.roles;
    write_secret(&place.joined(), &serde_json::to_vec_pretty(&joined)?)
}

/// The organisation's settings; what does not fit this server's own is told, and the old go on to hold.
fn adopt(services: &Services, text: String) {
    match services.settings.organisation_text() {
        Ok(old) if old == text => return,
        _ => {}
    }
    let author = Author {
        who: "the primary".into(),
        when: services.organisation.clock.now(),
        command: "settings of the organisation".into(),
        ..Author::default()
    };
    if let Err(e) = services.settings.adopt(text, &author) {
        tracing::error!(error = %e, "the organisation's settings were not taken over: the old ones stay");
    }
}
