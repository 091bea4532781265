//! The bits of the negotiation, as `mfdef.h` and `mfapi.h` of the public milter library number them.

/// What a filter may do to messages.
pub mod action {
    pub const ADD_HEADERS: u32 = 0x01;
    pub const CHANGE_BODY: u32 = 0x02;
    pub const ADD_RECIPIENTS: u32 = 0x04;
    pub const DELETE_RECIPIENTS: u32 = 0x08;
    pub const CHANGE_HEADERS: u32 = 0x10;
    pub const QUARANTINE: u32 = 0x20;
    pub const CHANGE_FROM: u32 = 0x40;
    pub const ADD_RECIPIENTS_WITH_PARAMETERS: u32 = 0x80;
    /// The filter may say which macros it wants.
    pub const SET_MACROS: u32 = 0x100;
    /// All of them.
    pub const ALL: u32 = 0x1FF;
}

/// Which steps a filter does not want to see, which it does not answer, and how values are written.
pub mod protocol {
    pub const NO_CONNECT: u32 = 0x01;
    pub const NO_HELO: u32 = 0x02;
    pub const NO_MAIL: u32 = 0x04;
    pub const NO_RCPT: u32 = 0x08;
    pub const NO_BODY: u32 = 0x10;
    pub const NO_HEADERS: u32 = 0x20;
    pub const NO_END_OF_HEADERS: u32 = 0x40;
    pub const SILENT_HEADER: u32 = 0x80;
    pub const NO_UNKNOWN: u32 = 0x100;
    pub const NO_DATA: u32 = 0x200;
    /// The filter may answer SKIP to a piece of body.
    pub const SKIP: u32 = 0x400;
    /// The filter wants to hear of refused recipients too.
    pub const REFUSED_RECIPIENTS: u32 = 0x800;
    pub const SILENT_CONNECT: u32 = 0x1000;
    pub const SILENT_HELO: u32 = 0x2000;
    pub const SILENT_MAIL: u32 = 0x4000;
    pub const SILENT_RCPT: u32 = 0x8000;
    pub const SILENT_DATA: u32 = 0x1_0000;
    pub const SILENT_UNKNOWN: u32 = 0x2_0000;
    pub const SILENT_END_OF_HEADERS: u32 = 0x4_0000;
    pub const SILENT_BODY: u32 = 0x8_0000;
    /// Values of header fields with the space behind the colon.
    pub const LEADING_SPACE: u32 = 0x10_0000;
    /// What we offer: all of the above but for refused recipients, of which we do not tell.
    pub const OFFER: u32 = 0x1F_FFFF & !REFUSED_RECIPIENTS;
}
