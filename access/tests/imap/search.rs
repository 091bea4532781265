//! SEARCH, SORT and THREAD.

use crate::world::{World, mail};

async fn world() -> World {
    let world = World::new().await;
    let reply = mail("Re: apples").replace("Date:", "In-Reply-To: <apples@contoso.test>\r\nDate:");
    world.fill(&[&mail("apples"), &mail("pears"), &reply, &mail("plums and pears")]).await;
    world
}

#[tokio::test(start_paused = true)]
async fn by_everything() {
    let world = world().await;
    let mut c = world.selected().await;
    c.ask("STORE 2 +FLAGS (\\Seen fruit)").await;
    for (query, found) in [
        ("ALL", " 1 2 3 4"),
        ("SUBJECT apples", " 1 3"),
        ("OR SUBJECT plums SEEN", " 2 4"),
        ("NOT SUBJECT PEARS", " 1 3"),
        ("UNSEEN", " 1 3 4"),
        ("KEYWORD fruit", " 2"),
        ("KEYWORD unknown", ""),
        ("UNKEYWORD fruit", " 1 3 4"),
        ("2:3 UNSEEN", " 3"),
        ("UID 4:*", " 4"),
        ("UID 9:*", " 4"),
        ("NEW", ""),
        ("OLD", " 1 2 3 4"),
        ("RECENT", ""),
        ("BODY \"from pears\"", " 2"),
        ("TEXT plums", " 4"),
        ("FROM anna TO ben CC x", ""),
        ("FROM anna TO ben", " 1 2 3 4"),
        ("HEADER In-Reply-To \"\"", " 3"),
        ("SENTON 3-Mar-2026 SINCE 1-Jan-2026", " 1 2 3 4"),
        ("BEFORE 3-Mar-2026", ""),
        ("YOUNGER 60", " 1 2 3 4"),
        ("OLDER 60", ""),
        ("LARGER 10 SMALLER 10000", " 1 2 3 4"),
        ("SAVEDSINCE 3-Mar-2026", " 1 2 3 4"),
        ("SAVEDATESUPPORTED", " 1 2 3 4"),
        ("EMAILID nonsense", ""),
        ("CHARSET UTF-8 SUBJECT apples", " 1 3"),
        ("(OR (SUBJECT apples) (SUBJECT pears)) NOT 1", " 2 3 4"),
    ] {
        let lines = c.ask(&format!("SEARCH {query}")).await;
        assert_eq!(lines[0], format!("* SEARCH{found}"), "{query}");
        assert!(lines[1].starts_with("x OK"), "{lines:?}");
    }
    c.talk(
        "C: a SEARCH CHARSET KLINGON ALL
         S: a NO [BADCHARSET (US-ASCII UTF-8)] …
         C: b SEARCH
         S: b BAD …
         C: c UID SEARCH 2
         S: * SEARCH 2
         S: c OK …",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn extended_and_saved() {
    let world = world().await;
    let mut c = world.selected().await;
    c.talk(
        "C: a SEARCH RETURN (MIN MAX COUNT ALL) SUBJECT pears
         S: * ESEARCH (TAG \"a\") MIN 2 MAX 4 COUNT 2 ALL 2,4
         S: a OK …
         C: b UID SEARCH RETURN () ALL
         S: * ESEARCH (TAG \"b\") UID ALL 1:4
         S: b OK …
         C: c SEARCH RETURN (COUNT) SUBJECT nothing
         S: * ESEARCH (TAG \"c\") COUNT 0
         S: c OK …
         C: d SEARCH RETURN (SAVE) SUBJECT pears
         S: d OK …
         C: e FETCH $ UID
         S: * 2 FETCH (UID 2)
         S: * 4 FETCH (UID 4)
         S: e OK …
         C: f UID STORE $ +FLAGS.SILENT (\\Flagged)
         S: f OK …
         C: g SEARCH FLAGGED
         S: * SEARCH 2 4
         S: g OK …
         C: h SEARCH RETURN (SAVE MIN) $
         S: * ESEARCH (TAG \"h\") MIN 2
         S: h OK …
         C: i SEARCH $
         S: * SEARCH 2
         S: i OK …
         C: j COPY $ Trash
         S: j OK [COPYUID … 2 1] …
         C: k SELECT INBOX",
    )
    .await;
    c.until("k OK").await;
    c.talk("C: l FETCH $ UID\nS: l OK …").await;
}

#[tokio::test(start_paused = true)]
async fn sorted_and_threaded() {
    let world = world().await;
    let mut c = world.selected().await;
    c.talk(
        "C: a SORT (SUBJECT) UTF-8 ALL
         S: * SORT 1 3 2 4
         S: a OK …
         C: b UID SORT (REVERSE ARRIVAL) UTF-8 NOT SUBJECT plums
         S: * SORT 1 2 3
         S: b OK …
         C: c SORT RETURN (COUNT ALL) (REVERSE SUBJECT) UTF-8 ALL
         S: * ESEARCH (TAG \"c\") COUNT 4 ALL 4,2,1,3
         S: c OK …
         C: d THREAD REFERENCES UTF-8 ALL
         S: * THREAD (1 3)(2)(4)
         S: d OK …
         C: e UID THREAD ORDEREDSUBJECT US-ASCII SUBJECT apples
         S: * THREAD (1 3)
         S: e OK …
         C: f THREAD REFERENCES UTF-8 SUBJECT nothing
         S: * THREAD
         S: f OK …
         C: g THREAD JWZ UTF-8 ALL
         S: g BAD …
         C: h SORT (DISPLAYFROM SIZE) UTF-8 ALL
         S: * SORT 2 1 …
         S: h OK …",
    )
    .await;
}
