//! What integration tests stand on: a real server process on free ports, and a plain line client to speak to it.

#[path = "../server/src/lab/kdc.rs"]
pub mod kdc;
pub mod knot;
pub mod ldap;
pub mod line;
pub mod mount;
pub mod net;
pub mod openid;
pub mod organisation;
pub mod peers;
pub mod pki;
pub mod ports;
pub mod rows;
pub mod server;
pub mod sink;
