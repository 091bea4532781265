//! Checks for causes of the area `store`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
