//! New-, Import- and Export-ExchangeCertificate: how certificates come and go.

use super::bind::{bind, shown};
use super::show::record;
use super::{Held, content, one, sentence, services, store};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::Settings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;
use waypost_trust::KeyedCertificate;
use waypost_trust::public::form::{self, Found};
use waypost_trust::public::make::{self, KeyKind, Wish};
use waypost_trust::public::store::Import;
use waypost_trust::public::{Note, PublicService, key, pfx};

/// Bytes of a file to be imported.
const FILE_BYTES_MAX: usize = 1024 * 1024;
const VALID_DAYS: i64 = 825;

pub(super) async fn new(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let chosen = services(call).await?;
    let (mut wish, mut note) = wish(call, &settings)?;
    note.origin = call.command.name();
    let asks = call.switch("GenerateRequest") || call.path("RequestFile").is_some();
    let what = if asks { "Making a request" } else { "Making a self-signed certificate" };
    if call.only_said(|| format!("{what} for {}.", wish.names.join(", "))).await {
        return Ok(());
    }
    wish.key = key_kind(call).await?;
    if asks {
        return request(call, &settings, &wish, &note).await;
    }
    let days = call.int("ValidDays").unwrap_or(VALID_DAYS);
    let now = call.context.clock.now();
    let made = make::self_signed(&wish, days, now).map_err(|e| content(&e))?;
    let thumbprint = store(call).add(&made, &note)?;
    bind_new(call, &settings, &thumbprint, &chosen).await
}

/// Binds what has just come, where that was asked for, and shows it.
async fn bind_new(
    call: &Call<'_>,
    settings: &Settings,
    thumbprint: &str,
    chosen: &[PublicService],
) -> Outcome {
    if !chosen.is_empty() {
        let held = one(call, settings, thumbprint)?;
        bind(call, settings, &held, chosen).await?;
    }
    shown(call, thumbprint).await
}

/// What the parameters say that it is to say, or what the older one says.
fn wish(call: &Call<'_>, settings: &Settings) -> Outcome<(Wish, Note)> {
    let older = match call.text("Thumbprint") {
        Some(wanted) => Some(one(call, settings, wanted)?.entry),
        None => None,
    };
    let old = older.as_ref().and_then(|e| e.facts.as_ref());
    let mut subject = call.text("SubjectName").map(str::to_owned);
    if subject.is_none() {
        subject = old.map(|f| f.subject.clone());
    }
    let subject = subject.unwrap_or_default();
    let mut names: Vec<String> = match (call.list("DomainName"), old) {
        (Some(names), _) => names.to_vec(),
        (None, Some(old)) => old.names.clone(),
        (None, None) => Vec::new(),
    };
    // Clients do not look at the common name: it has to be among the names.
    if let Some(common) = make::common_name(&subject)
        && !names.iter().any(|n| n.eq_ignore_ascii_case(&common))
        && waypost_directory::address::canonical_domain(common.trim_start_matches("*.")).is_ok()
    {
        names.insert(0, common);
    }
    if names.is_empty() {
        names.push(settings.server.name.clone());
    }
    let friendly = call.text("FriendlyName").map(str::to_owned);
    let friendly = friendly.or_else(|| older.as_ref().map(|e| e.note.friendly_name.clone()));
    let note = Note {
        friendly_name: friendly.unwrap_or_default(),
        exportable: call.flag("PrivateKeyExportable").unwrap_or(false),
        created: call.context.clock.now(),
        subject: if subject.is_empty() { format!("CN={}", names[0]) } else { subject.clone() },
        names: names.clone(),
        ..Note::default()
    };
    Ok((Wish { subject, names, ..Wish::default() }, note))
}

async fn key_kind(call: &Call<'_>) -> Outcome<KeyKind> {
    match call.int("KeySize") {
        None | Some(256) => Ok(KeyKind::EcdsaP256),
        Some(384) => Ok(KeyKind::EcdsaP384),
        Some(bits @ 2048..=4096) => {
            // Finding two large primes takes up to seconds.
            let bits = u32::try_from(bits).unwrap_or(2048);
            let made = tokio::task::spawn_blocking(move || waypost_mailauth::rsa_key(bits)).await;
            let pkcs1 = made.map_err(|e| Failure::new(Category::OperationIncomplete, "KeySize", e))??;
            Ok(KeyKind::Given(key::pkcs8_of_pkcs1(&pkcs1)))
        }
        Some(_) => {
            let text = "The size of a key is 256 or 384 (ECDSA), or 2048 to 4096 (RSA).";
            Err(Failure::invalid("KeySize", text))
        }
    }
}

async fn request(call: &Call<'_>, settings: &Settings, wish: &Wish, note: &Note) -> Outcome {
    let made = make::request(wish).map_err(|e| content(&e))?;
    let thumbprint = store(call).add_request(&made, note)?;
    if let Some(path) = call.path("RequestFile") {
        write(path, made.csr_pem.as_bytes(), false)?;
    }
    let held = one(call, settings, &thumbprint)?;
    call.record(record(call, settings, &held).with("Request", made.csr_pem)).await;
    Ok(())
}

fn write(path: &Path, bytes: &[u8], private: bool) -> Outcome {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mode = if private { 0o600 } else { 0o644 };
    let failed = |e| Failure::new(Category::WriteError, path.display(), format!("{}: {e}.", path.display()));
    let mut options = std::fs::OpenOptions::new();
    // Never over something that is there: a key file of another certificate would be lost.
    let mut file = options.write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    let failed = |e| Failure::new(Category::ReadError, path.display(), format!("{}: {e}.", path.display()));
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > FILE_BYTES_MAX as u64 {
        return Err(Failure::new(Category::LimitsExceeded, path.display(), "The file is larger than 1 MB."));
    }
    std::fs::read(path).map_err(failed)
}

pub(super) async fn import(call: &Call<'_>) -> Outcome {
    let found = found(call).await?;
    let import = Import::of(found).map_err(|e| content(&e))?;
    let facts = &import.facts;
    if call.only_said(|| format!("Taking the certificate {} of {}.", facts.thumbprint, facts.subject)).await {
        return Ok(());
    }
    let thumbprint = match &import.key_pem {
        Some(key_pem) => {
            let both = KeyedCertificate { chain_pem: import.chain_pem.clone(), key_pem: key_pem.clone() };
            let note = Note {
                friendly_name: call.text("FriendlyName").unwrap_or_default().to_owned(),
                exportable: call.flag("PrivateKeyExportable").unwrap_or(false),
                created: call.context.clock.now(),
                origin: call.command.name(),
                ..Note::default()
            };
            store(call).add(&both, &note)?
        }
        None => store(call).complete(&import.chain_pem, call.text("FriendlyName"))?.0,
    };
    if !import.facts.valid_at(call.context.clock.now()) {
        call.warn("The certificate is not valid now: it cannot be bound.").await;
    }
    shown(call, &thumbprint).await
}

/// What the file or the data holds.
async fn found(call: &Call<'_>) -> Outcome<Found> {
    let bytes = match (call.path("FileName"), call.text("FileData")) {
        (Some(path), None) => read(path)?,
        (None, Some(text)) if text.contains("-----BEGIN ") => text.as_bytes().to_vec(),
        (None, Some(text)) => {
            let packed: String = text.split_whitespace().collect();
            let wrong = |e| Failure::invalid("FileData", format!("Neither PEM nor base64: {e}."));
            STANDARD.decode(packed).map_err(wrong)?
        }
        _ => return Err(Failure::usage("FileName", "Either -FileName or -FileData is needed.")),
    };
    let first = form::read(&bytes);
    let mut found = match first {
        Ok(found) => found,
        // A PFX is DER, but no certificate. Its keys are derived in many rounds.
        Err(_) if bytes.first() == Some(&0x30) => {
            let password = call.text("Password").unwrap_or_default().to_owned();
            let opened = tokio::task::spawn_blocking(move || pfx::read(&bytes, &password)).await;
            let opened = opened.map_err(|e| Failure::new(Category::OperationIncomplete, "FileName", e))?;
            opened.map_err(|e| content(&e))?
        }
        Err(e) => return Err(content(&e)),
    };
    if let Some(path) = call.path("KeyFileName") {
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        found.key = Some(key::pkcs8(&text).map_err(|e| content(&e))?);
    }
    Ok(found)
}

pub(super) async fn export(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let held = one(call, &settings, call.required("Thumbprint")?)?;
    let password = call.text("Password").unwrap_or_default();
    let as_pfx = match call.text("Format") {
        Some(format) => format == "PFX",
        None => !password.is_empty(),
    };
    let (bytes, private) = if held.entry.is_request() || !as_pfx {
        exported_pem(call, &held).await?
    } else {
        (exported_pfx(call, &held, password).await?, true)
    };
    let record = Record::new().with("Thumbprint", held.entry.thumbprint.as_str());
    let record = match call.path("FileName") {
        Some(path) => {
            write(path, &bytes, private)?;
            record.with("FileName", path.display().to_string())
        }
        None => {
            let data =
                if as_pfx { STANDARD.encode(&bytes) } else { String::from_utf8_lossy(&bytes).into_owned() };
            record.with("FileName", "").with("FileData", data)
        }
    };
    call.record(record).await;
    Ok(())
}

/// The chain, with the key where it may go.
async fn exported_pem(call: &Call<'_>, held: &Held) -> Outcome<(Vec<u8>, bool)> {
    let mut text = held.entry.pem.clone();
    let key = held.key.pem().filter(|_| held.entry.note.exportable && !held.entry.is_request());
    match key {
        Some(key) => text.push_str(key),
        None if !held.entry.is_request() => {
            call.warn("The certificate goes without its key, which is not exportable.").await;
        }
        None => {}
    }
    Ok((text.into_bytes(), key.is_some()))
}

async fn exported_pfx(call: &Call<'_>, held: &Held, password: &str) -> Outcome<Vec<u8>> {
    let thumbprint = &held.entry.thumbprint;
    if password.is_empty() {
        return Err(Failure::usage("Password", "A PFX file needs -Password."));
    }
    if !held.entry.note.exportable {
        let text = "The private key of this certificate is not exportable: that is said when it is made or imported.";
        return Err(Failure::new(Category::PermissionDenied, thumbprint, text));
    }
    let Some(key_pem) = held.key.pem() else {
        let text = format!("The private key cannot be read: {}.", held.key.path().display());
        return Err(Failure::new(Category::ReadError, thumbprint, text));
    };
    let both = KeyedCertificate { chain_pem: held.entry.pem.clone(), key_pem: key_pem.to_owned() };
    let strength = if call.switch("Legacy") { pfx::Strength::Legacy } else { pfx::Strength::Modern };
    let name = match held.entry.note.friendly_name.as_str() {
        "" => thumbprint.clone(),
        name => name.to_owned(),
    };
    let password = password.to_owned();
    let made = tokio::task::spawn_blocking(move || pfx::write(&both, &name, &password, strength)).await;
    let made = made.map_err(|e| Failure::new(Category::OperationIncomplete, thumbprint, e))?;
    made.map_err(|e| Failure::new(Category::OperationIncomplete, thumbprint, sentence(&e)))
}
