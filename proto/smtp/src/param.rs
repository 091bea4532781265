//! `keyword=value` parameters behind a path (RFC 5321 §4.1.2, `esmtp-param`).

use crate::limits;

/// Why parameters could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    Syntax,
    TooMany,
}

/// Splits ` KEY=value KEY …`. Keywords are compared without regard to case; twice the same is a syntax error.
pub(crate) fn split(text: &str) -> Result<Vec<(String, Option<&str>)>, Bad> {
    let mut found: Vec<(String, Option<&str>)> = Vec::new();
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(Bad::Syntax);
    }
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let good_key = !key.is_empty()
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !key.starts_with('-');
        let good_value =
            value.is_none_or(|v| !v.is_empty() && v.chars().all(|c| c > ' ' && c != '=' && c != '\x7f'));
        let key = key.to_ascii_uppercase();
        if !good_key || !good_value || found.iter().any(|(k, _)| *k == key) {
            return Err(Bad::Syntax);
        }
        if found.len() == limits::PARAMS {
            return Err(Bad::TooMany);
        }
        found.push((key, value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        assert_eq!(split(""), Ok(vec![]));
        assert_eq!(
            split(" size=1000  BODY=8BITMIME SMTPUTF8"),
            Ok(vec![
                ("SIZE".to_owned(), Some("1000")),
                ("BODY".to_owned(), Some("8BITMIME")),
                ("SMTPUTF8".to_owned(), None)
            ])
        );
        for bad in ["SIZE=1", " =1", " SIZE=", " A=1 a=2", " A=b=c", " -A=1", " A\tB"] {
            assert_eq!(split(bad), Err(Bad::Syntax), "{bad}");
        }
        assert_eq!(split(&(0..17).map(|i| format!(" K{i}")).collect::<String>()), Err(Bad::TooMany));
    }
}
