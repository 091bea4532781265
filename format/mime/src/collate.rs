//! Comparing text without case: for SORT and SEARCH (RFC 5256 §3, RFC 5051 in spirit).

/// The key of a text: two texts are equal without case when their keys are, and sort as their keys do.
pub fn key(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}
