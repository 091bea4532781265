//! The legs that were taken: lately ones kept in memory so that they can be told (newest last, oldest forgotten first), all
//! of them in the legs log.

use crate::logs::sinks::Legs;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use waypost_base::explain::Leg;

/// Legs of a busy minute; about 2 MiB.
const KEPT: usize = 4096;

/// Shared by all roles of the process.
#[derive(Clone, Default)]
pub struct LegBook {
    lately: Arc<Mutex<VecDeque<Leg>>>,
    log: Option<Arc<Legs>>,
}

impl LegBook {
    /// One that also writes.
    pub fn with_log(log: Arc<Legs>) -> LegBook {
        LegBook { lately: Arc::default(), log: Some(log) }
    }

    /// `message_id` is the Message-ID that the leg carried, empty where there was none; it goes to the log.
    pub fn note(&self, message_id: &str, leg: Leg) {
        tracing::debug!(message_id, %leg, "leg");
        if let Some(log) = &self.log {
            log.note(message_id, &leg);
        }
        let mut legs = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if legs.len() == KEPT {
            legs.pop_front();
        }
        legs.push_back(leg);
    }

    /// Takes out what was noted since the last call.
    pub fn drain(&self) -> Vec<Leg> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

impl waypost_transport::LegSink for LegBook {
    fn leg(&self, message_id: &str, leg: Leg) {
        self.note(message_id, leg);
    }
}

impl waypost_access::log::LegSink for LegBook {
    fn leg(&self, leg: Leg) {
        self.note("", leg);
    }
}
