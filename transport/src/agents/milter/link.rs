//! One conversation with one filter about one message, over a stream: what is said, what is waited for and how long.

use super::{MilterAddress, MilterSettings, OpenMilter};
use crate::agent::About;
use crate::draft::Draft;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use waypost_base::explain::{Cause, Leg, Outcome, Party};
use waypost_milter::{Change, Config, Event, Macros, Origin, Sent, Session, Verdict, limits};
use waypost_smtp::{BodyKind, MailParams, Mailbox};
use waypost_store::BlobError;
use waypost_trust::channel::BoxStream;

/// Octets that are gathered before they are written, where the filter does not answer.
const GATHER: usize = 64 * 1024;
/// Octets of a body that a filter may put in a message's place.
const NEW_BODY: usize = 50 * 1024 * 1024;

const FAILED: Cause = Cause {
    code: "MILTER-FAILED",
    meaning: "a mail filter could not be asked",
    remedy: "look whether the filter runs and listens where Get-MailFilter says; its FailureAction decides what happens \
             to mail meanwhile",
    reference: "Get-MailFilter",
};

/// Why a filter's word could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("cannot be reached: {0}")]
    Connect(io::Error),
    #[error("connection lost: {0}")]
    Lost(io::Error),
    #[error("no answer within {0} seconds")]
    Slow(u64),
    #[error("does not keep to the protocol: {0}")]
    Protocol(#[from] waypost_milter::Error),
    #[error("cannot serve this connection")]
    Unable,
    /// Ours: the message could not be read.
    #[error("message cannot be read: {0}")]
    Draft(#[from] BlobError),
}

/// What a filter made of a message.
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) changes: Vec<Change>,
}

/// A connection to a filter, from MAIL to the message's end.
pub(super) struct Link {
    pub(super) settings: Arc<MilterSettings>,
    stream: BoxStream,
    session: Session,
    out: Vec<u8>,
    buffer: Vec<u8>,
    leg: Leg,
    since: Instant,
}

impl Link {
    /// Connects, negotiates, and tells of connection, HELO and MAIL. The verdict is the first that is more than
    /// `Continue`.
    pub(super) async fn open(
        settings: Arc<MilterSettings>,
        opener: &dyn OpenMilter,
        about: &About,
    ) -> Result<(Link, Verdict), (Fault, Box<Leg>)> {
        let name = format!("{} {}", settings.name, settings.address);
        let mut leg = Leg::start(
            "milter",
            Party::new("hub", about.host.clone()),
            Party::new("filter", name),
            about.now,
        );
        leg.correlation = Some(about.session);
        let since = Instant::now();
        let opened = match timeout(settings.timeout, opener.open(settings.address.clone())).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(Fault::Connect(e)),
            Err(_) => Err(Fault::Slow(settings.timeout.as_secs())),
        };
        let stream = match opened {
            Ok(stream) => stream,
            Err(fault) => {
                leg.step("connect", micros(since), None);
                fail(&mut leg, &fault);
                return Err((fault, Box::new(leg)));
            }
        };
        let session = Session::new(Config { body: NEW_BODY, ..Config::default() });
        let (out, buffer) = (Vec::new(), vec![0; 8 * 1024]);
        let mut link = Link { settings, stream, session, out, buffer, leg, since };
        link.step("connect", None);
        match link.begin(about).await {
            Ok(verdict) => Ok((link, verdict)),
            Err(fault) => {
                let leg = link.failed(&fault, "mail");
                Err((fault, Box::new(leg)))
            }
        }
    }

    async fn begin(&mut self, about: &About) -> Result<Verdict, Fault> {
        let sent = self.session.negotiate(&mut self.out);
        self.answer(sent).await?;
        self.step("negotiate", Some(format!("version {}", self.session.version())));
        let ip = about.peer.ip().to_canonical();
        let (ip, local) = (ip.to_string(), about.local.ip().to_canonical().to_string());
        let port = about.peer.port().to_string();
        let client = format!("[{ip}]");
        let macros: Macros<'_> = &[
            ("j", &about.host),
            ("_", &client),
            ("v", concat!("Waypost ", env!("CARGO_PKG_VERSION"))),
            ("{daemon_name}", &about.connector),
            ("{daemon_addr}", &local),
            ("{client_addr}", &ip),
            ("{client_name}", "unknown"),
            ("{client_port}", &port),
        ];
        let sent = self.session.connect(&client, Origin::Socket(about.peer), macros, &mut self.out);
        let verdict = self.answer(sent).await?;
        if verdict != Verdict::Continue {
            return Ok(verdict);
        }
        let tls = about.tls.as_deref().unwrap_or_default();
        let (version, cipher) = tls.split_once(' ').unwrap_or((tls, ""));
        let macros: Macros<'_> = &[("{tls_version}", version), ("{cipher}", cipher)];
        let sent = self.session.helo(&about.helo, macros, &mut self.out);
        let verdict = self.answer(sent).await?;
        if verdict != Verdict::Continue {
            return Ok(verdict);
        }
        self.mail(about).await
    }

    async fn mail(&mut self, about: &About) -> Result<Verdict, Fault> {
        let from = about.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let host = about.from.as_ref().map(|from| from.domain.as_str()).unwrap_or_default();
        let user = about.account.as_ref().map(|(_, address)| address.as_str()).unwrap_or_default();
        let macros: Macros<'_> = &[
            ("i", &about.id),
            ("{auth_type}", about.mechanism),
            ("{auth_authen}", user),
            ("{mail_addr}", &from),
            ("{mail_host}", host),
            ("{mailer}", "esmtp"),
        ];
        let parameters = parameters(&about.params);
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
        let sent = self.session.mail(&format!("<{from}>"), &parameters, macros, &mut self.out);
        let verdict = self.answer(sent).await?;
        self.step("mail", told(&verdict));
        Ok(verdict)
    }

    pub(super) async fn rcpt(&mut self, to: &Mailbox) -> Result<Verdict, Fault> {
        let address = to.to_string();
        let macros: Macros<'_> =
            &[("{rcpt_addr}", &address), ("{rcpt_host}", &to.domain), ("{rcpt_mailer}", "local")];
        let sent = self.session.rcpt(&format!("<{address}>"), &[], macros, &mut self.out);
        let verdict = self.answer(sent).await?;
        self.step("rcpt", told(&verdict));
        Ok(verdict)
    }

    /// The message itself, to its end.
    pub(super) async fn message(&mut self, about: &About, draft: &Draft) -> Result<Judgement, Fault> {
        let mut changes = Vec::new();
        let verdict = self.tell(about, draft, &mut changes).await?;
        self.step("message", told(&verdict));
        Ok(Judgement { verdict, changes })
    }

    async fn tell(
        &mut self,
        about: &About,
        draft: &Draft,
        changes: &mut Vec<Change>,
    ) -> Result<Verdict, Fault> {
        let macros: Macros<'_> = &[("i", &about.id)];
        let sent = self.session.data(macros, &mut self.out);
        let mut verdict = self.answer(sent).await?;
        for field in draft.fields() {
            if verdict != Verdict::Continue {
                return Ok(verdict);
            }
            let name = String::from_utf8_lossy(field.name);
            let sent = self.session.header(&name, field.value, &mut self.out);
            verdict = self.answer(sent).await?;
        }
        if verdict != Verdict::Continue {
            return Ok(verdict);
        }
        let sent = self.session.end_of_headers(macros, &mut self.out);
        verdict = self.answer(sent).await?;
        if verdict != Verdict::Continue {
            return Ok(verdict);
        }
        let mut pieces = draft.read_body();
        while self.session.wants_body()
            && let Some(piece) = pieces.next().await?
        {
            for chunk in piece.chunks(limits::CHUNK) {
                let sent = self.session.body(chunk, &mut self.out);
                verdict = self.answer(sent).await?;
                if !matches!(verdict, Verdict::Continue | Verdict::Skip) {
                    return Ok(verdict);
                }
            }
        }
        let sent = self.session.end_of_message(macros, &mut self.out);
        self.wait(sent, changes).await
    }

    /// Good-bye, as far as the filter still hears it.
    pub(super) async fn close(mut self) -> Leg {
        self.session.quit(&mut self.out);
        let _ = timeout(self.settings.timeout, self.flush()).await;
        self.leg.outcome = Outcome::Ok;
        self.leg
    }

    /// The leg of a conversation that failed at a step.
    pub(super) fn failed(mut self, fault: &Fault, step: &'static str) -> Leg {
        self.step(step, None);
        fail(&mut self.leg, fault);
        self.leg
    }

    async fn answer(&mut self, sent: Sent) -> Result<Verdict, Fault> {
        self.wait(sent, &mut Vec::new()).await
    }

    /// Waits for the filter's word, if there is to be one. Each sign of life buys it time.
    async fn wait(&mut self, sent: Sent, changes: &mut Vec<Change>) -> Result<Verdict, Fault> {
        match sent {
            Sent::Skipped => return Ok(Verdict::Continue),
            Sent::Silent if self.out.len() < GATHER => return Ok(Verdict::Continue),
            Sent::Silent | Sent::Wait => {}
        }
        let (limit, slow) = (self.settings.timeout, Fault::Slow(self.settings.timeout.as_secs()));
        match timeout(limit, self.flush()).await {
            Err(_) => return Err(slow),
            Ok(written) => written.map_err(Fault::Lost)?,
        }
        while self.session.waiting().is_some() {
            match self.session.event()? {
                Some(Event::Verdict(Verdict::Unable)) => return Err(Fault::Unable),
                Some(Event::Verdict(verdict)) => return Ok(verdict),
                Some(Event::Change(change)) => changes.push(change),
                Some(Event::Progress | Event::Ready) => {}
                None => {
                    let read = match timeout(limit, self.stream.read(&mut self.buffer)).await {
                        Err(_) => return Err(slow),
                        Ok(read) => read.map_err(Fault::Lost)?,
                    };
                    if read == 0 {
                        return Err(Fault::Lost(io::ErrorKind::UnexpectedEof.into()));
                    }
                    self.session.input(self.buffer.get(..read).unwrap_or_default());
                }
            }
        }
        Ok(Verdict::Continue)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out).await?;
        self.stream.flush().await?;
        self.out.clear();
        Ok(())
    }

    fn step(&mut self, name: &'static str, note: Option<String>) {
        self.leg.step(name, micros(self.since), note);
        self.since = Instant::now();
    }
}

fn fail(leg: &mut Leg, fault: &Fault) {
    leg.outcome = Outcome::Failed { cause: FAILED, text: fault.to_string(), retry: true };
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn told(verdict: &Verdict) -> Option<String> {
    Some(match verdict {
        Verdict::Continue | Verdict::Skip => return None,
        Verdict::Accept => "accepts".to_owned(),
        Verdict::Reject => "refuses".to_owned(),
        Verdict::TempFail => "puts off".to_owned(),
        Verdict::Discard => "throws away".to_owned(),
        Verdict::Reply(reply) => format!("{} {}", reply.code, reply.text.replace('\n', " ")),
        Verdict::Shutdown => "ends the connection".to_owned(),
        Verdict::Unable => "cannot serve this connection".to_owned(),
    })
}

fn parameters(params: &MailParams) -> Vec<String> {
    let mut found = Vec::new();
    if params.size > 0 {
        found.push(format!("SIZE={}", params.size));
    }
    match params.body {
        BodyKind::SevenBit => {}
        BodyKind::EightBit => found.push("BODY=8BITMIME".to_owned()),
        BodyKind::Binary => found.push("BODY=BINARYMIME".to_owned()),
    }
    if params.utf8 {
        found.push("SMTPUTF8".to_owned());
    }
    found
}

impl std::fmt::Display for MilterAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MilterAddress::Tcp { host, port } => write!(f, "inet:{host}@{port}"),
            MilterAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
