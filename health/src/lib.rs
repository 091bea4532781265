//! Health: what probes found, judged: monitors, health sets, alerts, what is to be done. No IO and no clock of its own.
//!
//! The way of a fault: a [`ProbeResult`] goes into the [`Watch`] of the server that ran the probe, which keeps a monitor
//! for each probe and asks for repetitions. The [`ServerReport`]s of all servers go into the [`Keeper`] of one of them,
//! which folds failures by what they have in common ([`fold`]) and gives [`Decision`]s: one alert for each cause, and what
//! may be done about it ([`respond`]).

pub mod alert;
pub mod cause;
pub mod event;
pub mod fold;
pub mod keeper;
pub mod limits;
pub mod monitor;
pub mod probe;
pub mod respond;
pub mod sets;
pub mod timing;
pub mod watch;

pub use alert::{Action, Alert, Decision, Member, Severity};
pub use event::{Event, EventQuery, Level};
pub use keeper::Keeper;
pub use monitor::{AlertValue, MonitorState, ServerReport};
pub use probe::{ProbeId, ProbeResult, Subject};
pub use respond::{Responders, SettingsChange};
pub use timing::{Moment, Timing};
pub use watch::{Watch, Wish};
