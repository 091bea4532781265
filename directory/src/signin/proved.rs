//! Those who have proved who they are by something else than a password of ours: whose account is it?

use super::provide::{Providers, TokenProof};
use super::{Asking, SignIn, throttle_name};
use crate::credential::CredentialKind;
use crate::model::Account;
use crate::snapshot::Snapshot;
use std::sync::Arc;
use waypost_sasl::{Answer, NtlmAsk, Secret, Why, ntlm};

impl SignIn {
    /// A Kerberos principal. Those of services (`imap/host@REALM`) have no mailbox.
    pub(super) fn principal(&self, authzid: Option<&str>, principal: &str, asking: &Asking) -> Answer {
        let now = self.snapshot();
        match principal_account(&now, &self.providers(), principal) {
            Some(account) => {
                self.throttle.proved(&account.primary.to_string(), asking.peer, self.clock.now());
                self.authorize(&now, account, None, authzid, asking)
            }
            None => Answer::NotAllowed(Why::NoAccount),
        }
    }

    pub(super) async fn token(&self, authzid: Option<&str>, token: &Secret, asking: &Asking) -> Answer {
        let Some(verifier) = self.providers().tokens.clone() else {
            return Answer::Unavailable("no OpenID provider is configured".into());
        };
        match verifier.verify(token).await {
            TokenProof::Wrong(_) => Answer::Wrong,
            TokenProof::NotAllowed(why) => Answer::NotAllowed(why),
            TokenProof::Unavailable(text) => Answer::Unavailable(text),
            TokenProof::Subject(names) => {
                let now = self.snapshot();
                match names.iter().find_map(|name| now.sign_in_account(name)) {
                    Some(account) => self.authorize(&now, account, None, authzid, asking),
                    None => Answer::NotAllowed(Why::NoAccount),
                }
            }
        }
    }

    /// By the fingerprint that an administrator has entered, or by a name in a certificate of an authority that they trust.
    pub(super) fn certificate(&self, authzid: Option<&str>, der: &[u8], asking: &Asking) -> Answer {
        let Some(reader) = self.providers().certificates.clone() else {
            return Answer::Unavailable("certificates of clients are not set up".into());
        };
        let names = match reader.names(der) {
            Ok(names) => names,
            Err(why) => return Answer::NotAllowed(why),
        };
        let now = self.snapshot();
        let fingerprint = crate::credential::fingerprint(der);
        if let Some((account, credential)) = now.certificate_owner(&fingerprint) {
            return self.authorize(&now, account, Some(credential), authzid, asking);
        }
        match names.iter().find_map(|name| now.sign_in_account(name)) {
            Some(account) => self.authorize(&now, account, None, authzid, asking),
            None => Answer::NotAllowed(Why::NoAccount),
        }
    }

    /// Guesses by NTLM are guesses.
    pub(super) async fn ntlm(&self, ask: &NtlmAsk, asking: &Asking) -> Answer {
        let providers = self.providers();
        let now = self.snapshot();
        let authcid = waypost_sasl::prep::name(&ask.name());
        let name = throttle_name(&now, &authcid);
        if !self.wait_turn(&name, asking).await {
            return Answer::NotAllowed(Why::Locked);
        }
        let answer = match &providers.ntlm {
            Some(source) => source.answer(ask).await,
            None if providers.ntlm_hashes => self.own_hash(&now, &authcid, ask),
            None => Answer::Unavailable("nothing is set up that checks NTLM".into()),
        };
        if answer == Answer::Wrong {
            self.throttle.failed(&name, asking.peer, self.clock.now());
        }
        answer
    }

    fn own_hash(&self, now: &Snapshot, authcid: &str, ask: &NtlmAsk) -> Answer {
        let Some(account) = now.sign_in_account(authcid) else {
            // The same work as for those who exist.
            let _ = ntlm::verify(&Secret::new(vec![0; 16]), ask);
            return Answer::Wrong;
        };
        let hash = now.credentials(account.id).iter().find_map(|c| match &c.kind {
            CredentialKind::Main { nt: Some(text), .. } => crate::credential::parse_nt(text),
            _ => None,
        });
        match hash {
            Some(hash) => ntlm::verify(&hash, ask).map_or(Answer::Wrong, Answer::Ntlm),
            None => Answer::NotAllowed(Why::Mechanism),
        }
    }
}

/// `user@REALM`: the realm is one that the settings know, or has the name of one of our domains.
fn principal_account<'a>(
    now: &'a Snapshot,
    providers: &Providers,
    principal: &str,
) -> Option<&'a Arc<Account>> {
    let (user, realm) = principal.rsplit_once('@')?;
    if user.is_empty() || user.contains(['/', '@']) {
        return None;
    }
    let realm = realm.to_lowercase();
    let domain = match providers.realms.get(&realm) {
        Some(domain) => domain.to_lowercase(),
        // Realms that nobody has listed are foreign, unless they are called like we are.
        None if providers.realms.is_empty() => now.domain(&realm)?.name.clone(),
        None => return None,
    };
    if let Some(account) = now.sign_in_account(&format!("{user}@{domain}")) {
        return Some(account);
    }
    let mut theirs = now
        .accounts()
        .filter(|a| a.alias.eq_ignore_ascii_case(user) && a.primary.domain().eq_ignore_ascii_case(&domain));
    match (theirs.next(), theirs.next()) {
        (Some(account), None) => Some(account),
        _ => None,
    }
}
