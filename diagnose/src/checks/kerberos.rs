//! Checks for causes of the area `kerberos`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
