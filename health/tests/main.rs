//! Organisations in virtual time: what is broken, what the probes see of it, and which alerts come of that.

mod sim;
