//! Commands without a folder: ID, ENABLE, NAMESPACE and the quota commands.

use super::outcome::{Done, Fail, Outcome};
use super::session::Session;
use waypost_imap::response::{Code, NamespaceEntry, Resource};
use waypost_imap::value::FolderName;
use waypost_mailbox::Usage;

/// The only quota root: the whole account.
const ROOT: &str = "";

impl Session {
    /// ID (RFC 2971). What the client says of itself goes to the log only.
    pub(crate) fn identify(&mut self, fields: Option<Vec<(String, Option<String>)>>) -> Outcome {
        if self.svc.logs() {
            let said: Vec<String> = fields
                .into_iter()
                .flatten()
                .filter_map(|(name, value)| value.map(|v| format!("{name}={v}")))
                .collect();
            self.noted = said.join(" ").chars().take(500).collect();
        }
        self.reply().id(&[("name", Some("Waypost")), ("version", Some(env!("CARGO_PKG_VERSION")))]);
        Ok(Done::text("Pleased to meet you"))
    }

    /// ENABLE (RFC 9051 §6.3.1). What we do not know is ignored, as the section says.
    pub(crate) fn enable(&mut self, names: Vec<String>) -> Outcome {
        let mut enabled = Vec::new();
        for name in &names {
            let new = match name.as_str() {
                "IMAP4REV2" if !self.enabled.rev2 => {
                    self.enabled.rev2 = true;
                    "IMAP4rev2"
                }
                "UTF8=ACCEPT" if !self.enabled.utf8_accept => {
                    self.enabled.utf8_accept = true;
                    "UTF8=ACCEPT"
                }
                "CONDSTORE" if !self.enabled.condstore => {
                    self.enable_condstore();
                    "CONDSTORE"
                }
                "QRESYNC" if !self.enabled.qresync => {
                    // RFC 7162 §3.2.3: QRESYNC brings CONDSTORE along.
                    self.enable_condstore();
                    self.enabled.qresync = true;
                    "QRESYNC"
                }
                _ => continue,
            };
            enabled.push(new);
        }
        self.reply().enabled(&enabled);
        Ok(Done::text("Enabled"))
    }

    /// NAMESPACE (RFC 2342): one's own folders alone, since nothing is shared yet.
    pub(crate) fn namespace(&mut self) -> Outcome {
        let root = FolderName::new("");
        self.reply().namespace(&[NamespaceEntry { prefix: &root, delimiter: Some('/') }], &[], &[]);
        Ok(Done::text("Namespaces listed"))
    }

    /// GETQUOTA (RFC 9208 §4.1.1)
    pub(crate) fn get_quota(&mut self, root: &str) -> Outcome {
        let usage = self.account()?.usage();
        if root != ROOT || !has_limits(&usage) {
            return Err(Fail::no(Code::NonExistent, "No such quota root"));
        }
        self.quota(&usage);
        Ok(Done::text("Quota listed"))
    }

    /// GETQUOTAROOT (RFC 9208 §4.1.2). A folder without limits has no root.
    pub(crate) fn get_quota_root(&mut self, folder: &FolderName) -> Outcome {
        let account = self.account()?;
        if account.folders().find(folder.as_str()).is_none() {
            return Err(Fail::no(Code::NonExistent, "No such folder"));
        }
        let usage = account.usage();
        if has_limits(&usage) {
            self.reply().quota_root(folder, &[ROOT]);
            self.quota(&usage);
        } else {
            self.reply().quota_root(folder, &[]);
        }
        Ok(Done::text("Quota roots listed"))
    }

    fn quota(&mut self, usage: &Usage) {
        let mut resources = Vec::new();
        if let Some(limit) = usage.quota.prohibit_bytes {
            // Units of 1,024 bytes; what is begun counts as used.
            resources.push(Resource {
                name: "STORAGE",
                usage: usage.bytes.div_ceil(1024),
                limit: limit / 1024,
            });
        }
        if let Some(limit) = usage.quota.messages {
            resources.push(Resource { name: "MESSAGE", usage: usage.messages, limit });
        }
        self.reply().quota(ROOT, &resources);
    }
}

fn has_limits(usage: &Usage) -> bool {
    usage.quota.prohibit_bytes.is_some() || usage.quota.messages.is_some()
}
