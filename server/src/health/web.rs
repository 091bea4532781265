//! One request to a door of this machine, over plain HTTP or TLS with whatever certificate is shown.

use super::ground::Ground;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use waypost_trust::channel::{BoxStream, TlsConnect, TlsWish, Verify};

/// The status of the answer to GET; the error says what was in the way. Whoever calls bounds the time.
pub async fn fetch(at: SocketAddr, path: &str, secure: bool, ground: &Ground) -> Result<u16, String> {
    let plain = TcpStream::connect(at).await.map_err(|e| format!("it takes no connection: {e}"))?;
    let stream: BoxStream = if secure {
        let name = ground.services.settings.current().server.name.clone();
        let wish = TlsWish { name, verify: Verify::Any };
        let connected = ground.tls.connect(Box::new(plain), wish).await;
        connected.map_err(|e| format!("the TLS handshake fails: {e}"))?.0
    } else {
        Box::new(plain)
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let driving = tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, at.to_string())
        .header(header::USER_AGENT, "waypost-health")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await;
    driving.abort();
    Ok(answer.map_err(|e| format!("the connection broke: {e}"))?.status().as_u16())
}
