//! The way out, tried: a real message in the real queue, which the send engine takes over a connector with TLS to a peer of
//! the probe's own on loopback.
//!
//! Its route is no domain's name ([`PROBE`]), so that nobody's mail can go there and none of the organisation's connectors
//! is touched. Laws: the peer listens for one try and takes only what that try has sent; a message that does not arrive is
//! removed before the try ends, or, where the server ended first, at the next one; lists of queues and logs for people leave it out.

use super::cause;
use super::flow::{ARRIVAL_MIN, LOOK, LOOK_MAX, letter, message_id};
use super::ground::{Ground, Tried, micros};
use super::refine::store_fault;
use crate::probe::{Done, Fault};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use waypost_base::explain::{Leg, Party};
use waypost_health::Subject;
use waypost_queue::{Accepted, Envelope, Hop, NewItem, NextHop, PROBE, Queue, Route, Target};
use waypost_smtp::{Mailbox, RcptParams};
use waypost_transport::ComponentState;
use waypost_transport::connector::{SendConnector, SmartHost, TlsLevel};
use waypost_trust::channel::{BoxStream, TlsAccept};

/// Whom the message is for: nobody's domain (RFC 6761), so that it would be refused anywhere else.
const TO: (&str, &str) = ("health-probe", "peer.waypost.invalid");
/// Lines of one conversation, and octets of each, that the peer reads.
const LINES_MAX: usize = 200;
const LINE_BYTES_MAX: u64 = 2_000;
/// The queue has written down what became of a message after this.
const SETTLED_MAX: Duration = Duration::from_secs(2);
/// What is left in the queue when the server dies is given up so long after its try.
const EXPIRES: Duration = Duration::from_secs(60);
/// The peer's certificate, which nobody asks for its names or its time.
const CERTIFICATE_DAYS: i64 = 3650;
/// The connection is dead after so long a silence.
const SILENCE: Duration = Duration::from_secs(10);

/// What is kept from one try to the next.
#[derive(Default)]
pub struct Way {
    /// One message is out at a time.
    turn: tokio::sync::Mutex<()>,
    shown: tokio::sync::OnceCell<Arc<dyn TlsAccept>>,
    /// What an earlier run of the server has left is gone.
    swept: AtomicBool,
}

/// Queued, sent and taken by a peer on this machine.
pub async fn outbound(ground: &Ground, limit: Duration) -> Tried {
    let here = ground.here();
    let hub = &ground.services.works.hub;
    if hub.state() == ComponentState::Inactive {
        // Nothing is sent, and that is told with the hub.
        return super::queue::hub(ground);
    }
    let _turn = ground.out.turn.lock().await;
    sweep(ground).await;
    let mut leg = ground.leg("mail.out", Party::new("peer", "loopback"));
    leg.mechanism = "send connector, TLS".into();
    let (done, culprit) = match send(ground, &mut leg, limit.max(ARRIVAL_MIN)).await {
        Ok(()) => (Ok(()), None),
        Err((fault, culprit)) => (Err(fault), culprit),
    };
    let through = vec![Subject::Queue(here.clone()), Subject::Store(here)];
    let (leg, finding) = ground.closed(leg, done);
    let mut tried = Tried::of(through);
    tried.legs.push(leg);
    tried.because(finding, culprit)
}

/// Removes what an earlier run has left.
async fn sweep(ground: &Ground) {
    if ground.out.swept.swap(true, Ordering::Relaxed) {
        return;
    }
    let queue = ground.services.works.hub.queue();
    for item in queue.probes() {
        if let Err(e) = queue.remove(item).await {
            tracing::debug!(item, error = %e, "a probe's message was not removed");
        }
    }
}

type Failed = (Fault, Option<Subject>);

async fn send(ground: &Ground, leg: &mut Leg, arrival: Duration) -> Result<(), Failed> {
    let hub = &ground.services.works.hub;
    let queue = hub.queue();
    let peer = |e: io::Error| (Fault::new(cause::PEER, format!("no listener on loopback: {e}")), None);
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(peer)?;
    let at = listener.local_addr().map_err(peer)?;
    let shown = ground.out.shown.get_or_try_init(async || certificate(ground)).await.map_err(peer)?;
    let id = message_id(ground);
    let taking = tokio::spawn(take(listener, Arc::clone(shown), id.clone()));
    let _ends = Ends(taking.abort_handle());
    hub.set_probe_way(Some(connector(at)));
    let hop = NextHop::Connector { connector: PROBE.to_owned(), domain: None };
    if queue.last_error(&hop).is_some_and(|(_, next)| next.is_some()) {
        // What failed last time is not waited for; where it cannot be written down it is tried all the same.
        let _ = queue.retry_queue(PROBE).await;
    }
    let begun = Instant::now();
    let item = put(ground, &id, Route::Domain(PROBE.to_owned()), out_there(), arrival).await;
    leg.step("queue", micros(begun), item.as_ref().err().map(|(fault, _)| fault.text.clone()));
    let item = item?;
    let begun = Instant::now();
    let arrived = arrives(queue, &hop, taking, arrival).await;
    leg.step("send", micros(begun), arrived.as_ref().err().map(|fault| fault.text.clone()));
    let begun = Instant::now();
    let done = match arrived {
        Ok(()) => settled(queue, item).await,
        Err(fault) => {
            // It is gone, or goes when its connection ends.
            let _ = queue.remove(item).await;
            return Err((fault, None));
        }
    };
    leg.step("settle", micros(begun), done.as_ref().err().map(|fault| fault.text.clone()));
    if done.is_err() {
        let _ = queue.remove(item).await;
    }
    done.map_err(|fault| (fault, Some(Subject::Queue(ground.here()))))
}

/// Ends the peer with the try.
struct Ends(tokio::task::AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn certificate(ground: &Ground) -> io::Result<Arc<dyn TlsAccept>> {
    let made =
        waypost_trust::self_signed(&[TO.1], CERTIFICATE_DAYS, ground.now()).map_err(io::Error::other)?;
    crate::tls::show_only(&made)
}

fn connector(at: SocketAddr) -> SendConnector {
    let mut connector = SendConnector::new(PROBE, Vec::new());
    connector.smart_hosts = vec![SmartHost { host: at.ip().to_string(), port: Some(at.port()) }];
    connector.tls.level = TlsLevel::Required;
    connector.inactivity = SILENCE;
    connector.messages_per_connection = 1;
    connector.connections_per_domain = 1;
    connector
}

fn out_there() -> Target {
    Target { to: Mailbox::new(TO.0, TO.1), of: 0, local: None }
}

/// Puts a probe's message into the queue; its number there comes back. Nobody is told when it expires.
pub async fn put(
    ground: &Ground,
    id: &str,
    route: Route,
    target: Target,
    lasts: Duration,
) -> Result<u64, Failed> {
    let here = ground.here();
    let queue = ground.services.works.hub.queue();
    let now = ground.now();
    let text = letter("health@waypost.invalid", &target.to.to_string(), id);
    let kept = i64::try_from((lasts + EXPIRES).as_millis()).unwrap_or(i64::MAX);
    let failed = |said: String| {
        let known = store_fault(&ground.services.organisation.store.health());
        let fault = known.unwrap_or_else(|| Fault::new(cause::STORE_FAILED, "the queue cannot be written"));
        (fault.seen(said), Some(Subject::Store(here.clone())))
    };
    let work = async {
        let blob = queue.store().blobs().write(text.as_bytes()).await.map_err(|e| e.to_string())?;
        let item = NewItem {
            id: queue.next_id(),
            envelope: Envelope {
                expires: now.plus_millis(kept),
                subject: "health probe".into(),
                message_id: id.to_owned(),
                headers_from: "health@waypost.invalid".into(),
                ..Envelope::new(None, now, crate::machine::correlation())
            },
            blob,
            recipients: vec![Accepted { to: target.to.clone(), params: RcptParams::default() }],
            hops: vec![Hop { number: 0, route, targets: vec![target] }],
        };
        let submitted = queue.submit(item, false).await.map_err(|e| e.to_string())?;
        Ok(submitted.id)
    };
    match tokio::time::timeout(lasts, work).await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(failed(format!("the queue took no message in {:.1} s", lasts.as_secs_f64()))),
    }
}

/// Waits until the peer has the message, or it is known that it will not get it soon.
async fn arrives(
    queue: &Queue,
    hop: &NextHop,
    mut taking: tokio::task::JoinHandle<io::Result<()>>,
    limit: Duration,
) -> Done {
    let until = Instant::now() + limit;
    loop {
        match tokio::time::timeout(LOOK, &mut taking).await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(e))) => return Err(Fault::new(cause::PEER, format!("the peer broke off: {e}"))),
            Ok(Err(_)) => return Err(Fault::new(cause::PEER, "the peer ended with a defect")),
            Err(_) => {}
        }
        match queue.last_error(hop) {
            Some((reason, Some(_))) => {
                let text = format!("a message to a peer on loopback is not sent: {reason}");
                return Err(Fault::new(cause::PEER, text));
            }
            _ if Instant::now() < until => {}
            last => {
                let text =
                    format!("the message was queued and is not sent after {:.1} s", limit.as_secs_f64());
                let fault = Fault::new(cause::QUEUE_STUCK, text);
                return Err(match last {
                    Some((reason, _)) => fault.seen(format!("the attempt before ended with: {reason}")),
                    None => fault,
                });
            }
        }
    }
}

/// The queue has let go of what was sent.
pub async fn settled(queue: &Queue, item: u64) -> Done {
    let until = Instant::now() + SETTLED_MAX;
    let mut pause = LOOK / 5;
    while queue.has(item) {
        if Instant::now() > until {
            return Err(Fault::new(cause::QUEUE_STUCK, "a message that was sent does not leave the queue"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
    Ok(())
}

/// Takes connections until one has brought the message with this Message-ID.
async fn take(listener: TcpListener, tls: Arc<dyn TlsAccept>, id: String) -> io::Result<()> {
    loop {
        let (stream, from) = listener.accept().await?;
        match converse(Box::new(stream), &*tls).await {
            Ok(got) if got.contains(&id) => return Ok(()),
            Ok(_) => {}
            // Somebody who is not meant, or a try that is repeated.
            Err(e) => tracing::debug!(%from, error = %e, "the peer of a probe was not sent its message"),
        }
    }
}

/// One conversation of the peer: TLS, then one message for its recipient, whose text comes back.
async fn converse(plain: BoxStream, tls: &dyn TlsAccept) -> io::Result<String> {
    let mut stream = BufReader::new(plain);
    let mut secure = false;
    let (mut got, mut data) = (String::new(), false);
    stream.get_mut().write_all(b"220 peer.waypost.invalid ESMTP\r\n").await?;
    for _ in 0..LINES_MAX {
        let mut line = Vec::new();
        if (&mut stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await? == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&line);
        let said = line.trim_end().to_ascii_uppercase();
        let reply: &[u8] = match said.as_str() {
            "." if data => {
                data = false;
                b"250 2.0.0 taken\r\n"
            }
            _ if data => {
                got.push_str(&line);
                continue;
            }
            "STARTTLS" if !secure => {
                stream.get_mut().write_all(b"220 2.0.0 go on\r\n").await?;
                stream.get_mut().flush().await?;
                stream = BufReader::new(tls.accept(stream.into_inner()).await?.0);
                secure = true;
                continue;
            }
            "DATA" if secure => {
                data = true;
                b"354 go on\r\n"
            }
            "QUIT" => {
                stream.get_mut().write_all(b"221 2.0.0 bye\r\n").await?;
                stream.get_mut().flush().await?;
                break;
            }
            said if said.starts_with("EHLO") && !secure => b"250-peer.waypost.invalid\r\n250 STARTTLS\r\n",
            said if said.starts_with("EHLO") || said.starts_with("MAIL") && secure => b"250 2.0.0 ok\r\n",
            said if said.starts_with(&format!("RCPT TO:<{}@{}>", TO.0, TO.1).to_ascii_uppercase()) => {
                b"250 2.1.5 ok\r\n"
            }
            _ => b"554 5.5.0 this is for health probes alone\r\n",
        };
        stream.get_mut().write_all(reply).await?;
        stream.get_mut().flush().await?;
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::cause::MANNER;
    use crate::probe::{Dialect, Talk};

    async fn peer() -> (SocketAddr, tokio::task::JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let made = waypost_trust::self_signed(&[TO.1], 30, crate::machine::clock().now()).unwrap();
        let tls = crate::tls::show_only(&made).unwrap();
        (at, tokio::spawn(take(listener, tls, "x@y".into())))
    }

    #[tokio::test]
    async fn the_peer_takes_its_message_alone_and_under_tls() {
        let (at, task) = peer().await;
        // In clear, and from somebody else: nothing is taken.
        let mut talk = Talk::connect(at, Dialect::Smtp, &MANNER).await.unwrap();
        talk.answer("the connection").await.unwrap();
        let said = talk.ask("MAIL FROM:<a@b.test>").await.unwrap();
        assert!(said.last().starts_with("554"), "{said:?}");
        talk.leave().await;
        assert!(!task.is_finished());

        let mut talk = Talk::connect(at, Dialect::Smtp, &MANNER).await.unwrap();
        talk.answer("the connection").await.unwrap();
        assert!(talk.ask("EHLO us.test").await.unwrap().has("STARTTLS"));
        talk.ask("STARTTLS").await.unwrap();
        talk.start_tls(&crate::outbound::TlsClient::default(), TO.1).await.unwrap();
        let said = talk.ask("RCPT TO:<somebody@contoso.test>").await.unwrap();
        assert!(said.last().starts_with("554"), "{said:?}");
        super::super::flow::hand_in(&mut talk, "", &format!("{}@{}", TO.0, TO.1), "x@y").await.unwrap();
        talk.leave().await;
        task.await.unwrap().unwrap();
    }
}
