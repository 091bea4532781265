//! The protocol log.
