//! What a token says in clear: the ticket's realm, service, encryption type and key version (RFC 4120 §5, RFC 4121 §4.1,
//! RFC 4178 §4.2). Nothing here needs a key, and nothing of it is proved.

use super::der::Der;
use super::limits::{NAME_BYTES_MAX, NAME_PARTS_MAX, TOKEN_BYTES_MAX};
use super::name::{Enctype, Principal};
use std::fmt;
use thiserror::Error;
use waypost_base::time::{Timestamp, days_from_civil};

const OID_KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];
/// What old Windows clients write instead: one bit of the arc lost.
const OID_KRB5_WINDOWS: &[u8] = &[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02];
const OID_SPNEGO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];

/// Encrypted data with the name of its key. Debug output shows no ciphertext.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    pub enctype: Enctype,
    /// Some KDCs leave it out.
    pub kvno: Option<u32>,
    pub(super) cipher: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("enctype", &self.enctype)
            .field("kvno", &self.kvno)
            .field("bytes", &self.cipher.len())
            .finish()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub server: Principal,
    pub sealed: Sealed,
}

/// An AP-REQ: a ticket and the proof that its sender knows the session key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub ticket: Ticket,
    pub authenticator: Sealed,
    /// The sender wants the acceptor to prove itself too.
    pub mutual: bool,
    /// It came inside SPNEGO.
    pub spnego: bool,
}

/// What kind of token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Request(Box<Request>),
    /// KRB-ERROR: the code of RFC 4120 §7.5.9 and the clock of its sender.
    Error {
        code: i64,
        time: Option<Timestamp>,
    },
    /// NTLM where Kerberos was wanted: the client got no ticket.
    Ntlm,
    /// Anything else of the mechanisms: an AP-REP, a negotiation without a first token.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    #[error("a token of {0} bytes; at most {TOKEN_BYTES_MAX} are read")]
    TooLarge(usize),
    #[error("not a token of Kerberos or SPNEGO")]
    NotOurs,
    #[error("a token that is broken off or malformed")]
    Malformed,
}

/// Reads a token with GSS framing, SPNEGO's (first or later), or none.
pub fn read(token: &[u8]) -> Result<Token, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLarge(token.len()));
    }
    inner(token, false)
}

fn inner(token: &[u8], spnego: bool) -> Result<Token, TokenError> {
    if token.starts_with(b"NTLMSSP\0") {
        return Ok(Token::Ntlm);
    }
    let mut run = Der::new(token);
    match token.first() {
        Some(0x60) => {
            let mut framed = run.enter(0x60).ok_or(TokenError::Malformed)?;
            match framed.take(0x06).ok_or(TokenError::Malformed)? {
                OID_KRB5 | OID_KRB5_WINDOWS => framed_kerberos(framed.rest(), spnego),
                OID_SPNEGO if !spnego => negotiation(framed),
                _ => Err(TokenError::NotOurs),
            }
        }
        Some(0xa0 | 0xa1) if !spnego => negotiation(run),
        Some(0x6e) => request(run, spnego).ok_or(TokenError::Malformed),
        Some(0x7e) => error(run).ok_or(TokenError::Malformed),
        _ => Err(TokenError::NotOurs),
    }
}

/// RFC 4121 §4.1: two octets say which message of Kerberos follows.
fn framed_kerberos(bytes: &[u8], spnego: bool) -> Result<Token, TokenError> {
    let (kind, message) = bytes.split_at_checked(2).ok_or(TokenError::Malformed)?;
    match kind {
        [1, 0] => request(Der::new(message), spnego).ok_or(TokenError::Malformed),
        [2, 0] => Ok(Token::Other),
        [3, 0] => error(Der::new(message)).ok_or(TokenError::Malformed),
        _ => Err(TokenError::NotOurs),
    }
}

fn negotiation(mut run: Der<'_>) -> Result<Token, TokenError> {
    let (tag, content) = run.next().ok_or(TokenError::Malformed)?;
    if !matches!(tag, 0xa0 | 0xa1) {
        return Err(TokenError::NotOurs);
    }
    let mut fields = Der::new(content).enter(0x30).ok_or(TokenError::Malformed)?;
    // mechToken of a NegTokenInit and responseToken of a NegTokenResp have the same number.
    match fields.field(2).and_then(|mut f| f.take(0x04)) {
        Some(token) => inner(token, true),
        None => Ok(Token::Other),
    }
}

fn request(mut run: Der<'_>, spnego: bool) -> Option<Token> {
    let mut fields = run.enter(0x6e)?.enter(0x30)?;
    let options = fields.field(2)?.take(0x03)?;
    let mutual = options.get(1).is_some_and(|o| o & 0x20 != 0);
    let ticket = ticket_in(fields.field(3)?)?;
    let authenticator = sealed(fields.field(4)?)?;
    Some(Token::Request(Box::new(Request { ticket, authenticator, mutual, spnego })))
}

fn error(mut run: Der<'_>) -> Option<Token> {
    let mut fields = run.enter(0x7e)?.enter(0x30)?;
    let time = fields.field(4).and_then(|mut f| f.take(0x18)).and_then(generalized_time);
    Some(Token::Error { code: fields.integer_field(6)?, time })
}

/// A ticket as credential caches keep it.
pub fn ticket(bytes: &[u8]) -> Option<Ticket> {
    if bytes.len() > TOKEN_BYTES_MAX { None } else { ticket_in(Der::new(bytes)) }
}

fn ticket_in(mut run: Der<'_>) -> Option<Ticket> {
    let mut fields = run.enter(0x61)?.enter(0x30)?;
    let realm = name_part(fields.field(1)?.take(0x1b)?)?;
    let server = principal(fields.field(2)?, realm)?;
    Some(Ticket { server, sealed: sealed(fields.field(3)?)? })
}

pub(super) fn principal(mut run: Der<'_>, realm: &[u8]) -> Option<Principal> {
    let mut names = run.enter(0x30)?.field(1)?.enter(0x30)?;
    let mut parts = Vec::new();
    while let Some(part) = names.take(0x1b) {
        parts.push(name_part(part)?);
        if parts.len() > NAME_PARTS_MAX {
            return None;
        }
    }
    (!parts.is_empty()).then(|| Principal::from_bytes(parts, realm))
}

pub(super) fn name_part(bytes: &[u8]) -> Option<&[u8]> {
    (bytes.len() <= NAME_BYTES_MAX).then_some(bytes)
}

fn sealed(mut run: Der<'_>) -> Option<Sealed> {
    let mut fields = run.enter(0x30)?;
    let enctype = Enctype(i32::try_from(fields.integer_field(0)?).ok()?);
    // Written as a negative number by those who think of it as 32 bits with a sign.
    let kvno = fields.integer_field(1).map(|n| (n & 0xffff_ffff) as u32);
    Some(Sealed { enctype, kvno, cipher: fields.field(2)?.take(0x04)?.to_vec() })
}

/// `20260303184500Z` (RFC 4120 §5.2.3).
pub(super) fn generalized_time(bytes: &[u8]) -> Option<Timestamp> {
    if bytes.len() != 15 || bytes.last() != Some(&b'Z') || !bytes.iter().take(14).all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let number = |from: usize, to: usize| text.get(from..to).and_then(|t| t.parse::<u16>().ok());
    let (month, day) = (number(4, 6)?, number(6, 8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_from_civil(i32::from(number(0, 4)?), month as u8, day as u8);
    let second =
        i64::from(number(8, 10)?) * 3600 + i64::from(number(10, 12)?) * 60 + i64::from(number(12, 14)?);
    Some(Timestamp::from_seconds(days * 86_400 + second))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::kerberos) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut out = vec![tag];
        match length {
            0..=0x7f => out.push(length as u8),
            _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        out.extend(content);
        out
    }

    pub(in crate::kerberos) fn sequence(fields: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let fields: Vec<u8> = fields.iter().flat_map(|(n, field)| der(0xa0 | n, field)).collect();
        der(0x30, &fields)
    }

    pub(in crate::kerberos) fn integer(n: i32) -> Vec<u8> {
        der(2, &n.to_be_bytes())
    }

    pub(in crate::kerberos) fn name_of(parts: &[&str]) -> Vec<u8> {
        let parts: Vec<u8> = parts.iter().flat_map(|p| der(0x1b, p.as_bytes())).collect();
        sequence(&[(0, integer(1)), (1, der(0x30, &parts))])
    }

    pub(in crate::kerberos) fn sealed_as(enctype: i32, kvno: Option<i32>, cipher: &[u8]) -> Vec<u8> {
        let kvno = kvno.map(|k| (1, integer(k)));
        let fields = [Some((0, integer(enctype))), kvno, Some((2, der(4, cipher)))];
        sequence(&fields.into_iter().flatten().collect::<Vec<_>>())
    }

    /// An AP-REQ for `smtp/hub@R`, framed as GSS has it.
    pub(in crate::kerberos) fn ap_req(ticket: Vec<u8>, authenticator: Vec<u8>) -> Vec<u8> {
        let ticket =
            sequence(&[(0, integer(5)), (1, der(0x1b, b"R")), (2, name_of(&["smtp", "hub"])), (3, ticket)]);
        let request = sequence(&[
            (0, integer(5)),
            (1, integer(14)),
            (2, der(3, &[0, 0x20, 0, 0, 0])),
            (3, der(0x61, &ticket)),
            (4, authenticator),
        ]);
        der(0x60, &[&der(6, OID_KRB5)[..], &[1, 0], &der(0x6e, &request)].concat())
    }

    fn in_spnego(token: &[u8]) -> Vec<u8> {
        let init = sequence(&[(0, der(0x30, &der(6, OID_KRB5))), (2, der(4, token))]);
        der(0x60, &[&der(6, OID_SPNEGO)[..], &der(0xa0, &init)].concat())
    }

    #[test]
    fn every_framing_has_the_same_ticket() {
        let framed = ap_req(sealed_as(18, Some(2), b"cipher"), sealed_as(17, None, b"other"));
        let Ok(Token::Request(request)) = read(&framed) else { panic!() };
        assert_eq!(request.ticket.server.to_string(), "smtp/hub@R");
        assert_eq!((request.ticket.sealed.enctype.0, request.ticket.sealed.kvno), (18, Some(2)));
        assert_eq!((request.authenticator.enctype.0, request.authenticator.kvno), (17, None));
        assert!(request.mutual && !request.spnego);
        let Ok(Token::Request(negotiated)) = read(&in_spnego(&framed)) else { panic!() };
        assert_eq!((&negotiated.ticket, negotiated.spnego), (&request.ticket, true));
        let later = der(0xa1, &sequence(&[(2, der(4, &framed))]));
        assert!(matches!(read(&later), Ok(Token::Request(r)) if r.ticket == request.ticket));
        // SPNEGO inside SPNEGO is nobody's.
        assert_eq!(read(&in_spnego(&in_spnego(&framed))), Err(TokenError::NotOurs));
        assert!(!format!("{request:?}").contains("99"), "no ciphertext: {request:?}");
        for cut in 0..framed.len() {
            assert!(read(&framed[..cut]).is_err());
        }
    }

    #[test]
    fn versions_of_32_bits_with_or_without_sign() {
        for (written, kvno) in [(-1, u32::MAX), (0x0001_0002, 0x0001_0002)] {
            let framed = ap_req(sealed_as(23, Some(written), b""), sealed_as(23, None, b""));
            let Ok(Token::Request(request)) = read(&framed) else { panic!() };
            assert_eq!(request.ticket.sealed.kvno, Some(kvno));
        }
    }

    #[test]
    fn errors_and_strangers() {
        let error = sequence(&[(4, der(0x18, b"20260303184500Z")), (6, integer(37))]);
        let time = Timestamp::from_seconds(1_772_563_500);
        assert_eq!(read(&der(0x7e, &error)), Ok(Token::Error { code: 37, time: Some(time) }));
        assert_eq!(read(b"NTLMSSP\0rest"), Ok(Token::Ntlm));
        assert_eq!(read(b""), Err(TokenError::NotOurs));
        assert_eq!(read(&vec![0x60; TOKEN_BYTES_MAX + 1]), Err(TokenError::TooLarge(TOKEN_BYTES_MAX + 1)));
        for bad in [&b"20261303184500Z"[..], b"2026030318450Z0", b"202603031845000"] {
            assert_eq!(generalized_time(bad), None);
        }
    }
}
