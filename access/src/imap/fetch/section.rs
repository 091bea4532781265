//! Sections and decoded parts of a message whose bytes may lie in memory or in the store.
//!
//! `waypost-mime` reads by a plain closure. For small bodies that is a slice. For large ones, looking up a section asks
//! for a piece, fails, gets the piece and asks again: it needs few pieces, and only for nested headers. Decoding reads
//! all of a part, so for large ones it runs on a thread that may wait.

use bytes::Bytes;
use std::ops::Range;
use waypost_imap::command::{Section, SectionText};
use waypost_mailbox::{Account, Fault, FaultKind, MessageBody, Stored};
use waypost_mime::SummaryRef;
use waypost_mime::section::{self as mime, BinaryError, What};

/// Pieces that the search for one section may ask for before something must be wrong.
const PIECES_MAX: usize = 4096;

/// The bytes of a section; `None` if the message has none such.
pub(super) async fn ranges(
    account: &Account,
    summary: Option<&SummaryRef<'_>>,
    body: &MessageBody,
    section: &Section,
) -> Result<Option<Vec<Range<u64>>>, Fault> {
    if section.part.is_empty() && section.text == SectionText::Whole {
        let whole = 0..body.size();
        return Ok(Some(vec![whole]));
    }
    let Some(summary) = summary else { return Ok(None) };
    let mut known: Vec<(Range<u64>, Bytes)> = Vec::new();
    for _ in 0..PIECES_MAX {
        let mut missing = None;
        let found = look(summary, section, |range| match body {
            MessageBody::Small(bytes) => Ok(cut(bytes, &range)),
            MessageBody::Large(_) => match known.iter().find(|(r, _)| *r == range) {
                Some((_, bytes)) => Ok(bytes.to_vec()),
                None => {
                    missing = Some(range);
                    Err(())
                }
            },
        });
        match (found, missing) {
            (Ok(found), _) => return Ok(found),
            (Err(()), Some(range)) => {
                let bytes = account.read(body, range.clone()).await?;
                known.push((range, bytes));
            }
            (Err(()), None) => return Ok(None),
        }
    }
    Ok(None)
}

fn look(
    summary: &SummaryRef<'_>,
    section: &Section,
    read: impl FnMut(Range<u64>) -> Result<Vec<u8>, ()>,
) -> Result<Option<Vec<Range<u64>>>, ()> {
    let names: Vec<&[u8]> = match &section.text {
        SectionText::HeaderFields(names) | SectionText::HeaderFieldsNot(names) => {
            names.iter().map(String::as_bytes).collect()
        }
        _ => Vec::new(),
    };
    let what = match &section.text {
        SectionText::Whole => What::All,
        SectionText::Header => What::Header,
        SectionText::HeaderFields(_) => What::Fields(&names),
        SectionText::HeaderFieldsNot(_) => What::FieldsNot(&names),
        SectionText::Text => What::Text,
        SectionText::Mime => What::Mime,
    };
    mime::ranges(summary, mime::Section { path: &section.part, what }, read)
}

fn cut(bytes: &Bytes, range: &Range<u64>) -> Vec<u8> {
    let end = (range.end as usize).min(bytes.len());
    bytes.get((range.start as usize).min(end)..end).unwrap_or_default().to_vec()
}

/// What BINARY came to.
pub(super) enum Decoded {
    Bytes(Bytes),
    NoPart,
    UnknownCte,
}

impl Decoded {
    fn of(result: Result<Vec<u8>, BinaryError<Fault>>) -> Result<Decoded, Fault> {
        match result {
            Ok(bytes) => Ok(Decoded::Bytes(bytes.into())),
            Err(BinaryError::NoPart) => Ok(Decoded::NoPart),
            Err(BinaryError::UnknownCte) => Ok(Decoded::UnknownCte),
            Err(BinaryError::Read(fault)) => Err(fault),
        }
    }
}

/// The decoded part, or a piece of it.
pub(super) async fn binary(
    account: &Account,
    stored: &Stored,
    body: &MessageBody,
    part: &[u32],
    partial: Option<(u64, u64)>,
) -> Result<Decoded, Fault> {
    let part = part.to_vec();
    let work = move |stored: &Stored, read: &mut Reader<'_>| {
        let Ok(summary) = stored.summary() else { return Err(BinaryError::NoPart) };
        mime::binary(&summary, &part, partial, read)
    };
    Decoded::of(with_reader(account, stored, body, work).await?)
}

/// The size of the decoded part.
pub(super) async fn binary_size(
    account: &Account,
    stored: &Stored,
    body: &MessageBody,
    part: &[u32],
) -> Result<Result<u64, Decoded>, Fault> {
    let part = part.to_vec();
    let work = move |stored: &Stored, read: &mut Reader<'_>| {
        let Ok(summary) = stored.summary() else { return Err(BinaryError::NoPart) };
        mime::binary_size(&summary, &part, read)
    };
    match with_reader(account, stored, body, work).await? {
        Ok(size) => Ok(Ok(size)),
        Err(BinaryError::NoPart) => Ok(Err(Decoded::NoPart)),
        Err(BinaryError::UnknownCte) => Ok(Err(Decoded::UnknownCte)),
        Err(BinaryError::Read(fault)) => Err(fault),
    }
}

type Reader<'r> = dyn FnMut(Range<u64>) -> Result<Vec<u8>, Fault> + 'r;

/// Runs work that reads the body as it goes.
async fn with_reader<T: Send + 'static>(
    account: &Account,
    stored: &Stored,
    body: &MessageBody,
    work: impl FnOnce(&Stored, &mut Reader<'_>) -> T + Send + 'static,
) -> Result<T, Fault> {
    if let MessageBody::Small(bytes) = body {
        return Ok(work(stored, &mut |range| Ok(cut(bytes, &range))));
    }
    let (account, stored, body) = (account.clone(), stored.clone(), body.clone());
    let message = stored.id;
    let runtime = tokio::runtime::Handle::current();
    let waiting = tokio::task::spawn_blocking(move || {
        work(&stored, &mut |range| runtime.block_on(account.read(&body, range)).map(|b| b.to_vec()))
    });
    waiting.await.map_err(|e| Fault { message, kind: FaultKind::Unavailable(e.to_string()) })
}
