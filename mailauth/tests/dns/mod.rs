//! A name server of a test: answers from a table over UDP on loopback, with the faults that name servers have.
#![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::{BinDecodable, BinEncodable};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use waypost_mailauth::{Names, NamesOptions};

#[derive(Clone, Debug)]
pub enum Answer {
    Txt(&'static str),
    Text(String),
    Mx(u16, &'static str),
    A(&'static str),
    Aaaa(&'static str),
    Ptr(&'static str),
    Servfail,
    Silent,
}

/// Name in lower case without the final dot → its records.
pub type Table = BTreeMap<String, Vec<Answer>>;

pub struct Server {
    pub names: Names,
    pub table: Arc<Mutex<Table>>,
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub async fn start(records: &[(&str, Answer)]) -> Server {
        let mut table = Table::new();
        for (name, answer) in records {
            table.entry((*name).to_owned()).or_default().push(answer.clone());
        }
        let table = Arc::new(Mutex::new(table));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at: SocketAddr = socket.local_addr().unwrap();
        tokio::spawn(serve(socket, table.clone(), asked.clone()));
        let options = NamesOptions {
            servers: vec![at],
            timeout: Duration::from_millis(300),
            attempts: 1,
            ..NamesOptions::default()
        };
        Server { names: Names::open(&options).unwrap(), table, asked }
    }

    pub fn put(&self, name: &str, answer: Answer) {
        self.table.lock().unwrap().insert(name.to_owned(), vec![answer]);
    }
}

async fn serve(socket: UdpSocket, table: Arc<Mutex<Table>>, asked: Arc<Mutex<Vec<String>>>) {
    let mut buffer = vec![0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Ok(question) = Message::from_bytes(&buffer[..length]) else { continue };
        let Some(reply) = answer(&question, &table.lock().unwrap(), &asked) else { continue };
        let _ = socket.send_to(&reply.to_bytes().unwrap(), from).await;
    }
}

fn answer(question: &Message, table: &Table, asked: &Mutex<Vec<String>>) -> Option<Message> {
    let query = question.queries.first()?;
    let name = query.name().to_lowercase().to_ascii();
    let name = name.trim_end_matches('.');
    asked.lock().unwrap().push(format!("{name} {}", query.query_type()));
    let mut reply = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_desired = true;
    reply.metadata.recursion_available = true;
    reply.queries.push(query.clone());
    let Some(records) = table.get(name) else {
        let below = table.keys().any(|known| known.ends_with(&format!(".{name}")));
        reply.metadata.response_code = if below { ResponseCode::NoError } else { ResponseCode::NXDomain };
        return Some(reply);
    };
    let full = |text: &str| Name::from_ascii(format!("{text}.")).unwrap();
    for record in records {
        let data = match record {
            Answer::Servfail => {
                reply.metadata.response_code = ResponseCode::ServFail;
                return Some(reply);
            }
            Answer::Silent => return None,
            Answer::Txt(text) => RData::TXT(TXT::new(vec![(*text).to_owned()])),
            Answer::Text(text) => {
                let pieces = text.as_bytes().chunks(255).map(|p| String::from_utf8(p.to_vec()).unwrap());
                RData::TXT(TXT::new(pieces.collect()))
            }
            Answer::Mx(preference, host) => RData::MX(MX::new(*preference, full(host))),
            Answer::A(a) => RData::A(A(a.parse().unwrap())),
            Answer::Aaaa(a) => RData::AAAA(AAAA(a.parse().unwrap())),
            Answer::Ptr(name) => RData::PTR(PTR(full(name))),
        };
        if data.record_type() == query.query_type() || query.query_type() == RecordType::ANY {
            reply.answers.push(Record::from_rdata(query.name().clone(), 300, data));
        }
    }
    Some(reply)
}
