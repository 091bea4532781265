//! The little of DER (X.690) that Kerberos tokens need: definite lengths, tags of one octet, nothing copied.

/// A run of elements.
#[derive(Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Der<'a> {
        Der(bytes)
    }

    /// The next element's tag and content. `None` at the end and where the rest is no element.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let octets = usize::from(first & 0x7f);
            if octets == 0 || octets > 4 {
                return None;
            }
            let (bytes, after) = rest.split_at_checked(octets)?;
            length = bytes.iter().fold(0usize, |n, &b| n << 8 | usize::from(b));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, content))
    }

    /// The next element if it has this tag; the run stays where it is if not.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content) = ahead.next()?;
        if found != tag {
            return None;
        }
        *self = ahead;
        Some(content)
    }

    /// As [`Der::take`], for an element that holds elements.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.take(tag).map(Der)
    }

    /// What is in the field with this number of a SEQUENCE with explicit tags. Fields before it are passed over.
    pub(super) fn field(&mut self, number: u8) -> Option<Der<'a>> {
        let wanted = 0xa0 | number;
        loop {
            let mut ahead = *self;
            let (tag, content) = ahead.next()?;
            if tag > wanted {
                return None;
            }
            *self = ahead;
            if tag == wanted {
                return Some(Der(content));
            }
        }
    }

    /// A field that holds an INTEGER of at most 64 bits.
    pub(super) fn integer_field(&mut self, number: u8) -> Option<i64> {
        let bytes = self.field(number)?.take(0x02)?;
        if bytes.is_empty() || bytes.len() > 8 {
            return None;
        }
        let start = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
        Some(bytes.iter().fold(start, |n: i64, &b| n << 8 | i64::from(b)))
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_lie_are_no_elements() {
        for bytes in
            [&[0x30][..], &[0x30, 5, 1], &[0x30, 0x80, 0, 0], &[0x30, 0x85, 0, 0, 0, 0, 0], &[0x1f, 0x20, 0]]
        {
            assert!(Der::new(bytes).next().is_none(), "{bytes:?}");
        }
        assert_eq!(Der::new(&[0x30, 0x81, 1, 7, 9]).next(), Some((0x30, &[7][..])));
    }

    #[test]
    fn optional_fields_are_passed_over() {
        let sequence = [0xa0, 3, 2, 1, 5, 0xa2, 3, 2, 1, 0xff];
        let mut run = Der::new(&sequence);
        assert_eq!(run.integer_field(0), Some(5));
        assert!(run.clone().integer_field(1).is_none());
        assert_eq!(run.integer_field(2), Some(-1));
        assert!(run.rest().is_empty());
    }
}
