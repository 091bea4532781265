use super::*;

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("waypost-mail-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

type Read = (Vec<(Start, String)>, Vec<(String, String)>);

fn read(path: &Path) -> Read {
    let (mut messages, mut skipped) = (Vec::new(), Vec::new());
    let mut open: Option<(Start, Vec<u8>)> = None;
    let source = Source::open(path, None).unwrap();
    let mut total = 0;
    source
        .read(&mut |piece| {
            match piece {
                Piece::Start(start) => open = Some((start, Vec::new())),
                Piece::Bytes(bytes) => open.as_mut().unwrap().1.extend(bytes),
                Piece::End => {
                    let (start, bytes) = open.take().unwrap();
                    messages.push((start, String::from_utf8(bytes).unwrap()));
                }
                Piece::Skip { what, why } => {
                    open = None;
                    skipped.push((what, why));
                }
                Piece::Progress(n) => total += n,
            }
            true
        })
        .unwrap();
    assert!(total <= source.bytes);
    (messages, skipped)
}

#[test]
fn mbox() {
    let folder = folder("mbox");
    let path = folder.join("box");
    let text = "From adele@contoso.test Tue Mar  3 08:15:20 2026\nSubject: one\nStatus: RO\nX-Status: AF\n\nHello\n\
                From here on\n>From there\n>>From afar\n\n\nFrom lee Tue Mar  3 08:15:21 +0000 2026\nSubject: two\n\nbye\n\n\
                From nobody Tue Mar  3 08:15:22 2026\n\nFrom x\nno header end\n";
    fs::write(&path, text).unwrap();
    let (messages, skipped) = read(&path);
    assert_eq!(messages.len(), 3);
    assert_eq!(
        messages[0].1,
        "Subject: one\r\nStatus: RO\r\nX-Status: AF\r\n\r\nHello\r\nFrom here on\r\nFrom there\r\n>From afar\r\n\r\n"
    );
    assert_eq!(messages[0].0.internal, Some(Timestamp(1_772_525_720_000)));
    assert_eq!(messages[0].0.flags, Flags::SEEN.with(Flags::ANSWERED).with(Flags::FLAGGED));
    assert_eq!(messages[1].1, "Subject: two\r\n\r\nbye\r\n");
    assert_eq!(messages[1].0.internal, Some(Timestamp(1_772_525_721_000)));
    assert_eq!(messages[2].1, "no header end\r\n");
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].1, "is empty");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn mbox_round_trip() {
    let folder = folder("mboxrt");
    let bodies = ["Subject: x\n\nFrom me\n>From you\n\n", "Subject: y\n\nno end", "Subject: z\n\n"];
    for size in [1, 3, 7, 1000] {
        let mut writer = MboxWriter::new(Vec::new());
        for body in bodies {
            writer.start(Timestamp(1_772_525_720_000)).unwrap();
            body.as_bytes().chunks(size).for_each(|c| writer.write(c).unwrap());
            writer.end().unwrap();
        }
        let bytes = writer.finish().unwrap();
        let path = folder.join("box");
        fs::write(&path, bytes).unwrap();
        let (messages, skipped) = read(&path);
        let texts: Vec<String> = messages.iter().map(|(_, t)| t.replace("\r\n", "\n")).collect();
        // A message without an end of line gets one: the format cannot say otherwise.
        assert_eq!(
            texts,
            ["Subject: x\n\nFrom me\n>From you\n\n", "Subject: y\n\nno end\n", "Subject: z\n\n"],
            "{size}"
        );
        assert!(skipped.is_empty());
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn maildir_round_trip() {
    let root = folder("maildir");
    let writer = MaildirWriter::new(&root);
    let internal = Timestamp(1_772_525_720_000);
    for (path, uid, flags) in
        [("", 1, Flags::SEEN), ("Work/v1.2 Entwürfe", 2, Flags::FLAGGED.with(Flags::DRAFT))]
    {
        let folder = writer.folder(path).unwrap();
        let name = file_name(internal, 7, uid, 10, flags, uid == 2);
        let (mut file, temporary) = writer.start(&folder, &name).unwrap();
        std::io::Write::write_all(&mut file, b"Subject: x\n\n").unwrap();
        writer.done(file, &temporary, &folder, &name, internal).unwrap();
    }
    fs::write(root.join("new/17.fresh"), "Subject: new\n\n").unwrap();
    fs::write(root.join("new/18.empty"), "").unwrap();
    let (messages, skipped) = read(&root);
    let folders: Vec<&str> = messages.iter().map(|(s, _)| s.folder.as_str()).collect();
    assert_eq!(folders, ["", "", "Work/v1.2 Entwürfe"]);
    assert_eq!(messages[0].0.flags, Flags::SEEN);
    assert_eq!(messages[0].0.internal, Some(internal));
    assert_eq!(messages[2].0.flags, Flags::FLAGGED.with(Flags::DRAFT));
    assert_eq!(messages[2].0.keywords, ["$Forwarded"]);
    assert_eq!(messages[2].1, "Subject: x\r\n\r\n");
    assert_eq!(skipped.len(), 1);
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn eml_folders() {
    let root = folder("eml");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("a.eml"), "Subject: a\r\n\r\nbody").unwrap();
    fs::write(root.join("sub/b.EML"), "Subject: b\n\n").unwrap();
    fs::write(root.join("notes.txt"), "x").unwrap();
    let (messages, skipped) = read(&root);
    assert_eq!(messages[0].1, "Subject: a\r\n\r\nbody");
    assert_eq!((messages[1].0.key.as_str(), messages[1].0.folder.as_str()), ("sub/b.EML", "sub"));
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].1.contains("not an .eml"));
    assert_eq!(Source::open(&root.join("a.eml"), None).unwrap().layout, Layout::Eml);
    fs::remove_dir_all(&root).unwrap();
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever lies in a mailbox comes back from an mbox file, save for a missing end of line.
    #[test]
    fn mbox_gives_back(bodies in proptest::collection::vec("[>From \n\r:a]{1,40}", 1..5)) {
        let mut writer = MboxWriter::new(Vec::new());
        let mut wanted = Vec::new();
        for body in &bodies {
            let body = format!("A: b\n{body}").replace('\r', "");
            writer.start(Timestamp(0)).unwrap();
            writer.write(body.as_bytes()).unwrap();
            writer.end().unwrap();
            let end = if body.ends_with('\n') { "" } else { "\n" };
            wanted.push(format!("{body}{end}").replace('\n', "\r\n"));
        }
        let folder = folder("mboxany");
        let path = folder.join("box");
        fs::write(&path, writer.finish().unwrap()).unwrap();
        let (messages, skipped) = read(&path);
        fs::remove_dir_all(&folder).unwrap();
        let texts: Vec<String> = messages.into_iter().map(|(_, t)| t).collect();
        proptest::prop_assert_eq!(texts, wanted);
        proptest::prop_assert!(skipped.is_empty());
    }
}
