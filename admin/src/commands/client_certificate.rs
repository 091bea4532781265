//! Add-, Get- and Remove-MailboxCertificate: certificates of people, with which their programs sign in.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use std::path::Path;
use waypost_directory::ClientCertificate;
use waypost_directory::credential::{fingerprint, parse_fingerprint};
use waypost_directory::limits::CERTIFICATE_BYTES_MAX;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Add",
        noun: "MailboxCertificate",
        about: "Lets somebody sign in with a certificate.",
        detail: "Whoever has its key signs in by the mechanism EXTERNAL, without a password; who issued it does not matter. It needs \
                 sign_in.client_certificates. Certificates of an authority in sign_in.client_ca need not be entered.",
        params: &[
            Param::identity("Whose."),
            Param::new("Name", Kind::Text, "What it is for.").mandatory(),
            Param::new("File", Kind::Path, "The certificate, in PEM or DER."),
            Param::new("Fingerprint", Kind::Text, "Or its SHA-256 fingerprint, in hexadecimal."),
        ],
        columns: &["Identity", "Name", "Fingerprint"],
        examples: &[Example {
            line: "Add-MailboxCertificate adele -Name laptop -File adele.crt",
            about: "For a computer.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(add(call)),
    },
    Command {
        verb: "Get",
        noun: "MailboxCertificate",
        about: "Shows with which certificates somebody can sign in.",
        detail: "",
        params: &[Param::identity("Whose.")],
        columns: &["Identity", "Name", "Fingerprint", "WhenCreatedUTC"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Remove",
        noun: "MailboxCertificate",
        about: "Takes a certificate away from a mailbox.",
        detail: "",
        params: &[
            Param::identity("Whose."),
            Param::new("Fingerprint", Kind::Text, "Which.").mandatory().at(1),
        ],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
];

fn record(identity: &str, certificate: &ClientCertificate) -> Record {
    Record::new()
        .with("Identity", identity)
        .with("Name", certificate.name.as_str())
        .with("Fingerprint", certificate.fingerprint.as_str())
        .with("WhenCreatedUTC", certificate.created)
}

/// The fingerprint of the one certificate in a file.
fn of_file(path: &Path) -> Outcome<String> {
    let read = |text: String| Failure::new(Category::ReadError, path.display(), text);
    let bytes = std::fs::read(path).map_err(|e| read(format!("{e}.")))?;
    if bytes.len() > CERTIFICATE_BYTES_MAX {
        return Err(Failure::invalid("File", "A certificate is smaller."));
    }
    let found = waypost_trust::public::form::read(&bytes).map_err(|e| read(format!("{e}.")))?;
    let leaf = waypost_trust::public::form::leaf_of(&found.certificates);
    let der = found.certificates.get(leaf).ok_or_else(|| read("It holds no certificate.".into()))?;
    Ok(fingerprint(der))
}

async fn add(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    let name = call.required("Name")?;
    let print = match (call.path("File"), call.text("Fingerprint")) {
        (Some(file), None) => of_file(file)?,
        (None, Some(text)) => parse_fingerprint(text).ok_or_else(|| {
            Failure::invalid("Fingerprint", "It is not the SHA-256 of a certificate in hexadecimal.")
        })?,
        _ => return Err(Failure::invalid("File", "Give either -File or -Fingerprint.")),
    };
    if call.only_said(|| format!("Adding certificate {print} to {:?}.", account.name)).await {
        return Ok(());
    }
    let added = call.directory()?.add_certificate(account.id, name, &print).await?;
    call.record(record(&account.name, &added)).await;
    Ok(())
}

async fn get(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    for certificate in call.directory()?.client_certificates(account.id) {
        call.record(record(&account.name, &certificate)).await;
    }
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    let wanted = call.required("Fingerprint")?;
    let print = parse_fingerprint(wanted).unwrap_or_default();
    let all = call.directory()?.client_certificates(account.id);
    let certificate = all
        .iter()
        .find(|c| c.fingerprint == print)
        .ok_or_else(|| Failure::not_found("certificate", wanted))?;
    if call.only_said(|| format!("Taking certificate {print} from {:?}.", account.name)).await {
        return Ok(());
    }
    call.directory()?.remove_certificate(account.id, certificate.id).await?;
    Ok(())
}
