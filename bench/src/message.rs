//! Messages as people send them: a usual header block and text of words, so that compression and parsing do real work.

const WORDS: &[&str] = &[
    "invoice", "meeting", "the", "a", "of", "please", "find", "attached", "regards", "quarter", "report",
    "and", "to", "schedule", "update", "server", "delivery", "order", "number", "we", "will", "send",
    "tomorrow", "customer", "is", "are", "contract", "question", "about", "price", "list", "team", "project",
    "review", "next", "week", "thanks",
];

/// A small deterministic generator; the quality of its randomness does not matter.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A message of about `size` bytes with CRLF line ends.
pub fn compose(number: u64, size: usize) -> Vec<u8> {
    let mut dice = Dice::new(number + 1);
    let mut out = format!(
        "From: Sender {n} <sender{n}@example.net>\r\nTo: Someone <someone@contoso.test>\r\n\
         Subject: {w} {w2} number {n}\r\nDate: Tue, 3 Mar 2026 08:{m:02}:{s:02} +0000\r\n\
         Message-ID: <{n}.{r:x}@example.net>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\
         X-Mailer: load\r\n\r\n",
        n = number,
        w = WORDS[dice.roll() as usize % WORDS.len()],
        w2 = WORDS[dice.roll() as usize % WORDS.len()],
        m = number / 60 % 60,
        s = number % 60,
        r = dice.roll(),
    )
    .into_bytes();
    let mut column = 0;
    while out.len() + 12 < size {
        // One word in four is a number of its own, so that the text does not compress like a toy.
        let roll = dice.roll();
        let word = if roll.is_multiple_of(4) {
            format!("{:x}", roll >> 24)
        } else {
            WORDS[roll as usize % WORDS.len()].to_owned()
        };
        out.extend_from_slice(word.as_bytes());
        column += word.len() + 1;
        if column > 68 {
            out.extend_from_slice(b"\r\n");
            column = 0;
        } else {
            out.push(b' ');
        }
    }
    out.extend_from_slice(b"\r\nend\r\n");
    out
}
