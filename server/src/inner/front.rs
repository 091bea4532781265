//! Where clients belong: the directory's answers for services that meet them.

use crate::machine;
use std::sync::Arc;
use waypost_base::AccountId;
use waypost_directory::{Directory, Server};
use waypost_trust::leg::{Hello, Inner, Opening};
use waypost_trust::proxy::{Home, Homes};

/// Component of a server that takes mail for the organisation.
const HUB: &str = "HubTransport";

/// Homes as the directory has them at each question.
pub struct Front {
    pub directory: Arc<Directory>,
    pub inner: Arc<dyn Inner>,
}

impl Front {
    /// This server's row; `None` where the organisation has one server and no row for it.
    fn own(&self) -> Option<Arc<Server>> {
        let now = self.directory.snapshot();
        let here = now.here()?;
        now.server(here).cloned()
    }
}

impl Homes for Front {
    fn home(&self, account: AccountId) -> Home {
        let now = self.directory.snapshot();
        match now.account(account) {
            Some(account) if now.is_here(account) => Home::Here,
            Some(account) => Home::There(now.home_of(account).to_owned()),
            // Somebody has just signed in whom we have not heard of yet. The server that keeps the directory knows where
            // the account is.
            None => match (self.own(), now.primary()) {
                (Some(own), Some(primary)) if own.id != primary.id => Home::There(primary.id.clone()),
                _ => Home::Here,
            },
        }
    }

    fn hubs(&self) -> Option<Vec<String>> {
        let own = self.own()?;
        if own.roles.transport {
            return None;
        }
        let now = self.directory.snapshot();
        let fits = |s: &&Arc<Server>| s.roles.transport && s.is_active(HUB) && s.id != own.id;
        let mut hubs: Vec<String> = now.servers().filter(fits).map(|s| s.id.clone()).collect();
        if !hubs.is_empty() {
            // All get their share.
            let start = usize::from(u16::from_be_bytes(machine::random())) % hubs.len();
            hubs.rotate_left(start);
        }
        Some(hubs)
    }

    fn out_of_service(&self, component: &str) -> Option<String> {
        let own = self.own()?;
        own.components.get(component).filter(|state| *state != "Active").cloned()
    }

    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        self.inner.open(to, hello)
    }
}
