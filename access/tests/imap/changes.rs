//! STORE, EXPUNGE, COPY, MOVE, IDLE, CONDSTORE and QRESYNC; and two sessions on one folder.

use crate::world::{World, mail};
use std::time::Duration;

async fn three(world: &World) {
    world.fill(&[&mail("one"), &mail("two"), &mail("three")]).await;
}

#[tokio::test(start_paused = true)]
async fn flags_in_all_ways() {
    let world = World::new().await;
    three(&world).await;
    let mut c = world.selected().await;
    c.talk(
        "C: a STORE 1:2 +FLAGS (\\Flagged work)
         S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft …work)
         S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft …work \\*)] …
         S: * 1 FETCH (FLAGS (\\Flagged work))
         S: * 2 FETCH (FLAGS (\\Flagged work))
         S: a OK …
         C: b STORE 2 -FLAGS (\\Flagged unknown)
         S: * 2 FETCH (FLAGS (work))
         S: b OK …
         C: c STORE 2 FLAGS.SILENT (\\Seen)
         S: c OK …
         C: d UID STORE 2 +FLAGS (\\Seen)
         S: * 2 FETCH (UID 2 FLAGS (\\Seen))
         S: d OK …
         C: e STORE 9 +FLAGS (\\Seen)
         S: e BAD …
         C: f UID STORE 9 +FLAGS (\\Seen)
         S: f OK …
         C: g STORE 3 FLAGS ()
         S: * 3 FETCH (FLAGS ())
         S: g OK …
         C: h EXAMINE INBOX",
    )
    .await;
    c.until("h OK [READ-ONLY]").await;
    c.talk(
        "C: i STORE 1 +FLAGS (\\Seen)
         S: i NO [READ-ONLY] …
         C: j EXPUNGE
         S: j NO [READ-ONLY] …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_sessions_agree() {
    let world = World::new().await;
    three(&world).await;
    let mut a = world.selected().await;
    let mut b = world.selected().await;
    a.talk("C: a STORE 1 +FLAGS.SILENT (\\Deleted)\nS: a OK …").await;
    b.talk("C: a NOOP\nS: * 1 FETCH (FLAGS (\\Deleted))\nS: a OK …").await;
    a.talk("C: b EXPUNGE\nS: * 1 EXPUNGE\nS: b OK Expunged").await;
    // The other session is not told of it while it works with message numbers.
    b.talk(
        "C: b FETCH 1:* UID
         S: * 1 FETCH (UID 1)
         S: * 2 FETCH (UID 2)
         S: * 3 FETCH (UID 3)
         S: b OK …
         C: c SEARCH UID 3
         S: * SEARCH 3
         S: c OK …
         C: d STORE 3 +FLAGS (\\Seen)
         S: * 3 FETCH (FLAGS (\\Seen))
         S: d OK …
         C: e UID FETCH 3 FLAGS
         S: * 3 FETCH (UID 3 FLAGS (\\Seen))
         S: * 1 EXPUNGE
         S: e OK …
         C: f FETCH 1:* UID
         S: * 1 FETCH (UID 2)
         S: * 2 FETCH (UID 3)
         S: f OK …",
    )
    .await;
    a.talk("C: c NOOP\nS: * 2 FETCH (FLAGS (\\Seen))\nS: c OK …").await;
    a.append("INBOX", "", &mail("four")).await;
    b.talk("C: g NOOP\nS: * 3 EXISTS\nS: g OK …").await;
}

#[tokio::test(start_paused = true)]
async fn expunge_and_close() {
    let world = World::new().await;
    three(&world).await;
    let mut c = world.selected().await;
    c.talk(
        "C: a STORE 1:3 +FLAGS.SILENT (\\Deleted)
         S: a OK …
         C: b UID EXPUNGE 2:3
         S: * 2 EXPUNGE
         S: * 2 EXPUNGE
         S: b OK …
         C: c UNSELECT
         S: c OK …
         C: d STATUS INBOX (MESSAGES DELETED)
         S: * STATUS INBOX (MESSAGES 1 DELETED 1)
         S: d OK …
         C: e SELECT INBOX",
    )
    .await;
    c.until("e OK").await;
    c.talk(
        "C: f CLOSE
         S: f OK …
         C: g STATUS INBOX (MESSAGES DELETED)
         S: * STATUS INBOX (MESSAGES 0 DELETED 0)
         S: g OK …
         C: h EXPUNGE
         S: h BAD …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn copy_and_move() {
    let world = World::new().await;
    three(&world).await;
    let mut c = world.selected().await;
    c.talk(
        "C: a COPY 1:2 Archive
         S: a OK [COPYUID … 1:2 1:2] Copied
         C: b COPY 1 Nowhere
         S: b NO [TRYCREATE] …
         C: c COPY 3 INBOX
         S: * 4 EXISTS
         S: c OK [COPYUID … 3 4] Copied
         C: d MOVE 2,4 Trash
         S: * OK [COPYUID … 2,4 1:2] Moved
         S: * 2 EXPUNGE
         S: * 3 EXPUNGE
         S: d OK Moved
         C: e UID MOVE 77 Trash
         S: e OK …
         C: f STATUS Archive (MESSAGES)
         S: * STATUS Archive (MESSAGES 2)
         S: f OK …
         C: g UID COPY 1,3 Sent
         S: g OK [COPYUID … 1,3 1:2] Copied",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn idle_hears_at_once() {
    let world = World::new().await;
    three(&world).await;
    let mut idle = world.selected().await;
    idle.talk("C: i IDLE\nS: + …").await;
    let mut c = world.selected().await;
    c.append("INBOX", "", &mail("four")).await;
    idle.talk("S: * 4 EXISTS").await;
    c.talk("C: a STORE 2 +FLAGS.SILENT (\\Deleted)\nS: a OK …\nC: b EXPUNGE\nS: * 2 EXPUNGE\nS: b OK …")
        .await;
    let told = idle.until("* 2 EXPUNGE").await;
    assert!(told.len() <= 2, "{told:?}");
    idle.talk("C: done\nS: i OK …\nC: j IDLE\nS: + …\nC: NOOP\nS: j BAD Expected DONE\nC: k NOOP\nS: k OK …")
        .await;
}

#[tokio::test(start_paused = true)]
async fn idle_is_kept_alive_and_ends() {
    let world = World::new().await;
    let mut c = world.selected().await;
    c.talk("C: i IDLE\nS: + …").await;
    for _ in 0..14 {
        tokio::time::advance(Duration::from_secs(119)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        c.talk("S: * OK Still here").await;
    }
    tokio::time::advance(Duration::from_secs(200)).await;
    c.talk("S: * BYE Autologout…").await;
    c.closed().await;
}

#[tokio::test(start_paused = true)]
async fn condstore() {
    let world = World::new().await;
    three(&world).await;
    let mut c = world.anna().await;
    let lines = c.ask("SELECT INBOX (CONDSTORE)").await;
    let highest = |lines: &[String]| -> u64 {
        let line = lines.iter().find(|l| l.contains("HIGHESTMODSEQ")).expect("a mod-sequence");
        let rest = line.split("HIGHESTMODSEQ ").nth(1).unwrap();
        rest.split(']').next().unwrap().parse().unwrap()
    };
    let before = highest(&lines);
    let lines = c.ask("STORE 2 +FLAGS (\\Seen)").await;
    let after = before + 1;
    assert_eq!(lines[0], format!("* 2 FETCH (FLAGS (\\Seen) MODSEQ ({after}))"));
    c.talk(&format!(
        "C: a FETCH 1:* (FLAGS) (CHANGEDSINCE {before})
         S: * 2 FETCH (FLAGS (\\Seen) MODSEQ ({after}))
         S: a OK …
         C: b STORE 1:3 (UNCHANGEDSINCE {before}) +FLAGS.SILENT (\\Flagged)
         S: * 1 FETCH (MODSEQ ({}))
         S: * 3 FETCH (MODSEQ ({}))
         S: b OK [MODIFIED 2] …
         C: c UID STORE 2 (UNCHANGEDSINCE 0) +FLAGS (\\Flagged)
         S: c OK [MODIFIED 2] …
         C: d SEARCH MODSEQ {}
         S: * SEARCH 1 3 (MODSEQ {})
         S: d OK …
         C: e SEARCH MODSEQ 99999
         S: * SEARCH
         S: e OK …
         C: f SEARCH RETURN (MIN COUNT) MODSEQ {}
         S: * ESEARCH (TAG \"f\") MIN 1 COUNT 2 MODSEQ {}
         S: f OK …
         C: g FETCH 1 (MODSEQ)
         S: * 1 FETCH (MODSEQ ({}))
         S: g OK …",
        after + 1,
        after + 1,
        after + 1,
        after + 1,
        after + 1,
        after + 1,
        after + 1
    ))
    .await;
    let mut other = world.selected().await;
    let lines = other.ask("STATUS INBOX (HIGHESTMODSEQ)").await;
    assert_eq!(lines[0], format!("* OK [HIGHESTMODSEQ {}] Highest mod-sequence", after + 1));
    assert_eq!(lines[1], format!("* STATUS INBOX (HIGHESTMODSEQ {})", after + 1));
}

#[tokio::test(start_paused = true)]
async fn qresync() {
    let world = World::new().await;
    three(&world).await;
    let mut a = world.anna().await;
    a.talk("C: a SELECT INBOX (QRESYNC (1 1))\nS: a BAD …").await;
    a.ask("ENABLE QRESYNC").await;
    let lines = a.ask("SELECT INBOX").await;
    let number = |name: &str| -> u64 {
        let line = lines.iter().find(|l| l.contains(name)).unwrap();
        line.split(name).nth(1).unwrap().trim().split(']').next().unwrap().parse().unwrap()
    };
    let (validity, modseq) = (number("UIDVALIDITY"), number("HIGHESTMODSEQ"));
    let mut b = world.selected().await;
    b.talk(
        "C: a STORE 1 +FLAGS.SILENT (\\Deleted)
         S: a OK …
         C: b STORE 3 +FLAGS.SILENT (\\Seen)
         S: b OK …
         C: c EXPUNGE
         S: * 1 EXPUNGE
         S: c OK …",
    )
    .await;
    let told = a.ask("NOOP").await;
    assert!(told.contains(&"* VANISHED 1".to_owned()), "{told:?}");
    assert!(told.iter().any(|l| l.contains("FETCH (UID 3 FLAGS (\\Seen) MODSEQ (")), "{told:?}");
    let lines = a.ask(&format!("SELECT INBOX (QRESYNC ({validity} {modseq} 1:3))")).await;
    assert!(lines[0].starts_with("* OK [CLOSED]"), "{lines:?}");
    assert!(lines.contains(&"* VANISHED (EARLIER) 1".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|l| l.starts_with("* 2 FETCH (UID 3 FLAGS (\\Seen) MODSEQ (")), "{lines:?}");
    assert!(!lines.iter().any(|l| l.contains("FETCH (UID 2")), "{lines:?}");
    let lines = a.ask(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")).await;
    assert_eq!(lines[0], "* VANISHED (EARLIER) 1");
    assert!(lines[1].starts_with("* 2 FETCH (UID 3 FLAGS (\\Seen) MODSEQ ("), "{lines:?}");
    let lines = a.ask("UID STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    assert!(lines[0].starts_with("* 1 FETCH (UID 2 MODSEQ ("), "{lines:?}");
    let lines = a.ask("EXPUNGE").await;
    assert_eq!(lines[0], "* VANISHED 2");
    assert!(lines[1].starts_with("x OK [HIGHESTMODSEQ "), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_folder_ends_the_others() {
    let world = World::new().await;
    let mut a = world.anna().await;
    let mut b = world.anna().await;
    a.ask("CREATE work").await;
    a.ask("SELECT work").await;
    b.ask("SELECT work").await;
    b.talk("C: a IDLE\nS: + …").await;
    a.talk("C: a DELETE work\nS: * OK [CLOSED] …\nS: a OK …\nC: b NOOP\nS: b OK …").await;
    b.talk("S: * BYE The selected folder was deleted").await;
    b.closed().await;
}
