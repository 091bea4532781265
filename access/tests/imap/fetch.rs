//! FETCH, from rows, from summaries and from bodies.

use crate::world::{World, mail};

const NESTED: &str = "From: \"A. B.\" <a@contoso.test>\r\nTo: ben@fabrikam.test\r\nSubject: parts\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=sep\r\n\r\n--sep\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8gd29ybGQ=\r\n--sep\r\nContent-Type: message/rfc822\r\n\r\n\
Subject: inner\r\nX-Deep: yes\r\n\r\ninner text\r\n--sep--\r\n";

#[tokio::test(start_paused = true)]
async fn from_rows() {
    let world = World::new().await;
    world.fill(&[&mail("one"), &mail("two")]).await;
    let size = mail("one").len();
    let mut c = world.selected().await;
    c.talk(&format!(
        "C: a FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)
         S: * 1 FETCH (UID 1 FLAGS () INTERNALDATE \" 3-Mar-2026 08:15:20 +0000\" RFC822.SIZE {size})
         S: * 2 FETCH (UID 2 FLAGS () INTERNALDATE \" 3-Mar-2026 08:15:20 +0000\" RFC822.SIZE {size})
         S: a OK Fetched
         C: b FETCH 2:1 FAST
         S: * 1 FETCH (FLAGS () INTERNALDATE … RFC822.SIZE {size})
         S: * 2 FETCH (FLAGS () INTERNALDATE … RFC822.SIZE {size})
         S: b OK …
         C: c UID FETCH 2:* FLAGS
         S: * 2 FETCH (UID 2 FLAGS ())
         S: c OK …
         C: d UID FETCH 100:* (UID)
         S: * 2 FETCH (UID 2)
         S: d OK …
         C: e UID FETCH 50:60 (FLAGS)
         S: e OK …
         C: f FETCH 3 FLAGS
         S: f BAD …
         C: g FETCH 1 (EMAILID THREADID SAVEDATE)
         S: * 1 FETCH (EMAILID (M…) THREADID (T…) SAVEDATE \" 3-Mar-2026 08:15:20 +0000\")
         S: g OK …"
    ))
    .await;
    let mut empty = world.anna().await;
    empty.ask("SELECT Drafts").await;
    empty.talk("C: a FETCH 1:* FLAGS\nS: a OK …\nC: b FETCH 1 FLAGS\nS: b BAD …\nC: c UID FETCH 1:* FLAGS\nS: c OK …").await;
}

#[tokio::test(start_paused = true)]
async fn from_summaries() {
    let world = World::new().await;
    world.fill(&[&mail("one"), NESTED]).await;
    let mut c = world.selected().await;
    c.talk(
        "C: a FETCH 1 (ENVELOPE PREVIEW)
         S: * 1 FETCH (ENVELOPE (\"Tue, 3 Mar 2026 08:00:00 +0000\" \"one\" ((\"Anna\" NIL \"anna\" \"contoso.test\")) ((\"Anna\" NIL \"anna\" \"contoso.test\")) ((\"Anna\" NIL \"anna\" \"contoso.test\")) ((NIL NIL \"ben\" \"fabrikam.test\")) NIL NIL NIL \"<one@contoso.test>\") PREVIEW \"Hello from one\")
         S: a OK …
         C: b FETCH 2 (BODY)
         S: * 2 FETCH (BODY ((\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"base64\" 16 …)(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" … \"mixed\"))
         S: b OK …
         C: c FETCH 2 BODYSTRUCTURE
         S: * 2 FETCH (BODYSTRUCTURE ((\"text\" \"plain\" …
         S: c OK …
         C: d FETCH 1 ALL
         S: * 1 FETCH (FLAGS () INTERNALDATE … RFC822.SIZE … ENVELOPE (…))
         S: d OK …
         C: e FETCH 1 FULL
         S: * 1 FETCH (FLAGS () INTERNALDATE … RFC822.SIZE … ENVELOPE (…) BODY (\"TEXT\" \"PLAIN\" …))
         S: e OK …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn sections() {
    let world = World::new().await;
    world.fill(&[NESTED]).await;
    let mut c = world.selected().await;
    c.talk(
        "C: a FETCH 1 (BODY.PEEK[HEADER.FIELDS (Subject From)])
         S: * 1 FETCH (BODY[HEADER.FIELDS (Subject From)] {50}
         S: From: \"A. B.\" <a@contoso.test>
         S: Subject: parts
         S:
         S: )
         S: a OK …
         C: b FETCH 1 (BODY.PEEK[1] BODY.PEEK[2.HEADER.FIELDS (X-Deep)] BODY.PEEK[2.TEXT]<0.5> BODY.PEEK[7])
         S: * 1 FETCH (BODY[1] {16}
         S: SGVsbG8gd29ybGQ= BODY[2.HEADER.FIELDS (X-Deep)] {15}
         S: X-Deep: yes
         S:
         S:  BODY[2.TEXT]<0> {5}
         S: inner BODY[7] NIL)
         S: b OK …
         C: c FETCH 1 (BODY.PEEK[1.MIME])
         S: * 1 FETCH (BODY[1.MIME] {…}
         S: Content-Type: text/plain; charset=utf-8
         S: Content-Transfer-Encoding: base64
         S:
         S: )
         S: c OK …
         C: d FETCH 1 (BODY.PEEK[]<100000.10>)
         S: * 1 FETCH (BODY[]<100000> {0}
         S: )
         S: d OK …
         C: e FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1] BINARY.PEEK[1]<6.100>)
         S: * 1 FETCH (BINARY[1] {11}
         S: Hello world BINARY.SIZE[1] 11 BINARY[1]<6> {5}
         S: world)
         S: e OK …
         C: f FETCH 1 RFC822.HEADER
         S: * 1 FETCH (RFC822.HEADER {…}",
    )
    .await;
    c.until("f OK").await;
    let lines = c.ask("FETCH 1 FLAGS").await;
    assert_eq!(lines[0], "* 1 FETCH (FLAGS ())");
}

#[tokio::test(start_paused = true)]
async fn reading_marks_as_read() {
    let world = World::new().await;
    world.fill(&[&mail("one"), &mail("two"), &mail("three")]).await;
    let mut c = world.selected().await;
    let mut other = world.selected().await;
    let lines = c.ask("FETCH 1 BODY[TEXT]").await;
    assert_eq!(lines[0], "* 1 FETCH (BODY[TEXT] {16}");
    assert_eq!(lines[2], " FLAGS (\\Seen))");
    let lines = c.ask("FETCH 2 (FLAGS BODY[])").await;
    assert!(lines[0].starts_with("* 2 FETCH (FLAGS (\\Seen) BODY[] {"), "{lines:?}");
    other.talk("C: a NOOP\nS: * 1 FETCH (FLAGS (\\Seen))\nS: * 2 FETCH (FLAGS (\\Seen))\nS: a OK …").await;
    c.ask("EXAMINE INBOX").await;
    let lines = c.ask("FETCH 3 (FLAGS BODY[])").await;
    assert!(lines[0].starts_with("* 3 FETCH (FLAGS () BODY[] {"), "{lines:?}");
    // A store that cannot be written does not keep anybody from reading.
    other.ask("NOOP").await;
    world.model.set_read_only(Some("an fsync failed"));
    let lines = other.ask("FETCH 3 (FLAGS BODY[])").await;
    assert!(lines[0].starts_with("* 3 FETCH (FLAGS () BODY[] {"), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("x OK"));
}

#[tokio::test(start_paused = true)]
async fn many_pages() {
    let world = World::new().await;
    let texts: Vec<String> = (0..300).map(|n| mail(&format!("number {n}"))).collect();
    let mut c = world.anna().await;
    let mut all = String::from("m APPEND INBOX");
    for text in &texts {
        all.push_str(&format!(" {{{}+}}\r\n{text}", text.len()));
    }
    all.push_str("\r\n");
    c.send(&all).await;
    c.until("m OK [APPENDUID").await;
    c.ask("SELECT INBOX").await;
    let lines = c.ask("FETCH 1:* (UID BODY.PEEK[])").await;
    let heads = lines.iter().filter(|l| l.contains("FETCH (UID")).count();
    assert_eq!(heads, 300);
    for n in 0..300 {
        assert!(lines.contains(&format!("Subject: number {n}")));
    }
    let lines = c.ask("FETCH 1:* (ENVELOPE)").await;
    assert_eq!(lines.len(), 301);
    assert!(lines[299].contains("\"number 299\""));
    let lines = c.ask("FETCH 1:* (FLAGS BODY[])").await;
    assert_eq!(lines.iter().filter(|l| l.contains("FLAGS (\\Seen) BODY[] {")).count(), 300);
}
