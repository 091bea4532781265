//! Records on the legs by which other servers follow the directory: one octet of kind, four of length, then the content.

use super::secrets::Secrets;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use waypost_directory::replica::{Delta, Extent, Mark, Page};

/// Bytes of a record: the largest is a page of a thousand rows of 64 KiB each at most, and one delta is a batch.
const RECORD_BYTES_MAX: usize = 80 * 1024 * 1024;

/// What goes from the server that keeps the organisation to one that follows.
#[derive(Debug, PartialEq)]
pub enum Record {
    /// Changes, in order.
    Deltas(Vec<Delta>),
    /// A whole copy of this extent begins.
    Begin(Extent),
    /// A part of a whole copy.
    Page(Page),
    /// The copy is whole, and stands here.
    Copied(Mark),
    /// The settings document as all servers share it.
    Settings(String),
    /// Secrets that belong to settings.
    Secrets(Secrets),
    /// The inner CAs that are believed, in PEM.
    Bundle(String),
    /// The CA that issues now: a certificate by another is to be renewed.
    Issuer(String),
    /// Nothing has happened; the other end is there.
    Alive,
}

pub async fn write<W: AsyncWrite + Unpin>(stream: &mut W, record: &Record) -> io::Result<()> {
    let mut content = Vec::new();
    let kind = match record {
        Record::Deltas(deltas) => {
            deltas.iter().for_each(|delta| delta.write(&mut content));
            1
        }
        Record::Page(page) => {
            page.write(&mut content);
            2
        }
        Record::Copied(mark) => {
            content.extend_from_slice(&mark.epoch.to_be_bytes());
            content.extend_from_slice(&mark.number.to_be_bytes());
            3
        }
        Record::Settings(text) => {
            content.extend_from_slice(text.as_bytes());
            4
        }
        Record::Bundle(pem) => {
            content.extend_from_slice(pem.as_bytes());
            5
        }
        Record::Issuer(fingerprint) => {
            content.extend_from_slice(fingerprint.as_bytes());
            6
        }
        Record::Alive => 7,
        Record::Begin(extent) => {
            content.push(u8::from(*extent == Extent::Full));
            8
        }
        Record::Secrets(secrets) => {
            let rows =
                secrets.iter().map(|(path, bytes)| (path.clone().into_bytes(), bytes.clone())).collect();
            Page { rows, ..Page::default() }.write(&mut content);
            9
        }
    };
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&u32::try_from(content.len()).map_err(io::Error::other)?.to_be_bytes());
    bytes.append(&mut content);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Reads one; kinds that are not known here are a newer version's, and skipped.
pub async fn read<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Record> {
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await? as usize;
        if length > RECORD_BYTES_MAX {
            return Err(invalid(&format!("a record of {length} bytes")));
        }
        let mut content = vec![0; length];
        stream.read_exact(&mut content).await?;
        if let Some(record) = understand(kind, content)? {
            return Ok(record);
        }
    }
}

fn understand(kind: u8, content: Vec<u8>) -> io::Result<Option<Record>> {
    let mut input = content.as_slice();
    let text = |content: Vec<u8>| String::from_utf8(content).map_err(|_| invalid("text that is no UTF-8"));
    Ok(Some(match kind {
        1 => {
            let mut deltas = Vec::new();
            while !input.is_empty() {
                deltas.push(Delta::read(&mut input).ok_or_else(|| invalid("a change that is not whole"))?);
            }
            Record::Deltas(deltas)
        }
        2 => Record::Page(Page::read(&mut input).ok_or_else(|| invalid("a page that is not whole"))?),
        3 => {
            let numbers =
                input.split_first_chunk::<8>().and_then(|(a, b)| Some((*a, *b.first_chunk::<8>()?)));
            let (epoch, number) = numbers.ok_or_else(|| invalid("a mark that is not whole"))?;
            Record::Copied(Mark { epoch: u64::from_be_bytes(epoch), number: u64::from_be_bytes(number) })
        }
        4 => Record::Settings(text(content)?),
        5 => Record::Bundle(text(content)?),
        6 => Record::Issuer(text(content)?),
        7 => Record::Alive,
        8 => Record::Begin(if input.first() == Some(&1) { Extent::Full } else { Extent::Thin }),
        9 => {
            let page = Page::read(&mut input).ok_or_else(|| invalid("secrets that are not whole"))?;
            let text = |(path, bytes)| String::from_utf8(path).ok().map(|path| (path, bytes));
            Record::Secrets(page.rows.into_iter().filter_map(text).collect())
        }
        _ => return Ok(None),
    }))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_survive_the_way() {
        let all = [
            Record::Deltas(vec![Delta { number: 7, puts: vec![(vec![1], vec![2])], ..Delta::default() }]),
            Record::Page(Page { from: vec![1], to: Some(vec![2]), rows: vec![] }),
            Record::Copied(Mark { epoch: 1, number: 2 }),
            Record::Settings("[imap]\n".into()),
            Record::Bundle("pem".into()),
            Record::Issuer("AB".into()),
            Record::Alive,
            Record::Begin(Extent::Thin),
            Record::Secrets([("a".to_owned(), vec![1, 2])].into()),
        ];
        let mut bytes = Vec::new();
        for record in &all {
            write(&mut bytes, record).await.unwrap();
        }
        let mut input = bytes.as_slice();
        for record in &all {
            assert_eq!(&read(&mut input).await.unwrap(), record);
        }
        let mut newer: &[u8] = &[99, 0, 0, 0, 1, 5, 7, 0, 0, 0, 0];
        assert_eq!(read(&mut newer).await.unwrap(), Record::Alive);
        let mut broken: &[u8] = &[2, 0, 0, 0, 1, 5];
        assert_eq!(read(&mut broken).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
