//! The answering end: questions of servers that know no passwords, about clients at their doors.
//!
//! The directory answers as it would here, and counts guesses by the client's own address. For a name that nobody has, keys
//! are invented here, so that every server shows the same ones.

use super::wire::{self, Answered, Asked, Reply};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use waypost_directory::signin::{Asking, Authority};
use waypost_sasl::{Answer, Bindings, Question, ScramKeys};
use waypost_trust::leg::Arrived;

/// Questions of one leg that are looked at together. Each may wait some seconds, being a guess.
const TOGETHER: usize = 512;

/// A leg on which nothing was asked for so long is closed.
const IDLE: Duration = Duration::from_secs(300);

/// Answers until the other end has no more questions.
pub async fn answer(arrived: Arrived, sign_in: Arc<dyn Authority>) {
    let from = arrived.from.to_string();
    let Ok((stream, _)) = arrived.welcome(serde_json::Value::Null).await else { return };
    let (mut reading, mut writing) = tokio::io::split(stream);
    let (answers, mut ready) = mpsc::channel::<Answered>(TOGETHER);
    let together = Arc::new(Semaphore::new(TOGETHER));
    let ask = async {
        loop {
            let Ok(permit) = Arc::clone(&together).acquire_owned().await else { return };
            let asked = match tokio::time::timeout(IDLE, wire::read::<_, Asked>(&mut reading)).await {
                Ok(Ok(Some(asked))) => asked,
                Ok(Ok(None)) | Err(_) => return,
                Ok(Err(e)) => {
                    tracing::info!(%from, error = %e, "a question about a sign-in cannot be read");
                    return;
                }
            };
            let (sign_in, answers) = (Arc::clone(&sign_in), answers.clone());
            tokio::spawn(async move {
                let _permit = permit;
                let id = asked.id;
                let reply = reply(asked, sign_in.as_ref()).await;
                // The other end may have gone.
                let _ = answers.send(Answered { id, reply }).await;
            });
        }
    };
    let tell = async {
        while let Some(answered) = ready.recv().await {
            let Ok(frame) = wire::frame(&answered) else { continue };
            if wire::write(&mut writing, &frame).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = ask => {}
        () = tell => {}
    }
}

async fn reply(asked: Asked, sign_in: &dyn Authority) -> Reply {
    let Asked { protocol, peer, ask, .. } = asked;
    let Some(question) = ask.question() else {
        return Reply::Unavailable { text: "the question is not understood".into() };
    };
    let unknown = match &question {
        Question::ScramKeys { authcid, hash } => Some((authcid.clone(), *hash)),
        _ => None,
    };
    let answer = sign_in.answer(question, &Asking { protocol, peer }).await;
    match (answer, unknown) {
        (Answer::Wrong, Some((name, hash))) => match sign_in.setup(Bindings::default()) {
            Ok(setup) => {
                let keys = ScramKeys::invented(hash, &name, &setup.disguise, setup.rounds);
                Reply::of(Answer::Keys(keys))
            }
            Err(text) => Reply::Unavailable { text },
        },
        (answer, _) => Reply::of(answer),
    }
}
