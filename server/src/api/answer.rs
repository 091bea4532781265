//! What goes back over HTTP: one JSON object, or one event a line as it comes.

use hyper::body::{Bytes, Frame};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use waypost_admin::failure::{Category, Exit, Failure};
use waypost_admin::output::Plain;
use waypost_admin::{Event, Record};
use waypost_base::id::Correlation;

/// Bytes of records that are gathered for one JSON object; whoever wants more asks for lines.
const GATHERED_MAX: usize = 16 * 1024 * 1024;

/// What a running command gives.
pub enum Part {
    Event(Event),
    End(Exit),
}

/// A response in the making.
pub struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: Body,
}

/// All at once, or piece by piece.
pub enum Body {
    Whole(Option<Bytes>),
    Lines(Lines),
}

/// A command that goes on while its events are sent. Dropped, it ends the command at its next event.
pub struct Lines {
    parts: mpsc::Receiver<Part>,
    ended: bool,
    _turn: OwnedSemaphorePermit,
}

impl Answer {
    pub fn document(value: &Value) -> Answer {
        Answer::json(StatusCode::OK, value)
    }

    pub fn failure(status: StatusCode, failure: Failure) -> Answer {
        let exit = failure.exit().0;
        Answer::json(status, &json!({"records": [], "errors": [failure], "exit": exit}))
    }

    fn json(status: StatusCode, value: &Value) -> Answer {
        let mut bytes = value.to_string().into_bytes();
        bytes.push(b'\n');
        Answer { status, kind: "application/json", body: Body::Whole(Some(bytes.into())) }
    }

    /// The events of a command. Gathered, the status says how it went.
    pub async fn of(parts: mpsc::Receiver<Part>, turn: OwnedSemaphorePermit, lines: bool) -> Answer {
        if lines {
            let body = Body::Lines(Lines { parts, ended: false, _turn: turn });
            return Answer { status: StatusCode::OK, kind: "application/x-ndjson", body };
        }
        let mut gathered = Gathered::default();
        let mut parts = parts;
        while let Some(part) = parts.recv().await {
            match part {
                Part::Event(event) => gathered.take(event),
                Part::End(exit) => {
                    gathered.exit = exit;
                    break;
                }
            }
            if gathered.bytes > GATHERED_MAX {
                let text = "There is more than fits in one answer: ask with Accept: application/x-ndjson.";
                let failure = Failure::new(Category::LimitsExceeded, "", text);
                return Answer::failure(StatusCode::INSUFFICIENT_STORAGE, failure);
            }
        }
        gathered.answer()
    }

    pub fn response(self, session: Correlation) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(session) = HeaderValue::from_str(&session.to_string()) {
            headers.insert("x-waypost-session", session);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let ways = HeaderValue::from_static("Bearer realm=\"Waypost\", Basic realm=\"Waypost\"");
            headers.insert(header::WWW_AUTHENTICATE, ways);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

#[derive(Default)]
struct Gathered {
    records: Vec<Value>,
    warnings: Vec<Value>,
    what_if: Vec<Value>,
    errors: Vec<Failure>,
    exit: Exit,
    bytes: usize,
}

impl Gathered {
    fn take(&mut self, event: Event) {
        match event {
            Event::Record(record) => {
                let record = object(&record);
                self.bytes += record.to_string().len();
                self.records.push(record);
            }
            Event::Warning(text) => self.warnings.push(text.into()),
            Event::WhatIf(text) => self.what_if.push(text.into()),
            Event::Error(failure) => self.errors.push(failure),
            Event::Progress(_) => {}
        }
    }

    fn answer(self) -> Answer {
        let status = match (self.exit, self.errors.last()) {
            (Exit::OK | Exit::PARTLY, _) | (_, None) => StatusCode::OK,
            (_, Some(failure)) => status_of(failure.category),
        };
        let mut body = json!({"records": self.records, "exit": self.exit.0});
        for (name, list) in [("warnings", self.warnings), ("whatIf", self.what_if)] {
            if !list.is_empty() {
                body[name] = Value::Array(list);
            }
        }
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        Answer::json(status, &body)
    }
}

fn status_of(category: Category) -> StatusCode {
    match category {
        Category::SyntaxError | Category::InvalidArgument => StatusCode::BAD_REQUEST,
        Category::PermissionDenied => StatusCode::FORBIDDEN,
        Category::ObjectNotFound => StatusCode::NOT_FOUND,
        Category::ResourceExists | Category::InvalidOperation => StatusCode::CONFLICT,
        Category::ResourceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Category::LimitsExceeded
        | Category::ReadError
        | Category::WriteError
        | Category::OperationIncomplete => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A record as `--json` has it.
fn object(record: &Record) -> Value {
    let mut map = Map::new();
    for (name, cell) in &record.0 {
        // Cells are numbers, texts and lists of them, which JSON always has a form for.
        map.insert(name.clone(), serde_json::to_value(Plain(cell)).unwrap_or_default());
    }
    Value::Object(map)
}

fn event_line(event: &Event) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    enum Line<'a> {
        Record(Value),
        Warning(&'a str),
        WhatIf(&'a str),
        Error(&'a Failure),
        Progress(&'a waypost_admin::output::Progress),
    }
    let line = match event {
        Event::Record(record) => Line::Record(object(record)),
        Event::Warning(text) => Line::Warning(text),
        Event::WhatIf(text) => Line::WhatIf(text),
        Event::Error(failure) => Line::Error(failure),
        Event::Progress(progress) => Line::Progress(progress),
    };
    serde_json::to_vec(&line).unwrap_or_default()
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Body::Lines(lines) if lines.ended => Poll::Ready(None),
            Body::Lines(lines) => lines.parts.poll_recv(cx).map(|part| {
                let mut bytes = match part {
                    Some(Part::Event(event)) => event_line(&event),
                    end => {
                        lines.ended = true;
                        let exit = if let Some(Part::End(exit)) = end { exit } else { Exit::FAILED };
                        json!({"end": {"exit": exit.0}}).to_string().into_bytes()
                    }
                };
                bytes.push(b'\n');
                Some(Ok(Frame::data(bytes.into())))
            }),
        }
    }
}
