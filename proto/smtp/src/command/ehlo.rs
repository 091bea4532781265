//! EHLO, HELO and LHLO (RFC 5321 §4.1.1.1, RFC 2033 §4.1): who the peer is, and what we can do.

use super::SYNTAX;
use crate::path::is_helo_name;
use crate::session::{Helo, Session};
use std::fmt::Write;

pub(crate) fn run(s: &mut Session, arg: &str, extended: bool) {
    if !is_helo_name(arg) {
        s.error(SYNTAX);
        return;
    }
    // Either command also does what RSET does (RFC 5321 §4.1.4).
    s.abandon();
    s.idle_command();
    s.helo = Some(Helo { name: arg.to_owned(), extended });
    let text = if extended { keywords(s) } else { s.config.host.clone() };
    s.say(crate::Reply { code: 250, status: None, text: text.into() });
}

fn keywords(s: &Session) -> String {
    let limits = &s.config.limits;
    let mut text = String::with_capacity(320);
    text.push_str(&s.config.host);
    text.push_str("\nPIPELINING\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING\nBINARYMIME\nDSN");
    let _ = write!(text, "\nSIZE {}", limits.message);
    let _ = write!(text, "\nLIMITS MAILMAX={} RCPTMAX={}", limits.messages, limits.recipients);
    if let Some(domains) = limits.recipient_domains {
        let _ = write!(text, " RCPTDOMAINMAX={domains}");
    }
    if s.config.starttls && s.tls.is_none() {
        text.push_str("\nSTARTTLS");
    }
    if s.user.is_none() && !(s.config.tls_required && s.tls.is_none()) {
        for (i, mechanism) in s.mechanisms().enumerate() {
            text.push_str(if i == 0 { "\nAUTH " } else { " " });
            text.push_str(mechanism.name);
        }
    }
    if s.config.inner {
        text.push_str("\nXWAYPOST");
    }
    if s.config.why && s.user.is_some() {
        text.push_str("\nXWHY");
    }
    text.push_str("\nVRFY\nHELP");
    text
}
