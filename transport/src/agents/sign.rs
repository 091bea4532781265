//! DKIM signatures on what our users send to elsewhere.
//!
//! Signed is what was submitted to us, and our own reports, never what a stranger brought: a signature says that it is
//! ours. The domain is
//! that of the From field; where that has no keys, nothing is signed.

use super::auth::hash;
use crate::agent::{About, Agent, Verdict};
use crate::draft::Draft;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use waypost_mailauth::{BodyHasher, Signer, sign};

pub struct SignAgent {
    signer: Arc<Signer>,
    enabled: AtomicBool,
}

impl SignAgent {
    pub fn new(signer: Arc<Signer>, enabled: bool) -> SignAgent {
        SignAgent { signer, enabled: AtomicBool::new(enabled) }
    }

    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }
}

#[async_trait::async_trait]
impl Agent for SignAgent {
    fn name(&self) -> &'static str {
        "DKIM signing"
    }

    fn wants(&self, about: &About) -> bool {
        self.enabled.load(Ordering::Relaxed)
            && about.has_remote
            && !about.is_foreign()
            && !self.signer.is_empty()
    }

    fn vouch(&self, report: &[u8], now: waypost_base::Timestamp) -> String {
        if self.enabled.load(Ordering::Relaxed) {
            self.signer.sign_message(report, now)
        } else {
            String::new()
        }
    }

    async fn message(&self, about: &About, draft: &mut Draft) -> Verdict {
        let Some(domain) = sign::from_domain(draft.header()).filter(|domain| self.signer.signs(domain))
        else {
            return Verdict::Pass;
        };
        let mut hasher = BodyHasher::relaxed();
        if let Err(e) = hash(draft, &mut hasher).await {
            // An unsigned message may be refused elsewhere, a lost one is worse.
            tracing::error!(session = %about.session, error = %e, "message cannot be read for signing, it goes unsigned");
            return Verdict::Pass;
        }
        let signatures = self.signer.sign(&domain, draft.header(), &hasher.finish(), about.now);
        if signatures.is_empty() {
            tracing::error!(session = %about.session, domain, "message could not be signed");
        }
        for value in signatures.iter().rev() {
            draft.prepend("DKIM-Signature", value);
        }
        Verdict::Pass
    }
}
