//! Kerberos as inner legs want it: one token each way, always bound to the TLS channel.

use super::cause;
use super::gss::{AcceptContext, Acceptor, Binding, Bound, Framing, InitContext, Initiator, Peer, Step};
use crate::leg::fault::Fault;
use crate::leg::kerberos::{
    Admitted, Begun, Doing, KerberosAcceptor, KerberosInitiator, KerberosRest, Proof,
};
use waypost_base::explain::Evidence;

impl KerberosInitiator for Initiator {
    fn begin<'a>(&'a self, target: &'a str, exporter: &'a [u8; 32]) -> Doing<'a, Begun> {
        Box::pin(async move {
            let binding = Some(Binding::exporter(exporter));
            let mut context = Initiator::begin(self, target, Framing::Krb5, binding);
            let Step { token, .. } = context.step(Vec::new()).await.map_err(|refused| refused.fault)?;
            let evidence = context.evidence();
            Ok(Begun { token, evidence, rest: Box::new(context) })
        })
    }
}

impl KerberosRest for InitContext {
    fn finish(mut self: Box<Self>, reply: Vec<u8>) -> Doing<'static, Proof> {
        Box::pin(async move {
            let step = self.step(reply).await.map_err(|refused| refused.fault)?;
            let evidence = self.evidence();
            proof(step, evidence).map(|(_, proof)| proof)
        })
    }
}

impl KerberosAcceptor for Acceptor {
    fn accept<'a>(&'a self, token: &'a [u8], exporter: &'a [u8; 32]) -> Doing<'a, Admitted> {
        Box::pin(async move {
            let mut context: AcceptContext = self.begin();
            let bound = Bound { any_of: vec![Binding::exporter(exporter)], required: true };
            let step = context.step(token.to_vec(), &bound).await.map_err(|refused| refused.fault)?;
            proof(step, Vec::new()).map(|(reply, proof)| Admitted { reply, proof })
        })
    }
}

/// One token each way is all that there is: a context that wants more is not raw Kerberos.
fn proof(step: Step, evidence: Vec<Evidence>) -> Result<(Vec<u8>, Proof), Fault> {
    let Some(peer) = step.done else {
        return Err(Fault::new(cause::TOKEN, "the exchange takes more tokens than Kerberos has"));
    };
    let key = key(&peer);
    Ok((step.token, Proof { principal: peer.principal, key, evidence }))
}

/// `waypost/mbx1.example.org@EXAMPLE.ORG kvno 4 aes256-cts`
fn key(peer: &Peer) -> String {
    match &peer.ticket {
        Some(ticket) => match ticket.kvno {
            Some(kvno) => format!("{} kvno {kvno} {}", ticket.server, ticket.enctype),
            None => format!("{} {}", ticket.server, ticket.enctype),
        },
        None => peer.service.clone(),
    }
}
