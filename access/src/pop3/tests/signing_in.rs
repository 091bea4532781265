use super::*;
use std::time::Duration;
use waypost_base::explain::Outcome;
use waypost_sasl::{ClientExchange, Credentials, Mechanism};

#[tokio::test(start_paused = true)]
async fn user_and_pass() {
    let w = world(&["a\r\n"]);
    let mut c = w.call().await;
    c.talk(
        "C: STAT
         S: -ERR Sign in first
         C: PASS pencil
         S: -ERR USER comes first
         C: USER adele
         S: +OK
         C: PASS pen
         S: -ERR [AUTH] Wrong name or password
         C: PASS pencil
         S: -ERR USER comes first
         C: USER nobody
         S: +OK
         C: PASS pencil
         S: -ERR [AUTH] Wrong name or password
         C: USER off
         S: +OK
         C: PASS pencil
         S: -ERR [AUTH] Not allowed: the account may not use this protocol
         C: USER down
         S: +OK
         C: PASS pencil
         S: -ERR [SYS/TEMP] Cannot sign you in now, try again later
         C: user adele
         S: +OK
         C: pass pencil
         S: +OK 1 messages (3 octets)
         C: USER adele
         S: -ERR Already signed in
         C: QUIT
         S: +OK Bye
         S: (closed)",
    )
    .await;
    assert_eq!(w.service.entrance().counts.wrong.value(), 2);
    assert_eq!(w.service.entrance().counts.unavailable.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn five_failures_close_the_connection() {
    let w = world(&[]);
    let mut c = w.call().await;
    for _ in 0..5 {
        c.talk("C: USER adele\nS: +OK\nC: PASS guess\nS: -ERR [AUTH] Wrong name or password").await;
    }
    c.talk("S: (closed)").await;
    let legs = w.ears.legs.lock().unwrap();
    assert!(matches!(&legs[0].outcome, Outcome::Failed { cause, .. } if cause.code == "SIGNIN-WRONG"));
}

#[tokio::test(start_paused = true)]
async fn auth_with_and_without_initial_response() {
    let w = world(&[]);
    let mut c = w.call().await;
    c.talk(
        "C: AUTH
         S: +OK
         S: SCRAM-SHA-256
         S: PLAIN
         S: LOGIN
         S: .
         C: AUTH GSSAPI
         S: -ERR Mechanism is not offered
         C: AUTH PLAIN ???
         S: -ERR Not base64
         C: AUTH PLAIN
         S: + 
         C: *
         S: -ERR Sign-in broke off: cancelled
         C: AUTH PLAIN
         S: + 
         C: ???
         S: -ERR Sign-in broke off: not base64
         C: AUTH PLAIN AGFkZWxlAHBlbmNpbA==
         S: +OK 0 messages (0 octets)
         C: QUIT
         S: +OK Bye",
    )
    .await;
    let mut c = w.call().await;
    c.talk(
        "C: AUTH LOGIN
         S: + VXNlcm5hbWU6
         C: YWRlbGU=
         S: + UGFzc3dvcmQ6
         C: cGVuY2ls
         S: +OK 0 messages (0 octets)
         C: QUIT
         S: +OK Bye",
    )
    .await;
}

async fn exchange(c: &mut Client, mechanism: Mechanism, bindings: &Bindings) -> String {
    let credentials = Credentials::new("adele", "pencil");
    let mut client = ClientExchange::start(mechanism, credentials, bindings, &[3; 18]).unwrap();
    let initial = waypost_sasl::wire::challenge(client.initial().unwrap().expose());
    c.send(&format!("AUTH {mechanism} {initial}\r\n")).await;
    loop {
        let line = c.line().await;
        let Some(challenge) = line.strip_prefix("+ ") else {
            assert!(client.finished() || line.starts_with("-ERR"));
            return line;
        };
        let challenge = waypost_sasl::wire::initial(challenge.trim_end().as_bytes()).unwrap();
        let response = client.step(&challenge).unwrap();
        c.send(&format!("{}\r\n", waypost_sasl::wire::challenge(response.expose()))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn scram_with_channel_binding() {
    let w = world(&[]);
    let mut c = w.channel(Some(facts()), None);
    c.talk("S: +OK …").await;
    let bindings = Bindings { exporter: Some([4; 32]), end_point: None };
    let elsewhere = Bindings { exporter: Some([5; 32]), end_point: None };
    let refused = exchange(&mut c, Mechanism::ScramSha256Plus, &elsewhere).await;
    assert_eq!(
        refused,
        "-ERR [AUTH] Channel binding failed: the client is at the end of another channel\r\n"
    );
    let answer = exchange(&mut c, Mechanism::ScramSha256Plus, &bindings).await;
    assert_eq!(answer, "+OK 0 messages (0 octets)\r\n");
    c.talk("C: QUIT\nS: +OK Bye\nS: (closed)").await;
    let legs = w.ears.legs.lock().unwrap();
    assert_eq!((legs[0].mechanism.as_ref(), &legs[0].outcome), ("SCRAM-SHA-256-PLUS", &Outcome::Ok));
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_before_tls_with_secure_login() {
    let w = world_with(Boxes::with(1, &[]), Settings::default(), Policy::default());
    let mut c = w.channel(None, Some(Arc::new(NoTls)));
    c.talk(
        "S: +OK Waypost POP3 service is ready.
         C: CAPA
         S: +OK …
         S: TOP
         S: UIDL
         S: RESP-CODES
         S: AUTH-RESP-CODE
         S: PIPELINING
         S: EXPIRE NEVER
         S: UTF8 USER
         S: STLS
         S: .
         C: USER adele
         S: -ERR Start TLS first
         C: AUTH PLAIN
         S: -ERR [AUTH] Start TLS first
         C: STLS now
         S: -ERR Usage: STLS
         C: UTF8
         S: +OK
         C: STLS
         S: +OK Begin TLS negotiation
         C: CAPA
         S: +OK …
         S: TOP
         S: UIDL
         S: RESP-CODES
         S: AUTH-RESP-CODE
         S: PIPELINING
         S: EXPIRE NEVER
         S: UTF8 USER
         S: USER
         S: SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN
         S: .
         C: STLS
         S: -ERR TLS is active or not available
         C: USER adele
         S: +OK
         C: PASS pencil
         S: +OK 0 messages (0 octets)
         C: CAPA
         S: +OK …
         S: TOP
         S: UIDL
         S: RESP-CODES
         S: AUTH-RESP-CODE
         S: PIPELINING
         S: EXPIRE NEVER
         S: UTF8 USER
         S: IMPLEMENTATION Waypost
         S: .
         C: QUIT
         S: +OK Bye",
    )
    .await;
}

/// What was sent in clear together with STLS counts for nothing (RFC 2595 §4).
#[tokio::test(start_paused = true)]
async fn commands_injected_before_tls_are_forgotten() {
    let w = world(&[]);
    let mut c = w.channel(None, Some(Arc::new(NoTls)));
    c.send("USER alex\r\nSTLS\r\nNOOP\r\nPASS pencil\r\n").await;
    c.talk(
        "S: +OK Waypost POP3 service is ready.
         S: +OK
         S: +OK Begin TLS negotiation
         C: PASS pencil
         S: -ERR USER comes first
         C: QUIT
         S: +OK Bye",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_session_has_the_drop() {
    let w = world(&["a\r\n"]);
    let mut one = w.inside().await;
    let mut two = w.call().await;
    two.talk(
        "C: USER adele
         S: +OK
         C: PASS pencil
         S: -ERR [IN-USE] Another session has this mailbox
         C: USER alex
         S: +OK
         C: PASS pencil
         S: +OK 0 messages (0 octets)
         C: QUIT
         S: +OK Bye",
    )
    .await;
    one.talk("C: QUIT\nS: +OK Bye\nS: (closed)").await;
    let mut three = w.inside().await;
    three.talk("C: STAT\nS: +OK 1 3").await;
    // A client that just goes away frees it too.
    drop(three);
    while w.service.figures.sessions.value() > 0 {
        tokio::task::yield_now().await;
    }
    w.inside().await.talk("C: NOOP\nS: +OK").await;
    assert_eq!(w.service.figures.in_use.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_session() {
    let w = world(&["a\r\n"]);
    let started = tokio::time::Instant::now();
    let mut c = w.call().await;
    c.talk("S: (closed)").await;
    assert_eq!(started.elapsed(), Duration::from_secs(60));
    let mut c = w.inside().await;
    let started = tokio::time::Instant::now();
    c.talk("C: DELE 1\nS: +OK …\nS: (closed)").await;
    assert_eq!(started.elapsed(), Duration::from_secs(600));
    // RFC 1939 §3: nothing is removed then.
    assert_eq!(w.boxes.uids(1), [10]);
    assert_eq!(w.service.figures.timeouts.value(), 2);
}
