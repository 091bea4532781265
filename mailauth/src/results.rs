//! The Authentication-Results field (RFC 8601): ours, and those that others forged in our name.

use crate::check::{Spf, Verdict, Word, clean};
use crate::sign::fields;
use std::fmt::Write;
use std::net::IpAddr;

pub const NAME: &str = "Authentication-Results";

/// The value of the field, folded. `overridden`: a trusted ARC seal outweighed DMARC.
pub fn value(host: &str, peer: IpAddr, mail_from: &str, verdict: &Verdict, overridden: bool) -> String {
    let mut out = format!("{host} 1");
    let iprev = &verdict.iprev;
    let name = iprev.name.as_deref().unwrap_or_default();
    result(&mut out, "iprev", iprev.word, if iprev.why.is_empty() { name } else { &iprev.why });
    property(&mut out, "policy.iprev", &peer.to_canonical().to_string());
    let sender = if mail_from.is_empty() { None } else { Some(mail_from) };
    if let Some(sender) = sender {
        spf(&mut out, &verdict.mail_from);
        property(&mut out, "smtp.mailfrom", sender);
    }
    spf(&mut out, &verdict.helo);
    property(&mut out, "smtp.helo", &verdict.helo.domain);
    for dkim in &verdict.dkim {
        result(&mut out, "dkim", dkim.word, &dkim.why);
        if !dkim.domain.is_empty() {
            property(&mut out, "header.d", &dkim.domain);
            property(&mut out, "header.s", &dkim.selector);
            property(&mut out, "header.a", dkim.algorithm);
            property(&mut out, "header.b", &dkim.begin);
        }
    }
    if verdict.dkim.is_empty() {
        result(&mut out, "dkim", Word::None, "not signed");
    }
    if verdict.arc.word != Word::None {
        let mut note = verdict.arc.why.clone();
        if note.is_empty() {
            note = format!("sealed by {}", verdict.arc.sealers.join(", "));
        }
        result(&mut out, "arc", verdict.arc.word, &note);
    }
    dmarc(&mut out, verdict, overridden);
    out
}

fn dmarc(out: &mut String, verdict: &Verdict, overridden: bool) {
    let dmarc = &verdict.dmarc;
    let mut note = match dmarc.word {
        Word::Pass | Word::Fail => format!("p={}", dmarc.policy),
        _ => String::new(),
    };
    for (text, put) in [(dmarc.why.as_str(), true), ("outweighed by a trusted ARC seal", overridden)] {
        if put && !text.is_empty() {
            note.push_str(if note.is_empty() { "" } else { "; " });
            note.push_str(text);
        }
    }
    result(out, "dmarc", dmarc.word, &note);
    if !dmarc.domain.is_empty() {
        property(out, "header.from", &dmarc.domain);
    }
}

fn spf(out: &mut String, spf: &Spf) {
    result(out, "spf", spf.word, &spf.why);
}

fn result(out: &mut String, method: &str, word: Word, note: &str) {
    let _ = write!(out, ";\r\n\t{method}={word}");
    if !note.is_empty() {
        let note: String = clean(note).chars().filter(|c| !"()\\".contains(*c)).collect();
        let _ = write!(out, " ({note})");
    }
}

/// A value of a property: as it is where it may be, quoted otherwise.
fn property(out: &mut String, name: &str, value: &str) {
    let value = clean(value);
    let plain = !value.is_empty()
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._@+!#$%&*/^`{|}~".contains(&b));
    if plain {
        let _ = write!(out, "\r\n\t {name}={value}");
    } else {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(out, "\r\n\t {name}=\"{value}\"");
    }
}

/// Whether the value of an Authentication-Results field that came from outside claims to be ours (RFC 8601 §5). What
/// cannot be read counts as such: nobody loses anything by its going.
pub fn is_forged(value: &[u8], host: &str) -> bool {
    let text = String::from_utf8_lossy(value);
    match authserv_id(&text) {
        Some(id) => id.trim_end_matches('.').eq_ignore_ascii_case(host.trim_end_matches('.')),
        None => true,
    }
}

/// Whether a header has such fields.
pub fn has_forged(header: &[u8], host: &str) -> bool {
    fields(header).any(|f| f.is(NAME) && is_forged(f.value, host))
}

/// The first word of the value, comments aside.
fn authserv_id(text: &str) -> Option<String> {
    let mut id = String::new();
    let (mut depth, mut quoted, mut escaped) = (0u32, false, false);
    for c in text.chars() {
        if std::mem::take(&mut escaped) {
            if depth == 0 {
                id.push(c);
            }
            continue;
        }
        match c {
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 && quoted => return Some(id),
            '"' if depth == 0 && id.is_empty() => quoted = true,
            _ if quoted => id.push(c),
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            c if c.is_whitespace() && id.is_empty() => {}
            c if c.is_whitespace() || c == ';' => return Some(id).filter(|id| !id.is_empty()),
            c => id.push(c),
        }
    }
    (!quoted && depth == 0 && !id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Dkim, Dmarc, Iprev};

    #[test]
    fn forged_in_every_way() {
        for ours in [
            " mx.a.example; spf=pass",
            "\r\n\tMX.a.example;dkim=pass",
            " (it was (really) me) mx.a.example 1; none",
            " \"mx.a.example\"; spf=pass",
            " \"mx.\\a.example\"; spf=pass",
            " mx.a.example.; spf=pass",
            " mx.a.example",
            " (no end",
            "",
            " ; spf=pass",
        ] {
            assert!(is_forged(ours.as_bytes(), "mx.a.example"), "{ours:?}");
        }
        for others in [" mx.b.example; spf=pass", " (mx.a.example) other.example; none", " a.example; x=y"] {
            assert!(!is_forged(others.as_bytes(), "mx.a.example"), "{others:?}");
        }
    }

    #[test]
    fn the_field() {
        let verdict = Verdict {
            iprev: Iprev { word: Word::Pass, name: Some("out.b.example".into()), why: String::new() },
            mail_from: Spf { word: Word::Pass, domain: "b.example".into(), ..Spf::default() },
            dkim: vec![Dkim {
                word: Word::Fail,
                domain: "b.example".into(),
                selector: "s".into(),
                algorithm: "rsa-sha256",
                begin: "AbC/+=12".into(),
                record: None,
                why: "the body (all of it) was\r\n changed".into(),
            }],
            dmarc: Dmarc {
                word: Word::Pass,
                domain: "b.example".into(),
                policy: "reject",
                ..Dmarc::default()
            },
            from_fields: 1,
            ..Verdict::default()
        };
        let peer = "::ffff:192.0.2.1".parse().unwrap();
        let value = value("mx.a.example", peer, "\"odd ;\"@b.example", &verdict, false);
        let expected = [
            "mx.a.example 1;",
            "\tiprev=pass (out.b.example)",
            "\t policy.iprev=192.0.2.1;",
            "\tspf=pass",
            "\t smtp.mailfrom=\"\\\"odd ;\\\"@b.example\";",
            "\tspf=none",
            "\t smtp.helo=\"\";",
            "\tdkim=fail (the body all of it was?? changed)",
            "\t header.d=b.example",
            "\t header.s=s",
            "\t header.a=rsa-sha256",
            "\t header.b=\"AbC/+=12\";",
            "\tdmarc=pass (p=reject)",
            "\t header.from=b.example",
        ];
        assert_eq!(value.split("\r\n").collect::<Vec<_>>(), expected);
    }
}
