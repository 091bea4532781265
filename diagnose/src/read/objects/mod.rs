//! PowerShell objects in every form in which they are printed or saved: lists, tables, CSV, JSON, CLIXML.

pub mod clixml;
pub mod json;
