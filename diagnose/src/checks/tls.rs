//! Checks for causes of the area `tls`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
