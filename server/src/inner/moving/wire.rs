//! What the driver of a move and its ends say to each other: a frame, then as many octets as it announces.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use waypost_mailbox::AccountError;
use waypost_mailbox::moving::{Block, End, MoveError, Rows};
use waypost_store::{BlobError, BlobId};
use waypost_trust::channel::BoxStream;
use waypost_trust::leg::frame;

/// Octets behind one frame: the list of blocks of an account with ten million rows.
const PAYLOAD: u32 = 64 * 1024 * 1024;
/// What one question may take: a look at every row of a large account.
const ANSWER: Duration = Duration::from_secs(600);

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    Blocks,
    Rows,
    Piece { id: String, at: u64 },
    Account,
    Freeze,
    Thaw,
    Seal { to: String },
    Unseal,
    Leave { to: String },
    Begin { from: String },
    Differing,
    Missing,
    Put { id: String, at: u64, size: u64 },
    Block,
    Finish,
    Abandon,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head<T> {
    what: T,
    bytes: u32,
}

/// What an end said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
enum Said {
    Ok {
        #[serde(default)]
        number: u64,
    },
    Wrong {
        kind: Kind,
        text: String,
    },
}

/// Errors that the driver tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Trying again may help.
    Passing,
    Lasting,
    /// The bytes are gone meanwhile.
    Missing,
}

pub type Asked = (Op, Vec<u8>);
pub type Answered = Result<(u64, Vec<u8>), MoveError>;

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

async fn send<T: Serialize>(stream: &mut BoxStream, what: &T, payload: &[u8]) -> io::Result<()> {
    let bytes = u32::try_from(payload.len()).ok().filter(|n| *n <= PAYLOAD).ok_or(bad("too much at once"))?;
    frame::write(stream, &Head { what, bytes }).await?;
    stream.write_all(payload).await?;
    stream.flush().await
}

async fn receive<T: serde::de::DeserializeOwned>(stream: &mut BoxStream) -> io::Result<(T, Vec<u8>)> {
    let head: Head<T> = frame::read(stream).await?;
    if head.bytes > PAYLOAD {
        return Err(bad("too much at once"));
    }
    // As it comes, not as it is announced.
    let mut payload = Vec::new();
    stream.take(u64::from(head.bytes)).read_to_end(&mut payload).await?;
    if payload.len() != head.bytes as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((head.what, payload))
}

pub async fn read(stream: &mut BoxStream) -> io::Result<Asked> {
    receive(stream).await
}

pub async fn answer(stream: &mut BoxStream, answered: Answered) -> io::Result<()> {
    match answered {
        Ok((number, payload)) => send(stream, &Said::Ok { number }, &payload).await,
        Err(e) => {
            let kind = match &e {
                MoveError::Account(AccountError::Blob(BlobError::Missing)) => Kind::Missing,
                e if e.retry() => Kind::Passing,
                _ => Kind::Lasting,
            };
            send(stream, &Said::Wrong { kind, text: e.to_string() }, &[]).await
        }
    }
}

/// Does what was asked at this server's end.
pub async fn act(end: &mut dyn End, (op, payload): Asked) -> Answered {
    let nothing = |done: Result<(), MoveError>| done.map(|()| (0, Vec::new()));
    let malformed = || MoveError::Peer("a question that cannot be read".into());
    match op {
        Op::Blocks => end.blocks().await.map(|blocks| (0, encode_blocks(&blocks))),
        Op::Rows => {
            let block = decode_blocks(&payload).and_then(|blocks| blocks.into_iter().next());
            let block = block.ok_or_else(malformed)?;
            end.rows(&block).await.map(|rows| (0, encode_rows(&rows)))
        }
        Op::Piece { id, at } => {
            let id = blob(&id).ok_or_else(malformed)?;
            end.piece(id, at).await.map(|(size, piece)| (size, piece.to_vec()))
        }
        Op::Account => end.account_row().await.map(|row| (0, row)),
        Op::Freeze => nothing(end.freeze().await),
        Op::Thaw => nothing(end.thaw().await),
        Op::Seal { to } => nothing(end.seal(&to).await),
        Op::Unseal => nothing(end.unseal().await),
        Op::Leave { to } => nothing(end.leave(&to).await),
        Op::Begin { from } => nothing(end.begin(&from).await),
        Op::Differing => {
            let blocks = decode_blocks(&payload).ok_or_else(malformed)?;
            let numbers = end.differing(&blocks).await?;
            Ok((0, numbers.iter().flat_map(|n| n.to_be_bytes()).collect()))
        }
        Op::Missing => {
            let ids = decode_ids(&payload).ok_or_else(malformed)?;
            let missing = end.missing(&ids).await?;
            Ok((0, missing.iter().flat_map(|id| id.0).collect()))
        }
        Op::Put { id, at, size } => {
            let id = blob(&id).ok_or_else(malformed)?;
            nothing(end.put_piece(id, at, &payload, size).await)
        }
        Op::Block => {
            let (block, rows) = decode_block_and_rows(&payload).ok_or_else(malformed)?;
            nothing(end.put(&block, &rows).await)
        }
        Op::Finish => nothing(end.finish(&payload).await),
        Op::Abandon => nothing(end.abandon().await),
    }
}

/// An end at another server.
pub struct Remote {
    stream: BoxStream,
    /// For words.
    server: String,
}

impl Remote {
    pub fn new(stream: BoxStream, server: String) -> Remote {
        Remote { stream, server }
    }

    async fn ask(&mut self, op: Op, payload: &[u8]) -> Answered {
        let asking = async {
            send(&mut self.stream, &op, payload).await?;
            receive::<Said>(&mut self.stream).await
        };
        let lost = |why: String| MoveError::Peer(format!("{}: {why}", self.server));
        let said = match timeout(ANSWER, asking).await {
            Ok(Ok(said)) => said,
            Ok(Err(e)) => return Err(lost(e.to_string())),
            Err(_) => return Err(lost(format!("no answer within {} seconds", ANSWER.as_secs()))),
        };
        match said {
            (Said::Ok { number }, payload) => Ok((number, payload)),
            (Said::Wrong { kind: Kind::Missing, .. }, _) => {
                Err(AccountError::from(BlobError::Missing).into())
            }
            (Said::Wrong { kind: Kind::Passing, text }, _) => Err(lost(text)),
            (Said::Wrong { kind: Kind::Lasting, text }, _) => {
                Err(AccountError::Damaged(format!("{}: {text}", self.server)).into())
            }
        }
    }

    async fn tell(&mut self, op: Op, payload: &[u8]) -> Result<(), MoveError> {
        self.ask(op, payload).await.map(drop)
    }

    fn odd(&self) -> MoveError {
        MoveError::Peer(format!("{}: an answer that cannot be read", self.server))
    }
}

#[async_trait::async_trait]
impl End for Remote {
    async fn blocks(&mut self) -> Result<Vec<Block>, MoveError> {
        let (_, payload) = self.ask(Op::Blocks, &[]).await?;
        decode_blocks(&payload).ok_or_else(|| self.odd())
    }

    async fn rows(&mut self, block: &Block) -> Result<Rows, MoveError> {
        let (_, payload) = self.ask(Op::Rows, &encode_blocks(std::slice::from_ref(block))).await?;
        decode_rows(&mut &*payload).ok_or_else(|| self.odd())
    }

    async fn piece(&mut self, id: BlobId, at: u64) -> Result<(u64, Bytes), MoveError> {
        let (size, piece) = self.ask(Op::Piece { id: id.to_string(), at }, &[]).await?;
        Ok((size, piece.into()))
    }

    async fn account_row(&mut self) -> Result<Vec<u8>, MoveError> {
        self.ask(Op::Account, &[]).await.map(|(_, row)| row)
    }

    async fn freeze(&mut self) -> Result<(), MoveError> {
        self.tell(Op::Freeze, &[]).await
    }

    async fn thaw(&mut self) -> Result<(), MoveError> {
        self.tell(Op::Thaw, &[]).await
    }

    async fn seal(&mut self, to: &str) -> Result<(), MoveError> {
        self.tell(Op::Seal { to: to.into() }, &[]).await
    }

    async fn unseal(&mut self) -> Result<(), MoveError> {
        self.tell(Op::Unseal, &[]).await
    }

    async fn leave(&mut self, to: &str) -> Result<(), MoveError> {
        self.tell(Op::Leave { to: to.into() }, &[]).await
    }

    async fn begin(&mut self, from: &str) -> Result<(), MoveError> {
        self.tell(Op::Begin { from: from.into() }, &[]).await
    }

    async fn differing(&mut self, blocks: &[Block]) -> Result<Vec<u32>, MoveError> {
        let (_, payload) = self.ask(Op::Differing, &encode_blocks(blocks)).await?;
        let (numbers, rest) = payload.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(self.odd());
        }
        Ok(numbers.iter().map(|n| u32::from_be_bytes(*n)).collect())
    }

    async fn missing(&mut self, ids: &[BlobId]) -> Result<Vec<BlobId>, MoveError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        let (_, payload) = self.ask(Op::Missing, &asked).await?;
        decode_ids(&payload).ok_or_else(|| self.odd())
    }

    async fn put_piece(&mut self, id: BlobId, at: u64, piece: &[u8], size: u64) -> Result<(), MoveError> {
        self.tell(Op::Put { id: id.to_string(), at, size }, piece).await
    }

    async fn put(&mut self, block: &Block, rows: &Rows) -> Result<(), MoveError> {
        let mut payload = encode_blocks(std::slice::from_ref(block));
        payload.extend_from_slice(&encode_rows(rows));
        self.tell(Op::Block, &payload).await
    }

    async fn finish(&mut self, account_row: &[u8]) -> Result<(), MoveError> {
        self.tell(Op::Finish, account_row).await
    }

    async fn abandon(&mut self) -> Result<(), MoveError> {
        self.tell(Op::Abandon, &[]).await
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(input: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, rest) = input.split_at_checked(n)?;
    *input = rest;
    Some(head)
}

fn take_u32(input: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(input, 4)?.try_into().ok()?))
}

fn take_bytes(input: &mut &[u8]) -> Option<Vec<u8>> {
    let length = take_u32(input)? as usize;
    take(input, length).map(<[u8]>::to_vec)
}

fn encode_blocks(blocks: &[Block]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + blocks.len() * 80);
    out.extend_from_slice(&u32::try_from(blocks.len()).unwrap_or(u32::MAX).to_be_bytes());
    for block in blocks {
        put_bytes(&mut out, &block.start);
        put_bytes(&mut out, &block.end);
        out.extend_from_slice(&block.rows.to_be_bytes());
        out.extend_from_slice(&block.bytes.to_be_bytes());
        out.extend_from_slice(&block.hash);
    }
    out
}

fn take_blocks(input: &mut &[u8]) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    for _ in 0..take_u32(input)? {
        blocks.push(Block {
            start: take_bytes(input)?,
            end: take_bytes(input)?,
            rows: take_u32(input)?,
            bytes: u64::from_be_bytes(take(input, 8)?.try_into().ok()?),
            hash: take(input, 16)?.try_into().ok()?,
        });
    }
    Some(blocks)
}

fn decode_blocks(mut input: &[u8]) -> Option<Vec<Block>> {
    let blocks = take_blocks(&mut input)?;
    input.is_empty().then_some(blocks)
}

fn encode_rows(rows: &Rows) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in rows {
        put_bytes(&mut out, key);
        put_bytes(&mut out, value);
    }
    out
}

fn decode_rows(input: &mut &[u8]) -> Option<Rows> {
    let mut rows = Rows::new();
    while !input.is_empty() {
        let key = take_bytes(input)?;
        rows.push((key, take_bytes(input)?));
    }
    Some(rows)
}

fn decode_block_and_rows(mut input: &[u8]) -> Option<(Block, Rows)> {
    let block = take_blocks(&mut input)?.into_iter().next()?;
    Some((block, decode_rows(&mut input)?))
}

fn decode_ids(input: &[u8]) -> Option<Vec<BlobId>> {
    let (ids, rest) = input.as_chunks::<32>();
    rest.is_empty().then(|| ids.iter().map(|id| BlobId(*id)).collect())
}

/// 64 hexadecimal digits.
fn blob(text: &str) -> Option<BlobId> {
    let mut id = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(BlobId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read() {
        let block = |n: u8| Block { start: vec![n], end: vec![n, 1], rows: 3, bytes: 1 << 40, hash: [n; 16] };
        let blocks = vec![block(1), block(2)];
        let encoded = encode_blocks(&blocks);
        assert_eq!(decode_blocks(&encoded), Some(blocks));
        let rows: Rows = vec![(vec![1, 2], Vec::new()), (vec![3], vec![9; 300])];
        let mut both = encode_blocks(&[block(7)]);
        both.extend_from_slice(&encode_rows(&rows));
        assert_eq!(decode_block_and_rows(&both), Some((block(7), rows)));
        for cut in 0..both.len() {
            // Torn at the edge of a row it is a shorter list; whoever compares afterwards finds out.
            let _ = decode_block_and_rows(&both[..cut]);
        }
        let id = BlobId([0xAB; 32]);
        assert_eq!(blob(&id.to_string()), Some(id));
        assert_eq!(blob("é"), None);
        assert_eq!(decode_ids(&[1; 33]), None);
    }
}
