//! Questions about sign-ins and their answers as frames of an inner leg: four octets of length, then JSON.
//!
//! What a new question or answer needs is a variant of [`Ask`] or [`Reply`] and a line in each direction. What one end does
//! not understand is `Unavailable`, never a wrong password. Passwords and keys are wiped from every buffer of ours.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use waypost_base::AccountId;
use waypost_directory::Protocol;
use waypost_sasl::{Answer, Hash, Identity, NtlmAsk, Question, ScramKeys, Secret, Why};
use zeroize::Zeroizing;

/// Bytes of a frame: a bearer token or a certificate chain, in base64.
pub const FRAME_MAX: usize = 64 * 1024;

/// A question on its way.
#[derive(Serialize, Deserialize)]
pub struct Asked<A = Ask> {
    /// Answers come in any order.
    pub id: u64,
    pub protocol: Protocol,
    /// The client's address, which its guesses are counted by.
    pub peer: IpAddr,
    pub ask: A,
}

#[derive(Serialize, Deserialize)]
pub struct Answered {
    pub id: u64,
    pub reply: Reply,
}

/// [`Question`] without what only its own process can answer.
#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    Password { authzid: Option<String>, authcid: String, password: Hidden },
    ScramKeys { authcid: String, hash: String },
    Authorize { authzid: Option<String>, authcid: String },
    Principal { authzid: Option<String>, principal: String },
    Ntlm { user: String, domain: String, challenge: Hidden, proof: Hidden, blob: Hidden },
    Token { authzid: Option<String>, token: Hidden },
    Certificate { authzid: Option<String>, der: Hidden },
}

/// [`Answer`], likewise.
#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    Accepted { account: AccountId, address: String, by: Option<String> },
    Wrong,
    NotAllowed { why: Denied },
    Unavailable { text: String },
    Keys { keys: Hidden },
    Ntlm { key: Hidden },
    Binding,
    Malformed,
}

/// [`Why`]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denied {
    Disabled,
    Protocol,
    Expired,
    Locked,
    TooManySessions,
    NoAccount,
    Mechanism,
    NeedsTls,
    Impersonation,
    Other(String),
}

/// Bytes that are nobody's business, in base64.
pub struct Hidden(Secret);

impl Hidden {
    fn new(bytes: &[u8]) -> Hidden {
        Hidden(Secret::new(bytes))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.expose().to_vec()
    }

    fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.0.expose().try_into().ok()
    }
}

impl Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&Zeroizing::new(STANDARD.encode(self.0.expose())))
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Hidden, D::Error> {
        let text = Zeroizing::new(String::deserialize(d)?);
        let bytes = STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(Hidden(Secret::new(bytes)))
    }
}

impl Ask {
    /// `None`: nobody else can answer it.
    pub fn of(question: Question) -> Option<Ask> {
        Some(match question {
            Question::CheckPassword { authzid, authcid, password } => {
                Ask::Password { authzid, authcid, password: Hidden(password) }
            }
            Question::ScramKeys { authcid, hash } => {
                Ask::ScramKeys { authcid, hash: hash.scheme().to_owned() }
            }
            Question::Authorize { authzid, authcid } => Ask::Authorize { authzid, authcid },
            Question::Principal { authzid, principal } => Ask::Principal { authzid, principal },
            Question::Ntlm(NtlmAsk { user, domain, challenge, proof, blob }) => Ask::Ntlm {
                user,
                domain,
                challenge: Hidden::new(&challenge),
                proof: Hidden::new(&proof),
                blob: Hidden::new(&blob),
            },
            Question::Token { authzid, token } => Ask::Token { authzid, token: Hidden(token) },
            Question::Certificate { authzid, der } => Ask::Certificate { authzid, der: Hidden::new(&der) },
            Question::Gss(_) => return None,
        })
    }

    /// `None`: not understood.
    pub fn question(self) -> Option<Question> {
        Some(match self {
            Ask::Password { authzid, authcid, password } => {
                Question::CheckPassword { authzid, authcid, password: password.0 }
            }
            Ask::ScramKeys { authcid, hash } => {
                let known = [Hash::Sha1, Hash::Sha256];
                Question::ScramKeys { authcid, hash: known.into_iter().find(|h| h.scheme() == hash)? }
            }
            Ask::Authorize { authzid, authcid } => Question::Authorize { authzid, authcid },
            Ask::Principal { authzid, principal } => Question::Principal { authzid, principal },
            Ask::Ntlm { user, domain, challenge, proof, blob } => Question::Ntlm(NtlmAsk {
                user,
                domain,
                challenge: challenge.array()?,
                proof: proof.array()?,
                blob: blob.bytes(),
            }),
            Ask::Token { authzid, token } => Question::Token { authzid, token: token.0 },
            Ask::Certificate { authzid, der } => Question::Certificate { authzid, der: der.bytes() },
        })
    }

    /// The name that the question is about, where it has one: it tells which server to ask.
    pub fn name(&self) -> Option<&str> {
        match self {
            Ask::Password { authcid, .. }
            | Ask::ScramKeys { authcid, .. }
            | Ask::Authorize { authcid, .. } => Some(authcid),
            Ask::Principal { principal, .. } => Some(principal),
            Ask::Ntlm { user, .. } => Some(user),
            Ask::Token { .. } | Ask::Certificate { .. } => None,
        }
    }
}

impl Reply {
    pub fn of(answer: Answer) -> Reply {
        match answer {
            Answer::Accepted(Identity { account, address, by }) => Reply::Accepted { account, address, by },
            Answer::Wrong => Reply::Wrong,
            Answer::NotAllowed(why) => Reply::NotAllowed { why: Denied::of(why) },
            Answer::Unavailable(text) => Reply::Unavailable { text },
            Answer::Keys(keys) => Reply::Keys { keys: Hidden(keys.to_text()) },
            Answer::Ntlm(key) => Reply::Ntlm { key: Hidden(key) },
            Answer::Binding => Reply::Binding,
            Answer::Malformed => Reply::Malformed,
            Answer::Gss(_) | Answer::Octets(_) => {
                Reply::Unavailable { text: "an answer that no other server can use".into() }
            }
        }
    }

    pub fn answer(self) -> Answer {
        match self {
            Reply::Accepted { account, address, by } => Answer::Accepted(Identity { account, address, by }),
            Reply::Wrong => Answer::Wrong,
            Reply::NotAllowed { why } => Answer::NotAllowed(why.why()),
            Reply::Unavailable { text } => Answer::Unavailable(text),
            Reply::Keys { keys } => match keys.0.expose_str().map(ScramKeys::parse) {
                Some(Ok(keys)) => Answer::Keys(keys),
                _ => Answer::Unavailable("keys that cannot be read".into()),
            },
            Reply::Ntlm { key } => Answer::Ntlm(key.0),
            Reply::Binding => Answer::Binding,
            Reply::Malformed => Answer::Malformed,
        }
    }
}

impl Denied {
    fn of(why: Why) -> Denied {
        match why {
            Why::Disabled => Denied::Disabled,
            Why::Protocol => Denied::Protocol,
            Why::Expired => Denied::Expired,
            Why::Locked => Denied::Locked,
            Why::TooManySessions => Denied::TooManySessions,
            Why::NoAccount => Denied::NoAccount,
            Why::Mechanism => Denied::Mechanism,
            Why::NeedsTls => Denied::NeedsTls,
            Why::Impersonation => Denied::Impersonation,
            other => Denied::Other(other.to_string()),
        }
    }

    fn why(self) -> Why {
        match self {
            Denied::Disabled => Why::Disabled,
            Denied::Protocol => Why::Protocol,
            Denied::Expired => Why::Expired,
            Denied::Locked => Why::Locked,
            Denied::TooManySessions => Why::TooManySessions,
            Denied::NoAccount => Why::NoAccount,
            Denied::Mechanism => Why::Mechanism,
            Denied::NeedsTls => Why::NeedsTls,
            Denied::Impersonation => Why::Impersonation,
            Denied::Other(text) => Why::Other(text),
        }
    }
}

/// A frame, length included. `InvalidInput` where it is too long.
pub fn frame<T: Serialize>(value: &T) -> io::Result<Zeroizing<Vec<u8>>> {
    // Large enough from the start, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FRAME_MAX + 4));
    bytes.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *bytes, value).map_err(io::Error::other)?;
    let length = bytes.len() - 4;
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the question is too long"));
    }
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(head) = bytes.get_mut(..4) {
        head.copy_from_slice(&length);
    }
    Ok(bytes)
}

pub async fn write<S: AsyncWrite + Unpin>(stream: &mut S, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.flush().await
}

/// The next frame; `None` at the end of the stream. What cannot be read is `InvalidData`.
pub async fn read<S, T>(stream: &mut S) -> io::Result<Option<T>>
where
    S: AsyncRead + Unpin,
    T: for<'de> Deserialize<'de>,
{
    let length = match stream.read_u32().await {
        Ok(length) => length as usize,
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    };
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut json = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut json).await?;
    serde_json::from_slice(&json).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that may be asked and answered comes out as it went in.
    #[tokio::test]
    async fn there_and_back() {
        let authzid = Some("ben@contoso.test".to_owned());
        let authcid = "ann@contoso.test".to_owned();
        let questions = [
            Question::CheckPassword {
                authzid: authzid.clone(),
                authcid: authcid.clone(),
                password: Secret::from("pass\"wörd\0"),
            },
            Question::ScramKeys { authcid: authcid.clone(), hash: Hash::Sha256 },
            Question::ScramKeys { authcid: authcid.clone(), hash: Hash::Sha1 },
            Question::Authorize { authzid: None, authcid: authcid.clone() },
            Question::Principal { authzid: authzid.clone(), principal: "ann@CONTOSO.TEST".into() },
            Question::Ntlm(NtlmAsk {
                user: "ann".into(),
                domain: "CONTOSO".into(),
                challenge: [1; 8],
                proof: [2; 16],
                blob: vec![3; 80],
            }),
            Question::Token { authzid: authzid.clone(), token: Secret::from("ey.J.x") },
            Question::Certificate { authzid, der: vec![0x30, 0x82] },
        ];
        for question in questions {
            let ask = Ask::of(question.clone()).unwrap();
            let peer = "2001:db8::1".parse().unwrap();
            let frame = frame(&Asked { id: 7, protocol: Protocol::Imap, peer, ask }).unwrap();
            let mut bytes = &frame[..];
            let asked: Asked = read(&mut bytes).await.unwrap().unwrap();
            assert_eq!((asked.id, asked.protocol, asked.peer), (7, Protocol::Imap, peer));
            assert_eq!(asked.ask.question().unwrap(), question);
            assert!(read::<_, Asked>(&mut bytes).await.unwrap().is_none());
        }
        let identity = Identity { account: AccountId(4), address: authcid.clone(), by: Some("Phone".into()) };
        let answers = [
            Answer::Accepted(identity),
            Answer::Wrong,
            Answer::NotAllowed(Why::Protocol),
            Answer::NotAllowed(Why::Other("because".into())),
            Answer::Unavailable("no store".into()),
            Answer::Keys(ScramKeys::derive("pencil", b"salt", 4096)),
            Answer::Ntlm(Secret::new([5; 16])),
            Answer::Binding,
            Answer::Malformed,
        ];
        for answer in answers {
            let frame = frame(&Answered { id: 1, reply: Reply::of(answer.clone()) }).unwrap();
            let answered: Answered = read(&mut &frame[..]).await.unwrap().unwrap();
            assert_eq!(answered.reply.answer(), answer);
        }
    }

    #[tokio::test]
    async fn what_is_too_long_or_unknown() {
        let token = Secret::new(vec![0; FRAME_MAX]);
        let ask = Ask::of(Question::Token { authzid: None, token }).unwrap();
        let peer = "192.0.2.1".parse().unwrap();
        assert!(frame(&Asked { id: 1, protocol: Protocol::Pop, peer, ask }).is_err());
        let long = (u32::try_from(FRAME_MAX).unwrap() + 1).to_be_bytes();
        assert!(read::<_, Asked>(&mut &long[..]).await.is_err());
        let json = br#"{"id":1,"reply":{"reply":"perhaps"}}"#;
        let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(json);
        assert!(read::<_, Answered>(&mut &bytes[..]).await.is_err());
    }
}
