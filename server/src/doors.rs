//! The open doors of a running server: which addresses are listened on, and how that changes without dropping anybody.
//!
//! Law: closing a listening socket ends no session. A door that moves is bound at its new place before it is closed at
//! the old one, except where both are the same port and the system allows only one.

use crate::listen::{self, Guests};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub type Accepting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Accepts on a listener until told to stop.
pub type Acceptor = Arc<dyn Fn(TcpListener, watch::Receiver<bool>) -> Accepting + Send + Sync>;

/// See the module.
#[derive(Default)]
pub struct Doors {
    doors: Mutex<BTreeMap<&'static str, Door>>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
}

struct Door {
    accept: Acceptor,
    /// `None` where connections are not counted here.
    guests: Option<Arc<Guests>>,
    open: Vec<Open>,
    /// Where it is to be open again once its service is started.
    waiting: Option<Vec<SocketAddr>>,
    /// Where it was to be opened again and could not: another program has the place.
    missing: Vec<SocketAddr>,
}

struct Open {
    /// As asked for; port 0 stands for any.
    asked: SocketAddr,
    at: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Open {
    fn new(asked: SocketAddr, listener: TcpListener, accept: &Acceptor) -> io::Result<Open> {
        let at = listener.local_addr()?;
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(accept(listener, stop.subscribe()));
        Ok(Open { asked, at, stop, task })
    }

    async fn close(self) {
        self.stop.send_replace(true);
        // A task that panicked has been counted and logged.
        let _ = self.task.await;
    }
}

/// Two sockets that the system does not let listen at the same time.
pub fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same = a.port() == b.port() && a.port() != 0 && a.is_ipv4() == b.is_ipv4();
    same && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// What could not be done: where, and why.
#[derive(Debug)]
pub struct Trouble {
    pub door: &'static str,
    pub address: SocketAddr,
    pub error: io::Error,
}

impl Doors {
    /// Says what stands behind a name. Nothing is opened yet.
    pub fn put(&self, name: &'static str, guests: Option<Arc<Guests>>, accept: Acceptor) {
        let door = Door { accept, guests, open: Vec::new(), waiting: None, missing: Vec::new() };
        self.lock().insert(name, door);
    }

    /// Opens a bound listener under a name that was [`put`](Doors::put).
    pub fn open(&self, name: &str, asked: SocketAddr, listener: TcpListener) -> io::Result<()> {
        let mut doors = self.lock();
        let door = doors.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let open = Open::new(asked, listener, &door.accept)?;
        door.open.push(open);
        Ok(())
    }

    /// Name and address of each open listener.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let doors = self.lock();
        doors.iter().flat_map(|(name, door)| door.open.iter().map(|o| (*name, o.at))).collect()
    }

    pub fn is_open(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|door| !door.open.is_empty())
    }

    /// Whether a door was stopped by command, until it is started again.
    pub fn is_waiting(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|door| door.waiting.is_some())
    }

    /// Connections at these doors; doors that share their limits are counted once.
    pub fn guests(&self, names: &[&str]) -> usize {
        let doors = self.lock();
        let mut seen: BTreeSet<*const Guests> = BTreeSet::new();
        let counted = names.iter().filter_map(|n| doors.get(n)?.guests.clone());
        counted.filter(|g| seen.insert(Arc::as_ptr(g))).map(|g| g.now()).sum()
    }

    /// New limits of connections.
    pub fn limit(&self, limits: impl Fn(&str) -> (usize, usize)) {
        for (name, door) in self.lock().iter() {
            if let Some(guests) = &door.guests {
                guests.limit(limits(name));
            }
        }
    }

    /// Listens where `wanted` says and nowhere else. What cannot be bound is left out, and comes back.
    pub async fn follow(&self, name: &'static str, wanted: &[SocketAddr]) -> Vec<Trouble> {
        let _turn = self.turn.lock().await;
        let (accept, have, waits) = {
            let mut doors = self.lock();
            let Some(door) = doors.get_mut(name) else { return Vec::new() };
            // Where it was to be opened before counts no longer.
            door.missing.clear();
            let have: Vec<SocketAddr> = door.open.iter().map(|o| o.asked).collect();
            (Arc::clone(&door.accept), have, door.waiting.is_some())
        };
        if waits {
            if let Some(door) = self.lock().get_mut(name) {
                door.waiting = Some(wanted.to_vec());
            }
            return Vec::new();
        }
        let fresh: Vec<SocketAddr> = wanted.iter().copied().filter(|w| !have.contains(w)).collect();
        let gone = |o: &Open| !wanted.contains(&o.asked);
        // The port is free only when the old one is closed: its sockets go first, and come back if that fails.
        let in_the_way = self.take(name, |o| gone(o) && fresh.iter().any(|f| collide(*f, o.at)));
        let was: Vec<SocketAddr> = in_the_way.iter().map(|o| o.at).collect();
        for open in in_the_way {
            open.close().await;
        }
        let mut troubles = Vec::new();
        for address in fresh {
            match listen::bind(address).and_then(|listener| Open::new(address, listener, &accept)) {
                Ok(open) => {
                    tracing::info!(address = %open.at, "{name} is open");
                    self.keep(name, open);
                }
                Err(error) => troubles.push(Trouble { door: name, address, error }),
            }
        }
        if !troubles.is_empty() {
            for address in was {
                match listen::bind(address).and_then(|listener| Open::new(address, listener, &accept)) {
                    Ok(open) => self.keep(name, open),
                    // The new one may have the place, which is what was wanted.
                    Err(error) => tracing::debug!(%address, %error, "not opened again"),
                }
            }
            // The old ones stay, so that there is a way in.
            return troubles;
        }
        for open in self.take(name, gone) {
            tracing::info!(address = %open.at, "{name} is closed");
            open.close().await;
        }
        troubles
    }

    fn take(&self, name: &str, which: impl Fn(&Open) -> bool) -> Vec<Open> {
        let mut doors = self.lock();
        let Some(door) = doors.get_mut(name) else { return Vec::new() };
        let (taken, kept) = door.open.drain(..).partition(which);
        door.open = kept;
        taken
    }

    fn keep(&self, name: &str, open: Open) {
        if let Some(door) = self.lock().get_mut(name) {
            door.open.push(open);
        }
    }

    /// Closes a door until [`start`](Doors::start).
    pub async fn stop(&self, name: &'static str) {
        let _turn = self.turn.lock().await;
        let taken = self.take(name, |_| true);
        if let Some(door) = self.lock().get_mut(name) {
            let mut places = std::mem::take(&mut door.missing);
            places.extend(taken.iter().map(|o| if o.asked.port() == 0 { o.at } else { o.asked }));
            if places.is_empty() {
                return;
            }
            door.waiting = Some(places);
        }
        for open in taken {
            open.close().await;
        }
    }

    /// Opens a door that was stopped.
    pub async fn start(&self, name: &'static str) -> Vec<Trouble> {
        let wanted = self.lock().get_mut(name).and_then(|door| {
            let missing = std::mem::take(&mut door.missing);
            door.waiting.take().or(Some(missing).filter(|m| !m.is_empty()))
        });
        let Some(wanted) = wanted else { return Vec::new() };
        let troubles = self.follow(name, &wanted).await;
        if let Some(door) = self.lock().get_mut(name) {
            // It is opened as soon as the place is free: see `retry`.
            door.missing = troubles.iter().map(|t| t.address).collect();
        }
        troubles
    }

    /// Opens what a start could not open because another program had the place, where that is gone.
    pub async fn retry(&self) {
        let missing = |door: &Door| !door.missing.is_empty() && door.waiting.is_none();
        let names: Vec<&'static str> =
            self.lock().iter().filter(|(_, door)| missing(door)).map(|(name, _)| *name).collect();
        for name in names {
            let _turn = self.turn.lock().await;
            let (accept, wanted) = match self.lock().get_mut(name) {
                Some(door) if missing(door) => (Arc::clone(&door.accept), std::mem::take(&mut door.missing)),
                _ => continue,
            };
            for address in wanted {
                match listen::bind(address).and_then(|listener| Open::new(address, listener, &accept)) {
                    Ok(open) => {
                        tracing::info!(address = %open.at, "{name} is open again");
                        self.keep(name, open);
                    }
                    Err(_) => {
                        if let Some(door) = self.lock().get_mut(name) {
                            door.missing.push(address);
                        }
                    }
                }
            }
        }
    }

    /// Closes everything. Sessions are not waited for.
    pub async fn close(&self) {
        let _turn = self.turn.lock().await;
        let all: Vec<Open> = self.lock().values_mut().flat_map(|door| door.open.drain(..)).collect();
        for open in &all {
            open.stop.send_replace(true);
        }
        for open in all {
            open.close().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    fn doors() -> Doors {
        let doors = Doors::default();
        let accept: Acceptor = Arc::new(|listener, mut stop| {
            Box::pin(async move {
                let _listener = listener;
                let _ = stop.wait_for(|stop| *stop).await;
            })
        });
        doors.put("imap", None, accept);
        doors
    }

    fn free() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn a_door_moves_and_what_cannot_be_bound_leaves_the_old() {
        let doors = doors();
        let (one, other) = (free(), free());
        assert!(doors.follow("imap", &[one]).await.is_empty());
        TcpStream::connect(one).await.unwrap();
        assert!(doors.follow("imap", &[other]).await.is_empty());
        TcpStream::connect(other).await.unwrap();
        assert!(TcpStream::connect(one).await.is_err());
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let trouble = doors.follow("imap", &[taken.local_addr().unwrap()]).await;
        assert_eq!(trouble[0].error.kind(), io::ErrorKind::AddrInUse);
        TcpStream::connect(other).await.unwrap();
    }

    #[tokio::test]
    async fn the_same_port_on_fewer_addresses() {
        let doors = doors();
        let port = free().port();
        let (everywhere, here) =
            (SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from(([127, 0, 0, 1], port)));
        assert!(doors.follow("imap", &[everywhere]).await.is_empty());
        assert!(doors.follow("imap", &[here]).await.is_empty());
        assert_eq!(doors.addresses(), [("imap", here)]);
    }

    #[tokio::test]
    async fn a_stopped_door_opens_where_it_was() {
        let doors = doors();
        let at = free();
        doors.follow("imap", &[at]).await;
        doors.stop("imap").await;
        assert!(TcpStream::connect(at).await.is_err());
        // A change of the settings meanwhile waits, too.
        let other = free();
        assert!(doors.follow("imap", &[other]).await.is_empty());
        assert!(!doors.is_open("imap"));
        assert!(doors.start("imap").await.is_empty());
        assert_eq!(doors.addresses(), [("imap", other)]);
        doors.close().await;
        assert!(TcpStream::connect(other).await.is_err());
    }

    #[tokio::test]
    async fn a_place_that_somebody_else_took_is_taken_back_when_it_is_free() {
        let doors = doors();
        let at = free();
        doors.follow("imap", &[at]).await;
        doors.stop("imap").await;
        let taken = std::net::TcpListener::bind(at).unwrap();
        assert_eq!(doors.start("imap").await.len(), 1);
        doors.retry().await;
        assert!(!doors.is_open("imap") && !doors.is_waiting("imap"));
        // A command that starts it once more still knows where.
        assert_eq!(doors.start("imap").await.len(), 1);
        drop(taken);
        doors.retry().await;
        assert_eq!(doors.addresses(), [("imap", at)]);
        doors.retry().await;
        assert_eq!(doors.addresses().len(), 1);
    }
}
