//! Get-StoreHealth, Test-Store, New-StoreBackup, Restore-Store.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::Bytes;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a backup holds besides the store: without the organisation's key its messages cannot be read.
const BESIDES: &[&str] = &["settings.toml", "settings.d", "secret", "trust", "public"];
/// What imports have done so far. Copied before the store, so that it never claims a message that the store lacks.
const IMPORTS: &str = "imports";

/// Lies in the data folder after a restore. Whoever opens it next gives the folders of all mailboxes new UIDVALIDITYs
/// and takes it away: UIDs that clients saw after the backup will be given out again.
pub const RESTORED: &str = "restored";

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "StoreHealth",
        about: "Shows whether the store can do its work, and if not, why.",
        detail: "",
        params: &[],
        columns: &["State", "Reason", "CorruptRows"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(health(call)),
    },
    Command {
        verb: "Test",
        noun: "Store",
        about: "Looks at every row and every message, and says what is wrong.",
        detail: "It reads everything, while work goes on. The exit code is 5 when something is wrong.",
        params: &[],
        columns: &["Check", "Place", "Problem"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(test(call)),
    },
    Command {
        verb: "New",
        noun: "StoreBackup",
        about: "Copies everything as of now into a folder, while work goes on.",
        detail: "The folder must be new or empty. It holds the mail and the keys: keep it as you keep the server.",
        params: &[Param::new("Path", Kind::Path, "The folder.").mandatory().at(0)],
        columns: &["Path", "Files", "Size"],
        examples: &[Example { line: "New-StoreBackup /backup/monday", about: "The server writes it." }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(backup(call)),
    },
    Command {
        verb: "Restore",
        noun: "Store",
        about: "Makes the data folder what a backup says.",
        detail: "The server must be stopped. What was there is moved aside, not deleted. The backup stays as it is.",
        params: &[Param::new("Path", Kind::Path, "The backup's folder.").mandatory().at(0)],
        columns: &["Path", "Files", "Size", "MovedAside"],
        examples: &[Example { line: "Restore-Store /backup/monday", about: "Asks before it acts." }],
        needs: Needs::Stopped,
        changes: true,
        confirm: true,
        run: |call| Box::pin(restore(call)),
    },
];

async fn health(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.store;
    let health = store.health();
    let (state, reason) = match (&health.read_only, &health.full) {
        _ if health.closed => ("Closed", None),
        (Some(why), _) => ("ReadOnly", Some(why.clone())),
        (None, Some(why)) => ("Full", Some(why.clone())),
        (None, None) => ("Healthy", None),
    };
    let mut record = Record::new()
        .with("State", state)
        .with("Reason", reason)
        .with("Writable", health.writable())
        .with("CorruptRows", health.corrupt);
    for figure in store.figures() {
        record = record.with(figure.name, figure.value as i64);
    }
    call.record(record).await;
    Ok(())
}

async fn test(call: &Call<'_>) -> Outcome {
    let world = call.world()?;
    call.progress("Reading the store", 0, None, "rows").await;
    let report = world.store.verify(&[&world.mailboxes]).await;
    for problem in &report.problems {
        let record = Record::new()
            .with("Check", problem.check)
            .with("Place", problem.place.as_str())
            .with("Problem", problem.text.as_str());
        call.record(record).await;
    }
    let summary = format!(
        "{} rows, {} segments, {} chunks: {} problems.",
        report.rows, report.segments, report.chunks, report.problem_count
    );
    if report.is_clean() {
        let record = Record::new().with("Check", "all").with("Place", summary).with("Problem", "none");
        call.record(record).await;
        return Ok(());
    }
    Err(Failure::new(Category::OperationIncomplete, "store", summary))
}

async fn backup(call: &Call<'_>) -> Outcome {
    let to = PathBuf::from(call.required("Path")?);
    let failed = |e: &dyn std::fmt::Display| {
        Failure::new(
            Category::WriteError,
            to.display(),
            format!("The backup failed and must not be used: {e}."),
        )
    };
    if call.only_said(|| format!("Copying the store into {}.", to.display())).await {
        return Ok(());
    }
    if fs::read_dir(&to).is_ok_and(|mut d| d.next().is_some()) {
        let text = format!("The folder {} is not empty.", to.display());
        return Err(Failure::new(Category::ResourceExists, to.display(), text));
    }
    private_folder(&to).map_err(|e| failed(&e))?;
    call.progress("Copying the store", 0, None, "bytes").await;
    copy(&call.context.data.join(IMPORTS), &to.join(IMPORTS)).map_err(|e| failed(&e))?;
    let info = call.world()?.store.backup(&to.join("store")).await.map_err(|e| failed(&e))?;
    for name in BESIDES {
        copy(&call.context.data.join(name), &to.join(name)).map_err(|e| failed(&e))?;
    }
    call.record(result(&to, info.files, info.bytes)).await;
    Ok(())
}

fn result(path: &Path, files: u64, bytes: u64) -> Record {
    Record::new().with("Path", path.display().to_string()).with("Files", files).with("Size", Bytes(bytes))
}

async fn restore(call: &Call<'_>) -> Outcome {
    let from = PathBuf::from(call.required("Path")?);
    let data = call.context.data.clone();
    let failed = |e: &dyn std::fmt::Display| {
        Failure::new(Category::WriteError, from.display(), format!("The backup could not be restored: {e}."))
    };
    if call.context.running {
        let text = "The server is running. Stop it first.";
        return Err(Failure::new(Category::InvalidOperation, data.display(), text));
    }
    if !from.join("store").is_dir() {
        return Err(Failure::not_found("backup", from.display()));
    }
    if call
        .only_said(|| format!("Replacing what is in {} by the backup in {}.", data.display(), from.display()))
        .await
    {
        return Ok(());
    }
    let now = call.context.clock.now().civil();
    let aside = data.join(format!(
        "replaced-{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        now.year, now.month, now.day, now.hour, now.minute, now.second
    ));
    private_folder(&data).map_err(|e| failed(&e))?;
    // Before the first change: a crash in between must not lose it.
    fs::File::create(data.join(RESTORED)).and_then(|f| f.sync_all()).map_err(|e| failed(&e))?;
    let mut moved = false;
    for name in ["store", IMPORTS].iter().chain(BESIDES) {
        let old = data.join(name);
        // What the backup does not have stays, but for notes of imports into the store that goes.
        if old.exists() && (*name == IMPORTS || from.join(name).exists()) {
            private_folder(&aside).map_err(|e| failed(&e))?;
            fs::rename(&old, aside.join(name)).map_err(|e| failed(&e))?;
            moved = true;
        }
    }
    for name in [IMPORTS].iter().chain(BESIDES) {
        copy(&from.join(name), &data.join(name)).map_err(|e| failed(&e))?;
    }
    let (source, target) = (from.join("store"), data.join("store"));
    let restored = tokio::task::spawn_blocking(move || waypost_store::restore(&source, &target)).await;
    let info = restored.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
    let aside = moved.then(|| aside.display().to_string());
    call.record(result(&data, info.files, info.bytes).with("MovedAside", aside)).await;
    Ok(())
}

/// For the owner alone: a backup holds keys.
fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Copies a file or folder with its permissions; what is not there is left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(from) {
        Ok(meta) => meta.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if kind.is_dir() {
        private_folder(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_file() {
        fs::copy(from, to)?;
        fs::File::open(to)?.sync_all()?;
    }
    Ok(())
}
