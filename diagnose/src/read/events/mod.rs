//! Windows events in every form: the binary log, exported XML and CSV, what the Event Viewer copies, what people write.

pub mod evtx;
pub mod xml;
