//! Small things fetched over HTTP and HTTPS: signing keys of an OpenID provider, answers about certificates.
//!
//! Bounded in size and time, no redirects, HTTP/1.1. Names are looked up by the system.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use waypost_trust::channel::BoxStream;

/// Bytes of an answer.
const ANSWER_MAX: usize = 1024 * 1024;
/// For all of it.
const WITHIN: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub status: u16,
    pub body: Vec<u8>,
}

/// GET; the error says what was in the way.
pub async fn get(url: &str, ca_file: Option<&Path>) -> Result<Fetched, String> {
    send(url, None, ca_file).await
}

/// POST of a body of this type where there is one, else GET.
pub async fn send(
    url: &str,
    body: Option<(&'static str, Vec<u8>)>,
    ca_file: Option<&Path>,
) -> Result<Fetched, String> {
    match tokio::time::timeout(WITHIN, exchange(url, body, ca_file)).await {
        Ok(done) => done.map_err(|e| format!("{url}: {e}")),
        Err(_) => Err(format!("{url}: no answer within {} s", WITHIN.as_secs())),
    }
}

async fn exchange(
    url: &str,
    body: Option<(&'static str, Vec<u8>)>,
    ca_file: Option<&Path>,
) -> Result<Fetched, String> {
    let uri: Uri = url.parse().map_err(|e| format!("not an address: {e}"))?;
    let host = uri.host().ok_or("it has no host")?.trim_matches(['[', ']']).to_owned();
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err("neither http: nor https:".into()),
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let plain = TcpStream::connect((host.as_str(), port)).await.map_err(|e| e.to_string())?;
    // Nothing of ours is there, and in a cloud the machine's own credentials are.
    if plain.peer_addr().is_ok_and(|at| is_link_local(at.ip())) {
        return Err("it is at a link-local address, where nothing is asked".into());
    }
    let stream: BoxStream = match secure {
        false => Box::new(plain),
        true => {
            let name = ServerName::try_from(host.clone()).map_err(|e| e.to_string())?;
            let connector = TlsConnector::from(client_config(ca_file)?);
            Box::new(connector.connect(name, plain).await.map_err(|e| e.to_string())?)
        }
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let driving = tokio::spawn(connection);
    let request = request(&uri, body).map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.map_err(|e| e.to_string())?;
    driving.abort();
    Ok(Fetched { status, body: body.to_bytes().to_vec() })
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn request(
    uri: &Uri,
    body: Option<(&'static str, Vec<u8>)>,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let authority = uri.authority().map(|a| a.as_str()).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let builder = Request::builder()
        .uri(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("waypost/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    match body {
        None => builder.method("GET").body(Full::new(Bytes::new())),
        Some((kind, bytes)) => {
            builder.method("POST").header(header::CONTENT_TYPE, kind).body(Full::new(Bytes::from(bytes)))
        }
    }
}

/// TLS as a client, trusting the CAs of a PEM file, or those of this machine.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))? {
                roots.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_where_clouds_keep_credentials() {
        for (ip, there) in [
            ("169.254.169.254", true),
            ("::ffff:169.254.169.254", true),
            ("fe80::1", true),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(ip.parse().map(is_link_local), Ok(there), "{ip}");
        }
    }
}
