//! SORT and THREAD.

use super::parser::{Parser, Result};
use super::printer::Printer;
use super::search::{charset, print_program, print_return, program, return_options};
use super::{Body, Sort, SortCriterion, SortKey, Thread, ThreadAlgorithm};
use crate::limits;

/// ```abnf
/// sort          = "SORT" [search-return-opts] SP sort-criteria SP search-criteria    ; RFC 5256 §5, RFC 5267 §3
/// sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"
/// ```
pub(crate) fn sort(p: &mut Parser<'_>, uid: bool) -> Result<Body> {
    p.space()?;
    let returns = return_options(p)?;
    let mut criteria = Vec::new();
    p.list(|p| {
        if criteria.len() == limits::SORT_CRITERIA {
            return p.too_large("List of sort criteria");
        }
        criteria.push(criterion(p)?);
        Ok(())
    })?;
    p.space()?;
    charset(p, returns)?;
    p.space()?;
    Ok(Body::Sort(Sort { uid, returns, criteria, key: program(p)? }))
}

/// ```abnf
/// sort-criterion = ["REVERSE" SP] sort-key
/// sort-key       = "ARRIVAL" / "CC" / "DATE" / "FROM" / "SIZE" / "SUBJECT" / "TO" / "DISPLAYFROM" / "DISPLAYTO"
/// ```
fn criterion(p: &mut Parser<'_>) -> Result<SortCriterion> {
    let reverse = p.eat_text("REVERSE ");
    let key = match p.word("a sort key")?.as_bytes() {
        b"ARRIVAL" => SortKey::Arrival,
        b"CC" => SortKey::Cc,
        b"DATE" => SortKey::Date,
        b"FROM" => SortKey::From,
        b"SIZE" => SortKey::Size,
        b"SUBJECT" => SortKey::Subject,
        b"TO" => SortKey::To,
        b"DISPLAYFROM" => SortKey::DisplayFrom,
        b"DISPLAYTO" => SortKey::DisplayTo,
        _ => return p.expected("a sort key"),
    };
    Ok(SortCriterion { reverse, key })
}

/// ```abnf
/// thread = "THREAD" SP thread-alg SP search-criteria      ; RFC 5256 §5
/// ```
pub(crate) fn thread(p: &mut Parser<'_>, uid: bool) -> Result<Body> {
    p.space()?;
    let algorithm = match p.word("a threading algorithm")?.as_bytes() {
        b"ORDEREDSUBJECT" => ThreadAlgorithm::OrderedSubject,
        b"REFERENCES" => ThreadAlgorithm::References,
        _ => return p.expected("ORDEREDSUBJECT or REFERENCES"),
    };
    p.space()?;
    charset(p, None)?;
    p.space()?;
    Ok(Body::Thread(Thread { uid, algorithm, key: program(p)? }))
}

pub(crate) fn print_sort(p: &mut Printer<'_>, sort: &Sort) {
    p.raw("SORT ");
    print_return(p, sort.returns);
    p.list(&sort.criteria, |p, c| {
        p.raw(if c.reverse { "REVERSE " } else { "" }).raw(match c.key {
            SortKey::Arrival => "ARRIVAL",
            SortKey::Cc => "CC",
            SortKey::Date => "DATE",
            SortKey::From => "FROM",
            SortKey::Size => "SIZE",
            SortKey::Subject => "SUBJECT",
            SortKey::To => "TO",
            SortKey::DisplayFrom => "DISPLAYFROM",
            SortKey::DisplayTo => "DISPLAYTO",
        });
    });
    p.raw(" UTF-8 ");
    print_program(p, &sort.key);
}

pub(crate) fn print_thread(p: &mut Printer<'_>, thread: &Thread) {
    p.raw("THREAD ").raw(match thread.algorithm {
        ThreadAlgorithm::OrderedSubject => "ORDEREDSUBJECT",
        ThreadAlgorithm::References => "REFERENCES",
    });
    p.raw(" UTF-8 ");
    print_program(p, &thread.key);
}
