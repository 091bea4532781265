//! MAIL (RFC 5321 §4.1.1.2) with the parameters of RFC 1870, 6152, 3030, 6531, 3461 and 4954.

use super::SYNTAX;
use crate::limits::{ENVID, INNER};
use crate::param;
use crate::path::{self, Mailbox, Path};
use crate::reply::{Reply, Status};
use crate::session::{Open, Session, Transaction, refusal, too_big};
use crate::types::{Answer, BodyKind, MailParams, Question, Return};
use crate::xtext;
use waypost_base::Timestamp;

pub(crate) fn run(s: &mut Session, now: Timestamp, arg: &str) {
    s.tally.refused_chunks = 0;
    let Some(helo) = &s.helo else {
        s.error(Reply::new(503, Status(5, 5, 1), "Say hello first"));
        return;
    };
    let extended = helo.extended;
    if s.config.auth_required && s.user.is_none() {
        s.error(Reply::new(530, Status(5, 7, 0), "Authentication required"));
        return;
    }
    if s.mail.is_some() {
        s.error(Reply::new(503, Status(5, 5, 1), "A message is under way already"));
        return;
    }
    if s.tally.messages >= s.config.limits.messages {
        s.say(Reply::new(421, Status(4, 5, 3), "Too many messages on this connection, please reconnect"));
        s.close();
        return;
    }
    match parse(arg, extended, s.config.inner) {
        Err(reply) => s.error(reply),
        Ok((_, params)) if params.size > s.config.limits.message => {
            s.error(too_big(s.config.limits.message));
        }
        Ok((from, params)) => {
            let transaction = Transaction {
                body: params.body,
                utf8: params.utf8,
                must_end: now.plus_millis(s.config.limits.transfer_millis),
                ..Transaction::default()
            };
            let params = Box::new(params);
            s.ask(Open::Mail(Box::new(transaction)), Question::Mail { from, params });
        }
    }
}

pub(crate) fn answered(s: &mut Session, transaction: Box<Transaction>, answer: Answer) {
    match answer {
        Answer::Ok => {
            s.mail = Some(transaction);
            s.say(Reply::new(250, Status(2, 1, 0), "Sender OK"));
        }
        Answer::Accept(reply) => {
            s.mail = Some(transaction);
            s.say(reply);
        }
        answer => s.error(refusal(answer)),
    }
}

/// What stands behind `FROM:` or `TO:`. Spaces behind the colon are no part of the grammar, but common.
pub(super) fn after_colon<'a>(arg: &'a str, word: &str) -> Option<&'a str> {
    let (key, rest) = arg.split_once(':')?;
    key.trim_end_matches(' ').eq_ignore_ascii_case(word).then(|| rest.trim_start_matches(' '))
}

/// What a server of ours says besides.
pub(super) fn inner_value(value: &str) -> Result<String, Reply> {
    xtext::decode(value).filter(|text| text.len() <= INNER).ok_or(SYNTAX)
}

fn parse(arg: &str, extended: bool, inner: bool) -> Result<(Option<Mailbox>, MailParams), Reply> {
    let text = after_colon(arg, "FROM").ok_or(SYNTAX)?;
    let bad_path = Reply::new(501, Status(5, 1, 7), "Bad sender address, <user@domain> is wanted");
    let (path, rest) = path::path(text).ok_or(bad_path.clone())?;
    let from = match path {
        Path::Null => None,
        Path::Mailbox(mailbox) => Some(mailbox),
        Path::Postmaster => return Err(bad_path),
    };
    let mut params = MailParams::default();
    for (key, value) in param::split(rest).map_err(|_| SYNTAX)? {
        if !extended {
            return Err(Reply::new(555, Status(5, 5, 4), "Parameters need EHLO"));
        }
        match value {
            Some(v) if inner && key == "XWAYPOST" => params.inner = Some(inner_value(v)?),
            value => parameter(&mut params, &key, value)?,
        }
    }
    if !params.utf8 && from.as_ref().is_some_and(Mailbox::is_international) {
        return Err(Reply::new(550, Status(5, 6, 7), "A sender address beyond ASCII needs SMTPUTF8"));
    }
    Ok((from, params))
}

fn parameter(params: &mut MailParams, key: &str, value: Option<&str>) -> Result<(), Reply> {
    match (key, value) {
        ("SIZE", Some(v)) => {
            if v.len() > 20 || !v.bytes().all(|b| b.is_ascii_digit()) {
                return Err(SYNTAX);
            }
            params.size = v.parse().unwrap_or(u64::MAX);
        }
        ("BODY", Some(v)) => {
            params.body = match v.to_ascii_uppercase().as_str() {
                "7BIT" => BodyKind::SevenBit,
                "8BITMIME" => BodyKind::EightBit,
                "BINARYMIME" => BodyKind::Binary,
                _ => return Err(SYNTAX),
            }
        }
        ("SMTPUTF8", None) => params.utf8 = true,
        ("RET", Some(v)) => {
            params.ret = Some(match v.to_ascii_uppercase().as_str() {
                "FULL" => Return::Full,
                "HDRS" => Return::Headers,
                _ => return Err(SYNTAX),
            })
        }
        ("ENVID", Some(v)) => {
            let id = xtext::decode(v).filter(|id| id.len() <= ENVID && !id.contains(char::is_control));
            params.envid = Some(id.ok_or(SYNTAX)?);
        }
        ("AUTH", Some("<>")) => params.auth = Some(None),
        ("AUTH", Some(v)) => {
            let name = xtext::decode(v).filter(|name| Mailbox::parse(name).is_some());
            params.auth = Some(Some(name.ok_or(SYNTAX)?));
        }
        ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH", _) => return Err(SYNTAX),
        _ => return Err(Reply::with(555, Status(5, 5, 4), format!("Parameter {key} is not known here"))),
    }
    Ok(())
}
