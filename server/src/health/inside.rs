//! This server's own submission service, spoken to in memory: listeners, TLS and the network are not needed for it.

use super::cause::MANNER;
use super::ground::Ground;
use crate::machine;
use crate::probe::{Dialect, Talk};
use std::net::SocketAddr;
use tokio::task::AbortHandle;
use waypost_transport::accept::{self, Kind};
use waypost_trust::channel::{Channel, TlsFacts};

/// Octets on their way between the two ends.
const PIPE: usize = 64 * 1024;

/// A conversation with it, before the greeting, and what ends the service's side when the conversation is over.
pub fn submission(ground: &Ground) -> (Talk, AbortHandle) {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let loopback = SocketAddr::from(([127, 0, 0, 1], 1));
    let facts = TlsFacts {
        version: "TLSv1.3",
        cipher: "in-process",
        server_name: None,
        exporter: None,
        end_point: None,
        client: None,
    };
    let channel = Channel {
        stream: Box::new(theirs),
        local: loopback,
        peer: loopback,
        tls: Some(facts),
        upgrade: None,
    };
    let service = ground.services.works.hub.service(Kind::Submissions);
    let serving = tokio::spawn(accept::serve(channel, service, machine::correlation()));
    (Talk::over(Box::new(ours), Dialect::Smtp, &MANNER), serving.abort_handle())
}
