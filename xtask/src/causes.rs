//! Waypost's own causes, gathered from the sources, and the rule files that they have in `diagnose/rules/waypost`: what the
//! program can name has a page that explains it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where the rule files are.
const RULES: &str = "diagnose/rules/waypost";

/// A cause as the sources have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    code: String,
    meaning: String,
    remedy: String,
    reference: String,
}

/// Codes in the sources without a rule file, and files whose cause is gone or says something else.
pub fn check(root: &Path, sources: &[std::path::PathBuf]) -> Vec<String> {
    let mut wanted = BTreeMap::new();
    for cause in gather(root, sources) {
        wanted.insert(format!("{}.toml", cause.code), text(&cause));
    }
    let mut problems = Vec::new();
    for (name, text) in &wanted {
        let there = fs::read_to_string(root.join(RULES).join(name)).unwrap_or_default();
        if there != *text && !there.starts_with("# kept") {
            problems
                .push(format!("{RULES}/{name} is not as the source has it: cargo run -p xtask -- causes"));
        }
    }
    for entry in fs::read_dir(root.join(RULES)).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !wanted.contains_key(&name) {
            problems.push(format!("{RULES}/{name}: no such cause is in the sources"));
        }
    }
    problems
}

/// Writes the rule files again.
pub fn write(root: &Path, sources: &[std::path::PathBuf]) -> std::io::Result<usize> {
    let folder = root.join(RULES);
    fs::create_dir_all(&folder)?;
    let causes = gather(root, sources);
    for entry in fs::read_dir(&folder)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !causes.iter().any(|c| name == format!("{}.toml", c.code)) {
            fs::remove_file(entry.path())?;
        }
    }
    for cause in &causes {
        let path = folder.join(format!("{}.toml", cause.code));
        let kept = fs::read_to_string(&path).is_ok_and(|t| t.starts_with("# kept"));
        if !kept {
            fs::write(path, text(cause))?;
        }
    }
    Ok(causes.len())
}

/// All causes of the rooms, by code. `diagnose` has the causes of others.
fn gather(root: &Path, sources: &[std::path::PathBuf]) -> Vec<Own> {
    let mut found: BTreeMap<String, Own> = BTreeMap::new();
    for path in sources {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        let workshop = ["diagnose/", "tests/", "testkit/", "xtask/", "fuzz/", "bench/"];
        if workshop.iter().any(|w| name.starts_with(w)) || name.contains("/tests") {
            continue;
        }
        let Ok(code) = fs::read_to_string(path) else { continue };
        let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        if code.contains("Cause {") {
            for cause in structs(code).into_iter().chain(rows(code)) {
                found.entry(cause.code.clone()).or_insert(cause);
            }
        }
    }
    found.into_values().collect()
}

/// `Cause { code: "…", meaning: "…", remedy: "…", reference: … }`
fn structs(code: &str) -> Vec<Own> {
    let mut found = Vec::new();
    for block in code.split("Cause {").skip(1) {
        let field = |name: &str| {
            let after = block.split_once(&format!("{name}:"))?.1.trim_start();
            match literal(after) {
                Some((text, _)) => Some(text),
                None => constant(code, after),
            }
        };
        let head = block.trim_start();
        let (true, Some((own, _))) =
            (head.starts_with("code:"), head.get(5..).and_then(|t| literal(t.trim_start())))
        else {
            continue;
        };
        if let (Some(meaning), Some(remedy)) = (field("meaning"), field("remedy")) {
            found.push(Own { code: own, meaning, remedy, reference: field("reference").unwrap_or_default() });
        }
    }
    found
}

/// Rows of a `causes!` table: `NAME = "CODE", "meaning", "remedy";`, with a reference before or after them or without.
fn rows(code: &str) -> Vec<Own> {
    let mut found = Vec::new();
    let common = code.split_once("reference:").map(|(_, after)| after.trim_start());
    let common = common.and_then(|after| literal(after).map(|l| l.0).or_else(|| constant(code, after)));
    for block in code.split("causes! {").skip(1) {
        let mut rest = block;
        while let Some((before, _)) = rest.split_once('"') {
            if before.contains('}') {
                break;
            }
            let mut texts = Vec::new();
            rest = rest.get(before.len()..).unwrap_or_default();
            while let Some((text, after)) = literal(rest) {
                texts.push(text);
                rest = after.trim_start();
                match rest.strip_prefix(',') {
                    Some(more) => rest = more.trim_start(),
                    None => break,
                }
            }
            let own = match texts.as_slice() {
                [code, meaning, remedy] => {
                    [code, meaning, remedy, &common.clone().unwrap_or_default()].map(String::clone)
                }
                [code, first, second, third] if first.starts_with("RFC") || first.starts_with("docs/") => {
                    [code, second, third, first].map(String::clone)
                }
                [code, meaning, remedy, reference] => [code, meaning, remedy, reference].map(String::clone),
                _ => continue,
            };
            let [code, meaning, remedy, reference] = own;
            if code.contains('-')
                && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
            {
                found.push(Own { code, meaning, remedy, reference });
            }
        }
    }
    found
}

/// A string literal at the beginning, and what is behind it.
fn literal(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in inner.char_indices() {
        match (escaped, c) {
            (true, '\n') => value.push(' '),
            (true, c) => value.push(c),
            (false, '\\') => {
                escaped = true;
                continue;
            }
            (false, '"') => {
                let words = value.split_whitespace().collect::<Vec<_>>().join(" ");
                return Some((words, inner.get(at + 1..)?));
            }
            (false, c) => value.push(c),
        }
        escaped = false;
    }
    None
}

/// The text of a constant of the file, by the name at the beginning.
fn constant(code: &str, text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
    if name.is_empty() {
        return None;
    }
    let after = code.split_once(&format!("const {name}: &str ="))?.1.trim_start();
    literal(after).map(|l| l.0)
}

/// The rule file of a cause: its words, and where it is read from.
fn text(cause: &Own) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let plain = cause.meaning.trim_end_matches('.');
    let mut title: String = plain.chars().take(1).flat_map(char::to_uppercase).collect();
    title.extend(plain.chars().skip(1));
    let leg = match cause.code.split('-').next().unwrap_or_default() {
        "KRB" => "initiator → acceptor",
        "INNER" => "server → server",
        "CERT" => "client → front end",
        "SEND" => "hub → next server",
        "HOME" => "front end → home",
        "IMAP" => "client → imap",
        "POP" => "client → pop",
        "DELIVER" => "hub → mailbox",
        "ACME" => "server → ACME directory",
        "HUB" => "server → hub",
        _ => "",
    };
    let log = |level: &str, message: &str, cause: &str| {
        format!(
            r#"{{"timestamp":"2026-03-03T10:40:02.118Z","level":"{level}","fields":{{"message":"{message}","from":"front-1","to":"mbx-1","service":"imap"{cause}}},"target":"waypost::inner"}}"#
        )
    };
    let named = format!(",\"cause\":\"{}\"", cause.code);
    let reference = match cause.reference.as_str() {
        inner if inner.contains("EXCHANGE.md") || inner.contains("KERBEROS.md") => "docs/certificates.md",
        other => other,
    };
    format!(
        "code = {}\ntitle = {}\nleg = {}\nmeaning = {}\nremedy = [{}]\nreference = {}\n\n[[sign]]\nid = \"named\"\nweight = 0.9\n\
         kinds = [\"waypost\"]\nwhere = {{ cause = {} }}\nfact = \"{{text}}\"\n\n[[example]]\nname = \"as the log has it\"\n\
         fires = true\nfiles = {{ \"waypost.log\" = '''{}''' }}\n\n[[example]]\nname = \"mended\"\nfires = false\n\
         files = {{ \"waypost.log\" = '''{}''' }}\n",
        quoted(&cause.code),
        quoted(&title),
        quoted(leg),
        quoted(&format!("Waypost names this cause itself: {plain}.")),
        quoted(&cause.remedy),
        quoted(reference),
        quoted(&cause.code),
        log("WARN", "an inner leg fails", &named),
        log("INFO", "the inner leg is well again", ""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        let code = r#"
const REFERENCE: &str = "docs/x.md";
const A: Cause = Cause {
    code: "AAA-ONE",
    meaning: "it \
              breaks",
    remedy: "mend \"it\"",
    reference: REFERENCE,
};
causes! {
    B = "BBB-TWO", "RFC 1", "two", "mend two";
    C = "CCC-THREE", "three", "mend three";
}
"#;
        let found: Vec<Own> = structs(code).into_iter().chain(rows(code)).collect();
        let told: Vec<[&str; 4]> = found
            .iter()
            .map(|o| [o.code.as_str(), o.meaning.as_str(), o.remedy.as_str(), o.reference.as_str()])
            .collect();
        assert_eq!(
            told,
            [
                ["AAA-ONE", "it breaks", "mend \"it\"", "docs/x.md"],
                ["BBB-TWO", "two", "mend two", "RFC 1"],
                ["CCC-THREE", "three", "mend three", "docs/x.md"],
            ]
        );
    }
}
