//! Checks for causes of the area `limits`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
