//! Whether a component of the server does its work (Exchange: Set-ServerComponentState).

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ComponentState {
    /// Takes, delivers and sends.
    #[default]
    Active,
    /// Takes nothing more; what is there still goes out.
    Draining,
    /// Takes nothing, delivers nothing, sends nothing. What is there stays, and is there afterwards.
    Inactive,
}

impl ComponentState {
    pub const fn name(self) -> &'static str {
        match self {
            ComponentState::Active => "Active",
            ComponentState::Draining => "Draining",
            ComponentState::Inactive => "Inactive",
        }
    }
}

impl fmt::Display for ComponentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ComponentState {
    type Err = String;

    fn from_str(text: &str) -> Result<ComponentState, String> {
        let all = [ComponentState::Active, ComponentState::Draining, ComponentState::Inactive];
        let found = all.into_iter().find(|state| state.name().eq_ignore_ascii_case(text.trim()));
        found.ok_or_else(|| "one of Active, Draining, Inactive".to_owned())
    }
}
