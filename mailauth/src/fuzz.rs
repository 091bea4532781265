//! What strangers write, read by everything here that reads it. Nothing may panic.

use crate::{BodyHasher, BodyHashes, check, results, sign};

/// A message, or what pretends to be one.
pub fn fuzz_one(data: &[u8]) {
    let end = data.windows(4).position(|w| w == b"\r\n\r\n").map_or(data.len(), |at| at + 2);
    let (header, body) = data.split_at(end);
    let _ = results::has_forged(header, "mx.a.example");
    let _ = sign::from_domain(header);
    let mut pieces = BodyHasher::both();
    for piece in body.chunks(7) {
        pieces.update(piece);
    }
    let whole = BodyHashes::of(body);
    assert_eq!(pieces.finish(), whole, "where the pieces end makes a difference");
    check::read_only(header, &whole);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word() -> impl Strategy<Value = String> {
        let words = [
            "DKIM-Signature:",
            "ARC-Seal:",
            "ARC-Message-Signature:",
            "ARC-Authentication-Results:",
            "From:",
            "Authentication-Results:",
            "v=1;",
            "a=rsa-sha256;",
            "a=ed25519-sha256;",
            "d=a.example;",
            "s=s;",
            "h=from:to;",
            "bh=AAAA;",
            "b=AAAA;",
            "l=0;",
            "t=1;",
            "x=;",
            "i=1;",
            "cv=none;",
            "c=relaxed/simple;",
            "z=a:b|;",
            "q=dns/txt;",
            "<a@b.example>",
            "\"",
            "(",
            ")",
            "\\",
            "=?utf-8?b?",
            "?=",
            ";",
            "=",
            "\r\n",
            "\r\n ",
            "\r\n\t",
            "\n",
            "\r",
            "\u{e9}",
            "999999999999999999999",
            "mx.a.example",
            " ",
        ];
        prop::sample::select(words.to_vec()).prop_map(str::to_owned)
    }

    proptest! {
        #[test]
        fn survives_anything(words in prop::collection::vec(word(), 0..60), noise in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut data = words.concat().into_bytes();
            fuzz_one(&data);
            data.extend(noise);
            fuzz_one(&data);
        }
    }
}
