//! Sockets: binds addresses, accepts within limits, and hands each connection to its service as a channel.
//!
//! A connection over the limits is closed at once and counted; it never costs a task or a handshake. A service that
//! stops keeps its sessions: they are told by their own stop signal, and waited for.

use crate::machine;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use waypost_base::id::Correlation;
use waypost_base::metrics::{Counter, Gauge};
use waypost_trust::channel::{Channel, TlsAccept};

/// The kernel's queue of connections that are not accepted yet.
const BACKLOG: u32 = 1024;
/// How long to wait after accept failed for lack of descriptors or memory.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

pub static ACCEPTED: Counter = Counter::new();
pub static REFUSED: Counter = Counter::new();
pub static TLS_FAILED: Counter = Counter::new();
pub static OPEN: Gauge = Gauge::new();

pub type Session = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What stands behind a listener: makes a session of a channel.
pub type Serve = Arc<dyn Fn(Channel, Correlation) -> Session + Send + Sync>;

/// How to start TLS now; `None` while there is no certificate to be shown.
pub type TlsNow = Arc<dyn Fn() -> Option<Arc<dyn TlsAccept>> + Send + Sync>;

/// One listening address with everything that a connection to it needs.
pub struct Door {
    /// As in the settings and in the JSON of quickstart: `smtp`, `imaps`…
    pub name: &'static str,
    /// `None` where there is none at all.
    pub tls: Option<TlsNow>,
    /// TLS from the first byte, rather than by STARTTLS.
    pub implicit: bool,
    /// Who is connected, by this door and those that share its limits.
    pub guests: Arc<Guests>,
    /// Whom the service takes every client for, in a rehearsal.
    pub pretended: Option<SocketAddr>,
    pub serve: Serve,
}

/// Binds an address with the options that a mail server wants.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a restart does not wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        // Else [::] takes the port in IPv4 too, and 0.0.0.0 beside it could not be bound.
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Lets the kernel find out that the other machine is gone without a word: after two minutes of silence it asks, and half
/// a minute later it knows.
pub fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt as option;
    option::set_socket_keepalive(stream, true)?;
    option::set_tcp_keepidle(stream, Duration::from_secs(120))?;
    option::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    option::set_tcp_keepcnt(stream, 3)?;
    // What was sent and is never acknowledged counts too.
    option::set_tcp_user_timeout(stream, 150_000)?;
    Ok(())
}

/// Accepts until told to stop. The listening socket is closed when this returns; sessions go on.
pub async fn accept_until(listener: TcpListener, door: Arc<Door>, mut stop: watch::Receiver<bool>) {
    let mut failed: u64 = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                failed = 0;
                admit(stream, peer, &door);
            }
            Err(e) => {
                // Out of descriptors, most likely: those who are connected must end before others can come. A socket that
                // is dead stays so; one line for each doubling is enough.
                failed += 1;
                if failed.is_power_of_two() {
                    tracing::warn!(listener = door.name, error = %e, times = failed, "accept failed");
                }
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, door: &Arc<Door>) {
    let Some(seat) = Guests::seat(&door.guests, peer.ip()) else {
        REFUSED.one();
        tracing::debug!(listener = door.name, %peer, "connection refused: too many");
        return;
    };
    ACCEPTED.one();
    let door = Arc::clone(door);
    tokio::spawn(async move {
        let _seat = seat;
        let _open = OPEN.hold();
        if let Some((channel, correlation)) = prepare(stream, peer, &door).await {
            (door.serve)(channel, correlation).await;
        }
    });
}

async fn prepare(stream: TcpStream, peer: SocketAddr, door: &Door) -> Option<(Channel, Correlation)> {
    let correlation = machine::correlation();
    let local = stream.local_addr().ok()?;
    // Each reply is written once, whole: waiting for more would only add delay.
    stream.set_nodelay(true).ok()?;
    let peer = door.pretended.unwrap_or(peer);
    let plain = Box::new(stream);
    let tls = door.tls.as_ref().and_then(|tls| tls());
    if !door.implicit {
        return Some((Channel { stream: plain, local, peer, tls: None, upgrade: tls }, correlation));
    }
    let Some(tls) = tls else {
        TLS_FAILED.one();
        tracing::info!(listener = door.name, %peer, "sent away: there is no certificate to be shown");
        return None;
    };
    match tls.accept(plain).await {
        Ok((stream, facts)) => {
            Some((Channel { stream, local, peer, tls: Some(facts), upgrade: None }, correlation))
        }
        Err(e) => {
            TLS_FAILED.one();
            // Port scans and health checks come and go without a word.
            if e.kind() == io::ErrorKind::UnexpectedEof {
                tracing::debug!(listener = door.name, %peer, session = %correlation, "left before TLS");
            } else {
                tracing::info!(listener = door.name, %peer, session = %correlation, error = %e, "TLS handshake failed");
            }
            None
        }
    }
}

/// Who is connected, and how many may be. The limits can be changed at any time: nobody who is inside is sent away.
#[derive(Default)]
pub struct Guests {
    counts: Mutex<Counts>,
    all_max: AtomicUsize,
    /// 0 means no limit.
    per_address_max: AtomicUsize,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Guests {
    /// `all_max` at a time, and of them `per_address_max` from one address; 0 of the latter means no limit.
    pub fn new((all_max, per_address_max): (usize, usize)) -> Arc<Guests> {
        let guests = Guests::default();
        guests.limit((all_max, per_address_max));
        Arc::new(guests)
    }

    pub fn limit(&self, (all_max, per_address_max): (usize, usize)) {
        self.all_max.store(all_max, Ordering::Relaxed);
        self.per_address_max.store(per_address_max, Ordering::Relaxed);
    }

    /// Connections now.
    pub fn now(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    fn seat(guests: &Arc<Guests>, address: IpAddr) -> Option<Seat> {
        let mut counts = guests.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= guests.all_max.load(Ordering::Relaxed) {
            return None;
        }
        let per_address_max = guests.per_address_max.load(Ordering::Relaxed);
        let here = counts.by_address.entry(address).or_default();
        if per_address_max > 0 && *here >= per_address_max {
            return None;
        }
        *here += 1;
        counts.all += 1;
        Some(Seat { guests: Arc::clone(guests), address })
    }
}

/// A place at a listener, given back when the connection ends in whatever way.
struct Seat {
    guests: Arc<Guests>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.guests.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Guests, bind};

    #[test]
    fn limits_hold_for_those_who_come_after() {
        let guests = Guests::new((3, 2));
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let seats: Vec<_> = [one, one, other].into_iter().filter_map(|a| Guests::seat(&guests, a)).collect();
        assert_eq!((seats.len(), guests.now()), (3, 3));
        assert!(Guests::seat(&guests, other).is_none());
        guests.limit((4, 2));
        assert!(Guests::seat(&guests, one).is_none());
        assert!(Guests::seat(&guests, other).is_some());
        guests.limit((1, 1));
        assert_eq!(guests.now(), 3);
        drop(seats);
        assert_eq!(guests.now(), 0);
    }

    #[tokio::test]
    async fn both_families_have_the_same_port() {
        let four = bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = four.local_addr().unwrap().port();
        match bind(format!("[::]:{port}").parse().unwrap()) {
            Ok(_) => {}
            // A machine without IPv6 proves nothing.
            Err(e) => assert_ne!(e.kind(), std::io::ErrorKind::AddrInUse, "{e}"),
        }
    }
}
