//! The document as written: TOML with its comments, and the way to what is meant.

use super::fields::{Place, Reader, Settings};
use super::value::{Kind, bare, shown};
use std::collections::BTreeSet;
use std::fmt;
use toml_edit::{DocumentMut, Item, Key, RawString, Table, TableLike, Value};

/// Bytes of a document; real ones have a few thousand.
const BYTES_MAX: usize = 1024 * 1024;
/// Sections of one collection: ten times what the largest organisations have.
const NAMES_MAX: usize = 1_000;

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

/// A change of one key; `None` takes it out, so that the default holds again. The key of a collection's section
/// (`send_connectors.sink`) can only be taken out: the whole section goes.
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
        let (place, field) = split(key)?;
        bare(self.table(&place)?.get(&field)?)
    }

    fn table(&self, place: &Place) -> Option<&dyn TableLike> {
        let section = self.toml.get(&place.section)?.as_table_like()?;
        match &place.name {
            Some(name) => section.get(name)?.as_table_like(),
            None => Some(section),
        }
    }

    /// Nothing is written in it but comments.
    pub fn is_empty(&self) -> bool {
        self.toml.is_empty()
    }

    /// Takes every value of the other document over. What is no section there is left out: `meant` of the other tells.
    pub(super) fn lay_over(&mut self, other: &Document) {
        for (section, item) in other.toml.iter() {
            let Some(table) = item.as_table_like() else { continue };
            for (name, item) in table.iter() {
                match item.as_table_like().filter(|_| is_collection(section)) {
                    Some(fields) => {
                        for (field, item) in fields.iter() {
                            self.put_bare(&Place::named(section, name), field, item);
                        }
                    }
                    None => self.put_bare(&Place::section(section), name, item),
                }
            }
        }
        self.text = self.toml.to_string();
    }

    fn put_bare(&mut self, place: &Place, field: &str, item: &Item) {
        if let Some(value) = bare(item) {
            // Names were looked at when the other document was read.
            let _ = self.put(place, field, value);
        }
    }

    /// Changes keys; comments and everything else stay as they are. Unknown keys are a mistake.
    pub fn edit(&mut self, edits: &[Edit]) -> Result<(), Mistake> {
        for edit in edits {
            let unknown = || Mistake { key: edit.key.clone(), line: None, text: "is not a setting".into() };
            match (section_of(&edit.key), split(&edit.key), &edit.value) {
                (Some(place), _, None) => self.remove_named(&place),
                (_, Some((place, field)), Some(value)) => self.put(&place, &field, value.clone())?,
                (_, Some((place, field)), None) => {
                    let mut section = self.toml.get_mut(&place.section).and_then(Item::as_table_like_mut);
                    if let Some(name) = &place.name {
                        section = section.and_then(|s| s.get_mut(name)).and_then(Item::as_table_like_mut);
                    }
                    if let Some(table) = section {
                        table.remove(&field);
                    }
                }
                _ => return Err(unknown()),
            }
        }
        self.text = self.toml.to_string();
        Ok(())
    }

    fn put(&mut self, place: &Place, field: &str, mut value: Value) -> Result<(), Mistake> {
        if let Some(name) = &place.name {
            sound_name(name).map_err(|text| Mistake { key: place.to_string(), line: None, text })?;
            self.make_named(&place.section, name);
        }
        let item = self.toml.entry(&place.section).or_insert_with(|| Item::Table(Table::new()));
        let mut table = item.as_table_like_mut();
        if let Some(name) = &place.name {
            table = table.and_then(|t| t.get_mut(name)).and_then(Item::as_table_like_mut);
        }
        // Somebody wrote `imap = 1`; `meant` has refused the document before it comes to this.
        let Some(table) = table else { return Ok(()) };
        match table.get_mut(field).and_then(Item::as_value_mut) {
            Some(old) => {
                // What stands before and behind a value (a comment at the end of the line) is the value's decoration.
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            None => {
                table.insert(field, Item::Value(value));
            }
        }
        Ok(())
    }

    /// The section of a collection, below whatever stands at the end of the document.
    fn make_named(&mut self, collection: &str, name: &str) {
        let there =
            self.toml.get(collection).and_then(Item::as_table_like).is_some_and(|t| t.contains_key(name));
        if there {
            return;
        }
        if !self.toml.contains_key(collection) {
            let mut table = Table::new();
            table.set_implicit(true);
            self.toml.insert(collection, Item::Table(table));
        }
        // A collection in braces takes no comments: what is below it stays the document's end.
        let last = self.toml.iter().last().is_some_and(|(key, item)| key == collection && item.is_table());
        let mut fresh = Table::new();
        let trailing = self.toml.trailing().as_str().unwrap_or_default().to_owned();
        if last && !trailing.trim().is_empty() {
            fresh.decor_mut().set_prefix(format!("{}\n\n", trailing.trim_end()));
            self.toml.set_trailing(RawString::default());
        }
        if let Some(table) = self.toml.get_mut(collection).and_then(Item::as_table_like_mut) {
            table.insert(name, Item::Table(fresh));
        }
    }

    /// Takes a section out with the comment that stands on top of it; what is above an empty line stays.
    fn remove_named(&mut self, place: &Place) {
        let Some(name) = &place.name else { return };
        let last = self.toml.iter().last().is_some_and(|(key, _)| key == place.section);
        let Some(collection) = self.toml.get_mut(&place.section).and_then(Item::as_table_like_mut) else {
            return;
        };
        let last = last && collection.iter().last().is_some_and(|(key, _)| key == name);
        let Some(gone) = collection.remove(name) else { return };
        if collection.is_empty() {
            self.toml.remove(&place.section);
        }
        let above = gone.as_table().and_then(|t| t.decor().prefix()).and_then(RawString::as_str);
        let kept = above.and_then(|text| text.rfind("\n\n").and_then(|at| text.get(..=at)));
        let Some(kept) = kept.filter(|text| !text.trim().is_empty()) else { return };
        // Below the last section it is the end of the document; elsewhere the next section gets it on top.
        if last {
            let after = self.toml.trailing().as_str().unwrap_or_default().to_owned();
            self.toml.set_trailing(format!("{kept}{after}"));
        } else if let Some(next) = self.following(place) {
            let own = next.decor().prefix().and_then(RawString::as_str).unwrap_or("\n").to_owned();
            next.decor_mut().set_prefix(format!("{kept}{own}"));
        }
    }

    /// The table that now stands where the removed one stood, or the first after it.
    fn following(&mut self, place: &Place) -> Option<&mut Table> {
        let sections: Vec<String> = self.toml.iter().map(|(key, _)| key.to_owned()).collect();
        let header = |key: &Key| key.get().to_owned();
        let gone = place.name.clone()?;
        // Order by the text as it was: `self.text` is from before the removal.
        let mut past = false;
        let mut next = None;
        for line in self.text.lines() {
            let Some(keys) = header_keys(line) else { continue };
            let names: Vec<String> = keys.iter().map(header).collect();
            if past && names.first().is_some_and(|s| sections.contains(s)) {
                next = Some(names);
                break;
            }
            past |= names == [place.section.clone(), gone.clone()];
        }
        let names = next?;
        let mut item = self.toml.get_mut(names.first()?)?;
        for name in names.get(1..)? {
            item = item.get_mut(name.as_str())?;
        }
        item.as_table_mut()
    }

    fn unknown(&self, known: &BTreeSet<(Place, String)>, mistakes: &mut Vec<Mistake>) {
        for (section, item) in self.toml.iter() {
            let place = Place::section(section);
            let line = self.line_of(&place, None);
            let plain = Settings::sections().iter().any(|(name, _)| *name == section);
            if !plain && !is_collection(section) {
                let text = "is not a section of the settings".to_owned();
                mistakes.push(Mistake { key: section.to_owned(), line, text });
                continue;
            }
            let Some(table) = item.as_table_like() else {
                mistakes.push(Mistake { key: section.to_owned(), line, text: "must be a section".into() });
                continue;
            };
            if plain {
                self.unknown_in(&place, table, known, mistakes);
                continue;
            }
            for (name, item) in table.iter() {
                let place = Place::named(section, name);
                match item.as_table_like() {
                    Some(table) => self.unknown_in(&place, table, known, mistakes),
                    None => {
                        let line = self.line_of(&Place::section(section), Some(name));
                        let text = format!("must be a section of its own: [{section}.NAME]");
                        mistakes.push(Mistake { key: place.to_string(), line, text });
                    }
                }
            }
        }
    }

    fn unknown_in(
        &self,
        place: &Place,
        table: &dyn TableLike,
        known: &BTreeSet<(Place, String)>,
        mistakes: &mut Vec<Mistake>,
    ) {
        for (name, _) in table.iter() {
            if !known.contains(&(place.clone(), name.to_owned())) {
                let near = nearest(&place.section, name);
                mistakes.push(Mistake {
                    key: place.key(name),
                    line: self.line_of(place, Some(name)),
                    text: match near {
                        Some(near) => format!("is not a setting; did you mean {near}?"),
                        None => "is not a setting".into(),
                    },
                });
            }
        }
    }

    /// A search by text: spans are lost once a document is editable, and this is for people only.
    fn line_of(&self, place: &Place, name: Option<&str>) -> Option<usize> {
        let wanted: Vec<&str> =
            std::iter::once(place.section.as_str()).chain(place.name.as_deref()).collect();
        let mut inside = false;
        for (number, line) in self.text.lines().enumerate() {
            if let Some(keys) = header_keys(line) {
                inside = keys.iter().map(Key::get).eq(wanted.iter().copied());
                if inside && name.is_none() {
                    return Some(number + 1);
                }
            } else if let Some(name) = name
                && inside
                && line.trim_start().strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
            {
                return Some(number + 1);
            }
        }
        None
    }
}

/// The keys of `[a."b c"]`.
fn header_keys(line: &str) -> Option<Vec<Key>> {
    let inner = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
    let end = inner.rfind(']')?;
    Key::parse(inner.get(..end)?.trim_end_matches(']')).ok()
}

fn is_collection(section: &str) -> bool {
    Settings::collections().iter().any(|(name, _)| *name == section)
}

/// `send_connectors.sink` as the place that it is, if it is one; the name may be in quotes.
fn section_of(key: &str) -> Option<Place> {
    let (section, name) = key.split_once('.')?;
    if !is_collection(section) {
        return None;
    }
    // `send_connectors.sink.port` is a field of `sink`, unless it has no such field.
    if split(key).is_some() {
        return None;
    }
    Some(Place::named(section, unquoted(name)))
}

/// `imap.banner` and `send_connectors.sink.port` as place and field. The last dot is before the field: names may have
/// dots. `None` where there is no such setting.
fn split(key: &str) -> Option<(Place, String)> {
    let (section, rest) = key.split_once('.')?;
    if is_collection(section) {
        let (name, field) = rest.rsplit_once('.')?;
        let known = Settings::named_fields().iter().any(|f| f.section == section && f.name == field);
        return known.then(|| (Place::named(section, unquoted(name)), field.to_owned()));
    }
    let known = Settings::fields().iter().any(|f| f.section == section && f.name == rest);
    known.then(|| (Place::section(section), rest.to_owned()))
}

fn unquoted(name: &str) -> &str {
    name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).unwrap_or(name)
}

/// A name that people give to a connector or filter: in logs, queue names and files, so nothing strange.
pub fn sound_name(name: &str) -> Result<(), String> {
    let sound = !name.is_empty()
        && name.chars().count() <= 64
        && name.trim() == name
        && !name.starts_with('.')
        && !name.chars().any(|c| c.is_control() || "\"'\\/;,*?[]{}<>|$".contains(c));
    if sound { Ok(()) } else { Err("needs a name of 1 to 64 letters, digits, spaces, - _ . ( )".into()) }
}

/// Takes values out of the document, one field at a time.
struct Take<'a> {
    document: &'a Document,
    mistakes: Vec<Mistake>,
    known: BTreeSet<(Place, String)>,
}

impl Reader for Take<'_> {
    fn read<T: Kind>(
        &mut self,
        place: &Place,
        name: &str,
        default: T,
        check: fn(&T) -> Result<(), String>,
    ) -> T {
        self.known.insert((place.clone(), name.to_owned()));
        let Some(item) = self.document.table(place).and_then(|t| t.get(name)) else { return default };
        let read = match bare(item) {
            Some(value) => T::read(&value)
                .ok_or_else(|| format!("must be {}, not {}", T::WHAT, shown(&value)))
                .and_then(|v| check(&v).map(|()| v)),
            None => Err(format!("must be {}", T::WHAT)),
        };
        read.unwrap_or_else(|text| {
            let line = self.document.line_of(place, Some(name));
            self.mistakes.push(Mistake { key: place.key(name), line, text });
            default
        })
    }

    fn names(&mut self, collection: &str) -> Vec<String> {
        let table = self.document.toml.get(collection).and_then(Item::as_table_like);
        let tables = table.into_iter().flat_map(|t| t.iter()).filter(|(_, item)| item.is_table_like());
        let mut names: Vec<String> = Vec::new();
        for (name, _) in tables {
            let twin = names.iter().find(|n| n.to_lowercase() == name.to_lowercase());
            let wrong = match twin {
                Some(twin) => Some(format!("has the name of {twin:?}: case makes no difference")),
                None if names.len() >= NAMES_MAX => Some(format!("is one too many: {NAMES_MAX} can be")),
                None => sound_name(name).err(),
            };
            if let Some(text) = wrong {
                self.wrong(&Place::named(collection, name), text);
            }
            names.push(name.to_owned());
        }
        names
    }

    fn wrong(&mut self, place: &Place, text: String) {
        let line = self.document.line_of(place, None);
        self.mistakes.push(Mistake { key: place.to_string(), line, text });
    }
}

/// The known key of the section that differs least, if by little.
fn nearest(section: &str, name: &str) -> Option<&'static str> {
    let fields = if is_collection(section) { Settings::named_fields() } else { Settings::fields() };
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

    const PIECES: [&str; 14] = [
        "[send_connectors]",
        "[send_connectors.a]",
        "[send_connectors.\"a b\"]",
        "[[send_connectors.a]]",
        "[send_connectors.x]",
        "send_connectors.a.port = 1",
        "send_connectors = { a = { port = 3 } }",
        "a.port = 2",
        "a = { port = 4 }",
        "port = 25 # kept",
        "[imap]",
        "[mail_filters.f]",
        "# c",
        "",
    ];

    proptest::proptest! {
        /// However the document is laid out: what is put in is there, what is taken out is not, nothing else changes.
        #[test]
        fn named_sections_in_any_document(lines in proptest::collection::vec(0usize..PIECES.len(), 0..10)) {
            let text: String = lines.iter().map(|n| format!("{}\n", PIECES[*n])).collect();
            let Ok(mut document) = Document::parse(&text) else { return Ok(()) };
            let Ok(before) = document.meant() else { return Ok(()) };
            let comments = text.matches("# c").count();
            document.edit(&[Edit::set("send_connectors.x.port", &77u32)]).unwrap();
            let mut expected = before.clone();
            expected.send_connectors.entry("x".into()).or_default().port = 77;
            let put = Document::parse(&document.to_string()).unwrap().meant().unwrap();
            proptest::prop_assert_eq!(&put, &expected);
            proptest::prop_assert_eq!(document.to_string().matches("# c").count(), comments);
            for name in ["x", "a"] {
                document.edit(&[Edit { key: format!("send_connectors.{name}"), value: None }]).unwrap();
                expected.send_connectors.remove(name);
            }
            let taken = Document::parse(&document.to_string()).unwrap().meant().unwrap();
            proptest::prop_assert_eq!(&taken, &expected);
        }
    }

    #[test]
    fn named_sections_come_and_go() {
        let text = "[imap]\n#banner = 1\n\n# The end.\n#x = 1\n";
        let mut document = Document::parse(text).unwrap();
        let edits = [
            Edit::set("send_connectors.sink.port", &2525u32),
            Edit::set("send_connectors.To the world (MX).comment", &"all".to_owned()),
            Edit::set("send_connectors.\"a.b\".enabled", &false),
        ];
        document.edit(&edits).unwrap();
        let with = document.to_string();
        assert_eq!(
            with,
            "[imap]\n#banner = 1\n\n# The end.\n#x = 1\n\n[send_connectors.sink]\nport = 2525\n\n\
             [send_connectors.\"To the world (MX)\"]\ncomment = \"all\"\n\n[send_connectors.\"a.b\"]\nenabled = false\n"
        );
        let meant = Document::parse(&with).unwrap().meant().unwrap();
        assert_eq!(meant.send_connectors["sink"].port, 2525);
        assert!(!meant.send_connectors["a.b"].enabled);
        assert_eq!(document.written("send_connectors.sink.port").unwrap().as_integer(), Some(2525));
        let gone = |name: &str| Edit { key: format!("send_connectors.{name}"), value: None };
        document.edit(&[gone("sink")]).unwrap();
        assert!(document.to_string().starts_with("[imap]\n#banner = 1\n\n# The end.\n#x = 1\n"));
        document.edit(&[gone("To the world (MX)"), gone("a.b")]).unwrap();
        let left = document.to_string();
        assert!(left.contains("# The end.\n#x = 1\n") && !left.contains("send_connectors"), "{left}");
        assert_eq!(Document::parse(&left).unwrap().meant().unwrap(), Settings::default());
    }

    #[test]
    fn mistakes_in_named_sections() {
        let text = "[send_connectors]\nsink = 1\n[send_connectors.a]\nprot = 25\nport = 0\n[send_connectors.A]\n\
                    [send_connectors.\"x*\"]\nignore_starttls = true\nrequire_tls = true\n";
        let mistakes = Document::parse(text).unwrap().meant().unwrap_err();
        let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
        assert_eq!(
            lines,
            [
                "line 6: send_connectors.A has the name of \"a\": case makes no difference",
                "line 7: send_connectors.x* needs a name of 1 to 64 letters, digits, spaces, - _ . ( )",
                "line 5: send_connectors.a.port must be 1 to 65535",
                "line 7: send_connectors.x* ignores STARTTLS and requires TLS: only one of the two can be",
                "line 2: send_connectors.sink must be a section of its own: [send_connectors.NAME]",
                "line 4: send_connectors.a.prot is not a setting; did you mean port?",
            ]
        );
        let mut document = Document::default();
        assert!(document.edit(&[Edit::set("send_connectors.a/b.port", &1u32)]).is_err());
        assert!(document.edit(&[Edit::set("send_connectors.sink", &1u32)]).is_err());
        assert!(document.edit(&[Edit::set("send_connectors.sink.prt", &1u32)]).is_err());
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
