//! The registry: `reg query` and `.reg` files.

use super::{fact, text_of};
use crate::fact::Fact;
use crate::read::{Doc, scan};
use crate::sink::Sink;
use regex::Regex;
use std::sync::LazyLock;

static VALUE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^\s*(\S.{0,255}?)\s+(REG_(?:SZ|DWORD|QWORD|MULTI_SZ|EXPAND_SZ|BINARY|NONE|DWORD_LITTLE_ENDIAN))(?:\s+(.*))?$").ok()
});

/// A value on one line with its key, as scripts print them: `HKLM:\SOFTWARE\…  SchUseStrongCrypto  0`.
static FLAT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^\s*((?:HKLM|HKEY_LOCAL_MACHINE):?\\\S.{0,300}?)(?:\s{2,}|\t|[|;,]\s*)(\w{2,60})(?:\s*[=:|;,]\s*|\s+)(0[xX][0-9a-fA-F]{1,16}|\d{1,10})\s*$")
        .ok()
});

/// The key that a line is: `HKEY_LOCAL_MACHINE\SYSTEM\…`, `[HKLM\…]`.
fn key(line: &str) -> Option<&str> {
    let line = line.trim().trim_start_matches('[').trim_end_matches(']');
    let is = ["HKEY_", "HKLM\\", "HKCU\\", "HKLM:\\"].iter().any(|p| scan::starts(line, p));
    (is && line.contains('\\') && line.len() < 512 && !line.contains("REG_")).then_some(line)
}

/// What `reg query` prints, with blanks collapsed or not.
pub fn query(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let Some(value) = VALUE.as_ref() else { return };
    let mut current = String::new();
    let mut found = 0;
    for line in 0..doc.lines.len() {
        let Some(text) = doc.free(line) else { continue };
        if !text.contains("REG_")
            && let Some(parts) = FLAT.as_ref().and_then(|form| form.captures(text))
        {
            let part = |n: usize| parts.get(n).map_or("", |m| m.as_str().trim());
            let entry = entry(fact("registry", doc, line), part(1), part(2), "REG_DWORD", part(3));
            sink.fact(entry.text(text.trim()));
            doc.claim(line..line + 1);
            found += 1;
            continue;
        }
        if let Some(name) = key(text) {
            name.clone_into(&mut current);
            continue;
        }
        if let Some(asked) = scan::after(text, "reg query ") {
            asked
                .trim_matches([' ', '"'])
                .split(['"', '/'])
                .next()
                .unwrap_or_default()
                .trim()
                .clone_into(&mut current);
            if let Some(name) = missing(doc, line, text) {
                let absent = fact("registry-absent", doc, line).with("key", &*current).with("name", name);
                sink.fact(absent.text(&text_of(doc, line..line + 2)));
                found += 1;
            }
            continue;
        }
        if !text.contains("REG_") {
            continue;
        }
        let Some(parts) = value.captures(text) else { continue };
        let part = |n: usize| parts.get(n).map_or("", |m| m.as_str().trim());
        let entry = entry(fact("registry", doc, line), &current, part(1), part(2), part(3));
        sink.fact(entry.text(&format!("{current}\\ {}", text.trim())));
        doc.claim(line..line + 1);
        found += 1;
    }
    sink.understood("registry values", found);
}

/// The value that `reg query KEY /v NAME` asked for and did not find: the line below is an error, in any language.
fn missing<'a>(doc: &Doc<'_>, line: usize, asked: &'a str) -> Option<&'a str> {
    let name = scan::after(asked, " /v ")?.trim().trim_matches('"').split([' ', '"']).next()?;
    let below = (line + 1..line + 3).find_map(|at| doc.free(at).filter(|text| !text.trim().is_empty()))?;
    let error =
        ["error", "fehler", "erreur", "errore", "erro", "fout"].iter().any(|w| scan::starts(below.trim(), w));
    (error && !below.contains("REG_") && !name.is_empty()).then_some(name)
}

/// A value's fact; numbers in decimal too.
fn entry(mut fact: Fact, key: &str, name: &str, kind: &str, data: &str) -> Fact {
    fact.put("key", key);
    fact.put("name", name);
    fact.put("valuetype", kind);
    fact.put("data", data);
    let number = match data.strip_prefix("0x").or_else(|| data.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex.split(' ').next().unwrap_or_default(), 16).ok(),
        None => data.parse::<u64>().ok(),
    };
    if let Some(number) = number {
        fact.put("number", number.to_string());
    }
    fact
}

/// Lines of a `.reg` file: `"Name"=dword:00000017`.
pub fn file(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut current = String::new();
    let mut found = 0;
    let mut line = 0;
    while line < doc.lines.len() {
        let Some(text) = doc.free(line).map(str::trim) else {
            line += 1;
            continue;
        };
        if text.starts_with('[')
            && let Some(name) = key(text)
        {
            name.clone_into(&mut current);
        } else if let Some((name, value)) = assignment(text) {
            let mut end = line + 1;
            let mut value = value.to_owned();
            while value.ends_with('\\') {
                let Some(more) = doc.free(end).filter(|_| end < line + 64) else { break };
                value.truncate(value.len() - 1);
                value.push_str(more.trim());
                end += 1;
            }
            let (kind, data) = typed(&value);
            let entry = entry(fact("registry", doc, line), &current, name, kind, &data);
            sink.fact(entry.text(&format!("[{current}] {}", text_of(doc, line..end))));
            doc.claim(line..end);
            found += 1;
            line = end;
            continue;
        }
        line += 1;
    }
    sink.understood("registry values", found);
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = match line.strip_prefix('@') {
        Some(rest) => ("(Default)", rest.strip_prefix('=')?),
        None => line.strip_prefix('"')?.split_once("\"=")?,
    };
    let known = value.starts_with('"')
        || value.starts_with("dword:")
        || value.starts_with("hex")
        || value.starts_with("qword:");
    (known && name.len() < 256).then_some((name, value))
}

fn typed(value: &str) -> (&'static str, String) {
    if let Some(hex) = value.strip_prefix("dword:").or_else(|| value.strip_prefix("qword:")) {
        let number =
            u64::from_str_radix(hex.trim(), 16).map_or_else(|_| hex.to_owned(), |n| format!("{n:#x}"));
        return ("REG_DWORD", number);
    }
    if let Some(text) = value.strip_prefix('"') {
        let text = text.strip_suffix('"').unwrap_or(text);
        return ("REG_SZ", text.replace("\\\\", "\\").replace("\\\"", "\""));
    }
    let (kind, hex) = value.split_once(':').unwrap_or(("hex", value));
    let bytes: Vec<u8> =
        hex.split(',').filter_map(|b| u8::from_str_radix(b.trim(), 16).ok()).take(4096).collect();
    match kind {
        "hex(2)" | "hex(7)" => {
            let units = bytes.chunks_exact(2).map(|p| match p {
                [low, high] => u16::from_le_bytes([*low, *high]),
                _ => 0,
            });
            let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('?')).collect();
            ("REG_MULTI_SZ", text.trim_end_matches('\0').replace('\0', ", "))
        }
        _ => ("REG_BINARY", hex.to_owned()),
    }
}
