//! Error records of PowerShell: the message, where it came from, and the two lines that begin with a plus.

use crate::fact::{Fact, server_name};
use crate::read::Doc;
use crate::read::scan;
use crate::sink::Sink;
use crate::words;

/// Lines of a message.
const MESSAGE_MAX: usize = 24;

/// Reads the error records of a document.
pub fn read(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    for at in 0..doc.lines.len() {
        let Some(line) = doc.free(at) else { continue };
        if words::contains(line, "+ CategoryInfo") {
            record(doc, at, sink);
            found += 1;
        } else if words::contains(line, "is not recognized as ") && words::contains(line, "the term '") {
            // Without its lines with a plus, as people paste it.
            let fact = Fact::new("error", doc.place(at)).with("message", line).text(line);
            sink.fact(fact.with("fullyqualifiederrorid", "CommandNotFoundException"));
            found += 1;
        }
    }
    sink.understood("PowerShell errors", found);
}

fn record(doc: &mut Doc<'_>, category: usize, sink: &mut Sink<'_>) {
    let begin = first_line(doc, category);
    let end = last_line(doc, category);
    let mut message = String::new();
    for line in doc.lines.get(begin..category).unwrap_or_default() {
        let line = line.trim();
        if line.starts_with("At line:") || line.starts_with('+') || is_position(line) {
            break;
        }
        scan::add(&mut message, line, " ");
    }
    let mut fact = Fact::new("error", doc.place(begin));
    // `Set-ImapSettings : The operation…`: the name of the cmdlet stands first.
    let (cmdlet, rest) = match message.split_once(" : ") {
        Some((first, rest)) if first.contains('-') && !first.contains(' ') => {
            (first.to_owned(), rest.to_owned())
        }
        _ => (String::new(), message.clone()),
    };
    fact.put("message", rest);
    fact.put("cmdlet", cmdlet);
    let (mut info, mut id) = (String::new(), String::new());
    let mut current = 0;
    for line in doc.lines.get(category..end).unwrap_or_default() {
        let line = line.trim();
        if let Some(value) = scan::after(line, "CategoryInfo").and_then(|v| v.split_once(':')) {
            info = value.1.trim().to_owned();
            current = 1;
        } else if let Some(value) = scan::after(line, "FullyQualifiedErrorId").and_then(|v| v.split_once(':'))
        {
            id = value.1.trim().to_owned();
            current = 2;
        } else if let Some(value) = scan::after(line, "PSComputerName").and_then(|v| v.split_once(':')) {
            fact.server = server_name(value.1);
            current = 3;
        } else if current == 1 {
            scan::add(&mut info, line, "");
        } else if current == 2 {
            scan::add(&mut id, line, "");
        }
    }
    parts(&mut fact, &info, &id);
    // What was asked may say more than the answer.
    let asked = begin.checked_sub(1).and_then(|above| doc.lines.get(above));
    if let Some(line) = asked.filter(|line| super::command::is_prompt(line)) {
        fact.put("command", line.trim());
    }
    if fact.is("cmdlet", "Resolve-DnsName") {
        let name = fact.get("message").and_then(|m| m.split(" : ").next()).unwrap_or_default().to_owned();
        let error = fact.get("message").unwrap_or_default().to_owned();
        sink.fact(Fact::new("dns", doc.place(begin)).with("name", name).with("error", &error).text(&error));
    }
    let text = scan::join(doc.lines.get(begin..end).unwrap_or_default().iter().copied());
    sink.fact(fact.text(&text));
    doc.claim(begin..end);
}

/// `InvalidOperation: (:) [Enable-ExchangeCertificate], InvalidOperationException` and `[Server=MBX01,RequestId=…] …`.
fn parts(fact: &mut Fact, info: &str, id: &str) {
    fact.put("category", info.split(':').next().unwrap_or_default());
    if let Some((_, rest)) = info.rsplit_once('[')
        && let Some((cmdlet, exception)) = rest.split_once(']')
    {
        if fact.get("cmdlet").is_none() {
            fact.put("cmdlet", cmdlet);
        }
        fact.put("exception", exception.trim_start_matches([',', ' ']));
    }
    fact.put("categoryinfo", info);
    fact.put("fullyqualifiederrorid", id);
    for (name, field) in
        [("Server=", "server"), ("RequestId=", "requestid"), ("FailureCategory=", "failurecategory")]
    {
        let value = scan::after(id, name).map(|v| v.split([',', ']']).next().unwrap_or_default().to_owned());
        let Some(value) = value else { continue };
        if field == "server" {
            fact.server = server_name(&value).or(fact.server.take());
        } else {
            fact.put(field, value);
        }
    }
}

fn is_position(line: &str) -> bool {
    // The words for "at line" in other languages all have both numbers.
    line.len() < 80
        && line.contains(":1 ")
        && line.split(':').count() >= 3
        && line.chars().any(|c| c.is_ascii_digit())
}

fn first_line(doc: &Doc<'_>, category: usize) -> usize {
    let mut begin = category;
    while category - begin < MESSAGE_MAX {
        let Some(above) = begin.checked_sub(1) else { break };
        match doc.free(above) {
            Some(line) if !line.trim().is_empty() && !super::command::is_prompt(line) => begin = above,
            _ => break,
        }
    }
    begin
}

fn last_line(doc: &Doc<'_>, category: usize) -> usize {
    let mut end = category + 1;
    while end < category + 12 {
        match doc.free(end) {
            Some(line)
                if line.trim_start().starts_with("+ ")
                    || (scan::indent(line) >= 3 && !line.trim().is_empty()) =>
            {
                end += 1;
            }
            // A wrapped identifier may stand at the edge.
            Some(line) if line.contains(",Microsoft.Exchange.") && !line.contains(": ") => end += 1,
            _ => break,
        }
    }
    end
}
