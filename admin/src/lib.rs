//! Administration: the catalogue of commands, the settings document, and how both are carried to a running server.

pub mod settings;
pub mod words;
