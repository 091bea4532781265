//! Conversations with a mail server as somebody typed or captured them: SMTP, IMAP and POP over telnet, openssl, swaks. Each
//! line becomes a `conversation` fact: who spoke, what, and the code. Nothing is claimed, so that prose still sees phrases.

use super::Doc;
use crate::fact::{Fact, server_name};
use crate::sink::Sink;
use std::sync::Arc;

/// Lines of something else that may stand between two lines of a conversation.
const GAP: usize = 3;
/// Lines of one conversation.
const LINES_MAX: usize = 2000;

/// A line's part in a conversation.
struct Said<'a> {
    /// `s` the server, `c` the client.
    side: &'static str,
    protocol: &'static str,
    code: &'a str,
    data: &'a str,
    /// Such a line is never prose.
    sure: bool,
}

pub fn reader(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut index = 0;
    let mut count = 0;
    while index < doc.lines.len() {
        let begins = doc.free(index).and_then(said).is_some_and(|said| said.sure);
        if !begins {
            index += 1;
            continue;
        }
        // What stands just before the first sure line may belong to it: a reply without a banner.
        let (next, made) = conversation(doc, index, sink);
        count += made;
        index = next;
    }
    if count > 0 {
        sink.understood("Conversation with a mail server", count);
    }
}

fn conversation(doc: &Doc<'_>, start: usize, sink: &mut Sink<'_>) -> (usize, u64) {
    let mut last = start;
    let mut made = 0;
    let mut greeting: Option<(usize, String)> = None;
    let mut server = None;
    let mut index = start;
    while index < doc.lines.len() && index <= last + GAP && made < LINES_MAX as u64 {
        if let Some(said) = doc.free(index).and_then(said) {
            last = index;
            made += 1;
            if said.code == "250" && said.protocol == "smtp" {
                let (_, words) = greeting.get_or_insert_with(|| (index, String::new()));
                words.push(' ');
                words.push_str(said.data.get(4..).unwrap_or_default().trim());
            } else {
                extensions(doc, greeting.take(), sink);
            }
            let data = without_secret(said.data);
            server = greeter(&said).or(server);
            let fact = Fact::new("conversation", doc.place(index))
                .with("side", said.side)
                .with("protocol", said.protocol)
                .with("code", said.code)
                .with("status", status(said.data))
                .with("data", &data)
                .text(&data);
            sink.fact(Fact { server: server.clone(), ..fact });
        }
        index += 1;
    }
    extensions(doc, greeting.take(), sink);
    (last + 1, made)
}

/// What a server offers in reply to EHLO, as one fact: what is not there can only be told by the whole.
fn extensions(doc: &Doc<'_>, greeting: Option<(usize, String)>, sink: &mut Sink<'_>) {
    let Some((index, words)) = greeting else { return };
    let has = |word: &str| words.split_whitespace().any(|w| w.eq_ignore_ascii_case(word));
    if !["SIZE", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"].iter().any(|word| has(word)) {
        return;
    }
    let yes = |word: &str| if has(word) { "yes" } else { "no" };
    let fact = Fact::new("conversation", doc.place(index))
        .with("side", "s")
        .with("protocol", "smtp")
        .with("code", "250")
        .with("command", "ehlo")
        .with("data", format!("250{words}"))
        .with("starttls", yes("STARTTLS"))
        .with("xanonymoustls", yes("X-ANONYMOUSTLS"))
        .text(&format!("reply to EHLO: 250{words}"));
    sink.fact(fact);
}

fn status(data: &str) -> &str {
    let word = data
        .get(4..)
        .unwrap_or_default()
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .trim_start_matches('#');
    let parts: Vec<&str> = word.split('.').collect();
    let good = parts.len() == 3
        && parts.iter().all(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    if good { word } else { "" }
}

/// The server that greets: by name in SMTP; Exchange's IMAP and POP give theirs in base64, of UTF-16.
fn greeter(said: &Said<'_>) -> Option<Arc<str>> {
    if said.code == "220" {
        let name = said.data.get(4..)?.split_whitespace().next()?;
        return name.contains('.').then(|| server_name(name)).flatten();
    }
    let (_, inner) = said.data.split_once("service is ready")?;
    let (_, inner) = inner.split_once('[')?;
    let bytes = crate::source::base64(inner.split(']').next()?);
    let units: Vec<u16> =
        bytes.chunks_exact(2).map(|pair| u16::from_le_bytes(pair.try_into().unwrap_or_default())).collect();
    let name = String::from_utf16(&units).ok()?;
    let good = name.len() > 2 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    good.then(|| server_name(&name)).flatten()
}

/// A command without the password in it.
fn without_secret(data: &str) -> String {
    let words: Vec<&str> = data.split_whitespace().collect();
    let upper = |at: usize| words.get(at).map(|w| w.to_ascii_uppercase()).unwrap_or_default();
    let kept = match (upper(0).as_str(), upper(1).as_str()) {
        (_, "LOGIN") => 3,
        ("PASS", _) => 1,
        ("AUTH", _) => 2,
        (_, "AUTHENTICATE") => 3,
        _ => return data.to_owned(),
    };
    if words.len() <= kept {
        return data.to_owned();
    }
    format!("{} *****", words.get(..kept).unwrap_or_default().join(" "))
}

/// Marks that tools put before each line: `S: `, `C: `, `<- `, ` -> `, `<** `, `<~  `.
fn unmarked(line: &str) -> (&str, Option<&'static str>) {
    let line = line.trim();
    let marks = [
        ("S: ", "s"),
        ("C: ", "c"),
        ("<** ", "s"),
        ("<-  ", "s"),
        ("<- ", "s"),
        ("<~  ", "s"),
        ("<~ ", "s"),
        ("-> ", "c"),
        ("~> ", "c"),
        ("=== ", "t"),
        ("< ", "s"),
    ];
    for (mark, side) in marks {
        if let Some(rest) = line.strip_prefix(mark) {
            return (rest.trim(), Some(side));
        }
    }
    (line, None)
}

fn said(line: &str) -> Option<Said<'_>> {
    if line.len() > 2000 {
        return None;
    }
    let (data, marked) = unmarked(line);
    let side = |usual: &'static str| match marked {
        Some("s") => "s",
        Some("c") => "c",
        _ => usual,
    };
    if let Some((code, sure)) = smtp_reply(data) {
        return Some(Said { side: side("s"), protocol: "smtp", code, data, sure: sure || marked.is_some() });
    }
    if smtp_command(data) {
        return Some(Said { side: side("c"), protocol: "smtp", code: "", data, sure: true });
    }
    if data.starts_with("+OK") || data.starts_with("-ERR") {
        let code = if data.starts_with('+') { "+OK" } else { "-ERR" };
        return Some(Said { side: side("s"), protocol: "pop", code, data, sure: true });
    }
    let mut words = data.split_whitespace();
    let (first, second) = (words.next()?, words.next().unwrap_or_default());
    if first == "*" && matches!(second, "OK" | "NO" | "BAD" | "BYE" | "PREAUTH" | "CAPABILITY") {
        return Some(Said { side: side("s"), protocol: "imap", code: second, data, sure: true });
    }
    let tag = first.len() <= 6 && first.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    if !tag {
        return None;
    }
    if matches!(second, "OK" | "NO" | "BAD") {
        // `I NO …` in a sentence is not a reply; a tag has a digit or is a letter before words of IMAP.
        let known = [
            "LOGIN",
            "AUTHENTICATE",
            "CAPABILITY",
            "completed",
            "failed",
            "[",
            "Command",
            "STARTTLS",
            "Server",
        ];
        let sure = known.iter().any(|word| data.contains(word));
        return sure.then_some(Said { side: side("s"), protocol: "imap", code: second, data, sure });
    }
    let command = second.to_ascii_uppercase();
    let imap = matches!(
        command.as_str(),
        "LOGIN" | "AUTHENTICATE" | "CAPABILITY" | "STARTTLS" | "LOGOUT" | "SELECT" | "NOOP"
    );
    let tagged = first.bytes().any(|b| b.is_ascii_digit()) || first.len() <= 2;
    let bare = words.next().is_none();
    let fits = match command.as_str() {
        "CAPABILITY" | "STARTTLS" | "LOGOUT" | "NOOP" => bare,
        _ => !bare,
    };
    (imap && tagged && fits).then_some(Said { side: side("c"), protocol: "imap", code: "", data, sure: true })
}

/// The code of a reply, and whether it cannot be anything else.
fn smtp_reply(data: &str) -> Option<(&str, bool)> {
    let code = data.get(..3)?;
    let mut digits = code.bytes();
    let class = digits.next()?;
    if !matches!(class, b'2' | b'3' | b'4' | b'5') || !digits.all(|b| b.is_ascii_digit()) {
        return None;
    }
    let known = matches!(
        code,
        "211"
            | "214"
            | "220"
            | "221"
            | "235"
            | "250"
            | "251"
            | "252"
            | "334"
            | "354"
            | "421"
            | "432"
            | "450"
            | "451"
            | "452"
            | "454"
            | "455"
            | "500"
            | "501"
            | "502"
            | "503"
            | "504"
            | "521"
            | "523"
            | "530"
            | "534"
            | "535"
            | "538"
            | "550"
            | "551"
            | "552"
            | "553"
            | "554"
            | "555"
            | "556"
    );
    if !known || !matches!(data.as_bytes().get(3), None | Some(b' ' | b'-')) {
        return None;
    }
    let banner = code == "220" && (data.contains("SMTP") || data.contains("ESMTP"));
    let offered = data.get(3..4) == Some("-") && matches!(code, "250" | "220");
    Some((code, banner || offered || !status(data).is_empty()))
}

fn smtp_command(data: &str) -> bool {
    let upper = data.get(..data.len().min(16)).unwrap_or(data).to_ascii_uppercase();
    let word = |w: &str| upper == w.trim_end() || upper.starts_with(w);
    let one = |w: &str| data.split_whitespace().count() == 2 && upper.starts_with(w);
    one("EHLO ")
        || one("HELO ")
        || word("MAIL FROM:")
        || word("RCPT TO:")
        || upper == "STARTTLS"
        || upper.starts_with("AUTH LOGIN")
        || upper.starts_with("AUTH PLAIN")
        || upper.starts_with("AUTH NTLM")
        || upper.starts_with("X-EXPS ")
        || upper == "X-ANONYMOUSTLS"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::phrases::Phrases;
    use waypost_base::Timestamp;

    fn read(text: &str) -> Case {
        let phrases = Phrases::new([]);
        let mut case = Case::new(Timestamp(0));
        let file = case.file_named("telnet.txt");
        let mut sink = Sink::new(file, &phrases, &mut case);
        reader(&mut Doc::of_text(file, text, 1), &mut sink);
        case
    }

    #[test]
    fn smtp_by_hand() {
        let case = read(
            "C:\\> telnet mx 25\n220 mx.example.net Microsoft ESMTP MAIL Service ready\nEHLO test\n250-mx.example.net Hello [10.0.0.1]\n250-SIZE 37748736\n250-PIPELINING\n250 XRDST\nMAIL FROM:<a@example.org>\n530 5.7.1 Client was not authenticated\nquit\n",
        );
        let refused = case.of("conversation").find(|f| f.is("code", "530")).unwrap();
        assert_eq!((refused.get("status"), refused.get("side")), (Some("5.7.1"), Some("s")));
        let ehlo = case.of("conversation").find(|f| f.is("command", "ehlo")).unwrap();
        assert_eq!((ehlo.get("starttls"), ehlo.at.line), (Some("no"), 4));
    }

    #[test]
    fn imap_and_pop_by_hand() {
        let case = read(
            "* OK The Microsoft Exchange IMAP4 service is ready.\na1 LOGIN anna secret\na1 NO LOGIN failed.\n",
        );
        let codes: Vec<_> = case.of("conversation").filter_map(|f| f.get("code")).collect();
        assert_eq!(codes, ["OK", "NO"]);
        assert!(!case.all().any(|f| f.mentions("secret")));
        let case = read(
            "+OK The Microsoft Exchange POP3 service is ready.\nUSER anna\n+OK\nPASS x\n-ERR Logon failure\n",
        );
        assert!(case.of("conversation").any(|f| f.is("code", "-ERR")));
    }

    #[test]
    fn prose_is_no_conversation() {
        for text in [
            "250 users complained today\n",
            "I NO longer know\n",
            "See page 550 of the book\n",
            "Hello there\n500\n",
        ] {
            assert!(read(text).is_empty(), "{text}");
        }
    }
}
