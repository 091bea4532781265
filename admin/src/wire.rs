//! How a command reaches a running server: JSON, one value a line, over the server's local socket.
//!
//! The client sends one request line and then only reads: any number of event lines (`{"record":…}`, `{"progress":…}`,
//! `{"warning":…}`, `{"whatIf":…}`, `{"error":…}`), then `{"end":{"exit":0}}`. The server has looked at the peer's user id
//! before it reads a byte. A client that goes away stops the command at its next event.

use crate::catalogue::{Catalogue, Invocation};
use crate::failure::{Category, Exit, Failure};
use crate::output::Event;
use crate::run::{Context, Sink};
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// Raised when an older side could not understand the other.
pub const VERSION: u32 = 1;

/// Bytes of a request: the longest lists of addresses fit many times.
const REQUEST_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of one event, which may be a long help text.
const EVENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    version: u32,
    invocation: Invocation,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    End {
        exit: Exit,
    },
    #[serde(untagged)]
    Event(Event),
}

/// Serves one request on a connection whose peer may run commands.
pub async fn serve<S>(stream: S, catalogue: &Catalogue, context: &Context) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut line = Vec::new();
    BufReader::new(reader).take(REQUEST_BYTES_MAX).read_until(b'\n', &mut line).await?;
    let request = match serde_json::from_slice::<Request>(&line) {
        Ok(request) if request.version == VERSION => request,
        other => {
            let why = match other {
                Ok(request) => {
                    format!("The command speaks version {} and the server {VERSION}.", request.version)
                }
                Err(e) => format!("The request cannot be read: {e}."),
            };
            put(&mut writer, &Line::Event(Event::Error(Failure::usage("", why)))).await?;
            return put(&mut writer, &Line::End { exit: Exit::USAGE }).await;
        }
    };
    let (sink, mut events) = Sink::new();
    let running = catalogue.run(context, &request.invocation, sink);
    tokio::pin!(running);
    let mut exit = None;
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => put(&mut writer, &Line::Event(event)).await?,
                None => break,
            },
            code = &mut running, if exit.is_none() => exit = Some(code),
        }
    }
    put(&mut writer, &Line::End { exit: exit.unwrap_or(Exit::FAILED) }).await
}

async fn put(writer: &mut (impl AsyncWrite + Unpin), line: &Line) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line).map_err(io::Error::other)?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await?;
    writer.flush().await
}

/// Sends an invocation and hands every event to `tell`. An early end of the stream is an error of the server's.
pub async fn ask<S>(stream: S, invocation: &Invocation, mut tell: impl FnMut(Event)) -> io::Result<Exit>
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let request = Request { version: VERSION, invocation: invocation.clone() };
    let mut bytes = serde_json::to_vec(&request).map_err(io::Error::other)?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await?;
    writer.flush().await?;
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        (&mut reader).take(EVENT_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            let text = "The server closed the connection before the command had ended.";
            tell(Event::Error(Failure::new(Category::ResourceUnavailable, "server", text)));
            return Ok(Exit::UNAVAILABLE);
        }
        match serde_json::from_slice(&line).map_err(io::Error::other)? {
            Line::Event(event) => tell(event),
            Line::End { exit } => return Ok(exit),
        }
    }
}
