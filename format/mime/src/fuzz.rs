//! What must hold for any bytes.

use crate::section::{self, Section, What};
use crate::text::Matcher;
use crate::{Limits, Scanner, Summary, SummaryRef, scan};
use std::convert::Infallible;
use std::ops::Range;

/// Scans bytes and checks what must always hold; panics when it does not. For fuzzing.
pub fn fuzz_one(bytes: &[u8]) {
    let summary = scan(bytes, Limits::stored());
    let cut = bytes.first().map_or(1, |b| usize::from(*b) % 7 + 1);
    let mut scanner = Scanner::new(Limits::stored());
    bytes.chunks(cut).for_each(|piece| scanner.feed(piece));
    assert!(scanner.finish() == summary, "pieces must not matter");
    check(&summary, bytes);
    let stored = summary.encode();
    assert!(stored.len() <= Limits::stored().summary_bytes, "a summary has a row to fit in");
    let again = SummaryRef::new(&stored).expect("our own encoding");
    assert!(again.to_owned().as_ref() == Ok(&summary), "a summary must survive being stored");
    sections(&again, &summary, bytes);
    search(&again, bytes);
    // The input as a stored summary: any answer but a panic.
    if let Ok(s) = SummaryRef::new(bytes) {
        let _ = s.to_owned();
        s.write_body(true, &mut Vec::new());
        let _ = (s.parts(), s.fields().count(), s.references().count());
    }
    let _ = Summary::decode(stored.get(..stored.len() / 2).unwrap_or_default());
    let full = scan(bytes, Limits::full());
    check(&full, bytes);
}

fn check(summary: &Summary, bytes: &[u8]) {
    let size = bytes.len() as u64;
    assert_eq!(summary.size, size);
    assert!(!summary.parts.is_empty());
    for part in &summary.parts {
        assert!(part.header.start <= part.header.end && part.header.end == part.body.start);
        assert!(part.body.start <= part.body.end && part.body.end <= size);
        if let Some(parent) = part.parent {
            let parent = &summary.parts[parent as usize];
            assert!(parent.body.start <= part.header.start && part.body.end <= parent.body.end);
        }
    }
    let mut end = 0;
    for field in &summary.fields {
        assert_eq!(field.range.start, end, "fields follow each other");
        end = field.range.end;
    }
    assert!(end <= summary.parts[0].header.end);
    balanced(&summary.envelope);
    balanced(&summary.structure.bytes);
    summary.envelope_utf8.iter().for_each(|e| balanced(e));
    summary.structure_utf8.iter().for_each(|s| balanced(&s.bytes));
    assert!(summary.preview.chars().count() <= crate::limits::PREVIEW_CHARS);
}

/// Reads a rendered value as an IMAP client would: strings, literals and parentheses that match.
fn balanced(bytes: &[u8]) {
    let mut depth = 0i32;
    let mut rest = bytes;
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        match b {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'"' => rest = after_quoted(rest),
            b'{' => {
                let end = memchr::memchr(b'}', rest).expect("a literal's length ends");
                let length: usize =
                    std::str::from_utf8(&rest[..end]).ok().and_then(|n| n.parse().ok()).expect("a number");
                assert_eq!(rest.get(end + 1..end + 3), Some(&b"\r\n"[..]));
                let literal = &rest[end + 3..end + 3 + length];
                assert!(!literal.contains(&0), "no NUL in a literal");
                rest = &rest[end + 3 + length..];
            }
            b => assert!(b == b' ' || b.is_ascii_alphanumeric(), "byte {b} outside strings"),
        }
        assert!(depth >= 0 && (depth > 0 || rest.is_empty()), "parentheses match");
    }
    assert_eq!(depth, 0);
}

fn after_quoted(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    loop {
        let (&b, tail) = rest.split_first().expect("a quoted string ends");
        rest = tail;
        match b {
            b'"' => return rest,
            b'\\' => rest = &rest[1..],
            b => assert!(!matches!(b, b'\r' | b'\n' | 0)),
        }
    }
}

fn reader(bytes: &[u8]) -> impl FnMut(Range<u64>) -> Result<Vec<u8>, Infallible> + '_ {
    |range| Ok(bytes[range.start as usize..range.end as usize].to_vec())
}

fn sections(stored: &SummaryRef<'_>, summary: &Summary, bytes: &[u8]) {
    let names: [&[u8]; 2] = [b"subject", b"content-type"];
    let paths: [&[u32]; 6] = [&[], &[1], &[2], &[1, 1], &[1, 2], &[1, 1, 1]];
    for path in paths {
        for what in
            [What::All, What::Header, What::Text, What::Mime, What::Fields(&names), What::FieldsNot(&names)]
        {
            let Ok(Some(ranges)) = section::ranges(stored, Section { path, what }, reader(bytes)) else {
                continue;
            };
            let mut last = 0;
            for range in &ranges {
                assert!(last <= range.start && range.start <= range.end && range.end <= summary.size);
                last = range.end;
            }
            let piece = section::partial(&ranges, 3, 10);
            assert!(section::size(&piece) <= 10);
        }
        if let Ok(decoded) = section::binary(stored, path, None, reader(bytes)) {
            assert_eq!(section::binary_size(stored, path, reader(bytes)), Ok(decoded.len() as u64));
            let part = section::binary(stored, path, Some((1, 5)), reader(bytes)).expect("it was there");
            assert_eq!(part, decoded.iter().skip(1).take(5).copied().collect::<Vec<_>>());
        }
    }
}

fn search(stored: &SummaryRef<'_>, bytes: &[u8]) {
    for needle in ["re", "zebra", "é", ""] {
        let matcher = Matcher::new(needle);
        for headers in [false, true] {
            let whole = if headers {
                matcher.matches_text(stored, bytes)
            } else {
                matcher.matches_body(stored, bytes)
            };
            let Ok(large) = matcher.matches_large(stored, headers, reader(bytes));
            assert_eq!(whole, large, "both ways of searching find {needle:?}");
        }
        matcher.matches_header(b"subject", stored, bytes);
    }
    // The index of fields and the header itself say the same.
    let names: [&[u8]; 2] = [b"subject", b"from"];
    for not in [false, true] {
        let mut selector = crate::fields::Selector::new(0, &names, not);
        selector.push(&bytes[..stored.header().end as usize]);
        let what = if not { What::FieldsNot(&names) } else { What::Fields(&names) };
        let indexed = section::ranges(stored, Section { path: &[], what }, reader(bytes));
        assert_eq!(indexed, Ok(Some(selector.finish())));
    }
}
