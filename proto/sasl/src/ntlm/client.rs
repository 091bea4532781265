//! The client's side of NTLM, as far as trials of our own server need it.

use super::{channel_hash, crypto, message, nt_hash};
use crate::secret::Secret;
use message::{av, flag};

/// Who responds, and in what way.
#[derive(Clone, Debug)]
pub struct Client<'a> {
    pub user: &'a str,
    pub domain: &'a str,
    /// Prepared.
    pub password: Secret,
    /// `tls-server-end-point` of the channel, where it is to be bound.
    pub end_point: Option<&'a [u8]>,
    /// Whether to put an integrity code over all three messages.
    pub mic: bool,
    /// Eight fresh octets.
    pub nonce: [u8; 8],
}

const FLAGS: u32 = flag::UNICODE
    | flag::REQUEST_TARGET
    | flag::NTLM
    | flag::ALWAYS_SIGN
    | flag::EXTENDED_SESSION_SECURITY
    | flag::TARGET_INFO
    | flag::KEY_128;

/// NEGOTIATE_MESSAGE.
pub fn negotiate() -> Vec<u8> {
    let mut out = b"NTLMSSP\0".to_vec();
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&FLAGS.to_le_bytes());
    out.extend_from_slice(&[0; 16]);
    out
}

/// AUTHENTICATE_MESSAGE, in answer to a challenge. `None` where that is none.
pub fn respond(client: &Client<'_>, negotiate: &[u8], challenge: &[u8]) -> Option<Vec<u8>> {
    let server: [u8; 8] = challenge.get(24..32)?.try_into().ok()?;
    let len = usize::from(u16::from_le_bytes(challenge.get(40..42)?.try_into().ok()?));
    let at = u32::from_le_bytes(challenge.get(44..48)?.try_into().ok()?) as usize;
    // Without the end mark, which comes again after our own pairs.
    let info = challenge.get(at..at + len)?.strip_suffix(&[0, 0, 0, 0])?;
    let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
    blob.extend_from_slice(&[0; 8]);
    blob.extend_from_slice(&client.nonce);
    blob.extend_from_slice(&[0; 4]);
    blob.extend_from_slice(info);
    let mut pair = |kind: u16, value: &[u8]| {
        blob.extend_from_slice(&kind.to_le_bytes());
        blob.extend_from_slice(&(value.len() as u16).to_le_bytes());
        blob.extend_from_slice(value);
    };
    if client.mic {
        pair(av::FLAGS, &2u32.to_le_bytes());
    }
    if let Some(end_point) = client.end_point {
        pair(av::CHANNEL_BINDINGS, &channel_hash(end_point));
    }
    pair(av::END, &[]);
    blob.extend_from_slice(&[0; 4]);
    let name = message::utf16(&format!("{}{}", client.user.to_uppercase(), client.domain));
    let key = crypto::hmac_md5(nt_hash(&client.password).expose(), &name);
    let proof = crypto::hmac_md5(&key, &[server.as_slice(), &blob].concat());
    let base = crypto::hmac_md5(&key, &proof);
    let nt = [proof.as_slice(), &blob].concat();
    let mut out = b"NTLMSSP\0".to_vec();
    out.extend_from_slice(&3u32.to_le_bytes());
    let (user, domain) = (message::utf16(client.user), message::utf16(client.domain));
    let mut place = 88u32;
    for part in [&[][..], &nt, &domain, &user, &[], &[]] {
        out.extend_from_slice(&(part.len() as u16).to_le_bytes());
        out.extend_from_slice(&(part.len() as u16).to_le_bytes());
        out.extend_from_slice(&place.to_le_bytes());
        place += part.len() as u32;
    }
    out.extend_from_slice(&FLAGS.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(&nt);
    out.extend_from_slice(&domain);
    out.extend_from_slice(&user);
    if client.mic {
        let mic = crypto::hmac_md5(&base, &[negotiate, challenge, &out].concat());
        out.get_mut(message::MIC)?.copy_from_slice(&mic);
    }
    Some(out)
}
