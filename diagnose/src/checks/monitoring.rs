//! Checks for causes of the area `monitoring`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
