//! TLS as seen from outside: `openssl s_client`, and certificates in PEM wherever they stand.

use super::{at, fact, has_any};
use crate::fact::{Fact, Place};
use crate::read::{Doc, scan};
use crate::sink::Sink;
use crate::words;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Lines of one session of s_client.
const SESSION_LINES: usize = 400;
/// Lines of one PEM block.
const PEM_LINES: usize = 400;

/// Sessions of `openssl s_client`.
pub fn s_client(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut found = 0;
    let mut place = String::new();
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line) else {
            line += 1;
            continue;
        };
        if words::contains(text, "s_client") {
            if let Some(to) = scan::after(text, "-connect").and_then(|r| r.split_whitespace().next()) {
                to.trim_matches(['"', '\'']).clone_into(&mut place);
            }
            doc.claim(line..line + 1);
            line += 1;
            continue;
        }
        let begins = text.starts_with("CONNECTED(")
            || text.contains(":error:") && has_any(text, &["SSL", "ssl", "tls"])
            || text.starts_with("connect:errno=");
        if !begins {
            line += 1;
            continue;
        }
        line = session(doc, line, &place, sink);
        found += 1;
    }
    sink.understood("TLS sessions (openssl s_client)", found);
}

fn session(doc: &mut Doc<'_>, from: usize, place: &str, sink: &mut Sink<'_>) -> usize {
    let mut tls = fact("tls", doc, from);
    let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
    tls.put("host", host);
    tls.put("port", port);
    let mut errors = String::new();
    let mut said = String::new();
    let mut end = from;
    while let Some(text) = doc.free(end).filter(|_| end < from + SESSION_LINES) {
        if end > from
            && (text.starts_with("CONNECTED(")
                || words::contains(text, "s_client")
                || crate::read::objects::command::is_prompt(text))
        {
            break;
        }
        if text.contains("-----BEGIN CERTIFICATE-----") {
            end = pem_block(doc, end, Some(&mut tls), place, sink);
            continue;
        }
        if let Some(value) = text.strip_prefix("subject=") {
            put_new(&mut tls, "subject", value);
        } else if let Some(value) = text.strip_prefix("issuer=") {
            put_new(&mut tls, "issuer", value);
        } else if let Some(value) =
            scan::after(text, "Verify return code:").or_else(|| scan::after(text, "Verification error:"))
        {
            if tls.get("verify").is_none() {
                tls.put("verify", value);
            }
        } else if let Some(value) = text.trim_start().strip_prefix("Protocol").and_then(|r| r.split_once(':'))
        {
            put_new(&mut tls, "protocol", value.1);
        } else if text.starts_with("New, ") {
            put_new(&mut tls, "protocol", text.split(',').nth(1).unwrap_or_default());
            put_new(&mut tls, "cipher", text.rsplit(' ').next().unwrap_or_default());
        }
        if has_any(
            text,
            &[
                ":error:",
                "errno=",
                "no peer certificate",
                "verify error:",
                "handshake failure",
                "alert number",
            ],
        ) {
            scan::add(&mut errors, text.trim(), "; ");
        }
        if text.len() < 200 && !text.starts_with(' ') || has_any(text, &["verify", "error", " s:", " i:"]) {
            scan::add(&mut said, text.trim_end(), "\n");
        }
        end += 1;
    }
    tls.put("error", errors);
    doc.claim(from..end);
    sink.fact(tls.text(&said));
    end.max(from + 1)
}

fn put_new(fact: &mut Fact, name: &'static str, value: &str) {
    if fact.get(name).is_none() && !value.trim().starts_with("(NONE)") {
        fact.put(name, value);
    }
}

/// Certificates in PEM outside of sessions.
pub fn pem(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut line = 0;
    let mut found = 0;
    while line < doc.lines.len() {
        if doc.free(line).is_some_and(|t| t.contains("-----BEGIN CERTIFICATE-----")) {
            line = pem_block(doc, line, None, "", sink);
            found += 1;
        } else {
            line += 1;
        }
    }
    sink.understood("certificates in PEM", found);
}

/// The block that begins at this line; the line after it. The first of a session fills the session's fact.
fn pem_block(
    doc: &mut Doc<'_>,
    from: usize,
    session: Option<&mut Fact>,
    place: &str,
    sink: &mut Sink<'_>,
) -> usize {
    let mut text = String::new();
    let mut end = from + 1;
    while let Some(line) = doc.free(end).filter(|_| end < from + PEM_LINES) {
        end += 1;
        if line.contains("-----END") {
            break;
        }
        text.push_str(line.trim());
    }
    let certificate = scan::base64(&text).and_then(|der| certificate_fact(&der, at(doc, from)));
    if let Some(mut certificate) = certificate {
        if let Some(tls) = session {
            for name in ["subject", "issuer", "names", "notafter", "notbefore"] {
                if let Some(value) = certificate.get(name)
                    && tls.get(name).is_none()
                {
                    tls.put(name, value);
                }
            }
        }
        certificate.put("seenat", place);
        sink.fact(certificate);
    }
    doc.claim(from..end);
    end
}

/// The fact of a certificate in DER.
pub fn certificate_fact(der: &[u8], place: Place) -> Option<Fact> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (subject, issuer) = (certificate.subject().to_string(), certificate.issuer().to_string());
    let names: Vec<String> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| {
            let dns = names.value.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            });
            dns.take(200).collect()
        })
        .unwrap_or_default();
    let time = |seconds: i64| {
        waypost_base::Timestamp::from_seconds(seconds.clamp(-60_000_000_000, 250_000_000_000)).to_string()
    };
    let mut fact = Fact::new("certificate", place)
        .with("subject", &subject)
        .with("issuer", &issuer)
        .with("notbefore", time(certificate.validity().not_before.timestamp()))
        .with("notafter", time(certificate.validity().not_after.timestamp()))
        .with("serialnumber", certificate.raw_serial_as_string().replace(':', ""))
        .with("selfsigned", if subject == issuer { "True" } else { "False" });
    let names = if names.is_empty() {
        crate::read::objects::common_name(&subject).unwrap_or_default().to_owned()
    } else {
        names.join(", ")
    };
    fact.put("names", names);
    let text = format!("certificate of {subject} by {issuer}");
    Some(fact.text(&text))
}
