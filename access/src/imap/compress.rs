//! COMPRESS (RFC 4978).

use super::outcome::{Done, Fail, Outcome};
use super::session::Session;
use waypost_imap::response::{Code, Status};
use waypost_imap::value::Tag;

impl Session {
    /// The tagged OK is the last thing uncompressed.
    pub(crate) async fn compress(&mut self, tag: &Tag, algorithm: String) -> Outcome {
        if algorithm != "DEFLATE" {
            return Err(Fail::bad("Only DEFLATE is known"));
        }
        if self.wire.deflating() {
            return Err(Fail::no(Code::CompressionActive, "Compression is active already"));
        }
        if !self.settings().compress {
            return Err(Fail::no(Code::Cannot, "Compression is switched off"));
        }
        self.reply().tagged(tag, Status::Ok, None, "Compression active from here on");
        self.wire.flush().await?;
        let rest = self.inbox.take_rest();
        self.wire.start_deflate(&rest);
        Ok(Done::default())
    }
}
