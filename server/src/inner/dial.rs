//! Opening inner legs: from a server id to a stream that the other end's service has welcomed.
//!
//! Nothing is kept open between legs. The address comes from the directory and may be wrong or a liar's: what counts is the
//! certificate. Every step is bounded in time.

use super::board::Board;
use super::door;
use super::standing;
use super::tls::{self, Identity, Own};
use crate::legs::LegBook;
use crate::listen;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpStream;
use tokio::time::Instant;
use waypost_admin::settings::{Settings, SettingsStore};
use waypost_base::Clock;
use waypost_base::explain::{Leg, Party};
use waypost_base::metrics::{Figure, Kind};
use waypost_directory::{Directory, Server, Snapshot};
use waypost_trust::leg::fault::Fault;
use waypost_trust::leg::initiate::{self, Initiator, initiate};
use waypost_trust::leg::kerberos::{KerberosAcceptor, KerberosInitiator};
use waypost_trust::leg::limits::CONNECT_MAX;
use waypost_trust::leg::member::{Member, Members, may_use};
use waypost_trust::leg::{Hello, Inner, Mechanism, NotOpened, Opened, Opening, Policy, Service, cause};
use waypost_trust::proxy::Ahead;

/// Kerberos for inner legs, where it is set up.
#[derive(Clone, Default)]
pub struct Kerberos {
    pub initiator: Option<Arc<dyn KerberosInitiator>>,
    pub acceptor: Option<Arc<dyn KerberosAcceptor>>,
}

/// What both ends of inner legs need: who we are, whom we know, what is allowed, where it is noted.
pub struct Inside {
    pub identity: Identity,
    pub board: Board,
    pub legs: LegBook,
    pub clock: Clock,
    /// The legs that have come in, by what they stand on.
    pub standing: Arc<standing::Book>,
    /// The folder with our certificate and the bundle.
    folder: PathBuf,
    directory: Arc<Directory>,
    settings: Arc<SettingsStore>,
    kerberos: RwLock<Kerberos>,
}

/// What a server says that cannot prove who it is to the others: it does not start.
fn no_identity(folder: &Path, e: &io::Error) -> String {
    format!(
        "this server cannot prove to the others who it is: {e}. Put server.crt and server.key of {} back from a backup; \
         or let it join again, with the data that it has: New-ServerToken -Server ID on the server that keeps the \
         directory, then `waypost join TOKEN` here.",
        folder.display()
    )
}

impl Inside {
    /// `folder` is the trust folder.
    pub fn new(
        folder: PathBuf,
        directory: Arc<Directory>,
        settings: Arc<SettingsStore>,
        clock: Clock,
        legs: LegBook,
    ) -> io::Result<Inside> {
        let own = Own::load(&folder).map_err(|e| io::Error::new(e.kind(), no_identity(&folder, &e)))?;
        let identity = Identity::new(own);
        let (board, standing, kerberos) = (Board::default(), Arc::default(), RwLock::default());
        Ok(Inside { identity, board, legs, clock, standing, folder, directory, settings, kerberos })
    }

    /// Reads certificate and bundle again, after they were renewed. The old ones stay if the new ones cannot be used.
    pub fn reload(&self) -> io::Result<()> {
        self.identity.replace(Own::load(&self.folder)?);
        Ok(())
    }

    pub fn set_kerberos(&self, kerberos: Kerberos) {
        *self.kerberos.write().unwrap_or_else(PoisonError::into_inner) = kerberos;
    }

    pub fn kerberos(&self) -> Kerberos {
        self.kerberos.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn figures(&self) -> Vec<Figure> {
        let (degraded, failing) = self.board.unwell();
        let figure = |name, help, kind, value: u64| Figure { name, help, kind, value: value as f64 };
        vec![
            figure(
                "inner_legs_degraded",
                "Pairs of servers and services whose last leg was degraded.",
                Kind::Gauge,
                degraded,
            ),
            figure(
                "inner_legs_failing",
                "Pairs of servers and services whose last leg failed.",
                Kind::Gauge,
                failing,
            ),
            figure(
                "inner_legs_arrived_total",
                "Legs of other servers that were let in.",
                Kind::Counter,
                door::ARRIVED.value(),
            ),
            figure(
                "inner_turned_away_total",
                "Connections to the inner door that were not let in.",
                Kind::Counter,
                door::TURNED_AWAY.value(),
            ),
        ]
    }

    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub fn policy(&self, service: Service) -> Policy {
        policy(&self.settings.current(), service)
    }

    pub fn known(&self) -> Known {
        Known(self.directory.snapshot())
    }

    /// This server, as the directory has it. Where it has no servers yet, this one is all there is.
    pub fn own_member(&self, own: &Own) -> Member {
        let known = self.known();
        let alone = known.0.servers().next().is_none();
        let id = own.id.to_string();
        let unlisted = Member {
            id,
            frontend: alone,
            transport: alone,
            mailbox: alone,
            primary: alone,
            ..Member::default()
        };
        known.member(own.id.as_str()).unwrap_or(unlisted)
    }

    async fn leg(&self, to: &str, hello: Hello) -> Result<Opened, NotOpened> {
        let own = self.identity.current();
        let me = self.own_member(&own);
        let (service, snapshot) = (hello.service, self.directory.snapshot());
        let initiator = Party::new(me.role(), me.id.clone());
        let role = snapshot.server(to).map_or("server", |s| member(s).role());
        let operation = format!("inner.{service}");
        let mut leg = Leg::start(operation, initiator, Party::new(role, to), self.clock.now());
        leg.correlation = Some(hello.session);
        let Some(server) = snapshot.server(to) else {
            let text = format!("the directory has no server {to}");
            return Err(initiate::not_opened(leg, Fault::new(cause::UNKNOWN_SERVER, text), true));
        };
        let other = member(server);
        let prepared = self.prepare(&own, &me, &other, server, service, &mut leg).await;
        let secured = match prepared {
            Ok(secured) => secured,
            Err(fault) => return Err(initiate::not_opened(leg, fault, true)),
        };
        let (policy, kerberos) = (self.policy(service), self.kerberos());
        let with = Initiator {
            own: &me,
            other: &other,
            policy: &policy,
            exporter: secured.exporter,
            certificate: own.key(),
            kerberos: kerberos.initiator.as_deref(),
            clock: &self.clock,
        };
        initiate(secured.stream, leg, hello, with).await
    }

    /// Everything before the handshake: whether it may be, the connection, TLS.
    async fn prepare(
        &self,
        own: &Own,
        me: &Member,
        other: &Member,
        server: &Server,
        service: Service,
        leg: &mut Leg,
    ) -> Result<tls::Secured, Fault> {
        let seen = |fault: Fault, fact: String| fault.seen(me.id.clone(), self.clock.now(), fact);
        if let Some(since) = other.revoked {
            let fault = Fault::new(cause::REVOKED, format!("{} has been revoked since {since}", other.id));
            return Err(seen(fault, format!("Get-Server {} shows it", other.id)));
        }
        may_use(service, me, other).map_err(|why| {
            let fact = format!(
                "roles in the directory: {} has {}, {} has {}",
                me.id,
                me.roles(),
                other.id,
                other.roles()
            );
            seen(Fault::new(cause::NOT_ALLOWED, why), fact)
        })?;
        let start = Instant::now();
        let connected = connect(&server.id, &server.inner).await;
        leg.step("connect", micros(start), connected.as_ref().err().map(|f| f.text.clone()));
        let fact = format!("asked for {} ({}) at {}", server.id, service, server.inner);
        let stream = connected.map_err(|fault| seen(fault, fact.clone()))?;
        let start = Instant::now();
        let secured = tls::connect(own, other, Box::new(Ahead::new(stream)), &self.clock).await;
        leg.step("tls", micros(start), secured.as_ref().err().map(|f| f.text.clone()));
        secured.map_err(|fault| seen(fault, fact))
    }

    /// Puts how a leg went where people look.
    fn note(&self, opened: &Result<Opened, NotOpened>) {
        let now = self.clock.now();
        match opened {
            Ok(opened) => self.board.note(&opened.leg, opened.finding.as_ref(), now),
            // The service said no, over a leg that stood.
            Err(no) if no.finding.cause == cause::DENIED => {}
            Err(no) => self.board.note(&no.leg, Some(&no.finding), now),
        }
        if let Err(no) = opened {
            self.legs.note("", (*no.leg).clone());
        }
    }
}

impl Inner for Inside {
    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        Box::pin(async move {
            let opened = self.leg(to, hello).await;
            self.note(&opened);
            opened
        })
    }
}

async fn connect(id: &str, inner: &str) -> Result<TcpStream, Fault> {
    let unreachable =
        |why: String| Fault::new(cause::UNREACHABLE, format!("{id} cannot be reached at {inner}: {why}"));
    let dial = async {
        let addresses: Vec<_> = tokio::net::lookup_host(inner).await?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(e) => last = e,
            }
        }
        Err(last)
    };
    let stream = match tokio::time::timeout(CONNECT_MAX, dial).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(unreachable(e.to_string())),
        Err(_) => return Err(unreachable(format!("no answer within {} s", CONNECT_MAX.as_secs()))),
    };
    // Each frame and each command is written whole.
    stream.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;
    listen::keep_alive(&stream).map_err(|e| unreachable(e.to_string()))?;
    Ok(stream)
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The mechanisms that the settings allow for a service.
pub fn policy(settings: &Settings, service: Service) -> Policy {
    let mechanism = |name: &String| match name.as_str() {
        "kerberos" => Some(Mechanism::Kerberos),
        "mtls" => Some(Mechanism::Mtls),
        _ => None,
    };
    Policy(settings.legs.of(service.name()).iter().filter_map(mechanism).collect())
}

/// The directory's servers as legs see them.
pub struct Known(pub Arc<Snapshot>);

impl Members for Known {
    fn member(&self, id: &str) -> Option<Member> {
        self.0.server(id).map(|server| member(server))
    }
}

pub fn member(server: &Server) -> Member {
    Member {
        id: server.id.clone(),
        frontend: server.roles.frontend,
        transport: server.roles.transport,
        mailbox: server.roles.mailbox,
        primary: server.primary,
        revoked: server.revoked,
        certificates_since: server.certificates_since,
        principals: server.principals.clone(),
    }
}
