//! Commands about the session itself: ID, AUTHENTICATE, LOGIN, ENABLE, COMPRESS.

use super::parser::{Parser, Result};
use super::printer::Printer;
use super::{Body, Problem};
use crate::limits;
use crate::value::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// ```abnf
/// id             = "ID" SP id-params-list
/// id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil     ; RFC 2971 §3.3
/// ```
pub(crate) fn id(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    if p.eat_text("NIL") {
        return Ok(Body::Id(None));
    }
    let mut fields = Vec::new();
    p.list_or_nothing(|p| {
        if fields.len() == limits::ID_FIELDS {
            return p.too_large("ID list");
        }
        let name = lossy(&p.string()?);
        p.space()?;
        let value = if p.eat_text("NIL") { None } else { Some(lossy(&p.string()?)) };
        fields.push((name, value));
        Ok(())
    })?;
    Ok(Body::Id(Some(fields)))
}

/// What a client says of itself is only ever shown, so its encoding is not worth a refusal.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// ```abnf
/// authenticate     = "AUTHENTICATE" SP auth-type [SP initial-resp]
/// initial-resp     = base64 / "="                                                ; RFC 4959 §7
/// ```
pub(crate) fn authenticate(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    let mechanism = p.atom("a SASL mechanism")?.to_ascii_uppercase();
    if p.rest().is_empty() {
        return Ok(Body::Authenticate { mechanism, initial: None });
    }
    p.space()?;
    let text = p.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
    let initial = match text {
        b"" => return p.expected("an initial response in base64"),
        b"=" => Vec::new(),
        text => match STANDARD.decode(text) {
            Ok(octets) => octets,
            Err(_) => return p.expected("an initial response in base64"),
        },
    };
    Ok(Body::Authenticate { mechanism, initial: Some(Secret(initial)) })
}

/// ```abnf
/// login    = "LOGIN" SP userid SP password
/// userid   = astring
/// password = astring
/// ```
pub(crate) fn login(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    let user = p.text()?;
    p.space()?;
    Ok(Body::Login { user, password: Secret(p.astring()?.into_owned()) })
}

/// ```abnf
/// enable = "ENABLE" 1*(SP capability)
/// ```
pub(crate) fn enable(p: &mut Parser<'_>) -> Result<Body> {
    let mut names = Vec::new();
    while names.is_empty() || !p.rest().is_empty() {
        p.space()?;
        names.push(p.atom("a capability")?.to_ascii_uppercase());
    }
    Ok(Body::Enable(names))
}

/// ```abnf
/// compress = "COMPRESS" SP algorithm      ; RFC 4978 §3
/// ```
pub(crate) fn compress(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    Ok(Body::Compress(p.atom("a compression algorithm")?.to_ascii_uppercase()))
}

/// The answer of a client to a challenge, or to the `+` of IDLE: one line.
///
/// ```abnf
/// base64-or-cancel = base64 / "*"
/// ```
pub fn sasl_response(line: &[u8]) -> std::result::Result<SaslResponse, Problem> {
    if line == b"*" {
        return Ok(SaslResponse::Cancel);
    }
    match STANDARD.decode(line) {
        Ok(octets) => Ok(SaslResponse::Octets(Secret(octets))),
        Err(_) => Err(Problem::Syntax { expected: "a response in base64", at: 0 }),
    }
}

/// See [`sasl_response`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslResponse {
    /// `*`: answer `tag BAD`.
    Cancel,
    Octets(Secret),
}

/// Whether a line ends IDLE.
pub fn is_done(line: &[u8]) -> bool {
    line.eq_ignore_ascii_case(b"DONE")
}

pub(crate) fn print_id(p: &mut Printer<'_>, fields: Option<&[(String, Option<String>)]>) {
    p.raw("ID ");
    let Some(fields) = fields else {
        p.raw("NIL");
        return;
    };
    p.list(fields, |p, (name, value)| {
        p.string(name.as_bytes()).raw(" ");
        match value {
            Some(value) => p.string(value.as_bytes()),
            None => p.raw("NIL"),
        };
    });
}

pub(crate) fn print_authenticate(p: &mut Printer<'_>, mechanism: &str, initial: Option<&Secret>) {
    p.raw("AUTHENTICATE ").raw(mechanism);
    if let Some(Secret(octets)) = initial {
        p.raw(" ").raw(if octets.is_empty() { "=" } else { "" });
        p.raw(&STANDARD.encode(octets));
    }
}
