//! RCPT (RFC 5321 §4.1.1.3) with the parameters of RFC 3461.

use super::SYNTAX;
use super::mail::{after_colon, inner_value};
use crate::limits::ORCPT;
use crate::param;
use crate::path::{self, Mailbox, Path};
use crate::reply::{Reply, Status};
use crate::session::{Open, Session, refusal};
use crate::types::{Answer, Notify, OriginalRecipient, Question, RcptParams};
use crate::xtext;

pub(crate) fn run(s: &mut Session, arg: &str) {
    let extended = s.helo.as_ref().is_some_and(|h| h.extended);
    let Some(mail) = s.mail.as_deref_mut().filter(|mail| !mail.chunked) else {
        s.error(Reply::new(503, Status(5, 5, 1), "MAIL comes first"));
        return;
    };
    mail.tried = true;
    let (to, params) = match parse(arg, extended, mail.utf8, s.config.inner) {
        Ok(parsed) => parsed,
        Err(reply) => {
            s.error(reply);
            return;
        }
    };
    let mut domain = String::new();
    if mail.accepted >= s.config.limits.recipients {
        s.say(Reply::new(452, Status(4, 5, 3), "Too many recipients"));
        return;
    }
    if let Some(limit) = s.config.limits.recipient_domains {
        domain = to.domain.to_ascii_lowercase();
        if !mail.domains.contains(&domain) && mail.domains.len() >= limit as usize {
            s.say(Reply::new(452, Status(4, 5, 3), "Too many recipient domains"));
            return;
        }
    }
    s.ask(Open::Rcpt { domain }, Question::Rcpt { to, params: Box::new(params) });
}

pub(crate) fn answered(s: &mut Session, domain: String, answer: Answer) {
    let reply = match answer {
        Answer::Ok => Reply::new(250, Status(2, 1, 5), "Recipient OK"),
        Answer::Accept(reply) => reply,
        answer => {
            let reply = refusal(answer);
            // What is full or busy is not the peer's fault.
            if reply.is_transient() {
                s.say(reply)
            } else {
                s.error(reply)
            }
            return;
        }
    };
    if let Some(mail) = &mut s.mail {
        mail.accepted += 1;
        if !domain.is_empty() && !mail.domains.contains(&domain) {
            mail.domains.push(domain);
        }
    }
    s.say(reply);
}

fn parse(arg: &str, extended: bool, utf8: bool, inner: bool) -> Result<(Mailbox, RcptParams), Reply> {
    let text = after_colon(arg, "TO").ok_or(SYNTAX)?;
    let bad_path = Reply::new(501, Status(5, 1, 3), "Bad recipient address, <user@domain> is wanted");
    let (path, rest) = path::path(text).ok_or(bad_path.clone())?;
    let to = match path {
        Path::Mailbox(mailbox) => mailbox,
        Path::Postmaster => Mailbox::new("postmaster", ""),
        Path::Null => return Err(bad_path),
    };
    if !utf8 && to.is_international() {
        return Err(Reply::new(553, Status(5, 6, 7), "A recipient address beyond ASCII needs SMTPUTF8"));
    }
    let mut params = RcptParams::default();
    for (key, value) in param::split(rest).map_err(|_| SYNTAX)? {
        if !extended {
            return Err(Reply::new(555, Status(5, 5, 4), "Parameters need EHLO"));
        }
        match (key.as_str(), value) {
            ("NOTIFY", Some(v)) => params.notify = Some(notify(v).ok_or(SYNTAX)?),
            ("ORCPT", Some(v)) => params.orcpt = Some(orcpt(v).ok_or(SYNTAX)?),
            ("XWAYPOST", Some(v)) if inner => params.inner = Some(inner_value(v)?),
            ("NOTIFY" | "ORCPT", None) => return Err(SYNTAX),
            _ => {
                return Err(Reply::with(555, Status(5, 5, 4), format!("Parameter {key} is not known here")));
            }
        }
    }
    Ok((to, params))
}

fn notify(value: &str) -> Option<Notify> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(notify);
    }
    for word in value.split(',') {
        let flag = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return None,
        };
        if std::mem::replace(flag, true) {
            return None;
        }
    }
    Some(notify)
}

fn orcpt(value: &str) -> Option<OriginalRecipient> {
    let (kind, text) = value.split_once(';')?;
    let good_kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !good_kind || value.len() > ORCPT {
        return None;
    }
    let kind = kind.to_ascii_lowercase();
    let mut address = xtext::decode(text)?;
    if kind == "utf-8" {
        address = xtext::decode_utf8_address(&address)?;
    }
    (!address.is_empty() && !address.contains(char::is_control))
        .then_some(OriginalRecipient { kind, address })
}
