//! Several sessions change one folder at once, at random. Each must be told a story that makes sense by itself, and in the
//! end all must have been told the same.

use crate::world::{Client, World, mail};

/// A small generator, so that a failure replays from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What a client believes, from what it was told: the UID of each message, where it has heard of it.
#[derive(Default)]
struct Belief {
    uids: Vec<Option<u32>>,
}

impl Belief {
    fn hear(&mut self, line: &str, expunges: bool) {
        let words: Vec<&str> = line.split([' ', '(', ')']).filter(|w| !w.is_empty()).collect();
        let ["*", number, what, rest @ ..] = words.as_slice() else { return };
        let Ok(number) = number.parse::<usize>() else { return };
        match *what {
            "EXISTS" => {
                assert!(number >= self.uids.len(), "{line}: there were {}", self.uids.len());
                self.uids.resize(number, None);
            }
            "EXPUNGE" => {
                assert!(expunges, "{line}: not now");
                assert!(number >= 1 && number <= self.uids.len(), "{line}: there were {}", self.uids.len());
                self.uids.remove(number - 1);
            }
            "FETCH" => {
                assert!(number >= 1 && number <= self.uids.len(), "{line}: there were {}", self.uids.len());
                if let Some(at) = rest.iter().position(|w| *w == "UID") {
                    let uid: u32 = rest[at + 1].parse().unwrap();
                    let known = &mut self.uids[number - 1];
                    assert!(known.is_none_or(|k| k == uid), "{line}: that was {known:?}");
                    *known = Some(uid);
                }
            }
            _ => {}
        }
    }
}

async fn act(client: &mut Client, belief: &mut Belief, dice: &mut Dice) {
    let count = belief.uids.len() as u64;
    let some = 1 + dice.roll(count.max(1));
    let (command, expunges) = match dice.roll(12) {
        0 | 1 => (format!("UID STORE {}:* +FLAGS (\\Deleted)", 1 + dice.roll(40)), true),
        2 if count > 0 => (format!("STORE {some} -FLAGS (\\Deleted)"), false),
        3 if count > 0 => (format!("STORE {some} +FLAGS (\\Deleted)"), false),
        4 => ("EXPUNGE".to_owned(), true),
        5 => (format!("UID EXPUNGE 1:{}", 1 + dice.roll(60)), true),
        6 if count > 0 => (format!("COPY {some} INBOX"), true),
        7 if count > 0 => (format!("MOVE {some} Archive"), true),
        8 if count > 0 => (format!("FETCH 1:{some} (UID FLAGS)"), false),
        9 => ("UID FETCH 1:* (FLAGS)".to_owned(), true),
        10 => {
            let text = mail("more");
            (format!("APPEND INBOX {{{}+}}\r\n{text}", text.len()), true)
        }
        11 if count > 0 => (format!("SEARCH {some}"), false),
        _ => ("NOOP".to_owned(), true),
    };
    for line in client.ask(&command).await {
        assert!(!line.starts_with("x BAD"), "{command}: {line}");
        belief.hear(&line, expunges);
    }
}

async fn sessions(seed: u64, rounds: usize) {
    let world = World::new().await;
    world.fill(&[&mail("one"), &mail("two"), &mail("three"), &mail("four"), &mail("five")]).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(world.selected().await);
    }
    let mut tasks = Vec::new();
    for (n, mut client) in (0..).zip(clients) {
        let mut belief = Belief { uids: vec![None; 5] };
        let mut dice = Dice(seed * 31 + n);
        tasks.push(tokio::spawn(async move {
            for _ in 0..rounds {
                act(&mut client, &mut belief, &mut dice).await;
            }
            (client, belief)
        }));
    }
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    let mut ends = Vec::new();
    for (client, belief) in &mut done {
        for command in ["NOOP", "FETCH 1:* (UID FLAGS)"] {
            let lines = client.ask(command).await;
            lines.iter().for_each(|line| belief.hear(line, command == "NOOP"));
            if command != "NOOP" {
                let mut told = lines;
                told.retain(|l| l.starts_with("* "));
                assert_eq!(told.len(), belief.uids.len());
                ends.push(told);
            }
        }
    }
    for end in &ends {
        assert_eq!(end, &ends[0], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_agree_in_turns() {
    for seed in 0..12 {
        sessions(seed, 60).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_agree_side_by_side() {
    for seed in 100..106 {
        sessions(seed, 80).await;
    }
}
