//! Checks for causes of the area `limits`: numbers that are low.

use super::{Check, Hit};
use crate::case::Case;

pub const ALL: &[(&str, Check)] = &[
    ("source_limit_is_low", source_limit_is_low),
    ("connections_per_user_is_low", connections_per_user_is_low),
];

/// Connections from one source that a Receive connector takes as installed.
const PER_SOURCE: f64 = 20.0;
/// Connections of one user that one mail client with a handful of folders needs.
const PER_USER: f64 = 8.0;

fn source_limit_is_low(case: &Case) -> Vec<Hit> {
    case.of("object")
        .filter(|f| f.number("maxinboundconnectionpersource").is_some_and(|n| n <= PER_SOURCE))
        .map(|f| {
            let most = f.get("maxinboundconnectionpersource").unwrap_or_default();
            Hit::of(
                format!(
                    "{} takes {most} connections from one source",
                    f.get("identity").unwrap_or("The connector")
                ),
                &[f],
            )
        })
        .collect()
}

fn connections_per_user_is_low(case: &Case) -> Vec<Hit> {
    case.of("object")
        .filter(|f| f.number("maxconnectionsperuser").is_some_and(|n| n <= PER_USER))
        .map(|f| {
            Hit::of(
                format!("MaxConnectionsPerUser is {}", f.get("maxconnectionsperuser").unwrap_or_default()),
                &[f],
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Place};
    use waypost_base::Timestamp;

    #[test]
    fn what_is_low() {
        let mut case = Case::new(Timestamp(0));
        case.add(
            Fact::new("object", Place::default())
                .with("maxconnectionsperuser", "16")
                .with("maxinboundconnectionpersource", "100"),
        );
        assert!(connections_per_user_is_low(&case).is_empty() && source_limit_is_low(&case).is_empty());
        case.add(
            Fact::new("object", Place::default())
                .with("maxconnectionsperuser", "4")
                .with("maxinboundconnectionpersource", "20"),
        );
        assert!(connections_per_user_is_low(&case).len() == 1 && source_limit_is_low(&case).len() == 1);
    }
}
