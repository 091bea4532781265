//! The sources as commands see them.

use super::{Client, Source, synchronise, test};
use std::path::PathBuf;
use std::sync::Arc;
use waypost_admin::failure::{Category, Failure, Outcome};
use waypost_admin::run::{Answer, Sources};
use waypost_admin::settings::SettingsStore;
use waypost_directory::Directory;

pub struct Hand {
    pub settings: Arc<SettingsStore>,
    pub directory: Arc<Directory>,
    /// The data folder.
    pub data: PathBuf,
}

impl Hand {
    fn client(&self, name: &str) -> Outcome<Client> {
        let settings = self.settings.current();
        let written = settings.directory_sources.get(name);
        let written = written.ok_or_else(|| Failure::not_found("directory source", name))?;
        let source = Source::of(name, written, &self.data);
        source.map(Client::new).map_err(|e| {
            Failure::new(Category::ReadError, name, format!("Its password cannot be read: {e}."))
        })
    }
}

impl Sources for Hand {
    fn test<'a>(
        &'a self,
        source: &'a str,
        user: Option<&'a str>,
        password: Option<&'a str>,
    ) -> Answer<'a, Vec<(&'static str, String)>> {
        Box::pin(async move { Ok(test(&self.client(source)?, user, password).await) })
    }

    fn sync<'a>(&'a self, source: &'a str, only_say: bool) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            let done = synchronise(&self.client(source)?, &self.directory, only_say).await;
            done.map_err(|e| Failure::new(Category::ResourceUnavailable, source, format!("{e}.")))
        })
    }
}
