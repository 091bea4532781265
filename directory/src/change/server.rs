//! Servers: joining, changing, leaving.

use super::Directory;
use crate::error::ChangeError;
use crate::model::{Account, AccountKind};
use crate::rows;
use crate::server::Server;
use std::sync::Arc;
use waypost_store::{Batch, Expect};

impl Directory {
    /// Adds a server. Its id must not be taken.
    pub async fn add_server(&self, server: Server) -> Result<Arc<Server>, ChangeError> {
        let _writer = self.writer.lock().await;
        if self.snapshot().servers.contains_key(&server.id) {
            let owner = "this organisation".into();
            return Err(ChangeError::Exists { what: "the server", name: server.id, owner });
        }
        let at = self.clock.now();
        let server = Server { version: 1, joined: at, changed: at, ..server };
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::SERVER, &server.id);
        batch.expect(key.clone(), Expect::Absent).put(key, rows::versioned(1, &server));
        self.commit(batch).await?;
        Ok(self.edit(|s| s.put_server(server)))
    }

    /// Changes a server by a function. Its id stays.
    pub async fn update_server(
        &self,
        id: &str,
        change: impl FnOnce(&mut Server),
    ) -> Result<Arc<Server>, ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let old = now.server(id).ok_or_else(|| ChangeError::missing("server", id))?;
        let mut server = Server::clone(old);
        change(&mut server);
        server.id.clone_from(&old.id);
        server.version = old.version + 1;
        server.changed = self.clock.now();
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::SERVER, &server.id);
        batch.expect(key.clone(), Expect::Version(old.version));
        batch.put(key, rows::versioned(server.version, &server));
        self.commit(batch).await?;
        Ok(self.edit(|s| s.put_server(server)))
    }

    /// Gives the only server of an organisation another id. Once there are others they know it by its id.
    pub async fn rename_only_server(&self, id: &str) -> Result<Arc<Server>, ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let mut all = now.servers();
        let (Some(old), None) = (all.next(), all.next()) else {
            let (what, by) =
                ("the id of this server".to_owned(), "the other servers, who know it by it".to_owned());
            return Err(ChangeError::InUse { what, by });
        };
        let server = Server { version: 1, id: id.into(), changed: self.clock.now(), ..Server::clone(old) };
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::SERVER, &old.id);
        batch.expect(key.clone(), Expect::Version(old.version)).del(key);
        batch.put(rows::text(rows::SERVER, id), rows::versioned(1, &server));
        self.commit(batch).await?;
        let gone = old.id.clone();
        Ok(self.edit(|s| {
            s.drop_server(&gone);
            s.put_server(server)
        }))
    }

    /// Takes a server out of the organisation. It must hold no account any more, and must not keep the directory.
    pub async fn remove_server(&self, id: &str) -> Result<(), ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let old = now.server(id).ok_or_else(|| ChangeError::missing("server", id))?;
        let what = format!("the server {}", old.id);
        if old.primary {
            return Err(ChangeError::InUse { what, by: "the organisation: it keeps the directory".into() });
        }
        let holds = |a: &&Arc<Account>| {
            a.home.as_deref() == Some(old.id.as_str()) && a.kind != AccountKind::Monitoring
        };
        if let Some(account) = now.accounts().find(holds) {
            return Err(ChangeError::InUse { what, by: format!("the mailbox <{}>", account.primary) });
        }
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::SERVER, &old.id);
        batch.expect(key.clone(), Expect::Version(old.version)).del(key);
        self.commit(batch).await?;
        self.edit(|s| s.drop_server(&old.id));
        Ok(())
    }
}
