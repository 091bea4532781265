use super::splice::AT_ONCE;
use super::*;
use crate::channel::BoxStream;
use crate::leg::Service;
use std::collections::BTreeMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::task::JoinHandle;
use waypost_base::id::Correlation;

/// The client's and the server's ends of a splice over pipes that hold so many bytes.
fn spliced(bytes: usize, first: &[u8]) -> (DuplexStream, DuplexStream, JoinHandle<Ended>) {
    let (client, near) = tokio::io::duplex(bytes);
    let (server, far) = tokio::io::duplex(bytes);
    let first = first.to_vec();
    let task = tokio::spawn(splice(Box::new(near), Box::new(far), first, pending()));
    (client, server, task)
}

#[tokio::test(start_paused = true)]
async fn what_one_says_the_other_hears() {
    let (mut client, mut server, task) = spliced(1000, b"pipelined ");
    client.write_all(b"and more").await.unwrap();
    let mut got = [0; 18];
    server.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"pipelined and more");
    // Much more than fits anywhere, both ways at once.
    let story: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let (up, down) = (story.clone(), story.clone());
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut server_in, mut server_out) = tokio::io::split(server);
    let write = async {
        client_out.write_all(&up).await.unwrap();
        client_out.shutdown().await.unwrap();
    };
    let answer = async {
        let mut heard = Vec::new();
        server_in.read_to_end(&mut heard).await.unwrap();
        // The client has closed its half, and still gets its answer.
        server_out.write_all(&down).await.unwrap();
        server_out.shutdown().await.unwrap();
        heard
    };
    let read = async {
        let mut heard = Vec::new();
        client_in.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let ((), at_server, at_client) = tokio::join!(write, answer, read);
    assert!(at_server == story && at_client == story);
    let ended = task.await.unwrap();
    assert!(matches!(ended.end, End::Done), "{ended:?}");
    assert_eq!((ended.to_server, ended.to_client), (1_000_018, 1_000_000));
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_holds_little_and_not_for_ever() {
    let (client, mut server, task) = spliced(1000, b"");
    let begun = tokio::time::Instant::now();
    let mut wrote = 0;
    let piece = [7; 1000];
    while let Ok(n) = tokio::time::timeout(std::time::Duration::from_secs(1), server.write(&piece)).await {
        wrote += n.unwrap();
    }
    assert!(wrote <= AT_ONCE + 3000, "{wrote} bytes are held for somebody who reads nothing");
    let ended = task.await.unwrap();
    assert!(matches!(&ended.end, End::Client(e) if e.kind() == std::io::ErrorKind::TimedOut), "{ended:?}");
    let waited = begun.elapsed();
    assert!(waited >= splice::STALL && waited < splice::STALL * 2, "{waited:?}");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stays_after_the_end_is_let_go() {
    let (mut client, mut server, task) = spliced(1000, b"");
    server.write_all(b"* BYE\r\n").await.unwrap();
    server.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"* BYE\r\n");
    assert!(matches!(task.await.unwrap().end, End::Done));
}

/// A stream that says something, then breaks.
struct Breaks(Option<Vec<u8>>);

impl AsyncRead for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.0.take() {
            Some(bytes) => {
                buf.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for Breaks {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_server_is_told_from_a_client_that_left() {
    let (mut client, near) = tokio::io::duplex(1000);
    let server: BoxStream = Box::new(Breaks(Some(b"* 3 FETCH (BODY[] {1000}".to_vec())));
    let ended = splice(Box::new(near), server, Vec::new(), pending()).await;
    assert!(matches!(ended.end, End::Server(_)), "{ended:?}");
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"* 3 FETCH (BODY[] {1000}", "what came before the break has arrived");

    let (mut server, far) = tokio::io::duplex(1000);
    let ended = splice(Box::new(Breaks(None)), Box::new(far), Vec::new(), pending()).await;
    assert!(matches!(ended.end, End::Client(_)), "{ended:?}");
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0, "the server learns of it");
}

#[tokio::test(start_paused = true)]
async fn both_are_told_when_we_stop() {
    let (mut client, near) = tokio::io::duplex(1000);
    let (mut server, far) = tokio::io::duplex(1000);
    let stop = tokio::time::sleep(std::time::Duration::from_secs(60));
    let ended = splice(Box::new(near), Box::new(far), Vec::new(), stop).await;
    assert!(matches!(ended.end, End::Stopped));
    assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0);
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
}

#[test]
fn an_idle_pair_is_small() {
    let (a, b): (BoxStream, BoxStream) = (Box::new(Breaks(None)), Box::new(Breaks(None)));
    let waiting = splice(a, b, Vec::new(), pending());
    let size = size_of_val(&waiting);
    assert!(size < 512, "{size} bytes for each idle session");
}

/// Servers that answer as they are told to.
#[derive(Default)]
struct Table {
    no: BTreeMap<&'static str, Refusal>,
    asked: Mutex<Vec<String>>,
}

impl Homes for Table {
    fn home(&self, _: AccountId) -> Home {
        Home::Here
    }

    fn hubs(&self) -> Option<Vec<String>> {
        None
    }

    fn out_of_service(&self, _: &str) -> Option<String> {
        None
    }

    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        self.asked.lock().unwrap().push(to.to_owned());
        let result = match self.no.get(to) {
            Some(no) => {
                let mut failed = not_opened(to, &hello, UNAVAILABLE, no.text.clone(), no.elsewhere);
                failed.answer = no.answer.clone();
                Err(failed)
            }
            None => Ok(Opened {
                stream: Box::new(Breaks(None)),
                answer: serde_json::Value::Null,
                leg: Leg::start(
                    "inner.imap",
                    Party::new("server", "a"),
                    Party::new("server", to),
                    Timestamp(1),
                ),
                finding: None,
            }),
        };
        Box::pin(std::future::ready(result))
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_has_moved_is_followed_once() {
    let mut table = Table::default();
    table.no.insert("one", No::Moved { to: Some("two".into()) }.refusal("moved"));
    let hello = Hello::new(Service::Imap, Correlation(1));
    let opened = to_home(&table, "one", hello.clone()).await.unwrap();
    assert_eq!(opened.leg.acceptor.name, "two");
    let leg = leg_of(&hello, opened.leg, Timestamp(2));
    assert_eq!((leg.operation.as_ref(), &leg.outcome), ("imap.proxy", &Outcome::Ok));
    table.no.insert("two", No::Moved { to: Some("one".into()) }.refusal("moved"));
    let failed = to_home(&table, "one", hello.clone()).await.unwrap_err();
    assert_eq!(No::of(&failed), No::Moved { to: Some("one".into()) });
    table.no.insert("one", No::TooMany.refusal("too many"));
    let failed = to_home(&table, "one", hello).await.unwrap_err();
    assert_eq!((No::of(&failed), failed.elsewhere), (No::TooMany, false));
    assert_eq!(*table.asked.lock().unwrap(), ["one", "two", "one", "two", "one"]);
}

#[tokio::test(start_paused = true)]
async fn hubs_are_tried_in_turn_where_nothing_was_begun() {
    let mut table = Table::default();
    let hubs = ["one".to_owned(), "two".to_owned(), "three".to_owned()];
    table.no.insert("one", No::Unavailable { lasting: false }.refusal("draining"));
    let hello = Hello::new(Service::Smtp, Correlation(1));
    assert_eq!(to_hub(&table, &hubs, hello.clone()).await.unwrap().leg.acceptor.name, "two");
    table.no.insert("two", No::Unavailable { lasting: true }.refusal("broken"));
    assert_eq!(to_hub(&table, &hubs, hello.clone()).await.unwrap_err().text, "broken");
    assert_eq!(to_hub(&table, &[], hello).await.unwrap_err().finding.cause.code, "HUB-NONE");
    assert_eq!(*table.asked.lock().unwrap(), ["one", "two", "one", "two"]);
}

#[test]
fn facts_of_tls_survive_the_way() {
    let told = ClientTls {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        server_name: Some("mail.contoso.test".into()),
    };
    let facts = facts(&told);
    assert_eq!(ClientTls::from(&facts), told);
    assert_eq!(facts.exporter, None);
}
