//! Integration tests: one binary, see main.rs.
