//! Tokens of the HTTP interface, and who administers.

use super::Directory;
use crate::credential::random;
use crate::error::ChangeError;
use crate::limits::API_TOKENS_MAX;
use crate::rows;
use crate::token::{ApiToken, PREFIX, hash, is_name};
use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_sasl::Secret;
use waypost_store::{Batch, Expect};

impl Directory {
    /// Makes a token. What it comes to is told once, here.
    pub async fn add_api_token(
        &self,
        name: &str,
        groups: Vec<String>,
        by: &str,
        expires: Option<Timestamp>,
    ) -> Result<(Arc<ApiToken>, Secret), ChangeError> {
        let _writer = self.writer.lock().await;
        if !is_name(name) {
            let why = "1 to 40 lower-case letters, digits and hyphens";
            return Err(ChangeError::invalid("name", why));
        }
        let now = self.snapshot();
        if now.api_tokens.contains_key(name) {
            let owner = "somebody".into();
            return Err(ChangeError::Exists { what: "the token", name: name.to_owned(), owner });
        }
        if now.api_tokens.len() >= API_TOKENS_MAX {
            return Err(ChangeError::invalid("token", format!("at most {API_TOKENS_MAX} of them")));
        }
        let bytes: [u8; 20] = random()?;
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let token = ApiToken {
            version: 1,
            name: name.to_owned(),
            hash: hash(&secret),
            groups,
            by: by.to_owned(),
            created: self.clock.now(),
            expires,
        };
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::API_TOKEN, name);
        batch.expect(key.clone(), Expect::Absent).put(key, rows::versioned(1, &token));
        self.commit(batch).await?;
        let token = self.edit(|s| s.put_api_token(token));
        Ok((token, Secret::from(format!("{PREFIX}{name}_{secret}"))))
    }

    pub async fn remove_api_token(&self, name: &str) -> Result<(), ChangeError> {
        let _writer = self.writer.lock().await;
        let now = self.snapshot();
        let old = now.api_tokens.get(name).ok_or_else(|| ChangeError::missing("token", name))?;
        let mut batch = Batch::new(rows::PARTITION);
        let key = rows::text(rows::API_TOKEN, name);
        batch.expect(key.clone(), Expect::Version(old.version)).del(key);
        self.commit(batch).await?;
        self.edit(|s| s.drop_api_token(name));
        Ok(())
    }
}
