//! The three messages of NTLMSSP (MS-NLMP §2.2.1), as far as a server reads and writes them. All integers are little-endian.

use crate::limits::{NAME_BYTES_MAX, NTLM_PAIRS_MAX};
use waypost_base::Timestamp;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

/// Bits of NegotiateFlags (MS-NLMP §2.2.2.5).
pub(super) mod flag {
    pub const UNICODE: u32 = 0x0000_0001;
    pub const OEM: u32 = 0x0000_0002;
    pub const REQUEST_TARGET: u32 = 0x0000_0004;
    pub const NTLM: u32 = 0x0000_0200;
    pub const ALWAYS_SIGN: u32 = 0x0000_8000;
    pub const TARGET_TYPE_SERVER: u32 = 0x0002_0000;
    pub const EXTENDED_SESSION_SECURITY: u32 = 0x0008_0000;
    pub const TARGET_INFO: u32 = 0x0080_0000;
    pub const KEY_128: u32 = 0x2000_0000;
    pub const KEY_EXCHANGE: u32 = 0x4000_0000;
}

/// Kinds of AV_PAIR (MS-NLMP §2.2.2.1).
pub(super) mod av {
    pub const END: u16 = 0;
    pub const NB_COMPUTER: u16 = 1;
    pub const NB_DOMAIN: u16 = 2;
    pub const DNS_COMPUTER: u16 = 3;
    pub const DNS_DOMAIN: u16 = 4;
    pub const FLAGS: u16 = 6;
    pub const TIMESTAMP: u16 = 7;
    pub const CHANNEL_BINDINGS: u16 = 10;
}

/// Where the integrity code of an AUTHENTICATE message stands.
pub(super) const MIC: std::ops::Range<usize> = 72..88;

fn number(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(message.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn short(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(message.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// A field of the payload, by the eight octets that say where it is.
fn field(message: &[u8], at: usize) -> Option<&[u8]> {
    let len = usize::from(short(message, at)?);
    if len == 0 {
        return Some(&[]);
    }
    let start = usize::try_from(number(message, at.checked_add(4)?)?).ok()?;
    message.get(start..start.checked_add(len)?)
}

fn header(message: &[u8], kind: u32) -> Result<(), &'static str> {
    let signed = message.starts_with(SIGNATURE) && number(message, 8) == Some(kind);
    signed.then_some(()).ok_or("not the message of NTLM that was to come")
}

/// The flags of NEGOTIATE_MESSAGE, which is all that a server needs of it.
pub(super) fn negotiate(message: &[u8]) -> Result<u32, &'static str> {
    header(message, 1)?;
    number(message, 12).ok_or("message is cut off")
}

/// Text as UTF-16 in octets.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A FILETIME: 100 ns since 1601.
fn file_time(now: Timestamp) -> u64 {
    let millis = now.0.saturating_add(11_644_473_600_000);
    u64::try_from(millis).unwrap_or_default().saturating_mul(10_000)
}

/// Writes CHALLENGE_MESSAGE. `asked` are the client's flags.
pub(super) fn challenge(asked: u32, challenge: &[u8; 8], host: &str, now: Timestamp) -> (u32, Vec<u8>) {
    let mirrored = flag::EXTENDED_SESSION_SECURITY | flag::KEY_128 | flag::KEY_EXCHANGE | flag::ALWAYS_SIGN;
    let letters = if asked & flag::UNICODE != 0 { flag::UNICODE } else { flag::OEM };
    let flags = letters
        | flag::REQUEST_TARGET
        | flag::NTLM
        | flag::TARGET_TYPE_SERVER
        | flag::TARGET_INFO
        | (asked & mirrored);
    // Names of NetBIOS: the first label, in capitals, 15 letters at most.
    let short: String = host.split('.').next().unwrap_or_default().chars().take(15).collect();
    let short = short.to_uppercase();
    let target = if letters == flag::UNICODE { utf16(&short) } else { short.clone().into_bytes() };
    let domain = host.split_once('.').map_or(host, |(_, domain)| domain);
    let mut info = Vec::new();
    let mut pair = |kind: u16, value: &[u8]| {
        info.extend_from_slice(&kind.to_le_bytes());
        info.extend_from_slice(&(value.len() as u16).to_le_bytes());
        info.extend_from_slice(value);
    };
    pair(av::NB_DOMAIN, &utf16(&short));
    pair(av::NB_COMPUTER, &utf16(&short));
    pair(av::DNS_DOMAIN, &utf16(domain));
    pair(av::DNS_COMPUTER, &utf16(host));
    pair(av::TIMESTAMP, &file_time(now).to_le_bytes());
    pair(av::END, &[]);
    let mut out = SIGNATURE.to_vec();
    let mut place = 56u32;
    let mut put = |out: &mut Vec<u8>, len: usize| {
        out.extend_from_slice(&(len as u16).to_le_bytes());
        out.extend_from_slice(&(len as u16).to_le_bytes());
        out.extend_from_slice(&place.to_le_bytes());
        place += len as u32;
    };
    out.extend_from_slice(&2u32.to_le_bytes());
    put(&mut out, target.len());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(challenge);
    out.extend_from_slice(&[0; 8]);
    put(&mut out, info.len());
    // The version of Windows that we are not; 15 is the revision of NTLMSSP that all report.
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 15]);
    out.extend_from_slice(&target);
    out.extend_from_slice(&info);
    (flags, out)
}

/// AUTHENTICATE_MESSAGE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authenticate {
    pub user: String,
    pub domain: String,
    pub response: Response,
    /// The session key, encrypted; empty where none was exchanged.
    pub key: Vec<u8>,
    pub flags: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// Version 1, or nothing at all.
    Old,
    Version2 {
        proof: [u8; 16],
        blob: Vec<u8>,
        facts: Facts,
    },
}

/// What the client says in the pairs of its response; the proof covers them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The message holds a code that covers all three messages.
    pub mic: bool,
    /// MD5 of the channel bindings. All zeros, or absent: none.
    pub binding: Option<[u8; 16]>,
}

pub(super) fn authenticate(message: &[u8], agreed: u32) -> Result<Authenticate, &'static str> {
    header(message, 3)?;
    let cut = "message is cut off";
    let text = |at: usize| -> Result<String, &'static str> {
        let bytes = field(message, at).ok_or(cut)?;
        if bytes.len() > NAME_BYTES_MAX {
            return Err("user name too long");
        }
        let text = if agreed & flag::UNICODE != 0 {
            let words: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
            String::from_utf16(&words).map_err(|_| "user name is not UTF-16")?
        } else {
            String::from_utf8(bytes.to_vec()).map_err(|_| "user name in an unknown character set")?
        };
        if text.contains('\0') { Err("NUL in user name") } else { Ok(text) }
    };
    let nt = field(message, 20).ok_or(cut)?;
    // RESPONSE of 24 octets is version 1; NTLMv2_RESPONSE is a proof of 16 and a blob of 28 and more.
    let response = match nt.split_first_chunk::<16>() {
        Some((proof, blob)) if nt.len() >= 44 => {
            Response::Version2 { proof: *proof, blob: blob.to_vec(), facts: facts(blob)? }
        }
        _ => Response::Old,
    };
    Ok(Authenticate {
        user: text(36)?,
        domain: text(28)?,
        response,
        key: field(message, 52).ok_or(cut)?.to_vec(),
        flags: number(message, 60).ok_or(cut)?,
    })
}

/// Reads the pairs of NTLMv2_CLIENT_CHALLENGE (MS-NLMP §2.2.2.7), which begin at octet 28.
fn facts(blob: &[u8]) -> Result<Facts, &'static str> {
    if !blob.starts_with(&[1, 1]) {
        return Err("a response of an unknown version");
    }
    let mut rest = blob.get(28..).ok_or("response is cut off")?;
    let mut facts = Facts::default();
    for _ in 0..NTLM_PAIRS_MAX {
        let (kind, len) = (short(rest, 0), short(rest, 2).map(usize::from));
        let (Some(kind), Some(len)) = (kind, len) else { return Ok(facts) };
        let value = len.checked_add(4).and_then(|end| rest.get(4..end)).ok_or("response is cut off")?;
        match kind {
            av::END => return Ok(facts),
            av::FLAGS => facts.mic = number(value, 0).is_some_and(|f| f & 2 != 0),
            av::CHANNEL_BINDINGS => {
                let hash: [u8; 16] = value.try_into().map_err(|_| "channel bindings of a wrong length")?;
                facts.binding = (hash != [0; 16]).then_some(hash);
            }
            _ => {}
        }
        rest = rest.get(len + 4..).unwrap_or_default();
    }
    Err("too many pairs in a response")
}
