//! Where clients belong: the directory's answers for services that meet them.

use crate::machine;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use waypost_base::AccountId;
use waypost_directory::{Directory, Server};
use waypost_trust::leg::{Hello, Inner, Opening};
use waypost_trust::proxy::{Home, Homes};

/// Component of a server that takes mail for the organisation.
const HUB: &str = "HubTransport";

/// Hand-overs to one server that are under way at a time; the others wait their turn. When a server comes back its clients
/// all return at once, and its door bounds the handshakes of one address.
const OPENING_MAX: usize = 128;

/// Homes as the directory has them at each question.
pub struct Front {
    directory: Arc<Directory>,
    inner: Arc<dyn Inner>,
    /// By server.
    opening: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Front {
    pub fn new(directory: Arc<Directory>, inner: Arc<dyn Inner>) -> Front {
        Front { directory, inner, opening: Mutex::default() }
    }

    fn turn(&self, to: &str) -> Arc<Semaphore> {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(opening.entry(to.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(OPENING_MAX))))
    }

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
        // What a responder has drained is closed to strangers at the door; its own probes came in there.
        if own.is_drained_for_health(component) {
            return None;
        }
        own.components.get(component).filter(|state| *state != "Active").cloned()
    }

    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        Box::pin(async move {
            let turn = self.turn(to);
            // It is never closed, so waiting cannot fail; whoever waits too long is told so by its caller.
            let _permit = turn.acquire().await;
            self.inner.open(to, hello).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use waypost_base::id::Correlation;
    use waypost_base::{Clock, Timestamp};
    use waypost_directory::{NewAccount, NewDomain, Roles};
    use waypost_store::Model;
    use waypost_trust::leg::Service;
    use waypost_trust::proxy::{IMAP_PROXY, UNAVAILABLE, not_opened};

    /// Takes a second for each leg, and opens none.
    #[derive(Default)]
    struct Slow {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Inner for Slow {
        fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.now.fetch_sub(1, Ordering::Relaxed);
                Err(not_opened(to, &hello, UNAVAILABLE, "no".into(), true))
            })
        }
    }

    fn server(id: &str, roles: &str) -> Server {
        Server {
            version: 0,
            id: id.into(),
            inner: "192.0.2.1:444".into(),
            host: format!("{id}.contoso.test"),
            roles: Roles::parse(roles).unwrap(),
            primary: id == "one",
            components: BTreeMap::new(),
            requesters: BTreeMap::new(),
            principals: Vec::new(),
            revoked: None,
            certificates_since: None,
            joined: Timestamp(1),
            changed: Timestamp(1),
        }
    }

    async fn directory() -> Arc<Directory> {
        let clock = Clock::fixed(Timestamp(1_772_525_720_000));
        let directory = Directory::open(Arc::new(Model::new(clock.clone())), clock).await.unwrap();
        directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
        directory
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_handed_over_in_turn() {
        let inner = Arc::new(Slow::default());
        let front = Arc::new(Front::new(directory().await, inner.clone()));
        let mut crowd = tokio::task::JoinSet::new();
        for n in 0..500 {
            let front = front.clone();
            crowd.spawn(async move {
                let _ = front.open("home", Hello::new(Service::Imap, Correlation(n))).await;
            });
        }
        while crowd.join_next().await.is_some() {}
        assert_eq!(inner.most.load(Ordering::Relaxed), OPENING_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn one_server_is_home_and_hub() {
        let directory = directory().await;
        let amy = directory.add_account(NewAccount::new("amy")).await.unwrap().id;
        let front = Front::new(directory, Arc::new(Slow::default()));
        assert_eq!(front.home(amy), Home::Here);
        assert_eq!((front.hubs(), front.out_of_service(IMAP_PROXY)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_front_end_among_others() {
        let directory = directory().await;
        directory.set_here("front");
        for (id, roles) in
            [("one", "mailbox"), ("front", "frontend"), ("hub-a", "transport"), ("hub-b", "transport")]
        {
            directory.add_server(server(id, roles)).await.unwrap();
        }
        let mut draining = server("hub-c", "transport");
        draining.components.insert("HubTransport".into(), "Draining".into());
        directory.add_server(draining).await.unwrap();
        let amy = directory.add_account(NewAccount::new("amy")).await.unwrap().id;
        let front = Front::new(directory, Arc::new(Slow::default()));
        assert_eq!(front.home(amy), Home::There("one".into()));
        assert_eq!(front.home(AccountId(99)), Home::There("one".into()), "not heard of yet");
        let mut hubs = front.hubs().unwrap();
        hubs.sort();
        assert_eq!(hubs, ["hub-a", "hub-b"]);
    }
}
