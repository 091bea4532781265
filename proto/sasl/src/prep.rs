//! Names and passwords as they are compared: SASLprep (RFC 4013).
//!
//! One law for everyone who stores or checks a password: [`password`] is applied once, before hashing. Where SASLprep
//! forbids a character (it knows Unicode 3.2 only, so every emoji is forbidden), the text is taken as it came, since a
//! password that cannot be used is worse than one that is compared byte by byte.

use crate::secret::Secret;

/// A password, prepared.
pub fn password(text: &str) -> Secret {
    // ASCII without control characters is its own preparation; nearly every password takes this way.
    match stringprep::saslprep(text) {
        Ok(prepared) => Secret::new(prepared.as_bytes()),
        Err(_) => Secret::from(text),
    }
}

/// A user name, prepared. Names that SASLprep forbids stay as they are: no account has them.
pub fn name(text: &str) -> String {
    match stringprep::saslprep(text) {
        Ok(prepared) => prepared.into_owned(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4013 §3.
    #[test]
    fn rfc_4013_examples() {
        assert_eq!(name("I\u{ad}X"), "IX");
        assert_eq!(name("user"), "user");
        assert_eq!(name("USER"), "USER");
        assert_eq!(name("\u{aa}"), "a");
        assert_eq!(name("\u{2168}"), "IX");
    }

    #[test]
    fn forbidden_text_is_kept() {
        assert_eq!(name("\u{7}"), "\u{7}");
        assert_eq!(password("ключ 🔑").expose_str(), Some("ключ 🔑"));
        assert_eq!(password("a\u{a0}b").expose_str(), Some("a b"));
    }
}
