//! Bounds of everything that is kept, each with its reason.

/// Monitors of one server: a dozen listeners, each with ten ways in, and twenty other servers have fewer than half of it.
pub const MONITORS_MAX: usize = 2_000;
/// Servers that a keeper follows; the directory has no bound, organisations of this kind have tens.
pub const SERVERS_MAX: usize = 1_000;
/// Events that are remembered: a day of a bad week, in some megabytes.
pub const EVENTS_MAX: usize = 10_000;
/// Alerts that are over and are still shown.
pub const PAST_ALERTS_MAX: usize = 500;
/// Members that an alert names; the count tells of the rest.
pub const FOLDED_MAX: usize = 200;
/// Legs and subjects of one result: the longest way has about ten.
pub const LEGS_MAX: usize = 32;
/// Probes that are run again at once because another one failed.
pub const RERUN_MAX: usize = 24;
/// Bytes of a set's, probe's or target's name.
pub const NAME_MAX: usize = 200;
