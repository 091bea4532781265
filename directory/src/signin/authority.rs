//! Who answers the questions of a sign-in: the directory here, or another server's over an inner leg.

use super::{Asking, SignIn};
use std::future::Future;
use std::pin::Pin;
use waypost_sasl::{Abilities, Answer, Bindings, Question, Setup};

pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Answers the questions of exchanges. Protocol rooms know nothing else of passwords.
pub trait Authority: Send + Sync + 'static {
    /// What an exchange needs besides the client's messages; an error is ours.
    fn setup(&self, bindings: Bindings) -> Result<Setup, String>;

    /// Which mechanisms can be answered for. Whoever knows nothing of Kerberos and the like keeps to passwords.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// [`Question::is_local`] questions have to be answered by this very process.
    fn answer<'a>(&'a self, question: Question, asking: &'a Asking) -> Answering<'a>;
}

impl Authority for SignIn {
    fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        self.setup(bindings)
    }

    fn abilities(&self) -> Abilities {
        self.abilities()
    }

    fn answer<'a>(&'a self, question: Question, asking: &'a Asking) -> Answering<'a> {
        Box::pin(self.answer(question, asking))
    }
}
