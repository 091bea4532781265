//! IDLE (RFC 9051 §6.3.13): the client hears of changes as they happen.

use super::legs;
use super::outcome::{Done, End, Fail, Outcome};
use super::session::{MOVED, Next, Session, left};
use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use tokio::time::Instant;
use waypost_imap::command::is_done;
use waypost_imap::response::Status;

impl Session {
    pub(crate) async fn idle(&mut self) -> Outcome {
        self.reply().continuation("Idling");
        self.inbox.framer().expect_line();
        legs::end(self);
        let svc = self.svc.clone();
        let _counted = svc.figures.idle.hold();
        let settings = self.settings();
        let give_up = Instant::now() + settings.authenticated_timeout;
        let every = Some(settings.idle_keepalive).filter(|d| !d.is_zero());
        drop(settings);
        loop {
            while let Some(next) = self.take() {
                match next {
                    Next::Line(line) if is_done(&line) => return Ok(Done::text("Idle ended")),
                    Next::Line(_) => return Err(Fail::bad("Expected DONE")),
                    Next::Refused(refusal) => self.refused(&refusal)?,
                    // The framer was told to expect a line.
                    Next::Command(..) | Next::Append(..) => return Err(Fail::bad("Expected DONE")),
                }
            }
            self.sync(true).await?;
            self.wire.flush().await?;
            let alarm = every.map_or(give_up, |every| (Instant::now() + every).min(give_up));
            if self.await_news(alarm).await? {
                continue;
            }
            if Instant::now() >= give_up {
                return Err(Fail::End(End::Bye("Autologout; idle for too long".into())));
            }
            // Keeps middleboxes from forgetting the connection, and finds out when it is dead.
            self.reply().untagged(Status::Ok, None, "Still here");
        }
    }

    /// Waits for the client or for the folder to change; false when the alarm went off first.
    async fn await_news(&mut self, alarm: Instant) -> Result<bool, End> {
        if *self.stop.borrow() {
            return Err(End::Bye("The server is shutting down, please reconnect".into()));
        }
        let Session { wire, inbox, stop, selected, login, .. } = self;
        let mut resting = false;
        let input = poll_fn(|cx| {
            let read = pin!(wire.read(|bytes| inbox.push(bytes))).poll(cx);
            if read.is_pending() && !std::mem::replace(&mut resting, true) {
                wire.release();
                inbox.release();
            }
            read
        });
        let news = async {
            match selected {
                Some(selected) => selected.folder.wait_changes().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            read = input => match read {
                Ok(0) => Err(End::Gone(io::ErrorKind::UnexpectedEof)),
                Ok(_) => Ok(true),
                Err(e) => Err(e.into()),
            },
            () = left(login.as_deref()) => Err(End::Bye(MOVED.into())),
            () = news => Ok(true),
            _ = stop.changed() => Err(End::Bye("The server is shutting down, please reconnect".into())),
            () = tokio::time::sleep_until(alarm) => Ok(false),
        }
    }
}
