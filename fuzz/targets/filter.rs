//! Any text as the -Filter of a command, against a record with a cell of each kind.
#![no_main]

use waypost_admin::filter::Filter;
use waypost_admin::output::{Cell, Record};
use waypost_admin::settings::Bytes;
use waypost_base::Timestamp;

const PROPERTIES: &[&str] = &["Status", "Count", "Size", "Limit", "Time", "LastError", "People", "Ok", "Rate"];

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(filter) = Filter::parse(text, PROPERTIES) else { return };
    let record = Record::new()
        .with("Status", "Retry")
        .with("Count", 12u32)
        .with("Size", Bytes::mb(1))
        .with("Limit", Cell::Size(None))
        .with("Time", Timestamp(1_772_525_720_114))
        .with("LastError", Cell::Null)
        .with("People", vec!["bob@example.net".to_owned()])
        .with("Ok", true)
        .with("Rate", Cell::Tree((-0.5).into()));
    let _ = filter.fits(&record);
});
