//! Just enough DER (X.690 §10) for what no library of ours reads or writes: key wrappings, PKCS #7 bundles, OCSP.
//!
//! The reader never copies and never panics: whatever is cut short or of another kind than expected is `None`.

/// Tags that we meet.
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// A tag, a length and content, as they stand in the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With tag and length.
    pub whole: &'a [u8],
}

impl<'a> Item<'a> {
    /// The items within.
    pub fn items(&self) -> Reader<'a> {
        Reader(self.content)
    }

    /// The only thing in `bytes`.
    pub fn only(bytes: &'a [u8]) -> Option<Item<'a>> {
        let mut reader = Reader(bytes);
        let item = reader.next()?;
        reader.0.is_empty().then_some(item)
    }

    pub fn of(self, tag: u8) -> Option<Item<'a>> {
        (self.tag == tag).then_some(self)
    }
}

/// Goes from one item to the next; ends at the first that is not whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next item, if it has this tag; else nothing is taken.
    pub fn grab(&mut self, tag: u8) -> Option<Item<'a>> {
        let mut ahead = *self;
        let item = ahead.next()?.of(tag)?;
        *self = ahead;
        Some(item)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let bytes = self.0;
        let (&tag, rest) = bytes.split_first()?;
        // Tags of several bytes do not occur in what we read.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return None;
            }
            let (digits, after) = rest.split_at_checked(count)?;
            length = digits.iter().fold(0, |n, b| n << 8 | usize::from(*b));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        let whole = bytes.get(..bytes.len() - after.len())?;
        self.0 = after;
        Some(Item { tag, content, whole })
    }
}

/// An item with this content.
pub(crate) fn item(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        n @ 0..=0x7f => out.push(n as u8),
        n => {
            let bytes = n.to_be_bytes();
            let significant: Vec<u8> = bytes.into_iter().skip_while(|b| *b == 0).collect();
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
    }
    out.extend(content);
    out
}

/// A SEQUENCE of these items.
pub(crate) fn sequence(items: &[Vec<u8>]) -> Vec<u8> {
    item(SEQUENCE, &items.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let long = vec![7; 300];
        let bytes = sequence(&[item(INTEGER, &[5]), item(OCTETS, &long), item(NULL, &[])]);
        let outer = Item::only(&bytes).unwrap();
        let tags: Vec<u8> = outer.items().map(|i| i.tag).collect();
        assert_eq!(tags, [INTEGER, OCTETS, NULL]);
        let mut items = outer.items();
        assert!(items.grab(OCTETS).is_none());
        assert_eq!(items.grab(INTEGER).unwrap().content, [5]);
        assert_eq!(items.grab(OCTETS).unwrap().content, long);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            fn walk(reader: Reader<'_>, depth: u8) {
                for item in reader.take(64) {
                    if depth < 8 { walk(item.items(), depth + 1); }
                }
            }
            walk(Reader(&bytes), 0);
        }
    }
}
