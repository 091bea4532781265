//! Sign-ins at a server that knows no passwords: its questions go to servers that do.
//!
//! The home of the account that is meant is asked first, then any other that holds proofs, since asking twice does no harm.
//! Where nobody answers the sign-in is unavailable. A line to a server is kept while it is used, and carries many questions
//! at a time: a sign-in costs no handshake. Questions are bounded in number and in time.

pub mod answer;
mod line;
pub mod wire;

use crate::machine;
use line::Line;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use waypost_directory::Directory;
use waypost_directory::signin::{Answering, Asking, Authority};
use waypost_sasl::{Abilities, Answer, Bindings, Question, Setup};
use waypost_trust::leg::Inner;
use wire::Ask;

/// Questions under way at a time. A storm beyond that is told to come again.
const ASKING_MAX: usize = 4096;

/// How long one server may take: as long as it may itself delay a guess and wait for the password hash.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Servers that are asked one question.
const SERVERS_MAX: usize = 3;

/// A server that could not be reached is not asked again for so long, as long as there are others.
const DOWN: Duration = Duration::from_secs(5);

/// Answers by asking others.
pub struct RemoteSignIn {
    /// For what needs no proofs: bindings, nonces, and the questions about this server's own keys.
    local: Arc<dyn Authority>,
    directory: Arc<Directory>,
    inner: Arc<dyn Inner>,
    lines: Mutex<BTreeMap<String, Arc<Line>>>,
    down: Mutex<BTreeMap<String, Instant>>,
    asking: Semaphore,
}

impl RemoteSignIn {
    pub fn new(local: Arc<dyn Authority>, directory: Arc<Directory>, inner: Arc<dyn Inner>) -> RemoteSignIn {
        RemoteSignIn {
            local,
            directory,
            inner,
            lines: Mutex::default(),
            down: Mutex::default(),
            asking: Semaphore::new(ASKING_MAX),
        }
    }

    /// Whom to ask, in order: the home of whoever is meant, then the others that hold proofs. Who means nobody that we know
    /// is asked about as well, always at the same server, so that unknown names cost what known ones cost.
    fn servers(&self, name: Option<&str>) -> Vec<String> {
        let now = self.directory.snapshot();
        let own = now.here().unwrap_or_default();
        let fits = |s: &&Arc<waypost_directory::Server>| {
            (s.roles.mailbox || s.primary) && s.revoked.is_none() && s.id != own
        };
        let mut servers: Vec<String> = now.servers().filter(fits).map(|s| s.id.clone()).collect();
        let known = name.and_then(|name| {
            let without_realm = name.split_once('@').map_or(name, |(user, _)| user);
            now.sign_in_account(name).or_else(|| now.sign_in_account(without_realm))
        });
        let first = match known {
            Some(account) => servers.iter().position(|s| s == now.home_of(account)),
            None if servers.is_empty() => None,
            None => {
                let sum = name.unwrap_or_default().bytes().map(usize::from).sum::<usize>();
                Some(sum % servers.len())
            }
        };
        servers.rotate_left(first.unwrap_or_default());
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        down.retain(|_, until| *until > at);
        // Stable: what is down comes last, and is asked all the same where there is nobody else.
        servers.sort_by_key(|s| down.contains_key(s));
        servers.truncate(SERVERS_MAX);
        servers
    }

    async fn ask(&self, question: Question, asking: &Asking) -> Answer {
        let Some(ask) = Ask::of(question) else {
            return Answer::Unavailable("a question for this server alone".into());
        };
        let Ok(_permit) = self.asking.try_acquire() else {
            return Answer::Unavailable("too many questions are under way".into());
        };
        let mut why = "no server of the organisation holds proofs".to_owned();
        let servers = self.servers(ask.name());
        let frame = match line::Prepared::new(ask, asking) {
            Ok(frame) => frame,
            // Nobody's password is that long.
            Err(_) => return Answer::Malformed,
        };
        for server in servers {
            match tokio::time::timeout(ANSWER_MAX, self.ask_one(&server, &frame)).await {
                Ok(Ok(Answer::Unavailable(text))) => why = format!("{server}: {text}"),
                Ok(Ok(answer)) => return answer,
                Ok(Err(text)) => {
                    why = text;
                    let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
                    down.insert(server, Instant::now() + DOWN);
                }
                Err(_) => why = format!("{server} did not answer in time"),
            }
        }
        tracing::warn!(%why, "nobody could answer a sign-in");
        Answer::Unavailable(why)
    }

    async fn ask_one(&self, server: &str, frame: &line::Prepared) -> Result<Answer, String> {
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lines.entry(server.to_owned()).or_insert_with(|| Arc::new(Line::new(server))))
        };
        line.ask(self.inner.as_ref(), frame, machine::correlation()).await
    }
}

impl Authority for RemoteSignIn {
    fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        self.local.setup(bindings)
    }

    fn abilities(&self) -> Abilities {
        self.local.abilities()
    }

    fn answer<'a>(&'a self, question: Question, asking: &'a Asking) -> Answering<'a> {
        if question.is_local() {
            return self.local.answer(question, asking);
        }
        Box::pin(self.ask(question, asking))
    }
}

#[cfg(test)]
mod tests;
