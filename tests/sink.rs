//! A mail server that takes everything and remembers it, or answers as it was told to.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A message as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub from: String,
    pub to: Vec<String>,
    /// Without the final dot, dots undone.
    pub data: Vec<u8>,
}

impl Taken {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

/// Given a command line (`RCPT TO:<…>`, `.` for the end of a message), answers something else than 250. An empty answer
/// hangs up.
pub type Script = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

pub struct Sink {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
    stop: Arc<AtomicBool>,
}

impl Sink {
    pub fn start() -> Sink {
        Sink::scripted(Arc::new(|_| None))
    }

    pub fn scripted(script: Script) -> Sink {
        Sink::listen("127.0.0.1:0".parse().expect("an address"), script)
    }

    /// At an address where one was before.
    pub fn at(address: SocketAddr) -> Sink {
        Sink::listen(address, Arc::new(|_| None))
    }

    fn listen(address: SocketAddr, script: Script) -> Sink {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&taken), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
                std::thread::spawn(move || converse(stream, &shared, &script));
            }
        });
        Sink { address, taken, stop }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn taken(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().expect("no thread of the sink panicked")
    }

    /// Waits until so many messages are there.
    pub fn wait(&self, count: usize) -> Vec<Taken> {
        let start = Instant::now();
        while self.taken().len() < count {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{} of {count} messages came",
                self.taken().len()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        self.taken().clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread, which then closes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn converse(stream: TcpStream, taken: &Mutex<Vec<Taken>>, script: &Script) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
    let mut stream = BufReader::new(stream);
    say(&mut stream, script("CONNECT"), "220 sink.test ESMTP").ok()?;
    let mut message = Taken::default();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = script(line);
        let refused = answer.as_ref().is_some_and(|a| !a.starts_with('2') && !a.starts_with('3'));
        match verb.as_str() {
            "EHLO" => say(
                &mut stream,
                answer,
                "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 100000000",
            )
            .ok()?,
            "MAIL" => {
                message = Taken { from: path(line), ..Taken::default() };
                say(&mut stream, answer, "250 2.1.0 Ok").ok()?;
            }
            "RCPT" => {
                if !refused {
                    message.to.push(path(line));
                }
                say(&mut stream, answer, "250 2.1.5 Ok").ok()?;
            }
            "DATA" => {
                if message.to.is_empty() && !refused {
                    say(&mut stream, None, "554 5.5.1 No valid recipients").ok()?;
                    continue;
                }
                say(&mut stream, answer, "354 Go ahead").ok()?;
                if refused {
                    continue;
                }
                message.data = data(&mut stream).ok()?;
                let end = script(".");
                if end.as_ref().is_none_or(|a| a.starts_with('2')) {
                    taken.lock().ok()?.push(std::mem::take(&mut message));
                }
                say(&mut stream, end, "250 2.0.0 Ok: queued as SINK").ok()?;
            }
            "QUIT" => {
                say(&mut stream, answer, "221 2.0.0 Bye").ok()?;
                return None;
            }
            _ => say(&mut stream, answer, "250 Ok").ok()?,
        }
    }
}

fn say(stream: &mut BufReader<TcpStream>, told: Option<String>, usual: &str) -> io::Result<()> {
    let text = told.unwrap_or_else(|| usual.to_owned());
    if text.is_empty() {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    stream.get_mut().write_all(format!("{text}\r\n").as_bytes())
}

fn path(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}

fn data(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.as_slice() {
            b".\r\n" => return Ok(data),
            [b'.', rest @ ..] => data.extend_from_slice(rest),
            line => data.extend_from_slice(line),
        }
    }
}
