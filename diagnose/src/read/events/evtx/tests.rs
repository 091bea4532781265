//! Logs made byte by byte, as Windows lays them out.

use super::*;
use crate::case::Case;
use crate::phrases::Phrases;
use proptest::prelude::*;
use waypost_base::Timestamp;

fn case_of(bytes: &[u8]) -> (bool, Case, Vec<String>) {
    let phrases = Phrases::new([]);
    let mut case = Case::new(Timestamp(1_900_000_000_000));
    let file = case.file_named("Application.evtx");
    let mut sink = Sink::new(file, &phrases, &mut case);
    let known = read(bytes, &mut sink);
    let (_, troubles, _) = sink.finish();
    (known, case, troubles)
}

/// Writes binary XML; names stand where they are first used.
struct Writer {
    out: Vec<u8>,
}

impl Writer {
    fn name(&mut self, name: &str) {
        let at = u32::try_from(self.out.len() + 4).unwrap();
        self.out.extend(at.to_le_bytes());
        self.out.extend([0; 6]);
        self.out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        self.text(name);
        self.out.extend([0, 0]);
    }

    fn text(&mut self, text: &str) {
        self.out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    }

    fn open(&mut self, name: &str, attributes: &[(&str, Held)]) {
        self.out.push(if attributes.is_empty() { 0x01 } else { 0x41 });
        self.out.extend([0xff, 0xff]);
        self.out.extend([0; 4]);
        self.name(name);
        if !attributes.is_empty() {
            self.out.extend([0; 4]);
            for (name, held) in attributes {
                self.out.push(0x06);
                self.name(name);
                self.held(held);
            }
        }
        self.out.push(0x02);
    }

    fn held(&mut self, held: &Held) {
        match held {
            Held::Text(text) => {
                self.out.extend([0x05, 0x01]);
                self.out.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
                self.text(text);
            }
            Held::Slot(index, kind) => {
                self.out.push(0x0e);
                self.out.extend(index.to_le_bytes());
                self.out.push(*kind);
            }
        }
    }

    fn leaf(&mut self, name: &str, held: &Held) {
        self.open(name, &[]);
        self.held(held);
        self.out.push(0x04);
    }
}

enum Held {
    Text(&'static str),
    Slot(u16, u8),
}

/// A file with one chunk and two records of one template: the second refers to the first's.
fn log() -> Vec<u8> {
    let mut w = Writer { out: vec![0; RECORDS] };
    w.out[..8].copy_from_slice(CHUNK_MAGIC);
    let mut template = 0_u32;
    for (number, connector) in [(1_u64, "Default MBX01"), (2, "Client MBX01")] {
        let begin = w.out.len();
        w.out.extend(RECORD_MAGIC);
        w.out.extend([0; 4]);
        w.out.extend(number.to_le_bytes());
        w.out.extend(((1_772_525_051_000_u64 + 11_644_473_600_000) * 10_000).to_le_bytes());
        w.out.extend([0x0f, 1, 1, 0, 0x0c, 1]);
        w.out.extend([0; 4]);
        if template == 0 {
            template = u32::try_from(w.out.len() + 4).unwrap();
            w.out.extend(template.to_le_bytes());
            w.out.extend([0; 20]);
            let size_at = w.out.len();
            w.out.extend([0; 4]);
            w.out.extend([0x0f, 1, 1, 0]);
            w.open("Event", &[("xmlns", Held::Text("x"))]);
            w.open("System", &[]);
            w.open("Provider", &[("Name", Held::Text("MSExchangeTransport"))]);
            w.out.push(0x04);
            w.leaf("EventID", &Held::Slot(0, 6));
            w.leaf("Level", &Held::Text("3"));
            w.open("TimeCreated", &[("SystemTime", Held::Slot(1, 17))]);
            w.out.push(0x04);
            w.leaf("Computer", &Held::Text("MBX01.corp.example"));
            w.out.push(0x04);
            w.open("EventData", &[]);
            w.leaf("Data", &Held::Slot(2, 0x81));
            w.out.push(0x04);
            w.out.push(0x04);
            w.out.push(0x00);
            let size = u32::try_from(w.out.len() - size_at - 4).unwrap();
            w.out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
        } else {
            w.out.extend(template.to_le_bytes());
        }
        let strings: Vec<u8> = format!("IllegalMessage\0{connector}\0ExchangeAuth\010.20.0.12\0")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        w.out.extend(3_u32.to_le_bytes());
        for (size, kind) in [(2, 6), (8, 17), (strings.len(), 0x81)] {
            w.out.extend(u16::try_from(size).unwrap().to_le_bytes());
            w.out.extend([kind, 0]);
        }
        w.out.extend(1035_u16.to_le_bytes());
        w.out.extend(((1_772_525_051_000_u64 + 11_644_473_600_000) * 10_000).to_le_bytes());
        w.out.extend(strings);
        let size = u32::try_from(w.out.len() - begin + 4).unwrap();
        w.out.extend(size.to_le_bytes());
        w.out[begin + 4..begin + 8].copy_from_slice(&size.to_le_bytes());
    }
    let end = u32::try_from(w.out.len()).unwrap();
    w.out[48..52].copy_from_slice(&end.to_le_bytes());
    w.out.resize(CHUNK, 0);
    let mut file = vec![0; FILE_HEADER];
    file[..8].copy_from_slice(FILE_MAGIC);
    file.extend(w.out);
    file
}

#[test]
fn records_of_one_template() {
    let (known, case, troubles) = case_of(&log());
    assert!(known && troubles.is_empty(), "{troubles:?}");
    let found: Vec<_> = case.of("event").collect();
    assert_eq!(found.len(), 2);
    assert!(
        found[0].is("id", "1035")
            && found[0].is("error", "IllegalMessage")
            && found[0].is("connector", "Default MBX01")
    );
    assert!(
        found[1].is("connector", "Client MBX01")
            && found[1].is("sourceip", "10.20.0.12")
            && found[1].is("level", "Warning")
    );
    assert_eq!(found[1].server.as_deref(), Some("MBX01"));
    assert_eq!(found[1].time.map(|t| t.to_string()).as_deref(), Some("2026-03-03T08:04:11.000Z"));
}

#[test]
fn a_file_that_is_cut_or_dirty_is_read_as_far_as_it_goes() {
    let whole = log();
    let (known, case, _) = case_of(&whole[..FILE_HEADER + RECORDS + 1400]);
    assert!(known && case.of("event").count() <= 2);
    let mut dirty = whole.clone();
    dirty[FILE_HEADER + 48..FILE_HEADER + 52].copy_from_slice(&[0xff; 4]);
    assert_eq!(case_of(&dirty).1.of("event").count(), 2);
    // The head of the chunk is older than its last record.
    let first = u32::from_le_bytes(whole[FILE_HEADER + RECORDS + 4..][..4].try_into().unwrap());
    let mut old = whole.clone();
    old[120] = 1;
    old[FILE_HEADER + 48..FILE_HEADER + 52].copy_from_slice(&(RECORDS as u32 + first).to_le_bytes());
    let (_, case, troubles) = case_of(&old);
    assert_eq!((case.of("event").count(), troubles.len()), (2, 0));
    // What stood there before the chunk was used again is none of it.
    let second = FILE_HEADER + RECORDS + first as usize;
    old[second + 8] = 1;
    assert_eq!(case_of(&old).1.of("event").count(), 1);
    // The head of the chunk was never written.
    let mut headless = whole.clone();
    headless[FILE_HEADER..FILE_HEADER + RECORDS].fill(0);
    assert_eq!(case_of(&headless).1.of("event").count(), 2);
    let mut damaged = whole;
    damaged[120] = 1;
    damaged[FILE_HEADER + RECORDS + 4] = 0;
    damaged[FILE_HEADER + RECORDS + 5] = 0;
    let (_, case, troubles) = case_of(&damaged);
    assert_eq!((case.of("event").count(), troubles.len()), (1, 1));
    assert!(troubles[0].contains("wevtutil"), "{troubles:?}");
    assert!(!case_of(b"MZ").0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn never_panics(spots in proptest::collection::vec((0..1800_usize, any::<u8>()), 1..8)) {
        let mut bytes = log();
        for (at, byte) in spots {
            bytes[FILE_HEADER + at] = byte;
        }
        let _ = case_of(&bytes);
    }
}

/// Its records were compared, value by value, with what another reader makes of them.
#[test]
fn a_log_that_windows_wrote() {
    let bytes = include_bytes!("../../../../tests/data/windows/security.evtx");
    let (known, case, troubles) = case_of(bytes);
    assert!(known && troubles.is_empty(), "{troubles:?}");
    let ids: Vec<_> = case.of("event").map(|f| (f.at.line, f.get("id").unwrap_or_default())).collect();
    assert_eq!(
        ids,
        [
            (319_457_771, "5152"),
            (319_457_831, "4776"),
            (319_457_832, "4625"),
            (319_457_855, "5152"),
            (319_457_856, "5157"),
            (319_457_858, "4673"),
        ]
    );
    let failed = case.of("event").find(|f| f.is("id", "4625")).unwrap();
    for (name, value) in [
        ("logontype", "10"),
        ("status", "0xc000006d"),
        ("substatus", "0xc000006a"),
        ("ipaddress", "23.94.153.202"),
        ("level", "Audit Failure"),
    ] {
        assert!(failed.is(name, value), "{name}: {:?}", failed.get(name));
    }
    assert_eq!(failed.time.map(|t| t.to_string()).as_deref(), Some("2016-06-29T15:24:36.686Z"));
    // Cut anywhere, and with any byte wrong, in the part that is not empty.
    for at in (0..9000).step_by(101) {
        let mut bad = bytes.to_vec();
        bad[FILE_HEADER + at] ^= 0xff;
        case_of(&bad);
        case_of(&bytes[..FILE_HEADER + at]);
    }
}
