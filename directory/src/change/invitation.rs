//! Inviting servers, and letting them in.

use super::Directory;
use crate::credential::random;
use crate::error::ChangeError;
use crate::invitation::{Invitation, InvitationError, hash};
use crate::rows;
use crate::server::{Roles, Server};
use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_store::{Batch, Expect, prefix_range};

/// Invitations are forgotten so long after they have expired; until then it is told what became of them.
const REMEMBERED_MILLIS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Rows that one look at the invitations takes; they are made by hand.
const INVITATIONS_MAX: u32 = 1_000;

impl Directory {
    /// Makes an invitation; gives it with its id and its secret, which is kept nowhere. Those long expired are removed.
    pub async fn invite(
        &self,
        roles: Roles,
        server: Option<String>,
        by: &str,
        expires: Timestamp,
    ) -> Result<(Invitation, String), ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let server = match server {
            Some(id) => Some(now.server(&id).ok_or_else(|| ChangeError::missing("server", &id))?.id.clone()),
            None => None,
        };
        let (id, secret): ([u8; 6], [u8; 20]) = (random()?, random()?);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (id, secret) = (hex(&id), hex(&secret));
        let created = self.clock.now();
        let (hash, by) = (hash(&secret), by.to_owned());
        let made = Invitation { version: 1, id, hash, roles, server, by, created, expires, used: None };
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::INVITATION, &made.id);
        batch.expect(key.clone(), Expect::Absent).put(key, rows::versioned(1, &made));
        for old in self.invitations().await? {
            if created.since(old.expires) > REMEMBERED_MILLIS {
                batch.del(rows::text(rows::INVITATION, &old.id));
            }
        }
        self.commit(batch).await?;
        Ok((made, secret))
    }

    /// Every invitation that is remembered.
    pub async fn invitations(&self) -> Result<Vec<Invitation>, ChangeError> {
        let range = prefix_range(&rows::single(rows::INVITATION));
        let page = self.engine.scan(range, false, INVITATIONS_MAX, u32::MAX).await?;
        let read = |(key, value): (&[u8], &[u8])| {
            let (version, found): (_, Invitation) = rows::read_versioned(value).ok()?;
            let id = std::str::from_utf8(key.get(2..)?).ok()?.to_owned();
            Some(Invitation { version, id, ..found })
        };
        Ok(page.rows().filter_map(read).collect())
    }

    async fn invitation(&self, id: &str) -> Result<Option<Invitation>, ChangeError> {
        let row = self.engine.get(vec![rows::text(rows::INVITATION, id)]).await?.into_iter().next().flatten();
        let Some(row) = row else { return Ok(None) };
        let (version, found): (_, Invitation) =
            rows::read_versioned(&row).map_err(|why| ChangeError::invalid("invitation", why))?;
        Ok(Some(Invitation { version, id: id.to_owned(), ..found }))
    }

    /// Lets a server in by an invitation, which is used up by the same batch. One that joins again under its old id
    /// keeps its row and principals; the certificates that it had are void from now on.
    pub async fn admit(
        &self,
        id: &str,
        secret: &str,
        server: Server,
    ) -> Result<Arc<Server>, InvitationError> {
        let _writer = self.writer.lock().await;
        let plain = |b: u8| b.is_ascii_hexdigit();
        if id.len() > 64 || !id.bytes().all(plain) {
            return Err(InvitationError::Unknown);
        }
        let found = self.invitation(id).await?.filter(|i| i.fits(secret)).ok_or(InvitationError::Unknown)?;
        let at = self.clock.now();
        check(&found, &server, at)?;
        let now = self.snapshot();
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::SERVER, &server.id);
        let server = match now.server(&server.id) {
            Some(old) if found.server.is_some() => {
                batch.expect(key.clone(), Expect::Version(old.version));
                Server {
                    version: old.version + 1,
                    principals: old.principals.clone(),
                    joined: old.joined,
                    certificates_since: Some(at),
                    changed: at,
                    ..server
                }
            }
            Some(old) => {
                let owner = "this organisation; New-ServerToken -Server lets it join again".into();
                return Err(ChangeError::Exists { what: "the server", name: old.id.clone(), owner }.into());
            }
            None => {
                batch.expect(key.clone(), Expect::Absent);
                Server { version: 1, joined: at, changed: at, ..server }
            }
        };
        batch.put(key, rows::versioned(server.version, &server));
        let used = Invitation { used: Some((at, server.id.clone())), ..found };
        let key = rows::text(rows::INVITATION, id);
        batch.expect(key.clone(), Expect::Version(used.version));
        batch.put(key, rows::versioned(used.version + 1, &used));
        self.commit(batch).await.map_err(InvitationError::from)?;
        Ok(self.edit(|s| s.put_server(server)))
    }
}

fn check(found: &Invitation, server: &Server, at: Timestamp) -> Result<(), InvitationError> {
    if let Some((when, whom)) = &found.used {
        return Err(InvitationError::Used(*when, whom.clone()));
    }
    if at > found.expires {
        return Err(InvitationError::Expired(found.expires));
    }
    let (allowed, wanted) = (found.roles, server.roles);
    if Roles::NAMES.iter().any(|role| wanted.has(role) && !allowed.has(role)) {
        return Err(InvitationError::Roles { allowed, wanted });
    }
    match &found.server {
        Some(id) if *id != server.id => {
            Err(InvitationError::Server { allowed: id.clone(), wanted: server.id.clone() })
        }
        _ => Ok(()),
    }
}
