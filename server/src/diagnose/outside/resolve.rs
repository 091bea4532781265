//! Questions to name servers for a look from outside: one question at a time is seen with its answer, its time, and whether
//! the name server says that DNSSEC proved it. What people rely on is checked here, too ([`super::prove`]).
//!
//! Asked by hand rather than by the resolver of the transport, which joins and hides what is to be shown here. Each question
//! goes out at most twice to each of two name servers; answers are kept for the one diagnosis.

use super::anchors::Anchor;
use super::prove::Prover;
use hickory_resolver::proto::op::{Edns, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use waypost_base::Timestamp;
use waypost_diagnose::outside::seen::{Answer, Lookup};

/// For one try: name servers that are further away than this are as good as dead to a mail server.
const TRY: Duration = Duration::from_millis(2500);
const SERVERS_MAX: usize = 2;
/// Records of one answer that are kept.
const RECORDS_MAX: usize = 40;
/// Questions of one diagnosis: a domain with everything takes about sixty.
const QUESTIONS_MAX: usize = 250;
/// What fits into one packet without being cut on the way (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

pub struct Resolve {
    servers: Vec<SocketAddr>,
    prover: Prover,
    asked: Mutex<BTreeMap<(String, String), Lookup>>,
}

impl Resolve {
    /// The name servers of this machine unless others are given; trust anchors beside the root's.
    pub fn new(given: Vec<SocketAddr>, anchors: Vec<Anchor>, now: Timestamp) -> Resolve {
        let mut servers = if given.is_empty() { of_this_machine() } else { given };
        servers.truncate(SERVERS_MAX);
        let prover = Prover::new(&servers, anchors, now);
        Resolve { servers, prover, asked: Mutex::default() }
    }

    pub fn has_asked(&self, name: &str, kind: RecordType) -> bool {
        let key = (name.trim_end_matches('.').to_ascii_lowercase(), kind.to_string());
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key)
    }

    /// Asks, and checks the answer by DNSSEC, once.
    pub async fn proved(&self, name: &str, kind: RecordType) -> Lookup {
        let mut lookup = self.ask(name, kind).await;
        let Ok(full) = Name::from_utf8(format!("{}.", lookup.name)) else { return lookup };
        if lookup.dnssec.is_none() && name.parse::<IpAddr>().is_err() {
            lookup.dnssec = Some(self.prover.prove(&full, kind).await);
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.insert((lookup.name.clone(), lookup.kind.clone()), lookup.clone());
        }
        lookup
    }

    /// Everything that was asked, in order of names.
    pub fn lookups(&self) -> Vec<Lookup> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A and AAAA together, as addresses.
    pub async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        if let Ok(address) = host.parse() {
            return vec![address];
        }
        // No name server has to know this one (RFC 6761 §6.3).
        if host.eq_ignore_ascii_case("localhost") {
            return vec![IpAddr::from([127, 0, 0, 1])];
        }
        let (four, six) = tokio::join!(self.ask(host, RecordType::A), self.ask(host, RecordType::AAAA));
        let all = four.records().iter().chain(six.records());
        all.filter_map(|record| record.parse().ok()).collect()
    }

    /// The names of an address, noted under the address itself.
    pub async fn names_of(&self, address: IpAddr) -> Vec<String> {
        let lookup = self.ask_as(&address.to_string(), Name::from(address), RecordType::PTR).await;
        lookup.records().to_vec()
    }

    pub async fn ask(&self, name: &str, kind: RecordType) -> Lookup {
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        let text = format!("{plain}.");
        let full = if text.is_ascii() { Name::from_ascii(&text) } else { Name::from_utf8(&text) };
        match full {
            Ok(full) => self.ask_as(&plain, full, kind).await,
            Err(e) => {
                let answer = Answer::Failed(format!("no name of the DNS: {e}"));
                Lookup {
                    name: plain,
                    kind: kind.to_string(),
                    answer,
                    vouched: false,
                    dnssec: None,
                    micros: 0,
                }
            }
        }
    }

    async fn ask_as(&self, shown: &str, name: Name, kind: RecordType) -> Lookup {
        let key = (shown.to_owned(), kind.to_string());
        {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = asked.get(&key) {
                return known.clone();
            }
            if asked.len() >= QUESTIONS_MAX {
                let answer = Answer::Failed("not asked: there were too many questions".into());
                return Lookup { name: key.0, kind: key.1, answer, vouched: false, dnssec: None, micros: 0 };
            }
        }
        let begun = Instant::now();
        let (answer, vouched, alias) = self.question(&name, kind).await;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let lookup =
            Lookup { name: key.0.clone(), kind: key.1.clone(), answer, vouched, dnssec: None, micros };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alias) = alias {
            let cname = Lookup {
                name: key.0.clone(),
                kind: "CNAME".into(),
                answer: Answer::Records(vec![alias]),
                vouched,
                dnssec: None,
                micros: 0,
            };
            asked.insert((key.0.clone(), "CNAME".into()), cname);
        }
        asked.insert(key, lookup.clone());
        lookup
    }

    async fn question(&self, name: &Name, kind: RecordType) -> (Answer, bool, Option<String>) {
        if self.servers.is_empty() {
            return (Answer::Failed("this machine has no name servers".into()), false, None);
        }
        let mut last = Answer::Timeout;
        for server in self.servers.iter().chain(&self.servers) {
            match tokio::time::timeout(TRY, exchange(*server, name, kind, false)).await {
                Err(_) => last = Answer::Timeout,
                Ok(Err(e)) => last = Answer::Failed(format!("{server}: {e}")),
                Ok(Ok(message)) => match message.metadata.response_code {
                    ResponseCode::NoError => return read(&message, name, kind),
                    ResponseCode::NXDomain => return (Answer::NoName, message.metadata.authentic_data, None),
                    code => last = Answer::Failed(format!("{server}: {code}")),
                },
            }
        }
        (last, false, None)
    }
}

fn of_this_machine() -> Vec<SocketAddr> {
    let Ok((config, _)) = hickory_resolver::system_conf::read_system_conf() else { return Vec::new() };
    let port = |server: &hickory_resolver::config::NameServerConfig| {
        server.connections.first().map_or(53, |connection| connection.port)
    };
    config.name_servers().iter().map(|server| SocketAddr::new(server.ip, port(server))).collect()
}

fn read(message: &Message, name: &Name, kind: RecordType) -> (Answer, bool, Option<String>) {
    let vouched = message.metadata.authentic_data;
    let alias = message.answers.iter().find_map(|record| match &record.data {
        RData::CNAME(to) if record.name == *name => Some(plain(&to.0)),
        _ => None,
    });
    let fitting = message.answers.iter().filter(|record| record.data.record_type() == kind);
    let records: Vec<String> = fitting.take(RECORDS_MAX).map(|record| shown(&record.data)).collect();
    let answer = if records.is_empty() { Answer::NoRecord } else { Answer::Records(records) };
    (answer, vouched, alias.filter(|_| kind != RecordType::CNAME))
}

/// Without the final dot, in small letters; the root stays a dot.
fn plain(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    match text.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => text,
    }
}

fn shown(data: &RData) -> String {
    match data {
        RData::A(a) => a.0.to_string(),
        RData::AAAA(a) => a.0.to_string(),
        RData::MX(mx) => format!("{} {}", mx.preference, plain(&mx.exchange)),
        RData::PTR(name) => plain(&name.0),
        RData::CNAME(name) => plain(&name.0),
        RData::SRV(srv) => {
            format!("{} {} {} {}", srv.priority, srv.weight, srv.port, plain(&srv.target))
        }
        RData::TXT(txt) => {
            let text = String::from_utf8_lossy(&txt.txt_data.concat()).into_owned();
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        }
        RData::TLSA(tlsa) => {
            let (usage, selector, matching) =
                (u8::from(tlsa.cert_usage), u8::from(tlsa.selector), u8::from(tlsa.matching));
            format!("{usage} {selector} {matching} {}", super::tls::hex(&tlsa.cert_data))
        }
        other => other.to_string(),
    }
}

/// One question and its answer: by UDP, and by TCP where that was cut short. `raw`: the name server is to give what it has
/// without checking it (CD).
pub(super) async fn exchange(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    raw: bool,
) -> io::Result<Message> {
    let mut query = Message::query();
    query.metadata.checking_disabled = raw;
    query.metadata.recursion_desired = true;
    // Whoever asks understands the flag in the answer (RFC 6840 §5.7).
    query.metadata.authentic_data = true;
    query.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    edns.set_dnssec_ok(true);
    query.set_edns(edns);
    let bytes = query.to_vec().map_err(io::Error::other)?;
    let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let n = socket.recv(&mut buffer).await?;
        let Ok(answer) = Message::from_vec(buffer.get(..n).unwrap_or_default()) else { continue };
        if answer.metadata.id != query.metadata.id {
            continue;
        }
        return if answer.metadata.truncation { by_tcp(server, &bytes).await } else { Ok(answer) };
    }
}

async fn by_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_u16(length).await?;
    stream.write_all(query).await?;
    stream.flush().await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Message::from_vec(&answer).map_err(io::Error::other)
}
