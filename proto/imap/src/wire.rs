//! Character classes of RFC 9051 §9.

/// Bits of [`CLASS`].
const ATOM: u8 = 1;
const ASTRING: u8 = 2;
const LIST: u8 = 4;

/// `ATOM-CHAR`, `ASTRING-CHAR` and `list-char` for each octet.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut b = 0x21;
    while b < 0x7f {
        let c = b as u8;
        table[b] = match c {
            b'(' | b')' | b'{' | b'"' | b'\\' => 0,
            b'%' | b'*' => LIST,
            b']' => ASTRING | LIST,
            _ => ATOM | ASTRING | LIST,
        };
        b += 1;
    }
    table
}

/// Any CHAR except atom-specials.
pub(crate) fn is_atom_char(b: u8) -> bool {
    CLASS[usize::from(b)] & ATOM != 0
}

/// ATOM-CHAR or `]`.
pub(crate) fn is_astring_char(b: u8) -> bool {
    CLASS[usize::from(b)] & ASTRING != 0
}

/// ASTRING-CHAR or a wildcard.
pub(crate) fn is_list_char(b: u8) -> bool {
    CLASS[usize::from(b)] & LIST != 0
}
