//! NTLM checked by a domain controller, through Samba's `ntlm_auth` on a machine that is joined to a domain.
//!
//! The messages are read by `waypost-sasl`; the program only says whether a response fits, by its protocol
//! `ntlm-server-1`: lines of `Name: value`, each request and each answer ended by a line with a dot. It is started anew
//! for each question, off the tasks that serve connections, and given up after some seconds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use waypost_directory::signin::{Answering, NtlmSource};
use waypost_sasl::{Answer, NtlmAsk, Secret, Why};

/// Programs at a time.
const AT_ONCE: usize = 8;

/// A domain controller that is there answers in a tenth of a second.
const LIMIT: Duration = Duration::from_secs(8);

struct Helper {
    program: String,
    places: Semaphore,
}

/// `None` where no program is named.
pub(super) fn helper(program: &str) -> Option<Arc<dyn NtlmSource>> {
    if program.is_empty() {
        return None;
    }
    Some(Arc::new(Helper { program: program.to_owned(), places: Semaphore::new(AT_ONCE) }))
}

impl NtlmSource for Helper {
    fn answer<'a>(&'a self, ask: &'a NtlmAsk) -> Answering<'a> {
        Box::pin(async move {
            let asked = async {
                let Ok(_place) = self.places.acquire().await else {
                    return Answer::Unavailable("the server stops".into());
                };
                let (program, request) = (self.program.clone(), request(ask));
                let run = tokio::task::spawn_blocking(move || run(&program, &request));
                match run.await {
                    Ok(Ok(said)) => read(&said),
                    Ok(Err(e)) => Answer::Unavailable(format!("{}: {e}", self.program)),
                    Err(_) => Answer::Unavailable(format!("{} was not run", self.program)),
                }
            };
            let late = |_| Answer::Unavailable(format!("{} did not answer in time", self.program));
            tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(late)
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

/// Names go in base64 (`Name:: value`), so that nothing in them can be a line of its own.
fn request(ask: &NtlmAsk) -> String {
    let response = [ask.proof.as_slice(), &ask.blob].concat();
    format!(
        "LANMAN-Challenge: {}\nNT-Response: {}\nNT-Domain:: {}\nUsername:: {}\nRequest-User-Session-Key: Yes\n.\n",
        hex(&ask.challenge),
        hex(&response),
        STANDARD.encode(&ask.domain),
        STANDARD.encode(&ask.user),
    )
}

fn run(program: &str, request: &str) -> std::io::Result<String> {
    let mut child = Command::new(program)
        .arg("--helper-protocol=ntlm-server-1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let said = (|| {
        let gone = || std::io::Error::other("no pipe to the program");
        child.stdin.take().ok_or_else(gone)?.write_all(request.as_bytes())?;
        let mut said = String::new();
        for line in BufReader::new(child.stdout.take().ok_or_else(gone)?).lines().take(64) {
            let line = line?;
            if line == "." {
                break;
            }
            said.push_str(&line);
            said.push('\n');
        }
        Ok(said)
    })();
    let _ = child.kill();
    let _ = child.wait();
    said
}

fn read(said: &str) -> Answer {
    let value =
        |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim);
    match value("Authenticated") {
        Some("Yes") => match value("User-Session-Key").and_then(unhex) {
            Some(key) => Answer::Ntlm(Secret::new(key)),
            None => Answer::Unavailable("ntlm_auth gave no session key".into()),
        },
        Some("No") => {
            let error = value("Authentication-Error").unwrap_or("no reason given");
            let has = |words: &[&str]| words.iter().any(|w| error.to_lowercase().contains(w));
            if has(&["disabled"]) {
                Answer::NotAllowed(Why::Disabled)
            } else if has(&["expired", "must change"]) {
                Answer::NotAllowed(Why::Expired)
            } else if has(&["locked"]) {
                Answer::NotAllowed(Why::Locked)
            } else if has(&[
                "logon failure",
                "wrong password",
                "no such user",
                "bad password",
                "0xc000006d",
                "0xc0000064",
            ]) {
                Answer::Wrong
            } else {
                Answer::Unavailable(format!("ntlm_auth: {error}"))
            }
        }
        _ => Answer::Unavailable("ntlm_auth gave no answer".into()),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes().as_chunks::<2>().0;
    let all: Option<Vec<u8>> =
        bytes.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    all.filter(|key| key.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_says() {
        let key = "User-Session-Key: 000102030405060708090A0B0C0D0E0F";
        let yes = read(&format!("Authenticated: Yes\n{key}\n"));
        assert_eq!(yes, Answer::Ntlm(Secret::new((0..16).collect::<Vec<u8>>())));
        let no = |error: &str| read(&format!("Authenticated: No\nAuthentication-Error: {error}\n"));
        assert_eq!(no("The attempted logon is invalid (0xc000006d)"), Answer::Wrong);
        assert_eq!(no("Account disabled"), Answer::NotAllowed(Why::Disabled));
        assert!(matches!(no("No logon servers are currently available"), Answer::Unavailable(_)));
        assert!(matches!(read(""), Answer::Unavailable(_)));
    }

    #[test]
    fn names_cannot_be_lines() {
        let ask = NtlmAsk {
            user: "a\nUsername: root".into(),
            domain: "D".into(),
            challenge: [1; 8],
            proof: [2; 16],
            blob: vec![3; 28],
        };
        assert_eq!(request(&ask).lines().count(), 6);
        assert!(!request(&ask).contains("root"));
    }
}
