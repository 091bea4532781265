//! Trust: who may speak to whom, proved how. Public certificates and inner trust are separate things.

pub mod channel;
pub mod end_point;
