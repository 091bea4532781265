//! Checks for causes of the area `directory`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
