//! The conversation scripts, played in memory and in virtual time; each response is read by imap-codec too.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[allow(dead_code, reason = "the scripts need less of it than the tests it was made for")]
#[path = "../../access/tests/imap/world.rs"]
mod world;

use base64::Engine;
use imap_codec::decode::Decoder;
use imap_codec::{GreetingCodec, ResponseCodec};
use std::path::Path;
use waypost_access::imap::ImapSettings;
use waypost_access::signin::{LoginType, Policy};
use waypost_mailbox::Quota;
use waypost_testkit::talk::{BoxStream, Script, Variables, run};
use world::World;

fn variables() -> Variables {
    let mut variables = Variables::new();
    for (suffix, user) in [("", "anna"), ("2", "ben")] {
        let plain = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0secret"));
        for (name, value) in [("user", user), ("password", "secret"), ("plain", plain.as_str())] {
            variables.insert(format!("{name}{suffix}"), value.as_bytes().to_vec());
        }
    }
    variables
}

/// What imap-codec cannot read, by a word of it, and why not.
const BEYOND_THE_ORACLE: [(&str, &str); 10] = [
    (" (BINARY[1]<", "the origin of a partial BINARY stands in RFC 3516 §4.3, but not in its grammar"),
    ("* ESEARCH", "not in its grammar"),
    (" EMAILID (", "RFC 8474"),
    (" THREADID (", "RFC 8474"),
    ("SAVEDATE ", "RFC 8514"),
    ("PREVIEW ", "RFC 8970"),
    ("MAILBOXID (", "RFC 8474, in STATUS"),
    ("APPENDLIMIT", "RFC 7889"),
    ("CHILDINFO", "extended data of LIST"),
    ("OLDNAME", "extended data of LIST"),
];

fn oracle(response: &[u8]) -> bool {
    let whole = |read: Option<usize>| read == Some(0);
    let text = String::from_utf8_lossy(response);
    BEYOND_THE_ORACLE.iter().any(|(word, _)| text.contains(word))
        || whole(ResponseCodec::default().decode(response).ok().map(|(rest, _)| rest.len()))
        || whole(GreetingCodec::default().decode(response).ok().map(|(rest, _)| rest.len()))
}

async fn play(path: &Path) -> Result<(), String> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let script = Script::parse(&name, &std::fs::read_to_string(path).unwrap()).map_err(|e| e.to_string())?;
    let quota = Quota { prohibit_bytes: Some(1 << 20), ..Quota::default() };
    let quota = if script.needs.iter().any(|need| need == "quota") { quota } else { Quota::default() };
    let policy = Policy { login_type: LoginType::PlainTextLogin, ..Policy::default() };
    let world = World::with(policy, ImapSettings::default(), quota).await;
    let mut foreign = Vec::new();
    let connect = async |_: &str| Ok(Box::new(world.connect().stream) as BoxStream);
    let played = run(&script, variables(), connect, |response| {
        if !oracle(response) {
            foreign.push(String::from_utf8_lossy(response).into_owned());
        }
    })
    .await;
    played.map_err(|failure| failure.to_string())?;
    if foreign.is_empty() { Ok(()) } else { Err(format!("{name}: the oracle cannot read {foreign:#?}")) }
}

#[tokio::test(start_paused = true)]
async fn imap_scripts_in_memory() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/talk/imap");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "talk"));
    paths.sort();
    if let Ok(only) = std::env::var("TALK") {
        paths.retain(|path| path.to_string_lossy().contains(&only));
    }
    let mut failures = Vec::new();
    for path in &paths {
        if let Err(failure) = play(path).await {
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), paths.len(), failures.join("\n\n"));
}
