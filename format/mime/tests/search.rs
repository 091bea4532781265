//! SEARCH over decoded text.

use waypost_mime::text::Matcher;
use waypost_mime::{Limits, SummaryRef, scan};

const MESSAGE: &str = "From: a@b.example\r\n\
Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= from\r\n  far away\r\n\
X-Plain: Zebra crossing\r\n\
Content-Type: multipart/mixed; boundary=b\r\n\r\n\
preamble hidden\r\n\
--b\r\n\
Content-Type: text/plain; charset=iso-8859-1\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\r\n\
The caf=E9 is op=\r\nen today.\r\n\
--b\r\n\
Content-Type: text/html; charset=utf-8\r\n\r\n\
<p>f<b>ish</b> &amp; chips&eacute;</p><!-- comment -->\r\n\
--b\r\n\
Content-Type: text/plain\r\n\
Content-Transfer-Encoding: base64\r\n\r\n\
TmVlZGxlIGluIGJhc2U2NA==\r\n\
--b\r\n\
Content-Type: image/png; name*=utf-8''%C3%A9l%C3%A8ve.png\r\n\r\n\
picture bytes\r\n\
--b\r\n\
Content-Type: message/rfc822\r\n\r\n\
Subject: innersubject\r\n\r\ninnerbody\r\n\
--b--\r\n";

#[test]
fn body_text_and_headers() {
    let stored = scan(MESSAGE.as_bytes(), Limits::stored()).encode();
    let summary = SummaryRef::new(&stored).unwrap();
    // needle, in BODY, in TEXT
    let cases = [
        ("open TODAY", true, true),
        ("café", true, true),
        ("CAFÉ IS", true, true),
        ("fish & chips", true, true),
        ("chipsé", true, true),
        ("comment", false, false),
        ("needle in", true, true),
        ("TmVlZGxl", false, false),
        ("picture", false, false),
        ("hidden", false, false),
        ("innersubject", true, true),
        ("INNERBODY", true, true),
        ("zebra", false, true),
        ("grüße FROM", false, true),
        ("from  far", false, true),
        ("élève", false, true),
        ("x-plain: zebra", false, true),
        ("quoted-printable", false, true),
        ("nowhere", false, false),
        ("", true, true),
    ];
    for (needle, body, text) in cases {
        let matcher = Matcher::new(needle);
        assert_eq!(matcher.matches_body(&summary, MESSAGE.as_bytes()), body, "BODY {needle}");
        assert_eq!(matcher.matches_text(&summary, MESSAGE.as_bytes()), text, "TEXT {needle}");
        for headers in [false, true] {
            let read = |r: std::ops::Range<u64>| {
                Ok::<_, ()>(MESSAGE.as_bytes()[r.start as usize..r.end as usize].to_vec())
            };
            let want = if headers { text } else { body };
            assert_eq!(matcher.matches_large(&summary, headers, read), Ok(want), "large {needle}");
        }
    }
    let header =
        |needle: &str, name: &[u8]| Matcher::new(needle).matches_header(name, &summary, MESSAGE.as_bytes());
    assert!(header("grüße", b"subject") && header("", b"X-PLAIN") && header("CROSS", b"x-plain"));
    assert!(!header("zebra", b"subject") && !header("", b"x-none"));
}

/// A needle that lies across the pieces in which a large message is read.
#[test]
fn across_pieces() {
    for encoding in ["7bit", "base64"] {
        for filler in [65_500, 65_530, 131_040] {
            let text = format!("{}Needle", "x".repeat(filler));
            let body = if encoding == "base64" { base64(text.as_bytes()) } else { text };
            let message = format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{body}");
            let stored = scan(message.as_bytes(), Limits::stored()).encode();
            let summary = SummaryRef::new(&stored).unwrap();
            let mut largest = 0;
            let read = |r: std::ops::Range<u64>| {
                largest = largest.max(r.end - r.start);
                Ok::<_, ()>(message.as_bytes()[r.start as usize..r.end as usize].to_vec())
            };
            assert_eq!(
                Matcher::new("xneedle").matches_large(&summary, false, read),
                Ok(true),
                "{encoding} {filler}"
            );
            assert!(largest <= 64 * 1024);
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|c| {
            let n = c.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - c.len()));
            (0..=c.len()).map(move |i| char::from(alphabet[(n >> (18 - 6 * i) & 63) as usize]))
        })
        .collect()
}

#[test]
fn finds_at_every_place() {
    for length in 1..70 {
        for at in 0..length {
            let mut text = vec![b'.'; length];
            text[at] = b'q';
            let text = String::from_utf8(text).unwrap();
            assert!(Matcher::new("Q").matches_str(&text), "{length} {at}");
            if at + 1 < length {
                assert!(Matcher::new("Q.").matches_str(&text));
            }
            assert!(!Matcher::new("qq").matches_str(&text));
        }
    }
}
