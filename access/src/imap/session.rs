//! One client: what it has signed in as, what it has selected and enabled, and the loop that takes its commands.
//!
//! Laws: commands are carried out one after the other, in the order they came, and each is answered before the next
//! begins; whatever a client sends, it gets an answer with its tag or the session ends with BYE; the future of an idle
//! session holds no buffer and no state of any command, since each command runs in a box of its own.

use super::outcome::{Done, End, Fail, Outcome};
use super::select::Selected;
use super::settings::ImapSettings;
use super::wire::Wire;
use super::{ImapService, inbox::Inbox, legs, names};
use crate::log::{Context, Entry, Scribe};
use crate::proxy::{HandedOver, Taken};
use crate::signin::{Caller, Place};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use waypost_base::explain::Leg;
use waypost_base::id::Correlation;
use waypost_imap::command::{self, Append, Body, Command, Dialect, ParseError, Problem};
use waypost_imap::frame::{Event, Refusal};
use waypost_imap::response::{Code, Status};
use waypost_imap::state::State;
use waypost_imap::value::Tag;
use waypost_mailbox::Account;
use waypost_trust::channel::{BoxStream, Channel, TlsAccept, TlsFacts};
use waypost_trust::leg::Service;

/// Commands in a row that were wrong, after which the other side is no mail client.
const BAD_IN_A_ROW: u32 = 50;

/// The same words wherever the account is.
pub(crate) const SIGNED_IN: &str = "Signed in";

pub(crate) struct Session {
    pub svc: Arc<ImapService>,
    pub id: Correlation,
    pub scribe: Scribe,
    /// Who calls, as long as it has not signed in.
    pub caller: Option<Box<Caller>>,
    pub wire: Wire,
    pub inbox: Inbox,
    pub tls: Option<Box<TlsFacts>>,
    pub upgrade: Option<Arc<dyn TlsAccept>>,
    pub enabled: Enabled,
    pub login: Option<Box<Login>>,
    /// Where the session goes on, when it has been handed over.
    pub handed: Option<Box<Handed>>,
    /// The client's address, and ours that it came to.
    pub ends: (SocketAddr, SocketAddr),
    pub selected: Option<Box<Selected>>,
    /// What this session is, as a leg, until it is handed to whoever collects legs: at sign-in, or at the end.
    pub leg: Option<Box<Leg>>,
    pub stop: watch::Receiver<bool>,
    /// Until when the client must have signed in.
    pub sign_in_by: Instant,
    /// LOGOUT was answered.
    pub leaving: bool,
    /// Why to close the connection once the command at hand is answered.
    pub close_after: Option<&'static str>,
    bad_in_a_row: u32,
    /// What the log shall say of the command at hand besides its name: arguments without secrets.
    pub noted: String,
}

/// Who has signed in.
pub(crate) struct Login {
    pub account: Account,
    /// Counts this session among those of its account, for as long as it lives.
    pub _place: Place,
}

/// What clients are told whose account went to another server: they reconnect, and find it there.
pub(crate) const MOVED: &str = "[UNAVAILABLE] The mailbox has moved to another server, please reconnect";

/// Returns when the account has left this server.
pub(crate) async fn left(login: Option<&Login>) {
    match login {
        Some(login) => login.account.left().await,
        None => std::future::pending().await,
    }
}

/// A session that goes on at another server.
pub(crate) struct Handed {
    pub server: BoxStream,
    /// That server's id.
    pub to: String,
    pub place: Place,
}

/// What ENABLE, and commands that imply it, have switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Enabled {
    pub rev2: bool,
    pub utf8_accept: bool,
    pub condstore: bool,
    pub qresync: bool,
}

impl Enabled {
    /// Whether names and quoted strings are UTF-8.
    pub fn utf8(self) -> bool {
        self.rev2 || self.utf8_accept
    }

    pub fn dialect(self) -> Dialect {
        Dialect { utf8: self.utf8() }
    }
}

/// The next thing to do.
pub(crate) enum Next {
    Command(Result<Command, ParseError>, usize),
    Append(Result<Append, ParseError>, usize),
    Line(Vec<u8>),
    Refused(Refusal),
}

impl Session {
    pub fn new(channel: Channel, svc: Arc<ImapService>, id: Correlation) -> Session {
        let sign_in_by = Instant::now() + svc.settings().pre_authenticated_timeout;
        let stop = svc.stopping();
        let leg = legs::begin(&channel, &svc, id);
        let caller = svc.entrance.caller(&channel);
        let scribe = Scribe::new(svc.log.clone(), id, channel.local, channel.peer);
        Session {
            svc,
            id,
            scribe,
            caller: Some(Box::new(caller)),
            wire: Wire::new(channel.stream),
            inbox: Inbox::default(),
            tls: channel.tls.map(Box::new),
            upgrade: channel.upgrade,
            enabled: Enabled::default(),
            login: None,
            handed: None,
            ends: (channel.peer, channel.local),
            selected: None,
            leg: Some(Box::new(leg)),
            stop,
            sign_in_by,
            leaving: false,
            close_after: None,
            bad_in_a_row: 0,
            noted: String::new(),
        }
    }

    pub fn settings(&self) -> Arc<ImapSettings> {
        self.svc.settings()
    }

    pub fn state(&self) -> State {
        match (&self.login, &self.selected) {
            _ if self.leaving => State::Logout,
            (None, _) => State::NotAuthenticated,
            (Some(_), None) => State::Authenticated,
            (Some(_), Some(_)) => State::Selected,
        }
    }

    /// A session that has signed in at another server, of whose command the answer is still due.
    pub fn taken_over(taken: Taken, account: Account, place: Place, svc: Arc<ImapService>) -> Session {
        let Taken { channel, detail, session: id, from, .. } = taken;
        let mut session = Session::new(channel, svc, id);
        let (now, seen) = (session.svc.clock.now(), account.clone());
        tokio::spawn(async move { seen.signed_in(now).await });
        session.scribe.user(&detail.address);
        legs::taken_over(&mut session, detail.mechanism(), detail.by.as_deref().unwrap_or(&detail.address));
        session.inside(Login { account, _place: place });
        let context = Context::default().with("Msg", &format!("ProxiedBy:{from}"));
        session.record("OpenSession", "", Duration::ZERO, (0, 0), &context);
        let names = session.capabilities();
        let tag = detail.tag.as_deref().and_then(|tag| Tag::new(tag.as_bytes()));
        match tag {
            Some(tag) => {
                session.reply().tagged(&tag, Status::Ok, Some(&Code::Capability(&names)), SIGNED_IN);
            }
            None => session.reply().untagged(Status::Ok, Some(&Code::Capability(&names)), SIGNED_IN),
        }
        session
    }

    /// Serves the client to the end, or until it is handed over.
    pub async fn run(mut self: Box<Self>) -> Option<HandedOver> {
        self.greet();
        self.run_on().await
    }

    /// The same, without greeting.
    pub async fn run_on(mut self: Box<Self>) -> Option<HandedOver> {
        self.svc.figures.sessions.add(1);
        self.svc.figures.sessions_total.one();
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        let handed = match (end, self.handed.take()) {
            (End::HandedOver, Some(handed)) => self.leave(*handed).await,
            (end, _) => {
                self.part(end).await;
                None
            }
        };
        self.svc.figures.sessions.add(-1);
        handed
    }

    /// Gives the client to the server that serves it from here on. What is still to be said goes first.
    async fn leave(&mut self, handed: Handed) -> Option<HandedOver> {
        if let Err(e) = self.wire.flush().await {
            self.part(e.into()).await;
            return None;
        }
        self.svc.figures.bytes_in.add(self.wire.bytes_in);
        self.svc.figures.bytes_out.add(self.wire.bytes_out);
        let Handed { server, to, place } = handed;
        let (peer, local) = self.ends;
        let blank = Scribe::new(self.svc.log.clone(), self.id, local, peer);
        Some(HandedOver {
            client: self.wire.take_stream()?,
            server,
            first: self.inbox.take_rest(),
            to,
            service: Service::Imap,
            session: self.id,
            peer,
            scribe: std::mem::replace(&mut self.scribe, blank),
            _place: place,
        })
    }

    fn greet(&mut self) {
        let names = self.capabilities();
        let banner = self.settings().banner.clone();
        self.reply().untagged(Status::Ok, Some(&Code::Capability(&names)), &banner);
        let size = self.wire.out.len() as u64;
        self.record("OpenSession", "", Duration::ZERO, (0, size), &Context::default());
    }

    /// Says goodbye and closes.
    async fn part(&mut self, end: End) {
        self.selected = None;
        let mut context = Context::default();
        match end {
            End::Bye(text) => {
                self.reply().untagged(Status::Bye, None, &text);
                context = Context::answer(&format!("BYE {text}"));
            }
            End::Logout | End::HandedOver => {}
            End::Gone(io::ErrorKind::UnexpectedEof) => context = context.with("ErrMsg", "ConnectionClosed"),
            End::Gone(kind) => context = context.with("ErrMsg", &kind.to_string()),
        }
        self.wire.close().await;
        self.svc.figures.bytes_in.add(self.wire.bytes_in);
        self.svc.figures.bytes_out.add(self.wire.bytes_out);
        legs::end(self);
        self.record("CloseSession", "", Duration::ZERO, (0, 0), &context);
    }

    /// Takes the next thing that the client sent, waiting for it if need be.
    async fn step(&mut self) -> Result<(), End> {
        match self.next().await? {
            Next::Command(Ok(command), size) => self.command(command, size).await,
            Next::Append(Ok(append), size) => self.append_command(append, size).await,
            Next::Command(Err(error), size) => self.unreadable(error, size),
            Next::Append(Err(error), size) => {
                let close = !self.inbox.framer().refuse();
                self.unreadable(error, size)?;
                if close { Err(End::Bye("Message too large to skip".into())) } else { Ok(()) }
            }
            Next::Refused(refusal) => self.refused(&refusal),
            // Nobody asked for a line: a command took it by itself.
            Next::Line(_) => Ok(()),
        }
    }

    pub async fn next(&mut self) -> Result<Next, End> {
        loop {
            if let Some(next) = self.take() {
                return Ok(next);
            }
            let limit = self.patience();
            self.await_input(limit).await?;
        }
    }

    /// How long the client may be silent now.
    pub fn patience(&self) -> Duration {
        match self.login {
            Some(_) => self.settings().authenticated_timeout,
            None => self.sign_in_by.saturating_duration_since(Instant::now()),
        }
    }

    pub fn take(&mut self) -> Option<Next> {
        let dialect = self.enabled.dialect();
        loop {
            match self.inbox.next()? {
                Event::Command(bytes) => {
                    let parsed = command::parse(bytes, dialect);
                    if let Ok(command) = &parsed
                        && self.scribe.enabled()
                        && names::arguments_are_harmless(&command.body)
                    {
                        self.noted = names::arguments(bytes);
                    }
                    return Some(Next::Command(parsed, bytes.len() + 2));
                }
                Event::Message(head) => {
                    let size = head.text.len() + 2;
                    return Some(Next::Append(command::parse_append(head.text, dialect), size));
                }
                Event::Line(bytes) => return Some(Next::Line(bytes.to_vec())),
                Event::Refused(refusal) => return Some(Next::Refused(refusal)),
                Event::Continue => self.reply().continuation("Ready for the literal"),
                // Only while a message is being taken, which APPEND does by itself.
                Event::Data { .. } | Event::MessageTail(_) => {}
            }
        }
    }

    /// Sends what has gathered and waits for more input: the state in which a connection spends its life.
    pub async fn await_input(&mut self, limit: Duration) -> Result<(), End> {
        self.await_bytes(limit, true).await
    }

    /// The same; without `heed_stop` in the middle of a command, which is finished even when the service stops.
    pub async fn await_bytes(&mut self, limit: Duration, heed_stop: bool) -> Result<(), End> {
        if heed_stop && *self.stop.borrow() {
            return Err(End::Bye("The server is shutting down, please reconnect".into()));
        }
        self.wire.flush().await?;
        let Session { wire, inbox, stop, login, .. } = self;
        let mut idle = false;
        let input = poll_fn(|cx| {
            let read = pin!(wire.read(|bytes| inbox.push(bytes))).poll(cx);
            // In the middle of a command the rest is on its way, and the room will be used again at once.
            if heed_stop && read.is_pending() && !std::mem::replace(&mut idle, true) {
                wire.release();
                inbox.release();
            }
            read
        });
        tokio::select! {
            biased;
            read = input => match read {
                Ok(0) => Err(End::Gone(io::ErrorKind::UnexpectedEof)),
                Ok(_) => Ok(()),
                Err(e) => Err(e.into()),
            },
            _ = stop.changed(), if heed_stop => {
                Err(End::Bye("The server is shutting down, please reconnect".into()))
            }
            () = left(login.as_deref()), if heed_stop => Err(End::Bye(MOVED.into())),
            () = tokio::time::sleep(limit) => Err(End::Bye(match self.login {
                Some(_) => "Autologout; idle for too long".into(),
                None => "No sign-in in time".into(),
            })),
        }
    }

    async fn command(&mut self, command: Command, size: usize) -> Result<(), End> {
        let Command { tag, body } = command;
        let name = names::name(&body);
        let expunges = names::expunges_allowed(&body);
        let logout = matches!(body, Body::Logout);
        let (started, sent) = (Instant::now(), self.sent());
        self.svc.figures.commands.one(name);
        let outcome = match self.state().permits(&body) {
            Ok(()) => self.carry_out(&tag, body).await,
            Err(misplaced) => Err(Fail::bad(misplaced.text())),
        };
        self.conclude(&tag, name, outcome, expunges, (started, sent, size)).await?;
        if logout { Err(End::Logout) } else { Ok(()) }
    }

    async fn append_command(&mut self, append: Append, size: usize) -> Result<(), End> {
        let tag = append.tag.clone();
        let (started, sent) = (Instant::now(), self.sent());
        self.svc.figures.commands.one("APPEND");
        let outcome = Box::pin(self.append(append)).await;
        self.conclude(&tag, "APPEND", outcome, true, (started, sent, size)).await
    }

    /// Each command in its own box, so that a session waiting for input or for mail carries none of the others.
    fn carry_out<'a>(
        &'a mut self,
        tag: &'a Tag,
        body: Body,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        match body {
            Body::Capability => Box::pin(async { self.capability() }),
            Body::Noop | Body::Check => Box::pin(async { Ok(Done::text("Nothing done, as asked")) }),
            Body::Logout => Box::pin(async { self.logout() }),
            Body::Id(fields) => Box::pin(async { self.identify(fields) }),
            Body::StartTls => Box::pin(self.start_tls(tag)),
            Body::Authenticate { mechanism, initial } => Box::pin(self.authenticate(tag, mechanism, initial)),
            Body::Login { user, password } => Box::pin(self.login(tag, user, password)),
            Body::Enable(names) => Box::pin(async { self.enable(names) }),
            Body::Select(select) => Box::pin(self.select(select)),
            Body::Create { folder, special_use } => Box::pin(self.create(folder, special_use)),
            Body::Delete(folder) => Box::pin(self.delete(folder)),
            Body::Rename { from, to } => Box::pin(self.rename(from, to)),
            Body::Subscribe(folder) => Box::pin(self.subscribe(folder, true)),
            Body::Unsubscribe(folder) => Box::pin(self.subscribe(folder, false)),
            Body::List(list) => Box::pin(self.list(list)),
            Body::Lsub { reference, pattern } => Box::pin(async move { self.lsub(&reference, &pattern) }),
            Body::Namespace => Box::pin(async { self.namespace() }),
            Body::Status { folder, items } => Box::pin(self.status(folder, items)),
            Body::Idle => Box::pin(self.idle()),
            Body::GetQuota(root) => Box::pin(async move { self.get_quota(&root) }),
            Body::GetQuotaRoot(folder) => Box::pin(async move { self.get_quota_root(&folder) }),
            Body::SetQuota { .. } => {
                Box::pin(async { Err(Fail::no(Code::NoPerm, "Quotas are set by the administrator")) })
            }
            Body::Compress(algorithm) => Box::pin(self.compress(tag, algorithm)),
            Body::Close => Box::pin(self.close()),
            Body::Unselect => Box::pin(async { self.unselect() }),
            Body::Expunge { uids } => Box::pin(self.expunge(uids)),
            Body::Search(search) => Box::pin(self.search(tag, search)),
            Body::Sort(sort) => Box::pin(self.sort(tag, sort)),
            Body::Thread(thread) => Box::pin(self.thread(thread)),
            Body::Fetch(fetch) => Box::pin(self.fetch(fetch)),
            Body::Store(store) => Box::pin(self.store(store)),
            Body::Copy { uid, set, folder } => Box::pin(self.copy(uid, set, folder)),
            Body::Move { uid, set, folder } => Box::pin(self.move_to(uid, set, folder)),
        }
    }

    /// Tells what has happened meanwhile, then how the command ended.
    async fn conclude(
        &mut self,
        tag: &Tag,
        name: &'static str,
        outcome: Outcome,
        expunges: bool,
        (started, sent, size): (Instant, u64, usize),
    ) -> Result<(), End> {
        let mut end = None;
        if !matches!(outcome, Err(Fail::Bad(_) | Fail::End(_)))
            && let Err(stop) = self.sync(expunges).await
        {
            end = Some(stop);
        }
        let context = self.answer(tag, name, &outcome);
        let noted = std::mem::take(&mut self.noted);
        let answered = self.sent().saturating_sub(sent);
        self.record(name, &noted, started.elapsed(), (size as u64, answered), &context);
        match (outcome, end, self.close_after) {
            (Err(Fail::End(end)), ..) | (_, Some(end), _) => Err(end),
            (_, _, Some(why)) => Err(End::Bye(why.into())),
            _ if self.bad_in_a_row > BAD_IN_A_ROW => Err(End::Bye("Too many wrong commands".into())),
            _ => Ok(()),
        }
    }

    /// The tagged response, and what the log says of it.
    fn answer(&mut self, tag: &Tag, name: &'static str, outcome: &Outcome) -> Context {
        match outcome {
            Ok(done) => {
                self.bad_in_a_row = 0;
                // STARTTLS and COMPRESS have answered by themselves, before the channel changed.
                if !done.text.is_empty() {
                    self.reply().tagged(tag, Status::Ok, done.code.code().as_ref(), &done.text);
                }
                Context::ok()
            }
            Err(Fail::No { code, text, ours }) => {
                self.bad_in_a_row = 0;
                self.svc.figures.no.one();
                self.reply().tagged(tag, Status::No, code.as_ref(), text);
                let context = Context::answer(&format!("{tag} NO {text}"));
                let Some(why) = ours else { return context };
                self.svc.figures.unavailable.one();
                tracing::warn!(session = %self.id, command = name, error = %why, "an IMAP command failed by our fault");
                context.with("ErrMsg", why)
            }
            Err(Fail::Bad(text)) => {
                self.bad_in_a_row += 1;
                self.svc.figures.bad.one();
                self.reply().tagged(tag, Status::Bad, None, text);
                Context::answer(&format!("{tag} BAD {text}"))
            }
            Err(Fail::End(End::HandedOver)) => {
                let to = self.handed.as_ref().map(|handed| handed.to.as_str()).unwrap_or_default();
                Context::ok().with("Msg", &format!("Proxy:{to};ProxySuccess"))
            }
            Err(Fail::End(_)) => Context::default(),
        }
    }

    fn unreadable(&mut self, error: ParseError, size: usize) -> Result<(), End> {
        self.bad_in_a_row += 1;
        let text = error.problem.to_string();
        let (status, code) = match error.problem {
            Problem::UnknownUse => (Status::No, Some(Code::UseAttr)),
            Problem::BadCharset { saving } => {
                if let Some(selected) = self.selected.as_mut().filter(|_| saving) {
                    selected.saved = waypost_mailbox::UidSet::new();
                }
                (Status::No, Some(Code::BadCharset(&["US-ASCII", "UTF-8"])))
            }
            _ => (Status::Bad, None),
        };
        self.svc.figures.bad.one();
        match &error.tag {
            Some(tag) => self.reply().tagged(tag, status, code.as_ref(), &text),
            None => self.reply().untagged(status, code.as_ref(), &text),
        }
        let context = Context::answer(&format!("BAD {text}"));
        self.record("unknown", "", Duration::ZERO, (size as u64, 0), &context);
        if self.bad_in_a_row > BAD_IN_A_ROW {
            return Err(End::Bye("Too many wrong commands".into()));
        }
        Ok(())
    }

    pub fn refused(&mut self, refusal: &Refusal) -> Result<(), End> {
        self.svc.figures.bad.one();
        let text = refusal.reason.text();
        match &refusal.tag {
            Some(tag) => self.reply().tagged(tag, Status::Bad, None, text),
            None => self.reply().untagged(Status::Bad, None, text),
        }
        if refusal.close { Err(End::Bye(text.into())) } else { Ok(()) }
    }

    fn logout(&mut self) -> Outcome {
        self.selected = None;
        self.leaving = true;
        self.reply().untagged(Status::Bye, None, "Goodbye");
        Ok(Done::text("Logged out"))
    }

    /// The account that has signed in. The state machine lets no command that needs one come here without.
    pub fn account(&self) -> Result<Account, Fail> {
        match &self.login {
            Some(login) => Ok(login.account.clone()),
            None => Err(Fail::bad("Sign in first")),
        }
    }

    /// What is selected; likewise.
    pub fn selected(&mut self) -> Result<&mut Selected, Fail> {
        self.selected.as_deref_mut().ok_or(Fail::Bad("No folder is selected".into()))
    }

    /// Bytes of replies so far.
    fn sent(&self) -> u64 {
        self.wire.bytes_out + self.wire.out.len() as u64
    }

    /// One line of the protocol log: how long, how many bytes in and out, and what came of it.
    fn record(
        &mut self,
        command: &str,
        parameters: &str,
        took: Duration,
        (request_bytes, response_bytes): (u64, u64),
        context: &Context,
    ) {
        if !self.scribe.enabled() {
            return;
        }
        let session_mark = matches!(command, "OpenSession" | "CloseSession");
        let lower = command.to_ascii_lowercase();
        // A literal may hold line ends, which would begin a line of the log.
        let harmless = parameters.replace(char::is_control, " ");
        let entry = Entry {
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            request_bytes,
            response_bytes,
            command: if session_mark { command } else { &lower },
            parameters: &harmless,
            context: context.as_str(),
        };
        self.scribe.record(self.svc.clock.now(), entry);
    }
}

/// Waits until the client breaks the connection, reading ahead a little what it sends meanwhile. For long searches.
pub(crate) async fn watch(wire: &mut Wire, inbox: &mut Inbox) {
    /// More than this is not read ahead: the client is alive.
    const AHEAD: usize = 64 * 1024;
    while inbox.waiting() < AHEAD {
        match wire.read(|bytes| inbox.push(bytes)).await {
            Ok(0) if inbox.waiting() == 0 => return,
            // The client has said all it wants to and waits for its answers: a script behind a pipe.
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    poll_fn(|_| Poll::<()>::Pending).await;
}
