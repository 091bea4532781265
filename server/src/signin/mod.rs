//! What signing in is helped by, put together from the settings: Kerberos, directories elsewhere, tokens, certificates, NTLM.
//!
//! What cannot be set up is logged and left out: then its mechanisms are not offered, or the sign-in is unavailable. Never
//! does a mistake in the settings make a password wrong.

mod certificates;
mod gss;
mod ntlm;

use crate::kerberos::Kerberos;
use crate::{ldap, oauth};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use waypost_admin::settings::{OAuth, Settings};
use waypost_base::Clock;
use waypost_directory::signin::{Providers, SignIn, TokenVerifier};

/// The settings of a verifier, and it, where they give one.
type Kept = (OAuth, Option<Arc<dyn TokenVerifier>>);

/// What stays while settings change: contexts under way, keys of the OpenID provider.
pub struct Seams {
    data: PathBuf,
    clock: Clock,
    gss: Arc<gss::Acceptors>,
    tokens: Mutex<Option<Kept>>,
}

impl Seams {
    /// `data` is the data folder.
    pub fn new(data: &Path, kerberos: Arc<Kerberos>, clock: Clock) -> Seams {
        let gss = Arc::new(gss::Acceptors::new(kerberos));
        Seams { data: data.to_owned(), clock, gss, tokens: Mutex::default() }
    }

    /// Takes over the settings.
    pub fn provide(&self, settings: &Settings, sign_in: &SignIn) {
        let s = &settings.sign_in;
        self.gss.look_again();
        sign_in.provide(Providers {
            gss: Some(self.gss.clone()),
            tokens: self.tokens(settings),
            ntlm: ntlm::helper(&s.ntlm_helper),
            ntlm_hashes: s.ntlm_hashes && s.ntlm_helper.is_empty(),
            certificates: certificates::reader(settings, &self.data, &self.clock),
            sources: ldap::sources(settings, &self.data),
            realms: settings.kerberos.realms(),
            host: settings.server.name.clone(),
        });
    }

    /// The verifier keeps the provider's keys, so it stays as long as nothing is changed about it.
    fn tokens(&self, settings: &Settings) -> Option<Arc<dyn TokenVerifier>> {
        let mut kept = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, verifier)) if *of == settings.oauth => verifier.clone(),
            _ => {
                let verifier = oauth::verifier(settings, &self.data, &self.clock);
                *kept = Some((settings.oauth.clone(), verifier.clone()));
                verifier
            }
        }
    }
}
