//! Checks for causes of the area `certificates`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
