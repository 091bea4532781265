//! The four messages of RFC 5802 §7, read from the peer.

use crate::binding::BindingType;
use crate::limits::{NAME_BYTES_MAX, NONCE_BYTES_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the client says about channel binding in its first letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// `n`: cannot bind.
    No,
    /// `y`: could, but believes that we cannot.
    Could,
    /// `p=…`: binds, by this kind (`None`: one that we don't know).
    Binds(Option<BindingType>),
}

/// ```text
/// client-first-message = gs2-header client-first-message-bare
/// gs2-header = gs2-cbind-flag "," [ "a=" saslname ] ","
/// client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    pub flag: Flag,
    /// The header as sent, which comes back in `c=`.
    pub gs2_header: &'a str,
    pub authzid: Option<String>,
    pub bare: &'a str,
    pub username: String,
    pub nonce: &'a str,
}

pub(super) fn client_first(message: &[u8]) -> Result<ClientFirst<'_>, &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "not UTF-8")?;
    let (flag, rest) = text.split_once(',').ok_or("no gs2 header")?;
    let (authzid, bare) = rest.split_once(',').ok_or("no gs2 header")?;
    let flag = match flag {
        "n" => Flag::No,
        "y" => Flag::Could,
        _ => Flag::Binds(BindingType::parse(flag.strip_prefix("p=").ok_or("bad channel binding flag")?)),
    };
    let authzid = match authzid.strip_prefix("a=") {
        Some(name) => Some(saslname(name)?),
        None if authzid.is_empty() => None,
        None => return Err("bad gs2 header"),
    };
    let gs2_header = text.strip_suffix(bare).ok_or("bad gs2 header")?;
    let mut parts = bare.split(',');
    let user = parts.next().unwrap_or_default();
    if user.starts_with("m=") {
        return Err("extension that is mandatory and unknown");
    }
    let username = saslname(user.strip_prefix("n=").ok_or("no user name")?)?;
    let nonce = parts.next().and_then(|n| n.strip_prefix("r=")).ok_or("no nonce")?;
    check_nonce(nonce)?;
    extensions(parts)?;
    Ok(ClientFirst { flag, gs2_header, authzid, bare, username, nonce })
}

/// ```text
/// client-final-message = channel-binding "," nonce ["," extensions] "," proof
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    pub binding: Vec<u8>,
    pub nonce: &'a str,
    /// All before `,p=`.
    pub without_proof: &'a str,
    pub proof: Vec<u8>,
}

pub(super) fn client_final(message: &[u8]) -> Result<ClientFinal<'_>, &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "not UTF-8")?;
    let (without_proof, proof) = text.rsplit_once(",p=").ok_or("no proof")?;
    let proof = STANDARD.decode(proof).map_err(|_| "proof is not base64")?;
    let mut parts = without_proof.split(',');
    let binding = parts.next().and_then(|c| c.strip_prefix("c=")).ok_or("no channel binding")?;
    let binding = STANDARD.decode(binding).map_err(|_| "channel binding is not base64")?;
    let nonce = parts.next().and_then(|n| n.strip_prefix("r=")).ok_or("no nonce")?;
    extensions(parts)?;
    Ok(ClientFinal { binding, nonce, without_proof, proof })
}

/// ```text
/// server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerFirst<'a> {
    pub nonce: &'a str,
    pub salt: Vec<u8>,
    pub rounds: u32,
}

pub(super) fn server_first(message: &[u8]) -> Result<ServerFirst<'_>, &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "not UTF-8")?;
    let mut parts = text.split(',');
    let nonce = parts.next().and_then(|n| n.strip_prefix("r=")).ok_or("no nonce")?;
    if nonce.len() > 2 * NONCE_BYTES_MAX {
        return Err("nonce too long");
    }
    let salt = parts.next().and_then(|s| s.strip_prefix("s=")).ok_or("no salt")?;
    let salt = STANDARD.decode(salt).map_err(|_| "salt is not base64")?;
    let rounds = parts.next().and_then(|i| i.strip_prefix("i=")).ok_or("no iteration count")?;
    let rounds = rounds.parse().map_err(|_| "bad iteration count")?;
    extensions(parts)?;
    Ok(ServerFirst { nonce, salt, rounds })
}

/// `server-final-message = (server-error / verifier) ["," extensions]`: the signature, or the error's name.
pub(super) fn server_final(message: &[u8]) -> Result<Result<Vec<u8>, String>, &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "not UTF-8")?;
    let first = text.split(',').next().unwrap_or_default();
    if let Some(error) = first.strip_prefix("e=") {
        return Ok(Err(error.to_owned()));
    }
    let verifier = first.strip_prefix("v=").ok_or("no verifier")?;
    STANDARD.decode(verifier).map(Ok).map_err(|_| "verifier is not base64")
}

/// `saslname = 1*(value-safe-char / "=2C" / "=3D")`
fn saslname(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains('\0') {
        return Err("user name empty or too long");
    }
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split('=');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (c, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err("bad escape in user name"),
        };
        out.push(c);
        out.push_str(rest);
    }
    Ok(out)
}

/// The inverse of [`saslname`].
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// `nonce = "r=" c-nonce [s-nonce]`, printable ASCII except the comma.
fn check_nonce(nonce: &str) -> Result<(), &'static str> {
    if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX || !nonce.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("bad nonce");
    }
    Ok(())
}

/// Extensions are `attr "=" value`, ignored where they are not mandatory (RFC 5802 §5.1).
fn extensions<'a>(parts: impl Iterator<Item = &'a str>) -> Result<(), &'static str> {
    for part in parts {
        let (attribute, _) = part.split_once('=').ok_or("bad extension")?;
        if attribute.len() != 1 || !attribute.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err("bad extension");
        }
        if attribute == "m" {
            return Err("extension that is mandatory and unknown");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_client_first() {
        let first = client_first(b"p=tls-exporter,a==2Cx,n=us=3Der,r=abc,x=1").unwrap();
        assert_eq!(first.flag, Flag::Binds(Some(BindingType::TlsExporter)));
        assert_eq!(first.gs2_header, "p=tls-exporter,a==2Cx,");
        assert_eq!(first.authzid.as_deref(), Some(",x"));
        assert_eq!((first.username.as_str(), first.nonce), ("us=er", "abc"));
        assert_eq!(first.bare, "n=us=3Der,r=abc,x=1");
    }

    #[test]
    fn refuses_bad_client_first() {
        for bad in [
            "",
            ",",
            ",,",
            "n,,",
            "n,,n=,r=x",
            "n,,n=a",
            "n,,n=a,r=",
            "n,,n=a=,r=x",
            "n,,n=a=2D,r=x",
            "z,,n=a,r=x",
            "n,b=x,n=a,r=x",
            "n,,m=1,n=a,r=x",
            "n,,n=a,r=x,m=1",
            "n,,n=a,r=x,junk",
            "n,,n=a,r=x\u{7}",
            "p,,n=a,r=x",
        ] {
            assert!(client_first(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_bad_client_final() {
        for bad in
            ["", "c=biws,r=x", "c=biws,p=AA==", "r=x,c=biws,p=AA==", "c=?,r=x,p=AA==", "c=biws,r=x,p=?"]
        {
            assert!(client_final(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(client_final(b"c=biws,r=x,m=1,p=AA==").is_err());
        assert!(client_final(b"c=biws,r=x,y=1,p=AA==").is_ok());
    }

    #[test]
    fn names_round_trip() {
        for name in ["a", "a,b=c", "=2C", "имя"] {
            assert_eq!(saslname(&escape(name)).as_deref(), Ok(name));
        }
    }
}
