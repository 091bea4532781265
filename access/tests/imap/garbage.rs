//! Whatever comes, the session answers or says goodbye; it never panics and never hangs.

use crate::world::{World, mail};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Commands to be mangled.
const SEEDS: [&str; 24] = [
    "a SELECT INBOX\r\n",
    "b FETCH 1:* (UID FLAGS BODY[HEADER.FIELDS (Subject)]<0.20> BINARY.SIZE[1])\r\n",
    "c UID STORE 1:2 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen x)\r\n",
    "d SEARCH RETURN (SAVE MIN ALL) OR (SUBJECT one) NOT UID 3:*\r\n",
    "e SORT (REVERSE DATE SUBJECT) UTF-8 TEXT Hello\r\n",
    "f THREAD REFERENCES UTF-8 ALL\r\n",
    "g APPEND INBOX (\\Seen) {6+}\r\nA: b\r\n {3+}\r\nx\r\n\r\n",
    "h LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% INBOX) RETURN (STATUS (MESSAGES SIZE))\r\n",
    "i COPY $ Trash\r\n",
    "j UID MOVE 1 Archive\r\n",
    "k EXPUNGE\r\n",
    "l IDLE\r\nDONE\r\n",
    "m ENABLE QRESYNC IMAP4rev2 UTF8=ACCEPT\r\n",
    "n SELECT INBOX (QRESYNC (1 2 1:3 (1 1)))\r\n",
    "o CREATE a/b\r\n",
    "p RENAME a c\r\n",
    "q DELETE c/b\r\n",
    "r STATUS INBOX (MESSAGES HIGHESTMODSEQ)\r\n",
    "s LOGIN {4}\r\nanna {6}\r\nsecret\r\n",
    "t AUTHENTICATE PLAIN\r\nAGFubmEAc2VjcmV0\r\n",
    "u FETCH 2:1 (ENVELOPE BODYSTRUCTURE PREVIEW MODSEQ) (CHANGEDSINCE 1)\r\n",
    "v UNSELECT\r\n",
    "w LSUB \"\" *\r\n",
    "x ID (\"a\" NIL)\r\n",
];

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(SEEDS.to_vec()).prop_map(|s| s.as_bytes().to_vec());
    let mangled = (prop::sample::select(SEEDS.to_vec()), any::<prop::sample::Index>(), any::<u8>(), 0..3u8)
        .prop_map(|(seed, at, byte, how)| {
            let mut bytes = seed.as_bytes().to_vec();
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
            bytes
        });
    prop_oneof![4 => whole, 4 => mangled, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_panics_or_hangs(pieces in prop::collection::vec(piece(), 1..16), cut in 1..40usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            world.fill(&[&mail("one"), &mail("two")]).await;
            let client = world.anna().await;
            let (mut from, mut to) = tokio::io::split(client.stream);
            let all = pieces.concat();
            let reading = async {
                let mut got = Vec::new();
                from.read_to_end(&mut got).await.unwrap();
                got
            };
            let writing = async {
                for part in all.chunks(cut) {
                    if to.write_all(part).await.is_err() {
                        break;
                    }
                }
                // Then silence: at the latest autologout ends it.
                to.flush().await
            };
            let (got, _) = tokio::join!(reading, writing);
            assert!(!got.is_empty(), "the session died without a word");
            let figures = world.service.figures();
            let open = figures.iter().find(|f| f.name == "imap_sessions").unwrap();
            assert_eq!(open.value, 0.0);
        });
    }
}
