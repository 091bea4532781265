//! The agents that come with the server. Each is made by the binary from the settings and handed to the hub in
//! [`Parts::agents`](crate::Parts), in the order in which they are to look at a message: milters, mail authentication,
//! signing.

pub mod auth;
pub mod milter;
pub mod sign;
