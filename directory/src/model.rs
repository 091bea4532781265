//! What the directory holds, as values. Each field says what it is for; who may change it is the change's business.

use crate::address::Address;
use serde::{Deserialize, Serialize};
use waypost_base::{AccountId, Timestamp};

/// A domain whose mail we take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Raised at each change; the precondition of the next one.
    #[serde(skip)]
    pub version: u64,
    /// In lower-case ASCII.
    #[serde(skip)]
    pub name: String,
    pub kind: DomainKind,
    /// New accounts get their primary address here, and addresses without a domain mean this one. Exactly one domain.
    pub default: bool,
    /// Takes the mail for addresses of this domain that nobody has. Authoritative domains only.
    #[serde(default)]
    pub catch_all: Option<Address>,
    /// `user+tag` reaches `user`. On by default.
    #[serde(default = "yes")]
    pub sub_addressing: bool,
    pub created: Timestamp,
    pub changed: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DomainKind {
    /// All its recipients are known here; others do not exist.
    Authoritative,
    /// Some recipients are here, others are on a server of ours elsewhere.
    InternalRelay,
    /// None are here; we relay for somebody.
    ExternalRelay,
}

/// A person's mailbox, or one that several share, or a room or thing that can be booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    #[serde(skip, default = "no_account")]
    pub id: AccountId,
    #[serde(skip)]
    pub version: u64,
    /// Unique in the organisation (case does not matter). What administrators call it.
    pub name: String,
    pub display_name: String,
    /// The local part that addresses are made of. Not unique by itself.
    pub alias: String,
    pub primary: Address,
    /// Further addresses, all of which receive.
    #[serde(default)]
    pub others: Vec<Address>,
    pub kind: AccountKind,
    /// Off: nobody signs in, and mail is refused as 5.2.1.
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(default)]
    pub protocols: Protocols,
    #[serde(default)]
    pub quotas: Quotas,
    #[serde(default)]
    pub limits: SizeLimits,
    #[serde(default)]
    pub permissions: Vec<Permission>,
    #[serde(default)]
    pub hidden: bool,
    /// A copy of what is submitted by SMTP goes into Sent. Off, since mail clients put it there themselves.
    #[serde(default)]
    pub copy_smtp_sent: bool,
    /// Where all that comes for it goes instead. Of ours or not. Exchange: ForwardingAddress, ForwardingSmtpAddress.
    #[serde(default)]
    pub forward_to: Option<Address>,
    /// What is forwarded stays here too. Exchange: DeliverToMailboxAndForward.
    #[serde(default)]
    pub deliver_and_forward: bool,
    /// The directory that it came from, which then says who it is.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// Names of the role groups that its owner is in: what they may administer.
    #[serde(default)]
    pub role_groups: Vec<String>,
    /// Id of the server that holds its mail; `None` is the server that keeps the directory.
    #[serde(default)]
    pub home: Option<String>,
    pub created: Timestamp,
    pub changed: Timestamp,
}

/// Where something was made from: a directory source, and what it is called there whatever its name becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub source: String,
    /// entryUUID or objectGUID.
    pub id: String,
}

impl Account {
    /// Primary first.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        std::iter::once(&self.primary).chain(&self.others)
    }

    /// Whether this account has a sign-in of its own at all.
    pub fn signs_in(&self) -> bool {
        matches!(self.kind, AccountKind::User | AccountKind::Monitoring)
    }

    pub fn permits(&self, who: AccountId, right: Right) -> bool {
        self.permissions.iter().any(|p| p.who == who && p.right == right)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AccountKind {
    User,
    /// Nobody's own: people reach it by permission.
    Shared,
    Room,
    Equipment,
    /// Nobody's: the server signs in with it to see whether it can be reached. Lists do not show it.
    Monitoring,
}

/// The ways in that an account may be switched off for one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Imap,
    Pop,
    /// SMTP with AUTH: submission.
    Submission,
    Web,
}

impl Protocol {
    pub const ALL: [Protocol; 4] = [Protocol::Imap, Protocol::Pop, Protocol::Submission, Protocol::Web];

    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Imap => "imap",
            Protocol::Pop => "pop",
            Protocol::Submission => "submission",
            Protocol::Web => "web",
        }
    }

    pub fn parse(text: &str) -> Option<Protocol> {
        let text = text.trim();
        let same = |p: &Protocol| p.name().eq_ignore_ascii_case(text);
        Protocol::ALL.into_iter().find(same).or_else(|| match text.to_ascii_lowercase().as_str() {
            "imap4" => Some(Protocol::Imap),
            "pop3" => Some(Protocol::Pop),
            "smtp" => Some(Protocol::Submission),
            _ => None,
        })
    }
}

/// Which protocols may be used. Every one, unless switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Protocols {
    pub imap: bool,
    pub pop: bool,
    pub submission: bool,
    pub web: bool,
}

impl Default for Protocols {
    fn default() -> Protocols {
        Protocols { imap: true, pop: true, submission: true, web: true }
    }
}

impl Protocols {
    pub const NONE: Protocols = Protocols { imap: false, pop: false, submission: false, web: false };

    pub const fn has(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Imap => self.imap,
            Protocol::Pop => self.pop,
            Protocol::Submission => self.submission,
            Protocol::Web => self.web,
        }
    }

    pub const fn set(&mut self, protocol: Protocol, on: bool) {
        match protocol {
            Protocol::Imap => self.imap = on,
            Protocol::Pop => self.pop = on,
            Protocol::Submission => self.submission = on,
            Protocol::Web => self.web = on,
        }
    }
}

/// A bound that an account may have of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// What the settings say for everybody.
    #[default]
    Default,
    Unlimited,
    /// Bytes, or a count.
    At(u64),
}

impl Limit {
    /// The bound that holds, with the settings' own filled in; `None` is unlimited.
    pub fn or(self, default: Option<u64>) -> Option<u64> {
        match self {
            Limit::Default => default,
            Limit::Unlimited => None,
            Limit::At(n) => Some(n),
        }
    }
}

/// Bytes of mail that an account may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quotas {
    pub warn: Limit,
    pub prohibit_send: Limit,
    /// The one that IMAP calls the quota (RFC 9208): nothing more is taken.
    pub prohibit_send_receive: Limit,
}

/// Bounds for single messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SizeLimits {
    /// Bytes of a message that it sends.
    pub send_bytes: Limit,
    /// Bytes of a message that it receives.
    pub receive_bytes: Limit,
    /// Recipients of a message that it sends.
    pub recipients: Limit,
}

/// What another account may do with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Permission {
    pub who: AccountId,
    pub right: Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Right {
    /// Open it and do everything in it.
    FullAccess,
    /// Send mail that says it is from it.
    SendAs,
    /// Send mail on its behalf, the sender being named.
    SendOnBehalf,
}

/// A group within the organisation. Never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub u32);

/// What a row has before its number, which stands in the key, is filled in.
const fn no_account() -> AccountId {
    AccountId(0)
}

/// A list of recipients with an address. Its members are rows of their own, so that it may be large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    #[serde(skip)]
    pub id: GroupId,
    #[serde(skip)]
    pub version: u64,
    pub name: String,
    pub display_name: String,
    pub alias: String,
    pub primary: Address,
    #[serde(default)]
    pub others: Vec<Address>,
    /// Strangers may not send to it. On by default, as in Exchange.
    #[serde(default = "yes")]
    pub require_sender_authentication: bool,
    /// When not empty, only these may send to it.
    #[serde(default)]
    pub accept_from: Vec<Member>,
    /// These may not send to it, even if `accept_from` has them.
    #[serde(default)]
    pub reject_from: Vec<Member>,
    /// People who may manage it.
    #[serde(default)]
    pub managed_by: Vec<AccountId>,
    /// The directory that it came from.
    #[serde(default)]
    pub origin: Option<Origin>,
    #[serde(default)]
    pub hidden: bool,
    pub created: Timestamp,
    pub changed: Timestamp,
}

impl Group {
    /// Primary first.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        std::iter::once(&self.primary).chain(&self.others)
    }
}

/// Whom a group holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Member {
    Account(AccountId),
    Group(GroupId),
    /// Somebody outside the organisation.
    External(Address),
}

const fn yes() -> bool {
    true
}
