//! From a line to its fact: the fields by the names that rules use.

use super::format::{Format, Hints, Setup};
use super::row::{self, split};
use super::shape::{self, Shape};
use super::{setup, waypost};
use crate::fact::{Fact, Place, TEXT_MAX, cut, server_name};
use crate::sink::Sink;
use crate::words;
use std::borrow::Cow;

/// How to read a line that was recognised by its shape.
pub fn shaped(shape: &Shape, hints: &Hints) -> Setup {
    let client = matches!(shape.format, Format::Imap | Format::Pop);
    let mut columns = match (&shape.format, shape.old) {
        (Format::Tracking, true) => super::row::Columns::of(super::format::TRACKING_2010),
        _ if client && shape.old => Format::SmtpSend.usual(),
        (format, _) => format.usual(),
    };
    let missing = shape.missing.min(columns.names.len());
    columns.names.drain(..missing);
    Setup { format: shape.format.clone(), columns, hints: hints.clone() }
}

/// Emits the fact of a line, unless many like it were seen before.
pub fn emit(setup: &Setup, line: &str, at: Place, sink: &mut Sink<'_>) {
    let kind = setup.format.kind();
    let shown = excerpt(line, sink);
    if !matches!(setup.format, Format::Waypost | Format::Setup | Format::Other(_))
        && sink.repeats(kind, shown, stamp(line))
    {
        return;
    }
    if let Some(fact) = of(setup, line, at) {
        if sink.server().is_none() && fact.server.is_some() {
            sink.set_server(fact.server.clone());
        }
        sink.fact(fact.text(shown));
    }
}

/// The time with which a line begins.
pub fn stamp(line: &str) -> Option<waypost_base::Timestamp> {
    line.get(..line.len().min(24)).and_then(row::time)
}

/// What is shown of a line: its beginning, or for a long one what stands about the first phrase.
fn excerpt<'a>(line: &'a str, sink: &Sink<'_>) -> &'a str {
    if line.len() <= TEXT_MAX {
        return line;
    }
    let Some(hit) = sink.find(line.as_bytes()).filter(|hit| hit.end > TEXT_MAX) else {
        return cut(line, TEXT_MAX);
    };
    let mut start = hit.start.saturating_sub(TEXT_MAX / 4);
    while !line.is_char_boundary(start) {
        start += 1;
    }
    cut(line.get(start..).unwrap_or_default(), TEXT_MAX)
}

/// The fact of a line, without its text.
pub fn of(setup: &Setup, line: &str, at: Place) -> Option<Fact> {
    match setup.format {
        Format::Waypost => return waypost::fact(line, at),
        Format::Setup => return of_setup(line, at),
        _ => {}
    }
    let mut fields = split(line, setup.columns.separator);
    let mut missing = 0;
    if matches!(setup.format, Format::Imap | Format::Pop | Format::SmtpReceive | Format::SmtpSend)
        && row::time(fields.first().map_or("", |f| f)).is_none()
        && let Some(shape) = shape::of(line)
    {
        // Its date was cut off, with the comma or without.
        missing = shape.missing;
    }
    if missing > 0 && setup.columns.names.first().is_some_and(|name| name == "datetime") {
        fields.insert(0, Cow::Borrowed(""));
    }
    let mut fact = Fact::new(setup.format.kind().to_owned(), at);
    fact.time = fields.first().and_then(|first| row::time(first));
    let last = setup.columns.names.len().saturating_sub(1);
    for (index, (name, value)) in setup.columns.names.iter().zip(&fields).enumerate() {
        // A line with more fields than columns: a comma that was not quoted, most likely in the last.
        match fields.get(index..).filter(|_| index == last && fields.len() > last + 1) {
            Some(rest) => fact.put(renamed(&setup.format, name), rest.join(",")),
            None => fact.put(renamed(&setup.format, name), value),
        }
    }
    finish(setup, &mut fact);
    Some(fact)
}

/// The names that rules use, where a log has others.
fn renamed(format: &Format, name: &str) -> Cow<'static, str> {
    let short = match (format, name) {
        (Format::Imap | Format::Pop, "localendpoint") => "sip",
        (Format::Imap | Format::Pop, "remoteendpoint") => "cip",
        (Format::SmtpReceive | Format::SmtpSend, "localendpoint") => "local",
        (Format::SmtpReceive | Format::SmtpSend, "remoteendpoint") => "remote",
        (Format::Imap | Format::Pop | Format::SmtpReceive | Format::SmtpSend, "sessionid") => "session",
        (
            Format::Imap | Format::Pop | Format::SmtpReceive | Format::SmtpSend,
            "sequencenumber" | "seqnumber",
        ) => "seq",
        (Format::Imap | Format::Pop | Format::SmtpReceive | Format::SmtpSend, "connectorid") => "connector",
        _ => return Cow::Owned(name.to_owned()),
    };
    Cow::Borrowed(short)
}

fn finish(setup: &Setup, fact: &mut Fact) {
    match setup.format {
        Format::Imap | Format::Pop => client(setup, fact),
        Format::SmtpReceive | Format::SmtpSend => {
            if let Some(role) = setup.hints.role.or_else(|| smtp_role(fact)) {
                fact.put("role", role);
            }
            if let Some(name) = banner(fact) {
                fact.server = server_name(&name);
            }
        }
        Format::Connectivity => {
            if let Some(role) = setup.hints.role.or_else(|| connectivity_role(fact)) {
                fact.put("role", role);
            }
        }
        Format::Tracking => fact.server = tracking_server(fact),
        Format::HttpProxy | Format::MapiHttp => {
            fact.server = fact.get("serverhostname").and_then(server_name);
        }
        Format::Iis => {
            let stamp =
                format!("{}T{}Z", fact.get("date").unwrap_or_default(), fact.get("time").unwrap_or_default());
            fact.time = row::time(&stamp);
        }
        Format::Other(_) => {
            let server = ["serverhostname", "server", "machinename", "hostname", "computer"];
            fact.server = server.iter().find_map(|name| fact.get(name)).and_then(server_name);
        }
        Format::Setup | Format::Waypost => {}
    }
}

/// Which server wrote a line of tracking: the one that it names as its own.
fn tracking_server(fact: &Fact) -> Option<std::sync::Arc<str>> {
    let sent = fact.is("eventid", "SEND") || fact.is("source", "SMTP") && fact.is("eventid", "HAREDIRECT");
    let deferred =
        fact.is("eventid", "SUBMITDEFER") || fact.is("eventid", "SUBMITFAIL") || fact.is("eventid", "SUBMIT");
    let (first, second) = if sent || deferred {
        ("clienthostname", "serverhostname")
    } else {
        ("serverhostname", "clienthostname")
    };
    let name = fact.get(first).or_else(|| if sent { None } else { fact.get(second) })?;
    server_name(name)
}

/// The name that a receiving server greets with.
fn banner(fact: &Fact) -> Option<String> {
    let data = fact.get("data").filter(|_| &*fact.kind == "smtp-receive" && fact.is("event", ">"))?;
    let name = data.strip_prefix("220 ")?.split_whitespace().next()?;
    name.contains('.').then(|| name.to_owned())
}

fn smtp_role(fact: &Fact) -> Option<&'static str> {
    let connector = fact.get("connector").unwrap_or_default();
    if words::contains(connector, "frontend") {
        return Some("frontend");
    }
    let local = fact.get("local").and_then(shape::port);
    let remote = fact.get("remote").and_then(shape::port);
    match (&*fact.kind, local, remote) {
        ("smtp-receive", Some(2525 | 465), _) => Some("hub"),
        ("smtp-receive", Some(475), _) => Some("mailbox"),
        ("smtp-receive", Some(25 | 587 | 717), _) if words::contains(connector, "client") => Some("frontend"),
        ("smtp-send", _, Some(475)) => Some("hub"),
        ("smtp-send", _, Some(2525 | 465)) if words::contains(connector, "internal") => Some("frontend"),
        _ => None,
    }
}

fn connectivity_role(fact: &Fact) -> Option<&'static str> {
    let destination = fact.get("destination")?;
    if words::contains(destination, "mailboxtransportsubmission") || fact.is("source", "MapiSubmission") {
        return Some("mailbox");
    }
    words::contains(destination, "internalproxy").then_some("frontend")
}

/// IMAP and POP: which end it is, and what the context says.
fn client(setup: &Setup, fact: &mut Fact) {
    let port = fact.get("sip").and_then(shape::port);
    let end = match port {
        Some(1993 | 1143 | 1995 | 1110) => Some("be"),
        _ => setup.hints.end,
    };
    fact.put("end", end.unwrap_or("fe"));
    let context = fact.get("context").unwrap_or_default().to_owned();
    let data = fact.get("data").unwrap_or_default().to_owned();
    let r = value_of(&context, "R=");
    let msg = value_of(&context, "Msg=");
    let error = value_of(&context, "ErrMsg=").or_else(|| between(&context, "Error=", &[' ', ']', ';', '"']));
    let proxy = proxied(&context).or_else(|| proxied(&data));
    if let Some(r) = &r {
        fact.put("r", r);
    }
    if let Some(msg) = msg {
        fact.put("msg", msg);
    }
    if let Some(error) = &error {
        fact.put("errmsg", error);
    }
    if let Some(proxy) = proxy {
        fact.put("proxy", proxy);
    }
    let reply = r.as_deref().unwrap_or(&data);
    let command = fact.get("command").unwrap_or_default();
    if let Some(result) = result(reply, command, fact.get("event").unwrap_or_default(), error.is_some()) {
        fact.put("result", result);
    }
    if fact.get("command").is_none() && fact.is("event", "<") {
        // 2010 logs what was received; the word after the tag, or the first of POP.
        let skip = usize::from(&*fact.kind == "imap");
        let word = data.split_whitespace().nth(skip).unwrap_or_default().to_ascii_lowercase();
        fact.put("command", word);
    }
}

fn result(reply: &str, command: &str, event: &str, error: bool) -> Option<&'static str> {
    if command.eq_ignore_ascii_case("CloseSession") || event == "-" {
        return Some("closed");
    }
    let mut words = reply.split_whitespace().map(|word| word.trim_matches('"'));
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is = |word: &str| first.eq_ignore_ascii_case(word) || second.eq_ignore_ascii_case(word);
    if is("NO") || first.to_ascii_uppercase().starts_with("-ERR") {
        Some("no")
    } else if is("BAD") {
        Some("bad")
    } else if is("OK") || first.starts_with("+OK") {
        Some(if error { "no" } else { "ok" })
    } else {
        error.then_some("no")
    }
}

/// The value of `R=`, `Msg=`… in a context: quoted (with quotes doubled or not) or up to the semicolon.
fn value_of(context: &str, key: &str) -> Option<String> {
    let mut from = 0;
    let at = loop {
        let found = context.get(from..)?.find(key)? + from;
        let before = context.get(..found).and_then(|b| b.chars().next_back());
        if before.is_none_or(|c| matches!(c, ';' | '"' | ' ' | ',')) {
            break found;
        }
        from = found + key.len();
    };
    let rest = context.get(at + key.len()..)?;
    let quote = |c: char| matches!(c, '"' | '“' | '”');
    let value = match rest.strip_prefix(quote) {
        Some(inner) => {
            let inner = inner.trim_start_matches(quote);
            inner.split(quote).next().unwrap_or_default()
        }
        None => rest.split(';').next().unwrap_or_default(),
    };
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

fn between(text: &str, key: &str, ends: &[char]) -> Option<String> {
    let at = text.find(key)?;
    let value = text.get(at + key.len()..)?.split(ends).next()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// `host:port` of `Proxy:host:port:SSL` and `Proxy=host:port:SSL`.
fn proxied(context: &str) -> Option<String> {
    let found =
        ["Proxy:", "Proxy="].iter().find_map(|key| between(context, key, &[' ', ']', ';', '"', ',']))?;
    let mut parts = found.split(':');
    let (host, port) = (parts.next()?, parts.next()?);
    (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| format!("{host}:{port}"))
}

fn of_setup(line: &str, at: Place) -> Option<Fact> {
    let Some(entry) = setup::take(line) else {
        return Some(Fact::new("setup", at).with("message", line));
    };
    let fact = Fact::new("setup", at).time(entry.time);
    Some(fact.with("level", entry.level).with("depth", entry.depth).with("message", entry.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(format: Format, line: &str) -> Fact {
        let setup = Setup { columns: format.usual(), format, hints: Hints::default() };
        of(&setup, line, Place::default()).unwrap()
    }

    fn check(fact: &Fact, want: &[(&str, &str)]) {
        for (name, value) in want {
            assert_eq!(fact.get(name), Some(*value), "{name} of {fact:?}");
        }
    }

    #[test]
    fn a_proxied_login_that_failed() {
        let line = r#"2026-03-03T09:02:46.994Z,0000000000000003,2,127.0.0.1:993,127.0.0.1:32258,HealthMailbox1f3a,1196,78,97,login,HealthMailbox1f3a@corp.example *****,"R=""z NO [Error=ProxyNotAuthenticated Proxy=MBX01.CORP.EXAMPLE:1993:SSL] LOGIN failed."";Msg=Proxy:MBX01.CORP.EXAMPLE:1993:SSL;ErrMsg=ProxyNotAuthenticated","#;
        let want = [
            ("end", "fe"),
            ("session", "0000000000000003"),
            ("seq", "2"),
            ("user", "HealthMailbox1f3a"),
            ("duration", "1196"),
            ("command", "login"),
            ("errmsg", "ProxyNotAuthenticated"),
            ("proxy", "MBX01.CORP.EXAMPLE:1993"),
            ("result", "no"),
            ("r", "z NO [Error=ProxyNotAuthenticated Proxy=MBX01.CORP.EXAMPLE:1993:SSL] LOGIN failed."),
        ];
        check(&fact(Format::Imap, line), &want);
        // As the incident's log line came: its date cut off, or gone.
        let cut = line.trim_start_matches("2026-03-");
        check(&fact(Format::Imap, cut), &want);
        check(&fact(Format::Imap, cut.split_once(',').map_or("", |(_, rest)| rest)), &want);
    }

    #[test]
    fn a_proxied_login_that_succeeded_and_the_other_end() {
        let front = r#"2026-03-03T08:15:20.388Z,000000000000001A,2,10.20.0.11:993,10.20.9.40:51877,invoices,214,49,24,login,invoices@example.net *****,"R=OK;Msg=""Proxy:MBX01.corp.example:1993:SSL;ProxySuccess""","#;
        check(
            &fact(Format::Imap, front),
            &[("result", "ok"), ("proxy", "MBX01.corp.example:1993"), ("r", "OK")],
        );
        let back = r#"2026-03-03T09:02:46.9Z,0000000000000202,2,10.20.0.11:1993,10.20.0.11:27002,,9,31,28,authenticate,PLAIN,"R=""1 NO AUTHENTICATE failed.""","#;
        check(&fact(Format::Imap, back), &[("end", "be"), ("result", "no"), ("command", "authenticate")]);
        let closed = "2026-03-03T09:02:46.9Z,0000000000000202,3,10.20.0.11:1993,10.20.0.11:27002,,9,0,0,CloseSession,,,";
        check(&fact(Format::Imap, closed), &[("result", "closed")]);
        let pop = r#"2026-03-03T09:02:46.9Z,0000000000000202,3,10.20.0.11:995,10.20.0.9:27002,anna,9,0,0,pass,*****,"R=""-ERR Logon failure: unknown user name or bad password.""","#;
        check(&fact(Format::Pop, pop), &[("result", "no"), ("end", "fe")]);
    }

    #[test]
    fn the_layout_of_2010() {
        let columns = Format::SmtpSend.usual();
        let setup = Setup { format: Format::Imap, columns, hints: Hints::default() };
        let line = "2010-03-03T09:02:46.9Z,IMAP4,08DE5A1100000021,2,10.20.0.11:143,10.20.0.9:27002,>,1 NO LOGIN failed.,";
        let fact = of(&setup, line, Place::default()).unwrap();
        check(&fact, &[("sip", "10.20.0.11:143"), ("result", "no"), ("event", ">")]);
    }

    #[test]
    fn smtp_tracking_and_connectivity() {
        let line = r#"2026-03-03T10:40:02.120Z,MBX01\Default MBX01,08DE5A1100000021,1,10.20.0.11:2525,10.20.0.12:33190,>,"220 MBX01.corp.example Microsoft ESMTP MAIL Service ready at Tue, 3 Mar 2026 10:40:02 +0000","#;
        let smtp = fact(Format::SmtpReceive, line);
        check(
            &smtp,
            &[
                ("role", "hub"),
                ("event", ">"),
                ("local", "10.20.0.11:2525"),
                ("connector", "MBX01\\Default MBX01"),
            ],
        );
        assert_eq!(smtp.server.as_deref(), Some("MBX01"));
        let line = "2026-03-03T10:41:12.902Z,10.20.9.40,app01.example.net,10.20.0.11,MBX01,08DE5A1100000021;2026-03-03T10:41:12.700Z;0,MBX01\\Default Frontend MBX01,SMTP,FAIL,4402341478401,<m7@app01.example.net>,77e0,nosuch@example.net,550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found,2048,1,,,Alert,app@example.net,app@example.net,,Incoming,,10.20.9.40,10.20.0.11,,Email,5c9e,15.02.1544.011";
        let tracked = fact(Format::Tracking, line);
        check(
            &tracked,
            &[("eventid", "FAIL"), ("source", "SMTP"), ("recipientaddress", "nosuch@example.net")],
        );
        assert_eq!(tracked.server.as_deref(), Some("MBX01"));
        let line = "2026-03-03T10:39:57.560Z,08DE5A1100000AA1,SMTP,mailboxtransportsubmissioninternalproxy,-,Messages: 0, Bytes: 0 (Retry : Service not active)";
        let want = [
            ("direction", "-"),
            ("role", "mailbox"),
            ("description", "Messages: 0, Bytes: 0 (Retry : Service not active)"),
        ];
        check(&fact(Format::Connectivity, line), &want);
    }
}
