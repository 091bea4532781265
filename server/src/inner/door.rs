//! The inner door: takes connections, has them judged, and hands them to their services.
//!
//! Who is not of the organisation costs a TLS handshake at most, and after a while not even that: handshakes under way are
//! bounded, altogether and for each address, and strangers are counted. Sessions of our own servers are not bounded here; their
//! services have their own limits.

use super::Handlers;
use super::dial::Inside;
use super::{standing, tls};
use crate::listen;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use waypost_base::metrics::Counter;
use waypost_trust::channel::BoxStream;
use waypost_trust::leg::Arrived;
use waypost_trust::leg::accept::{Acceptor, Arrival, NotArrived, accept};
use waypost_trust::leg::cause;
use waypost_trust::proxy::Ahead;

/// Handshakes under way, of everybody and of one address. A front end in the morning opens hundreds of legs at a time.
const PENDING_MAX: usize = 1024;
const PENDING_PER_ADDRESS: usize = 256;
/// Strangers of one address are not listened to any more once there were so many within [`STRANGERS_SPAN`].
const STRANGERS_MAX: u32 = 60;
const STRANGERS_SPAN: Duration = Duration::from_secs(60);
/// Addresses that are counted; past that everybody begins anew.
const ADDRESSES_MAX: usize = 10_000;
/// Newcomers at a time, who are strangers until they have shown a token, and take up to two minutes.
static JOINS: Semaphore = Semaphore::const_new(16);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

pub static ARRIVED: Counter = Counter::new();
pub static TURNED_AWAY: Counter = Counter::new();

/// Keeps the inner door until told to stop.
pub async fn keep(
    listener: TcpListener,
    inside: Arc<Inside>,
    handlers: Handlers,
    mut stop: watch::Receiver<bool>,
) {
    let guests = Arc::new(Guests::default());
    let (directory, book) = (Arc::clone(inside.directory()), Arc::clone(&inside.standing));
    let watching = tokio::spawn(async move { standing::keep(&directory, &book).await });
    let _ends = AbortOnDrop(watching.abort_handle());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = Guests::seat(&guests, network(peer.ip())) else {
                    TURNED_AWAY.one();
                    tracing::debug!(%peer, "an inner connection was refused: too many");
                    continue;
                };
                let (inside, handlers) = (Arc::clone(&inside), handlers.clone());
                tokio::spawn(async move {
                    let _open = listen::OPEN.hold();
                    serve(stream, peer, inside, handlers, seat).await;
                });
            }
            Err(e) => {
                tracing::warn!(listener = "inner", error = %e, "accept failed");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
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

/// What became of a connection at the door.
enum Judged {
    Arrived(Box<Arrived>),
    Joins(BoxStream),
    TurnedAway,
}

/// One connection, from TLS to the end of its service. `seat` is held while it is judged.
async fn serve(stream: TcpStream, peer: SocketAddr, inside: Arc<Inside>, handlers: Handlers, seat: Seat) {
    // In a box of its own: a session of days holds nothing of how it was let in.
    let judged = Box::pin(judge(stream, peer, &inside, &seat)).await;
    let (directory, book) = (Arc::clone(inside.directory()), Arc::clone(&inside.standing));
    drop(inside);
    drop(seat);
    match judged {
        Judged::Arrived(arrived) => {
            let from = arrived.from.to_string();
            let Some(standing) = book.enter(&directory, &from) else { return };
            drop((directory, book));
            tokio::select! {
                () = handlers.take(*arrived) => {}
                () = standing::ended(standing) => {
                    tracing::info!(server = %from, "a leg was ended: its server is revoked");
                }
            }
        }
        Judged::Joins(stream) => {
            // Places of their own: strangers who say nothing must not keep our servers from the door.
            let Ok(_place) = JOINS.try_acquire() else {
                TURNED_AWAY.one();
                tracing::info!(%peer, "a server wanted to join, as too many others do now");
                return;
            };
            handlers.join(stream, peer).await;
        }
        Judged::TurnedAway => {}
    }
}

async fn judge(stream: TcpStream, peer: SocketAddr, inside: &Inside, seat: &Seat) -> Judged {
    let own = inside.identity.current();
    if stream.set_nodelay(true).is_err() || listen::keep_alive(&stream).is_err() {
        return Judged::TurnedAway;
    }
    let secured = match tls::accept(&own, Box::new(Ahead::new(stream))).await {
        Ok(secured) => secured,
        Err(e) => {
            TURNED_AWAY.one();
            // Whoever only looks whether the door is there does no harm.
            if e.kind() != std::io::ErrorKind::UnexpectedEof {
                seat.stranger();
            }
            tracing::debug!(%peer, error = %e, "TLS at the inner door failed");
            return Judged::TurnedAway;
        }
    };
    if secured.joins {
        // Who guesses tokens is a stranger each time.
        seat.stranger();
        return Judged::Joins(secured.stream);
    }
    let me = inside.own_member(&own);
    let (known, kerberos) = (inside.known(), inside.kerberos());
    let policy = |service| inside.policy(service);
    let with = Acceptor {
        own: &me,
        bundle: &own.bundle,
        members: &known,
        policy: &policy,
        exporter: secured.exporter,
        certificate: secured.certificate.as_deref(),
        kerberos: kerberos.acceptor.as_deref(),
        clock: &inside.clock,
        peer: peer.to_string(),
    };
    match accept(secured.stream, with).await {
        Ok(Arrival { arrived, finding }) => {
            ARRIVED.one();
            inside.board.note(&arrived.leg, finding.as_ref(), inside.clock.now());
            Judged::Arrived(Box::new(arrived))
        }
        Err(not) => {
            TURNED_AWAY.one();
            turned_away(inside, *not, peer, seat, secured.certificate.is_none());
            Judged::TurnedAway
        }
    }
}

/// `bare`: they have shown no certificate.
fn turned_away(inside: &Inside, not: NotArrived, peer: SocketAddr, seat: &Seat, bare: bool) {
    let code = not.finding.cause.code;
    // A server of ours that fails again and again is not shut out: its other services may be well.
    // Whoever has shown nothing and says nothing is a stranger too.
    let stranger = bare || code == cause::OTHER_CA.code;
    let known = not.from.as_deref().is_some_and(|id| inside.known().0.server(id).is_some());
    if stranger {
        seat.stranger();
    }
    if known && not.service.is_some() && code != cause::NO_CERTIFICATE.code {
        inside.board.note(&not.leg, Some(&not.finding), inside.clock.now());
        inside.legs.note("", *not.leg);
    } else {
        tracing::info!(%peer, cause = code, "turned away at the inner door: {}", not.text);
    }
}

/// Whom guests are counted by: a host has a whole /64 of IPv6 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Who is at the door at present, and which strangers were.
#[derive(Default)]
struct Guests(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    pending: usize,
    addresses: HashMap<IpAddr, Address>,
}

struct Address {
    pending: usize,
    strangers: u32,
    since: Instant,
}

impl Guests {
    fn seat(guests: &Arc<Guests>, address: IpAddr) -> Option<Seat> {
        let mut counts = guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.pending >= PENDING_MAX {
            return None;
        }
        if counts.addresses.len() >= ADDRESSES_MAX {
            counts.addresses.retain(|_, a| a.pending > 0);
        }
        let now = Instant::now();
        let here =
            counts.addresses.entry(address).or_insert(Address { pending: 0, strangers: 0, since: now });
        if now.duration_since(here.since) > STRANGERS_SPAN {
            here.strangers = 0;
            here.since = now;
        }
        if here.pending >= PENDING_PER_ADDRESS || here.strangers >= STRANGERS_MAX {
            return None;
        }
        here.pending += 1;
        counts.pending += 1;
        Some(Seat { guests: Arc::clone(guests), address })
    }
}

/// A place at the door, given back when the guest has been judged.
struct Seat {
    guests: Arc<Guests>,
    address: IpAddr,
}

impl Seat {
    fn stranger(&self) {
        let mut counts = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = counts.addresses.get_mut(&self.address) {
            here.strangers += 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.pending -= 1;
        let Some(here) = counts.addresses.get_mut(&self.address) else { return };
        here.pending -= 1;
        if here.pending == 0 && here.strangers == 0 {
            counts.addresses.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn strangers_are_heard_for_a_while() {
        let guests = Arc::new(Guests::default());
        let address = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..STRANGERS_MAX {
            Guests::seat(&guests, address).unwrap().stranger();
        }
        assert!(Guests::seat(&guests, address).is_none());
        assert!(Guests::seat(&guests, IpAddr::from([192, 0, 2, 2])).is_some(), "others are");
        tokio::time::advance(STRANGERS_SPAN + Duration::from_secs(1)).await;
        assert!(Guests::seat(&guests, address).is_some());
    }

    #[test]
    fn a_host_has_many_addresses() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), IpAddr::from([192, 0, 2, 1]));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[tokio::test]
    async fn handshakes_under_way_are_bounded() {
        let guests = Arc::new(Guests::default());
        let address = IpAddr::from([192, 0, 2, 1]);
        let seats: Vec<_> =
            (0..PENDING_PER_ADDRESS).map(|_| Guests::seat(&guests, address).unwrap()).collect();
        assert!(Guests::seat(&guests, address).is_none());
        drop(seats);
        assert!(Guests::seat(&guests, address).is_some());
        assert!(guests.0.lock().unwrap().addresses.is_empty());
    }
}
