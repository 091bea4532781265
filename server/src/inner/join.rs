//! Joining the organisation: a machine with an empty data folder and a one-time token becomes one of its servers.
//!
//! ```text
//! TLS with ALPN "waypost-join/1"; the newcomer has no certificate
//! P: {"waypost":1,"server":"server-1","authority":PEM}
//!    N looks: the authority's fingerprint is the token's, and it has signed the certificate that P showed. Only then:
//! N: {"invitation":…,"secret":…,"server":…,"host":…,"inner":…,"roles":…,"request":PEM}
//! P: {"denied":…}  or  {"admitted":{…}}, then the directory in records, up to `Copied`
//! ```
//!
//! Nothing is believed of anybody before the token's fingerprint has been met; DNS and public certificates play no part.
//! The data folder is written at the end: one that was not admitted, or not told everything, leaves an empty one.

use super::record::{self, Record};
use crate::machine;
use crate::place::{Place, write_secret};
use crate::run::services::Services;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use waypost_admin::settings::{Author, Edit, Scope, merge, save_change_in};
use waypost_directory::invitation::{InvitationError, Token};
use waypost_directory::replica::Extent;
use waypost_directory::{AccountKind, Directory, NewAccount, Roles, Server, end_copy, take_page};
use waypost_store::Store;
use waypost_trust::authority::{Bundle, new_request};
use waypost_trust::channel::BoxStream;
use waypost_trust::leg::frame;
use waypost_trust::{Facts, InnerCa, KeyedCertificate, ServerId, files};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a newcomer asks the inner door for.
pub const ALPN: &[u8] = b"waypost-join/1";

/// Each step of either side has so long.
const STEP_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize, Deserialize)]
struct Greeting {
    waypost: u32,
    server: String,
    authority: String,
}

#[derive(Serialize, Deserialize)]
struct Application {
    invitation: String,
    secret: String,
    /// The id that it wants; `None` takes the next free number.
    server: Option<String>,
    host: String,
    inner: String,
    roles: Option<Roles>,
    /// A request for an inner certificate; only its key counts.
    request: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Admitted(Box<Admitted>),
    Denied { text: String },
}

#[derive(Serialize, Deserialize)]
struct Admitted {
    server: String,
    roles: Roles,
    certificate: String,
    bundle: String,
    settings: String,
    /// Base64. Only for servers that hold mail.
    organisation_key: Option<String>,
}

/// What `joined.json` says: for people, and to tell this server from one that keeps an organisation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joined {
    pub primary: String,
    pub at: String,
    pub roles: Roles,
    /// It has the organisation's key, without which no mail of the organisation can be held.
    #[serde(default)]
    pub has_key: bool,
}

// ---- at the primary

/// Takes newcomers.
pub fn register(handlers: &mut super::Handlers, services: &Arc<Services>) {
    let services = Arc::clone(services);
    handlers.on_join(Arc::new(move |stream, _| {
        Box::pin(admit(stream, Arc::clone(&services))) as super::Handling
    }));
}

/// Serves a newcomer on a connection whose TLS stands.
pub async fn admit(mut stream: BoxStream, services: Arc<Services>) {
    match tokio::time::timeout(STEP_MAX * 4, conversation(&mut stream, &services)).await {
        Ok(Ok(server)) => tracing::info!(%server, "a server has joined"),
        Ok(Err(e)) => tracing::info!(error = %e, "a server has not joined"),
        Err(_) => tracing::info!("a server that wanted to join took too long"),
    }
}

async fn conversation(stream: &mut BoxStream, services: &Services) -> Result<String, Failure> {
    let organisation = &services.organisation;
    if !organisation.is_primary() {
        let text = "this server does not keep the directory: tokens lead to the one that does".to_owned();
        return deny(stream, text).await;
    }
    let folder = organisation.place.trust();
    let authority = files::load(&folder, "inner-ca")?;
    let own = organisation.directory.snapshot().here().unwrap_or_default().to_owned();
    let greeting = Greeting { waypost: 1, server: own, authority: authority.chain_pem.clone() };
    frame::write(stream, &greeting).await?;
    let asked: Application = tokio::time::timeout(STEP_MAX, frame::read(stream)).await??;
    let admitted = match decide(services, &authority, &asked).await {
        Ok(admitted) => admitted,
        Err(text) => return deny(stream, text).await,
    };
    let (server, extent) = (admitted.server.clone(), admitted.roles.extent());
    frame::write(stream, &Answer::Admitted(Box::new(admitted))).await?;
    super::replicate::send_copy(stream, &organisation.directory, extent).await?;
    Ok(server)
}

async fn deny(stream: &mut BoxStream, text: String) -> Result<String, Failure> {
    frame::write(stream, &Answer::Denied { text: text.clone() }).await?;
    Err(text.into())
}

/// Lets it in, or says why not.
async fn decide(
    services: &Services,
    authority: &KeyedCertificate,
    asked: &Application,
) -> Result<Admitted, String> {
    let organisation = &services.organisation;
    let directory = &organisation.directory;
    let now = organisation.clock.now();
    let found = directory.invitations().await.map_err(|e| e.to_string())?;
    let invited = found.iter().find(|i| i.id == asked.invitation);
    let wanted = match &asked.server {
        Some(id) => id.clone(),
        None => invited.and_then(|i| i.server.clone()).unwrap_or_else(|| next_id(directory)),
    };
    let id = ServerId::parse(&wanted).map_err(|e| format!("{wanted:?} cannot be the id of a server: {e}"))?;
    let roles = asked.roles.or_else(|| invited.map(|i| i.roles)).unwrap_or_default();
    let ca = InnerCa::load(&authority.chain_pem, &authority.key_pem).map_err(|e| e.to_string())?;
    let bundle = super::renew::bundle(&organisation.place, &ca).map_err(|e| e.to_string())?;
    let server = Server {
        version: 0,
        id: id.to_string(),
        inner: asked.inner.clone(),
        host: asked.host.clone(),
        roles,
        primary: false,
        components: Default::default(),
        requesters: Default::default(),
        principals: Vec::new(),
        revoked: None,
        certificates_since: None,
        joined: now,
        changed: now,
    };
    // Before the invitation is used up: a request that is no good costs nothing.
    ca.issue_for(&id, &asked.request, now).map_err(|e| format!("the request for a certificate: {e}"))?;
    let text = merge::shared(&services.settings.organisation_text().map_err(|e| e.to_string())?);
    let admitted = directory.admit(&asked.invitation, &asked.secret, server).await;
    let server = admitted.map_err(|e: InvitationError| e.to_string())?;
    add_health_mailbox(directory, &server).await;
    // After `certificates_since` of one that joins again.
    let certificate =
        ca.issue_for(&id, &asked.request, organisation.clock.now()).map_err(|e| e.to_string())?;
    let key = organisation.place.organisation_key().map_err(|e| e.to_string())?;
    Ok(Admitted {
        server: server.id.clone(),
        roles: server.roles,
        certificate,
        bundle: bundle.pem(),
        settings: text,
        organisation_key: roles.mailbox.then(|| STANDARD.encode(key)),
    })
}

/// The account by which the newcomer tries its own doors out; it could not make it there.
async fn add_health_mailbox(directory: &Directory, server: &Server) {
    let name = format!("HealthMailbox-{}", server.id);
    if directory.snapshot().find_account(&name).is_some() {
        return;
    }
    let home = server.roles.mailbox.then(|| server.id.clone());
    let new = NewAccount { kind: Some(AccountKind::Monitoring), home, ..NewAccount::new(name) };
    if let Err(e) = directory.add_account(new).await {
        tracing::warn!(server = %server.id, error = %e, "a server has no mailbox to try its doors with");
    }
}

/// `server-2`, and so on.
fn next_id(directory: &Directory) -> String {
    let now = directory.snapshot();
    let free = (2u32..).map(|n| format!("server-{n}")).find(|id| now.server(id).is_none());
    // There are fewer servers than numbers.
    free.unwrap_or_default()
}

// ---- at the newcomer

/// What `waypost join` was given.
#[derive(Debug)]
pub struct Wish {
    pub token: Token,
    pub id: Option<String>,
    pub host: String,
    pub inner: String,
    pub roles: Option<Roles>,
}

/// Joins, and fills the data folder. Says which server this is now.
pub async fn join(place: &Place, wish: Wish) -> Result<String, Failure> {
    let again = place.joined().exists();
    if place.is_set_up() && !again {
        let folder = place.root().display();
        return Err(
            format!("{folder} holds an organisation's data already; join with an empty folder").into()
        );
    }
    // A server that joins again keeps its mail. It must not be running; better known before the token is used up.
    let store = if again { Some(open_store(place)?) } else { None };
    let (mut stream, shown) = connect(&wish.token).await?;
    let greeting: Greeting = within("the greeting", frame::read(&mut stream)).await?;
    let primary = recognise(&wish.token, &greeting, &shown)?;
    let id = wish.id.clone().unwrap_or_else(|| "newcomer".into());
    let request = new_request(&ServerId::parse(&id)?)?;
    let asked = Application {
        invitation: wish.token.id.clone(),
        secret: wish.token.secret.clone(),
        server: wish.id.clone(),
        host: wish.host.clone(),
        inner: wish.inner.clone(),
        roles: wish.roles,
        request: request.request_pem.clone(),
    };
    frame::write(&mut stream, &asked).await?;
    let admitted = match within("the answer", frame::read(&mut stream)).await? {
        Answer::Admitted(admitted) => *admitted,
        Answer::Denied { text } => return Err(format!("{primary} has not let this server in: {text}").into()),
    };
    let once_more = format!(
        "this server is known to the organisation as {} now, but has not got everything: join again with a token \
         of `waypost New-ServerToken -Server {}`",
        admitted.server, admitted.server
    );
    let filled = async {
        place.create()?;
        write_trust(place, &wish, &primary, &admitted, &request.key_pem)?;
        write_settings(place, &wish, &admitted)?;
        let store = match store {
            Some(store) => store,
            None => open_store(place)?,
        };
        copy_directory(&store, &mut stream, admitted.roles.extent()).await
    };
    filled.await.map_err(|e: Failure| format!("{e}; {once_more}"))?;
    Ok(admitted.server)
}

async fn within<T>(what: &str, step: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(STEP_MAX, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(format!("{what} of the primary did not come: {e}").into()),
        Err(_) => Err(format!("{what} of the primary did not come within {} s", STEP_MAX.as_secs()).into()),
    }
}

/// The certificate that was shown is for whoever asked to judge.
async fn connect(token: &Token) -> Result<(TlsStream<TcpStream>, Vec<u8>), Failure> {
    let at = &token.address;
    let tcp = within(&format!("a connection to {at}"), TcpStream::connect(at.as_str())).await?;
    tcp.set_nodelay(true)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(JudgedLater(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let name = ServerName::try_from("join.waypost.internal")?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = within(&format!("TLS at {at}"), connector.connect(name, tcp)).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| c.to_vec());
    let shown = shown.ok_or("the primary has shown no certificate")?;
    Ok((stream, shown))
}

/// Whether the other end is the primary that the token was made at. Gives its id.
fn recognise(token: &Token, greeting: &Greeting, shown: &[u8]) -> Result<String, Failure> {
    let facts = Facts::of_pem(&greeting.authority)?;
    if !facts.fingerprint.eq_ignore_ascii_case(&token.fingerprint) {
        return Err(format!(
            "{} is not of the organisation that the token was made by: its inner CA is {}, the token's is {}. Either something \
             else answers there, or the CA has been changed since",
            token.address, facts.fingerprint, token.fingerprint
        )
        .into());
    }
    let issued = Bundle::parse(&greeting.authority)?.verify(shown, machine::clock().now());
    let issued = issued.map_err(|e| format!("the certificate that {} has shown: {e}", token.address))?;
    Ok(issued.server.to_string())
}

fn write_trust(
    place: &Place,
    wish: &Wish,
    primary: &str,
    admitted: &Admitted,
    key_pem: &str,
) -> Result<(), Failure> {
    let own = KeyedCertificate { chain_pem: admitted.certificate.clone(), key_pem: key_pem.to_owned() };
    own.check()?;
    files::save(&place.trust(), "server", &own)?;
    files::write_public(&place.bundle(), &admitted.bundle)?;
    let joined = Joined {
        primary: primary.to_owned(),
        at: wish.token.address.clone(),
        roles: admitted.roles,
        has_key: admitted.organisation_key.is_some(),
    };
    write_secret(&place.joined(), &serde_json::to_vec_pretty(&joined)?)?;
    match &admitted.organisation_key {
        Some(text) => {
            // One that joins again has it, and would be told if it were another.
            let key = STANDARD.decode(text)?;
            let key = <[u8; 32]>::try_from(key.as_slice())
                .map_err(|_| "the organisation's key has the wrong size")?;
            place.take_organisation_key(&key)?;
        }
        // A server without mail has a key of its own, for a store of its own.
        None => drop(place.organisation_key()?),
    }
    Ok(())
}

/// `settings.toml` is the organisation's; what is there of `server.toml` already, by whoever prepared the folder, stays.
fn write_settings(place: &Place, wish: &Wish, admitted: &Admitted) -> Result<(), Failure> {
    std::fs::write(Scope::Organisation.document(place.root()), &admitted.settings)?;
    let author = Author {
        who: "join".into(),
        when: machine::clock().now(),
        command: "join".into(),
        ..Author::default()
    };
    let mut edits =
        vec![Edit::set("server.id", &admitted.server), Edit::set("server.name", &wish.host.clone())];
    let there = std::fs::read_to_string(Scope::Server.document(place.root())).unwrap_or_default();
    if !there.lines().any(|line| line.trim_start().starts_with("inner ")) {
        edits.push(Edit::set("listeners.inner", &inner_listeners(&wish.inner)?));
    }
    save_change_in(place.root(), Scope::Server, &edits, &author)?;
    Ok(())
}

/// Where to listen for what others call `HOST:PORT`: there, if it is an address, else everywhere.
fn inner_listeners(inner: &str) -> Result<Vec<std::net::SocketAddr>, Failure> {
    if let Ok(address) = inner.parse() {
        return Ok(vec![address]);
    }
    let port = inner.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| format!("--inner is HOST:PORT, which {inner:?} is not"))?;
    Ok(vec![([0, 0, 0, 0], port).into(), (std::net::Ipv6Addr::UNSPECIFIED, port).into()])
}

fn open_store(place: &Place) -> Result<Store, Failure> {
    let options = waypost_store::Options::new(place.organisation_key()?, machine::clock());
    Ok(Store::open(&place.store(), options)?)
}

async fn copy_directory(
    store: &Store,
    stream: &mut TlsStream<TcpStream>,
    extent: Extent,
) -> Result<(), Failure> {
    let copied = async {
        loop {
            match within("the directory", record::read(stream)).await? {
                Record::Page(page) => take_page(store.engine().as_ref(), &page, extent).await?,
                Record::Copied(mark) => return Ok(end_copy(store.engine().as_ref(), mark).await?),
                _ => {}
            }
        }
    };
    let copied: Result<(), Failure> = copied.await;
    store.close().await;
    copied
}

/// Takes any certificate whose key the other end holds; [`recognise`] looks at it before anything is said.
#[derive(Debug)]
struct JudgedLater(Arc<CryptoProvider>);

impl ServerCertVerifier for JudgedLater {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    crate::tls::signatures_by!(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            address: "mail.example.org:444".into(),
            fingerprint: "AB12".into(),
            id: "0011".into(),
            secret: "beef".into(),
        }
    }

    #[test]
    fn only_the_primary_of_the_token_is_spoken_to() {
        let now = machine::clock().now();
        let (ca, other) = (InnerCa::create("A", now).unwrap(), InnerCa::create("A", now).unwrap());
        let id = ServerId::parse("server-1").unwrap();
        let leaf = |ca: &InnerCa| {
            let pem = ca.issue(&id, now).unwrap().chain_pem;
            rustls_pki_types::pem::PemObject::from_pem_slice(pem.as_bytes())
                .map(|c: CertificateDer<'static>| c.to_vec())
                .unwrap()
        };
        let token = Token { fingerprint: ca.fingerprint().unwrap(), ..token() };
        let greeting = |ca: &InnerCa| Greeting {
            waypost: 1,
            server: "server-1".into(),
            authority: ca.certificate_pem().to_owned(),
        };
        assert_eq!(recognise(&token, &greeting(&ca), &leaf(&ca)).unwrap(), "server-1");
        let stranger = recognise(&token, &greeting(&other), &leaf(&other)).unwrap_err().to_string();
        assert!(stranger.contains("is not of the organisation"), "{stranger}");
        // Somebody in between has our CA's certificate, which is no secret, but none of its keys.
        assert!(recognise(&token, &greeting(&ca), &leaf(&other)).is_err());
    }
}
