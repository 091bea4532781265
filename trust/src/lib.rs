//! Trust: who may speak to whom, proved how. Public certificates and inner trust are separate things: binding a public
//! certificate to a service never touches what servers of the organisation know each other by.
//!
//! [`authority`] is the inner CA. [`certificate`] makes self-signed public certificates and reads facts out of any.
//! Both deal in values and PEM text; [`files`] puts them on disk with the right permissions. No TLS library here.

pub mod authority;
pub mod certificate;
pub mod channel;
pub mod client;
pub mod dns;
pub mod end_point;
pub mod files;
pub mod kerberos;
pub mod leg;
pub mod proxy;
pub mod public;

pub use authority::{Bundle, InnerCa, Issued, ServerId, VerifyError};
pub use certificate::{Facts, KeyedCertificate, TrustError, self_signed};
