//! STORE, COPY, MOVE and EXPUNGE.

use super::parser::{Parser, Result};
use super::printer::Printer;
use super::{Body, Store, StoreAction};
use crate::limits;
use crate::value::FolderName;
use crate::value::SequenceSet;

/// ```abnf
/// store            = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"] SP store-att-flags
/// store-att-flags  = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
/// ```
pub(crate) fn store(p: &mut Parser<'_>, uid: bool) -> Result<Body> {
    p.space()?;
    let set = p.sequence_set()?;
    p.space()?;
    let mut unchanged_since = None;
    if p.peek() == Some(b'(') {
        p.list(|p| {
            if !p.eat_text("UNCHANGEDSINCE ") {
                return p.expected("UNCHANGEDSINCE");
            }
            unchanged_since = Some(p.number64()?);
            Ok(())
        })?;
        p.space()?;
    }
    let action = match p.peek() {
        Some(b'+') => StoreAction::Add,
        Some(b'-') => StoreAction::Remove,
        _ => StoreAction::Replace,
    };
    if action != StoreAction::Replace {
        p.take_while(|b| matches!(b, b'+' | b'-'));
    }
    if !p.eat_text("FLAGS") {
        return p.expected("FLAGS");
    }
    let silent = p.eat_text(".SILENT");
    p.space()?;
    let flags = if p.peek() == Some(b'(') { p.flag_list()? } else { bare_flags(p)? };
    if flags.len() > limits::FLAGS_PER_COMMAND {
        return p.too_large("List of flags");
    }
    Ok(Body::Store(Store { uid, set, unchanged_since, action, silent, flags }))
}

fn bare_flags(p: &mut Parser<'_>) -> Result<Vec<crate::value::Flag>> {
    let mut flags = vec![p.flag()?];
    while p.eat(b' ') {
        flags.push(p.flag()?);
    }
    Ok(flags)
}

/// ```abnf
/// copy = "COPY" SP sequence-set SP mailbox
/// move = "MOVE" SP sequence-set SP mailbox
/// ```
pub(crate) fn set_and_folder(p: &mut Parser<'_>) -> Result<(SequenceSet, FolderName)> {
    p.space()?;
    let set = p.sequence_set()?;
    p.space()?;
    Ok((set, p.folder()?))
}

/// ```abnf
/// uid-expunge = "UID" SP "EXPUNGE" SP sequence-set
/// ```
pub(crate) fn uid_expunge(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    Ok(Body::Expunge { uids: Some(p.sequence_set()?) })
}

pub(crate) fn print_store(p: &mut Printer<'_>, store: &Store) {
    p.raw("STORE ").sequence_set(&store.set);
    if let Some(n) = store.unchanged_since {
        p.raw(" (UNCHANGEDSINCE ").number(n).raw(")");
    }
    p.raw(match store.action {
        StoreAction::Replace => " FLAGS",
        StoreAction::Add => " +FLAGS",
        StoreAction::Remove => " -FLAGS",
    });
    p.raw(if store.silent { ".SILENT " } else { " " }).flag_list(&store.flags);
}
