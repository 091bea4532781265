//! Reads one file, or a range of one: what it is by its first bytes, then the reader for it.

use super::Limits;
use super::archive::gunzipped;
use super::at::At;
use super::blocks::Blocks;
use super::decode::{self, Form};
use super::gauge::{Gauge, Share};
use super::magic::{Magic, magic};
use super::plan::{Item, Origin, Unit};
use super::{html, mail, tar};
use crate::case::Case;
use crate::fact::FileId;
use crate::phrases::Phrases;
use crate::read::logs::{self, Hints, Setup, Stream};
use crate::read::{Doc, READERS, events, objects};
use crate::sink::Sink;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use waypost_base::Timestamp;

/// Bytes by which a file is judged.
const HEAD: usize = 64 << 10;
/// Bytes of a log that are looked through at once.
const BLOCK: usize = 1 << 20;
/// Bytes of a document; a longer text is read in pieces.
const DOC: usize = 4 << 20;
/// An event log's header, and bytes of its chunks that are handed on at once.
const EVTX_HEAD: usize = 4096;
const EVTX_CHUNKS: usize = 64 << 16;

/// What reading a unit has yielded.
pub struct Outcome {
    pub case: Case,
    /// Lines in it, for those of the next range.
    pub lines: u32,
    pub told: Vec<Told>,
}

/// What is told of one file.
pub struct Told {
    pub file: FileId,
    pub name: String,
    pub understood: BTreeMap<&'static str, u64>,
    pub troubles: Vec<String>,
    pub server: Option<Arc<str>>,
    /// It is text, and nothing in it was known.
    pub nothing: bool,
}

/// What all units are read with.
#[derive(Clone, Copy)]
pub struct With<'a> {
    pub limits: &'a Limits,
    pub phrases: &'a Phrases,
    pub clock: Timestamp,
    pub gauge: &'a Gauge,
}

pub fn read(unit: &Unit, with: With<'_>) -> Outcome {
    let share = with.gauge.begin(&unit.item.name, unit.size());
    let run = || {
        let mut case = Case::part(with.clock);
        if !unit.item.entries.is_empty() {
            let told = packed_tar(unit, with, &share, &mut case);
            return Outcome { case, lines: 0, told };
        }
        let (told, lines) = file(unit.file, &unit.item.name, with, &mut case, |reading, sink| {
            reading.unit(unit, &share, sink)
        });
        Outcome { case, lines, told: vec![told] }
    };
    // Readers must not panic, and tests hold them to it; should one do so all the same, the other files are read.
    if cfg!(debug_assertions) {
        return run();
    }
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let why = "reading it failed: a defect here, please report it";
        Outcome {
            case: Case::part(with.clock),
            lines: 0,
            told: vec![unread(unit.file, &unit.item.name, why)],
        }
    })
}

fn unread(file: FileId, name: &str, why: &str) -> Told {
    Told {
        file,
        name: name.to_owned(),
        understood: BTreeMap::new(),
        troubles: vec![why.to_owned()],
        server: None,
        nothing: false,
    }
}

/// Reads one file into the case; also says how many lines it has.
fn file(
    file: FileId,
    name: &str,
    with: With<'_>,
    case: &mut Case,
    read: impl FnOnce(&mut Reading<'_>, &mut Sink<'_>) -> Result<(), String>,
) -> (Told, u32) {
    let mut sink = Sink::new(file, with.phrases, case);
    sink.set_name(name);
    sink.set_server(super::names::server_of(name));
    let mut reading = Reading { limits: with.limits, name, lines: 0, text: false };
    if let Err(reason) = read(&mut reading, &mut sink) {
        sink.trouble(reason);
    }
    let (understood, troubles, server) = sink.finish();
    let nothing = reading.text && understood.is_empty();
    let told = Told { file, name: name.to_owned(), understood, troubles, server, nothing };
    (told, reading.lines)
}

/// The files of a tar file that is packed, one after the other.
fn packed_tar(unit: &Unit, with: With<'_>, share: &Share<'_>, case: &mut Case) -> Vec<Told> {
    let Item { name, origin, packed, entries, .. } = &*unit.item;
    let input: Box<dyn Read> = match open(origin, unit.item.size) {
        Ok(at) => Box::new(share.counted(at)),
        Err(why) => return vec![unread(unit.file, name, &why)],
    };
    let unpacked = gunzipped(input, *packed, with.limits, Arc::default());
    let mut tar = tar::Entries::new(tar::Stream(unpacked), with.limits.files.saturating_mul(2));
    let mut told = Vec::with_capacity(entries.len());
    let mut wanted = entries.iter().zip(&unit.entries);
    let mut next = wanted.next();
    while let Some((entry, id)) = next {
        match tar.next() {
            Ok(Some(found)) if found.index < entry.index => {}
            Ok(Some(found)) if found.index == entry.index => {
                let of = |reading: &mut Reading<'_>, sink: &mut Sink<'_>| {
                    reading.stream(Box::new(tar.data()), entry.size, 0, sink)
                };
                told.push(file(*id, &entry.name, with, case, of).0);
                next = wanted.next();
            }
            // The list was made of the same bytes, or told what is wrong with them.
            Ok(_) | Err(_) => {
                told.push(unread(*id, &entry.name, "not reached: the archive is damaged before it"));
                next = wanted.next();
            }
        }
    }
    told
}

/// The bytes of a file that can be read anywhere.
fn open(origin: &Origin, size: u64) -> Result<At, String> {
    match origin {
        Origin::Disk(path) => {
            let file = File::open(path).map_err(|e| format!("it cannot be opened: {e}"))?;
            // It may have been exchanged since it was looked at.
            if !file.metadata().is_ok_and(|meta| meta.is_file()) {
                return Err("not a regular file".to_owned());
            }
            Ok(At::file(file, size))
        }
        Origin::Window(at) => Ok(at.clone()),
        Origin::Zip { .. } | Origin::Office { .. } => Err("it is packed".to_owned()),
    }
}

/// Whether a file on disk is a log whose lines stand by themselves, so that ranges of it can be read apart.
pub fn can_be_cut(at: &At, name: &str) -> bool {
    let mut head = Vec::new();
    if at.window(0, HEAD as u64).read_to_end(&mut head).is_err() || magic(&head) != Magic::Other {
        return false;
    }
    let (form, mark) = decode::form(&head);
    let text = decode::text(head.get(mark..).unwrap_or_default());
    form == Form::Bytes && logs::detect(&text, &Hints::of(name)).is_some()
}

/// One file as it is read.
pub struct Reading<'a> {
    pub limits: &'a Limits,
    name: &'a str,
    lines: u32,
    text: bool,
}

impl Reading<'_> {
    fn unit(&mut self, unit: &Unit, share: &Share<'_>, sink: &mut Sink<'_>) -> Result<(), String> {
        let Item { origin, size, packed, .. } = &*unit.item;
        match origin {
            Origin::Disk(_) | Origin::Window(_) => {
                let at = open(origin, *size)?;
                let Some((start, end)) = unit.range else {
                    return self.stream(Box::new(share.counted(at)), *packed, 0, sink);
                };
                let first = setup_of(&at, self.name).map_err(|e| e.to_string())?;
                let Some(setup) = first else { return Err("it has changed".to_owned()) };
                self.log(share.counted(at.window(start, end)), Form::Bytes, setup, *size, sink)
            }
            Origin::Zip { zip, index } => zip.read(*index, self.limits, |reader| {
                self.stream(Box::new(share.counted(reader)), *packed, 0, sink)
            })?,
            Origin::Office { zip, kind } => self.office(zip, *kind, 0, sink),
        }
    }

    /// `depth` files are about it that were opened on the way here.
    pub fn stream(
        &mut self,
        mut input: Box<dyn Read + '_>,
        packed: u64,
        depth: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), String> {
        let mut head = Vec::new();
        (&mut input).take(HEAD as u64).read_to_end(&mut head).map_err(|e| e.to_string())?;
        let input = Cursor::new(head.clone()).chain(input);
        match magic(&head) {
            Magic::Foreign(what) => Err(what.to_owned()),
            Magic::Zip => Err("an archive under another name, or three deep: unpack it first".to_owned()),
            Magic::Tar => Err("an archive under another name, or three deep: unpack it first".to_owned()),
            Magic::Compound if depth > 1 => {
                Err("a message in a message in a message: save it by itself".to_owned())
            }
            Magic::Compound => self.compound(Box::new(input), depth, sink),
            Magic::Gzip if depth > 1 => Err("packed more than once: unpack it first".to_owned()),
            Magic::Gzip => {
                let unpacked = gunzipped(input, packed, self.limits, Arc::default());
                self.stream(Box::new(unpacked), packed, depth + 1, sink)
            }
            Magic::Evtx => self.evtx(input, sink),
            Magic::Other => self.text(&head, Box::new(input), depth, sink),
        }
    }

    /// A Windows event log, some chunks at a time: each chunk stands by itself.
    fn evtx(&mut self, mut input: impl Read, sink: &mut Sink<'_>) -> Result<(), String> {
        let mut head = Vec::new();
        (&mut input).take(EVTX_HEAD as u64).read_to_end(&mut head).map_err(|e| e.to_string())?;
        let mut log = events::evtx::Log::new(&head);
        let mut bytes = Vec::new();
        let ended = loop {
            bytes.clear();
            match (&mut input).take(EVTX_CHUNKS as u64).read_to_end(&mut bytes) {
                Ok(0) => break Ok(()),
                Ok(_) => log.chunks(&bytes, sink),
                // What was read before a packed log breaks off is good.
                Err(e) => {
                    log.chunks(&bytes, sink);
                    break Err(e.to_string());
                }
            }
        };
        log.finish(sink);
        ended
    }

    fn text(
        &mut self,
        head: &[u8],
        mut input: Box<dyn Read + '_>,
        depth: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), String> {
        let (form, mark) = decode::form(head);
        if form == Form::Binary {
            return Err("binary data of a kind that is not known here".to_owned());
        }
        (&mut input).take(mark as u64).read_to_end(&mut Vec::new()).map_err(|e| e.to_string())?;
        let start = decode::whole(head).unwrap_or_default();
        if let Some(setup) = logs::detect(&start, &Hints::of(self.name)) {
            return self.log(input, form, setup, head.len() as u64, sink);
        }
        if structured(&start) {
            return self.whole(form, input, sink);
        }
        if depth <= 1 && form == Form::Bytes && mail::is_encoded(&start) {
            return self.mail(input, depth, sink);
        }
        if depth <= 2 && html::is_html(&start) {
            return self.html(input, depth, sink);
        }
        self.documents(Blocks::new(input, form, self.limits.line), sink)
    }

    fn log(
        &mut self,
        input: impl Read,
        form: Form,
        setup: Setup,
        known_size: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), String> {
        let mut stream = Stream::new(setup, known_size < HEAD as u64);
        let mut blocks = Blocks::new(input, form, self.limits.line);
        let mut first = 1;
        let ended = loop {
            match blocks.next(BLOCK) {
                Ok([]) => break Ok(()),
                Ok(block) => first = stream.block(block, first, sink),
                Err(e) => break Err(e.to_string()),
            }
        };
        stream.finish(sink);
        self.lines = first - 1;
        told_cut(blocks.cut, self.limits, sink);
        ended
    }

    /// A file that only makes sense as a whole; what its reader does not know is read as text after all.
    fn whole(&mut self, form: Form, mut input: impl Read, sink: &mut Sink<'_>) -> Result<(), String> {
        let mut bytes = Vec::new();
        let limit = self.limits.whole;
        (&mut input).take(limit).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        let mut next = [0; 1];
        if input.read(&mut next).map_err(|e| e.to_string())? > 0 {
            sink.trouble(format!("longer than {} MiB: read in pieces, as text", limit >> 20));
            let all = Cursor::new(bytes).chain(Cursor::new(next)).chain(input);
            return self.documents(Blocks::new(all, form, self.limits.line), sink);
        }
        let text = match form {
            Form::Utf16(encoding) => encoding.decode_without_bom_handling(&bytes).0,
            _ => decode::text(&bytes),
        };
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let known = if text.starts_with('<') {
            text.contains("<Objs") && objects::clixml::read(text, sink) || events::xml::read(text, sink)
        } else {
            objects::json::read(text, sink)
        };
        if known {
            return Ok(());
        }
        self.documents(Blocks::new(bytes.as_slice(), form, self.limits.line), sink)
    }

    fn documents<R: Read>(&mut self, mut blocks: Blocks<R>, sink: &mut Sink<'_>) -> Result<(), String> {
        self.text = true;
        let mut first: u32 = 1;
        let ended = loop {
            match blocks.next(DOC) {
                Ok([]) => break Ok(()),
                Ok(block) => first = first.saturating_add(document(block, first, sink)),
                Err(e) => break Err(e.to_string()),
            }
        };
        self.lines = first - 1;
        told_cut(blocks.cut, self.limits, sink);
        ended
    }
}

/// Runs all readers over one document; how many lines it has.
fn document(block: &[u8], first: u32, sink: &mut Sink<'_>) -> u32 {
    let text = decode::text(block);
    let mut doc = Doc::of_text(sink.file, &text, first);
    for (_, reader) in READERS {
        reader(&mut doc, sink);
    }
    u32::try_from(doc.lines.len()).unwrap_or(u32::MAX)
}

/// XML and JSON are read as a whole.
fn structured(start: &str) -> bool {
    let start = start.trim_start_matches('\u{feff}').trim_start();
    let xml = ["<?xml", "<Objs", "<Event", "<ServerHealth", "<Diagnostics"]
        .iter()
        .any(|mark| start.starts_with(mark));
    let json = start.starts_with('{') || start.starts_with('[');
    let second = start.get(1..).unwrap_or_default().trim_start().chars().next();
    xml || json && second.is_some_and(|c| matches!(c, '"' | '{' | '[' | ']' | '}'))
}

fn told_cut(cut: u64, limits: &Limits, sink: &mut Sink<'_>) {
    if cut > 0 {
        let size = limits.line >> 10;
        sink.trouble(format!("{cut} lines longer than {size} KiB: only their beginning was read"));
    }
}

fn setup_of(at: &At, name: &str) -> io::Result<Option<Setup>> {
    let mut head = Vec::new();
    at.window(0, HEAD as u64).read_to_end(&mut head)?;
    let (_, mark) = decode::form(&head);
    let text = decode::text(head.get(mark..).unwrap_or_default());
    Ok(logs::detect(&text, &Hints::of(name)))
}
