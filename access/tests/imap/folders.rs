//! SELECT, LIST and everything else about folders.

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn select_tells_what_there_is() {
    let world = World::new().await;
    world.fill(&["Subject: x\r\n\r\n"]).await;
    let mut c = world.anna().await;
    c.talk(
        "C: a SELECT inbox
         S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft…)
         S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft …\\*)] …
         S: * 1 EXISTS
         S: * 0 RECENT
         S: * OK [UNSEEN 1] …
         S: * OK [UIDVALIDITY …] …
         S: * OK [UIDNEXT 2] …
         S: * OK [HIGHESTMODSEQ …] …
         S: * OK [MAILBOXID (F…)] …
         S: a OK [READ-WRITE] …
         C: b SELECT nowhere
         S: * OK [CLOSED] …
         S: b NO [NONEXISTENT] …
         C: c FETCH 1 FLAGS
         S: c BAD No folder is selected
         C: d ENABLE IMAP4rev2
         S: * ENABLED IMAP4rev2
         S: d OK …
         C: e EXAMINE INBOX
         S: * FLAGS (…)
         S: * OK [PERMANENTFLAGS ()] …
         S: * 1 EXISTS
         S: * OK [UIDVALIDITY …] …
         S: * OK [UIDNEXT 2] …
         S: * OK [HIGHESTMODSEQ …] …
         S: * OK [MAILBOXID (F…)] …
         S: * LIST () \"/\" INBOX
         S: e OK [READ-ONLY] …
         C: f SEARCH ALL
         S: * ESEARCH (TAG \"f\") ALL 1
         S: f OK …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn making_and_unmaking() {
    let world = World::new().await;
    let mut c = world.anna().await;
    c.talk(
        "C: a CREATE work/2026/march
         S: a OK [MAILBOXID (F…)] Folder created
         C: b CREATE work
         S: b NO [ALREADYEXISTS] …
         C: c CREATE inbox
         S: c NO [ALREADYEXISTS] …
         C: d DELETE nowhere
         S: d NO [NONEXISTENT] …
         C: e DELETE INBOX
         S: e NO [CANNOT] …
         C: f RENAME work/2026 old
         S: f OK …
         C: g LIST \"\" %
         S: * LIST (\\HasNoChildren \\Archive) \"/\" Archive
         S: * LIST (\\HasNoChildren \\Drafts) \"/\" Drafts
         S: * LIST (\\HasNoChildren) \"/\" INBOX
         S: * LIST (\\HasNoChildren \\Junk) \"/\" Junk
         S: * LIST (\\HasNoChildren \\Sent) \"/\" Sent
         S: * LIST (\\HasNoChildren \\Trash) \"/\" Trash
         S: * LIST (\\HasChildren) \"/\" old
         S: * LIST (\\HasNoChildren) \"/\" work
         S: g OK …
         C: h LIST \"\" *march
         S: * LIST (\\HasNoChildren) \"/\" old/march
         S: h OK …
         C: i DELETE old
         S: i OK …
         C: j LIST \"\" old*
         S: * LIST (\\Noselect \\HasChildren) \"/\" old
         S: * LIST (\\HasNoChildren) \"/\" old/march
         S: j OK …
         C: k SELECT old
         S: k NO [NONEXISTENT] …
         C: l DELETE old
         S: l NO [HASCHILDREN] …
         C: m CREATE x (USE (\\Sent))
         S: m NO [USEATTR] …
         C: n CREATE x (USE (\\Important))
         S: n OK [MAILBOXID (F…)] …
         C: o LIST (SPECIAL-USE) \"\" *
         S: * LIST (\\HasNoChildren \\Archive) \"/\" Archive
         S: * LIST (\\HasNoChildren \\Drafts) \"/\" Drafts
         S: * LIST (\\HasNoChildren \\Junk) \"/\" Junk
         S: * LIST (\\HasNoChildren \\Sent) \"/\" Sent
         S: * LIST (\\HasNoChildren \\Trash) \"/\" Trash
         S: * LIST (\\HasNoChildren \\Important) \"/\" x
         S: o OK …
         C: p LIST \"\" \"\"
         S: * LIST (\\Noselect) \"/\" \"\"
         S: p OK …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn subscriptions() {
    let world = World::new().await;
    let mut c = world.anna().await;
    for name in ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"] {
        c.ask(&format!("UNSUBSCRIBE {name}")).await;
    }
    c.talk(
        "C: a CREATE a/b/c
         S: a OK …
         C: b SUBSCRIBE a/b
         S: b OK …
         C: c SUBSCRIBE gone/away
         S: c OK …
         C: d LSUB \"\" *
         S: * LSUB () \"/\" a/b
         S: * LSUB () \"/\" gone/away
         S: d OK …
         C: e LSUB \"\" %
         S: * LSUB (\\Noselect) \"/\" a
         S: * LSUB (\\Noselect) \"/\" gone
         S: e OK …
         C: f LIST (SUBSCRIBED) \"\" *
         S: * LIST (\\HasChildren \\Subscribed) \"/\" a/b
         S: * LIST (\\NonExistent \\Subscribed) \"/\" gone/away
         S: f OK …
         C: g LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %
         S: * LIST (\\HasChildren) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))
         S: g OK …
         C: h LIST \"\" (a a/b) RETURN (SUBSCRIBED CHILDREN)
         S: * LIST (\\HasChildren) \"/\" a
         S: * LIST (\\HasChildren \\Subscribed) \"/\" a/b
         S: h OK …
         C: i LIST (RECURSIVEMATCH) \"\" *
         S: i BAD …
         C: j UNSUBSCRIBE a/b
         S: j OK …
         C: k LSUB \"\" a*
         S: k OK …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn status() {
    let world = World::new().await;
    world.fill(&["Subject: x\r\n\r\n", "Subject: y\r\n\r\n"]).await;
    let mut c = world.anna().await;
    c.talk(
        "C: a STATUS INBOX (MESSAGES RECENT UIDNEXT UNSEEN DELETED SIZE APPENDLIMIT DELETED-STORAGE)
         S: * STATUS INBOX (MESSAGES 2 RECENT 0 UIDNEXT 3 UNSEEN 2 DELETED 0 SIZE 28 APPENDLIMIT 157286400 DELETED-STORAGE 0)
         S: a OK …
         C: b STATUS nowhere (MESSAGES)
         S: b NO [NONEXISTENT] …
         C: c LIST \"\" INBOX RETURN (STATUS (MESSAGES UNSEEN))
         S: * LIST (\\HasNoChildren) \"/\" INBOX
         S: * STATUS INBOX (MESSAGES 2 UNSEEN 2)
         S: c OK …
         C: d SELECT INBOX",
    )
    .await;
    c.until("d OK").await;
    c.talk(
        "C: e STORE 1 +FLAGS.SILENT (\\Deleted)
         S: e OK …
         C: f STATUS INBOX (DELETED DELETED-STORAGE MAILBOXID)
         S: * STATUS INBOX (DELETED 1 DELETED-STORAGE 14 MAILBOXID (F…))
         S: f OK …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn renaming_the_inbox_empties_it() {
    let world = World::new().await;
    world.fill(&["Subject: x\r\n\r\n"]).await;
    let mut c = world.anna().await;
    c.talk(
        "C: a RENAME INBOX past
         S: a OK …
         C: b STATUS INBOX (MESSAGES)
         S: * STATUS INBOX (MESSAGES 0)
         S: b OK …
         C: c STATUS past (MESSAGES)
         S: * STATUS past (MESSAGES 1)
         S: c OK …",
    )
    .await;
}
