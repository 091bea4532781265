//! Checks for causes of the area `network`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
