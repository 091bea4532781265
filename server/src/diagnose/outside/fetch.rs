//! A policy or a settings file fetched over HTTPS as mail servers and clients fetch them: the certificate has to be good for
//! the name, no redirects are followed, and little is read.

use super::tls::Looker;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waypost_diagnose::outside::covers;
use waypost_diagnose::outside::seen::{Fetch, Page};
use waypost_trust::channel::BoxStream;

/// For all of it.
const WITHIN: Duration = Duration::from_secs(8);
/// Bytes of an answer, head and body (RFC 8461 §3.3 suggests 64 KiB for a policy).
const ANSWER_MAX: usize = 80 * 1024;

pub fn failed(url: &str, why: String) -> Fetch {
    Fetch { url: url.to_owned(), outcome: Err(why), micros: 0 }
}

/// GET of an `https://` address at this address and port.
pub async fn get(url: &str, address: IpAddr, port: u16, looker: &Looker) -> Fetch {
    let begun = Instant::now();
    let outcome = match tokio::time::timeout(WITHIN, exchange(url, address, port, looker)).await {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {} s", WITHIN.as_secs())),
    };
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    Fetch { url: url.to_owned(), outcome, micros }
}

async fn exchange(url: &str, address: IpAddr, port: u16, looker: &Looker) -> io::Result<Page> {
    let rest = url.strip_prefix("https://").ok_or(io::ErrorKind::InvalidInput)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = TcpStream::connect(SocketAddr::new(address, port)).await?;
    let secured = looker.connect(Box::new(plain), host).await?;
    if let Some(why) = &secured.tls.distrust {
        return Err(io::Error::other(format!("the certificate is not trusted: {why}")));
    }
    if let Some(own) = secured.tls.chain.first() {
        if !own.names.iter().any(|n| covers(n, host)) {
            return Err(io::Error::other(format!("the certificate is for {}", own.names.join(", "))));
        }
        if looker.now() > own.not_after {
            return Err(io::Error::other(format!("the certificate was valid until {}", own.not_after)));
        }
    }
    let answer = ask(secured.stream, host, &format!("/{path}")).await?;
    page(&answer).ok_or_else(|| io::Error::other("the answer is no HTTP"))
}

/// GET of a path; the answer as it came.
pub(super) async fn ask(mut stream: BoxStream, host: &str, path: &str) -> io::Result<Vec<u8>> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: waypost-diagnose\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(piece.get(..n).unwrap_or_default()),
            // Servers that hang up without a goodbye of TLS have said everything all the same.
            Err(_) if !answer.is_empty() => break,
            Err(e) => return Err(e),
        }
        if answer.len() > ANSWER_MAX {
            return Err(io::Error::other("the answer is too large"));
        }
        if whole(&answer) {
            break;
        }
    }
    Ok(answer)
}

fn head_of(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((answer.get(..at)?, answer.get(at + 4..)?))
}

pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|l| l.split_once(':'));
    fields.find(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
}

/// Whether everything that the length promises is there.
fn whole(answer: &[u8]) -> bool {
    let Some((head, body)) = head_of(answer) else { return false };
    let head = String::from_utf8_lossy(head);
    field(&head, "content-length").and_then(|l| l.parse::<usize>().ok()).is_some_and(|l| body.len() >= l)
}

fn page(answer: &[u8]) -> Option<Page> {
    parts(answer).map(|(_, page)| page)
}

/// The head as text, and the page.
pub(super) fn parts(answer: &[u8]) -> Option<(String, Page)> {
    let (head, body) = head_of(answer)?;
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let chunked = field(&head, "transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked"));
    let body = if chunked { unchunked(body) } else { body.to_vec() };
    let kind = field(&head, "content-type").unwrap_or_default().to_owned();
    let page = Page { status, kind, body: String::from_utf8_lossy(&body).into_owned() };
    Some((head, page))
}

/// What is whole of a chunked body (RFC 9112 §7.1).
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = body.windows(2).position(|w| w == b"\r\n") {
        let (line, rest) = (body.get(..end).unwrap_or_default(), body.get(end + 2..).unwrap_or_default());
        let line = String::from_utf8_lossy(line);
        let length =
            usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        if length == 0 {
            break;
        }
        out.extend_from_slice(rest.get(..length.min(rest.len())).unwrap_or_default());
        match rest.get(length.saturating_add(2)..) {
            Some(after) => body = after,
            None => break,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let sized =
            page(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!((sized.status, sized.kind.as_str(), sized.body.as_str()), (200, "text/plain", "hi"));
        let text =
            b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        let chunked = page(text).unwrap();
        assert_eq!((chunked.status, chunked.body.as_str()), (404, "abc"));
        assert!(
            whole(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx") && !whole(b"HTTP/1.1 200 OK\r\n\r\n")
        );
        assert!(page(b"SSH-2.0-x\r\n\r\n").is_none());
        assert_eq!(unchunked(b"ffffffffffffffff\r\nabc"), b"abc");
    }
}
