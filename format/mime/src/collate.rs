//! Text without regard to case, for SEARCH and SORT: i;unicode-casemap (RFC 5051), which RFC 5256 §3 asks for.
//!
//! Each character is put into title case and then fully decomposed; results compare as bytes. For ASCII that is upper case.
//! Letters that only decomposition brings out (`ﬁ`) are put into title case as well, so that they equal their plain spelling.

use unicode_normalization::UnicodeNormalization;

/// The key of a text: two texts are equal without case when their keys are, and sort as their keys do.
pub fn key(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    fold(text, &mut out);
    out
}

/// Appends the key of a text. Keys of pieces, put together, are the key of the whole.
pub fn fold(text: &str, out: &mut String) {
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|b| !b.is_ascii()).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(ascii);
        let from = out.len();
        out.push_str(head);
        if let Some(added) = out.get_mut(from..) {
            added.make_ascii_uppercase();
        }
        let other = tail.bytes().position(|b| b.is_ascii()).unwrap_or(tail.len());
        let (head, tail) = tail.split_at(other);
        for c in head.chars() {
            out.extend(std::iter::once(title(c)).nfkd().map(title));
        }
        rest = tail;
    }
}

/// Title case when it is one character; RFC 5051 has no others.
fn title(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds() {
        assert_eq!(key("Hello, World!"), "HELLO, WORLD!");
        assert_eq!(key("é"), key("E\u{301}"));
        assert_eq!(key("Ünïcödé"), key("ÜNÏCÖDÉ"));
        assert_eq!(key("ﬁ"), "FI");
        assert_eq!(key("ΑΒγ"), key("αβΓ"));
        assert_eq!(key("ＡＢ"), "AB");
        assert_eq!(key("ß"), "ß");
        assert!(key("Zebra") > key("apple"));
    }
}
