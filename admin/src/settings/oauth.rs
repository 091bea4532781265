//! The OpenID provider whose tokens are taken.

use super::checks::*;
use super::fields::section_types;

section_types! {
    /// Signing in with tokens of an OpenID provider: OAUTHBEARER and XOAUTH2.
    OAuth {
        /// The provider, as its tokens name it: "https://id.example.org/realms/staff". Its keys are found there. Empty: no
        /// tokens are taken.
        issuer: String = String::new(), line;
        /// A token must be meant for one of these (the claim aud).
        audiences: Vec<String> = Vec::new(), at_most_1000;
        /// The claim that is the person's mail address or user name here: email, preferred_username, upn.
        user_claim: String = "email".into(), line;
        /// A scope that tokens must have; empty for any.
        scope: String = String::new(), line;
        /// PEM file of the CA of the provider's web site; empty for those that this machine trusts.
        ca_file: String = String::new(), line;
    }
}
