use super::*;
use crate::change::{NewDomain, NewGroup};
use waypost_base::{Clock, Timestamp};
use waypost_store::Store;

async fn organisation() -> Arc<Directory> {
    let store = Store::memory();
    let directory = Directory::open(store.engine().clone(), Clock::fixed(Timestamp(1_000))).await.unwrap();
    directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
    directory.add_group(NewGroup::new("Staff")).await.unwrap();
    directory
}

async fn run(directory: &Directory, csv: &str, dry_run: bool) -> Vec<(u64, Action, String)> {
    let mut lines = Vec::new();
    import(directory, csv.as_bytes(), dry_run, |l| lines.push((l.line, l.action, l.detail))).await.unwrap();
    lines
}

const CSV: &str = "\u{FEFF}Name,Primary SMTP Address,EmailAddresses,Type,ImapEnabled,Quota,Groups\r\n\
    Adele Vance,,adele@contoso.test;a.vance@contoso.test,User,false,2GB,Staff\r\n\
    Reception,info@contoso.test,,Shared,,,\r\n\
    \r\n\
    Nobody,x@elsewhere.test,,,,,\r\n\
    Twice,info@contoso.test,,User,,,\r\n\
    Odd,odd@contoso.test,,Robot,,,\r\n\
    Lost,lost@contoso.test,,,,,Nowhere\r\n";

#[tokio::test]
async fn says_what_became_of_every_line() {
    let directory = organisation().await;
    let dry = run(&directory, CSV, true).await;
    assert_eq!(directory.snapshot().accounts().count(), 0);
    assert!(dry[3].2.contains("earlier line"), "{dry:?}");
    let done = run(&directory, CSV, false).await;
    let actions: Vec<(u64, Action)> = done.iter().map(|(l, a, _)| (*l, *a)).collect();
    use Action::*;
    assert_eq!(actions, [(2, Created), (3, Created), (5, Failed), (6, Changed), (7, Failed), (8, Failed)]);
    assert!(done[0].2.contains("AdeleVance@contoso.test".to_lowercase().as_str()), "{done:?}");
    assert!(done[2].2.contains("not an accepted domain"), "{done:?}");
    assert!(done[5].2.contains("no group"), "{done:?}");
    let now = directory.snapshot();
    let adele = now.find_account("a.vance@contoso.test").unwrap();
    assert!(!adele.protocols.imap && adele.protocols.pop);
    assert_eq!(adele.quotas.prohibit_send_receive, Limit::At(2 << 30));
    assert_eq!(now.members(now.find_group("staff").unwrap().id).count(), 1);
    // The same file again finds everything done, save for the line that took the other's name over.
    let again = run(&directory, "Name,Quota,Groups\nadele vance,2GB,staff\n", false).await;
    assert_eq!(again[0].1, Changed, "{again:?}");
    let again = run(&directory, "Name,Quota,Groups\nadele vance,2GB,staff\n", false).await;
    assert_eq!(again[0].1, Unchanged, "{again:?}");
}

#[tokio::test]
async fn refuses_files_that_mean_nothing() {
    let directory = organisation().await;
    let try_it = async |bytes: &[u8]| import(&directory, bytes, true, |_| ()).await.unwrap_err();
    assert_eq!(try_it(b"").await, ImportError::Empty);
    assert_eq!(try_it(b"Shoe size\n42").await, ImportError::UnknownColumn("Shoe size".into()));
    assert_eq!(try_it(b"Name,name\n").await, ImportError::TwiceColumn("name".into()));
    assert_eq!(try_it(b"Type\nUser").await, ImportError::NoName);
    assert_eq!(try_it(b"Name\n\xE4").await, ImportError::NotUtf8(5));
}
