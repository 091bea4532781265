//! ENVELOPE, BODY and BODYSTRUCTURE, and sections, against tables. Messages here are written with bare LF and get CRLF.

use std::convert::Infallible;
use std::ops::Range;
use waypost_mime::section::{self, BinaryError, Section, What};
use waypost_mime::{Limits, Summary, SummaryRef, scan};

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn of(text: &str) -> Summary {
    scan(&crlf(text), Limits::stored())
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn body(summary: &Summary) -> String {
    let stored = summary.encode();
    let mut out = Vec::new();
    SummaryRef::new(&stored).expect("our own").write_body(false, &mut out);
    show(&out)
}

/// The message of RFC 9051 §8.
const SAMPLE: &str = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
From: Terry Gray <gray@cac.washington.edu>
Subject: IMAP4rev2 WG mtg summary and minutes
To: imap@cac.washington.edu
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
Message-Id: <B27397-0100000@cac.washington.ed>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

";

#[test]
fn rfc_9051_envelope_and_body() {
    let text = format!("{SAMPLE}{}", "0123456789012345678901234567890\n".repeat(92));
    let summary = of(&text);
    assert_eq!(
        show(&summary.envelope),
        "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) \
         ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
         \"<B27397-0100000@cac.washington.ed>\")"
    );
    assert_eq!(summary.envelope_utf8, None);
    assert_eq!(body(&summary), "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3036 92)");
    assert_eq!(
        show(&summary.structure.bytes),
        "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3036 92 NIL NIL NIL NIL)"
    );
    assert_eq!(summary.message_id, "B27397-0100000@cac.washington.ed");
    assert_eq!(summary.cc.text, "minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>");
    let size = summary.encode().len();
    assert!(size < 900, "{size}");
}

/// The shape of RFC 9051 §6.4.5.1, with a digest and an empty multipart besides.
const NESTED: &str = "From: a@b.example
Subject: nested
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=\"outer\"

preamble
--outer
Content-Type: text/plain; charset=utf-8

first
--outer
Content-Type: application/octet-stream; name=x.bin
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename=x.bin

AAECAw==
--outer
Content-Type: message/rfc822

From: c@d.example
Subject: inner
Content-Type: multipart/mixed; boundary=inner

--inner
Content-ID: <part1@x>
Content-Description: a note
Content-Language: en, de

note
--inner
Content-Type: text/html

<p>html
--inner--
inner epilogue
--outer
Content-Type: multipart/mixed; boundary=third

--third
Content-Type: image/gif

GIF
--third
Content-Type: message/rfc822

Subject: innermost
Content-Type: multipart/alternative; boundary=alt

--alt
Content-Type: text/plain

plain
--alt
Content-Type: text/richtext

rich

--alt--
--third--
--outer--
epilogue
";

#[test]
fn nested_structure() {
    let summary = of(NESTED);
    assert_eq!(
        show(&summary.structure.bytes),
        "((\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"7BIT\" 5 0 NIL NIL NIL NIL)\
         (\"application\" \"octet-stream\" (\"name\" \"x.bin\") NIL NIL \"base64\" 8 NIL (\"attachment\" (\"filename\" \"x.bin\")) NIL NIL)\
         (\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 249 \
         (NIL \"inner\" ((NIL NIL \"c\" \"d.example\")) ((NIL NIL \"c\" \"d.example\")) ((NIL NIL \"c\" \"d.example\")) NIL NIL NIL NIL NIL) \
         ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") \"<part1@x>\" \"a note\" \"7BIT\" 4 0 NIL NIL (\"en\" \"de\") NIL)\
         (\"text\" \"html\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 7 0 NIL NIL NIL NIL) \
         \"mixed\" (\"boundary\" \"inner\") NIL NIL NIL) 15 NIL NIL NIL NIL)\
         ((\"image\" \"gif\" NIL NIL NIL \"7BIT\" 3 NIL NIL NIL NIL)\
         (\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 168 \
         (NIL \"innermost\" NIL NIL NIL NIL NIL NIL NIL NIL) \
         ((\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5 0 NIL NIL NIL NIL)\
         (\"text\" \"richtext\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 6 1 NIL NIL NIL NIL) \
         \"alternative\" (\"boundary\" \"alt\") NIL NIL NIL) 12 NIL NIL NIL NIL) \
         \"mixed\" (\"boundary\" \"third\") NIL NIL NIL) \
         \"mixed\" (\"boundary\" \"outer\") NIL NIL NIL)"
    );
    assert!(summary.facts.attachments());
    assert_eq!(summary.preview, "first");
    assert!(body(&summary).ends_with("\"alternative\") 12) \"mixed\") \"mixed\")"), "{}", body(&summary));
}

fn section_text(text: &str, path: &[u32], what: What<'_>) -> Option<String> {
    let message = crlf(text);
    let stored = scan(&message, Limits::stored()).encode();
    let summary = SummaryRef::new(&stored).expect("our own");
    let read = |r: Range<u64>| Ok::<_, Infallible>(message[r.start as usize..r.end as usize].to_vec());
    let Ok(ranges) = section::ranges(&summary, Section { path, what }, read);
    let ranges = ranges?;
    let bytes: Vec<u8> =
        ranges.iter().flat_map(|r| message[r.start as usize..r.end as usize].to_vec()).collect();
    Some(show(&bytes).replace("\r\n", "\n"))
}

#[test]
fn sections() {
    let get = |path: &[u32], what| section_text(NESTED, path, what);
    let some = |s: &str| Some(s.to_string());
    assert_eq!(get(&[], What::All).unwrap(), NESTED);
    assert_eq!(get(&[], What::Header).unwrap() + &get(&[], What::Text).unwrap(), NESTED);
    assert_eq!(get(&[], What::Fields(&[b"SUBJECT", b"x"])), some("Subject: nested\n\n"));
    assert_eq!(
        get(&[], What::FieldsNot(&[b"content-type", b"from"])),
        some("Subject: nested\nMIME-Version: 1.0\n\n")
    );
    assert_eq!(get(&[1], What::All), some("first"));
    assert_eq!(get(&[1], What::Mime), some("Content-Type: text/plain; charset=utf-8\n\n"));
    assert_eq!(get(&[1], What::Text), None);
    assert_eq!(get(&[1], What::Header), None);
    assert_eq!(get(&[1, 1], What::All), None);
    assert_eq!(get(&[2], What::All), some("AAECAw=="));
    assert_eq!(get(&[3], What::Mime), some("Content-Type: message/rfc822\n\n"));
    assert_eq!(
        get(&[3], What::Header),
        some("From: c@d.example\nSubject: inner\nContent-Type: multipart/mixed; boundary=inner\n\n")
    );
    assert_eq!(get(&[3], What::Fields(&[b"subject"])), some("Subject: inner\n\n"));
    assert_eq!(
        get(&[3], What::FieldsNot(&[b"subject"])),
        some("From: c@d.example\nContent-Type: multipart/mixed; boundary=inner\n\n")
    );
    assert!(get(&[3], What::Text).unwrap().starts_with("--inner\n"));
    assert!(get(&[3], What::Text).unwrap().ends_with("inner epilogue"));
    assert_eq!(get(&[3, 1], What::All), some("note"));
    assert_eq!(get(&[3, 2], What::Mime), some("Content-Type: text/html\n\n"));
    assert_eq!(get(&[4, 1], What::All), some("GIF"));
    assert_eq!(
        get(&[4, 2], What::Header),
        some("Subject: innermost\nContent-Type: multipart/alternative; boundary=alt\n\n")
    );
    assert_eq!(get(&[4, 2, 1], What::All), some("plain"));
    assert_eq!(get(&[4, 2, 2], What::All), some("rich\n"));
    for path in [&[0][..], &[5], &[4, 3], &[4, 2, 3], &[1, 2], &[u32::MAX]] {
        assert_eq!(get(path, What::All), None, "{path:?}");
    }
    // A message that is no multipart has part 1.
    let get = |path: &[u32], what| section_text("Subject: s\n\nbody\n", path, what);
    assert_eq!(get(&[1], What::All), some("body\n"));
    assert_eq!(get(&[1], What::Mime), some("Subject: s\n\n"));
    assert_eq!(get(&[1, 1], What::All), None);
    assert_eq!(get(&[2], What::All), None);
    // A message whose body is a message.
    let within = "Content-Type: message/rfc822\n\nSubject: in\n\nbody\n";
    let get = |path: &[u32], what| section_text(within, path, what);
    assert_eq!(get(&[1], What::Header), some("Subject: in\n\n"));
    assert_eq!(get(&[1], What::Text), some("body\n"));
    assert_eq!(get(&[1, 1], What::All), some("body\n"));
    assert_eq!(get(&[1, 1], What::Mime), some("Subject: in\n\n"));
    assert_eq!(get(&[1, 1, 1], What::All), None);
    assert_eq!(get(&[2], What::All), None);
}

#[test]
fn partials() {
    let ranges = [10..14, 20..22];
    assert_eq!(section::partial(&ranges, 0, 100), [10..14, 20..22]);
    assert_eq!(section::partial(&ranges, 2, 3), [12..14, 20..21]);
    assert_eq!(section::partial(&ranges, 4, 1).first(), Some(&(20..21)));
    assert_eq!(section::partial(&ranges, 6, 1), []);
    assert_eq!(section::partial(&ranges, u64::MAX, u64::MAX), []);
    assert_eq!(section::size(&ranges), 6);
}

#[test]
fn binary() {
    let text = "Content-Type: multipart/mixed; boundary=b

--b
Content-Transfer-Encoding: base64

aGVsbG8g
d29ybGQ=
--b
Content-Transfer-Encoding: quoted-printable

caf=C3=A9 =
x
--b
Content-Transfer-Encoding: x-uuencode

begin
--b--
";
    let message = crlf(text);
    let stored = scan(&message, Limits::stored()).encode();
    let summary = SummaryRef::new(&stored).unwrap();
    let read = |r: Range<u64>| Ok::<_, Infallible>(message[r.start as usize..r.end as usize].to_vec());
    assert_eq!(section::binary(&summary, &[1], None, read).unwrap(), b"hello world");
    assert_eq!(section::binary(&summary, &[1], Some((4, 3)), read).unwrap(), b"o w");
    assert_eq!(section::binary(&summary, &[1], Some((40, 3)), read).unwrap(), b"");
    assert_eq!(section::binary_size(&summary, &[1], read), Ok(11));
    assert_eq!(section::binary(&summary, &[2], None, read).unwrap(), "café x".as_bytes());
    assert_eq!(section::binary(&summary, &[3], None, read), Err(BinaryError::UnknownCte));
    assert_eq!(section::binary(&summary, &[4], None, read), Err(BinaryError::NoPart));
    assert_eq!(section::binary(&summary, &[], None, read).unwrap(), message);
}

/// Structures of damaged or unusual messages, without extension data.
#[test]
fn damaged_structures() {
    let empty_part = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0)";
    let cases: [(&str, &str, String); 13] = [
        ("nothing", "", "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0)".into()),
        ("no blank line", "Subject: x", "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0)".into()),
        ("no header", "\nbody\n", "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 6 1)".into()),
        (
            "multipart without boundary",
            "Content-Type: multipart/mixed\n\n--x\n",
            "(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"7BIT\" 5)".into(),
        ),
        (
            "multipart whose boundary never comes",
            "Content-Type: multipart/mixed; boundary=x\n\ntext\n",
            format!("({empty_part} \"mixed\")"),
        ),
        (
            "no closing delimiter",
            "Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x\n\ntwo\n",
            "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0)(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5 1) \"mixed\")".into(),
        ),
        (
            "the outer boundary ends the inner multipart",
            "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=xy\n\n--xy\n\none\n--x\n\ntwo\n--x--\n--xy\n",
            "(((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0) \"mixed\")(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0) \"mixed\")".into(),
        ),
        (
            "the same boundary twice",
            "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n--x\n\ntwo\n--x--\n",
            "(((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0) \"mixed\")(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0) \"mixed\")".into(),
        ),
        (
            "a delimiter in a header, and padding after one",
            "Content-Type: multipart/mixed; boundary=x\n\n--x \t\nContent-Type: text/html\n--x\n--x--  \n--x\n",
            format!("((\"text\" \"html\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0){empty_part} \"mixed\")"),
        ),
        (
            "a digest",
            "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\nbody\n--x\nContent-Type: text/plain\n\nno\n--x--\n",
            "((\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 18 (NIL \"a\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 4 0) 2)(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 2 0) \"digest\")".into(),
        ),
        (
            "types that are none",
            "Content-Type: text\nContent-Transfer-Encoding:\n\nx",
            "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1 0)".into(),
        ),
        (
            "quoting",
            "Content-Type: image/x; name=\"a\\\"b\\\\c\"\nContent-Transfer-Encoding: 8BIT (really)\n\nx",
            "(\"image\" \"x\" (\"name\" \"a\\\"b\\\\c\") NIL NIL \"8BIT\" 1)".into(),
        ),
        (
            "continued parameters",
            "Content-Type: image/x; name*0*=utf-8''%C3%A9; name*1=\" b\"\n\nx",
            "(\"image\" \"x\" (\"name*\" \"utf-8''%C3%A9%20b\") NIL NIL \"7BIT\" 1)".into(),
        ),
    ];
    for (name, text, want) in cases {
        assert_eq!(body(&of(text)), want, "{name}");
    }
}

#[test]
fn bare_line_feeds() {
    let message =
        "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n\n--b\n\ntwo\n--b--\n";
    let summary = scan(message.as_bytes(), Limits::stored());
    assert_eq!(summary.subject, "x");
    let texts: Vec<&str> =
        summary.parts[1..].iter().map(|p| &message[p.body.start as usize..p.body.end as usize]).collect();
    assert_eq!(texts, ["one\n", "two"]);
}

#[test]
fn envelopes() {
    let nil = "NIL NIL NIL NIL NIL NIL NIL NIL";
    let cases: [(&str, String); 9] = [
        ("\n", format!("(NIL NIL {nil})")),
        ("Date:\nSubject:\nFrom:\n\n", format!("(\"\" \"\" {nil})")),
        ("Subject: a\n  b\n\tc\n\n", format!("(NIL \"a  b\tc\" {nil})")),
        ("Subject: one\nSubject: two\n\n", format!("(NIL \"one\" {nil})")),
        ("Subject: =?utf-8?Q?=C3=A9?=\n\n", format!("(NIL \"=?utf-8?Q?=C3=A9?=\" {nil})")),
        ("Subject: a\\b \"c\"\n\n", format!("(NIL \"a\\\\b \\\"c\\\"\" {nil})")),
        (
            "To: G: a@b, C <c@d>;, root\nTo: e@f\n\n",
            "(NIL NIL NIL NIL NIL ((NIL NIL \"G\" NIL)(NIL NIL \"a\" \"b\")(\"C\" NIL \"c\" \"d\")(NIL NIL NIL NIL)\
             (NIL NIL \"root\" \"\")(NIL NIL \"e\" \"f\")) NIL NIL NIL NIL)"
                .into(),
        ),
        (
            "From: a@b\nSender: <c@d>\nReply-To: undisclosed:;\nIn-Reply-To: <x@y>\nMessage-ID:  <m@n> \n\n",
            "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) ((NIL NIL \"undisclosed\" NIL)(NIL NIL NIL NIL)) \
             NIL NIL NIL \"<x@y>\" \"<m@n>\")"
                .into(),
        ),
        ("From: <@r:a@b>\n\n", "(NIL NIL ((NIL \"@r\" \"a\" \"b\")) ((NIL \"@r\" \"a\" \"b\")) ((NIL \"@r\" \"a\" \"b\")) NIL NIL NIL NIL NIL)".into()),
    ];
    for (text, want) in cases {
        assert_eq!(show(&of(text).envelope), want, "{text}");
    }
}

#[test]
fn eight_bit_headers() {
    let summary = of("Subject: café\nContent-Type: image/x; name=\"é\"\n\nx");
    assert!(show(&summary.envelope).starts_with("(NIL {5}\r\ncafé NIL"));
    assert!(show(summary.envelope_utf8.as_ref().unwrap()).starts_with("(NIL \"café\" NIL"));
    assert!(show(&summary.structure.bytes).contains("(\"name\" {2}\r\né)"));
    assert!(show(&summary.structure_utf8.as_ref().unwrap().bytes).contains("(\"name\" \"é\")"));
    assert!(summary.facts.header_8bit());
    // Latin-1 and NUL bytes.
    let summary = scan(b"Subject: caf\xe9\0\r\n\r\n", Limits::stored());
    assert!(summary.envelope.starts_with(b"(NIL {4}\r\ncaf\xe9 NIL"));
    assert!(show(summary.envelope_utf8.as_ref().unwrap()).starts_with("(NIL \"café\" NIL"));
    assert!(summary.facts.has_nul());
    assert_eq!(summary.subject, "café");
}

#[test]
fn message_global_is_a_message_only_for_those_who_know_it() {
    let summary = of("Content-Type: message/global\n\nSubject: x\n\ny");
    assert_eq!(body(&summary), "(\"message\" \"global\" NIL NIL NIL \"7BIT\" 15)");
    assert!(show(&summary.structure_utf8.unwrap().bytes).contains("(NIL \"x\" NIL"));
}

#[test]
fn decoded_fields() {
    let summary =
        of("From: =?utf-8?Q?=C3=89ric?= <eric@x.example>\nTo: \"B, C\" <bc@y.example>, d@z.example\n\
        Subject: Re: [list] =?iso-8859-1?Q?caf=E9?= (fwd)\nDate: Tue, 3 Mar 2026 23:30:00 -0800\n\
        References: <1@a>\n <2@a>\nIn-Reply-To: <2@a>\nMessage-ID: <3@a>\n\nHello,\n\n  world.\n");
    assert_eq!(summary.from.text, "Éric <eric@x.example>");
    assert_eq!(summary.subject, "Re: [list] café (fwd)");
    assert_eq!(summary.base_subject, "café");
    assert!(summary.facts.reply());
    assert_eq!(summary.references, ["1@a", "2@a"]);
    assert_eq!(summary.in_reply_to, ["2@a"]);
    assert_eq!(summary.preview, "Hello, world.");
    let stored = summary.encode();
    let view = SummaryRef::new(&stored).unwrap();
    assert_eq!((view.from.mailbox, view.from.display), ("eric", "Éric"));
    assert_eq!((view.to.mailbox, view.to.display), ("bc", "B, C"));
    assert_eq!((view.message_id, view.base_subject), ("3@a", "café"));
    assert_eq!(view.thread_references(), ["1@a", "2@a"]);
    assert_eq!(view.date.unwrap().at.to_string(), "2026-03-04T07:30:00.000Z");
}

#[test]
fn previews() {
    for (text, want) in [
        ("Content-Type: text/html\n\n<style>x</style><p>Hello&nbsp;<b>you</b></p>", "Hello you"),
        ("Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\nY2Fmw6k=\n", "café"),
        ("Content-Type: image/png\n\nx", ""),
        (
            "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\nhtml\n--b\n\nplain\n--b--\n",
            "plain",
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment\n\nno\n--b\n\nyes\n--b--\n",
            "yes",
        ),
    ] {
        assert_eq!(of(text).preview, want, "{text}");
    }
    let long = of(&format!("\n{}", "é ".repeat(5000)));
    assert_eq!(long.preview.chars().count(), 199);
}

/// Too much of anything: the summary stays small, says so, and the full scan has it.
#[test]
fn too_much() {
    let mut parts = String::from("Content-Type: multipart/mixed; boundary=b\n\n");
    (0..3000)
        .for_each(|i| parts.push_str(&format!("--b\nContent-Type: image/png; name=picture-{i}.png\n\nx\n")));
    let recipients: Vec<String> =
        (0..3000).map(|i| format!("Some Body {i} <somebody{i}@host{i}.example>")).collect();
    let recipients = format!("To: {}\n\n", recipients.join(",\n "));
    let fields: String = (0..5000).map(|i| format!("X-Field-Number-{i}: x\n")).collect();
    let deep: String =
        (0..200).map(|i| format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n")).collect();
    let messages = "Content-Type: message/rfc822\n\n".repeat(300);
    let subject = format!("Subject: {}\n\n", "é".repeat(50_000));
    let references: String = (0..2000).map(|i| format!(" <{}{i}@x>\n", "r".repeat(400))).collect();
    let references = format!("References:{references}\n");
    type Told = fn(&Summary) -> bool;
    let cases: [(&str, &str, Told); 7] = [
        ("parts", &parts, |s| s.facts.structure_partial()),
        ("recipients", &recipients, |s| s.facts.envelope_partial() && s.facts.texts_partial()),
        ("fields", &fields, |s| s.facts.fields_partial()),
        ("depth", &deep, |s| s.facts.structure_partial()),
        ("messages", &messages, |s| s.facts.structure_partial()),
        ("subject", &subject, |s| s.facts.envelope_partial() && s.facts.texts_partial()),
        ("references", &references, |s| !s.reparse()),
    ];
    for (name, text, told) in cases {
        let message = crlf(text);
        let summary = scan(&message, Limits::stored());
        let size = summary.encode().len();
        assert!(size <= Limits::stored().summary_bytes, "{name}: {size}");
        assert!(told(&summary), "{name}: {:?}", summary.facts);
        waypost_mime::fuzz_one(&message);
    }
    let full = scan(&crlf(&parts), Limits::full());
    assert_eq!(full.parts.len(), 3001);
    assert!(!full.reparse());
    let full = scan(&crlf(&recipients), Limits::full());
    assert!(!full.reparse() && show(&full.envelope).contains("somebody2999"));
    let full = scan(&crlf(&deep), Limits::full());
    assert!(full.facts.structure_partial(), "even the full scan ends somewhere");
}

#[test]
fn damage_is_told() {
    let stored = of(NESTED).encode();
    for end in 0..stored.len() {
        assert!(Summary::decode(&stored[..end]).is_err(), "cut at {end}");
    }
    for at in 0..stored.len() {
        for bit in 0..8 {
            let mut damaged = stored.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(view) = SummaryRef::new(&damaged) {
                let _ = view.to_owned();
                let _ = (view.parts(), view.fields().count());
                view.write_body(true, &mut Vec::new());
            }
        }
    }
    let mut newer = stored;
    newer[0] = 9;
    assert_eq!(Summary::decode(&newer), Err(waypost_mime::DecodeError::Version(9)));
}
