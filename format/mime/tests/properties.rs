//! Properties that hold for any bytes and for generated messages, with mail-parser as a second opinion.

use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;
use waypost_mime::{Limits, PartKind, fuzz_one, scan};

/// A tree of parts to write a message of.
#[derive(Clone, Debug)]
enum Tree {
    Text(String),
    Binary(Vec<u8>),
    Multipart(Vec<Tree>),
    Message(Box<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        "[ -~]{0,40}(\r\n[ -~]{0,40}){0,3}".prop_map(Tree::Text),
        proptest::collection::vec(any::<u8>(), 0..60).prop_map(Tree::Binary),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Tree::Multipart),
            inner.prop_map(|t| Tree::Message(Box::new(t))),
        ]
    })
}

fn write(tree: &Tree, count: &mut u32, out: &mut Vec<u8>) {
    match tree {
        Tree::Text(text) => {
            out.extend_from_slice(b"Content-Type: text/plain; charset=us-ascii\r\n\r\n");
            // A line that begins like a delimiter is not one.
            out.extend_from_slice(text.as_bytes());
        }
        Tree::Binary(bytes) => {
            out.extend_from_slice(
                b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            );
            let hex: String = bytes.iter().map(|b| format!("{b:02x}AA")).collect();
            out.extend_from_slice(hex.as_bytes());
        }
        Tree::Multipart(children) => {
            *count += 1;
            let boundary = format!("=_{count}_");
            out.extend_from_slice(
                format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n").as_bytes(),
            );
            for child in children {
                out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                write(child, count, out);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        }
        Tree::Message(inner) => {
            out.extend_from_slice(
                b"Content-Type: message/rfc822\r\n\r\nFrom: a@b.example\r\nSubject: within\r\n",
            );
            write(inner, count, out);
        }
    }
}

fn shape(tree: &Tree, out: &mut Vec<&'static str>) {
    match tree {
        Tree::Text(_) => out.push("text"),
        Tree::Binary(_) => out.push("binary"),
        Tree::Multipart(children) => {
            out.push("(");
            children.iter().for_each(|c| shape(c, out));
            out.push(")");
        }
        Tree::Message(inner) => {
            out.push("message");
            shape(inner, out);
        }
    }
}

fn found_shape(summary: &waypost_mime::Summary, index: usize, out: &mut Vec<&'static str>) {
    let part = &summary.parts[index];
    let children: Vec<usize> =
        (0..summary.parts.len()).filter(|i| summary.parts[*i].parent == Some(index as u32)).collect();
    match part.kind {
        PartKind::Leaf if part.media.starts_with("text/") => out.push("text"),
        PartKind::Leaf => out.push("binary"),
        PartKind::Multipart => {
            out.push("(");
            children.iter().for_each(|c| found_shape(summary, *c, out));
            out.push(")");
        }
        PartKind::Message => {
            out.push("message");
            children.iter().for_each(|c| found_shape(summary, *c, out));
        }
    }
}

const PIECES: &[&[u8]] = &[
    b"Content-Type: multipart/mixed; boundary=x\r\n",
    b"Content-Type: multipart/digest; boundary=\"x y\"\n",
    b"Content-Type: message/rfc822\r\n",
    b"Content-Type: text/html; charset=\"utf-8\"\r\n",
    b"Content-Type: message/global\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''%c3; filename*1*=%a9\r\n",
    b"--x\r\n",
    b"--x--\r\n",
    b"--x y\n",
    b"--x y--\n",
    b"--",
    b"-",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\0",
    b"\xe9",
    b"From: \xc3\xa9 <a@b>, G: c@d;\r\n",
    b"Subject: Re: =?utf-8?Q?=C3?=\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n",
    b"Zebra=\r\n",
    b"References: <a@b> <c@d>\r\n",
    b"<p>&amp;zebra</p>",
    b"Date: 1 Jan 2020 00:00 +9999\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_tree_is_found(tree in tree()) {
        let mut message = b"From: Writer <writer@x.example>\r\nSubject: generated\r\nMIME-Version: 1.0\r\n".to_vec();
        write(&tree, &mut 0, &mut message);
        let summary = scan(&message, Limits::stored());
        let (mut want, mut found) = (Vec::new(), Vec::new());
        shape(&tree, &mut want);
        found_shape(&summary, 0, &mut found);
        prop_assert_eq!(want, found, "{}", String::from_utf8_lossy(&message));
        fuzz_one(&message);
    }

    /// Leaves are where mail-parser sees them. (It does not take messages within apart in the same table, so only others.)
    #[test]
    fn agrees_with_mail_parser(tree in tree().prop_filter("no messages within", |t| !has_message(t))) {
        let mut message = b"From: Writer <writer@x.example>\r\nSubject: generated\r\nMIME-Version: 1.0\r\n".to_vec();
        write(&tree, &mut 0, &mut message);
        let summary = scan(&message, Limits::stored());
        let theirs = MessageParser::default().parse(&message).expect("it has a header");
        let leaves: Vec<_> = summary.parts.iter().filter(|p| p.kind == PartKind::Leaf).collect();
        let others: Vec<_> = theirs.parts.iter().filter(|p| !matches!(p.body, PartType::Multipart(_))).collect();
        prop_assert_eq!(leaves.len(), others.len());
        for (ours, theirs) in leaves.iter().zip(&others) {
            prop_assert_eq!(ours.body.start, u64::from(theirs.offset_body));
            let kind = theirs.content_type().map(|c| format!("{}/{}", c.ctype(), c.subtype().unwrap_or_default()));
            prop_assert_eq!(Some(ours.media.clone()), kind);
        }
        prop_assert_eq!(theirs.subject(), Some(summary.subject.as_str()));
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_one(&bytes);
    }

    /// Pieces of mail put together at random find more than random bytes do.
    #[test]
    fn any_pieces_of_mail(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        fuzz_one(&pieces.concat());
    }
}

fn has_message(tree: &Tree) -> bool {
    match tree {
        Tree::Message(_) => true,
        Tree::Multipart(children) => children.iter().any(has_message),
        _ => false,
    }
}

#[test]
fn long_lines_and_boundary_like_lines() {
    for line in ["--x".repeat(400), "-".repeat(2000), format!("--x{}", " ".repeat(600)), "a".repeat(200_000)]
    {
        let message = format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n{line}\r\n{line}\r\n--x--\r\n{line}"
        );
        fuzz_one(message.as_bytes());
        let header = format!("{line}\r\nX-{line}: y\r\nSubject: s\r\n\r\nbody");
        fuzz_one(header.as_bytes());
        assert_eq!(scan(header.as_bytes(), Limits::stored()).subject, "s");
    }
}
