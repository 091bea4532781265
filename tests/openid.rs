//! An OpenID provider on loopback: a discovery document, a key, and tokens signed with it by OpenSSL.

use crate::ldap::run;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub struct Provider {
    address: SocketAddr,
    folder: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Provider {
    pub fn start(folder: &Path) -> Provider {
        let folder = folder.join("openid");
        fs::create_dir_all(&folder).expect("a folder");
        let key = folder.join("key.pem");
        run(Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"));
        let modulus = run(Command::new("openssl").args(["rsa", "-noout", "-modulus", "-in"]).arg(&key));
        let hex = modulus.trim().trim_start_matches("Modulus=");
        let n: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let issuer = format!("http://{address}");
        let discovery = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string();
        let key = json!({"kty": "RSA", "kid": "k1", "alg": "RS256", "use": "sig", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(n)});
        let keys = json!({"keys": [key]}).to_string();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                theirs.asked.fetch_add(1, Ordering::Relaxed);
                if !theirs.away.load(Ordering::Relaxed) {
                    let _ = answer(stream, &discovery, &keys);
                }
            }
        });
        Provider { address, folder, shared }
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// While it is away, connections are closed without an answer.
    pub fn set_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::Relaxed);
    }

    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// A token for a mail address, good for `seconds` (none where negative), meant for the audience `waypost`.
    pub fn token(&self, email: &str, seconds: i64) -> String {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
        let expires = i64::try_from(now).expect("a clock").saturating_add(seconds);
        self.sign(&json!({"iss": self.issuer(), "aud": "waypost", "exp": expires, "email": email, "scope": "openid mail"}))
    }

    pub fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed =
            format!("{}.{}", part(&json!({"alg": "RS256", "kid": "k1", "typ": "JWT"})), part(claims));
        let (file, signature) = (self.folder.join("signed"), self.folder.join("signature"));
        fs::write(&file, &signed).expect("a file");
        run(Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.folder.join("key.pem"))
            .arg("-out")
            .arg(&signature)
            .arg(&file));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(fs::read(&signature).expect("a signature")))
    }
}

fn answer(mut stream: TcpStream, discovery: &str, keys: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, body) = match first.split(' ').nth(1) {
        Some("/.well-known/openid-configuration") => ("200 OK", discovery),
        Some("/keys") => ("200 OK", keys),
        _ => ("404 Not Found", "{}"),
    };
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes())
}
