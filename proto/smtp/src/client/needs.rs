//! What a message needs and the server may lack, found before anything is sent; and the lines that say the rest.

use super::extensions::Extensions;
use super::types::{Config, Outcome, Outgoing, Recipient, Stage};
use crate::limits::{ENVID, INNER, ORCPT};
use crate::path::Mailbox;
use crate::reply::Status;
use crate::types::{BodyKind, OriginalRecipient, Return};
use crate::xtext;
use std::collections::BTreeSet;
use std::fmt::Write;

/// What stands against sending `message` to anybody here.
pub(super) fn of_message(
    config: &Config,
    has: &Extensions,
    tls: bool,
    message: &Outgoing,
) -> Option<Outcome> {
    let refuse = |code, status, text: String| Some(Outcome::ours(Stage::Mail, code, status, text));
    let name = if has.name.is_empty() { "The next server" } else { has.name.as_str() };
    if message.from.as_ref().is_some_and(|from| !is_sayable(from)) {
        return refuse(553, Status(5, 1, 7), "The sender's address cannot be written in SMTP".to_owned());
    }
    if let Some(most) = has.size.filter(|most| *most > 0 && message.size > *most) {
        let size = message.size;
        return refuse(
            552,
            Status(5, 3, 4),
            format!("{name} takes messages of {most} octets at most, this one has {size}"),
        );
    }
    if !has.utf8 && (message.utf8 || message.from.as_ref().is_some_and(Mailbox::is_international)) {
        let what = if message.utf8 { "header fields" } else { "the sender's address" };
        return refuse(
            550,
            Status(5, 6, 7),
            format!("{name} does not take mail with international characters in {what} (SMTPUTF8)"),
        );
    }
    match message.body {
        BodyKind::Binary if !(config.chunking && has.chunking && has.binary) => {
            return refuse(
                554,
                Status(5, 6, 3),
                format!("{name} does not take binary messages (BINARYMIME)"),
            );
        }
        BodyKind::EightBit if !has.eight_bit && !config.eight_bit_anyway => {
            return refuse(
                554,
                Status(5, 6, 3),
                format!("{name} does not take 8-bit messages (8BITMIME), and this one is not converted"),
            );
        }
        _ => {}
    }
    if message.require_tls && !(tls && has.require_tls) {
        return refuse(
            550,
            Status(5, 7, 30),
            format!("{name} does not promise to use TLS all the way (REQUIRETLS), as the sender asks"),
        );
    }
    None
}

/// The same for one recipient.
pub(super) fn of_recipient(has: &Extensions, recipient: &Recipient) -> Option<Outcome> {
    if !is_sayable(&recipient.to) {
        let text = "The recipient's address cannot be written in SMTP";
        return Some(Outcome::ours(Stage::Rcpt, 553, Status(5, 1, 3), text));
    }
    if recipient.to.is_international() && !has.utf8 {
        let name = if has.name.is_empty() { "The next server" } else { has.name.as_str() };
        let text = format!("{name} does not take addresses with international characters (SMTPUTF8)");
        return Some(Outcome::ours(Stage::Rcpt, 553, Status(5, 6, 7), text));
    }
    None
}

/// Which recipients fit into one transaction by the server's limits (RFC 9422).
#[derive(Debug, Default)]
pub(super) struct Room {
    recipients: u32,
    domains: BTreeSet<String>,
}

impl Room {
    pub(super) fn takes(&mut self, has: &Extensions, to: &Mailbox) -> bool {
        if has.rcpt_max.is_some_and(|most| self.recipients >= most) {
            return false;
        }
        if let Some(most) = has.rcpt_domain_max {
            let domain = to.domain.to_ascii_lowercase();
            if !self.domains.contains(&domain) && self.domains.len() >= most as usize {
                return false;
            }
            self.domains.insert(domain);
        }
        self.recipients += 1;
        true
    }
}

/// Nothing in it ends the line or the path. Quoting takes care of the rest.
fn is_sayable(mailbox: &Mailbox) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>');
    !mailbox.local.chars().any(char::is_control)
        && !mailbox.domain.chars().any(odd)
        && (!mailbox.domain.is_empty() || mailbox.local.eq_ignore_ascii_case("postmaster"))
        && mailbox.local.len() + mailbox.domain.len() <= 900
}

pub(super) fn mail_line(has: &Extensions, message: &Outgoing, utf8: bool) -> String {
    let mut line = String::from("MAIL FROM:<");
    if let Some(from) = &message.from {
        let _ = write!(line, "{from}");
    }
    line.push('>');
    if has.size.is_some() {
        let _ = write!(line, " SIZE={}", message.size);
    }
    match message.body {
        BodyKind::Binary => line.push_str(" BODY=BINARYMIME"),
        BodyKind::EightBit if has.eight_bit => line.push_str(" BODY=8BITMIME"),
        _ => {}
    }
    if utf8 {
        line.push_str(" SMTPUTF8");
    }
    if message.require_tls {
        line.push_str(" REQUIRETLS");
    }
    if has.dsn {
        match message.ret {
            Some(Return::Full) => line.push_str(" RET=FULL"),
            Some(Return::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        let good = |id: &&String| {
            !id.is_empty() && id.len() <= ENVID && id.bytes().all(|b| (b' '..=b'~').contains(&b))
        };
        if let Some(id) = message.envid.as_ref().filter(good) {
            let _ = write!(line, " ENVID={}", xtext::encode(id));
        }
    }
    push_inner(&mut line, has, message.inner.as_deref());
    line
}

fn push_inner(line: &mut String, has: &Extensions, inner: Option<&str>) {
    if let Some(inner) = inner.filter(|inner| has.inner && inner.len() <= INNER) {
        let _ = write!(line, " XWAYPOST={}", xtext::encode(inner));
    }
}

pub(super) fn rcpt_line(has: &Extensions, recipient: &Recipient) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.to);
    push_inner(&mut line, has, recipient.params.inner.as_deref());
    if !has.dsn {
        return line;
    }
    if let Some(notify) = recipient.params.notify {
        let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
        let words: Vec<&str> = words.into_iter().filter_map(|(on, word)| on.then_some(word)).collect();
        let _ =
            write!(line, " NOTIFY={}", if words.is_empty() { "NEVER".to_owned() } else { words.join(",") });
    }
    if let Some(value) = recipient.params.orcpt.as_ref().and_then(orcpt) {
        let _ = write!(line, " ORCPT={value}");
    }
    line
}

/// `None` where it cannot be passed on; it is of use, but not needed.
fn orcpt(original: &OriginalRecipient) -> Option<String> {
    let kind = original.kind.as_str();
    let good = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !good || original.address.is_empty() {
        return None;
    }
    let value = if kind.eq_ignore_ascii_case("utf-8") || !original.address.is_ascii() {
        format!("utf-8;{}", xtext::encode_utf8_address(&original.address))
    } else {
        format!("{kind};{}", xtext::encode(&original.address))
    };
    (value.len() <= ORCPT).then_some(value)
}
