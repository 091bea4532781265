//! What is inside a ticket and its authenticator, for whoever holds the key: the clock of the initiator, the ticket's times.

use super::crypto::{KeyTest, USAGE_AUTHENTICATOR, USAGE_TICKET, open};
use super::der::Der;
use super::keytab::Entry;
use super::name::{Enctype, Principal};
use super::token::{Request, generalized_time, name_part, principal};
use waypost_base::Timestamp;
use zeroize::Zeroizing;

/// What a request says once it is opened. Proved only as far as the key is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    pub client: Principal,
    pub start: Timestamp,
    pub end: Timestamp,
    pub session_enctype: Enctype,
    /// The initiator's clock when it made the request; `None` where the session key does not open that part.
    pub made: Option<Timestamp>,
}

/// Whether this key opens the request's ticket.
pub fn try_key(entry: &Entry, request: &Request) -> KeyTest {
    match open(&entry.key, USAGE_TICKET, &request.ticket.sealed) {
        Ok(_) => KeyTest::Opens,
        Err(test) => test,
    }
}

/// Opens a request; `None` where the key does not, or where it holds something else than it should.
pub fn look(entry: &Entry, request: &Request) -> Option<Inside> {
    let plain = open(&entry.key, USAGE_TICKET, &request.ticket.sealed).ok()?;
    // EncTicketPart, RFC 4120 §5.3
    let mut fields = Der::new(&plain).enter(0x63)?.enter(0x30)?;
    let mut key = fields.field(1)?.enter(0x30)?;
    let session_enctype = Enctype(i32::try_from(key.integer_field(0)?).ok()?);
    let session_key = Zeroizing::new(key.field(1)?.take(0x04)?.to_vec());
    let realm = name_part(fields.field(2)?.take(0x1b)?)?;
    let client = principal(fields.field(3)?, realm)?;
    let authenticated = generalized_time(fields.field(5)?.take(0x18)?)?;
    let mut ahead = fields;
    let start = ahead.field(6).and_then(|mut f| f.take(0x18)).and_then(generalized_time);
    let end = generalized_time(fields.field(7)?.take(0x18)?)?;
    let made = (request.authenticator.enctype == session_enctype)
        .then(|| open(&session_key, USAGE_AUTHENTICATOR, &request.authenticator).ok())
        .flatten()
        .and_then(|plain| made(&plain));
    Some(Inside { client, start: start.unwrap_or(authenticated), end, session_enctype, made })
}

/// The time in an Authenticator (RFC 4120 §5.5.1).
fn made(plain: &[u8]) -> Option<Timestamp> {
    let mut fields = Der::new(plain).enter(0x62)?.enter(0x30)?;
    let micros = fields.integer_field(4)?;
    let seconds = generalized_time(fields.field(5)?.take(0x18)?)?;
    Some(seconds.plus_millis(micros.clamp(0, 999_999) / 1000))
}
