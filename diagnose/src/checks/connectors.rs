//! Checks for causes of the area `connectors`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
