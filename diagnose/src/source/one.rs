//! Reads one file, or a range of one: what it is by its first bytes, then the reader for it.

use super::Limits;
use super::archive::Guard;
use super::at::At;
use super::blocks::Blocks;
use super::decode::{self, Form};
use super::magic::{Magic, magic};
use super::mail;
use super::plan::{Item, Origin, Unit};
use crate::case::Case;
use crate::phrases::Phrases;
use crate::read::logs::{self, Hints, Setup, Stream};
use crate::read::{Doc, READERS, events, objects};
use crate::sink::Sink;
use flate2::bufread::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
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
    pub understood: BTreeMap<&'static str, u64>,
    pub troubles: Vec<String>,
    pub server: Option<Arc<str>>,
    /// Lines in it, for those of the next range.
    pub lines: u32,
    /// It is text, and nothing in it was known.
    pub nothing: bool,
}

pub fn read(unit: &Unit, limits: &Limits, phrases: &Phrases, clock: Timestamp) -> Outcome {
    let run = || {
        let mut case = Case::part(clock);
        let mut sink = Sink::new(unit.file, phrases, &mut case);
        sink.set_name(&unit.item.name);
        sink.set_server(super::names::server_of(&unit.item.name));
        let mut reading = Reading { limits, name: &unit.item.name, lines: 0, text: false };
        if let Err(reason) = reading.unit(unit, &mut sink) {
            sink.trouble(reason);
        }
        let (understood, troubles, server) = sink.finish();
        let nothing = reading.text && understood.is_empty();
        Outcome { case, understood, troubles, server, lines: reading.lines, nothing }
    };
    // Readers must not panic, and tests hold them to it; should one do so all the same, the other files are read.
    if cfg!(debug_assertions) {
        return run();
    }
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| Outcome {
        case: Case::part(clock),
        understood: BTreeMap::new(),
        troubles: vec!["reading it failed: a defect here, please report it".to_owned()],
        server: None,
        lines: 0,
        nothing: false,
    })
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

struct Reading<'a> {
    limits: &'a Limits,
    name: &'a str,
    lines: u32,
    text: bool,
}

impl Reading<'_> {
    fn unit(&mut self, unit: &Unit, sink: &mut Sink<'_>) -> Result<(), String> {
        let Item { origin, size, packed, .. } = &*unit.item;
        match origin {
            Origin::Disk(path) => {
                let file = File::open(path).map_err(|e| format!("it cannot be opened: {e}"))?;
                // It may have been exchanged since it was looked at.
                if !file.metadata().is_ok_and(|meta| meta.is_file()) {
                    return Err("not a regular file".to_owned());
                }
                let at = At::file(file, *size);
                match unit.range {
                    Some((start, end)) => {
                        let first = setup_of(&at, self.name).map_err(|e| e.to_string())?;
                        let Some(setup) = first else { return Err("it has changed".to_owned()) };
                        self.log(at.window(start, end), Form::Bytes, setup, *size, sink)
                    }
                    None => self.stream(Box::new(at), *packed, 0, sink),
                }
            }
            Origin::Memory(bytes) => self.stream(Box::new(At::memory(bytes.clone())), *packed, 0, sink),
            Origin::Zip { zip, index } => {
                zip.read(*index, self.limits, |reader| self.stream(Box::new(reader), *packed, 0, sink))?
            }
        }
    }

    fn stream(
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
            Magic::Gzip if depth > 0 => Err("packed more than once: unpack it first".to_owned()),
            Magic::Gzip => {
                let unpacked = MultiGzDecoder::new(BufReader::new(input));
                let total = Arc::new(AtomicU64::new(0));
                let guard = Guard::new(unpacked, packed, self.limits, self.limits.unpacked, total);
                self.stream(Box::new(guard), packed, depth + 1, sink)
            }
            Magic::Evtx => self.evtx(input, sink),
            Magic::Other => self.text(&head, Box::new(input), depth, sink),
        }
    }

    /// A Windows event log, some chunks at a time: each chunk stands by itself.
    fn evtx(&mut self, mut input: impl Read, sink: &mut Sink<'_>) -> Result<(), String> {
        let mut bytes = Vec::new();
        (&mut input).take(EVTX_HEAD as u64).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        let mut known = false;
        loop {
            bytes.truncate(EVTX_HEAD);
            let chunks = (&mut input).take(EVTX_CHUNKS as u64).read_to_end(&mut bytes);
            let count = chunks.map_err(|e| e.to_string())?;
            if count == 0 {
                break;
            }
            known |= events::evtx::read(&bytes, sink);
        }
        if known { Ok(()) } else { Err("an event log (evtx) without a readable record".to_owned()) }
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
        if depth == 0 && form == Form::Bytes && mail::is_encoded(&start) {
            return self.mail(input, sink);
        }
        self.documents(Blocks::new(input, form, self.limits.line), sink)
    }

    /// A saved message whose parts are encoded; attachments are read as files of their own names.
    fn mail(&mut self, input: Box<dyn Read + '_>, sink: &mut Sink<'_>) -> Result<(), String> {
        let mut bytes = Vec::new();
        input.take(self.limits.whole).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        let outer = sink.name();
        for part in mail::parts(&decode::text(&bytes)) {
            let name = part.name.map_or_else(|| outer.to_string(), |name| format!("{outer}!/{name}"));
            sink.set_name(&name);
            let size = part.bytes.len() as u64;
            if let Err(reason) = self.stream(Box::new(Cursor::new(part.bytes)), size, 1, sink) {
                sink.trouble(format!("{}: {reason}", super::walk::shown(&name)));
            }
        }
        sink.set_name(&outer);
        Ok(())
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
