//! Accepted domains: adding, changing, removing.

use super::Directory;
use crate::address::canonical_domain;
use crate::error::ChangeError;
use crate::model::{Domain, DomainKind};
use crate::rows;
use std::sync::Arc;
use waypost_store::{Batch, Expect};

/// A domain to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDomain {
    /// ASCII or Unicode.
    pub name: String,
    pub kind: DomainKind,
    /// Becomes the default domain. The first domain does so anyway.
    pub default: bool,
}

impl NewDomain {
    pub fn new(name: impl Into<String>) -> NewDomain {
        NewDomain { name: name.into(), kind: DomainKind::Authoritative, default: false }
    }
}

impl Directory {
    pub async fn add_domain(&self, new: NewDomain) -> Result<Arc<Domain>, ChangeError> {
        let _writer = self.writer.lock().await;
        let name = canonical_domain(&new.name).map_err(|e| ChangeError::invalid("domain", e))?.into_owned();
        let now = self.snapshot();
        if now.domains.contains_key(&name) {
            return Err(ChangeError::Exists { what: "the domain", name, owner: "this organisation".into() });
        }
        let at = self.clock.now();
        let first = now.default_domain().is_none();
        let domain = Domain {
            version: 1,
            name,
            kind: new.kind,
            default: new.default || first,
            catch_all: None,
            sub_addressing: true,
            created: at,
            changed: at,
        };
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::DOMAIN, &domain.name);
        batch.expect(key.clone(), Expect::Absent).put(key, rows::versioned(domain.version, &domain));
        let demoted = self.demote(&mut batch, &domain);
        self.commit(batch).await?;
        Ok(self.edit(|s| {
            demoted.into_iter().for_each(|d| drop(s.put_domain(d)));
            s.put_domain(domain)
        }))
    }

    /// Changes a domain by a function. Its name stays; a default domain stops being it only by another becoming it.
    pub async fn update_domain(
        &self,
        name: &str,
        change: impl FnOnce(&mut Domain),
    ) -> Result<Arc<Domain>, ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let old = now.domain(name).ok_or_else(|| ChangeError::missing("accepted domain", name))?;
        let mut domain = Domain::clone(old);
        change(&mut domain);
        domain.name.clone_from(&old.name);
        domain.version = old.version + 1;
        domain.changed = self.clock.now();
        domain.default |= old.default;
        if let Some(address) = &domain.catch_all {
            if domain.kind != DomainKind::Authoritative {
                return Err(ChangeError::invalid("catch-all", "only authoritative domains can have one"));
            }
            if !now.addresses.contains_key(address.as_str()) {
                return Err(ChangeError::missing("recipient", address));
            }
        }
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::DOMAIN, &domain.name);
        batch.expect(key.clone(), Expect::Version(old.version));
        batch.put(key, rows::versioned(domain.version, &domain));
        let demoted = self.demote(&mut batch, &domain);
        self.commit(batch).await?;
        Ok(self.edit(|s| {
            demoted.into_iter().for_each(|d| drop(s.put_domain(d)));
            s.put_domain(domain)
        }))
    }

    /// Removes a domain in which nobody has an address any more, and which is not the default (unless it is the last).
    pub async fn remove_domain(&self, name: &str) -> Result<(), ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let old = now.domain(name).ok_or_else(|| ChangeError::missing("accepted domain", name))?;
        if old.default && now.domains.len() > 1 {
            return Err(ChangeError::InUse {
                what: format!("the domain {}", old.name),
                by: "the organisation as its default domain; make another one the default first".into(),
            });
        }
        let users =
            now.accounts().flat_map(|a| a.addresses()).chain(now.groups().flat_map(|g| g.addresses()));
        if let Some(user) = users.into_iter().find(|a| a.domain() == old.name) {
            return Err(ChangeError::InUse {
                what: format!("the domain {}", old.name),
                by: format!("the address <{user}>"),
            });
        }
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::DOMAIN, &old.name);
        batch.expect(key.clone(), Expect::Version(old.version)).del(key);
        self.commit(batch).await?;
        self.edit(|s| s.domains.remove(&old.name));
        Ok(())
    }

    /// Where `next` is the default, the domain that was it before stops being it, in the same batch.
    fn demote(&self, batch: &mut Batch, next: &Domain) -> Vec<Domain> {
        let now = self.snapshot();
        let others = now.domains().filter(|d| next.default && d.default && d.name != next.name);
        let mut demoted = Vec::new();
        for other in others {
            let version = other.version + 1;
            let domain = Domain { default: false, version, changed: next.changed, ..Domain::clone(other) };
            let key = rows::text(rows::DOMAIN, &other.name);
            batch.expect(key.clone(), Expect::Version(other.version));
            batch.put(key, rows::versioned(version, &domain));
            demoted.push(domain);
        }
        demoted
    }
}
