//! What the tools of Windows and of Unix print: klist, setspn, w32tm, reg, netstat and their like. Each reader looks for its own
//! marks over the lines that are free; all of them are linear.

mod clock;
mod disk;
mod domain;
mod kerberos;
mod machine;
mod network;
mod registry;
mod resolve;
mod services;
mod tls;

pub use tls::certificate_fact;

use crate::fact::{Fact, Place};
use crate::read::{Doc, scan};
use crate::sink::Sink;
use crate::words;
use std::ops::Range;

type Tool = fn(&mut Doc<'_>, &mut Sink<'_>);

const TOOLS: &[Tool] = &[
    kerberos::klist,
    kerberos::klist_unix,
    kerberos::logonsessions,
    kerberos::setspn,
    clock::read,
    registry::query,
    registry::file,
    services::sc,
    services::tasklist,
    network::netsh,
    network::netstat,
    network::telnet,
    network::ipconfig,
    resolve::nslookup,
    resolve::dig,
    domain::nltest,
    domain::dcdiag,
    domain::repadmin,
    tls::s_client,
    tls::pem,
    disk::read,
    machine::systeminfo,
    machine::icacls,
    machine::appcmd,
    machine::wmic,
];

/// Reads the output of every tool that is known.
pub fn read(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    for tool in TOOLS {
        tool(doc, sink);
    }
}

/// The lines of a range as a fact's text.
fn text_of(doc: &Doc<'_>, lines: Range<usize>) -> String {
    scan::join(doc.lines.get(lines).unwrap_or_default().iter().map(|l| l.trim_end()))
}

fn fact(kind: &'static str, doc: &Doc<'_>, line: usize) -> Fact {
    Fact::new(kind, doc.place(line))
}

fn at(doc: &Doc<'_>, line: usize) -> Place {
    doc.place(line)
}

/// Whether a line mentions any of these.
fn has_any(line: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|p| words::contains(line, p))
}

/// The value after an option in a command line: `-connect host:25`, `/computer:dc1`.
fn option<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = scan::after(line, name)?.trim_start_matches([':', ' ', '=', '"', '\\']);
    let value = rest.split([' ', '"', '\t', '/']).next().unwrap_or_default();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests;
