//! LIST in its basic and extended forms, and LSUB.

use super::folder::{print_status_items, status_items};
use super::parser::{Parser, Result};
use super::printer::Printer;
use super::{Body, List, ListReturn, ListSelection, Problem};
use crate::limits;

/// ```abnf
/// list        = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]
/// mbox-or-pat = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"
/// ```
pub(crate) fn list(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    let mut extended = false;
    let mut selection = ListSelection::default();
    if p.peek() == Some(b'(') {
        extended = true;
        selection = select_options(p)?;
        p.space()?;
    }
    let reference = p.folder()?;
    p.space()?;
    let mut patterns = Vec::new();
    if p.peek() == Some(b'(') {
        extended = true;
        p.list(|p| {
            if patterns.len() == limits::LIST_PATTERNS {
                return p.too_large("List of patterns");
            }
            patterns.push(p.pattern()?);
            Ok(())
        })?;
    } else {
        patterns.push(p.pattern()?);
    }
    let mut returns = ListReturn::default();
    if p.eat(b' ') {
        extended = true;
        returns = return_options(p)?;
    }
    Ok(Body::List(List { extended, selection, reference, patterns, returns }))
}

/// ```abnf
/// list-select-opts = "(" [(*(list-select-opt SP) list-select-base-opt *(SP list-select-opt))
///                    / (list-select-independent-opt *(SP list-select-independent-opt))] ")"
/// ```
fn select_options(p: &mut Parser<'_>) -> Result<ListSelection> {
    let mut selection = ListSelection::default();
    p.list_or_nothing(|p| {
        match p.word("a LIST selection option")?.as_bytes() {
            b"SUBSCRIBED" => selection.subscribed = true,
            b"REMOTE" => selection.remote = true,
            b"RECURSIVEMATCH" => selection.recursive_match = true,
            b"SPECIAL-USE" => selection.special_use = true,
            _ => return p.expected("a LIST selection option"),
        }
        Ok(())
    })?;
    // RFC 9051 §6.3.9.1: alone or only with REMOTE it selects nothing that children could match.
    if selection.recursive_match && !selection.subscribed && !selection.special_use {
        return Err(Problem::Conflict("RECURSIVEMATCH needs another selection option beside it"));
    }
    Ok(selection)
}

/// ```abnf
/// list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"
/// return-option    = "SUBSCRIBED" / "CHILDREN" / "STATUS" SP "(" status-att *(SP status-att) ")" / "SPECIAL-USE"
/// ```
fn return_options(p: &mut Parser<'_>) -> Result<ListReturn> {
    let mut returns = ListReturn::default();
    if !p.eat_text("RETURN ") {
        return p.expected("RETURN");
    }
    p.list_or_nothing(|p| {
        match p.word("a LIST return option")?.as_bytes() {
            b"SUBSCRIBED" => returns.subscribed = true,
            b"CHILDREN" => returns.children = true,
            b"SPECIAL-USE" => returns.special_use = true,
            b"STATUS" => {
                p.space()?;
                returns.status = status_items(p)?;
            }
            _ => return p.expected("a LIST return option"),
        }
        Ok(())
    })?;
    Ok(returns)
}

/// ```abnf
/// lsub = "LSUB" SP mailbox SP list-mailbox        ; RFC 3501 §9
/// ```
pub(crate) fn lsub(p: &mut Parser<'_>) -> Result<Body> {
    p.space()?;
    let reference = p.folder()?;
    p.space()?;
    Ok(Body::Lsub { reference, pattern: p.pattern()? })
}

pub(crate) fn print_list(p: &mut Printer<'_>, list: &List) {
    p.raw("LIST ");
    let s = list.selection;
    if list.extended {
        p.options(&[
            (s.subscribed, "SUBSCRIBED"),
            (s.remote, "REMOTE"),
            (s.recursive_match, "RECURSIVEMATCH"),
            (s.special_use, "SPECIAL-USE"),
        ]);
        p.raw(" ");
    }
    p.folder(&list.reference).raw(" ");
    match list.patterns.as_slice() {
        [only] => p.pattern(only),
        several => p.list(several, |p, pattern| {
            p.pattern(pattern);
        }),
    };
    let r = &list.returns;
    if *r != ListReturn::default() {
        let flags = [(r.subscribed, "SUBSCRIBED"), (r.children, "CHILDREN"), (r.special_use, "SPECIAL-USE")];
        let mut names: Vec<&str> = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
        if !r.status.is_empty() {
            names.push("STATUS");
        }
        p.raw(" RETURN ");
        p.list(&names, |p, name| {
            p.raw(name);
            if *name == "STATUS" {
                p.raw(" ");
                print_status_items(p, &r.status);
            }
        });
    }
}
