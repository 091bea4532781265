//! The frames of the handshake, and the waiting for them.
//!
//! ```text
//! I: {"waypost":1,"from":"server-2","hello":{…},"time":…,"by":"kerberos","token":"…"}
//! A: {"trusted":{"by":"kerberos","token":"…","time":…}}
//!    {"distrusted":{"fault":{"code":…,"text":…,"evidence":[…]},"allowed":["mtls"],"time":…}}
//! I: {"by":"mtls","failed":[{…}]}          where the acceptor still allows it
//! A: {"trusted":{"by":"mtls","time":…}}
//! A: {"welcome":{"answer":…}} or {"refused":{…}}, by the service
//! ```

use super::fault::{Fault, Told};
use super::limits::{FRAME_MAX, TOKEN_BYTES_MAX};
use super::{Hello, Mechanism, cause, frame};
use crate::channel::BoxStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;
use waypost_base::Timestamp;

pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub struct Begin {
    pub waypost: u32,
    pub from: String,
    pub hello: Hello,
    /// The initiator's clock.
    pub time: Timestamp,
    #[serde(flatten)]
    pub attempt: Attempt,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Attempt {
    pub by: Mechanism,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What the initiator tried before, by itself or with the acceptor, and why that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Told>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    Trusted {
        by: Mechanism,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        time: Timestamp,
    },
    Distrusted {
        fault: Told,
        /// What may be tried yet, on this connection.
        #[serde(default)]
        allowed: Vec<Mechanism>,
        time: Timestamp,
    },
}

pub fn token(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `None` for what is no token of bearable size.
pub fn token_bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| bytes.len() <= TOKEN_BYTES_MAX)
}

/// Writes a frame within the time limit.
pub async fn send<T: Serialize>(stream: &mut BoxStream, other: &str, value: &T) -> Result<(), Fault> {
    match tokio::time::timeout(FRAME_MAX, frame::write(stream, value)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(broken(other, "the handshake was not taken", &e)),
        Err(_) => Err(late(other, FRAME_MAX)),
    }
}

/// Reads a frame within a time limit.
pub async fn receive<T: DeserializeOwned>(
    stream: &mut BoxStream,
    other: &str,
    within: Duration,
) -> Result<T, Fault> {
    match tokio::time::timeout(within, frame::read(stream)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(broken(other, "the handshake was not answered", &e)),
        Err(_) => Err(late(other, within)),
    }
}

fn broken(other: &str, what: &str, e: &io::Error) -> Fault {
    let why = match e.kind() {
        io::ErrorKind::InvalidData => format!("{other} sent what is no inner handshake: {e}"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            format!("{other} closed the connection: {what}")
        }
        _ => format!("{other}: {what}: {e}"),
    };
    Fault::new(cause::PROTOCOL, why)
}

fn late(other: &str, within: Duration) -> Fault {
    Fault::new(cause::TIMEOUT, format!("{other} did not answer within {} s", within.as_secs()))
}
