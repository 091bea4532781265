//! Who answers the questions of a sign-in: the directory here, or another server's over an inner leg.

use super::{Asking, SignIn};
use std::future::Future;
use std::pin::Pin;
use waypost_sasl::{Answer, Bindings, Question, Setup};

pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Answers the questions of exchanges. Protocol rooms know nothing else of passwords.
pub trait Authority: Send + Sync + 'static {
    /// What an exchange needs besides the client's messages; an error is ours.
    fn setup(&self, bindings: Bindings) -> Result<Setup, String>;
    fn answer<'a>(&'a self, question: Question, asking: &'a Asking) -> Answering<'a>;
}

impl Authority for SignIn {
    fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        self.setup(bindings)
    }

    fn answer<'a>(&'a self, question: Question, asking: &'a Asking) -> Answering<'a> {
        Box::pin(self.answer(question, asking))
    }
}
