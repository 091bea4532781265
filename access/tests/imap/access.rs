//! Coming in: greeting, capabilities, TLS, sign-in, compression, leaving.

use crate::world::{World, facts};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio::io::AsyncReadExt;
use waypost_access::imap::ImapSettings;
use waypost_access::signin::Policy;
use waypost_base::explain::Outcome;
use waypost_mailbox::Quota;
use waypost_sasl::{Bindings, ClientExchange, Credentials, Mechanism};

#[tokio::test(start_paused = true)]
async fn greets_and_offers_what_works_now() {
    let world = World::new().await;
    let mut c = world.client().await;
    c.talk(
        "C: a CAPABILITY
         S: * CAPABILITY IMAP4rev2 IMAP4rev1 …LITERAL- STARTTLS AUTH=SCRAM-SHA-256 AUTH=PLAIN
         S: a OK …
         C: b LOGIN anna secret
         S: b OK [CAPABILITY IMAP4rev2 IMAP4rev1 …LITERAL+ APPENDLIMIT=… COMPRESS=DEFLATE] Signed in
         C: c LOGOUT
         S: * BYE Goodbye
         S: c OK Logged out",
    )
    .await;
    c.closed().await;
}

#[tokio::test(start_paused = true)]
async fn passwords_need_tls_where_policy_says_so() {
    let world = World::with(Policy::default(), ImapSettings::default(), Quota::default()).await;
    let mut c = world.connect();
    c.talk(
        "S: * OK [CAPABILITY IMAP4rev2 IMAP4rev1 …LITERAL- STARTTLS LOGINDISABLED] …
         C: a LOGIN anna secret
         S: a NO [PRIVACYREQUIRED] …
         C: b AUTHENTICATE PLAIN AGFubmEAc2VjcmV0
         S: b NO [PRIVACYREQUIRED] …
         C: c SELECT INBOX
         S: c BAD Sign in first",
    )
    .await;
    // What was sent in clear after STARTTLS is thrown away: had it been heard, "evil" would be answered.
    c.send("d STARTTLS\r\nevil NOOP\r\n").await;
    c.talk(
        "S: d OK Begin TLS now
         C: e CAPABILITY
         S: * CAPABILITY IMAP4rev2 IMAP4rev1 …LITERAL- AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN
         S: e OK …
         C: f STARTTLS
         S: f BAD TLS is active already
         C: g LOGIN anna secret
         S: g OK [CAPABILITY …] Signed in
         C: h LOGIN anna secret
         S: h BAD Already signed in",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_never_mixed_up() {
    let world = World::new().await;
    let mut c = world.client().await;
    c.talk(
        "C: a LOGIN anna wrong
         S: a NO [AUTHENTICATIONFAILED] Wrong user name or password
         C: b LOGIN nobody secret
         S: b NO [AUTHENTICATIONFAILED] Wrong user name or password
         C: c LOGIN dora secret
         S: c NO [UNAVAILABLE] …
         C: d LOGIN carol secret
         S: d NO [AUTHORIZATIONFAILED] …
         C: e LOGIN emil secret
         S: e NO [CONTACTADMIN] …",
    )
    .await;
    let legs = world.told.legs.lock().unwrap();
    let codes: Vec<&str> = legs
        .iter()
        .map(|leg| match &leg.outcome {
            Outcome::Failed { cause, .. } => cause.code,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        codes,
        ["IMAP-CREDENTIALS", "IMAP-CREDENTIALS", "IMAP-UNAVAILABLE", "IMAP-NOTALLOWED", "IMAP-NOTALLOWED"]
    );
}

#[tokio::test(start_paused = true)]
async fn guessing_ends_the_connection() {
    let world = World::new().await;
    let mut c = world.client().await;
    for _ in 0..4 {
        c.talk("C: a LOGIN anna wrong\nS: a NO [AUTHENTICATIONFAILED] …").await;
    }
    c.talk("C: a LOGIN anna wrong\nS: a NO [AUTHENTICATIONFAILED] …\nS: * BYE Too many failed sign-ins")
        .await;
    c.closed().await;
}

#[tokio::test(start_paused = true)]
async fn plain_in_both_forms() {
    let world = World::new().await;
    let mut c = world.client().await;
    c.talk(
        "C: a AUTHENTICATE PLAIN
         S: +…
         C: *
         S: a BAD …
         C: b AUTHENTICATE PLAIN
         S: +…
         C: not base64!
         S: b BAD …
         C: c AUTHENTICATE GSSAPI
         S: c NO [CANNOT] …
         C: d AUTHENTICATE PLAIN AGFubmEAc2VjcmV0
         S: d OK [CAPABILITY …] Signed in",
    )
    .await;
    let mut c = world.client().await;
    c.talk(
        "C: a AUTHENTICATE PLAIN
         S: +…
         C: AGFubmEAc2VjcmV0
         S: a OK [CAPABILITY …] Signed in",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn scram_with_channel_binding() {
    let world = World::with(Policy::default(), ImapSettings::default(), Quota::default()).await.over_tls();
    let bindings = Bindings { exporter: facts().exporter, end_point: None };
    for mechanism in [Mechanism::ScramSha256Plus, Mechanism::ScramSha256] {
        let mut c = world.client().await;
        let credentials = Credentials::new("anna", "secret");
        let seen = if mechanism.binds_channel() { bindings.clone() } else { Bindings::default() };
        let mut exchange = ClientExchange::start(mechanism, credentials, &seen, &[3; 18]).unwrap();
        let first = STANDARD.encode(exchange.initial().unwrap().expose());
        c.send(&format!("a AUTHENTICATE {mechanism} {first}\r\n")).await;
        loop {
            let line = c.line().await.unwrap();
            let Some(challenge) = line.strip_prefix("+ ") else {
                assert!(line.starts_with("a OK [CAPABILITY"), "{line}");
                break;
            };
            let response = exchange.step(&STANDARD.decode(challenge).unwrap()).unwrap();
            c.send(&format!("{}\r\n", STANDARD.encode(response.expose()))).await;
        }
        assert!(exchange.finished());
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_per_user_are_bounded() {
    let policy = Policy {
        sessions_per_user_max: 1,
        login_type: waypost_access::signin::LoginType::PlainTextLogin,
        ..Policy::default()
    };
    let world = World::with(policy, ImapSettings::default(), Quota::default()).await;
    let mut first = world.anna().await;
    let mut second = world.client().await;
    second.talk("C: a LOGIN anna secret\nS: a NO [LIMIT] …").await;
    first.talk("C: z LOGOUT\nS: * BYE …\nS: z OK …").await;
    first.closed().await;
    second.talk("C: b LOGIN anna secret\nS: b OK [CAPABILITY …] …").await;
}

#[tokio::test(start_paused = true)]
async fn id_enable_namespace_and_friends() {
    let world = World::new().await;
    let mut c = world.client().await;
    c.talk(
        "C: a ID (\"name\" \"tests\")
         S: * ID (\"name\" \"Waypost\" \"version\" \"…\")
         S: a OK …
         C: b ENABLE CONDSTORE
         S: b BAD Sign in first
         C: c LOGIN anna secret
         S: c OK …
         C: d ENABLE X-UNKNOWN
         S: * ENABLED
         S: d OK …
         C: e ENABLE QRESYNC UTF8=ACCEPT IMAP4rev2
         S: * ENABLED QRESYNC UTF8=ACCEPT IMAP4rev2
         S: e OK …
         C: f NAMESPACE
         S: * NAMESPACE ((\"\" \"/\")) NIL NIL
         S: f OK …
         C: g NOOP
         S: g OK …
         C: h FETCH 1 FLAGS
         S: h BAD No folder is selected",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn compression_goes_both_ways() {
    let world = World::new().await;
    let mut c = world.anna().await;
    c.talk("C: a COMPRESS LZMA\nS: a BAD …\nC: b COMPRESS DEFLATE\nS: b OK …").await;
    let mut to = Compress::new(Compression::default(), false);
    let mut from = Decompress::new(false);
    let mut plain = Vec::with_capacity(1 << 16);
    for (command, end) in [
        ("c CAPABILITY\r\n", "c OK"),
        ("d COMPRESS DEFLATE\r\n", "d NO [COMPRESSIONACTIVE]"),
        ("e LIST \"\" *\r\n", "e OK"),
    ] {
        let mut sent = Vec::with_capacity(4096);
        to.compress_vec(command.as_bytes(), &mut sent, FlushCompress::Sync).unwrap();
        c.bytes(&sent).await;
        loop {
            let mut got = [0; 4096];
            let n = c.stream.read(&mut got).await.unwrap();
            assert_ne!(n, 0);
            from.decompress_vec(&got[..n], &mut plain, FlushDecompress::Sync).unwrap();
            if plain.windows(end.len()).any(|w| w == end.as_bytes()) {
                break;
            }
        }
    }
    let plain = String::from_utf8(plain).unwrap();
    assert!(!plain.contains("COMPRESS=DEFLATE"), "{plain}");
}

#[tokio::test(start_paused = true)]
async fn logs_and_legs() {
    let world = World::new().await;
    world.fill(&[&crate::world::mail("one")]).await;
    world.told.lines.lock().unwrap().clear();
    world.told.legs.lock().unwrap().clear();
    let mut c = world.selected().await;
    c.ask("FETCH 1 BODY.PEEK[]").await;
    c.talk("C: z LOGOUT\nS: * BYE …\nS: z OK …").await;
    c.closed().await;
    let lines = world.told.lines.lock().unwrap();
    let all = lines.join("\n");
    assert!(
        all.contains(",0,127.0.0.1:143,127.0.0.1:51877,,0,0,") && all.contains(",OpenSession,,,"),
        "{all}"
    );
    assert!(all.contains(",login,anna *****,R=OK,"), "{all}");
    assert!(all.contains(",anna@contoso.test,") && all.contains(",select,INBOX,R=OK,"), "{all}");
    assert!(all.contains(",fetch,1 BODY.PEEK[],R=OK,"), "{all}");
    assert!(all.contains("CloseSession") && !all.contains("secret"), "{all}");
    let legs = world.told.legs.lock().unwrap();
    let told: Vec<(String, Vec<String>)> = legs
        .iter()
        .map(|l| (l.operation.to_string(), l.steps.iter().map(|s| s.name.to_string()).collect()))
        .collect();
    assert_eq!(told[0].0, "imap.sign-in");
    assert_eq!(told[1].0, "imap.read");
    assert_eq!(told[1].1, ["select", "read"]);
    let names: Vec<&str> = world.service.figures().iter().map(|f| f.name).collect();
    assert!(names.contains(&"imap_commands_fetch_total") && names.contains(&"imap_signin_accepted_total"));
}
