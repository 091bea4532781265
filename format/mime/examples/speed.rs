//! Prints how fast the room is, in release: `cargo run --release -p waypost-mime --example speed`.

use std::hint::black_box;
use std::time::Instant;
use waypost_mime::text::Matcher;
use waypost_mime::{Limits, Scanner, SummaryRef, scan};

fn main() {
    let line = b"The quick brown fox jumps over the lazy dog and then some more, until here.\r\n";
    let body = line.repeat(800_000);
    let plain = [&b"Subject: x\r\n\r\n"[..], &body].concat();
    rate("scan a plain body", &plain);
    let head = &b"Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\n\r\n"[..];
    rate("scan within a multipart", &[head, &body, b"\r\n--=_b--\r\n"].concat());
    rate(
        "scan lines of a diff within a multipart",
        &[head, &b"-- a\r\n--- b\r\n+ c\r\n".repeat(1_000_000)].concat(),
    );

    let text = line.repeat(50);
    let message = [
        &b"Received: from a.example by b.example with ESMTPS id 12345; Tue, 3 Mar 2026 08:15:20 +0000\r\n\
        From: Ada Lovelace <ada@contoso.test>\r\nTo: Charles Babbage <charles@fabrikam.test>, grace@contoso.test\r\n\
        Subject: Re: The engine, once more\r\nDate: Tue, 3 Mar 2026 08:15:20 +0000\r\n\
        Message-ID: <20260303081520.1234@contoso.test>\r\nIn-Reply-To: <20260302081520.1233@fabrikam.test>\r\n\
        References: <20260301081520.1232@contoso.test> <20260302081520.1233@fabrikam.test>\r\n\
        MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"[..],
        &text,
    ]
    .concat();
    let count = 100_000;
    let stored = scan(&message, Limits::stored()).encode();
    println!("summary of a {} byte message: {} bytes", message.len(), stored.len());
    each("scan and encode", count, || _ = black_box(scan(&message, Limits::stored()).encode()));
    let mut out = Vec::with_capacity(4096);
    each("SummaryRef and copy of ENVELOPE and BODYSTRUCTURE", count, || {
        let summary = SummaryRef::new(&stored).expect("our own encoding");
        out.clear();
        out.extend_from_slice(summary.envelope(false));
        out.extend_from_slice(summary.body_structure(false));
        black_box(&out);
    });
    for needle in ["xylophone", "needle", "é"] {
        let matcher = Matcher::new(needle);
        let summary = SummaryRef::new(&stored).expect("our own encoding");
        each(&format!("SEARCH BODY {needle}"), count, || {
            _ = black_box(matcher.matches_body(&summary, &message))
        });
        each(&format!("SEARCH TEXT {needle}"), count, || {
            _ = black_box(matcher.matches_text(&summary, &message))
        });
    }
    let eight = [&message[..], "café\r\n".as_bytes()].concat();
    let kept = scan(&eight, Limits::stored()).encode();
    let summary = SummaryRef::new(&kept).expect("our own encoding");
    let matcher = Matcher::new("needle");
    each("SEARCH TEXT with one 8-bit word", 20_000, || _ = black_box(matcher.matches_text(&summary, &eight)));
    threads();
}

fn threads() {
    use waypost_mime::thread::{self, Record};
    let ids: Vec<String> = (0..100_000).map(|i| format!("{i}.20260303081520@contoso.test")).collect();
    let subjects: Vec<String> = (0..20_000).map(|i| format!("Subject number {i}")).collect();
    let records: Vec<Record<'_>> = (0..100_000usize)
        .map(|i| Record {
            id: i as u32 + 1,
            sent: waypost_base::Timestamp(i as i64),
            message_id: &ids[i],
            references: (1..=(i % 5)).rev().map(|back| ids[i - back].as_str()).collect(),
            base_subject: &subjects[i / 5],
            reply: i % 5 > 0,
        })
        .collect();
    let mut out = Vec::new();
    each("THREAD=REFERENCES of 100 000", 1, || thread::write(&thread::references(&records), &mut out));
    each("THREAD=ORDEREDSUBJECT of 100 000", 1, || {
        thread::write(&thread::ordered_subject(&records), &mut out)
    });
    black_box(out);
}

fn rate(what: &str, message: &[u8]) {
    let start = Instant::now();
    let mut scanner = Scanner::new(Limits::stored());
    message.chunks(64 * 1024).for_each(|piece| scanner.feed(piece));
    black_box(scanner.finish());
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {:.0} MB/s", message.len() as f64 / seconds / 1e6);
}

fn each(what: &str, count: u32, mut work: impl FnMut()) {
    let start = Instant::now();
    (0..count).for_each(|_| work());
    println!("{what}: {:.2} us", start.elapsed().as_secs_f64() * 1e6 / f64::from(count));
}
