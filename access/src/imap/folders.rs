//! CREATE, DELETE, RENAME, SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.4 to §6.3.8, RFC 6154 §3).

use super::outcome::{Done, DoneCode, Fail, Outcome};
use super::session::Session;
use waypost_imap::command::SpecialUse;
use waypost_imap::response::{Code, Status};
use waypost_imap::value::FolderName;
use waypost_mailbox::Role;

impl Session {
    pub(crate) async fn create(&mut self, folder: FolderName, special_use: Vec<SpecialUse>) -> Outcome {
        self.noted = folder.to_string();
        let role = match special_use.as_slice() {
            [] => None,
            [one] => match Role::from_attribute(one.as_str()) {
                Some(role) => Some(role),
                None => return Err(Fail::no(Code::UseAttr, "This special use is not kept here")),
            },
            _ => return Err(Fail::no(Code::UseAttr, "A folder has one special use at most")),
        };
        let made = self.account()?.create_folder(folder.as_str(), role).await?;
        Ok(Done::with(DoneCode::MailboxId(made.object_id()), "Folder created"))
    }

    pub(crate) async fn delete(&mut self, folder: FolderName) -> Outcome {
        self.noted = folder.to_string();
        let account = self.account()?;
        let id = account.folders().find(folder.as_str()).map(|f| f.id);
        account.delete_folder(folder.as_str()).await?;
        // Deleting what one has selected oneself is no reason to lose the connection.
        if self.selected.as_ref().is_some_and(|s| Some(s.folder.folder()) == id) {
            self.selected = None;
            self.reply().untagged(Status::Ok, Some(&Code::Closed), "The selected folder is gone");
        }
        Ok(Done::text("Folder deleted"))
    }

    pub(crate) async fn rename(&mut self, from: FolderName, to: FolderName) -> Outcome {
        self.noted = format!("{from} {to}");
        self.account()?.rename_folder(from.as_str(), to.as_str()).await?;
        Ok(Done::text("Folder renamed"))
    }

    pub(crate) async fn subscribe(&mut self, folder: FolderName, on: bool) -> Outcome {
        self.noted = folder.to_string();
        self.account()?.subscribe(folder.as_str(), on).await?;
        Ok(Done::text(if on { "Subscribed" } else { "Unsubscribed" }))
    }
}
