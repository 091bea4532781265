//! Conversations. `C:` is what the peer sends (CRLF is added; `\r`, `\n` and `\\` are escapes, a `\` at the end
//! keeps the CRLF off), `S:` what it must hear, `*:` what else comes out of the session. Each is held three ways: a line
//! at a time, an octet at a time, and, where nothing forbids it, all at once as PIPELINING allows.

use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_smtp::{
    Answer, AuthStep, BareEnds, Config, Flavour, Limits, Mechanism, Out, Question, Reply, Session, Status,
    Tls,
};

struct World {
    session: Session,
    buffer: Vec<u8>,
    heard: String,
    body: Vec<u8>,
    recipients: Vec<String>,
    now: Timestamp,
    quiet: bool,
}

impl World {
    fn new(config: Config) -> World {
        let now = Timestamp(0);
        let session = Session::new(Arc::new(config), None, now);
        let mut world = World {
            session,
            buffer: Vec::new(),
            heard: String::new(),
            body: Vec::new(),
            recipients: Vec::new(),
            now,
            quiet: false,
        };
        world.drain(&[]);
        world
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        loop {
            let buffer = std::mem::take(&mut self.buffer);
            let used = self.session.input(self.now, &buffer);
            self.drain(&buffer);
            self.buffer = buffer[used..].to_vec();
            if used == 0 {
                return;
            }
        }
    }

    fn event(&mut self, text: &str) {
        if !self.quiet {
            self.heard.push_str(&format!("*: {text}\n"));
        }
    }

    fn drain(&mut self, buffer: &[u8]) {
        while let Some(out) = self.session.poll(self.now) {
            match out {
                Out::Send(bytes) => {
                    let text = String::from_utf8(bytes).expect("replies are UTF-8");
                    for line in text.strip_suffix("\r\n").expect("replies end with CRLF").split("\r\n") {
                        self.heard.push_str(&format!("S: {line}\n"));
                    }
                }
                Out::Ask(id, question) => {
                    let answer = self.answer(question);
                    self.session.reply(self.now, id, answer);
                }
                Out::Body(range) => self.body.extend_from_slice(&buffer[range]),
                Out::Heard { line, secret } => {
                    let line = &buffer[line];
                    if let Some(at) = secret {
                        let shown = String::from_utf8_lossy(&line[..at]).into_owned();
                        self.event(&format!("secret behind {shown:?}"));
                    }
                }
                Out::Reset => {
                    self.body.clear();
                    self.event("reset");
                }
                Out::StartTls => {
                    self.event("starttls");
                    self.session.tls_started(self.now, Tls { binding: true });
                }
                Out::WakeAt(_) => {}
                Out::Close => self.event("close"),
            }
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Mail { from, params } => {
                self.recipients.clear();
                self.event(&format!(
                    "mail {} {params:?}",
                    from.as_ref().map_or("<>".to_owned(), ToString::to_string)
                ));
                match from {
                    Some(f) if f.local == "refused" => {
                        Answer::Refuse(Reply::new(550, Status(5, 7, 1), "Not you"))
                    }
                    _ => Answer::Ok,
                }
            }
            Question::Rcpt { to, params } => {
                if params.notify.is_some() || params.orcpt.is_some() {
                    self.event(&format!("rcpt {to} {params:?}"));
                }
                match to.local.as_str() {
                    "nobody" => Answer::Refuse(Reply::new(550, Status(5, 1, 1), "No such recipient")),
                    "full" => Answer::Refuse(Reply::new(452, Status(4, 2, 2), "Quota is used up")),
                    local => {
                        self.recipients.push(local.to_owned());
                        Answer::Ok
                    }
                }
            }
            Question::Begin => {
                self.body.clear();
                Answer::Ok
            }
            Question::Finish { size } => {
                assert_eq!(size, self.body.len() as u64);
                let body = String::from_utf8_lossy(&self.body).into_owned();
                self.event(&format!("message {body:?}"));
                Answer::Each(
                    self.recipients
                        .iter()
                        .map(|name| match name.as_str() {
                            "late" => Reply::new(452, Status(4, 2, 2), "Quota is used up"),
                            name => Reply::with(250, Status(2, 1, 5), format!("{name} has it")),
                        })
                        .collect(),
                )
                .or_plain(self.recipients.is_empty() || self.session.helo().is_none_or(|h| h.0 != "lmtp"))
            }
            Question::Auth(AuthStep::Start { mechanism, initial: None }) => {
                self.event(&format!("auth {mechanism}"));
                Answer::Challenge(b"go on".to_vec())
            }
            Question::Auth(AuthStep::Start { initial: Some(bytes), .. } | AuthStep::Next(bytes)) => {
                match &bytes[..] {
                    b"right" => Answer::SignedIn("ann".to_owned()),
                    b"later" => Answer::Refuse(Reply::new(454, Status(4, 7, 0), "Try later")),
                    _ => Answer::Refuse(Reply::new(535, Status(5, 7, 8), "Wrong")),
                }
            }
            Question::Why(id) if id == "mine@x" => {
                Answer::Accept(Reply::new(250, Status(2, 0, 0), "Message <mine@x>\nIt is in the mailbox."))
            }
            Question::Verify(_) | Question::Expand(_) | Question::Why(_) => Answer::Ok,
        }
    }
}

trait OrPlain {
    fn or_plain(self, plain: bool) -> Answer;
}

impl OrPlain for Answer {
    fn or_plain(self, plain: bool) -> Answer {
        if plain { Answer::Ok } else { self }
    }
}

fn unescape(line: &str) -> Vec<u8> {
    let (line, end) = match line.strip_suffix('\\') {
        Some(line) if !line.ends_with('\\') => (line, ""),
        _ => (line, "\r\n"),
    };
    let text = line.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0").replace("\\\\", "\\");
    format!("{text}{end}").into_bytes()
}

fn talk(config: &Config, script: &str) {
    let lines: Vec<&str> = script.lines().map(str::trim_start).filter(|l| !l.is_empty()).collect();
    let expected: String =
        lines.iter().filter(|l| !l.starts_with("C:")).map(|l| format!("{}\n", l.trim_end())).collect();
    let said =
        |line: &&str| line.strip_prefix("C:").map(|rest| unescape(rest.strip_prefix(' ').unwrap_or(rest)));
    let check = |heard: &str, how: &str| {
        let heard: String = heard.lines().map(|l| format!("{}\n", l.trim_end())).collect();
        assert!(heard == expected, "{how}\n--- wanted\n{expected}--- heard\n{heard}");
    };
    for octets in [false, true] {
        let mut world = World::new(config.clone());
        let mut so_far = String::new();
        for line in &lines {
            if let Some(bytes) = said(line) {
                if octets {
                    bytes.iter().for_each(|b| world.feed(std::slice::from_ref(b)));
                } else {
                    let heard: String = world.heard.lines().map(|l| format!("{}\n", l.trim_end())).collect();
                    assert!(heard == so_far, "before {line}\n--- wanted\n{so_far}--- heard\n{heard}");
                    world.feed(&bytes);
                }
            } else {
                so_far.push_str(&format!("{}\n", line.trim_end()));
            }
        }
        check(&world.heard, if octets { "octet by octet" } else { "line by line" });
    }
    if !script.contains("starttls") {
        let mut world = World::new(config.clone());
        world.feed(&lines.iter().filter_map(said).collect::<Vec<_>>().concat());
        check(&world.heard, "all at once");
    }
}

fn smtp() -> Config {
    let mut config = Config::new(Flavour::Smtp, "mx.test");
    config.limits.message = 1000;
    config.limits.errors = 100;
    config
}

const PLAIN: &str =
    "MailParams { size: 0, body: SevenBit, utf8: false, ret: None, envid: None, auth: None, inner: None }";

fn with_plain(script: &str) -> String {
    script.replace("{plain}", PLAIN)
}

#[test]
fn a_message() {
    talk(
        &smtp(),
        &with_plain(
            r#"
        S: 220 mx.test ESMTP Waypost
        C: EHLO there.example
        S: 250-mx.test
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-ENHANCEDSTATUSCODES
        S: 250-CHUNKING
        S: 250-BINARYMIME
        S: 250-DSN
        S: 250-SIZE 1000
        S: 250-LIMITS MAILMAX=10000 RCPTMAX=1000
        S: 250-VRFY
        S: 250 HELP
        C: MAIL FROM:<a@b.example>
        *: mail a@b.example {plain}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<nobody@mx.test>
        S: 550 5.1.1 No such recipient
        C: RCPT TO:<ann@mx.test>
        S: 250 2.1.5 Recipient OK
        C: rcpt to:<Postmaster>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 Send the message, end with <CRLF>.<CRLF>
        C: Subject: x
        C:
        C: ..dot
        C: .
        *: message "Subject: x\r\n\r\n.dot\r\n"
        S: 250 2.0.0 Message accepted
        C: QUIT
        S: 221 2.0.0 Goodbye
        *: close
        C: NOOP
    "#,
        ),
    );
}

#[test]
fn helo_and_order() {
    talk(
        &smtp(),
        &with_plain(
            r#"
        S: 220 mx.test ESMTP Waypost
        C: MAIL FROM:<a@b>
        S: 503 5.5.1 Say hello first
        C: RCPT TO:<a@b>
        S: 503 5.5.1 MAIL comes first
        C: DATA
        S: 503 5.5.1 MAIL and RCPT come first
        C: HELO
        S: 501 5.5.4 Syntax error in parameters
        C: LHLO x
        S: 500 5.5.2 Command not recognised
        C: HELO x
        S: 250 mx.test
        C: MAIL FROM:<a@b> SIZE=3
        S: 555 5.5.4 Parameters need EHLO
        C: MAIL FROM:<>
        *: mail <> {plain}
        S: 250 2.1.0 Sender OK
        C: MAIL FROM:<>
        S: 503 5.5.1 A message is under way already
        C: DATA
        S: 503 5.5.1 MAIL and RCPT come first
        C: RCPT TO:<nobody@x>
        S: 550 5.1.1 No such recipient
        C: DATA
        S: 554 5.5.1 No valid recipients
        C: RCPT TO:<full@x>
        S: 452 4.2.2 Quota is used up
        C: RCPT TO:<a@x> NOTIFY=NEVER
        S: 555 5.5.4 Parameters need EHLO
        C: RCPT TO:<>
        S: 501 5.1.3 Bad recipient address, <user@domain> is wanted
        C: DATA x
        S: 501 5.5.4 This command has no parameters
        C: RSET
        *: reset
        S: 250 2.0.0 OK
        C: RSET x
        S: 501 5.5.4 This command has no parameters
        C: MAIL FROM:<refused@b>
        *: mail refused@b {plain}
        S: 550 5.7.1 Not you
        C: NOOP whatever
        S: 250 2.0.0 OK
        C: VRFY ann
        S: 252 2.5.2 Cannot verify, send some mail and see
        C: VRFY
        S: 501 5.5.4 Syntax error in parameters
        C: EXPN staff
        S: 252 2.5.1 Lists are not expanded here
        C: HELP
        S: 214-2.0.0 Commands:
        S: 214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY EXPN HELP STARTTLS AUTH QUIT
        C: TURN
        S: 502 5.5.1 Command not implemented
        C: WHATISTHIS
        S: 500 5.5.2 Command not recognised
        C:
        S: 500 5.5.2 Command not recognised
        C: STARTTLS
        S: 502 5.5.1 TLS is not available here
        C: AUTH PLAIN
        S: 502 5.5.1 Authentication is not available here
        C: GET / HTTP/1.1
        S: 421 5.5.1 This is not a web server
        *: close
    "#,
        ),
    );
}

const HELLO: &str = "
    S: 220 mx.test ESMTP Waypost
    C: EHLO x
    S: 250-mx.test
    S: 250-PIPELINING
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-ENHANCEDSTATUSCODES
    S: 250-CHUNKING
    S: 250-BINARYMIME
    S: 250-DSN
    S: 250-SIZE 1000
    S: 250-LIMITS MAILMAX=10000 RCPTMAX=1000
    S: 250-VRFY
    S: 250 HELP
";

fn after_hello(config: &Config, script: &str) {
    talk(config, &with_plain(&format!("{HELLO}{script}")));
}

#[test]
fn parameters() {
    after_hello(
        &smtp(),
        r#"
        C: MAIL FROM:<a@b> SIZE=1001
        S: 552 5.3.4 Message is larger than the 1000 octets allowed
        C: MAIL FROM:<a@b> SIZE=x
        S: 501 5.5.4 Syntax error in parameters
        C: MAIL FROM:<a@b> COLOUR=blue
        S: 555 5.5.4 Parameter COLOUR is not known here
        C: MAIL FROM:<a@b> BODY=9BIT
        S: 501 5.5.4 Syntax error in parameters
        C: MAIL FROM:a@b
        S: 501 5.1.7 Bad sender address, <user@domain> is wanted
        C: MAIL FROM:<é@b>
        S: 550 5.6.7 A sender address beyond ASCII needs SMTPUTF8
        C: MAIL FROM: <é@b> SMTPUTF8 size=10 body=8bitmime RET=HDRS ENVID=a+2Bb AUTH=<>
        *: mail é@b MailParams { size: 10, body: EightBit, utf8: true, ret: Some(Headers), envid: Some("a+b"), auth: Some(None), inner: None }
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<å@b> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2By@z
        *: rcpt å@b RcptParams { notify: Some(Notify { success: true, failure: true, delay: false }), orcpt: Some(OriginalRecipient { kind: "rfc822", address: "x+y@z" }), inner: None }
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS
        S: 501 5.5.4 Syntax error in parameters
        C: RCPT TO:<a@b> NOTIFY=DELAY,DELAY
        S: 501 5.5.4 Syntax error in parameters
        C: RCPT TO:<a@b> ORCPT=nothing
        S: 501 5.5.4 Syntax error in parameters
        C: RSET
        *: reset
        S: 250 2.0.0 OK
        C: MAIL FROM:<a@b> AUTH=ann+2B1@x.example
        *: mail a@b MailParams { size: 0, body: SevenBit, utf8: false, ret: None, envid: None, auth: Some(Some("ann+1@x.example")), inner: None }
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<å@b>
        S: 553 5.6.7 A recipient address beyond ASCII needs SMTPUTF8
    "#,
    );
}

#[test]
fn chunks() {
    after_hello(
        &smtp(),
        r#"
        C: BDAT 4
        C: abcd\
        S: 503 5.5.1 MAIL and RCPT come first
        C: MAIL FROM:<a@b> BODY=BINARYMIME
        *: mail a@b MailParams { size: 0, body: Binary, utf8: false, ret: None, envid: None, auth: None, inner: None }
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@b>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 503 5.5.1 BODY=BINARYMIME needs BDAT
        C: BDAT 6
        C: a\r.\r\nb\
        S: 250 2.0.0 6 octets received
        C: RCPT TO:<ann@b>
        S: 503 5.5.1 MAIL comes first
        C: DATA
        S: 503 5.5.1 BDAT has begun, DATA cannot follow
        C: BDAT 0 LAST
        *: message "a\r.\r\nb"
        S: 250 2.0.0 Message accepted
        C: MAIL FROM:<a@b>
        *: mail a@b {plain}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@b>
        S: 250 2.1.5 Recipient OK
        C: BDAT 5 last
        C: QUIT.\
        *: message "QUIT."
        S: 250 2.0.0 Message accepted
        C: MAIL FROM:<a@b>
        *: mail a@b {plain}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<nobody@b>
        S: 550 5.1.1 No such recipient
        C: BDAT 5 LAST
        C: QUIT.\
        S: 554 5.5.1 No valid recipients
        C: BDAT five
        *: reset
        S: 501 5.5.4 BDAT needs a size, and LAST or nothing
        *: close
    "#,
    );
}

#[test]
fn too_large() {
    let long = "x".repeat(600);
    after_hello(
        &smtp(),
        &format!(
            r#"
        C: MAIL FROM:<a@b>
        *: mail a@b {PLAIN}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@b>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 Send the message, end with <CRLF>.<CRLF>
        C: {long}
        C: {long}
        *: reset
        C: .
        S: 552 5.3.4 Message is larger than the 1000 octets allowed
        C: MAIL FROM:<a@b>
        *: mail a@b {PLAIN}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@b>
        S: 250 2.1.5 Recipient OK
        C: BDAT 600
        C: {long}\
        S: 250 2.0.0 600 octets received
        C: BDAT 600
        *: reset
        C: {long}\
        S: 552 5.3.4 Message is larger than the 1000 octets allowed
        C: BDAT 600
        C: {long}\
        S: 503 5.5.1 An earlier chunk was refused, use RSET
        C: RSET
        *: reset
        S: 250 2.0.0 OK
    "#
        ),
    );
}

#[test]
fn nothing_is_smuggled() {
    for end in ["\n.\n", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r", "\r\r\n.\n"] {
        // However it is cut, what looks like a second message stays part of the first, which is refused.
        let begin = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ann@b>\r\nDATA\r\n";
        let wire =
            format!("{begin}one{end}MAIL FROM:<evil@b>\r\nRCPT TO:<ann@b>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n");
        for size in [1, 2, 3, 7, 1000] {
            let mut world = World::new(smtp());
            wire.as_bytes().chunks(size).for_each(|chunk| world.feed(chunk));
            let tail: Vec<&str> =
                world.heard.lines().skip_while(|l| !l.starts_with("S: 354")).skip(1).collect();
            assert_eq!(
                tail,
                [
                    "*: reset",
                    "S: 550 5.6.11 Message has a bare CR or LF; lines must end with CRLF",
                    "S: 250 2.0.0 OK"
                ],
                "{end:?} by {size}"
            );
        }
    }
    let mut keep = smtp();
    keep.bare_ends = BareEnds::Keep;
    after_hello(
        &keep,
        r#"
        C: MAIL FROM:<a@b>\n\
        *: mail a@b {plain}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@b>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 Send the message, end with <CRLF>.<CRLF>
        C: one\n.\n.\rtwo
        C: .
        *: message "one\n.\n.\rtwo\r\n"
        S: 250 2.0.0 Message accepted
    "#,
    );
}

#[test]
fn lines() {
    let long = "x".repeat(5000);
    talk(
        &smtp(),
        &format!(
            r#"
        S: 220 mx.test ESMTP Waypost
        C: NOOP\n\
        S: 500 5.5.2 Lines must end with CRLF
        C: NOOP\rNOOP
        S: 500 5.5.2 Lines must not contain CR or NUL
        C: NO\0OP
        S: 500 5.5.2 Lines must not contain CR or NUL
        C: {long}
        S: 500 5.5.2 Line is too long
        C: NOOP
        S: 250 2.0.0 OK
    "#
        ),
    );
}

fn submission() -> Config {
    let mut config = Config::new(Flavour::Submission, "mx.test");
    config.starttls = true;
    config.auth_required = true;
    config.limits.auth_failures = 2;
    config.auth = vec![
        Mechanism { name: "SCRAM-SHA-256-PLUS", in_clear: false, binding: true },
        Mechanism { name: "SCRAM-SHA-256", in_clear: true, binding: false },
        Mechanism { name: "PLAIN", in_clear: false, binding: false },
    ];
    config
}

const SUBMISSION: &str = "
    S: 250-mx.test
    S: 250-PIPELINING
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-ENHANCEDSTATUSCODES
    S: 250-CHUNKING
    S: 250-BINARYMIME
    S: 250-DSN
    S: 250-SIZE 104857600
    S: 250-LIMITS MAILMAX=10000 RCPTMAX=1000
";

#[test]
fn starttls() {
    let mut config = submission();
    config.tls_required = true;
    talk(
        &config,
        &format!(
            "
        S: 220 mx.test ESMTP Waypost
        C: STARTTLS
        S: 503 5.5.1 Say hello first
        C: EHLO x
        {SUBMISSION}
        S: 250-STARTTLS
        S: 250-VRFY
        S: 250 HELP
        C: MAIL FROM:<a@b>
        S: 530 5.7.0 Use STARTTLS first
        C: AUTH PLAIN
        S: 530 5.7.0 Use STARTTLS first
        C: STARTTLS x
        S: 501 5.5.4 This command has no parameters
        C: STARTTLS
        S: 220 2.0.0 Begin TLS now
        *: starttls
        C: MAIL FROM:<a@b>
        S: 503 5.5.1 Say hello first
        C: STARTTLS
        S: 503 5.5.1 TLS is up already
        C: EHLO x
        {SUBMISSION}
        S: 250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN
        S: 250-VRFY
        S: 250 HELP
    "
        ),
    );
}

#[test]
fn xwhy_is_for_those_who_signed_in() {
    let mut config = submission();
    config.why = true;
    talk(
        &config,
        &format!(
            "
        S: 220 mx.test ESMTP Waypost
        C: EHLO x
        {SUBMISSION}
        S: 250-STARTTLS
        S: 250-AUTH SCRAM-SHA-256
        S: 250-VRFY
        S: 250 HELP
        C: XWHY <mine@x>
        S: 530 5.7.0 Sign in first
        C: AUTH SCRAM-SHA-256 cmlnaHQ=
        S: 235 2.7.0 Authentication successful
        C: EHLO x
        {SUBMISSION}
        S: 250-STARTTLS
        S: 250-XWHY
        S: 250-VRFY
        S: 250 HELP
        C: XWHY
        S: 501 5.5.4 Syntax error in parameters
        C: xwhy <mine@x>
        S: 250-2.0.0 Message <mine@x>
        S: 250 2.0.0 It is in the mailbox.
        C: XWHY yours@x
        S: 550 5.1.0 No message of yours by that Message-ID is known here
    "
        ),
    );
}

#[test]
fn what_came_before_the_handshake_never_happened() {
    let mut world = World::new(submission());
    world.feed(b"EHLO x\r\nSTARTTLS\r\nRSET\r\nEHLO evil\r\nMAIL FROM:<evil@b>\r\n");
    assert!(world.heard.ends_with("S: 220 2.0.0 Begin TLS now\n*: starttls\n"), "{}", world.heard);
    assert!(world.buffer.is_empty());
    assert_eq!(world.session.helo(), None);
}

#[test]
fn auth() {
    // cmlnaHQ= is "right", d3Jvbmc= is "wrong", bGF0ZXI= is "later"
    let mut config = submission();
    config.heard = true;
    talk(
        &config,
        &format!(
            r#"
        S: 220 mx.test ESMTP Waypost
        C: AUTH PLAIN
        S: 503 5.5.1 Say EHLO first
        C: EHLO x
        {SUBMISSION}
        S: 250-STARTTLS
        S: 250-AUTH SCRAM-SHA-256
        S: 250-VRFY
        S: 250 HELP
        C: MAIL FROM:<a@b>
        S: 530 5.7.0 Authentication required
        C: AUTH PLAIN cmlnaHQ=
        *: secret behind "AUTH PLAIN "
        S: 538 5.7.11 This mechanism needs TLS, use STARTTLS first
        C: AUTH NTLM
        S: 504 5.5.4 Mechanism is not known here
        C: AUTH
        S: 501 5.5.4 Syntax error in parameters
        C: AUTH SCRAM-SHA-256 !!
        *: secret behind "AUTH SCRAM-SHA-256 "
        S: 501 5.5.2 Not base64
        C: AUTH scram-sha-256
        *: auth SCRAM-SHA-256
        S: 334 Z28gb24=
        C: *
        *: secret behind ""
        S: 501 5.7.0 Authentication cancelled
        C: AUTH SCRAM-SHA-256 bGF0ZXI=
        *: secret behind "AUTH SCRAM-SHA-256 "
        S: 454 4.7.0 Try later
        C: AUTH SCRAM-SHA-256 d3Jvbmc=
        *: secret behind "AUTH SCRAM-SHA-256 "
        S: 535 5.7.8 Wrong
        C: AUTH SCRAM-SHA-256
        *: auth SCRAM-SHA-256
        S: 334 Z28gb24=
        C: cmlnaHQ=
        *: secret behind ""
        S: 235 2.7.0 Authentication successful
        C: AUTH SCRAM-SHA-256
        S: 503 5.5.1 Authenticated already
        C: MAIL FROM:<a@b>
        *: mail a@b {PLAIN}
        S: 250 2.1.0 Sender OK
    "#
        ),
    );
}

#[test]
fn guessing_ends() {
    let mut world = World::new(submission());
    world.heard.clear();
    world.feed(b"EHLO x\r\n");
    world.heard.clear();
    world.feed(
        b"AUTH SCRAM-SHA-256 d3Jvbmc=\r\nAUTH SCRAM-SHA-256 d3Jvbmc=\r\nAUTH SCRAM-SHA-256 cmlnaHQ=\r\n",
    );
    assert_eq!(
        world.heard.lines().skip(1).collect::<Vec<_>>(),
        ["S: 535 5.7.8 Wrong", "S: 421 4.7.0 Too many failed sign-ins, closing the connection", "*: close"]
    );
}

#[test]
fn lmtp() {
    let mut config = Config::new(Flavour::Lmtp, "mx.test");
    config.limits.message = 50;
    talk(
        &config,
        &with_plain(
            r#"
        S: 220 mx.test LMTP Waypost
        C: EHLO lmtp
        S: 500 5.5.1 This is LMTP, use LHLO
        C: LHLO lmtp
        S: 250-mx.test
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-ENHANCEDSTATUSCODES
        S: 250-CHUNKING
        S: 250-BINARYMIME
        S: 250-DSN
        S: 250-SIZE 50
        S: 250-LIMITS MAILMAX=10000 RCPTMAX=1000
        S: 250-VRFY
        S: 250 HELP
        C: MAIL FROM:<a@b>
        *: mail a@b {plain}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<nobody@b>
        S: 550 5.1.1 No such recipient
        C: DATA
        S: 503 5.5.1 MAIL and RCPT come first
        C: RCPT TO:<ann@b>
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<late@b>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 Send the message, end with <CRLF>.<CRLF>
        C: hello
        C: .
        *: message "hello\r\n"
        S: 250 2.1.5 ann has it
        S: 452 4.2.2 Quota is used up
        C: MAIL FROM:<a@b>
        *: mail a@b {plain}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@b>
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<ben@b>
        S: 250 2.1.5 Recipient OK
        C: BDAT 5
        C: hello\
        S: 250 2.0.0 5 octets received
        C: BDAT 6 LAST
        C: world!\
        *: message "helloworld!"
        S: 250 2.1.5 ann has it
        S: 250 2.1.5 ben has it
        C: MAIL FROM:<a@b>
        *: mail a@b {plain}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@b>
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<ben@b>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 Send the message, end with <CRLF>.<CRLF>
        C: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        *: reset
        C: .
        S: 552 5.3.4 Message is larger than the 50 octets allowed
        S: 552 5.3.4 Message is larger than the 50 octets allowed
    "#,
        ),
    );
}

#[test]
fn limits_hold() {
    let mut config = smtp();
    config.limits = Limits {
        recipients: 2,
        messages: 1,
        recipient_domains: Some(1),
        errors: 1,
        message: 1000,
        ..Limits::default()
    };
    let hello = HELLO.replace("MAILMAX=10000 RCPTMAX=1000", "MAILMAX=1 RCPTMAX=2 RCPTDOMAINMAX=1");
    talk(
        &config,
        &with_plain(&format!(
            r#"{hello}
        C: MAIL FROM:<a@b>
        *: mail a@b {PLAIN}
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@b>
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<ann@c>
        S: 452 4.5.3 Too many recipient domains
        C: RCPT TO:<ben@B>
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<cat@b>
        S: 452 4.5.3 Too many recipients
        C: DATA
        S: 354 Send the message, end with <CRLF>.<CRLF>
        C: .
        *: message ""
        S: 250 2.0.0 Message accepted
        C: MAIL FROM:<a@b>
        S: 421 4.5.3 Too many messages on this connection, please reconnect
        *: close
    "#
        )),
    );
    config.limits.messages = 10;
    let hello = hello.replace("MAILMAX=1 ", "MAILMAX=10 ");
    talk(
        &config,
        &format!(
            "{hello}
        C: BAD
        S: 500 5.5.2 Command not recognised
        C: BAD
        S: 500 5.5.2 Command not recognised
        S: 421 4.7.0 Too many errors, closing the connection
        *: close
    "
        ),
    );
}

#[test]
fn silence_ends() {
    let mut world = World::new(smtp());
    world.feed(b"EHLO x\r\nMAIL FROM:<a@b>\r\n");
    world.heard.clear();
    world.now = Timestamp(299_999);
    world.drain(&[]);
    assert_eq!(world.heard, "");
    world.now = Timestamp(300_000);
    world.drain(&[]);
    assert_eq!(world.heard, "*: reset\nS: 421 4.4.2 Timeout, closing the connection\n*: close\n");

    // A drip of octets does not hold a session for ever.
    let mut world = World::new(smtp());
    world.feed(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ann@b>\r\nDATA\r\n");
    for _ in 0..1000 {
        world.now = world.now.plus_millis(60_000);
        world.feed(b"x");
    }
    assert!(world.session.is_closed());
    assert_eq!(world.now.as_millis() / 60_000, 1000);
}

#[test]
fn shutdown_lets_the_message_finish() {
    let mut idle = World::new(smtp());
    idle.session.shutdown();
    idle.drain(&[]);
    assert!(
        idle.heard.ends_with("S: 421 4.3.2 mx.test Service is shutting down, please reconnect\n*: close\n")
    );

    let mut busy = World::new(smtp());
    busy.feed(b"EHLO x\r\nMAIL FROM:<a@b>\r\n");
    busy.session.shutdown();
    busy.feed(b"RCPT TO:<ann@b>\r\nDATA\r\n");
    busy.heard.clear();
    busy.feed(b"x\r\n.\r\nNOOP\r\n");
    assert_eq!(
        busy.heard,
        "*: message \"x\\r\\n\"\nS: 250 2.0.0 Message accepted\n\
         S: 421 4.3.2 mx.test Service is shutting down, please reconnect\n*: close\n"
    );
}

#[test]
fn the_caller_gives_up() {
    let mut world = World::new(smtp());
    world.feed(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ann@b>\r\nDATA\r\none\r\n");
    world.session.fail_body(Reply::new(452, Status(4, 3, 1), "Disk is full"));
    world.heard.clear();
    world.feed(b"two\r\n.\r\nNOOP\r\n");
    assert_eq!(world.body, b"one\r\n");
    assert_eq!(world.heard, "S: 452 4.3.1 Disk is full\nS: 250 2.0.0 OK\n");
}
