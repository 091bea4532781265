//! Moving accounts between servers: one end of a move behind the inner door, the other end's driver, and the requests.
//!
//! The server that keeps the directory drives every move, so that the switch is a commit of its own: it has a leg to the
//! server that the account leaves and one to the server that it comes to (or is one of them itself), and carries rows and
//! bytes between the two. Its requests are rows, so a move goes on after a restart; what the directory says about the
//! account's home decides how.

mod manage;
mod wire;

pub use manage::{Mover, keep};

use super::{Handlers, Handling};
use crate::run::services::Services;
use std::sync::Arc;
use std::time::Duration;
use waypost_base::AccountId;
use waypost_base::explain::Cause;
use waypost_directory::Directory;
use waypost_mailbox::Mailboxes;
use waypost_mailbox::moving::MoveError;
use waypost_trust::leg::{Arrived, Refusal, Service};

/// A driver that says nothing for so long is gone; a frozen account goes on then.
const SILENCE: Duration = Duration::from_secs(120);

const NOT_ALLOWED: Cause = Cause {
    code: "MOVE-NOT-ALLOWED",
    meaning: "a server that does not keep the directory asked for an account to be moved, and was refused",
    remedy: "Get-ExchangeServer on both servers: they disagree about which one is the primary until the directory has been copied",
    reference: "docs/servers.md",
};

/// Registers this server's end of moves.
pub fn register(handlers: &mut Handlers, services: &Arc<Services>) {
    if !services.roles.mailbox {
        return;
    }
    let mailboxes = services.organisation.mailboxes.clone();
    let directory = Arc::clone(&services.organisation.directory);
    handlers.on(Service::Move, move |arrived: Arrived| {
        Box::pin(take(arrived, mailboxes.clone(), Arc::clone(&directory))) as Handling
    });
}

async fn take(arrived: Arrived, mailboxes: Mailboxes, directory: Arc<Directory>) {
    let from = arrived.from.to_string();
    let account = arrived.hello.detail.get("account").and_then(serde_json::Value::as_u64);
    let account = account.and_then(|id| u32::try_from(id).ok()).map(AccountId);
    // Whoever keeps the directory says where accounts are; nobody else may take one away.
    let primary = directory.snapshot().primary().is_some_and(|server| server.id == from);
    let (Some(account), true) = (account, primary) else {
        let refusal = Refusal {
            code: NOT_ALLOWED.code.into(),
            text: format!("{from} does not keep the directory, so it may not move accounts"),
            elsewhere: false,
            answer: serde_json::Value::Null,
        };
        if let Err(e) = arrived.refuse(refusal).await {
            tracing::debug!(error = %e, "a move's leg went away before it was refused");
        }
        return;
    };
    let mut stream = match arrived.welcome(serde_json::Value::Null).await {
        Ok((stream, _leg)) => stream,
        Err(e) => {
            tracing::debug!(error = %e, "a move's leg went away before it was welcomed");
            return;
        }
    };
    let mut end = mailboxes.end_of_move(account);
    loop {
        let ask = match tokio::time::timeout(SILENCE, wire::read(&mut stream)).await {
            Ok(Ok(ask)) => ask,
            Ok(Err(e)) => {
                tracing::debug!(%account, error = %e, "a move's leg has ended");
                return;
            }
            Err(_) => {
                tracing::warn!(%account, "a move's driver says nothing any more; the account goes on here");
                return;
            }
        };
        // What is served here is not written over, whoever says so; a copy of the directory that lags is asked again.
        let now = directory.snapshot();
        let here = now.account(account).is_some_and(|account| now.is_here(account));
        let answer = match ask.0 {
            wire::Op::Begin { .. } if here => Err(MoveError::Peer("the account is here already".into())),
            _ => wire::act(&mut end, ask).await,
        };
        if let Err(MoveError::Damaged(_)) = &answer {
            tracing::error!(%account, "bytes of a moving account arrived damaged");
        }
        if let Err(e) = wire::answer(&mut stream, answer).await {
            tracing::debug!(%account, error = %e, "a move's leg went away");
            return;
        }
    }
}
