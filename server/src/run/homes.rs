//! Mailboxes follow the directory: what was changed at the server that keeps it is done here for the accounts of this one.
//!
//! Quotas are in the mailbox's own rows, and a removed account's mail goes. Both are done by the command itself where the
//! account is at the server that runs it, and here where it is not.

use super::services::Services;
use std::collections::BTreeMap;
use std::sync::Arc;
use waypost_admin::commands::quota_of;
use waypost_base::AccountId;
use waypost_directory::{Quotas, Snapshot};

/// What is looked at of the accounts that are here.
type Known = BTreeMap<AccountId, Quotas>;

fn known(now: &Snapshot) -> Known {
    now.accounts().filter(|a| now.is_here(a)).map(|a| (a.id, a.quotas)).collect()
}

/// Until the server stops. Where the directory is kept there is nothing to follow.
pub async fn keep(services: Arc<Services>) {
    let directory = &services.organisation.directory;
    if !directory.is_copy() || !services.roles.mailbox {
        return;
    }
    let (mut marks, mut stop) = (directory.marks(), services.stopping());
    let mut before = known(&directory.snapshot());
    loop {
        tokio::select! {
            changed = marks.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
        marks.borrow_and_update();
        let now = directory.snapshot();
        let after = known(&now);
        for id in before.keys().filter(|id| now.account(**id).is_none()) {
            remove(&services, *id).await;
        }
        for (id, _) in after.iter().filter(|(id, quotas)| before.get(*id) != Some(*quotas)) {
            set_quota(&services, &now, *id).await;
        }
        before = after;
    }
}

async fn remove(services: &Services, id: AccountId) {
    match services.organisation.mailboxes.remove_account(id).await {
        Ok(()) => tracing::info!(account = %id, "the mail of a removed account is gone"),
        Err(waypost_mailbox::AccountError::NoAccount(_)) => {}
        Err(e) => tracing::error!(account = %id, error = %e, "the mail of a removed account stays"),
    }
}

async fn set_quota(services: &Services, now: &Snapshot, id: AccountId) {
    let Some(account) = now.account(id) else { return };
    let quota = quota_of(account, &services.settings.current());
    let set = async {
        match services.organisation.mailboxes.account(id).await {
            Ok(mailbox) => mailbox.set_quota(quota).await.map_err(|e| e.to_string()),
            // New, and here.
            Err(waypost_mailbox::AccountError::NoAccount(_)) => {
                let options = waypost_mailbox::AccountOptions { quota };
                let made = services.organisation.mailboxes.create_account(id, options).await;
                made.map(drop).map_err(|e| e.to_string())
            }
            Err(e) => Err(e.to_string()),
        }
    };
    if let Err(e) = set.await {
        tracing::warn!(account = %id, error = %e, "the quota of a mailbox was not changed");
    }
}
