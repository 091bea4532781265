//! What stands behind the doors of front ends: sessions that they hand over, and their questions about sign-ins.

use super::{Handlers, Handling, ask};
use crate::run::services::Services;
use std::sync::Arc;
use waypost_directory::signin::Authority;
use waypost_trust::leg::{Arrived, Service};

/// Registers the services for sessions of front ends.
pub fn register(handlers: &mut Handlers, services: &Arc<Services>) {
    let directory = &services.organisation.directory;
    let (imap, snapshots) = (Arc::clone(&services.imap), Arc::clone(directory));
    handlers.on(Service::Imap, move |arrived: Arrived| {
        Box::pin(waypost_access::imap::resume(arrived, Arc::clone(&imap), snapshots.snapshot())) as Handling
    });
    let (pop3, snapshots) = (Arc::clone(&services.pop3), Arc::clone(directory));
    handlers.on(Service::Pop3, move |arrived: Arrived| {
        Box::pin(waypost_access::pop3::resume(arrived, Arc::clone(&pop3), snapshots.snapshot())) as Handling
    });
    for service in [Service::Submission, Service::Smtp] {
        let hub = Arc::clone(&services.works.hub);
        handlers.on(service, move |arrived: Arrived| {
            Box::pin(waypost_transport::accept::resume(arrived, Arc::clone(&hub))) as Handling
        });
    }
    // Only a server that holds proofs answers: one that would ask another in turn is of no use to anybody.
    if services.holds_proofs() {
        let sign_in = Arc::clone(&services.sign_in) as Arc<dyn Authority>;
        handlers.on(Service::SignIn, move |arrived: Arrived| {
            Box::pin(ask::answer::answer(arrived, Arc::clone(&sign_in))) as Handling
        });
    }
}
