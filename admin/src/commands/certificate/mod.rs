//! New-, Get-, Import-, Export-, Enable-, Disable-, Remove- and Test-ExchangeCertificate. The noun `Certificate` means the
//! same.
//!
//! The store of certificates is each server's own; what binds one to a service is a change of the settings, rehearsed,
//! kept as a version, undone like any other.

mod bind;
mod bring;
mod show;

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::run::Call;
use crate::settings::Settings;
use waypost_trust::certificate::{Facts, TrustError};
use waypost_trust::public::{Entry, KeyFile, Note, PublicService, PublicStore, StoreError};

const SERVER: Param = Param::new("Server", Kind::Text, "The server whose certificates are meant.");
const THUMBPRINT: Param = Param::new("Thumbprint", Kind::Text, "The certificate's thumbprint.")
    .alias(&["Identity"])
    .mandatory()
    .at(0);
const SERVICES: Param = Param::new("Services", Kind::List, "IMAP, POP, SMTP, IIS (or WEB).");
const NAME: Param = Param::new("FriendlyName", Kind::Text, "What people call it.");
const EXPORTABLE: Param =
    Param::new("PrivateKeyExportable", Kind::Bool, "Whether Export-ExchangeCertificate gives the key away.");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "New",
        noun: "ExchangeCertificate",
        about: "Makes a self-signed certificate, or a request to a certificate authority.",
        detail: "With -GenerateRequest the request is shown, or written to -RequestFile; its key waits here until the \
                 certificate comes, which Import-ExchangeCertificate takes.",
        params: &[
            Param::new(
                "SubjectName",
                Kind::Text,
                "CN=mail.contoso.test, O=Contoso; CN= and the first name if not said.",
            ),
            Param::new(
                "DomainName",
                Kind::List,
                "The names that clients use; the server's name if not said.",
            )
            .alias(&["IncludeDomains"]),
            Param::new("KeySize", Kind::Int, "256 or 384 for ECDSA, 2048 to 4096 for RSA; 256 if not said."),
            Param::new("ValidDays", Kind::Int, "How long a self-signed one is good; 825 if not said."),
            Param::new(
                "Thumbprint",
                Kind::Text,
                "An older one: subject, names and friendly name are taken from it.",
            )
            .at(0),
            NAME,
            EXPORTABLE,
            Param::new("GenerateRequest", Kind::Switch, "Make a request instead."),
            Param::new("RequestFile", Kind::Path, "Where the request is written."),
            SERVICES,
            SERVER,
        ],
        columns: &["Thumbprint", "Services", "Subject"],
        examples: &[
            Example {
                line: "New-ExchangeCertificate -DomainName mail.contoso.test -Services IMAP,POP",
                about: "Self-signed, and bound.",
            },
            Example {
                line: "New-ExchangeCertificate -GenerateRequest -DomainName mail.contoso.test -RequestFile mail.csr",
                about: "A request for a certificate authority.",
            },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(bring::new(call)),
    },
    Command {
        verb: "Get",
        noun: "ExchangeCertificate",
        about: "Shows the certificates of this server, and which services show them.",
        detail: "Services: I is IMAP, P is POP, W is web, S is SMTP. With -DomainName the first is what a client that asks \
                 for that name is shown.",
        params: &[
            Param::new("Thumbprint", Kind::Text, "One certificate.").alias(&["Identity"]).at(0),
            Param::new("DomainName", Kind::Text, "Those that hold this name."),
            SERVER,
        ],
        columns: &["Thumbprint", "Services", "Subject"],
        examples: &[Example { line: "Get-ExchangeCertificate -FormatList", about: "All properties." }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(show::get(call)),
    },
    Command {
        verb: "Import",
        noun: "ExchangeCertificate",
        about: "Takes a certificate with its key, or the answer to a request that waits here.",
        detail: "PEM, DER, PKCS #7 or PFX. It is bound to nothing by this: Enable-ExchangeCertificate does that.",
        params: &[
            Param::new("FileName", Kind::Path, "The file.").at(0),
            Param::new("FileData", Kind::Text, "Its content instead: PEM, or base64 of the file."),
            Param::new("KeyFileName", Kind::Path, "The key in PEM, where it is in a file of its own."),
            Param::new("Password", Kind::Secret, "Of a PFX file."),
            NAME,
            EXPORTABLE,
            SERVER,
        ],
        columns: &["Thumbprint", "Services", "Subject"],
        examples: &[
            Example {
                line: "Import-ExchangeCertificate mail.pfx -Password -",
                about: "A PFX file; its password is asked for.",
            },
            Example {
                line: "Import-ExchangeCertificate fullchain.pem -KeyFileName privkey.pem",
                about: "PEM, the key beside it.",
            },
        ],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(bring::import(call)),
    },
    Command {
        verb: "Export",
        noun: "ExchangeCertificate",
        about: "Gives a certificate with its key as PFX, or as PEM; a request as PEM.",
        detail: "The key goes along where -PrivateKeyExportable was said when the certificate came.",
        params: &[
            THUMBPRINT,
            Param::new("FileName", Kind::Path, "Where to write it; shown as FileData if not said."),
            Param::new("Password", Kind::Secret, "What protects the PFX file."),
            Param::new("Format", Kind::Choice(&["PFX", "PEM"]), "PFX if a password is given, else PEM."),
            Param::new("Legacy", Kind::Switch, "Triple DES and SHA-1, for Windows before 2019."),
            Param::new("BinaryEncoded", Kind::Switch, "Kept for scripts.").without_effect("-Format says it"),
            SERVER,
        ],
        columns: &["Thumbprint", "FileName"],
        examples: &[Example {
            line: "Export-ExchangeCertificate 5113… -FileName mail.pfx -Password -",
            about: "With its key, under a password that is asked for.",
        }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(bring::export(call)),
    },
    Command {
        verb: "Enable",
        noun: "ExchangeCertificate",
        about: "Binds a certificate to services: clients are shown it from now on.",
        detail: "It is looked at first, and refused with the reason where its key does not fit or cannot be read, or where it \
                 is not valid now; names that clients use and it has not are told. Others that are bound stay, for the names \
                 that only they hold. X509CertificateName and legs between servers are not touched by this. \
                 Undo-WaypostSetting takes it back.",
        params: &[
            THUMBPRINT,
            SERVICES.mandatory(),
            Param::new("DoNotRequireSsl", Kind::Switch, "Kept for scripts.")
                .without_effect("what needs TLS says so itself"),
            Param::new("NetworkServiceAllowed", Kind::Switch, "Kept for scripts.")
                .without_effect("keys in the store are the role's own user's"),
            SERVER,
        ],
        columns: &["Thumbprint", "Services", "Subject"],
        examples: &[Example {
            line: "Enable-ExchangeCertificate 5113… -Services IMAP,POP,SMTP",
            about: "Three services.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(bind::enable(call)),
    },
    Command {
        verb: "Disable",
        noun: "ExchangeCertificate",
        about: "Unbinds a certificate. A service that has no other shows the one of the section tls.",
        detail: "",
        params: &[THUMBPRINT, SERVICES, SERVER],
        columns: &["Thumbprint", "Services", "Subject"],
        examples: &[Example {
            line: "Disable-ExchangeCertificate 5113… -Services IMAP",
            about: "From one service.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(bind::disable(call)),
    },
    Command {
        verb: "Remove",
        noun: "ExchangeCertificate",
        about: "Removes a certificate with its key, or a request. One that is bound is not removed.",
        detail: "",
        params: &[THUMBPRINT, SERVER],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(bind::remove(call)),
    },
    Command {
        verb: "Test",
        noun: "ExchangeCertificate",
        about: "Looks at what each service shows clients: key, dates, chain, names.",
        detail: "With a thumbprint: what would be said if it were bound to all services.",
        params: &[
            Param::new("Thumbprint", Kind::Text, "One certificate.").alias(&["Identity"]).at(0),
            SERVICES,
            SERVER,
        ],
        columns: &["Service", "Result", "Code", "Message"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(show::test(call)),
    },
];

impl From<StoreError> for Failure {
    fn from(e: StoreError) -> Failure {
        let (category, target) = match &e {
            StoreError::NotFound(name) => (Category::ObjectNotFound, name.clone()),
            StoreError::Exists(name) => (Category::ResourceExists, name.clone()),
            StoreError::Full => (Category::LimitsExceeded, "certificates".to_owned()),
            StoreError::Content(_) => (Category::InvalidArgument, "certificate".to_owned()),
            StoreError::NoKey(name) => (Category::InvalidOperation, name.clone()),
            StoreError::File(_) | StoreError::Io { .. } => (Category::WriteError, "certificates".to_owned()),
        };
        Failure::new(category, target, sentence(&e))
    }
}

fn content(e: &TrustError) -> Failure {
    Failure::new(Category::InvalidArgument, "certificate", sentence(e))
}

/// An error as a sentence.
fn sentence(e: &dyn std::fmt::Display) -> String {
    let text = e.to_string();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => text,
    }
}

fn store(call: &Call<'_>) -> PublicStore {
    PublicStore::of(&call.context.data)
}

/// The services that -Services means; those that Waypost has not are told of.
async fn services(call: &Call<'_>) -> Outcome<Vec<PublicService>> {
    let mut out = Vec::new();
    for name in call.list("Services").unwrap_or_default() {
        match name.to_ascii_lowercase().as_str() {
            "um" | "umcallrouter" | "federation" => {
                call.warn(format!("{name} is kept but has no effect in Waypost: there is no such service."))
                    .await;
            }
            "none" => {}
            _ => match PublicService::parse(name) {
                Some(service) => out.push(service),
                None => {
                    let text = format!("{name:?} is none of IMAP, POP, SMTP, IIS, WEB.");
                    return Err(Failure::invalid("Services", text));
                }
            },
        }
    }
    out.sort();
    out.dedup();
    Ok(out)
}

/// A certificate that can be shown: from the store, or the pair of the section tls.
struct Held {
    entry: Entry,
    key: KeyFile,
    /// The pair of the section tls.
    default: bool,
}

/// Everything that this server has.
fn all(call: &Call<'_>, settings: &Settings) -> Outcome<(Vec<Held>, Vec<StoreError>)> {
    let store = store(call);
    let (entries, faults) = store.list()?;
    let mut all: Vec<Held> = entries
        .into_iter()
        .map(|entry| Held { key: store.key(&entry.thumbprint), entry, default: false })
        .collect();
    let chain = call.context.data.join(&settings.tls.certificate);
    if let Ok(pem) = std::fs::read_to_string(chain)
        && let Ok(facts) = Facts::of_pem(&pem)
        && !all.iter().any(|h| h.entry.thumbprint == facts.thumbprint)
    {
        let key = KeyFile::look(&call.context.data.join(&settings.tls.key));
        let note = Note { friendly_name: "default, of the section tls".into(), ..Note::default() };
        let has_key = !matches!(key, KeyFile::Missing(_));
        let thumbprint = facts.thumbprint.clone();
        let entry = Entry { thumbprint, note, facts: Some(facts), pem, has_key };
        all.push(Held { entry, key, default: true });
    }
    Ok((all, faults))
}

/// One by its thumbprint.
fn one(call: &Call<'_>, settings: &Settings, wanted: &str) -> Outcome<Held> {
    // `ServerFQDN\Thumbprint` is how Exchange writes an identity.
    let bare = wanted.rsplit('\\').next().unwrap_or(wanted);
    let name = waypost_trust::public::store::thumbprint(bare)
        .ok_or_else(|| Failure::invalid("Thumbprint", format!("{wanted:?} is not a thumbprint.")))?;
    let (all, _) = all(call, settings)?;
    all.into_iter()
        .find(|h| h.entry.thumbprint == name)
        .ok_or_else(|| Failure::not_found("certificate", wanted))
}
