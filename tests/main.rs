//! All integration tests in one binary: real clients, crashes, faults, conversations over sockets.
//!
//! They need the release binary (`cargo build --release -p waypost-server`) and the Debian packages that `./test` installs.

#![allow(clippy::unwrap_used, reason = "these are tests: a failure is to stop them")]

mod certificates;
mod clients;
mod commands;
mod corpus;
mod crash;
mod diagnose;
mod directories;
mod faults;
mod first_light;
mod health;
mod hubs;
mod injector;
mod kerberos;
mod lab;
mod legs;
mod mail_authentication;
mod matrix;
mod moving;
mod network;
mod operation;
mod probes;
mod proxy;
mod responders;
mod sending;
mod servers;
mod settings;
mod talk;
mod tokens;
mod why;
