//! Commands over a local socket. The kernel says who is at the other end: the server's own user and root are let in.

use crate::place::Place;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use waypost_admin::rights::Rights;
use waypost_admin::run::World;
use waypost_admin::{Catalogue, Context, wire};

/// Commands that run at the same time; more wait for their turn.
const COMMANDS_MAX: usize = 16;

/// Binds the socket for the owner alone. One that a killed server left behind is replaced: the store's lock has shown
/// already that no other server runs here.
pub fn listen(place: &Place) -> io::Result<UnixListener> {
    let path = place.control();
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = place.at_control(|path| UnixListener::bind(path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until told to stop. `base` is the context without a caller.
pub async fn serve(listener: UnixListener, base: Context, mut stop: watch::Receiver<bool>) {
    let catalogue = Arc::new(Catalogue::new());
    let turns = Arc::new(Semaphore::new(COMMANDS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::warn!(error = %e, "the control socket failed to accept");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(caller) = caller(&stream) else { continue };
        let (catalogue, turns) = (Arc::clone(&catalogue), Arc::clone(&turns));
        let context = Context { caller, ..base.clone() };
        tokio::spawn(async move {
            let Ok(_turn) = turns.acquire().await else { return };
            if let Err(e) = wire::serve(stream, &catalogue, &context).await {
                tracing::debug!(error = %e, "a command's client went away");
            }
        });
    }
}

/// The peer's name if it may run commands.
fn caller(stream: &UnixStream) -> Option<String> {
    let peer = stream.peer_cred().ok()?;
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() != own && peer.uid() != 0 {
        tracing::warn!(uid = peer.uid(), "a stranger at the control socket was sent away");
        return None;
    }
    Some(user_name(peer.uid()))
}

/// The name that the password file has for a user, or the bare number.
pub fn user_name(uid: u32) -> String {
    let wanted = uid.to_string();
    let file = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(wanted.as_str())).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| format!("uid {wanted}"))
}

/// What commands inside this server work on.
pub fn context(place: &Place, clock: waypost_base::Clock, world: World) -> Context {
    Context {
        data: place.root().to_owned(),
        clock,
        caller: String::new(),
        from: "console".into(),
        rights: Rights::CONSOLE,
        running: true,
        world: Some(world),
    }
}
