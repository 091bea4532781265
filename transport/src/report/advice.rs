//! What a refusal means to the person who wrote the message, and what they can do.
//!
//! One table, read from the top: the first entry whose status and words fit is taken. Statuses are RFC 3463's with the
//! class left out, since 4.2.2 and 5.2.2 mean the same to a reader. Words are looked for in the server's answer without
//! case; they stand before the bare status, because many servers say 5.7.1 or 5.0.0 for everything and mean their words.

use waypost_smtp::Status;

/// What happened, and what to do about it; two or three sentences of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) what: &'static str,
    pub(crate) todo: &'static str,
}

struct Entry {
    /// Subject and detail; `ANY` stands for every detail.
    status: Option<(u16, u16)>,
    /// One of these is in the server's words; none given: any words.
    words: &'static [&'static str],
    advice: Advice,
}

const ANY: u16 = u16::MAX;

const fn on(subject: u16, detail: u16, what: &'static str, todo: &'static str) -> Entry {
    Entry { status: Some((subject, detail)), words: &[], advice: Advice { what, todo } }
}

const fn words(words: &'static [&'static str], what: &'static str, todo: &'static str) -> Entry {
    Entry { status: None, words, advice: Advice { what, todo } }
}

const UNKNOWN: Advice = Advice {
    what: "There is no mailbox with this address.",
    todo: "Check the address for typing errors, and whether the person still uses it. If your mail program suggested \
           it, delete the suggestion and type the address anew.",
};
const DOMAIN: Advice = Advice {
    what: "The domain of this address does not exist or takes no mail.",
    todo: "Check the part of the address behind the @ for typing errors.",
};
const FULL: Advice = Advice {
    what: "The recipient's mailbox is full.",
    todo: "Send the message again in a day or two, or reach the person another way: they cannot get mail until they \
           have made room.",
};
const CONNECTION: Advice = Advice {
    what: "The server that takes mail for the recipient could not be reached.",
    todo: "Nothing is wrong with your message. If it is urgent, reach the person another way; their administrators can \
           look into it.",
};
const NAMES: Advice = Advice {
    what: "The recipient's domain could not be looked up.",
    todo: "Check the part of the address behind the @ for typing errors. If it is right, nothing is wrong with your \
           message: the domain's name servers do not answer, which its administrators have to mend.",
};

const TABLE: &[Entry] = &[
    // Our own words.
    words(
        &["removed from the queue by"],
        "An administrator took the message out of the queue.",
        "Ask your administrator why, if you do not know; send the message again if it still matters.",
    ),
    words(
        &["matching connector cannot be found"],
        "This server has not been told a way to the recipient's domain: no send connector leads there.",
        "Show this to your administrator: they have to make a send connector. Nothing is wrong with your message.",
    ),
    words(
        &["whether it arrived is not known"],
        "The connection broke off at the very end, so it is not known whether the recipient has the message.",
        "Ask the recipient. Nothing is wrong with your message.",
    ),
    // Words that say more than the code beside them.
    words(
        &["sender address rejected", "sender verify failed", "sender rejected", "invalid sender"],
        "The recipient's server does not accept your address as a sender.",
        "Check that the address you write from is right and can receive mail; otherwise show this report to your \
         administrator.",
    ),
    Entry { status: Some((1, 2)), words: &["domain", "host not found", "nxdomain"], advice: DOMAIN },
    words(
        &["no such domain", "domain not found", "domain does not exist", "host not found"],
        DOMAIN.what,
        DOMAIN.todo,
    ),
    Entry {
        status: None,
        words: &[
            "user unknown",
            "unknown user",
            "no such user",
            "no such recipient",
            "does not exist",
            "user not found",
            "recipient not found",
            "no mailbox here",
            "mailbox unavailable",
            "unknown recipient",
            "invalid recipient",
            "address rejected: unknown",
            "unknown local part",
            "no such mailbox",
            "recipientnotfound",
            "not found by smtp",
        ],
        advice: UNKNOWN,
    },
    Entry {
        status: None,
        words: &[
            "mailbox full",
            "mailbox is full",
            "over quota",
            "overquota",
            "quota exceeded",
            "exceeded storage",
            "out of storage",
        ],
        advice: FULL,
    },
    words(
        &["greylist", "graylist", "greylisted"],
        "The recipient's server asks every new sender to come back a little later.",
        "Nothing is wrong with your message. This usually passes within the hour.",
    ),
    words(
        &[
            "spamhaus",
            "spamcop",
            "barracuda",
            "block list",
            "blocklist",
            "blacklist",
            "blocklisted",
            "dnsbl",
            "rbl",
            "poor reputation",
            "bad reputation",
            "reputation of",
        ],
        "The recipient's server does not take mail from our server, because a list of unwanted senders names it.",
        "You cannot mend this yourself: show this report to your administrator. Until then, reach the person another way.",
    ),
    words(
        &["spf"],
        "The recipient's server says that our server is not named as a sender of your domain (SPF).",
        "Show this report to your administrator, who can add our server to the SPF record of the domain.",
    ),
    words(
        &["dmarc"],
        "The recipient's server could not prove that the message is from your domain, and the domain asks to refuse such mail (DMARC).",
        "Show this report to your administrator. If you wrote under an address of another domain, use your own.",
    ),
    words(
        &["dkim"],
        "The recipient's server found the message's signature (DKIM) missing or broken.",
        "Show this report to your administrator.",
    ),
    words(
        &[
            "reverse dns",
            "ptr record",
            "rdns",
            "fcrdns",
            "no ptr",
            "reverse lookup",
            "cannot find your hostname",
        ],
        "The recipient's server wants the address of our server to have a proper name, and it has none.",
        "Show this report to your administrator, who has to have the reverse DNS entry of the server set.",
    ),
    words(
        &["virus", "malware", "infected"],
        "The recipient's server takes the message for malware.",
        "Look at what you attached, and scan your computer. A harmless file may pass inside a link to where it is stored.",
    ),
    words(
        &["attachment", "file type", "forbidden extension"],
        "The recipient's server does not take an attachment of this kind.",
        "Send the message without the attachment, or give a link to where the file is stored.",
    ),
    words(
        &["spam", "unsolicited", "junk mail", "bulk mail", "content rejected", "message content"],
        "The recipient's server takes the message for unwanted mail.",
        "Word the message in another way, leave out links and large pictures, and send it again; or ask the recipient to allow your address.",
    ),
    words(
        &[
            "relay access denied",
            "relaying denied",
            "relay not permitted",
            "unable to relay",
            "not permitted to relay",
            "relaying not allowed",
            "no relaying",
        ],
        "The server that the recipient's domain names does not accept mail for that domain.",
        "Check the part of the address behind the @. If it is right, the recipient's administrators have to set up their server or their DNS entries.",
    ),
    words(
        &[
            "rate limit",
            "too many messages",
            "too many connections",
            "throttl",
            "too many recipients this hour",
            "sending too fast",
        ],
        "The recipient's server takes only so many messages in a time, and there were more.",
        "Nothing is wrong with your message. Send it again later, to fewer people at a time.",
    ),
    words(
        &[
            "account disabled",
            "account is disabled",
            "mailbox disabled",
            "account inactive",
            "is inactive",
            "account suspended",
            "no longer accepts mail",
            "no longer with",
        ],
        "The recipient's mailbox is switched off.",
        "Ask the recipient for another address.",
    ),
    words(
        &["starttls", "must use tls", "encryption required", "tls required"],
        "The message may only travel encrypted here, and that could not be agreed on.",
        "Show this report to your administrator; sending again will not help by itself.",
    ),
    // Addresses.
    on(1, 1, UNKNOWN.what, UNKNOWN.todo),
    on(1, 2, DOMAIN.what, DOMAIN.todo),
    on(
        1,
        3,
        "This is not a valid mail address.",
        "Check the address: it needs a name, an @ and a domain, without spaces.",
    ),
    on(
        1,
        4,
        "The address stands for more than one mailbox, and the server cannot choose.",
        "Ask the recipient for their exact address.",
    ),
    on(1, 6, "The recipient has moved and left no new address.", "Ask the recipient for their new address."),
    on(
        1,
        7,
        "Your address was not accepted as a sender.",
        "Check the address that your mail program sends from.",
    ),
    on(
        1,
        8,
        "The domain of your address could not be found by the recipient's server.",
        "Check the address that your mail program sends from; if it is right, show this report to your administrator.",
    ),
    on(
        1,
        10,
        "The recipient's domain says that it takes no mail at all.",
        "Check the part of the address behind the @, or ask the recipient for another address.",
    ),
    on(1, ANY, UNKNOWN.what, UNKNOWN.todo),
    // Mailboxes.
    on(
        2,
        1,
        "The recipient's mailbox is switched off or takes no mail.",
        "Ask the recipient for another address.",
    ),
    on(2, 2, FULL.what, FULL.todo),
    on(
        2,
        3,
        "The message is larger than this recipient may receive.",
        "Send a smaller one: leave out attachments, or give links to where they are stored.",
    ),
    on(
        2,
        4,
        "The list of members behind this address could not be read.",
        "Show this report to the owner of the list.",
    ),
    on(
        2,
        ANY,
        "The recipient's mailbox did not take the message.",
        "Send it again later. If it comes back again, ask the recipient to tell their administrator.",
    ),
    // The other server.
    on(
        3,
        1,
        "The recipient's server has no room left.",
        "Nothing is wrong with your message. Send it again in some hours.",
    ),
    on(
        3,
        2,
        "The recipient's server is not taking mail at the moment.",
        "Nothing is wrong with your message. Send it again later.",
    ),
    on(
        3,
        4,
        "The message is too large for the recipient's server.",
        "Send a smaller one: leave out attachments, split them, or give links to where they are stored.",
    ),
    on(
        3,
        5,
        "The recipient's server is not set up for this mail.",
        "Show this report to your administrator, or ask the recipient to tell theirs.",
    ),
    on(
        3,
        ANY,
        "The recipient's server had a fault of its own.",
        "Nothing is wrong with your message. Send it again later.",
    ),
    // The way there.
    on(4, 1, "The server that takes mail for the recipient did not answer.", CONNECTION.todo),
    on(4, 2, "The connection to the server that takes mail for the recipient broke off.", CONNECTION.todo),
    on(4, 3, NAMES.what, NAMES.todo),
    on(4, 4, "No server that takes mail for this domain could be found.", NAMES.todo),
    on(
        4,
        6,
        "The message went round in circles between servers and was stopped.",
        "Show this report to your administrator: somewhere on the way mail is forwarded back to where it came from.",
    ),
    on(4, 7, "The message could not be delivered in the time that it may wait.", CONNECTION.todo),
    on(4, ANY, CONNECTION.what, CONNECTION.todo),
    // What the servers could not agree on.
    on(
        5,
        3,
        "There were more recipients than the other server takes at once.",
        "Send the message again to fewer people at a time.",
    ),
    on(
        5,
        ANY,
        "Our server and the recipient's did not understand each other.",
        "Show this report to your administrator.",
    ),
    // The message itself.
    on(
        6,
        3,
        "The message is in a form that the recipient's server cannot take.",
        "Send it again as plain text, with attachments of usual kinds.",
    ),
    on(
        6,
        7,
        "The message uses addresses with letters beyond ASCII, and the recipient's server cannot handle them.",
        "Write from and to addresses in plain Latin letters, or reach the person another way.",
    ),
    on(
        6,
        11,
        "The message has line ends that mail does not allow.",
        "Send it again with another mail program; this one writes messages wrongly.",
    ),
    on(
        6,
        ANY,
        "The recipient's server could not handle the message's content.",
        "Send it again as plain text.",
    ),
    // Policy.
    on(
        7,
        0,
        "The recipient's server refused the message for reasons of security.",
        "Show this report to your administrator.",
    ),
    on(
        7,
        1,
        "The recipient's server refused the message: you may not send to this address, or the message breaks a rule there.",
        "If the address is a group, ask its owner to let you write to it. Otherwise ask the recipient, by another way, to allow your address.",
    ),
    on(7, 2, "You may not write to this list.", "Ask the owner of the list to let you."),
    on(
        7,
        4,
        "The message may only travel encrypted here, and the recipient's server does not offer that.",
        "Show this report to your administrator; sending again will not help by itself.",
    ),
    on(
        7,
        5,
        "The message may only travel encrypted here, and the recipient's server could not prove who it is.",
        "Show this report to your administrator; sending again will not help by itself.",
    ),
    on(7, 8, "Signing in was needed and did not succeed.", "Show this report to your administrator."),
    on(
        7,
        10,
        "The message may only travel encrypted here, and that could not be agreed on.",
        "Show this report to your administrator.",
    ),
    on(
        7,
        23,
        "The recipient's server says that our server is not named as a sender of your domain (SPF).",
        "Show this report to your administrator, who can add our server to the SPF record of the domain.",
    ),
    on(
        7,
        25,
        "The recipient's server wants the address of our server to have a proper name, and it has none.",
        "Show this report to your administrator, who has to have the reverse DNS entry of the server set.",
    ),
    on(
        7,
        26,
        "The recipient's server could not prove that the message is from your domain.",
        "Show this report to your administrator, who has to look at SPF and DKIM of the domain.",
    ),
    on(
        7,
        ANY,
        "A rule of the recipient's server forbids the message.",
        "Ask the recipient, by another way, to allow your address; or show this report to your administrator.",
    ),
];

const REFUSED: Advice = Advice {
    what: "The recipient's server refused the message.",
    todo: "Its own words are below. If they do not help you, show this report to your administrator.",
};
const LATER: Advice = Advice {
    what: "The recipient's server could not take the message now.",
    todo: "Nothing is wrong with your message.",
};

/// What to tell about this status and these words.
pub(crate) fn advice(status: Status, text: &str) -> Advice {
    let text = text.to_lowercase();
    let Status(class, subject, detail) = status;
    let fits = |entry: &&Entry| {
        let by_status = entry.status.is_none_or(|(s, d)| s == subject && (d == ANY || d == detail));
        by_status && (entry.words.is_empty() || entry.words.iter().any(|word| contains(&text, word)))
    };
    match TABLE.iter().find(fits) {
        Some(entry) => entry.advice,
        None if class == 4 => LATER,
        None => REFUSED,
    }
}

/// A word as a whole: "spf" is not in "crispfish". Stems such as "throttl" may go on.
fn contains(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
        let stem = word.len() > 5;
        !before.is_some_and(char::is_alphanumeric) && (stem || !after.is_some_and(char::is_alphanumeric))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_before_codes_and_codes_before_nothing() {
        let what = |status, text| advice(status, text).what;
        assert_eq!(what(Status(5, 0, 0), "550 No such user here"), UNKNOWN.what);
        assert_eq!(what(Status(5, 7, 1), "Recipient address rejected: User unknown in table"), UNKNOWN.what);
        assert_eq!(what(Status(5, 2, 2), "no"), FULL.what);
        assert_eq!(what(Status(4, 2, 2), "Over Quota"), FULL.what);
        assert_eq!(what(Status(5, 1, 99), "?"), UNKNOWN.what);
        assert!(what(Status(4, 7, 1), "Greylisted, see example").contains("come back"));
        assert!(what(Status(5, 7, 1), "blocked using zen.spamhaus.org").contains("list of unwanted senders"));
        assert!(what(Status(5, 7, 23), "validation").contains("SPF"));
        assert!(what(Status(4, 4, 1), "").contains("did not answer"));
        assert!(what(Status(4, 4, 3), "SERVFAIL").contains("looked up"));
        assert!(what(Status(5, 6, 7), "").contains("ASCII"));
        assert_eq!(what(Status(5, 1, 2), "the domain example.net does not exist"), DOMAIN.what);
        assert!(what(Status(4, 1, 8), "Sender address rejected: Domain not found").contains("as a sender"));
        assert!(what(Status(5, 7, 0), "removed from the queue by ann").contains("administrator"));
        assert_eq!(what(Status(5, 0, 0), "crispfish"), REFUSED.what);
        assert_eq!(what(Status(4, 0, 0), ""), LATER.what);
    }

    #[test]
    fn every_entry_is_a_sentence_and_can_be_reached() {
        for (number, entry) in TABLE.iter().enumerate() {
            let Advice { what, todo } = entry.advice;
            assert!(what.ends_with('.') && todo.ends_with('.'), "{what} {todo}");
            let (subject, detail) = entry.status.unwrap_or((0, 0));
            let detail = if detail == ANY { 99 } else { detail };
            let first = advice(Status(5, subject, detail), entry.words.first().copied().unwrap_or(""));
            assert_eq!(first, entry.advice, "entry {number} is hidden by an earlier one");
            assert!(entry.words.iter().all(|w| *w == w.to_lowercase()), "{:?}", entry.words);
        }
    }
}
