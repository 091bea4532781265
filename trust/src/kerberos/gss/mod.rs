//! Kerberos exchanges by MIT's GSS-API library, loaded at run time.
//!
//! Nothing depends on the environment of the process but where krb5.conf is: keytab, tickets and replay store are named for
//! each identity. Each step runs on a thread of its own with a bound on time ([`work`]), and whatever fails is explained
//! there and then: the library's text belongs to the thread, and the keytab is looked at as it is at that moment.

#[allow(unsafe_code, reason = "the library is C; every block says why it is sound")]
mod ffi;
mod work;

use super::judge::{self, Asked, Said, Seen};
use super::token::{self, Request, Token, TokenError};
use super::{cause, ccache, keytab};
use crate::leg::fault::Fault;
use ffi::{Context, Cred, Library, Mech, Name, Progress, Usage};
use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use waypost_base::explain::Evidence;
use waypost_base::{Clock, Timestamp};
use work::{Late, Work};

/// The name of the library where nothing else is set.
pub const LIBRARY: &str = "libgssapi_krb5.so.2";

/// How long a step may take unless set otherwise: a KDC that is there answers in milliseconds, and legs wait 7 s.
pub const STEP_MAX: Duration = Duration::from_secs(6);

const FLAG_MUTUAL: u32 = 0x2;
const FLAG_REPLAY: u32 = 0x4;
const FLAG_SEQUENCE: u32 = 0x8;
const FLAG_CONFIDENTIAL: u32 = 0x10;
const FLAG_INTEGRITY: u32 = 0x20;
/// GSS_C_CHANNEL_BOUND_FLAG: both ends bound themselves to the same channel.
const FLAG_BOUND: u32 = 0x800;

/// What the library answered to a call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub major: u32,
    /// Of the mechanism: Kerberos' own numbers, but under SPNEGO something arbitrary.
    pub minor: i32,
    /// The mechanism's text; empty where it has none.
    pub text: String,
    /// The text of `major`.
    pub general: String,
}

impl Status {
    pub(super) const BAD_BINDINGS: u32 = 4;
    pub(super) const DEFECTIVE_TOKEN: u32 = 9;

    /// The number of the routine error (RFC 2744 §3.9.1); not a set of flags.
    pub const fn routine(&self) -> u32 {
        (self.major >> 16) & 0xff
    }

    pub(super) fn kind(&self) -> Said {
        Said::of(self)
    }

    /// The text that says most.
    pub(super) fn line(&self) -> &str {
        if self.text.is_empty() { &self.general } else { &self.text }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (major {:#010x}, minor {})", self.line(), self.major, self.minor)
    }
}

/// The library cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{library} cannot be loaded: {reason}")]
pub struct NoLibrary {
    pub library: String,
    pub reason: String,
}

impl NoLibrary {
    pub fn fault(&self) -> Fault {
        Fault::new(cause::NO_LIBRARY, format!("Kerberos is asked for, and {self}"))
    }
}

/// The loaded library. Clones share it and the bound on its threads.
#[derive(Clone)]
pub struct Gss {
    library: Arc<Library>,
    work: Work,
    limit: Duration,
    clock: Clock,
}

impl fmt::Debug for Gss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gss").field("work", &self.work).finish_non_exhaustive()
    }
}

impl Gss {
    pub fn load(clock: Clock) -> Result<Gss, NoLibrary> {
        Gss::load_from(LIBRARY, STEP_MAX, clock)
    }

    /// A library by name or path; `limit` bounds each step.
    pub fn load_from(name: &str, limit: Duration, clock: Clock) -> Result<Gss, NoLibrary> {
        let library =
            Library::load(name).map_err(|e| NoLibrary { library: name.to_owned(), reason: e.to_string() })?;
        Ok(Gss { library: Arc::new(library), work: Work::new(), limit, clock })
    }

    /// Calls that did not come back in time and still have not.
    pub fn hanging(&self) -> usize {
        self.work.left()
    }

    async fn run<T: Send + 'static>(
        &self,
        identity: &Identity,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        self.work.run(self.limit, call).await.map_err(|late| {
            let (holder, seconds) = (identity.holder(), self.limit.as_secs_f32());
            let text = match late {
                Late::Hangs => {
                    format!("{holder}: the Kerberos library waited more than {seconds} s for a KDC")
                }
                Late::NoThread => {
                    format!(
                        "{holder}: {} calls of the Kerberos library wait for a KDC already",
                        self.hanging()
                    )
                }
            };
            Fault::new(cause::KDC_UNREACHABLE, text)
        })
    }
}

/// As whom a role takes part, and with which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Server id.
    pub server: String,
    pub role: String,
    pub keytab: PathBuf,
    /// The principal that it signs in as; `None`: the first in its keytab.
    pub principal: Option<String>,
    /// Folder of tickets and replay stores, for the role's user alone.
    pub run: PathBuf,
}

impl Identity {
    /// `server-2/transport`
    pub fn holder(&self) -> String {
        format!("{}/{}", self.server, self.role)
    }

    /// Where its tickets are.
    pub fn ccache(&self) -> PathBuf {
        self.run.join(format!("{}.ccache", self.role))
    }

    fn replay_store(&self) -> PathBuf {
        self.run.join(format!("{}.replay", self.role))
    }

    fn make_folder(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.run)
    }
}

/// The application data of a channel binding (RFC 5056 §2.1: a prefix, then what is unique to the channel).
#[derive(Clone, PartialEq, Eq)]
pub struct Binding(pub Vec<u8>);

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.0.split(|&b| b == b':').next().unwrap_or_default();
        write!(f, "{}:…", String::from_utf8_lossy(prefix))
    }
}

impl Binding {
    /// RFC 9266.
    pub fn exporter(material: &[u8]) -> Binding {
        Binding([b"tls-exporter:".as_slice(), material].concat())
    }

    /// RFC 5929 §4: the hash of the server's certificate, by [`crate::end_point`].
    pub fn end_point(hash: &[u8]) -> Binding {
        Binding([b"tls-server-end-point:".as_slice(), hash].concat())
    }
}

/// What an acceptor expects of the initiator's binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Any of these is right; another one is refused whatever `required` says.
    pub any_of: Vec<Binding>,
    /// Refuses an initiator that sends none, which the library takes.
    pub required: bool,
}

/// What the ticket was, for evidence and for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketName {
    pub server: super::Principal,
    pub enctype: super::Enctype,
    pub kvno: Option<u32>,
}

impl TicketName {
    fn of(request: &Request) -> TicketName {
        let ticket = &request.ticket;
        TicketName { server: ticket.server.clone(), enctype: ticket.sealed.enctype, kvno: ticket.sealed.kvno }
    }
}

/// `smtp/hub.example.org@EXAMPLE.ORG aes256-cts kvno 2`
impl fmt::Display for TicketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.server, super::name::KeyName(self.enctype, self.kvno))
    }
}

/// The proved other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `alice@EXAMPLE.ORG`
    pub principal: String,
    /// Which of the acceptor's names the ticket is for.
    pub service: String,
    pub ticket: Option<TicketName>,
    pub bound: bool,
    /// GSS flags as negotiated.
    pub flags: u32,
    /// With the clock skew that Kerberos grants; `None` for ever.
    pub expires: Option<Timestamp>,
}

impl Peer {
    /// The initiator wants messages protected by the context: TLS is our layer, and no other is offered.
    pub const fn wants_layer(&self) -> bool {
        self.flags & (FLAG_CONFIDENTIAL | FLAG_INTEGRITY) != 0
    }
}

/// A step that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// For the other end; may be empty.
    pub token: Vec<u8>,
    /// The other end, once the context stands.
    pub done: Option<Peer>,
}

/// A step that did not.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// What is wrong, from data.
    pub fault: Fault,
    /// What the library said, where it was the library.
    pub status: Option<Status>,
    /// For the other end (KRB-ERROR); may be empty.
    pub token: Vec<u8>,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        Refused { fault, status: None, token: Vec::new() }
    }
}

/// Accepts tickets for any principal of a keytab.
#[derive(Clone, Debug)]
pub struct Acceptor {
    gss: Gss,
    identity: Arc<Identity>,
}

impl Acceptor {
    /// The keytab is read at each exchange: a new one needs no restart.
    pub fn new(gss: Gss, identity: Identity) -> Acceptor {
        Acceptor { gss, identity: Arc::new(identity) }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A new exchange, by raw Kerberos or SPNEGO as the first token says.
    pub fn begin(&self) -> AcceptContext {
        AcceptContext {
            gss: self.gss.clone(),
            identity: Arc::clone(&self.identity),
            state: None,
            token: None,
        }
    }
}

/// One exchange of an acceptor.
pub struct AcceptContext {
    gss: Gss,
    identity: Arc<Identity>,
    state: Option<(Context, Cred)>,
    /// The token that has the ticket.
    token: Option<Result<Token, TokenError>>,
}

impl fmt::Debug for AcceptContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptContext").field("token", &self.token).finish_non_exhaustive()
    }
}

impl AcceptContext {
    /// Takes a token of the initiator. After a refusal the exchange is over: the same token again would be a replay.
    pub async fn step(&mut self, token: Vec<u8>, bound: &Bound) -> Result<Step, Refused> {
        let read = token::read(&token);
        // The first token of SPNEGO may be of another mechanism; the ticket then comes with the second.
        if !matches!(self.token, Some(Ok(Token::Request(_)))) {
            self.token = Some(read);
        }
        let job = AcceptJob {
            library: Arc::clone(&self.gss.library),
            identity: Arc::clone(&self.identity),
            state: self.state.take(),
            read: self.token.clone().unwrap_or(Err(TokenError::NotOurs)),
            token,
            bound: bound.clone(),
            clock: self.gss.clock.clone(),
        };
        let (state, result) = self.gss.run(&self.identity, move || job.run()).await?;
        self.state = state;
        result
    }

    /// Protects a message for the initiator; no confidentiality. `None` before the context stands and where it is over.
    pub fn wrap(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.state.as_mut()?.0.wrap(message, false).ok()
    }

    /// Opens a message of the initiator.
    pub fn unwrap(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.state.as_mut()?.0.unwrap(message).ok().map(|(message, _)| message)
    }
}

struct AcceptJob {
    library: Arc<Library>,
    identity: Arc<Identity>,
    state: Option<(Context, Cred)>,
    read: Result<Token, TokenError>,
    token: Vec<u8>,
    bound: Bound,
    clock: Clock,
}

type Accepted = (Option<(Context, Cred)>, Result<Step, Refused>);

impl AcceptJob {
    fn run(mut self) -> Accepted {
        if let Err(error @ TokenError::TooLarge(_)) = &self.read {
            return (None, Err(Fault::new(cause::TOKEN, error.to_string()).into()));
        }
        match self.try_all() {
            Ok((context, cred, progress)) => self.stands(context, cred, progress),
            Err((status, token)) => {
                let fault = self.explain(Some(&status));
                (None, Err(Refused { fault, status: Some(status), token }))
            }
        }
    }

    /// One try, and where a client may bind by one of several names, one more for each of these.
    fn try_all(&mut self) -> Result<(Context, Cred, Progress), (Status, Vec<u8>)> {
        let mut bindings = self.bound.any_of.iter().map(|b| b.0.as_slice());
        let first = bindings.next();
        let begun = self.state.take();
        let fresh = begun.is_none();
        let (mut context, cred) = match begun {
            Some(state) => state,
            None => (
                Context::new(&self.library),
                self.acquire(&replay_store(&self.identity)).map_err(|s| (s, Vec::new()))?,
            ),
        };
        let mut failed = match context.accept(&cred, &self.token, first) {
            Ok(progress) => return Ok((context, cred, progress)),
            Err(failed) => failed,
        };
        // Bindings are compared after everything else: the request is in the replay store already, and was new.
        for other in bindings {
            if !fresh || failed.0.routine() != Status::BAD_BINDINGS {
                break;
            }
            let cred = self.acquire(b"none:").map_err(|s| (s, Vec::new()))?;
            let mut context = Context::new(&self.library);
            match context.accept(&cred, &self.token, Some(other)) {
                Ok(progress) => return Ok((context, cred, progress)),
                Err(other) => failed = other,
            }
        }
        Err(failed)
    }

    fn acquire(&self, replay_store: &[u8]) -> Result<Cred, Status> {
        // Without its folder the library says so itself.
        let _ = self.identity.make_folder();
        let store = [(c"keytab", file(&self.identity.keytab)), (c"rcache", text(replay_store))];
        Cred::acquire(&self.library, None, Usage::Accept, &store)
    }

    fn stands(&self, mut context: Context, cred: Cred, progress: Progress) -> Accepted {
        if !progress.complete {
            return (Some((context, cred)), Ok(Step { token: progress.token, done: None }));
        }
        let ends = match context.ends() {
            Ok(ends) => ends,
            Err(status) => {
                let fault = self.explain(Some(&status));
                return (None, Err(Refused { fault, status: Some(status), token: Vec::new() }));
            }
        };
        let bound = progress.flags & FLAG_BOUND != 0;
        if self.bound.required && !bound {
            let text = format!(
                "{} sent no channel binding, which {} demands",
                ends.initiator,
                self.identity.holder()
            );
            return (None, Err(Fault::new(cause::BINDING_ABSENT, text).into()));
        }
        let ticket = match &self.read {
            Ok(Token::Request(request)) => Some(TicketName::of(request)),
            _ => None,
        };
        let peer = Peer {
            principal: ends.initiator,
            service: ends.acceptor,
            ticket,
            bound,
            flags: progress.flags,
            expires: ends.lifetime.map(|s| self.clock.now().plus_millis(i64::from(s) * 1000)),
        };
        (Some((context, cred)), Ok(Step { token: progress.token, done: Some(peer) }))
    }

    fn explain(&self, status: Option<&Status>) -> Fault {
        let keytab = keytab::load(&self.identity.keytab);
        judge::accept(&Seen {
            holder: &self.identity.holder(),
            path: &self.identity.keytab,
            keytab: &keytab,
            token: &self.read,
            status,
            now: self.clock.now(),
        })
    }
}

fn replay_store(identity: &Identity) -> Vec<u8> {
    [b"file2:", identity.replay_store().as_os_str().as_bytes()].concat()
}

fn file(path: &Path) -> CString {
    text(&[b"FILE:", path.as_os_str().as_bytes()].concat())
}

/// A path with a NUL does not exist; an empty text does not either.
fn text(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}

/// How tokens are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Krb5,
    Spnego,
}

/// Gets tickets by the keytab of an identity, and proves itself with them.
#[derive(Clone, Debug)]
pub struct Initiator {
    gss: Gss,
    identity: Arc<Identity>,
}

impl Initiator {
    /// Tickets are kept in [`Identity::ccache`], and renewed from the keytab as needed.
    pub fn new(gss: Gss, identity: Identity) -> Initiator {
        Initiator { gss, identity: Arc::new(identity) }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A new exchange with a service principal such as `smtp/hub.example.org@EXAMPLE.ORG`. Both ends prove themselves.
    pub fn begin(&self, service: &str, framing: Framing, binding: Option<Binding>) -> InitContext {
        InitContext {
            gss: self.gss.clone(),
            identity: Arc::clone(&self.identity),
            service: service.to_owned(),
            framing,
            binding,
            state: None,
            asked: AskedFor::default(),
        }
    }
}

/// What an initiator asked for and what it got, for the evidence of the leg.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedFor {
    pub client: Option<String>,
    pub ticket: Option<TicketName>,
    /// From the cache: session key's encryption type and times.
    pub credential: Option<ccache::Credential>,
}

impl AskedFor {
    pub fn evidence(&self, holder: &str, service: &str, now: Timestamp) -> Vec<Evidence> {
        let client = self.client.as_deref().unwrap_or("the first principal of its keytab");
        let mut fact = format!("{client} asked for a ticket for {service}");
        if let Some(ticket) = &self.ticket {
            fact.push_str(&format!(" and got one for {ticket}"));
        }
        if let Some(c) = &self.credential {
            fact.push_str(&format!(
                ", session key {}, valid from {} to {}",
                c.session_enctype, c.start, c.end
            ));
        }
        vec![Evidence { source: format!("{holder}: ticket"), time: Some(now), fact }]
    }
}

/// One exchange of an initiator.
pub struct InitContext {
    gss: Gss,
    identity: Arc<Identity>,
    service: String,
    framing: Framing,
    binding: Option<Binding>,
    state: Option<InitState>,
    asked: AskedFor,
}

struct InitState {
    context: Context,
    cred: Cred,
    target: Name,
}

impl fmt::Debug for InitContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InitContext")
            .field("service", &self.service)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

impl InitContext {
    /// Makes the first token from an empty one, then answers those of the acceptor.
    pub async fn step(&mut self, token: Vec<u8>) -> Result<Step, Refused> {
        let job = InitJob {
            library: Arc::clone(&self.gss.library),
            identity: Arc::clone(&self.identity),
            service: self.service.clone(),
            framing: self.framing,
            binding: self.binding.clone(),
            clock: self.gss.clock.clone(),
            state: self.state.take(),
            asked: std::mem::take(&mut self.asked),
            token,
        };
        let (state, asked, result) = self.gss.run(&self.identity, move || job.run()).await?;
        (self.state, self.asked) = (state, asked);
        result
    }

    pub fn asked(&self) -> &AskedFor {
        &self.asked
    }

    pub fn evidence(&self) -> Vec<Evidence> {
        self.asked.evidence(&self.identity.holder(), &self.service, self.gss.clock.now())
    }

    /// Protects a message for the acceptor; no confidentiality.
    pub fn wrap(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.state.as_mut()?.context.wrap(message, false).ok()
    }

    /// Opens a message of the acceptor.
    pub fn unwrap(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.state.as_mut()?.context.unwrap(message).ok().map(|(message, _)| message)
    }
}

struct InitJob {
    library: Arc<Library>,
    identity: Arc<Identity>,
    service: String,
    framing: Framing,
    binding: Option<Binding>,
    clock: Clock,
    state: Option<InitState>,
    asked: AskedFor,
    token: Vec<u8>,
}

type Initiated = (Option<InitState>, AskedFor, Result<Step, Refused>);

impl InitJob {
    fn run(mut self) -> Initiated {
        let (state, result) = match self.go() {
            Ok((state, step)) => (Some(state), Ok(step)),
            Err((status, token)) => {
                let fault = self.explain(&status);
                (None, Err(Refused { fault, status: Some(status), token }))
            }
        };
        (state, self.asked, result)
    }

    fn go(&mut self) -> Result<(InitState, Step), (Status, Vec<u8>)> {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.begin().map_err(|status| (status, Vec::new()))?,
        };
        let mech = match self.framing {
            Framing::Krb5 => Mech::Krb5,
            Framing::Spnego => Mech::Spnego,
        };
        let flags = FLAG_MUTUAL | FLAG_REPLAY | FLAG_SEQUENCE | FLAG_INTEGRITY;
        let binding = self.binding.as_ref().map(|b| b.0.as_slice());
        let progress =
            state.context.initiate(&state.cred, &state.target, mech, flags, &self.token, binding)?;
        if let Ok(Token::Request(request)) = token::read(&progress.token) {
            self.asked.ticket = Some(TicketName::of(&request));
            self.asked.credential = self.credential(&request);
        }
        let done = if progress.complete {
            let ends = state.context.ends().map_err(|status| (status, Vec::new()))?;
            Some(Peer {
                principal: ends.acceptor.clone(),
                service: ends.acceptor,
                ticket: self.asked.ticket.clone(),
                bound: self.binding.is_some(),
                flags: progress.flags,
                expires: ends.lifetime.map(|s| self.clock.now().plus_millis(i64::from(s) * 1000)),
            })
        } else {
            None
        };
        Ok((state, Step { token: progress.token, done }))
    }

    fn begin(&mut self) -> Result<InitState, Status> {
        let _ = self.identity.make_folder();
        self.asked.client = self.identity.principal.clone().or_else(|| {
            let keytab = keytab::load(&self.identity.keytab).ok()?;
            keytab.entries.first().map(|e| e.principal.to_string())
        });
        let name = match &self.asked.client {
            Some(client) => Some(Name::principal(&self.library, client)?),
            None => None,
        };
        let store =
            [(c"client_keytab", file(&self.identity.keytab)), (c"ccache", file(&self.identity.ccache()))];
        let cred = Cred::acquire(&self.library, name.as_ref(), Usage::Initiate, &store)?;
        let target = Name::principal(&self.library, &self.service)?;
        Ok(InitState { context: Context::new(&self.library), cred, target })
    }

    /// The newest ticket for what the request is for.
    fn credential(&self, request: &Request) -> Option<ccache::Credential> {
        let cache = ccache::load(&self.identity.ccache()).ok()?;
        let of_it = cache.credentials.into_iter().filter(|c| c.server == request.ticket.server);
        of_it.max_by_key(|c| c.end)
    }

    fn explain(&self, status: &Status) -> Fault {
        let keytab = keytab::load(&self.identity.keytab);
        let mut fault = judge::initiate(&Asked {
            holder: &self.identity.holder(),
            client: self.asked.client.as_deref(),
            service: &self.service,
            path: &self.identity.keytab,
            keytab: &keytab,
            status,
            now: self.clock.now(),
        });
        if self.asked.ticket.is_some() {
            let now = self.clock.now();
            fault.evidence.extend(self.asked.evidence(&self.identity.holder(), &self.service, now));
        }
        fault
    }
}
