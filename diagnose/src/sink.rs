//! What readers write to: facts, with the server they were seen on, and word of what was read and what was not.

use crate::case::Case;
use crate::fact::{Fact, FileId};
use crate::phrases::Phrases;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One file's facts on their way into the case.
#[derive(Debug)]
pub struct Sink<'a> {
    pub file: FileId,
    phrases: &'a Phrases,
    case: &'a mut Case,
    server: Option<Arc<str>>,
    name: Arc<str>,
    understood: BTreeMap<&'static str, u64>,
    troubles: Vec<String>,
}

impl<'a> Sink<'a> {
    pub fn new(file: FileId, phrases: &'a Phrases, case: &'a mut Case) -> Sink<'a> {
        let name = case.file(file).into();
        let understood = BTreeMap::new();
        Sink { file, phrases, case, server: None, name, understood, troubles: Vec::new() }
    }

    /// The path of the file in the evidence; what is in it may be told by its name (`MBX01_Get-ExchangeCertificate.txt`).
    pub fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// For a case that does not know the names of its files.
    pub fn set_name(&mut self, name: &str) {
        self.name = name.into();
    }

    /// Takes a fact. One without a server gets the sink's. What is alike is counted rather than kept without end.
    pub fn fact(&mut self, mut fact: Fact) {
        // What somebody looked for in vain is no evidence that it is there.
        if matches!(&*fact.kind, "text" | "event") && crate::words::denied(&fact.text) {
            return;
        }
        if fact.server.is_none() {
            fact.server.clone_from(&self.server);
        }
        self.case.add(fact);
    }

    /// Whether any phrase of any rule occurs in it: lines without one may be dull.
    pub fn hits(&self, text: &str) -> bool {
        self.phrases.any(text)
    }

    /// Where the first phrase stands in it.
    pub fn find(&self, text: &[u8]) -> Option<std::ops::Range<usize>> {
        self.phrases.find(text)
    }

    /// Where the first phrase stands that a rule may seek in a log.
    pub fn find_in_logs(&self, text: &[u8]) -> Option<std::ops::Range<usize>> {
        self.phrases.find_in_logs(text)
    }

    /// Whether a fact of this kind and text, seen on the sink's server, would only add to a count; it has, then.
    pub(crate) fn repeats(&mut self, kind: &str, text: &str, time: Option<waypost_base::Timestamp>) -> bool {
        self.case.repeats(kind, self.server.as_ref(), text, time)
    }

    /// A number of lines or records of this kind were understood.
    pub fn understood(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.understood.entry(what).or_default() += count;
        }
    }

    /// Something could not be read; told once for each reason.
    pub fn trouble(&mut self, why: impl Into<String>) {
        let why = why.into();
        if self.troubles.len() < 32 && !self.troubles.contains(&why) {
            self.troubles.push(why);
        }
    }

    /// The server that what follows was seen on, if known.
    pub fn server(&self) -> Option<Arc<str>> {
        self.server.clone()
    }

    pub fn set_server(&mut self, server: Option<Arc<str>>) {
        if server.is_some() {
            self.server = server;
        }
    }

    /// How far the log reaches: the times of lines that are too dull to be facts.
    pub fn saw_time(&mut self, time: waypost_base::Timestamp) {
        self.case.saw_time(time);
    }

    /// A message was handed on, by the sink's server where no other is named.
    pub fn handed_on(&mut self, server: Option<Arc<str>>, time: waypost_base::Timestamp) {
        let server = server.or_else(|| self.server.clone());
        self.case.flow.handed_on(server, time);
    }

    /// TLS came about on a receive connector.
    pub fn encrypted(&mut self, connector: &str, time: waypost_base::Timestamp) {
        self.case.flow.encrypted(connector, time);
    }

    /// What was read and what was not, at the end.
    pub fn finish(self) -> (BTreeMap<&'static str, u64>, Vec<String>, Option<Arc<str>>) {
        (self.understood, self.troubles, self.server)
    }
}
