//! The HTTP interface: every command of the catalogue at `POST /api/v1/commands/VERB-NOUN`, and the OpenAPI document.
//!
//! Who asks proves it by a token (`Authorization: Bearer`) or by name and password of somebody who is in a role group
//! (`Basic`); what they may do is their groups' ([`waypost_admin::rights`]). Without TLS only loopback is answered.
//! Every failure says whose it is: 401 wrong or missing credentials, 403 not allowed, 503 we cannot tell or do it now.

mod answer;
mod caller;

use crate::listen::{Serve, Session};
use answer::{Answer, Body};
use caller::Who;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use waypost_admin::catalogue::openapi::{self, PATH};
use waypost_admin::failure::{Category, Exit, Failure};
use waypost_admin::{Catalogue, Context, Invocation, Needs, Sink};
use waypost_base::id::Correlation;
use waypost_directory::signin::SignIn;
use waypost_trust::channel::Channel;

/// Bytes of a request's body: the longest lists of addresses fit many times.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// A client that has not sent its request's head by then is let go; also how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// The same for the body.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Commands that run at the same time over HTTP; more are told to come back.
const COMMANDS_MAX: usize = 16;

/// Runs commands; `server` forwards those that belong to another server.
pub type Perform =
    Arc<dyn Fn(Context, Invocation) -> tokio::sync::mpsc::Receiver<answer::Part> + Send + Sync>;

/// Commands that may wait for a slow reader.
const PARTS_MAX: usize = 64;

/// Runs every command in this process.
pub fn here() -> Perform {
    let catalogue = Arc::new(Catalogue::new());
    Arc::new(move |context, invocation| {
        let (sender, receiver) = tokio::sync::mpsc::channel(PARTS_MAX);
        let catalogue = Arc::clone(&catalogue);
        tokio::spawn(async move {
            let (sink, mut events) = Sink::new();
            let running = catalogue.run(&context, &invocation, sink);
            tokio::pin!(running);
            let mut exit = None;
            loop {
                tokio::select! {
                    biased;
                    event = events.recv() => match event {
                        Some(event) => if sender.send(answer::Part::Event(event)).await.is_err() { return },
                        None => break,
                    },
                    code = &mut running, if exit.is_none() => exit = Some(code),
                }
            }
            // Whoever asked may be gone by now.
            let _ = sender.send(answer::Part::End(exit.unwrap_or(Exit::FAILED))).await;
        });
        receiver
    })
}

/// What all connections share.
pub struct Api {
    catalogue: Arc<Catalogue>,
    /// Without a caller.
    base: Context,
    sign_in: Arc<SignIn>,
    turns: Arc<Semaphore>,
    perform: Perform,
    stop: watch::Receiver<bool>,
}

impl Api {
    pub fn new(
        base: Context,
        sign_in: Arc<SignIn>,
        perform: Perform,
        stop: watch::Receiver<bool>,
    ) -> Arc<Api> {
        let turns = Arc::new(Semaphore::new(COMMANDS_MAX));
        Arc::new(Api { catalogue: Arc::new(Catalogue::new()), base, sign_in, turns, perform, stop })
    }

    /// What a connection at the door becomes.
    pub fn serve(self: &Arc<Api>) -> Serve {
        let api = Arc::clone(self);
        Arc::new(move |channel: Channel, correlation| {
            Box::pin(connection(Arc::clone(&api), channel, correlation)) as Session
        })
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        link: Link,
        session: Correlation,
    ) -> Result<Response<Body>, Infallible> {
        let lines = wants_lines(&request);
        let answer = match self.handle(request, link, session, lines).await {
            Ok(answer) => answer,
            Err(answer) => answer,
        };
        Ok(answer.response(session))
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        link: Link,
        session: Correlation,
        lines: bool,
    ) -> Result<Answer, Answer> {
        if !link.private {
            let text = "Names and tokens are not taken over a connection that others can read: use HTTPS.";
            return Err(Answer::refused(StatusCode::FORBIDDEN, text));
        }
        let path = request.uri().path().to_owned();
        if path == "/api/v1/openapi.json" && request.method() == Method::GET {
            return Ok(Answer::document(&self.catalogue.openapi(env!("CARGO_PKG_VERSION"))));
        }
        let Some(name) = path.strip_prefix(PATH) else {
            let text = "There is nothing here; /api/v1/openapi.json says what there is.";
            return Err(Answer::refused(StatusCode::NOT_FOUND, text));
        };
        if is_foreign(request.headers()) {
            let text = "A page of another site asks; commands are taken from programs and from this server's own pages.";
            return Err(Answer::refused(StatusCode::FORBIDDEN, text));
        }
        let who = self.who(&request, link.peer).await?;
        let command = self.catalogue.find(name).filter(|c| c.name().eq_ignore_ascii_case(name));
        let command = command.ok_or_else(|| {
            let near = self.catalogue.near(name).join(", ");
            Answer::refused(StatusCode::NOT_FOUND, &format!("There is no command {name:?}; near it: {near}."))
        })?;
        if command.needs == Needs::Stopped {
            let text = "This command works on a stopped server: run it on its console.";
            return Err(Answer::refused(StatusCode::CONFLICT, text));
        }
        if request.method() != Method::POST {
            return Err(Answer::refused(StatusCode::METHOD_NOT_ALLOWED, "Commands are run by POST."));
        }
        let body = read(request).await?;
        let invocation = self.invocation(command, &body)?;
        let turn = Arc::clone(&self.turns)
            .try_acquire_owned()
            .map_err(|_| Answer::unavailable("Too many commands are running; try again in a moment."))?;
        tracing::info!(%session, caller = who.name, peer = %link.peer, command = command.name(), "command over HTTP");
        let context = Context {
            caller: who.name,
            from: link.peer.to_string(),
            rights: who.rights,
            ..self.base.clone()
        };
        Ok(Answer::of((self.perform)(context, invocation), turn, lines).await)
    }

    fn invocation(
        &self,
        command: &waypost_admin::catalogue::Command,
        body: &[u8],
    ) -> Result<Invocation, Answer> {
        let usage = |text: String| Answer::failed(Failure::usage(command.name(), text));
        let json = match body.iter().all(u8::is_ascii_whitespace) {
            true => serde_json::Value::Object(serde_json::Map::new()),
            false => {
                serde_json::from_slice(body).map_err(|e| usage(format!("The body is not JSON: {e}.")))?
            }
        };
        let fields = json.as_object().ok_or_else(|| usage("The body must be an object.".into()))?;
        let mut invocation = Invocation { command: command.name(), confirmed: true, ..Invocation::default() };
        for (name, value) in fields {
            let named = command
                .param(name)
                .ok_or_else(|| usage(format!("{} has no parameter {name}.", command.name())))?;
            let value = openapi::value(named, value).map_err(Answer::failed)?;
            match named.name {
                "WhatIf" => invocation.what_if = value == waypost_admin::catalogue::Value::Flag(true),
                "Confirm" => {}
                name => drop(invocation.args.insert(name.to_owned(), value)),
            }
        }
        invocation.line = line(command, &invocation);
        Ok(invocation)
    }

    async fn who(&self, request: &Request<Incoming>, peer: SocketAddr) -> Result<Who, Answer> {
        let directory = self.base.world.as_ref().map(|w| Arc::clone(&w.directory));
        let directory = directory.ok_or_else(|| Answer::unavailable("The directory is not open."))?;
        let header = request.headers().get(hyper::header::AUTHORIZATION).and_then(|h| h.to_str().ok());
        caller::identify(header, peer, &directory, &self.sign_in, self.base.clock.now()).await
    }
}

/// What a request came over.
#[derive(Clone, Copy)]
struct Link {
    peer: SocketAddr,
    private: bool,
}

async fn connection(api: Arc<Api>, channel: Channel, correlation: Correlation) {
    let loopback = |a: SocketAddr| a.ip().to_canonical().is_loopback();
    let private = channel.tls.is_some() || (loopback(channel.peer) && loopback(channel.local));
    let link = Link { peer: channel.peer, private };
    let service = service_fn(|request| api.respond(request, link, correlation));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(64 * 1024);
    let connection = builder.serve_connection(TokioIo::new(channel.stream), service);
    tokio::pin!(connection);
    let mut stop = api.stop.clone();
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(e) = ended {
                tracing::debug!(session = %correlation, error = %e, "HTTP connection ended");
            }
            return;
        }
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    // What is under way is finished; the client hears of it or does not.
    let _ = connection.await;
}

async fn read(request: Request<Incoming>) -> Result<Vec<u8>, Answer> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse::<usize>().ok());
    let too_large = || Answer::refused(StatusCode::PAYLOAD_TOO_LARGE, "A request has at most 1 MiB.");
    if declared.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    // A browser sends forms and text to strangers' servers unasked, but never this type.
    let json = request.headers().get(CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
    if !json.to_ascii_lowercase().starts_with("application/json") && declared != Some(0) && declared.is_some()
    {
        let text = "The body is to be application/json.";
        return Err(Answer::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_WITHIN, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Answer::refused(StatusCode::BAD_REQUEST, "The body broke off.")),
        Err(_) => Err(Answer::refused(StatusCode::REQUEST_TIMEOUT, "The body did not come in time.")),
    }
}

/// Whether a browser asks on behalf of another site's page: it would send along the password that an administrator has
/// typed. Programs send none of these headers.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    let Some(origin) = text("origin") else { return false };
    let host = text("host").unwrap_or_default();
    let from = origin.split_once("://").map_or("", |(_, rest)| rest);
    from.is_empty() || !from.eq_ignore_ascii_case(host)
}

fn wants_lines(request: &Request<Incoming>) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or_default();
    accept.contains("application/x-ndjson")
}

/// As it would have been typed, secrets left out, for the histories.
fn line(command: &waypost_admin::catalogue::Command, invocation: &Invocation) -> String {
    let mut line = command.name();
    for (name, value) in &invocation.args {
        let secret = command.param(name).is_some_and(|p| p.kind == waypost_admin::catalogue::Kind::Secret);
        let shown = if secret { "*****".to_owned() } else { value.shown() };
        line.push_str(&format!(" -{name} {shown}"));
    }
    line
}

impl Answer {
    fn failed(failure: Failure) -> Answer {
        Answer::failure(StatusCode::BAD_REQUEST, failure)
    }

    fn refused(status: StatusCode, text: &str) -> Answer {
        let category = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Category::PermissionDenied,
            StatusCode::NOT_FOUND => Category::ObjectNotFound,
            _ => Category::SyntaxError,
        };
        Answer::failure(status, Failure::new(category, "", text))
    }

    fn unavailable(text: &str) -> Answer {
        let failure = Failure::new(Category::ResourceUnavailable, "server", text);
        Answer::failure(StatusCode::SERVICE_UNAVAILABLE, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_not_answered() {
        let foreign = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            map.insert("host", "mail.contoso.test:8443".parse().unwrap());
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            is_foreign(&map)
        };
        assert!(!foreign(&[]), "a program");
        assert!(!foreign(&[("origin", "https://mail.contoso.test:8443"), ("sec-fetch-site", "same-origin")]));
        assert!(!foreign(&[("sec-fetch-site", "none")]));
        assert!(foreign(&[("origin", "https://evil.test")]));
        assert!(foreign(&[("origin", "null")]));
        assert!(foreign(&[("sec-fetch-site", "cross-site")]));
        assert!(foreign(&[("sec-fetch-site", "same-site")]));
    }
}
