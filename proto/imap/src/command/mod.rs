//! What a client asks: one [`Command`] for each tagged line, as types that hold only what the grammar allows.
//!
//! Contract: parsing never panics, never allocates more than a small multiple of its input, and never looks further
//! than the bytes that [`crate::frame`] handed over. APPEND and REPLACE carry a message that is streamed and never
//! collected, so they are read from their head by [`parse_append`], not by [`parse`].

mod append;
mod error;
mod fetch;
mod folder;
mod list;
mod parser;
mod printer;
mod quota;
mod search;
mod session;
mod sort;
mod store;

pub use append::{parse_append, parse_append_end, parse_append_next};
pub use error::{ParseError, Problem};
pub use search::CHARSETS;
pub use session::{SaslResponse, is_done, sasl_response};

use parser::Parser;
use printer::Printer;

use crate::value::{Date, DateTime, Flag, FolderName, Secret, SequenceSet, Tag};

/// One complete command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub tag: Tag,
    pub body: Body,
}

/// What is asked. The section of RFC 9051 is named where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// §6.1.1
    Capability,
    /// §6.1.2
    Noop,
    /// §6.1.3
    Logout,
    /// RFC 2971 §3.1. `None` is NIL; names are as sent.
    Id(Option<Vec<(String, Option<String>)>>),
    /// §6.2.1
    StartTls,
    /// §6.2.2. The mechanism in upper case; the initial response of SASL-IR is decoded, `=` is `Some` of nothing.
    Authenticate { mechanism: String, initial: Option<Secret> },
    /// §6.2.3
    Login { user: String, password: Secret },
    /// §6.3.1. Capability names in upper case, as sent otherwise: unknown ones are to be ignored.
    Enable(Vec<String>),
    /// §6.3.2 and §6.3.3
    Select(Select),
    /// §6.3.4, RFC 6154 §3
    Create { folder: FolderName, special_use: Vec<SpecialUse> },
    /// §6.3.5
    Delete(FolderName),
    /// §6.3.6
    Rename { from: FolderName, to: FolderName },
    /// §6.3.7
    Subscribe(FolderName),
    /// §6.3.8
    Unsubscribe(FolderName),
    /// §6.3.9
    List(List),
    /// RFC 3501 §6.3.9
    Lsub { reference: FolderName, pattern: FolderName },
    /// §6.3.10
    Namespace,
    /// §6.3.11
    Status { folder: FolderName, items: Vec<StatusItem> },
    /// §6.3.13. What ends it is a line, not a command: see [`is_done`].
    Idle,
    /// RFC 9208 §4.1.1
    GetQuota(String),
    /// RFC 9208 §4.1.2
    GetQuotaRoot(FolderName),
    /// RFC 9208 §4.1.3. Resource names in upper case.
    SetQuota { root: String, limits: Vec<(String, u64)> },
    /// RFC 4978 §3. The algorithm in upper case; only DEFLATE exists.
    Compress(String),
    /// RFC 3501 §6.4.1
    Check,
    /// §6.4.1
    Close,
    /// §6.4.2
    Unselect,
    /// §6.4.3; with a set it is UID EXPUNGE of §6.4.9.
    Expunge { uids: Option<SequenceSet> },
    /// §6.4.4
    Search(Search),
    /// RFC 5256 §3
    Sort(Sort),
    /// RFC 5256 §3
    Thread(Thread),
    /// §6.4.5
    Fetch(Fetch),
    /// §6.4.6
    Store(Store),
    /// §6.4.7
    Copy { uid: bool, set: SequenceSet, folder: FolderName },
    /// §6.4.8
    Move { uid: bool, set: SequenceSet, folder: FolderName },
}

/// SELECT or EXAMINE with the parameters of RFC 7162.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    pub folder: FolderName,
    /// EXAMINE.
    pub read_only: bool,
    /// RFC 7162 §3.1.8
    pub condstore: bool,
    pub qresync: Option<Qresync>,
}

/// RFC 7162 §3.2.5: what the client remembers of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qresync {
    pub uid_validity: u32,
    pub mod_seq: u64,
    pub known_uids: Option<SequenceSet>,
    /// Sequence numbers and the UIDs they stood for, of equal length, ascending.
    pub sequence_match: Option<(SequenceSet, SequenceSet)>,
}

/// RFC 6154 §2, `\All` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialUse {
    All,
    Archive,
    Drafts,
    Flagged,
    Important,
    Junk,
    Sent,
    Trash,
}

impl SpecialUse {
    /// As it stands on the wire, with the backslash.
    pub fn as_str(self) -> &'static str {
        match self {
            SpecialUse::All => "\\All",
            SpecialUse::Archive => "\\Archive",
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Flagged => "\\Flagged",
            SpecialUse::Important => "\\Important",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Trash => "\\Trash",
        }
    }
}

/// LIST in all forms of §6.3.9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Whether the extended form was used: a selection, several patterns, or RETURN. Without it an empty pattern asks for
    /// the hierarchy delimiter.
    pub extended: bool,
    pub selection: ListSelection,
    pub reference: FolderName,
    /// With `*` and `%` as wildcards.
    pub patterns: Vec<FolderName>,
    pub returns: ListReturn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListSelection {
    pub subscribed: bool,
    pub remote: bool,
    pub recursive_match: bool,
    /// RFC 6154 §5.2
    pub special_use: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListReturn {
    pub subscribed: bool,
    pub children: bool,
    pub special_use: bool,
    /// RFC 5819; empty when not asked for.
    pub status: Vec<StatusItem>,
}

/// §6.3.11, RFC 7162, 7889, 8438, 8474, 9208.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    Size,
    HighestModSeq,
    MailboxId,
    AppendLimit,
    DeletedStorage,
}

/// The head of an APPEND or REPLACE, up to and including the announcement of its first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub tag: Tag,
    pub folder: FolderName,
    /// RFC 8508: the message that the new one takes the place of.
    pub replace: Option<Replace>,
    pub message: AppendMessage,
}

/// RFC 8508 §3.2 and §3.5
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    pub uid: bool,
    pub set: SequenceSet,
}

/// What precedes a message's bytes in APPEND; further ones follow in MULTIAPPEND (RFC 3502).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendMessage {
    pub flags: Vec<Flag>,
    pub date: Option<DateTime>,
    /// Bytes that follow.
    pub size: u64,
    /// `~{n}`: may hold NUL (RFC 3516 §4.4).
    pub binary: bool,
    /// `UTF8 (~{n}…)` of RFC 6855 §4: a closing parenthesis follows the message.
    pub utf8: bool,
    /// The client waits for `+` before sending.
    pub synchronising: bool,
}

/// SEARCH and UID SEARCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    pub uid: bool,
    /// `None`: no RETURN, so rev1 clients get an untagged SEARCH (rev2: ESEARCH ALL).
    pub returns: Option<SearchReturn>,
    /// The command said which charset it is in, which it must not after ENABLE UTF8=ACCEPT (RFC 6855 §3).
    pub names_charset: bool,
    pub key: SearchKey,
}

/// §6.4.4 RETURN, and RFC 5267's subset. All false: `RETURN ()`, which means ALL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchReturn {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
    pub save: bool,
}

/// What messages must satisfy. Text is UTF-8 whatever the CHARSET was; other charsets are refused while parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    All,
    /// Parenthesised, or the whole of the command: all must hold. Never empty.
    And(Vec<SearchKey>),
    Or(Box<SearchKey>, Box<SearchKey>),
    Not(Box<SearchKey>),
    /// Message numbers, or `$`.
    Sequence(SequenceSet),
    Uid(SequenceSet),
    /// ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, KEYWORD and RECENT.
    Flag(Flag),
    /// UNANSWERED … UNKEYWORD, and OLD (not recent).
    NotFlag(Flag),
    /// RECENT but not SEEN (RFC 3501).
    New,
    Bcc(String),
    Cc(String),
    From(String),
    To(String),
    Subject(String),
    /// Field name and text; an empty text asks for the field's presence.
    Header(String, String),
    Body(String),
    Text(String),
    /// Internal date; times and zones are disregarded.
    Before(Date),
    On(Date),
    Since(Date),
    /// The Date field.
    SentBefore(Date),
    SentOn(Date),
    SentSince(Date),
    /// RFC 8514
    SavedBefore(Date),
    SavedOn(Date),
    SavedSince(Date),
    SaveDateSupported,
    /// Bytes.
    Larger(u64),
    Smaller(u64),
    /// RFC 5032: seconds before now.
    Older(u32),
    Younger(u32),
    /// RFC 7162 §3.1.5: mod-sequence at least this. The entry name is syntax only: no flag has its own here.
    ModSeq(u64),
    /// RFC 8474 §4.3
    EmailId(String),
    ThreadId(String),
}

/// SORT and UID SORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    pub uid: bool,
    /// RFC 5267 §3 (ESORT).
    pub returns: Option<SearchReturn>,
    /// Never empty.
    pub criteria: Vec<SortCriterion>,
    pub key: SearchKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortCriterion {
    pub reverse: bool,
    pub key: SortKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SortKey {
    Arrival,
    Cc,
    Date,
    From,
    Size,
    Subject,
    To,
    /// RFC 5957
    DisplayFrom,
    DisplayTo,
}

/// THREAD and UID THREAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    pub uid: bool,
    pub algorithm: ThreadAlgorithm,
    pub key: SearchKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ThreadAlgorithm {
    OrderedSubject,
    References,
}

/// FETCH and UID FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    pub uid: bool,
    pub set: SequenceSet,
    /// As sent; macros are expanded. Never empty.
    pub items: Vec<FetchItem>,
    /// RFC 7162 §3.1.4.1
    pub changed_since: Option<u64>,
    /// RFC 7162 §3.2.6; only with `changed_since` and `uid`.
    pub vanished: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    Flags,
    Uid,
    InternalDate,
    /// RFC822.SIZE
    Size,
    Envelope,
    /// BODY without a section: BODYSTRUCTURE without extension data.
    Body,
    BodyStructure,
    /// BODY[…] and BODY.PEEK[…]
    Section {
        peek: bool,
        section: Section,
        partial: Option<Partial>,
    },
    Rfc822,
    Rfc822Header,
    Rfc822Text,
    /// RFC 3516 §4.2; an empty part is the whole message.
    Binary {
        peek: bool,
        part: Vec<u32>,
        partial: Option<Partial>,
    },
    BinarySize {
        part: Vec<u32>,
    },
    ModSeq,
    EmailId,
    ThreadId,
    SaveDate,
    /// RFC 8970
    Preview {
        lazy: bool,
    },
}

/// `<offset.length>`, in bytes; length is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    pub offset: u64,
    pub length: u64,
}

/// What stands between the brackets of BODY[…].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Part numbers from the outside in; empty is the message itself.
    pub part: Vec<u32>,
    pub text: SectionText,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// The whole part.
    Whole,
    Header,
    /// Field names as sent.
    HeaderFields(Vec<String>),
    HeaderFieldsNot(Vec<String>),
    Text,
    /// Only with a part number.
    Mime,
}

/// STORE and UID STORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub uid: bool,
    pub set: SequenceSet,
    /// RFC 7162 §3.1.3
    pub unchanged_since: Option<u64>,
    pub action: StoreAction,
    pub silent: bool,
    pub flags: Vec<Flag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAction {
    Replace,
    Add,
    Remove,
}

/// How the session has been set up, as far as the grammar depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// After ENABLE IMAP4rev2 or UTF8=ACCEPT: folder names are UTF-8 and quoted strings may hold UTF-8. Otherwise
    /// folder names are modified UTF-7 (RFC 3501 §5.1.3).
    pub utf8: bool,
}

/// Reads a whole command: [`crate::frame::Event::Command`].
///
/// # Errors
/// What is wrong with it, with the tag if that could be read. APPEND and REPLACE are an error here, since no message
/// follows them.
pub fn parse(text: &[u8], dialect: Dialect) -> Result<Command, ParseError> {
    let mut p = Parser::new(text, dialect);
    let tag = tag(&mut p)?;
    let body = body(&mut p).and_then(|body| p.end().map(|()| body));
    match body {
        Ok(body) => Ok(Command { tag, body }),
        Err(problem) => Err(ParseError { tag: Some(tag), problem }),
    }
}

/// ```abnf
/// command = tag SP (command-any / command-auth / command-nonauth / command-select)
/// ```
fn tag(p: &mut Parser<'_>) -> Result<Tag, ParseError> {
    let text = p.take_while(|b| b != b' ');
    match Tag::new(text) {
        Some(tag) => match p.space() {
            Ok(()) => Ok(tag),
            Err(problem) => Err(ParseError { tag: Some(tag), problem }),
        },
        None => Err(ParseError { tag: None, problem: Problem::Tag }),
    }
}

fn body(p: &mut Parser<'_>) -> parser::Result<Body> {
    Ok(match p.word("a command")?.as_bytes() {
        b"CAPABILITY" => Body::Capability,
        b"NOOP" => Body::Noop,
        b"LOGOUT" => Body::Logout,
        b"ID" => session::id(p)?,
        b"STARTTLS" => Body::StartTls,
        b"AUTHENTICATE" => session::authenticate(p)?,
        b"LOGIN" => session::login(p)?,
        b"ENABLE" => session::enable(p)?,
        b"SELECT" => folder::select(p, false)?,
        b"EXAMINE" => folder::select(p, true)?,
        b"CREATE" => folder::create(p)?,
        b"DELETE" => Body::Delete(name(p)?),
        b"RENAME" => {
            let from = name(p)?;
            Body::Rename { from, to: name(p)? }
        }
        b"SUBSCRIBE" => Body::Subscribe(name(p)?),
        b"UNSUBSCRIBE" => Body::Unsubscribe(name(p)?),
        b"LIST" => list::list(p)?,
        b"LSUB" => list::lsub(p)?,
        b"NAMESPACE" => Body::Namespace,
        b"STATUS" => folder::status(p)?,
        b"IDLE" => Body::Idle,
        b"GETQUOTA" => quota::get(p)?,
        b"GETQUOTAROOT" => Body::GetQuotaRoot(name(p)?),
        b"SETQUOTA" => quota::set(p)?,
        b"COMPRESS" => session::compress(p)?,
        b"CHECK" => Body::Check,
        b"CLOSE" => Body::Close,
        b"UNSELECT" => Body::Unselect,
        b"EXPUNGE" => Body::Expunge { uids: None },
        b"UID" => {
            p.space()?;
            let word = p.word("a command after UID")?;
            match word.as_bytes() {
                b"EXPUNGE" => store::uid_expunge(p)?,
                word => of_messages(p, word, true)?,
            }
        }
        word => of_messages(p, word, false)?,
    })
}

/// The commands that come with UID and without.
fn of_messages(p: &mut Parser<'_>, word: &[u8], uid: bool) -> parser::Result<Body> {
    Ok(match word {
        b"SEARCH" => search::search(p, uid)?,
        b"SORT" => sort::sort(p, uid)?,
        b"THREAD" => sort::thread(p, uid)?,
        b"FETCH" => fetch::fetch(p, uid)?,
        b"STORE" => store::store(p, uid)?,
        b"COPY" => {
            let (set, folder) = store::set_and_folder(p)?;
            Body::Copy { uid, set, folder }
        }
        b"MOVE" => {
            let (set, folder) = store::set_and_folder(p)?;
            Body::Move { uid, set, folder }
        }
        b"APPEND" if !uid => return p.expected("a folder's name and a message as a literal"),
        b"REPLACE" => return p.expected("a message number, a folder's name and a message as a literal"),
        _ => return Err(Problem::UnknownCommand),
    })
}

fn name(p: &mut Parser<'_>) -> parser::Result<FolderName> {
    p.space()?;
    p.folder()
}

impl Command {
    /// Appends the command in wire form with its CRLF. Literals in it are non-synchronising, so the peer must offer
    /// LITERAL+, or LITERAL- if they are short.
    pub fn encode(&self, dialect: Dialect, out: &mut Vec<u8>) {
        let mut p = Printer { out, dialect };
        p.raw(self.tag.as_str()).raw(" ");
        print_body(&mut p, &self.body);
        p.raw("\r\n");
    }
}

fn print_body(p: &mut Printer<'_>, body: &Body) {
    match body {
        Body::Capability => p.raw("CAPABILITY"),
        Body::Noop => p.raw("NOOP"),
        Body::Logout => p.raw("LOGOUT"),
        Body::StartTls => p.raw("STARTTLS"),
        Body::Namespace => p.raw("NAMESPACE"),
        Body::Idle => p.raw("IDLE"),
        Body::Check => p.raw("CHECK"),
        Body::Close => p.raw("CLOSE"),
        Body::Unselect => p.raw("UNSELECT"),
        Body::Expunge { uids: None } => p.raw("EXPUNGE"),
        Body::Expunge { uids: Some(uids) } => p.raw("UID EXPUNGE ").sequence_set(uids),
        Body::Login { user, password } => {
            p.raw("LOGIN ").astring(user.as_bytes()).raw(" ").astring(&password.0)
        }
        Body::Enable(names) => p.raw("ENABLE ").raw(&names.join(" ")),
        Body::Compress(algorithm) => p.raw("COMPRESS ").raw(algorithm),
        Body::Delete(folder) => p.raw("DELETE ").folder(folder),
        Body::Rename { from, to } => p.raw("RENAME ").folder(from).raw(" ").folder(to),
        Body::Subscribe(folder) => p.raw("SUBSCRIBE ").folder(folder),
        Body::Unsubscribe(folder) => p.raw("UNSUBSCRIBE ").folder(folder),
        Body::Lsub { reference, pattern } => p.raw("LSUB ").folder(reference).raw(" ").pattern(pattern),
        Body::GetQuota(root) => p.raw("GETQUOTA ").astring(root.as_bytes()),
        Body::GetQuotaRoot(folder) => p.raw("GETQUOTAROOT ").folder(folder),
        Body::Copy { uid, set, folder } => {
            p.raw(if *uid { "UID COPY " } else { "COPY " }).sequence_set(set).raw(" ").folder(folder)
        }
        Body::Move { uid, set, folder } => {
            p.raw(if *uid { "UID MOVE " } else { "MOVE " }).sequence_set(set).raw(" ").folder(folder)
        }
        body => {
            print_long(p, body);
            p
        }
    };
}

fn print_long(p: &mut Printer<'_>, body: &Body) {
    let uid = match body {
        Body::Search(Search { uid, .. })
        | Body::Sort(Sort { uid, .. })
        | Body::Thread(Thread { uid, .. })
        | Body::Fetch(Fetch { uid, .. })
        | Body::Store(Store { uid, .. }) => *uid,
        _ => false,
    };
    p.raw(if uid { "UID " } else { "" });
    match body {
        Body::Id(fields) => session::print_id(p, fields.as_deref()),
        Body::Authenticate { mechanism, initial } => {
            session::print_authenticate(p, mechanism, initial.as_ref());
        }
        Body::Select(select) => folder::print_select(p, select),
        Body::Create { folder, special_use } => folder::print_create(p, folder, special_use),
        Body::List(list) => list::print_list(p, list),
        Body::Status { folder, items } => {
            p.raw("STATUS ").folder(folder).raw(" ");
            folder::print_status_items(p, items);
        }
        Body::SetQuota { root, limits } => quota::print_set(p, root, limits),
        Body::Search(search) => {
            p.raw("SEARCH ");
            search::print_return(p, search.returns);
            p.raw(if search.names_charset { "CHARSET UTF-8 " } else { "" });
            search::print_program(p, &search.key);
        }
        Body::Sort(sort) => sort::print_sort(p, sort),
        Body::Thread(thread) => sort::print_thread(p, thread),
        Body::Fetch(fetch) => fetch::print_fetch(p, fetch),
        Body::Store(store) => store::print_store(p, store),
        // All others were written by the caller.
        _ => {}
    }
}
