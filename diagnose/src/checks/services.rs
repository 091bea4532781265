//! Checks for causes of the area `services`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
