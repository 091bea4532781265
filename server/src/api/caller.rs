//! Who asks: a token, or somebody with a password and a role group.

use super::answer::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use std::net::SocketAddr;
use waypost_admin::rights::Rights;
use waypost_base::Timestamp;
use waypost_directory::signin::{Asking, SignIn};
use waypost_directory::{Directory, Protocol};
use waypost_sasl::Secret;

/// Bytes of the header: the longest names and passwords fit.
const HEADER_MAX: usize = 4096;

/// Somebody who has proved who they are, and may do something.
pub struct Who {
    /// As histories name them.
    pub name: String,
    pub rights: Rights,
}

pub async fn identify(
    header: Option<&str>,
    peer: SocketAddr,
    directory: &Directory,
    sign_in: &SignIn,
    now: Timestamp,
) -> Result<Who, Answer> {
    let header = header.filter(|h| h.len() <= HEADER_MAX).ok_or_else(|| unknown("Say who you are."))?;
    let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return token(rest.trim(), directory, now);
    }
    if scheme.eq_ignore_ascii_case("basic") {
        return password(rest.trim(), peer, directory, sign_in).await;
    }
    Err(unknown("Bearer and Basic are the ways to say who you are."))
}

fn token(shown: &str, directory: &Directory, now: Timestamp) -> Result<Who, Answer> {
    let snapshot = directory.snapshot();
    let token = snapshot
        .api_token(shown, now)
        .ok_or_else(|| unknown("The token is unknown, taken back or expired."))?;
    let rights = Rights::named(token.groups.iter().map(String::as_str));
    Ok(Who { name: format!("token {}", token.name), rights })
}

async fn password(
    encoded: &str,
    peer: SocketAddr,
    directory: &Directory,
    sign_in: &SignIn,
) -> Result<Who, Answer> {
    let wrong = || unknown("Wrong user name or password.");
    let decoded = STANDARD.decode(encoded).map(Secret::new).map_err(|_| wrong())?;
    let (name, password) = decoded.expose_str().and_then(|t| t.split_once(':')).ok_or_else(wrong)?;
    let asking = Asking { protocol: Protocol::Web, peer: peer.ip() };
    match sign_in.check(name, password, &asking).await {
        waypost_sasl::Answer::Accepted(identity) => {
            let snapshot = directory.snapshot();
            let groups =
                snapshot.account(identity.account).map(|a| a.role_groups.clone()).unwrap_or_default();
            if groups.is_empty() {
                let text = "You are in no role group: Add-RoleGroupMember makes you an administrator.";
                return Err(Answer::refused(StatusCode::FORBIDDEN, text));
            }
            Ok(Who { name: identity.address, rights: Rights::named(groups.iter().map(String::as_str)) })
        }
        waypost_sasl::Answer::Wrong => Err(wrong()),
        waypost_sasl::Answer::NotAllowed(why) => {
            Err(Answer::refused(StatusCode::FORBIDDEN, &format!("Signing in is not allowed: {why}.")))
        }
        other => {
            tracing::warn!(?other, "a sign-in over HTTP could not be decided");
            Err(Answer::unavailable("We cannot tell now whether that is right; try again."))
        }
    }
}

fn unknown(text: &str) -> Answer {
    Answer::refused(StatusCode::UNAUTHORIZED, text)
}
