//! The document as written: TOML with its comments, and the way to what is meant.

use super::fields::{Reader, Settings};
use super::value::{Kind, bare, shown};
use std::collections::BTreeSet;
use std::fmt;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

/// Bytes of a document; real ones have a few thousand.
const BYTES_MAX: usize = 1024 * 1024;

/// A mistake in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `imap.banner`, or empty for the document as a whole.
    pub key: String,
    /// Line in the document, where it is known.
    pub line: Option<usize>,
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{} ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// A change of one key; `None` takes it out, so that the default holds again.
#[derive(Clone, Debug)]
pub struct Edit {
    pub key: String,
    pub value: Option<Value>,
}

impl Edit {
    pub fn set(key: impl Into<String>, value: &impl Kind) -> Edit {
        Edit { key: key.into(), value: Some(value.write()) }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Document {
    toml: DocumentMut,
    text: String,
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.toml)
    }
}

impl Document {
    /// Reads the grammar only; [`meant`](Document::meant) looks at the values.
    pub fn parse(text: &str) -> Result<Document, Mistake> {
        if text.len() > BYTES_MAX {
            return Err(Mistake { key: String::new(), line: None, text: "is larger than 1 MB".into() });
        }
        let toml = text.parse::<DocumentMut>().map_err(|e| Mistake {
            key: String::new(),
            line: e.span().map(|s| line_of(text, s.start)),
            text: e.message().to_owned(),
        })?;
        Ok(Document { toml, text: text.to_owned() })
    }

    /// What the document means, or everything that is wrong with it.
    pub fn meant(&self) -> Result<Settings, Vec<Mistake>> {
        let mut take = Take { document: self, mistakes: Vec::new(), known: BTreeSet::new() };
        let settings = Settings::read(&mut take);
        let Take { mut mistakes, known, .. } = take;
        self.unknown(&known, &mut mistakes);
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
    }

    /// The value written for a key; `None` where the default holds.
    pub fn written(&self, key: &str) -> Option<Value> {
        let (section, name) = key.split_once('.')?;
        bare(self.toml.get(section)?.as_table_like()?.get(name)?)
    }

    /// Changes keys; comments and everything else stay as they are. Unknown keys are a mistake.
    pub fn edit(&mut self, edits: &[Edit]) -> Result<(), Mistake> {
        let fields = Settings::fields();
        for edit in edits {
            let known = fields.iter().find(|f| f.key() == edit.key).ok_or_else(|| Mistake {
                key: edit.key.clone(),
                line: None,
                text: "is not a setting".into(),
            })?;
            match &edit.value {
                Some(value) => self.put(known.section, known.name, value.clone()),
                None => {
                    if let Some(table) = self.toml.get_mut(known.section).and_then(Item::as_table_like_mut) {
                        table.remove(known.name);
                    }
                }
            }
        }
        self.text = self.toml.to_string();
        Ok(())
    }

    fn put(&mut self, section: &str, name: &str, mut value: Value) {
        let item = self.toml.entry(section).or_insert_with(|| Item::Table(Table::new()));
        let Some(table) = item.as_table_like_mut() else {
            // Somebody wrote `imap = 1`; `meant` has refused the document before it comes to this.
            return;
        };
        match table.get_mut(name).and_then(Item::as_value_mut) {
            Some(old) => {
                // What stands before and behind a value (a comment at the end of the line) is the value's decoration.
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            None => {
                table.insert(name, Item::Value(value));
            }
        }
    }

    fn unknown(&self, known: &BTreeSet<(String, String)>, mistakes: &mut Vec<Mistake>) {
        let sections: Vec<&str> = Settings::sections().iter().map(|(name, _)| *name).collect();
        for (section, item) in self.toml.iter() {
            let line = self.line_of_key(section, None);
            if !sections.contains(&section) {
                let text = "is not a section of the settings".to_owned();
                mistakes.push(Mistake { key: section.to_owned(), line, text });
                continue;
            }
            let Some(table) = item.as_table_like() else {
                mistakes.push(Mistake { key: section.to_owned(), line, text: "must be a section".into() });
                continue;
            };
            for (name, _) in table.iter() {
                if !known.contains(&(section.to_owned(), name.to_owned())) {
                    let near = nearest(section, name);
                    mistakes.push(Mistake {
                        key: format!("{section}.{name}"),
                        line: self.line_of_key(section, Some(name)),
                        text: match near {
                            Some(near) => format!("is not a setting; did you mean {near}?"),
                            None => "is not a setting".into(),
                        },
                    });
                }
            }
        }
    }

    /// A search by text: spans are lost once a document is editable, and this is for people only.
    fn line_of_key(&self, section: &str, name: Option<&str>) -> Option<usize> {
        let mut inside = false;
        for (number, line) in self.text.lines().enumerate() {
            let line = line.trim_start();
            if let Some(header) = line.strip_prefix('[') {
                inside = header.trim_start_matches('[').split(']').next().map(str::trim) == Some(section);
                if inside && name.is_none() {
                    return Some(number + 1);
                }
            } else if let Some(name) = name
                && inside
                && line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
            {
                return Some(number + 1);
            }
        }
        None
    }
}

/// Takes values out of the document, one field at a time.
struct Take<'a> {
    document: &'a Document,
    mistakes: Vec<Mistake>,
    known: BTreeSet<(String, String)>,
}

impl Reader for Take<'_> {
    fn read<T: Kind>(
        &mut self,
        section: &str,
        name: &str,
        default: T,
        check: fn(&T) -> Result<(), String>,
    ) -> T {
        self.known.insert((section.to_owned(), name.to_owned()));
        let table: Option<&dyn TableLike> = self.document.toml.get(section).and_then(Item::as_table_like);
        let Some(item) = table.and_then(|t| t.get(name)) else { return default };
        let read = match bare(item) {
            Some(value) => T::read(&value)
                .ok_or_else(|| format!("must be {}, not {}", T::WHAT, shown(&value)))
                .and_then(|v| check(&v).map(|()| v)),
            None => Err(format!("must be {}", T::WHAT)),
        };
        read.unwrap_or_else(|text| {
            let line = self.document.line_of_key(section, Some(name));
            self.mistakes.push(Mistake { key: format!("{section}.{name}"), line, text });
            default
        })
    }
}

/// The known key of the section that differs least, if by little.
fn nearest(section: &str, name: &str) -> Option<&'static str> {
    let fields = Settings::fields();
    let same = fields.iter().filter(|f| f.section == section);
    let best = same.map(|f| (crate::words::distance(f.name, name), f.name)).min()?;
    (best.0 <= 3).then_some(best.1)
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{LoginType, Span};

    const TEXT: &str = "# Our settings.\n\n[imap] # the important part\n# Greeting.\nbanner = \"Hello\"  # short\n\
        login_type = 1\nauthenticated_connection_timeout = \"00:45:00\"\n";

    #[test]
    fn reads_what_is_meant() {
        let settings = Document::parse(TEXT).unwrap().meant().unwrap();
        assert_eq!(settings.imap.banner, "Hello");
        assert_eq!(settings.imap.login_type, LoginType::PlainTextLogin);
        assert_eq!(settings.imap.authenticated_connection_timeout, Span::minutes(45));
        assert_eq!(settings.imap.max_connections_per_user, 64);
        assert_eq!(Document::default().meant().unwrap(), Settings::default());
    }

    #[test]
    fn edits_keep_comments() {
        let mut document = Document::parse(TEXT).unwrap();
        let edits = [
            Edit::set("imap.banner", &"Good day".to_owned()),
            Edit::set("pop.max_connections_per_user", &3u32),
            Edit { key: "imap.login_type".into(), value: None },
        ];
        document.edit(&edits).unwrap();
        let text = document.to_string();
        assert_eq!(
            text,
            "# Our settings.\n\n[imap] # the important part\n# Greeting.\nbanner = \"Good day\"  # short\n\
             authenticated_connection_timeout = \"00:45:00\"\n\n[pop]\nmax_connections_per_user = 3\n"
        );
        assert_eq!(Document::parse(&text).unwrap().meant().unwrap().pop.max_connections_per_user, 3);
    }

    proptest::proptest! {
        #[test]
        fn survives_anything(text in "[\\[\\]a-z_.=\"0-9# \n-]{0,120}") {
            if let Ok(mut document) = Document::parse(&text) {
                let _ = document.meant();
                let before = document.meant().is_ok();
                document.edit(&[Edit::set("imap.banner", &"x".to_owned())]).unwrap();
                if before {
                    let again = Document::parse(&document.to_string()).unwrap();
                    proptest::prop_assert_eq!(again.meant().unwrap().imap.banner, "x");
                }
            }
        }
    }

    #[test]
    fn names_every_mistake() {
        let text = "[imap]\nbaner = \"x\"\nmax_connections_per_user = \"many\"\n\n[pop]\nmax_command_size = 3\n[web]\n";
        let mistakes = Document::parse(text).unwrap().meant().unwrap_err();
        let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
        assert_eq!(
            lines,
            [
                "line 3: imap.max_connections_per_user must be a whole number, not \"many\"",
                "line 6: pop.max_command_size must be 40 to 16384",
                "line 2: imap.baner is not a setting; did you mean banner?",
                "line 7: web is not a section of the settings",
            ]
        );
        let broken = Document::parse("[imap\n").unwrap_err();
        assert_eq!(broken.line, Some(1));
    }
}
