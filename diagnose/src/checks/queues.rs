//! Checks for causes of the area `queues`.

use super::Check;

pub const ALL: &[(&str, Check)] = &[];
