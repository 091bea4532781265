//! All integration tests in one binary: real clients, crashes, faults, conversations over sockets.
//!
//! They need the release binary (`cargo build --release -p waypost-server`) and the Debian packages that `./test` installs.

mod clients;
mod corpus;
mod crash;
mod faults;
mod first_light;
mod talk;
