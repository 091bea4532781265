//! Ports for programs that must be told one before they start.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below what the kernel gives to whoever asks for any port, so that nobody comes in between by chance.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// A port of loopback that is free for TCP and UDP, and that this process has not given away before.
pub fn free() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Another process that runs tests at the same time begins elsewhere.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (std::process::id().wrapping_mul(977).wrapping_add(number)) % COUNT;
        let port = u16::try_from(port).expect("below 30000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
        assert!(number < 10 * COUNT, "no port is free");
    }
}
