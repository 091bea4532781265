//! Conversations of the sending side. `S:` is what the server says, `C:` what the client must send, `*:` what else comes
//! out of it, `!:` what the caller does. Each is held twice: a reply at a time, and an octet at a time.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_smtp::client::{
    Client, Config, Credentials, Delivery, Out, Outcome, Outgoing, Recipient, StartTls,
};
use waypost_smtp::{BodyKind, Flavour, Mailbox, Notify, OriginalRecipient, RcptParams, Return};

struct World {
    client: Client,
    now: Timestamp,
    made: VecDeque<String>,
    sent: Vec<u8>,
    open: bool,
}

fn told(delivery: &Delivery) -> String {
    let outcomes: Vec<String> = delivery
        .outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Accepted { reply } => format!("accepted {reply}"),
            Outcome::Refused { stage, reply, by } => format!("refused by {by:?} at {stage:?}: {reply}"),
            Outcome::Broken { stage, fault, in_doubt } => {
                format!("broken at {stage:?}: {fault}{}", if *in_doubt { ", in doubt" } else { "" })
            }
            Outcome::Left => "left".to_owned(),
        })
        .map(|line| line.replace('\n', "|"))
        .collect();
    format!("done{} [{}]", if delivery.dsn { " dsn" } else { "" }, outcomes.join("; "))
}

impl World {
    fn new(config: Config) -> World {
        let now = Timestamp(1000);
        let client = Client::new(Arc::new(config), false, now);
        World { client, now, made: VecDeque::new(), sent: Vec::new(), open: false }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        while let Some(end) = self.sent.windows(2).position(|w| w == b"\r\n") {
            let line = String::from_utf8(self.sent.drain(..end + 2).collect()).unwrap();
            self.made.push_back(format!("C: {}", line.trim_end()).trim_end().to_owned());
        }
    }

    fn drain(&mut self) {
        while let Some(out) = self.client.poll(self.now) {
            let event = match out {
                Out::Send(bytes) => {
                    self.wrote(&bytes);
                    continue;
                }
                Out::Said(_) | Out::Heard(_) | Out::WakeAt(_) => continue,
                Out::StartTls => "*: starttls".to_owned(),
                Out::Ready => "*: ready".to_owned(),
                Out::Done(delivery) => format!("*: {}", told(&delivery)),
                Out::Failed(failure) => format!("*: failed: {failure}"),
                Out::Close => "*: close".to_owned(),
            };
            self.made.push_back(event);
        }
        let open = self.client.wants_body();
        if open && !self.open {
            self.made.push_back("*: body".to_owned());
        }
        self.open = open;
    }

    fn act(&mut self, action: &str, message: &Outgoing) {
        let (verb, arg) = action.split_once(' ').unwrap_or((action, ""));
        let mut bytes = Vec::new();
        match verb {
            "send" => self.client.send(self.now, message.clone()),
            "body" => {
                assert!(self.client.wants_body());
                let text = arg.replace("\\r", "\r").replace("\\n", "\n");
                self.client.body(self.now, text.as_bytes(), &mut bytes);
            }
            "all" => {
                self.client.body(
                    self.now,
                    arg.replace("\\r", "\r").replace("\\n", "\n").as_bytes(),
                    &mut bytes,
                );
                self.client.body_end(self.now, &mut bytes);
            }
            "end" => self.client.body_end(self.now, &mut bytes),
            "abort" => self.client.abort(arg),
            "tls" => self.client.tls_started(self.now),
            "quit" => self.client.quit(self.now),
            "noop" => self.client.keep_alive(self.now),
            "lost" => self.client.lost("end of stream"),
            "wait" => self.now = self.now.plus_millis(arg.parse::<i64>().unwrap() * 1000),
            _ => panic!("{action}"),
        }
        self.wrote(&bytes);
        if !self.sent.is_empty() {
            let text = String::from_utf8(std::mem::take(&mut self.sent)).unwrap();
            self.made.push_back(format!("C: {text}"));
        }
        self.drain();
    }
}

fn hold(config: &Config, message: &Outgoing, script: &str, octets: bool) {
    let mut world = World::new(config.clone());
    world.drain();
    let lines: Vec<&str> = script.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        if let Some(text) = line.strip_prefix("S: ") {
            assert_eq!(world.made, Vec::<String>::new(), "before {line:?} of {script}");
            let mut wire = format!("{text}\r\n");
            while let Some(text) = lines.get(at).and_then(|line| line.strip_prefix("S: ")) {
                wire.push_str(&format!("{text}\r\n"));
                at += 1;
            }
            for piece in wire.as_bytes().chunks(if octets { 1 } else { wire.len() }) {
                world.client.input(world.now, piece);
                world.drain();
            }
        } else if let Some(action) = line.strip_prefix("!: ") {
            assert_eq!(world.made, Vec::<String>::new(), "before {line:?} of {script}");
            world.act(action, message);
        } else {
            let made = world.made.pop_front();
            assert_eq!(made.as_deref(), Some(*line), "then {:?} (octets: {octets}) of {script}", world.made);
        }
    }
    assert_eq!(world.made, Vec::<String>::new(), "at the end of {script}");
}

fn talk(config: &Config, message: &Outgoing, script: &str) {
    hold(config, message, script, false);
    hold(config, message, script, true);
}

fn smtp() -> Config {
    Config::new(Flavour::Smtp, "me.example")
}

fn lmtp() -> Config {
    Config::new(Flavour::Lmtp, "me.example")
}

fn to(names: &[&str]) -> Outgoing {
    Outgoing {
        from: Some(Mailbox::new("ann", "me.example")),
        size: 5,
        recipients: names.iter().map(|n| Recipient::new(Mailbox::new(*n, "b.example"))).collect(),
        ..Outgoing::default()
    }
}

/// What comes before the first message, for a server with these keywords.
fn hello(keywords: &str) -> String {
    let mut script = String::from("S: 220 b.example ESMTP\nC: EHLO me.example\nS: 250-b.example\n");
    keywords.split(' ').filter(|k| !k.is_empty()).for_each(|k| script.push_str(&format!("S: 250-{k}\n")));
    script + "S: 250 HELP\n*: ready\n"
}

fn send(keywords: &str, message: &Outgoing, script: &str) {
    talk(&smtp(), message, &(hello(keywords) + script));
}

#[test]
fn the_plain_old_way() {
    talk(
        &smtp(),
        &to(&["x", "y"]),
        "S: 220 b.example ESMTP
         C: EHLO me.example
         S: 502 what?
         C: HELO me.example
         S: 250 b.example
         *: ready
         !: send
         C: MAIL FROM:<ann@me.example>
         S: 250 ok
         C: RCPT TO:<x@b.example>
         S: 250 ok
         C: RCPT TO:<y@b.example>
         S: 550 no such user
         C: DATA
         S: 354 go
         *: body
         !: body .a\\nb
         C: ..a
         C: b
         !: end
         C:
         C: .
         S: 250 as 17
         *: done [accepted 250 as 17; refused by Peer at Rcpt: 550 no such user]
         !: send
         C: MAIL FROM:<ann@me.example>
         S: 421 bye
         *: done [refused by Peer at Mail: 421 bye; refused by Peer at Mail: 421 bye]
         *: close",
    );
}

#[test]
fn everything_in_one_write() {
    send(
        "PIPELINING ENHANCEDSTATUSCODES SIZE",
        &to(&["x", "y"]),
        "!: send
         C: MAIL FROM:<ann@me.example> SIZE=5
         C: RCPT TO:<x@b.example>
         C: RCPT TO:<y@b.example>
         C: DATA
         S: 250 2.1.0 ok
         S: 452 4.2.2 full
         S: 250-2.1.5 fine
         S: 250 2.1.5 really
         S: 354 go
         *: body
         !: all Hi\\r\\n
         C: Hi
         C: .
         S: 250 2.0.0 thanks
         *: done [refused by Peer at Rcpt: 452 4.2.2 full; accepted 250 2.0.0 thanks]
         !: quit
         C: QUIT
         S: 221 bye
         *: close",
    );
}

#[test]
fn nobody_is_accepted() {
    // A server that says so to DATA as well.
    send(
        "PIPELINING",
        &to(&["x"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: DATA
         S: 250 ok
         S: 550 5.1.1 no
         S: 554 no valid recipients
         *: done [refused by Peer at Rcpt: 550 5.1.1 no]
         !: send
         C: RSET
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: DATA
         S: 250 ok
         S: 550 5.7.1 not you
         S: 503 no MAIL
         S: 503 no MAIL
         *: done [refused by Peer at Mail: 550 5.7.1 not you]",
    );
    // One that takes the message all the same (RFC 2920 §3.1).
    send(
        "PIPELINING",
        &to(&["x"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: DATA
         S: 250 ok
         S: 450 later
         S: 354 go
         C: .
         S: 250 ok
         *: done [refused by Peer at Rcpt: 450 later]
         !: noop
         C: NOOP
         S: 250 ok",
    );
    // Without PIPELINING nobody has to ask.
    send(
        "",
        &to(&["x"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         S: 250 ok
         C: RCPT TO:<x@b.example>
         S: 550 no
         *: done [refused by Peer at Rcpt: 550 no]
         !: send
         C: RSET
         S: 250 ok
         C: MAIL FROM:<ann@me.example>",
    );
}

#[test]
fn data_is_refused() {
    send(
        "PIPELINING",
        &to(&["x", "y"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: RCPT TO:<y@b.example>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 550 no
         S: 451 4.3.0 not now
         *: done [refused by Peer at Data: 451 4.3.0 not now; refused by Peer at Rcpt: 550 no]",
    );
    send(
        "PIPELINING",
        &to(&["x"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 354 ok
         *: body
         !: all x
         C: x
         C: .
         S: 554-5.7.1 spam
         S: 554 5.7.1 really
         *: done [refused by Peer at Final: 554 5.7.1 spam|really]
         !: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: DATA",
    );
}

#[test]
fn chunks() {
    // All at once: nothing is known of the recipients yet.
    send(
        "PIPELINING CHUNKING",
        &to(&["x", "y"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: RCPT TO:<y@b.example>
         *: body
         !: body .a\\r\\n.
         C: BDAT 5 LAST
         C: .a
         C: .
         S: 250 ok
         S: 550 no
         S: 250 ok
         S: 250 thanks
         *: done [refused by Peer at Rcpt: 550 no; accepted 250 thanks]",
    );
    send(
        "PIPELINING CHUNKING",
        &to(&["x"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         *: body
         !: body ab
         C: BDAT 2
         C: ab
         S: 250 ok
         S: 550 no
         S: 503 nobody
         *: done [refused by Peer at Rcpt: 550 no]
         !: send
         C: RSET
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         *: body
         !: body abcde
         C: BDAT 5 LAST
         C: abcde
         !: lost
         *: done [broken at Final: connection lost: end of stream, in doubt]
         *: close",
    );
    // A larger message waits for the recipients, and stops at the first chunk that is refused.
    let mut large = to(&["x"]);
    large.size = 70_000;
    send(
        "PIPELINING CHUNKING",
        &large,
        "!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         S: 250 ok
         S: 250 ok
         *: body
         !: body ab
         C: BDAT 2
         C: ab
         !: body cd
         C: BDAT 2
         C: cd
         S: 250 ok
         S: 552 5.3.4 too much
         *: done [refused by Peer at Body: 552 5.3.4 too much]",
    );
    // One at a time where the server wants that.
    send(
        "CHUNKING",
        &to(&["x"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         S: 250 ok
         C: RCPT TO:<x@b.example>
         S: 250 ok
         *: body
         !: body ab
         C: BDAT 2
         C: ab
         S: 250 ok
         *: body
         !: body c
         C: BDAT 1
         C: c
         S: 250 ok
         *: body
         !: end
         C: BDAT 0 LAST
         S: 250 ok
         *: done [accepted 250 ok]",
    );
}

#[test]
fn lost_at_each_place() {
    let script = "!: send
         C: MAIL FROM:<ann@me.example>
         S: 250 ok
         C: RCPT TO:<x@b.example>
         S: 250 ok
         C: DATA
         S: 354 go
         *: body
         !: all x
         C: x
         C: .";
    let lines: Vec<&str> = script.lines().collect();
    for (upto, stage, doubt) in
        [(2, "Mail", ""), (4, "Rcpt", ""), (6, "Data", ""), (8, "Body", ""), (11, "Final", ", in doubt")]
    {
        let (part, x) = (lines[..upto].join("\n"), to(&["x"]));
        for (action, fault) in [
            ("!: lost", "connection lost: end of stream"),
            ("S: hello", "the server does not keep to the protocol: not a reply: \"hello\""),
            ("!: abort no disk", "the message could not be read: no disk"),
        ] {
            send("", &x, &format!("{part}\n{action}\n*: done [broken at {stage}: {fault}{doubt}]\n*: close"));
        }
        let seconds = match stage {
            "Mail" | "Rcpt" => 300,
            "Data" => 120,
            "Body" => 180,
            _ => 600,
        };
        let fault = format!("no answer within {seconds} seconds");
        send(
            "",
            &x,
            &format!(
                "{part}\n!: wait {}\n!: wait 1\n*: done [broken at {stage}: {fault}{doubt}]\n*: close",
                seconds - 1
            ),
        );
        let refused = "421 4.3.2 going down";
        send(
            "",
            &x,
            &format!("{part}\nS: {refused}\n*: done [refused by Peer at {stage}: {refused}]\n*: close"),
        );
    }
    send(
        "",
        &to(&[]),
        "S: 421 idle too long\n*: failed: refused at between messages: 421 idle too long\n*: close",
    );
    send("", &to(&[]), "!: lost\n*: failed: connection lost: end of stream (at between messages)\n*: close");
    send("", &to(&[]), "!: quit\nC: QUIT\n!: lost\n*: close");
    send("", &to(&[]), "!: quit\nC: QUIT\n!: wait 10\n*: close");
    send("", &to(&[]), "!: send\n*: done []");
}

/// The server refuses in the middle of the message, and closes.
#[test]
fn refused_midway() {
    send(
        "PIPELINING",
        &to(&["x"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 354 ok
         *: body
         !: body a\\n
         C: a
         S: 552 5.3.4 enough
         *: done [refused by Peer at Body: 552 5.3.4 enough]
         *: close",
    );
}

#[test]
fn greetings() {
    let x = to(&["x"]);
    for greeting in ["554 5.3.2 no mail here", "450 try later"] {
        talk(
            &smtp(),
            &x,
            &format!("S: {greeting}\nC: QUIT\n*: failed: refused at greeting: {greeting}\n*: close"),
        );
    }
    talk(&smtp(), &x, "S: 421 busy\n*: failed: refused at greeting: 421 busy\n*: close");
    talk(
        &smtp(),
        &x,
        "S: SSH-2.0-OpenSSH\n*: failed: the server does not keep to the protocol: not a reply: \"SSH-2.0-OpenSSH\" (at greeting)\n*: close",
    );
    talk(
        &smtp(),
        &x,
        "!: wait 299\n!: wait 1\n*: failed: no answer within 300 seconds (at greeting)\n*: close",
    );
    talk(
        &smtp(),
        &x,
        "S: 220 x\nC: EHLO me.example\nS: 550 not you\nC: QUIT\n*: failed: refused at EHLO: 550 not you\n*: close",
    );
    talk(
        &smtp(),
        &x,
        "S: 220 x\nC: EHLO me.example\nS: 500 no\nC: HELO me.example\nS: 550 not you\nC: QUIT\n*: failed: refused at EHLO: 550 not you\n*: close",
    );
    talk(
        &lmtp(),
        &x,
        "S: 220 x\nC: LHLO me.example\nS: 500 no\nC: QUIT\n*: failed: refused at EHLO: 500 no\n*: close",
    );
    talk(
        &smtp(),
        &x,
        "S: 220 x\nC: EHLO me.example\nS: 354 x\n*: failed: the server does not keep to the protocol: 354 in answer to EHLO (at EHLO)\n*: close",
    );
}

#[test]
fn tls() {
    let x = to(&["x"]);
    let mut config = smtp();
    let begin = "S: 220 x\nC: EHLO me.example\nS: 250-x\nS: 250-SIZE 5\nS: 250 STARTTLS\nC: STARTTLS\n";
    talk(
        &config,
        &x,
        &format!(
            "{begin}S: 220 go\n*: starttls\n!: tls\nC: EHLO me.example\nS: 250-x\nS: 250 STARTTLS\n*: ready\n!: send\nC: MAIL FROM:<ann@me.example>"
        ),
    );
    talk(&config, &x, &format!("{begin}S: 454 4.7.0 no\n*: ready"));
    config.starttls = StartTls::Required;
    talk(
        &config,
        &x,
        &format!("{begin}S: 454 4.7.0 no\nC: QUIT\n*: failed: refused at STARTTLS: 454 4.7.0 no\n*: close"),
    );
    talk(
        &config,
        &x,
        "S: 220 x\nC: EHLO me.example\nS: 250 x\nC: QUIT\n*: failed: the server does not offer STARTTLS\n*: close",
    );
    config.starttls = StartTls::Never;
    talk(&config, &x, "S: 220 x\nC: EHLO me.example\nS: 250-x\nS: 250 STARTTLS\n*: ready");
}

/// What comes in clear behind the 220 would be believed under TLS.
#[test]
fn nothing_is_slipped_in_before_tls() {
    let mut client = Client::new(Arc::new(smtp()), false, Timestamp(0));
    client.input(Timestamp(0), b"220 x\r\n");
    client.input(Timestamp(0), b"250-x\r\n250 STARTTLS\r\n");
    client.input(Timestamp(0), b"220 go\r\n250-x\r\n250 AUTH PLAIN\r\n");
    let outs: Vec<Out> = std::iter::from_fn(|| client.poll(Timestamp(0))).collect();
    assert!(!outs.contains(&Out::StartTls), "{outs:?}");
    assert!(matches!(outs.get(outs.len() - 2..), Some([Out::Failed(_), Out::Close])), "{outs:?}");
}

#[test]
fn signing_in() {
    let x = to(&["x"]);
    let mut config = smtp();
    config.credentials = Some(Credentials { user: "ann".into(), password: "pass".into() });
    let hello = "S: 220 x\nC: EHLO me.example\nS: 250-x\n";
    talk(
        &config,
        &x,
        &format!(
            "{hello}S: 250 AUTH PLAIN\nC: QUIT\n*: failed: the server does not offer TLS, without which we do not sign in\n*: close"
        ),
    );
    config.auth_in_clear = true;
    talk(
        &config,
        &x,
        &format!("{hello}S: 250 AUTH LOGIN PLAIN\nC: AUTH PLAIN AGFubgBwYXNz\nS: 235 2.7.0 ok\n*: ready"),
    );
    talk(
        &config,
        &x,
        &format!(
            "{hello}S: 250 AUTH PLAIN\nC: AUTH PLAIN AGFubgBwYXNz\nS: 334\nC: AGFubgBwYXNz\nS: 235 ok\n*: ready"
        ),
    );
    talk(
        &config,
        &x,
        &format!(
            "{hello}S: 250 AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5u\nS: 334 UGFzc3dvcmQ6\nC: cGFzcw==\nS: 235 ok\n*: ready"
        ),
    );
    talk(
        &config,
        &x,
        &format!(
            "{hello}S: 250 AUTH LOGIN\nC: AUTH LOGIN\nS: 334\nC: YW5u\nS: 535 5.7.8 no\nC: QUIT\n*: failed: refused at AUTH: 535 5.7.8 no\n*: close"
        ),
    );
    talk(
        &config,
        &x,
        &format!(
            "{hello}S: 250 AUTH GSSAPI\nC: QUIT\n*: failed: the server does not offer AUTH with PLAIN or LOGIN\n*: close"
        ),
    );
    assert!(!format!("{config:?}").contains("pass\""));
    // Nothing of it gets into a log.
    config.log = true;
    for mechanism in ["PLAIN", "LOGIN"] {
        let mut client = Client::new(Arc::new(config.clone()), false, Timestamp(0));
        client.input(Timestamp(0), b"220 x\r\n");
        client.input(Timestamp(0), format!("250-x\r\n250 AUTH {mechanism}\r\n").as_bytes());
        client.input(Timestamp(0), b"334 \r\n");
        client.input(Timestamp(0), b"334 \r\n");
        let said: Vec<Out> = std::iter::from_fn(|| client.poll(Timestamp(0)))
            .filter(|out| matches!(out, Out::Said(_) | Out::Heard(_)))
            .collect();
        let said = format!("{said:?}");
        assert!(
            said.contains("***")
                && !said.contains("YW5u")
                && !said.contains("cGFzcw")
                && !said.contains("AGFub"),
            "{said}"
        );
    }
}

#[test]
fn what_the_server_lacks() {
    let ours = |at: &str, text: &str| format!("!: send\n*: done [refused by Us at {at}: {text}]");
    let x = to(&["x"]);
    let mut large = x.clone();
    large.size = 1001;
    talk(
        &smtp(),
        &large,
        &("S: 220 x\nC: EHLO me.example\nS: 250-x\nS: 250 SIZE 1000\n*: ready\n".to_owned()
            + &ours("Mail", "552 5.3.4 x takes messages of 1000 octets at most, this one has 1001")),
    );
    let mut binary = x.clone();
    binary.body = BodyKind::Binary;
    let no_binary = ours("Mail", "554 5.6.3 b.example does not take binary messages (BINARYMIME)");
    send("CHUNKING", &binary, &no_binary);
    send("BINARYMIME", &binary, &no_binary);
    send("BINARYMIME CHUNKING", &binary, "!: send\nC: MAIL FROM:<ann@me.example> BODY=BINARYMIME");
    let mut eight = x.clone();
    eight.body = BodyKind::EightBit;
    send(
        "",
        &eight,
        &ours(
            "Mail",
            "554 5.6.3 b.example does not take 8-bit messages (8BITMIME), and this one is not converted",
        ),
    );
    send("8BITMIME", &eight, "!: send\nC: MAIL FROM:<ann@me.example> BODY=8BITMIME");
    let mut utf8 = x.clone();
    utf8.utf8 = true;
    send(
        "",
        &utf8,
        &ours(
            "Mail",
            "550 5.6.7 b.example does not take mail with international characters in header fields (SMTPUTF8)",
        ),
    );
    send("SMTPUTF8", &utf8, "!: send\nC: MAIL FROM:<ann@me.example> SMTPUTF8");
    let two = to(&["é", "x"]);
    send(
        "",
        &two,
        "!: send
         C: MAIL FROM:<ann@me.example>
         S: 250 ok
         C: RCPT TO:<x@b.example>
         S: 550 no
         *: done [refused by Us at Rcpt: 553 5.6.7 b.example does not take addresses with international characters (SMTPUTF8); refused by Peer at Rcpt: 550 no]",
    );
    send(
        "SMTPUTF8",
        &two,
        "!: send\nC: MAIL FROM:<ann@me.example> SMTPUTF8\nS: 250 ok\nC: RCPT TO:<é@b.example>",
    );
    let mut odd = to(&["a b", "x\r\nRSET"]);
    odd.recipients.push(Recipient::new(Mailbox::new("x", "b> NOTIFY=NEVER <")));
    odd.from = None;
    send(
        "",
        &odd,
        "!: send
         C: MAIL FROM:<>
         S: 250 ok
         C: RCPT TO:<\"a b\"@b.example>
         S: 550 no
         *: done [refused by Peer at Rcpt: 550 no; refused by Us at Rcpt: 553 5.1.3 The recipient's address cannot be written in SMTP; refused by Us at Rcpt: 553 5.1.3 The recipient's address cannot be written in SMTP]",
    );
    let mut sealed = x;
    sealed.require_tls = true;
    send(
        "REQUIRETLS",
        &sealed,
        &ours(
            "Mail",
            "550 5.7.30 b.example does not promise to use TLS all the way (REQUIRETLS), as the sender asks",
        ),
    );
}

#[test]
fn delivery_reports() {
    let mut message = to(&["x", "y", "z"]);
    message.ret = Some(Return::Headers);
    message.envid = Some("a+b".into());
    let notify = Notify { success: true, failure: true, delay: false };
    let orcpt =
        |kind: &str, address: &str| Some(OriginalRecipient { kind: kind.into(), address: address.into() });
    message.recipients[0].params =
        RcptParams { notify: Some(notify), orcpt: orcpt("rfc822", "a=b@c.example"), inner: None };
    message.recipients[1].params =
        RcptParams { notify: Some(Notify::default()), orcpt: orcpt("utf-8", "é@c.example"), inner: None };
    send(
        "DSN PIPELINING",
        &message,
        "!: send
         C: MAIL FROM:<ann@me.example> RET=HDRS ENVID=a+2Bb
         C: RCPT TO:<x@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+3Db@c.example
         C: RCPT TO:<y@b.example> NOTIFY=NEVER ORCPT=utf-8;\\x{E9}@c.example
         C: RCPT TO:<z@b.example>
         C: DATA
         S: 451 later
         S: 503 x
         S: 503 x
         S: 503 x
         S: 503 x
         *: done dsn [refused by Peer at Mail: 451 later; refused by Peer at Mail: 451 later; refused by Peer at Mail: 451 later]",
    );
    message.recipients.truncate(1);
    send("", &message, "!: send\nC: MAIL FROM:<ann@me.example>\nS: 250 ok\nC: RCPT TO:<x@b.example>");
}

#[test]
fn limits_of_the_server() {
    let mut script =
        "S: 220 x\nC: EHLO me.example\nS: 250-x\nS: 250 LIMITS MAILMAX=1 RCPTMAX=1\n*: ready\n".to_owned();
    script += "!: send
         C: MAIL FROM:<ann@me.example>
         S: 250 ok
         C: RCPT TO:<x@b.example>
         S: 550 no
         *: done [refused by Peer at Rcpt: 550 no; left]";
    talk(&smtp(), &to(&["x", "y"]), &script);
}

#[test]
fn too_many_recipients_are_for_the_next_message() {
    send(
        "PIPELINING",
        &to(&["x", "y", "z"]),
        "!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: RCPT TO:<y@b.example>
         C: RCPT TO:<z@b.example>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 452 4.5.3 enough
         S: 452 Error: too many recipients
         S: 354 go
         *: body
         !: all x
         C: x
         C: .
         S: 250 ok
         *: done [accepted 250 ok; left; left]",
    );
    let only = "*: done [refused by Peer at Rcpt: 452 4.5.3 enough]";
    let script =
        "!: send\nC: MAIL FROM:<ann@me.example>\nS: 250 ok\nC: RCPT TO:<x@b.example>\nS: 452 4.5.3 enough\n";
    send("", &to(&["x"]), &format!("{script}{only}"));
}

#[test]
fn many_recipients_go_in_windows() {
    let names: Vec<String> = (0..250).map(|i| format!("u{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = Client::new(Arc::new(smtp()), false, Timestamp(0));
    let now = Timestamp(0);
    client.input(now, b"220 x\r\n");
    client.input(now, b"250-x\r\n250 PIPELINING\r\n");
    while client.poll(now).is_some() {}
    client.send(now, to(&names));
    let (mut open, mut most, mut writes) = (0, 0, 0);
    while let Some(out) = client.poll(now) {
        match out {
            Out::Send(bytes) => {
                writes += 1;
                let lines = bytes.iter().filter(|b| **b == b'\n').count();
                open += lines;
                most = most.max(open);
                let data = bytes.ends_with(b"DATA\r\n");
                client.input(now, &b"250 ok\r\n".repeat(if data { open - 1 } else { open }));
                open = 0;
                if data {
                    client.input(now, b"354 go\r\n");
                }
            }
            Out::WakeAt(_) => {}
            out => panic!("{out:?}"),
        }
    }
    assert!(client.wants_body());
    assert_eq!((most, writes), (100, 3));
}

#[test]
fn lmtp_answers_for_each() {
    let message = to(&["x", "no", "y", "z"]);
    let begin =
        "S: 220 b.example LMTP\nC: LHLO me.example\nS: 250-b.example\nS: 250 PIPELINING\n*: ready\n!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: RCPT TO:<no@b.example>
         C: RCPT TO:<y@b.example>
         C: RCPT TO:<z@b.example>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 550 no
         S: 250 ok
         S: 250 ok
         S: 354 go
         *: body
         !: all x
         C: x
         C: .
         S: 250 x has it
         S: 452 y is full\n";
    talk(
        &lmtp(),
        &message,
        &format!("{begin}S: 250 z has it\n*: done [accepted 250 x has it; refused by Peer at Rcpt: 550 no; refused by Peer at Final: 452 y is full; accepted 250 z has it]\n!: send
         C: MAIL FROM:<ann@me.example>
         C: RCPT TO:<x@b.example>
         C: RCPT TO:<no@b.example>
         C: RCPT TO:<y@b.example>
         C: RCPT TO:<z@b.example>
         C: DATA"),
    );
    talk(
        &lmtp(),
        &message,
        &format!(
            "{begin}!: lost\n*: done [accepted 250 x has it; refused by Peer at Rcpt: 550 no; refused by Peer at Final: 452 y is full; broken at Final: connection lost: end of stream, in doubt]\n*: close"
        ),
    );
}
