//! Checks for causes of the area `resources`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
