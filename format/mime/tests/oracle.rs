//! What we render, read back by imap-codec as a client would.

use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::response::{Data, Response};
use proptest::prelude::*;
use std::path::Path;
use waypost_mime::{Limits, SummaryRef, scan};

/// Renders all items of a message for an IMAP4rev1 client and has them read.
fn reads(message: &[u8]) -> Result<(), String> {
    let stored = scan(message, Limits::stored()).encode();
    let summary = SummaryRef::new(&stored).map_err(|e| e.to_string())?;
    let mut body = Vec::new();
    summary.write_body(false, &mut body);
    let items: [(&str, &[u8]); 3] = [
        ("ENVELOPE", summary.envelope(false)),
        ("BODY", &body),
        ("BODYSTRUCTURE", summary.body_structure(false)),
    ];
    for (name, value) in items {
        let line = [format!("* 1 FETCH ({name} ").as_bytes(), value, b")\r\n"].concat();
        let shown = || format!("{name}: {}", String::from_utf8_lossy(&line));
        match ResponseCodec::default().decode(&line) {
            Ok((b"", Response::Data(Data::Fetch { .. }))) => {}
            other => return Err(format!("{} is {other:?}", shown())),
        }
    }
    Ok(())
}

#[test]
fn python_test_data() {
    let found = Path::new("/usr/lib").read_dir().into_iter().flatten().flatten().map(|e| e.path());
    let mut count = 0;
    for dir in found.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python3"))) {
        for file in dir.join("test/test_email/data").read_dir().into_iter().flatten().flatten() {
            if let Ok(bytes) = std::fs::read(file.path()) {
                count += 1;
                assert_eq!(reads(&bytes), Ok(()), "{}", file.path().display());
            }
        }
    }
    if count == 0 {
        println!("skipped: no test data; install libpython3.11-testsuite");
    }
}

const FIELDS: &[&str] = &[
    "From: Ada <ada@x.example>, \"B, C\" <bc@y.example>\r\n",
    "To: G: a@b, c;, root\r\n",
    "Cc: caf\u{e9} <c@d>\r\n",
    "Subject: caf\u{e9} \"quoted\\\" \0 text\r\n",
    "Date: now\r\nSender:\r\nReply-To: ,\r\n",
    "Message-ID: <a@b>\r\nIn-Reply-To: <c@d>\r\n",
    "Content-ID: <i@j>\r\nContent-Description: caf\u{e9}\r\nContent-MD5: x==\r\n",
    "Content-Language: en\r\nContent-Location: http://x.example\r\n",
    "Content-Language: en, de\r\n",
    "Content-Disposition: attachment\r\n",
    "Content-Disposition: inline; filename=\"caf\u{e9}.txt\"; size=3\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Transfer-Encoding: caf\u{e9}\r\n",
];

const TYPES: &[&str] = &[
    "",
    "Content-Type: text/plain\r\n",
    "Content-Type: text/html; charset=utf-8; format=flowed\r\n",
    "Content-Type: image/png; name=\"\u{e9}\"\r\n",
    "Content-Type: multipart/mixed; boundary=x\r\n",
    "Content-Type: multipart/digest; boundary=x\r\n",
    "Content-Type: multipart/mixed; boundary=y\r\n",
    "Content-Type: multipart/mixed\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Type: message/global\r\n",
    "Content-Type: message/delivery-status\r\n",
];

const LINES: &[&str] = &["text\r\n", "--x\r\n", "--y\r\n", "--y--\r\n", "--x--\r\n", "\r\n"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn generated(pieces in proptest::collection::vec((
        proptest::sample::select(TYPES),
        proptest::collection::vec(proptest::sample::select(FIELDS), 0..4),
        proptest::sample::select(LINES),
        proptest::sample::select(LINES),
    ), 0..10)) {
        let text: String = pieces.iter().map(|(kind, fields, a, b)| format!("{kind}{}\r\n{a}{b}", fields.concat())).collect();
        prop_assert_eq!(reads(text.as_bytes()), Ok(()));
    }
}
