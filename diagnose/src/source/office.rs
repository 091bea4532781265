//! Office documents: zips of XML. Paragraphs and tables in the order of reading, each sheet of a workbook as CSV.
//! Macros, pictures and what is embedded are left alone.

use super::page::Page;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// What kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of Word.
    Docx,
    /// Of Excel.
    Xlsx,
    /// Of LibreOffice and others.
    Odf,
    /// Slides: not read.
    Slides,
}

/// Texts that cells share.
const SHARED_MAX: usize = 2_000_000;
/// Spaces that one element may stand for.
const SPACES_MAX: usize = 64;
/// Columns of a sheet.
const COLUMNS_MAX: usize = 400;
/// Columns that were left out before a cell.
const GAP_MAX: usize = 64;

/// Judges by the names of a zip's parts.
pub fn kind<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<Kind> {
    let has = |wanted: &str| names.clone().any(|name| name == wanted);
    if has("word/document.xml") {
        Some(Kind::Docx)
    } else if has("xl/workbook.xml") {
        Some(Kind::Xlsx)
    } else if has("content.xml") && has("mimetype") {
        Some(Kind::Odf)
    } else if has("ppt/presentation.xml") {
        Some(Kind::Slides)
    } else {
        None
    }
}

/// Whether a file's name says that it is one of these.
pub fn named(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".docx", ".docm", ".xlsx", ".xlsm", ".odt", ".ods"].iter().any(|end| lower.ends_with(end))
}

/// Walks XML; ends at its first fault, with what stands before it.
pub fn walk(xml: &str, mut give: impl FnMut(Step<'_>)) {
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => give(Step::Open(start.local_name().as_ref(), &start)),
            Ok(Event::Empty(start)) => {
                give(Step::Open(start.local_name().as_ref(), &start));
                give(Step::Close(start.local_name().as_ref()));
            }
            Ok(Event::End(end)) => give(Step::Close(end.local_name().as_ref())),
            Ok(Event::Text(text)) => give(Step::Text(&text.into_inner())),
            Ok(Event::CData(text)) => give(Step::Text(&text.into_inner())),
            Ok(Event::GeneralRef(entity)) => match entity.resolve_char_ref() {
                Ok(Some(c)) => give(Step::Text(c.encode_utf8(&mut [0; 4]))),
                _ => give(Step::Text(crate::read::tree::entity_of(&entity.into_inner()))),
            },
            Ok(Event::Eof) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// What one meets on the way; names are without their prefix.
pub enum Step<'a> {
    Open(&'a str, &'a BytesStart<'a>),
    Close(&'a str),
    Text(&'a str),
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut all = start.attributes();
    let mut found = all.with_checks(false).take(64).flatten();
    found.find(|a| a.key.local_name().as_ref() == name).map(|a| {
        quick_xml::escape::unescape(&a.value).map_or_else(|_| a.value.to_string(), |v| v.into_owned())
    })
}

fn number(start: &BytesStart<'_>, name: &str) -> Option<usize> {
    attribute(start, name)?.parse().ok()
}

/// `word/document.xml` as text.
pub fn docx(xml: &str, page: &mut Page) {
    let mut in_text = false;
    walk(xml, |step| match step {
        Step::Open("t", _) => in_text = true,
        Step::Close("t") => in_text = false,
        Step::Open("tab", _) => page.text("\t"),
        Step::Open("br" | "cr", _) => page.end_line(),
        Step::Open("noBreakHyphen", _) => page.text("-"),
        Step::Close("p") => page.end_line(),
        Step::Open("tbl", _) => page.open_table(),
        Step::Close("tbl") => page.close_table(),
        Step::Open("tr", _) => page.row(),
        Step::Open("tc", _) => page.cell(),
        Step::Close("tc") => page.end_cell(),
        Step::Text(text) if in_text => page.text(text),
        _ => {}
    });
}

/// `content.xml` as text.
pub fn odf(xml: &str, page: &mut Page) {
    // Paragraphs hold the text; line ends between elements are none.
    let (mut paragraphs, mut times) = (0_usize, 1);
    walk(xml, |step| match step {
        Step::Open("p" | "h", _) => paragraphs += 1,
        Step::Close("p" | "h") => {
            paragraphs = paragraphs.saturating_sub(1);
            page.end_line();
        }
        Step::Open("tab", _) => page.text("\t"),
        Step::Open("line-break", _) => page.end_line(),
        Step::Open("s", start) => page.text(&" ".repeat(number(start, "c").unwrap_or(1).min(SPACES_MAX))),
        Step::Open("table", _) => page.open_table(),
        Step::Close("table") => page.close_table(),
        Step::Open("table-row", _) => page.row(),
        Step::Open("table-cell", start) => {
            times = number(start, "number-columns-repeated").unwrap_or(1);
            page.cell();
        }
        Step::Close("table-cell") => page.end_cell_times(times),
        Step::Text(text) if paragraphs > 0 => page.text(text),
        _ => {}
    });
}

/// `xl/sharedStrings.xml`: the texts that cells refer to.
pub fn shared(xml: &str) -> Vec<String> {
    let (mut out, mut now, mut in_text, mut phonetic) = (Vec::new(), String::new(), false, false);
    walk(xml, |step| match step {
        Step::Open("si", _) => now.clear(),
        Step::Open("rPh", _) => phonetic = true,
        Step::Close("rPh") => phonetic = false,
        Step::Open("t", _) => in_text = !phonetic,
        Step::Close("t") => in_text = false,
        Step::Text(text) if in_text => now.push_str(text),
        Step::Close("si") if out.len() < SHARED_MAX => out.push(std::mem::take(&mut now)),
        _ => {}
    });
    out
}

/// `xl/styles.xml`: for each style of a cell whether it shows a day or a time.
pub fn dates(xml: &str) -> Vec<bool> {
    let (mut own, mut out, mut in_cells) = (Vec::new(), Vec::new(), false);
    walk(xml, |step| match step {
        Step::Open("numFmt", start) => {
            let code = attribute(start, "formatCode").unwrap_or_default().to_ascii_lowercase();
            if code.contains("yy") || code.contains("h:") || code.contains("hh") {
                own.extend(number(start, "numFmtId"));
            }
        }
        Step::Open("cellXfs", _) => in_cells = true,
        Step::Close("cellXfs") => in_cells = false,
        Step::Open("xf", start) if in_cells && out.len() < 10_000 => {
            let id = number(start, "numFmtId").unwrap_or(0);
            out.push(matches!(id, 14 | 15 | 22) || own.contains(&id));
        }
        _ => {}
    });
    out
}

/// `xl/worksheets/sheet1.xml` as one table.
pub fn sheet(xml: &str, shared: &[String], dates: &[bool], page: &mut Page) {
    let (mut kind, mut dated, mut value, mut in_value) = (String::new(), false, String::new(), false);
    let mut column = 0_usize;
    page.open_table();
    walk(xml, |step| match step {
        Step::Open("row", _) => {
            page.row();
            column = 0;
        }
        Step::Open("c", start) => {
            kind = attribute(start, "t").unwrap_or_default();
            dated = number(start, "s").and_then(|style| dates.get(style).copied()).unwrap_or(false);
            value.clear();
            // Empty cells are left out.
            let here = attribute(start, "r").and_then(|place| column_of(&place)).unwrap_or(column);
            for _ in column..here.min(column.saturating_add(GAP_MAX)).min(COLUMNS_MAX) {
                page.cell();
                page.end_cell();
            }
            column = here.saturating_add(1);
        }
        Step::Open("v" | "t", _) => in_value = true,
        Step::Close("v" | "t") => in_value = false,
        Step::Text(text) if in_value && value.len() < 64 << 10 => value.push_str(text),
        Step::Close("c") => {
            page.cell();
            match kind.as_str() {
                "s" => page.text(value.parse().ok().and_then(|at: usize| shared.get(at)).map_or("", |t| t)),
                "b" => page.text(if value == "1" { "TRUE" } else { "FALSE" }),
                _ => match dated.then(|| date(&value)).flatten() {
                    Some(date) => page.text(&date),
                    None => page.text(&value),
                },
            }
            page.end_line();
            page.end_cell();
        }
        _ => {}
    });
    page.close_table();
}

/// 0 for `A7`, 27 for `AB1`.
fn column_of(place: &str) -> Option<usize> {
    let letters = place.bytes().take_while(u8::is_ascii_uppercase).take(4);
    let sum = letters.fold(0_usize, |sum, b| sum * 26 + usize::from(b - b'A') + 1);
    sum.checked_sub(1)
}

/// Days since 1899-12-30 as a time; what is behind the point is the time of day.
fn date(days: &str) -> Option<String> {
    let days: f64 = days.parse().ok().filter(|days| (1.0..2_900_000.0).contains(days))?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    let millis = ((days - 25_569.0) * 86_400_000.0).round() as i64;
    let shown = waypost_base::Timestamp(millis).to_string();
    Some(shown.replace('T', " ").chars().take(19).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(fill: impl FnOnce(&mut Page)) -> String {
        let mut page = Page::new(10_000);
        fill(&mut page);
        page.finish()
    }

    #[test]
    fn paragraphs_and_tables_of_word() {
        let xml = r#"<w:document xmlns:w="x"><w:body><w:p><w:r><w:t xml:space="preserve">it says </w:t></w:r><w:r><w:t>NO LOGIN failed &amp; more</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>LoginType</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>SecureLogin</w:t></w:r></w:p></w:tc></w:tr>
<w:tr><w:tc><w:p><w:r><w:t>Banner</w:t></w:r></w:p></w:tc><w:tc><w:p/></w:tc></w:tr></w:tbl><w:p><w:r><w:t>a</w:t><w:br/><w:tab/><w:t>b</w:t></w:r></w:p>"#;
        assert_eq!(
            page(|p| docx(xml, p)),
            "it says NO LOGIN failed & more\nLoginType : SecureLogin\nBanner :\n\na\n\tb\n"
        );
    }

    #[test]
    fn paragraphs_of_libreoffice() {
        let xml = r#"<office:text><text:h>Ticket</text:h><text:p>a<text:s text:c="3"/>b<text:line-break/>c<text:tab/>d</text:p>
<table:table><table:table-row><table:table-cell><text:p>Name</text:p></table:table-cell><table:table-cell><text:p>x</text:p></table:table-cell><table:table-cell table:number-columns-repeated="16000"/></table:table-row></table:table></office:text>"#;
        assert_eq!(page(|p| odf(xml, p)), "Ticket\na   b\nc\td\nName : x\n\n");
    }

    #[test]
    fn sheets_are_csv() {
        let texts = shared("<sst><si><t>Identity</t></si><si><r><t>Sta</t></r><r><t>tus</t></r></si></sst>");
        let styles = dates(
            r#"<styleSheet><numFmts><numFmt numFmtId="170" formatCode="yyyy-mm-dd hh:mm"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="170"/></cellXfs></styleSheet>"#,
        );
        let xml = r#"<worksheet><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="inlineStr"><is><t>When</t></is></c></row>
<row r="2"><c r="A2" t="s"><v>99</v></c><c r="C2" s="1"><v>46084.5</v></c></row></sheetData></worksheet>"#;
        assert_eq!(
            page(|p| sheet(xml, &texts, &styles, p)),
            "\n\"Identity\",\"Status\",\"When\"\n\"\",\"\",\"2026-03-03 12:00:00\"\n\n"
        );
        assert_eq!(column_of("AB12"), Some(27));
        assert_eq!(column_of("12"), None);
    }
}
