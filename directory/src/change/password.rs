//! Passwords: the main one and app passwords. Certificates of clients.

use super::Directory;
use crate::credential::{
    AppPassword, ClientCertificate, Credential, CredentialKind, app_credential, check_strength, is_complete,
    parse_argon2, parse_fingerprint,
};
use crate::error::ChangeError;
use crate::limits::{APP_PASSWORDS_MAX, CERTIFICATES_MAX};
use crate::model::Protocol;
use crate::rows;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use waypost_base::AccountId;
use waypost_sasl::{ScramKeys, Secret};
use waypost_store::{Batch, Expect, Template};

impl Directory {
    /// Sets the main password, unprepared as somebody typed it. Passwords remembered as good are forgotten by it.
    pub async fn set_password(&self, id: AccountId, password: &str) -> Result<(), ChangeError> {
        check_strength(password)?;
        let kind = self.hasher.main(waypost_sasl::prep::password(password), self.keeps_nt_hashes()).await?;
        self.put_main(id, kind).await
    }

    /// Sets the main password by its hashes, brought along from another server: Argon2id in the PHC form, and the keys
    /// of SCRAM-SHA-256 where there are any.
    pub async fn set_password_hash(
        &self,
        id: AccountId,
        argon2: &str,
        scram: Option<&str>,
    ) -> Result<(), ChangeError> {
        if parse_argon2(argon2).is_none() {
            return Err(ChangeError::invalid("password hash", "not an Argon2id hash in the PHC form"));
        }
        if scram.is_some_and(|text| ScramKeys::parse(text).is_err()) {
            return Err(ChangeError::invalid(
                "password hash",
                "not SCRAM-SHA-256 keys in the form of RFC 5803",
            ));
        }
        let scram = scram.map(str::to_owned);
        let kind = CredentialKind::Main { argon2: argon2.to_owned(), scram, scram1: None, nt: None };
        self.put_main(id, kind).await
    }

    /// Whether NT hashes of passwords are kept from now on. They come and go when a password is next seen.
    pub(crate) fn keep_nt_hashes(&self, keep: bool) {
        self.keep_nt.store(keep, Ordering::Relaxed);
    }

    pub(super) fn keeps_nt_hashes(&self) -> bool {
        self.keep_nt.load(Ordering::Relaxed)
    }

    /// The password of a credential was just shown: what could not be made without it is made now, some time soon and once.
    /// On a copy of the directory nothing can be changed, so nothing is.
    pub(crate) fn refresh_main(self: &Arc<Self>, id: AccountId, credential: &Credential, password: &Secret) {
        let keep_nt = self.keeps_nt_hashes();
        if self.is_copy() || is_complete(&credential.kind, keep_nt) {
            return;
        }
        let (directory, old, password) = (Arc::clone(self), credential.clone(), password.clone());
        tokio::spawn(async move {
            let Some(kind) = directory.hasher.completed(old.kind.clone(), password, keep_nt).await else {
                return;
            };
            // Somebody else may have been here meanwhile, or the account may be gone: then the next sign-in does it.
            if let Err(error) = directory.replace_main(id, &old, kind).await {
                tracing::debug!(%error, "keys of a password were not completed");
            }
        });
    }

    async fn replace_main(
        &self,
        id: AccountId,
        old: &Credential,
        kind: CredentialKind,
    ) -> Result<(), ChangeError> {
        let _writer = self.writer.lock().await;
        let credential = Credential { kind, version: old.version + 1, ..old.clone() };
        let key = rows::credential(id, old.id);
        let mut batch = Batch::new(rows::PARTITION);
        batch.expect(key.clone(), Expect::Version(old.version));
        batch.put(key, rows::versioned(credential.version, &credential));
        self.commit(batch).await?;
        self.edit(|s| s.put_credential(id, credential));
        Ok(())
    }

    /// Enters a client's certificate by its fingerprint (SHA-256, lower-case hexadecimal). A certificate belongs to one account.
    pub async fn add_certificate(
        &self,
        id: AccountId,
        name: &str,
        fingerprint: &str,
    ) -> Result<ClientCertificate, ChangeError> {
        super::check_name("name", name)?;
        let fingerprint = parse_fingerprint(fingerprint).ok_or_else(|| {
            ChangeError::invalid("fingerprint", "not the SHA-256 of a certificate in hexadecimal")
        })?;
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let account = now.account(id).ok_or_else(|| ChangeError::missing("mailbox", id))?;
        if let Some((owner, _)) = now.certificate_owner(&fingerprint) {
            return Err(ChangeError::Exists {
                what: "the certificate",
                name: fingerprint,
                owner: now.call(crate::Owner::Account(owner.id)),
            });
        }
        if self.client_certificates(id).len() >= CERTIFICATES_MAX {
            return Err(ChangeError::invalid("certificate", format!("at most {CERTIFICATES_MAX} each")));
        }
        let kind = CredentialKind::Certificate { name: name.to_owned(), fingerprint };
        let credential = Credential { id: 0, version: 1, kind, created: self.clock.now() };
        let mut batch = Batch::new(rows::PARTITION);
        batch.expect(rows::number(rows::ACCOUNT, id.0), Expect::Version(account.version));
        let number = batch.alloc(rows::single(rows::CREDENTIALS), 1);
        let key = Template::new(rows::number(rows::CREDENTIAL, id.0)).slot4(number, 0);
        batch.put(key, rows::versioned(1, &credential));
        let given = self.commit(batch).await?.allocated;
        let number = given.first().map(|n| *n as u32).unwrap_or_default();
        let credential = Credential { id: number, ..credential };
        let shown = ClientCertificate::of(&credential);
        self.edit(|s| s.put_credential(id, credential));
        shown.ok_or(ChangeError::Conflict)
    }

    pub fn client_certificates(&self, id: AccountId) -> Vec<ClientCertificate> {
        self.snapshot().credentials(id).iter().filter_map(ClientCertificate::of).collect()
    }

    /// By number.
    pub async fn remove_certificate(&self, id: AccountId, credential: u32) -> Result<(), ChangeError> {
        if !self.client_certificates(id).iter().any(|c| c.id == credential) {
            return Err(ChangeError::missing("certificate", credential));
        }
        self.drop_credential(id, credential).await
    }

    async fn put_main(&self, id: AccountId, kind: CredentialKind) -> Result<(), ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let account = now.account(id).ok_or_else(|| ChangeError::missing("mailbox", id))?;
        let created = self.clock.now();
        let mut batch = Batch::new(rows::PARTITION);
        batch.expect(rows::number(rows::ACCOUNT, id.0), Expect::Version(account.version));
        let old = now.credentials(id).iter().find(|c| c.is_main());
        let mut credential = match old {
            Some(old) => Credential { id: old.id, version: old.version + 1, kind, created },
            None => Credential { id: 0, version: 1, kind, created },
        };
        let value = rows::versioned(credential.version, &credential);
        match old {
            Some(old) => {
                let key = rows::credential(id, old.id);
                batch.expect(key.clone(), Expect::Version(old.version)).put(key, value);
            }
            None => {
                let number = batch.alloc(rows::single(rows::CREDENTIALS), 1);
                batch.put(Template::new(rows::number(rows::CREDENTIAL, id.0)).slot4(number, 0), value);
            }
        }
        let given = self.commit(batch).await?.allocated;
        if let Some(number) = given.first() {
            credential.id = *number as u32;
        }
        self.edit(|s| s.put_credential(id, credential));
        Ok(())
    }

    /// Makes an app password. The secret is told once, here; nobody can read it again.
    pub async fn add_app_password(
        &self,
        id: AccountId,
        name: &str,
        protocols: &[Protocol],
    ) -> Result<(AppPassword, Secret), ChangeError> {
        super::check_name("name", name)?;
        let (secret, kind) = app_credential(name, protocols)?;
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let account = now.account(id).ok_or_else(|| ChangeError::missing("mailbox", id))?;
        let theirs = self.app_passwords(id);
        if theirs.len() >= APP_PASSWORDS_MAX {
            return Err(ChangeError::invalid("app password", format!("at most {APP_PASSWORDS_MAX} each")));
        }
        if theirs.iter().any(|p| p.name.eq_ignore_ascii_case(name)) {
            return Err(ChangeError::Exists {
                what: "the app password",
                name: name.to_owned(),
                owner: now.call(crate::Owner::Account(id)),
            });
        }
        let credential = Credential { id: 0, version: 1, kind, created: self.clock.now() };
        let mut batch = Batch::new(rows::PARTITION);
        batch.expect(rows::number(rows::ACCOUNT, id.0), Expect::Version(account.version));
        let number = batch.alloc(rows::single(rows::CREDENTIALS), 1);
        let key = Template::new(rows::number(rows::CREDENTIAL, id.0)).slot4(number, 0);
        batch.put(key, rows::versioned(1, &credential));
        let given = self.commit(batch).await?.allocated;
        let number = given.first().map(|n| *n as u32).unwrap_or_default();
        let credential = Credential { id: number, ..credential };
        let shown = AppPassword {
            id: credential.id,
            name: name.to_owned(),
            protocols: protocols.to_vec(),
            created: credential.created,
        };
        self.edit(|s| s.put_credential(id, credential));
        Ok((shown, secret))
    }

    pub fn app_passwords(&self, id: AccountId) -> Vec<AppPassword> {
        self.snapshot().credentials(id).iter().filter_map(AppPassword::of).collect()
    }

    /// By number.
    pub async fn remove_app_password(&self, id: AccountId, credential: u32) -> Result<(), ChangeError> {
        if !self.app_passwords(id).iter().any(|p| p.id == credential) {
            return Err(ChangeError::missing("app password", credential));
        }
        self.drop_credential(id, credential).await
    }

    async fn drop_credential(&self, id: AccountId, credential: u32) -> Result<(), ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let found = now.credentials(id).iter().find(|c| c.id == credential && !c.is_main());
        let old = found.ok_or_else(|| ChangeError::missing("credential", credential))?;
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::credential(id, old.id);
        batch.expect(key.clone(), Expect::Version(old.version)).del(key);
        self.commit(batch).await?;
        self.edit(|s| s.drop_credential(id, credential));
        Ok(())
    }
}
