//! Identifiers. Each is a newtype, so that a folder's number cannot be passed where an account's is meant.

use std::fmt;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A person's or shared mailbox. Given once by the directory, never reused.
    AccountId(u32)
);
number_id!(
    /// A folder within its account. Never reused within the account; it is also the UIDVALIDITY's companion in OBJECTID.
    FolderId(u32)
);
number_id!(
    /// A message within its account: the same for all copies of it (the EMAILID of RFC 8474).
    MessageId(u64)
);
number_id!(
    /// A conversation within its account (the THREADID of RFC 8474).
    ThreadId(u64)
);

/// Ties together everything that one session, message or change caused, from socket to disk.
///
/// Printed as 16 upper-case hexadecimal digits, as Exchange's protocol logs have their session ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Correlation(pub u64);

impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Correlation {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Correlation {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Correlation, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        u64::from_str_radix(&text, 16).map(Correlation).map_err(serde::de::Error::custom)
    }
}
