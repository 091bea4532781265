//! Sign-ins at a server that asks others for them, while it is on trial: the account that tries is answered for here, since
//! nobody else knows its password; everybody else is asked about as ever.

use std::sync::Arc;
use waypost_directory::signin::{Answering, Asking, Authority, SignIn};
use waypost_sasl::{Abilities, Bindings, Question, Setup};

pub struct LentFirst {
    own: Arc<SignIn>,
    others: Arc<dyn Authority>,
}

impl LentFirst {
    pub fn new(own: Arc<SignIn>, others: Arc<dyn Authority>) -> LentFirst {
        LentFirst { own, others }
    }
}

impl Authority for LentFirst {
    fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        self.others.setup(bindings)
    }

    fn abilities(&self) -> Abilities {
        self.others.abilities()
    }

    fn answer<'a>(&'a self, question: Question, asking: &'a Asking) -> Answering<'a> {
        if self.own.has_lent(&question) {
            return Box::pin(self.own.answer(question, asking));
        }
        self.others.answer(question, asking)
    }
}
