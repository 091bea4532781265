//! The same question, asked of the other servers of the organisation: each looks at its own logs.

use crate::elsewhere::{Elsewhere, Errand};
use crate::failure::Category;
use crate::output::{Event, PlainRecord};
use crate::run::{Call, Sink};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// For one server. Reading a busy server's logs takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// Servers that are asked.
const SERVERS_MAX: usize = 32;
/// Records of one answer; a story is one.
const RECORDS_MAX: usize = 4;

/// What the others told.
#[derive(Debug, Default)]
pub struct Others {
    /// Server and its record.
    pub tales: Vec<(String, Value)>,
    /// Those that did not answer, with the reason.
    pub silent: Vec<String>,
}

/// Asks all of them, at the same time. Nothing where this is one server, or where the question came from another one.
pub async fn ask(call: &Call<'_>) -> Others {
    let mut others = Others::default();
    let Some(world) = &call.context.world else { return others };
    let Some(elsewhere) = &world.elsewhere else { return others };
    let now = world.directory.snapshot();
    let here = now.here().map(str::to_owned);
    let servers = now.servers().filter(|s| s.revoked.is_none() && Some(&s.id) != here.as_ref());
    let servers: Vec<String> = servers.map(|s| s.id.clone()).take(SERVERS_MAX).collect();
    let mut asked = tokio::task::JoinSet::new();
    for server in servers {
        let (elsewhere, errand) = (Arc::clone(elsewhere), Errand::of(call.context, call.invocation));
        asked.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, one(elsewhere, &server, errand)).await;
            (server, answer.unwrap_or_else(|_| Err(format!("no answer in {} s", PATIENCE.as_secs()))))
        });
    }
    while let Some(done) = asked.join_next().await {
        match done {
            Ok((server, Ok(records))) => {
                others.tales.extend(records.into_iter().map(|record| (server.clone(), record)));
            }
            Ok((server, Err(why))) => others.silent.push(format!("{server}: {why}")),
            Err(e) => others.silent.push(e.to_string()),
        }
    }
    others.tales.sort_by(|a, b| a.0.cmp(&b.0));
    others.silent.sort();
    others
}

/// The records of one server. That it knows nothing is an answer, too.
async fn one(elsewhere: Arc<dyn Elsewhere>, server: &str, errand: Errand) -> Result<Vec<Value>, String> {
    let (sink, mut events) = Sink::new();
    let running = async {
        let ended = elsewhere.run(server, errand, &sink).await;
        drop(sink);
        ended
    };
    let reading = async {
        let (mut records, mut wrong) = (Vec::new(), None);
        while let Some(event) = events.recv().await {
            match event {
                Event::Record(record) if records.len() < RECORDS_MAX => {
                    records.extend(serde_json::to_value(PlainRecord(&record)));
                }
                Event::Error(failure) if failure.category != Category::ObjectNotFound => {
                    wrong = Some(failure.message);
                }
                _ => {}
            }
        }
        (records, wrong)
    };
    let (ended, (records, wrong)) = tokio::join!(running, reading);
    match (ended, wrong) {
        (Err(failure), _) if failure.category != Category::ObjectNotFound => Err(failure.message),
        (_, Some(wrong)) if records.is_empty() => Err(wrong),
        _ => Ok(records),
    }
}
