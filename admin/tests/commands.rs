//! Every command, run as somebody would type it, on a store in memory.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use waypost_admin::settings::SettingsStore;
use waypost_admin::{
    Catalogue, Category, Context, Event, Exit, Failure, Format, Invocation, Layout, Record, Renderer, Source,
    World, output::Cell, wire,
};
use waypost_base::{Clock, Timestamp};
use waypost_directory::Directory;
use waypost_mailbox::{Limits, Mailboxes};
use waypost_store::Store;

struct Office {
    catalogue: Catalogue,
    context: Context,
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.context.data);
    }
}

struct Answer {
    records: Vec<Record>,
    warnings: Vec<String>,
    what_if: Vec<String>,
    errors: Vec<Failure>,
    exit: Exit,
}

impl Answer {
    fn cell(&self, name: &str) -> &Cell {
        self.records.first().unwrap_or_else(|| panic!("no record; {:?}", self.errors)).cell(name).unwrap()
    }

    fn shown(&self, name: &str) -> String {
        self.cell(name).shown()
    }

    fn column(&self, name: &str) -> Vec<String> {
        self.records.iter().map(|r| r.cell(name).unwrap().shown()).collect()
    }
}

/// Splits as a shell does, as far as these tests go: single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        out.push(word);
    }
    out
}

async fn office(name: &str) -> Office {
    let data = std::env::temp_dir().join(format!("waypost-office-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&data);
    std::fs::create_dir_all(&data).unwrap();
    let clock = Clock::fixed(Timestamp(1_772_525_720_114));
    let store = Store::memory();
    let directory = Directory::open(store.engine().clone(), clock.clone()).await.unwrap();
    let mailboxes = Mailboxes::open(store.clone(), clock.clone(), Limits::default());
    let settings = Arc::new(SettingsStore::open(&data).unwrap());
    let world = World::new(store, directory, mailboxes, settings);
    let context = Context {
        data,
        clock,
        caller: "root".into(),
        from: "console".into(),
        rights: Default::default(),
        running: true,
        world: Some(world),
    };
    let office = Office { catalogue: Catalogue::new(), context };
    office.ok("New-AcceptedDomain contoso.test").await;
    office
}

impl Office {
    fn path(&self, name: &str) -> PathBuf {
        self.context.data.join(name)
    }

    fn parse(&self, line: &str) -> Result<Invocation, Failure> {
        let source = Source { folder: &self.context.data };
        Ok(self.catalogue.parse(&words(line), source)?.invocation)
    }

    async fn run(&self, line: &str) -> Answer {
        let invocation = match self.parse(line) {
            Ok(invocation) => invocation,
            Err(failure) => {
                let exit = failure.exit();
                return Answer {
                    records: vec![],
                    warnings: vec![],
                    what_if: vec![],
                    errors: vec![failure],
                    exit,
                };
            }
        };
        self.invoke(&invocation).await
    }

    async fn invoke(&self, invocation: &Invocation) -> Answer {
        let mut all = Vec::new();
        let exit = self.catalogue.run_here(&self.context, invocation, |event| all.push(event)).await;
        let mut answer = Answer { records: vec![], warnings: vec![], what_if: vec![], errors: vec![], exit };
        for event in all {
            match event {
                Event::Record(record) => answer.records.push(record),
                Event::Warning(text) => answer.warnings.push(text),
                Event::WhatIf(text) => answer.what_if.push(text),
                Event::Error(failure) => answer.errors.push(failure),
                Event::Progress(_) => {}
            }
        }
        answer
    }

    async fn ok(&self, line: &str) -> Answer {
        let answer = self.run(line).await;
        assert_eq!(answer.exit, Exit::OK, "{line}: {:?}", answer.errors);
        answer
    }

    async fn fails(&self, line: &str, category: Category) -> Failure {
        let mut answer = self.run(line).await;
        let failure = answer.errors.pop().unwrap_or_else(|| panic!("{line} went well"));
        assert_eq!(failure.category, category, "{line}: {failure}");
        assert_eq!(answer.exit, category.exit(), "{line}");
        failure
    }
}

#[tokio::test]
async fn mailboxes() {
    let o = office("mailboxes").await;
    let made = o.ok("New-Mailbox 'Adele Vance' -PrimarySmtpAddress adele@contoso.test -Quota 2GB").await;
    assert_eq!(made.shown("Alias"), "adele");
    assert_eq!(made.shown("InitialPassword").len(), 24);
    o.ok("new-mailbox lee --password 'correct horse' --alias lee.gu").await;
    o.ok("New-Mailbox Reception -Shared").await;
    assert_eq!(o.ok("Get-Mailbox").await.column("Name"), ["Adele Vance", "lee", "Reception"]);
    assert_eq!(
        o.ok("Get-Mailbox *e* -RecipientTypeDetails SharedMailbox").await.column("Name"),
        ["Reception"]
    );
    let few = o.ok("Get-Mailbox -ResultSize 1").await;
    assert_eq!((few.records.len(), few.warnings.len()), (1, 1));
    assert_eq!(
        o.ok("Get-Mailbox adele@contoso.test").await.shown("ProhibitSendReceiveQuota"),
        "2 GB (2,147,483,648 bytes)"
    );
    o.ok("Set-Mailbox adele -EmailAddresses '@{Add=\"a.vance@contoso.test\",\"SMTP:vance@contoso.test\"}'")
        .await;
    let adele = o.ok("Get-Mailbox adele").await;
    assert_eq!(
        adele.shown("EmailAddresses"),
        "{SMTP:vance@contoso.test, smtp:a.vance@contoso.test, smtp:adele@contoso.test}"
    );
    o.ok("set-mailbox adele --remove-email-addresses a.vance@contoso.test --display-name 'A. V.'").await;
    o.ok("Set-Mailbox adele -UseDatabaseQuotaDefaults true -RecipientLimits 5 -GrantSendOnBehalfTo '@{Add=\"lee\"}'").await;
    let adele = o.ok("Get-Mailbox adele").await;
    assert_eq!(adele.shown("DisplayName"), "A. V.");
    assert_eq!(adele.shown("ProhibitSendReceiveQuota"), "Unlimited");
    assert_eq!(adele.shown("GrantSendOnBehalfTo"), "{lee}");
    assert_eq!(o.ok("Set-Mailbox adele -Alias adele").await.warnings.len(), 1);
    o.ok("Set-Mailbox adele -ForwardingSmtpAddress adele@elsewhere.test -DeliverToMailboxAndForward true")
        .await;
    let adele = o.ok("Get-Mailbox adele").await;
    assert_eq!(adele.shown("ForwardingSmtpAddress"), "smtp:adele@elsewhere.test");
    assert_eq!(adele.shown("DeliverToMailboxAndForward"), "True");
    o.ok("Set-Mailbox adele -ForwardingAddress lee").await;
    let adele = o.ok("Get-Mailbox adele").await;
    assert_eq!(
        (adele.shown("ForwardingAddress"), adele.shown("ForwardingSmtpAddress")),
        ("lee.gu@contoso.test".into(), String::new())
    );
    o.ok("Set-Mailbox adele -ForwardingAddress $null").await;
    assert_eq!(o.ok("Get-Mailbox adele").await.shown("ForwardingAddress"), "");
    o.fails("Set-Mailbox adele -ForwardingAddress adele", Category::InvalidArgument).await;
    o.fails("Set-Mailbox adele -ForwardingAddress nobody", Category::ObjectNotFound).await;
    o.fails("New-Mailbox lee", Category::ResourceExists).await;
    o.fails("New-Mailbox x -PrimarySmtpAddress x@elsewhere.test", Category::InvalidArgument).await;
    o.fails("New-Mailbox x -Shared -Room", Category::SyntaxError).await;
    o.fails("Get-Mailbox nobody", Category::ObjectNotFound).await;
    o.fails("Set-Mailbox adele -EmailAddresses a.vance@contoso.test", Category::InvalidArgument).await;
    o.fails("Remove-Mailbox adele", Category::SyntaxError).await;
    let what_if = o.ok("Remove-Mailbox adele -WhatIf").await.what_if;
    assert_eq!(
        what_if,
        [
            "What if: Performing the operation \"Remove-Mailbox\": Removing mailbox \"Adele Vance\" <vance@contoso.test>."
        ]
    );
    o.ok("Remove-Mailbox adele -Confirm:$false").await;
    o.fails("Get-Mailbox adele", Category::ObjectNotFound).await;
}

#[tokio::test]
async fn protocols_permissions_and_app_passwords() {
    let o = office("protocols").await;
    o.ok("New-Mailbox adele").await;
    o.ok("New-Mailbox Reception -Shared").await;
    let set = o.ok("Set-CASMailbox adele -PopEnabled false -ImapSuppressReadReceipt true").await;
    assert!(set.warnings[0].contains("has no effect"));
    assert_eq!(o.ok("Get-CASMailbox adele").await.shown("PopEnabled"), "False");
    o.ok("Add-MailboxPermission Reception -User adele -AccessRights FullAccess").await;
    assert_eq!(o.ok("Get-MailboxPermission reception").await.shown("User"), "adele");
    o.ok("Remove-MailboxPermission Reception adele -AccessRights FullAccess --yes").await;
    assert!(o.ok("Get-MailboxPermission reception").await.records.is_empty());
    let app = o.ok("New-AppPassword adele phone -Protocols imap,smtp").await;
    assert_eq!(app.shown("Protocols"), "{imap, submission}");
    assert_eq!(app.shown("Password").len(), 24);
    assert_eq!(o.ok("Get-AppPassword adele").await.column("Name"), ["phone"]);
    o.fails("New-AppPassword adele phone", Category::ResourceExists).await;
    o.fails("New-AppPassword adele tablet -Protocols gopher", Category::InvalidArgument).await;
    o.ok("Remove-AppPassword adele phone -Confirm:$false").await;
    o.fails("Remove-AppPassword adele phone -Confirm:$false", Category::ObjectNotFound).await;
}

#[tokio::test]
async fn domains_and_groups() {
    let o = office("groups").await;
    o.ok("New-AcceptedDomain bücher.example -DomainType InternalRelay").await;
    o.ok("New-Mailbox adele").await;
    o.ok("Set-AcceptedDomain contoso.test -CatchAllRecipient adele@contoso.test -SubAddressingEnabled false")
        .await;
    let domain = o.ok("Get-AcceptedDomain contoso.test").await;
    assert_eq!(domain.shown("CatchAllRecipient"), "adele@contoso.test");
    assert_eq!(o.ok("Get-AcceptedDomain").await.column("Name"), ["contoso.test", "bücher.example"]);
    o.fails("Set-AcceptedDomain contoso.test -MakeDefault false", Category::InvalidArgument).await;
    o.fails("Remove-AcceptedDomain contoso.test -Confirm:$false", Category::InvalidOperation).await;
    o.ok("Set-AcceptedDomain contoso.test -CatchAllRecipient '$null'").await;
    o.ok("Remove-AcceptedDomain bücher.example -Confirm:$false").await;
    o.ok("New-DistributionGroup Staff -Members adele,friend@elsewhere.test -ManagedBy adele").await;
    o.ok("New-DistributionGroup All -Members Staff").await;
    assert_eq!(
        o.ok("Get-DistributionGroupMember Staff").await.column("Name"),
        ["adele", "friend@elsewhere.test"]
    );
    assert_eq!(
        o.ok("Get-DistributionGroupMember All").await.column("RecipientType"),
        ["MailUniversalDistributionGroup"]
    );
    o.ok("Set-DistributionGroup Staff -RequireSenderAuthenticationEnabled false -AcceptMessagesOnlyFrom '@{Add=\"All\"}'").await;
    assert_eq!(
        o.ok("Get-DistributionGroup Staff").await.shown("AcceptMessagesOnlyFromSendersOrMembers"),
        "{All@contoso.test}".to_lowercase()
    );
    o.ok("Set-DistributionGroup Staff -RejectMessagesFrom adele").await;
    assert_eq!(
        o.ok("Get-DistributionGroup Staff").await.shown("RejectMessagesFromSendersOrMembers"),
        "{adele@contoso.test}"
    );
    o.ok("Add-DistributionGroupMember All adele").await;
    o.fails("Add-DistributionGroupMember All adele", Category::ResourceExists).await;
    o.fails("Add-DistributionGroupMember All nobody@contoso.test", Category::ObjectNotFound).await;
    o.ok("Remove-DistributionGroupMember All adele -Confirm:$false").await;
    o.ok("Remove-DistributionGroup All -Confirm:$false").await;
    assert_eq!(o.ok("Get-DistributionGroup").await.column("Name"), ["Staff"]);
}

#[tokio::test]
async fn settings() {
    let o = office("settings").await;
    std::fs::write(o.path("settings.toml"), "# ours\n[imap]\nbanner = \"Hello\" # short\n").unwrap();
    o.context.world.as_ref().unwrap().settings.reload().unwrap();
    assert_eq!(o.ok("Get-ImapSettings").await.shown("Banner"), "Hello");
    assert_eq!(o.ok("Get-ImapSettings").await.shown("AuthenticatedConnectionTimeout"), "00:30:00");
    o.ok("Set-ImapSettings -Banner 'Good day' -MaxConnectionsPerUser 7 -AuthenticatedConnectionTimeout 00:45:00").await;
    let text = std::fs::read_to_string(o.path("settings.toml")).unwrap();
    assert!(text.starts_with("# ours\n[imap]\nbanner = \"Good day\" # short\n"), "{text}");
    let kept = std::fs::read_dir(o.path("settings.d")).unwrap().count();
    assert_eq!(kept, 2);
    let bound = o.ok("Set-PopSettings -SSLBindings 127.0.0.1:9951 -LoginType PlainTextLogin").await;
    assert!(bound.warnings[0].contains("when the server is started"));
    assert_eq!(o.ok("Get-PopSettings").await.shown("SSLBindings"), "{127.0.0.1:9951}");
    o.ok("set-imap-settings --add-ssl-bindings 127.0.0.1:9931").await;
    assert_eq!(
        o.ok("Get-ImapSettings").await.shown("SSLBindings"),
        "{0.0.0.0:993, [::]:993, 127.0.0.1:9931}"
    );
    let effectless = o.ok("Set-ImapSettings -ShowHiddenFoldersEnabled false").await;
    assert!(effectless.warnings[0].contains("no effect"), "{:?}", effectless.warnings);
    let failure = o.fails("Set-ImapSettings -MaxCommandSize 1", Category::InvalidArgument).await;
    assert!(failure.message.contains("must be 1024 to 1048576"), "{failure}");
    o.ok("Set-WaypostSetting smtp.timeout '00:02:00'").await;
    o.fails("Set-ImapSettings -Server elsewhere -Banner x", Category::ObjectNotFound).await;
    let what_if = o.ok("Set-ImapSettings -MaxConnectionsPerUser 9 -WhatIf").await.what_if;
    assert!(what_if[0].ends_with("Setting imap.max_connections_per_user = 9."), "{what_if:?}");
    o.ok("Set-WaypostSetting smtp.max_message_size '50 MB'").await;
    assert_eq!(o.ok("Get-WaypostSetting 'smtp.max_mess*'").await.column("Value"), ["\"50 MB\"", "0"]);
    o.ok("Set-WaypostSetting smtp.max_message_size '$null'").await;
    o.fails("Set-WaypostSetting smtp.max_size 5", Category::InvalidArgument).await;
}

#[tokio::test]
async fn imports_recipients() {
    let o = office("recipients").await;
    std::fs::write(o.path("people.csv"), "Name,Type\nadele,User\nlee,Robot\n").unwrap();
    let dry = o.run("Import-Recipient people.csv -WhatIf").await;
    assert_eq!(dry.column("Action"), ["Created", "Failed"]);
    assert!(o.ok("Get-Mailbox").await.records.is_empty());
    let done = o.run("Import-Recipient people.csv").await;
    assert_eq!((done.column("Line"), done.exit), (vec!["2".into(), "3".into()], Exit::PARTLY));
    o.ok("Get-Mailbox adele").await;
}

#[tokio::test]
async fn imports_and_exports_mail() {
    let o = office("mail").await;
    o.ok("New-Mailbox adele").await;
    let mut mbox = String::new();
    for n in 0..450 {
        mbox.push_str(&format!(
            "From x Tue Mar  3 08:15:20 2026\nSubject: number {n}\nStatus: R\n\nbody {n}\n\n"
        ));
    }
    std::fs::write(o.path("old.mbox"), &mbox).unwrap();
    let first = o.ok("Import-Mail adele old.mbox").await;
    assert_eq!((first.shown("Imported"), first.shown("Skipped")), ("450".into(), "0".into()));
    // Again, with one more at the end: only that one is new.
    mbox.push_str("From x Tue Mar  3 08:15:20 2026\nSubject: late\n\nbody\n\n");
    std::fs::write(o.path("old.mbox"), &mbox).unwrap();
    let second = o.ok("Import-Mail adele old.mbox").await;
    assert_eq!((second.shown("Imported"), second.shown("AlreadyThere")), ("1".into(), "450".into()));
    let statistics = o.ok("Get-MailboxStatistics adele").await;
    assert_eq!(statistics.shown("ItemCount"), "451");
    let folders =
        o.ok("Get-MailboxFolderStatistics adele -FolderScope Inbox -IncludeOldestAndNewestItems").await;
    assert_eq!(
        (folders.shown("ItemsInFolder"), folders.shown("UnreadItemsInFolder")),
        ("451".into(), "1".into())
    );
    o.ok("Import-Mail adele old.mbox -Restart -TargetRootFolder Archive/2019").await;
    let exported = o.ok("Export-Mail adele out -IncludeFolders INBOX,'Archive/2019'").await;
    assert_eq!(exported.column("Exported"), ["451", "451"].map(String::from));
    o.fails("Export-Mail adele out", Category::ResourceExists).await;
    o.ok("New-Mailbox lee").await;
    let back = o.ok("Import-Mail lee out").await;
    assert_eq!((back.shown("Imported"), back.shown("Format")), ("902".into(), "Maildir".into()));
    let unread = o.ok("Get-MailboxFolderStatistics lee").await;
    let row =
        unread.records.iter().find(|r| r.cell("FolderPath").unwrap().shown() == "/Archive/2019").unwrap();
    assert_eq!(row.cell("UnreadItemsInFolder").unwrap().shown(), "1");
    let boxes = o.ok("Export-Mail lee boxes -Format Mbox -IncludeFolders INBOX").await;
    assert_eq!(boxes.shown("Exported"), "451");
    let text = std::fs::read_to_string(o.path("boxes/INBOX.mbox")).unwrap();
    assert_eq!(
        text.len(),
        mbox.len() + 451 * "MAILER-DAEMON".len() - 451,
        "the sender's name differs, and nothing else"
    );
    o.fails("Import-Mail lee nowhere.mbox", Category::ObjectNotFound).await;
    std::fs::create_dir(o.path("letters")).unwrap();
    std::fs::write(o.path("letters/a.eml"), "Subject: a\n\n").unwrap();
    std::fs::write(o.path("letters/b.msg"), "x").unwrap();
    let letters = o.run("Import-Mail lee letters").await;
    assert_eq!((letters.shown("Imported"), letters.exit), ("1".into(), Exit::PARTLY));
    assert!(letters.errors[0].message.contains("not an .eml file"));
    let report = o.ok("Test-Store").await;
    assert_eq!(report.shown("Problem"), "none");
}

#[tokio::test]
async fn store_commands() {
    let o = office("store").await;
    assert_eq!(o.ok("Get-StoreHealth").await.shown("State"), "Healthy");
    o.fails("Restore-Store nowhere -Confirm:$false", Category::InvalidOperation).await;
    std::fs::create_dir(o.path("full")).unwrap();
    std::fs::write(o.path("full/x"), "x").unwrap();
    o.fails("New-StoreBackup full", Category::ResourceExists).await;
    let what_if = o.ok("New-StoreBackup new -WhatIf").await.what_if;
    assert_eq!(what_if.len(), 1);
}

#[tokio::test]
async fn restores_a_backup_of_a_real_store() {
    let o = office("restore").await;
    let clock = o.context.clock.clone();
    let open = |dir: &Path| {
        std::fs::create_dir_all(dir).unwrap();
        Store::open(dir, waypost_store::Options::new([7; 32], clock.clone())).unwrap()
    };
    let world_of = async |store: Store| {
        let directory = Directory::open(store.engine().clone(), clock.clone()).await.unwrap();
        let mailboxes = Mailboxes::open(store.clone(), clock.clone(), Limits::default());
        World::new(store, directory, mailboxes, Arc::new(SettingsStore::open(&o.context.data).unwrap()))
    };
    let store = open(&o.path("store"));
    let world = world_of(store.clone()).await;
    let real =
        Office { catalogue: Catalogue::new(), context: Context { world: Some(world), ..o.context.clone() } };
    real.ok("New-AcceptedDomain contoso.test").await;
    real.ok("New-Mailbox adele").await;
    real.ok("Set-ImapSettings -Banner saved").await;
    real.ok("New-StoreBackup monday").await;
    real.ok("Remove-Mailbox adele -Confirm:$false").await;
    real.ok("Set-ImapSettings -Banner lost").await;
    store.close().await;
    drop(store);
    let stopped = Context { world: None, running: false, ..o.context.clone() };
    let stopped = Office { catalogue: Catalogue::new(), context: stopped };
    let restored = stopped.ok("Restore-Store monday -Confirm:$false").await;
    assert!(Path::new(&restored.shown("MovedAside")).join("store").is_dir());
    let store = open(&o.path("store"));
    let world = world_of(store.clone()).await;
    let again =
        Office { catalogue: Catalogue::new(), context: Context { world: Some(world), ..o.context.clone() } };
    again.ok("Get-Mailbox adele").await;
    assert_eq!(again.ok("Get-ImapSettings").await.shown("Banner"), "saved");
    store.close().await;
}

#[tokio::test]
async fn over_the_wire_as_here() {
    let o = office("wire").await;
    o.ok("New-Mailbox adele").await;
    for (line, exit) in [("Get-Mailbox", Exit::OK), ("Get-Mailbox nobody", Exit::NOT_FOUND)] {
        let invocation = o.parse(line).unwrap();
        let here = o.invoke(&invocation).await;
        let (client, server) = tokio::io::duplex(64);
        let mut events = Vec::new();
        let (answered, served) = tokio::join!(
            wire::ask(client, &invocation, |e| events.push(e)),
            wire::serve(server, &o.catalogue, &o.context)
        );
        served.unwrap();
        assert_eq!(answered.unwrap(), exit);
        let expected: Vec<Event> = here
            .records
            .into_iter()
            .map(Event::Record)
            .chain(here.errors.into_iter().map(Event::Error))
            .collect();
        assert_eq!(events, expected);
    }
    for request in ["", "rubbish\n", "{\"version\":99,\"invocation\":{\"command\":\"Get-Mailbox\"}}\n"] {
        let (mut client, server) = tokio::io::duplex(4096);
        let talk = async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            client.write_all(request.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            text
        };
        let (text, served) = tokio::join!(talk, wire::serve(server, &o.catalogue, &o.context));
        served.unwrap();
        assert!(text.ends_with("{\"end\":{\"exit\":2}}\n"), "{text}");
    }
    // A client that goes away ends nothing but itself.
    let (client, server) = tokio::io::duplex(64);
    drop(client);
    assert!(wire::serve(server, &o.catalogue, &o.context).await.is_err());
}

#[tokio::test]
async fn both_forms_are_one() {
    let o = office("forms").await;
    let pairs = [
        ("Get-Mailbox adele", "get-mailbox adele"),
        ("Get-Mailbox -Identity adele", "GET-MAILBOX --identity=adele"),
        ("Set-Mailbox adele -DisplayName 'A V'", "set-mailbox --display-name 'A V' adele"),
        ("Set-CASMailbox adele -PopEnabled:$false", "set-cas-mailbox adele --no-pop-enabled"),
        ("Set-CASMailbox adele -PopEnabled '$true'", "set-cas-mailbox adele --pop-enabled"),
        ("Set-ImapSettings -X509CertificateName x", "set-imap-settings --x509-certificate-name x"),
        ("Set-ImapSettings -x509 x", "set-imap-settings --x509 x"),
        (
            "Set-Mailbox a -EmailAddresses '@{Add=\"x\",\"y\";Remove=\"z\"}'",
            "set-mailbox a --add-email-addresses x,y --remove-email-addresses z",
        ),
        ("Set-Mailbox a -EmailAddresses x,y", "set-mailbox a --email-addresses x --email-addresses y"),
        ("Set-Mailbox a -Quota 10MB", "set-mailbox a --quota=10485760"),
        ("Set-Mailbox a -Quota unlimited", "set-mailbox a --prohibit-send-receive-quota unlimited"),
        (
            "Set-ImapSettings -AuthenticatedConnectionTimeout 00:30:00",
            "set-imap-settings --authenticated-connection-timeout 30m",
        ),
        ("Remove-Mailbox a -Confirm:$false", "remove-mailbox a --yes"),
        ("Remove-Mailbox a -Confirm:", "remove-mailbox a --confirm=false"),
        ("Remove-Mailbox a -WhatIf", "remove-mailbox a --what-if"),
        ("New-AppPassword a b", "new-app-password --name b a"),
        ("Get-Mailbox -- -odd", "get-mailbox --identity -odd"),
    ];
    for (exchange, gnu) in pairs {
        let parse = |line| o.parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(parse(exchange), parse(gnu), "{exchange} | {gnu}");
    }
}

#[tokio::test]
async fn wrong_lines_are_explained() {
    let o = office("wrong").await;
    for (line, says) in [
        ("", "Which command?"),
        ("Get-Mailbx", "Did you mean Get-Mailbox"),
        ("Frobnicate", "Get-Command lists all commands"),
        ("Set-Mailbox", "needs -Identity"),
        ("Set-Mailbox a b", "one value too many"),
        ("Set-Mailbox a -Quota", "needs a size"),
        ("Set-Mailbox a -Quota many", "not \"many\""),
        ("Set-Mailbox a -Quotta 1", "Did you mean -"),
        ("Set-Mailbox a -Prohibit 1", "could mean -ProhibitSendQuota or -ProhibitSendReceiveQuota"),
        ("Set-CASMailbox a -PopEnabled -ImapEnabled false", "In a Unix shell write -PopEnabled false"),
        ("Set-Mailbox a -Name x -Name y", "given twice"),
        ("Set-Mailbox a --email-addresses x --add-email-addresses y", "cannot be given together"),
        ("Get-Mailbox -WhatIf", "has no parameter"),
        ("Set-Mailbox a -EmailAddresses '@{Add=\"x\"'", "needs a list"),
    ] {
        let failure = o.parse(line).unwrap_err();
        assert_eq!(failure.exit(), Exit::USAGE, "{line}");
        assert!(failure.message.contains(says), "{line}: {failure}");
    }
    // An invocation from elsewhere is looked at as well.
    let mut invocation = o.parse("Get-Mailbox").unwrap();
    invocation.args.insert("Nonsense".into(), waypost_admin::catalogue::Value::Null);
    assert_eq!(o.invoke(&invocation).await.exit, Exit::USAGE);
    let mut invocation = o.parse("Remove-Mailbox a -WhatIf").unwrap();
    (invocation.what_if, invocation.confirmed) = (false, false);
    assert_eq!(o.invoke(&invocation).await.exit, Exit::USAGE);
    assert!(o.catalogue.question(&invocation).unwrap().ends_with("Remove-Mailbox a"));
}

#[tokio::test]
async fn histories_hold_no_passwords() {
    let o = office("history").await;
    let mut invocation = o.parse("New-Mailbox adele -Password -").unwrap();
    o.catalogue.read_secrets(&mut invocation, |name| Ok(format!("{name} 123\n"))).unwrap();
    assert_eq!(invocation.args["Password"], waypost_admin::catalogue::Value::Text("Password 123".into()));
    let invocation = o.parse("New-Mailbox 'Adele V' -Password 'correct horse' -Shared").unwrap();
    assert_eq!(invocation.line, "New-Mailbox -Name 'Adele V' -Password ******** -Shared");
}

#[tokio::test]
async fn explains_itself() {
    let o = office("help").await;
    let all = o.ok("Get-Command").await;
    assert_eq!(all.records.len(), o.catalogue.commands().len());
    let names: Vec<String> = o.ok("Get-Command -Noun *mailbox*").await.column("Name");
    assert!(names.contains(&"Get-MailboxStatistics".to_owned()));
    assert!(o.ok("Get-Help set-imap-settings").await.shown("Text").contains("--x509-certificate-name"));
    o.fails("Get-Help nothing", Category::ObjectNotFound).await;
    assert!(o.ok("Get-ShellCompletion fish").await.shown("Text").starts_with("# fish"));
    let pages = o.ok("Export-ManualPage man").await.records.len();
    assert_eq!(pages, o.catalogue.commands().len());
    for command in o.catalogue.commands() {
        let help = command.help();
        assert!(help.lines().all(|l| l.chars().count() <= 170), "{}", command.name());
        for example in command.examples {
            let parsed = o.parse(example.line);
            assert!(parsed.is_ok(), "{}: {}", example.line, parsed.unwrap_err());
        }
        assert!(command.about.ends_with('.'), "{}", command.name());
        let mut positions: Vec<u8> = command.params.iter().filter_map(|p| p.position).collect();
        let count = positions.len();
        positions.dedup();
        assert_eq!(count, positions.len(), "{}", command.name());
    }
}

/// Help, a manual page and completions as they were when somebody looked at them last.
#[tokio::test]
async fn golden_texts() {
    let o = office("golden").await;
    let command = o.catalogue.find("Set-CASMailbox").unwrap();
    let texts =
        [("help.txt", command.help()), ("man.1", command.man()), ("overview.txt", o.catalogue.overview())];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (name, text) in texts {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{name} differs; run with UPDATE_GOLDEN=1 and look at it:\n{text}");
    }
    for completion in [o.catalogue.bash(), o.catalogue.zsh(), o.catalogue.fish()] {
        assert!(completion.contains("Set-CASMailbox") && completion.contains("pop-enabled"));
    }
    assert_eq!(o.catalogue.man_pages().len(), o.catalogue.commands().len());
    let bash = std::process::Command::new("bash").args(["-n", "-c", &o.catalogue.bash()]).status();
    assert!(bash.is_err() || bash.unwrap().success());
}

#[tokio::test]
async fn tables_have_the_columns_of_the_command() {
    let o = office("tables").await;
    o.ok("New-Mailbox adele").await;
    let records = o.ok("Get-Mailbox").await.records;
    let columns = o.catalogue.find("Get-Mailbox").unwrap().columns;
    let mut renderer = Renderer::new(Layout { format: Format::Table, properties: vec![] }, columns);
    let mut text: String = records.into_iter().map(|r| renderer.event(&Event::Record(r))).collect();
    text.push_str(&renderer.end());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "Name  Alias PrimarySmtpAddress ProhibitSendReceiveQuota");
    assert_eq!(lines[2], "----  ----- ------------------ ------------------------");
    assert_eq!(lines[3], "adele adele adele@contoso.test Unlimited");
}

#[tokio::test]
async fn default_quotas_reach_every_mailbox() {
    let o = office("quotas").await;
    o.ok("New-Mailbox adele").await;
    o.ok("New-Mailbox lee -Quota 1MB").await;
    o.ok("Set-WaypostSetting mailboxes.prohibit_send_receive_quota '5 GB'").await;
    let statistics = o.ok("Get-MailboxStatistics").await;
    assert_eq!(
        statistics.column("ProhibitSendReceiveQuota"),
        ["5 GB (5,368,709,120 bytes)", "1 MB (1,048,576 bytes)"]
    );
}

proptest::proptest! {
    /// No command line, however strange, makes the parser panic, and what it takes it takes again over the wire.
    #[test]
    fn any_words(words in proptest::collection::vec("[-@{};,=:$a-zA-Z0-9\"' ]{0,12}", 0..6), pick in 0usize..64) {
        let catalogue = Catalogue::new();
        let command = catalogue.commands()[pick % catalogue.commands().len()].name();
        let line: Vec<String> = std::iter::once(command).chain(words).collect();
        let source = Source { folder: Path::new("/") };
        if let Ok(parsed) = catalogue.parse(&line, source) {
            let text = serde_json::to_string(&parsed.invocation).unwrap();
            let again: Invocation = serde_json::from_str(&text).unwrap();
            proptest::prop_assert_eq!(again, parsed.invocation);
        }
    }
}
