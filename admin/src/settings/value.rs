//! The kinds of values that settings have: how each is written in TOML and on the command line, and how it is printed.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use toml_edit::{Array, Formatted, Item, Value};

/// A kind of value in the settings document.
pub trait Kind: Clone + PartialEq + Sized {
    /// What to write, for messages: "a number".
    const WHAT: &'static str;
    fn read(value: &Value) -> Option<Self>;
    fn write(&self) -> Value;
}

impl Kind for bool {
    const WHAT: &'static str = "true or false";
    fn read(value: &Value) -> Option<bool> {
        value.as_bool()
    }
    fn write(&self) -> Value {
        Value::from(*self)
    }
}

impl Kind for u32 {
    const WHAT: &'static str = "a whole number";
    fn read(value: &Value) -> Option<u32> {
        value.as_integer().and_then(|n| n.try_into().ok())
    }
    fn write(&self) -> Value {
        Value::from(i64::from(*self))
    }
}

impl Kind for String {
    const WHAT: &'static str = "a text in quotes";
    fn read(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }
    fn write(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Kind for PathBuf {
    const WHAT: &'static str = "a path in quotes";
    fn read(value: &Value) -> Option<PathBuf> {
        value.as_str().map(PathBuf::from)
    }
    fn write(&self) -> Value {
        Value::from(self.to_string_lossy().into_owned())
    }
}

impl Kind for SocketAddr {
    const WHAT: &'static str = "an address with port, such as \"0.0.0.0:143\" or \"[::]:143\"";
    fn read(value: &Value) -> Option<SocketAddr> {
        value.as_str()?.parse().ok()
    }
    fn write(&self) -> Value {
        Value::from(self.to_string())
    }
}

/// One value may stand for a list of one.
impl<T: Kind> Kind for Vec<T> {
    const WHAT: &'static str = T::WHAT;
    fn read(value: &Value) -> Option<Vec<T>> {
        match value.as_array() {
            Some(array) => array.iter().map(T::read).collect(),
            None => T::read(value).map(|one| vec![one]),
        }
    }
    fn write(&self) -> Value {
        Value::Array(self.iter().map(T::write).collect::<Array>())
    }
}

/// Bytes: `"10 MB"`, `10485760`. The units are powers of 1024, as Exchange has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    pub const fn kb(n: u64) -> Bytes {
        Bytes(n << 10)
    }
    pub const fn mb(n: u64) -> Bytes {
        Bytes(n << 20)
    }
    pub const fn gb(n: u64) -> Bytes {
        Bytes(n << 30)
    }

    /// `10MB`, `1.5 GB`, `4096`, `4096 B`, and what Exchange prints: `10 MB (10,485,760 bytes)`.
    pub fn parse(text: &str) -> Option<Bytes> {
        let text = text.split('(').next()?.trim().to_ascii_lowercase();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let shift = match unit.trim() {
            "" | "b" | "bytes" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return None,
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1 << shift).map(Bytes);
        }
        let part = number.parse::<f64>().ok()?;
        Some(Bytes((part * (1u64 << shift) as f64) as u64))
    }

    /// The shortest form that is exact: `10 MB`, `1000 B`.
    pub fn short(self) -> String {
        let fits = |shift: u32| self.0 > 0 && self.0.trailing_zeros() >= shift;
        let units = [(40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")];
        match units.into_iter().find(|(shift, _)| fits(*shift)) {
            Some((shift, unit)) => format!("{} {unit}", self.0 >> shift),
            None => format!("{} B", self.0),
        }
    }
}

/// As Exchange prints sizes: `10 MB (10,485,760 bytes)`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0 as f64;
        let units = [(1u64 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => {
                let text = format!("{:.3}", n / unit as f64);
                write!(f, "{} {name}", text.trim_end_matches('0').trim_end_matches('.'))?;
            }
            None => write!(f, "{} B", self.0)?,
        }
        write!(f, " ({} bytes)", grouped(self.0))
    }
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

impl Kind for Bytes {
    const WHAT: &'static str = "a size, such as \"10 MB\"";
    fn read(value: &Value) -> Option<Bytes> {
        match value.as_integer() {
            Some(n) => n.try_into().ok().map(Bytes),
            None => Bytes::parse(value.as_str()?),
        }
    }
    fn write(&self) -> Value {
        Value::from(self.short())
    }
}

/// A size that may be `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unlimited(pub Option<Bytes>);

impl Unlimited {
    pub fn bytes(self) -> Option<u64> {
        self.0.map(|b| b.0)
    }
}

impl fmt::Display for Unlimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => bytes.fmt(f),
            None => f.write_str("Unlimited"),
        }
    }
}

impl Kind for Unlimited {
    const WHAT: &'static str = "a size, such as \"10 MB\", or \"unlimited\"";
    fn read(value: &Value) -> Option<Unlimited> {
        if value.as_str().is_some_and(|t| t.eq_ignore_ascii_case("unlimited")) {
            return Some(Unlimited(None));
        }
        Bytes::read(value).map(|b| Unlimited(Some(b)))
    }
    fn write(&self) -> Value {
        match self.0 {
            Some(bytes) => bytes.write(),
            None => Value::from("unlimited"),
        }
    }
}

/// A time span in milliseconds: `"30m"`, `"1h 30m"`, `"14d"`, and as Exchange has it `"00:30:00"`, `"14.00:00:00"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

impl Span {
    pub const fn seconds(n: u64) -> Span {
        Span(n * 1000)
    }
    pub const fn minutes(n: u64) -> Span {
        Span(n * 60_000)
    }
    pub const fn hours(n: u64) -> Span {
        Span(n * 3_600_000)
    }
    pub const fn days(n: u64) -> Span {
        Span(n * 86_400_000)
    }

    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    pub fn parse(text: &str) -> Option<Span> {
        let text = text.trim();
        if text.contains(':') { Span::parse_colons(text) } else { Span::parse_units(text) }
    }

    /// `[d.]hh:mm[:ss[.fff]]`
    fn parse_colons(text: &str) -> Option<Span> {
        let mut parts = text.split(':');
        let first = parts.next()?;
        let (days, hours) = first.split_once('.').unwrap_or(("0", first));
        let (minutes, seconds, None) = (parts.next()?, parts.next().unwrap_or("0"), parts.next()) else {
            return None;
        };
        let (days, hours, minutes): (u64, u64, u64) =
            (days.parse().ok()?, hours.parse().ok()?, minutes.parse().ok()?);
        let seconds: f64 = seconds.parse().ok().filter(|s| (0.0..60.0).contains(s))?;
        if minutes > 59 {
            return None;
        }
        let whole = days.checked_mul(24)?.checked_add(hours)?.checked_mul(60)?.checked_add(minutes)?;
        whole.checked_mul(60_000)?.checked_add((seconds * 1000.0) as u64).map(Span)
    }

    /// `1h 30m`, `500ms`; a bare number is seconds.
    fn parse_units(text: &str) -> Option<Span> {
        let mut rest = text;
        let mut total = 0u64;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(end);
            let after = after.trim_start();
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let millis = match unit.to_ascii_lowercase().as_str() {
                "ms" => 1,
                "" | "s" | "sec" | "second" | "seconds" => 1_000,
                "m" | "min" | "minute" | "minutes" => 60_000,
                "h" | "hour" | "hours" => 3_600_000,
                "d" | "day" | "days" => 86_400_000,
                "w" | "week" | "weeks" => 7 * 86_400_000,
                _ => return None,
            };
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
            rest = after.trim_start();
        }
        Some(Span(total))
    }

    fn short(self) -> String {
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match units.into_iter().find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => format!("{}{name}", self.0 / unit),
            None => format!("{}ms", self.0),
        }
    }
}

/// As .NET prints a TimeSpan: `[d.]hh:mm:ss[.fffffff]`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400_000, self.0 % 86_400_000);
        if days > 0 {
            write!(f, "{days}.")?;
        }
        write!(f, "{:02}:{:02}:{:02}", rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60)?;
        if !rest.is_multiple_of(1000) {
            write!(f, ".{:03}0000", rest % 1000)?;
        }
        Ok(())
    }
}

impl Kind for Span {
    const WHAT: &'static str = "a time span, such as \"30m\" or \"00:30:00\"";
    fn read(value: &Value) -> Option<Span> {
        match value.as_integer() {
            Some(seconds) => u64::try_from(seconds).ok()?.checked_mul(1000).map(Span),
            None => Span::parse(value.as_str()?),
        }
    }
    fn write(&self) -> Value {
        Value::from(self.short())
    }
}

/// Makes an enum that is written by its names, or by the numbers that Exchange gives them.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $number:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vmeta])* $variant = $number),* }

        impl $name {
            /// Every name, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($variant)),*];

            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => stringify!($variant)),* }
            }

            /// By name (case does not matter) or number.
            pub fn parse(text: &str) -> Option<$name> {
                $(if text.eq_ignore_ascii_case(stringify!($variant)) || text == stringify!($number) {
                    return Some($name::$variant);
                })*
                None
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl $crate::settings::value::Kind for $name {
            const WHAT: &'static str = concat!("one of", $(" ", stringify!($variant)),*);
            fn read(value: &toml_edit::Value) -> Option<$name> {
                match value.as_integer() {
                    Some(n) => $name::parse(&n.to_string()),
                    None => $name::parse(value.as_str()?),
                }
            }
            fn write(&self) -> toml_edit::Value {
                toml_edit::Value::from(self.name())
            }
        }
    };
}
pub(crate) use choice;

/// A value out of the document, without the comments and spaces around it.
pub(crate) fn bare(item: &Item) -> Option<Value> {
    let mut value = item.as_value()?.clone();
    value.decor_mut().clear();
    Some(value)
}

/// What a value looks like on one line.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => Formatted::new(text.value().clone()).to_string(),
        other => other.to_string().trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("10MB", 10 << 20), ("1.5 GB", 3 << 29), ("4096", 4096), ("10 MB (10,485,760 bytes)", 10 << 20)]
        {
            assert_eq!(Bytes::parse(text), Some(Bytes(bytes)), "{text}");
        }
        assert_eq!(Bytes::parse("ten"), None);
        assert_eq!(Bytes::parse("99999999999999999999"), Some(Bytes(u64::MAX)));
        assert_eq!(Bytes::mb(10).to_string(), "10 MB (10,485,760 bytes)");
        assert_eq!(Bytes(1_610_612_736).to_string(), "1.5 GB (1,610,612,736 bytes)");
        assert_eq!(Bytes(0).to_string(), "0 B (0 bytes)");
        assert_eq!((Bytes(1000).short(), Bytes::gb(2).short()), ("1000 B".into(), "2 GB".into()));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(n: u64, text in "[0-9a-z:. ]{0,12}") {
            proptest::prop_assert_eq!(Bytes::parse(&Bytes(n).short()), Some(Bytes(n)));
            proptest::prop_assert_eq!(Span::parse(&Span(n).short()), Some(Span(n)));
            let _ = (Bytes::parse(&text), Span::parse(&text));
        }
    }

    #[test]
    fn spans() {
        for (text, millis) in [
            ("30m", 1_800_000),
            ("00:30:00", 1_800_000),
            ("14.00:00:00", 14 * 86_400_000),
            ("1h 30m", 5_400_000),
            ("90", 90_000),
            ("00:00:00.25", 250),
            ("2w", 14 * 86_400_000),
        ] {
            assert_eq!(Span::parse(text), Some(Span(millis)), "{text}");
        }
        for bad in ["", "m", "1:2:3:4", "00:61:00", "5 parsecs", "x:y"] {
            assert_eq!(Span::parse(bad), None, "{bad}");
        }
        assert_eq!(Span::minutes(30).to_string(), "00:30:00");
        assert_eq!(Span::days(14).to_string(), "14.00:00:00");
        assert_eq!(Span(250).to_string(), "00:00:00.2500000");
    }
}
