//! What two peers say to each other over `/sublet/trade/1`: quote, ask, accept or decline, access to a lease
//! and its console.
//!
//! Texts from the other side end up in terminals, logs and ssh command lines; [`TradeResponse::check`]
//! therefore bounds them and refuses control characters and host or user names that could pass for options.
//! The codec calls it.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_DETAIL_BYTES, MAX_SSH_KEY_BYTES};
use crate::orders::{Accept, Bid, Offer, Spec};
use crate::rule::Rule;
use crate::signature::Signed;

/// Longest host name, in bytes (RFC 1035, section 2.3.4, as text).
const MAX_HOST_BYTES: usize = 253;
/// Most lines of a console in an answer: 64 of 512 bytes are half of what an answer may have.
const MAX_CONSOLE_LINES: usize = 64;
/// Longest login name, in bytes (useradd's limit).
const MAX_USER_BYTES: usize = 32;

/// A request to the other side of a trade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TradeRequest {
    /// A buyer asks the provider of an offer for an accept.
    Ask {
        /// The bid.
        bid: Signed<Bid>,
        /// The spec that the bid carries the hash of.
        spec: Spec,
        /// Digest of the offer that is asked for.
        offer: B256,
        /// Canonical bytes of the manifest that the spec carries the hash of.
        manifest: Vec<u8>,
    },
    /// A buyer asks how to reach the machine of its lease.
    Access {
        /// The lease's id: the bid's digest.
        lease: B256,
    },
    /// A buyer asks what the machine of its lease has printed last.
    Console {
        /// The lease's id.
        lease: B256,
    },
    /// A provider tells a bid's node, unasked, that it would serve the bid. Binds nobody and holds nothing:
    /// what counts is the accept that the buyer may ask for.
    Quote {
        /// Digest of the bid.
        bid: B256,
        /// The offer to ask for.
        offer: Signed<Offer>,
        /// What it would cost, base units per second for all units: at most the offer's price for them.
        rate: u64,
    },
}

/// The answer to a [`TradeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TradeResponse {
    /// The provider commits itself.
    Accept(Signed<Accept>),
    /// The provider does not, and says why.
    Declined(Decline),
    /// How to reach the machine.
    Access(AccessState),
    /// The buyer has taken the quote in.
    Noted,
    /// The machine's last console lines, oldest first.
    Console(Vec<String>),
}

/// A declined request, with a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    /// The reason, for programs.
    pub code: DeclineCode,
    /// The reason, for people: at most 512 bytes, no control characters.
    pub detail: String,
}

impl Decline {
    /// A decline whose detail is cut and cleaned to what may be sent.
    pub fn new(code: DeclineCode, detail: impl AsRef<str>) -> Self {
        Self { code, detail: clean_text(detail.as_ref()) }
    }
}

impl fmt::Display for Decline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.code, self.detail, self.code.remedy())
    }
}

/// Why a request is declined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeclineCode {
    /// The offer does not fit the bid.
    Rule(Rule),
    /// No such offer, or not any more.
    UnknownOffer,
    /// The capacity is held or leased by now.
    Capacity,
    /// The provider's balance is promised to other accepts.
    ProviderFunds,
    /// The buyer's balance does not cover the bid.
    BuyerFunds,
    /// The manifest is not what the spec names, or cannot be run here.
    Manifest,
    /// The request breaks its format or its signature.
    Malformed,
    /// The lease or bid belongs to another node.
    NotYours,
    /// Accepts to this buyer were not settled lately.
    Backoff,
    /// Too many requests at once.
    Busy,
    /// The node is stopping.
    ShuttingDown,
}

impl DeclineCode {
    /// The codes that are not rules.
    const OWN: [DeclineCode; 10] = [
        Self::UnknownOffer,
        Self::Capacity,
        Self::ProviderFunds,
        Self::BuyerFunds,
        Self::Manifest,
        Self::Malformed,
        Self::NotYours,
        Self::Backoff,
        Self::Busy,
        Self::ShuttingDown,
    ];

    /// All codes: the rules in their order, then the others.
    pub fn all() -> impl Iterator<Item = DeclineCode> {
        Rule::ALL.into_iter().map(DeclineCode::Rule).chain(Self::OWN)
    }

    /// The stable name: that of the rule, or a name that no rule has.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule(rule) => rule.as_str(),
            Self::UnknownOffer => "unknown_offer",
            Self::Capacity => "capacity",
            Self::ProviderFunds => "provider_funds",
            Self::BuyerFunds => "buyer_funds",
            Self::Manifest => "manifest",
            Self::Malformed => "malformed",
            Self::NotYours => "not_yours",
            Self::Backoff => "backoff",
            Self::Busy => "busy",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// What the asking side can do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Rule(rule) => rule.remedy(),
            Self::UnknownOffer => "ask for an offer that is in the book now",
            Self::Capacity => "ask the next best offer, or wait",
            Self::ProviderFunds => "ask the next best offer, or wait until the provider's accepts expire",
            Self::BuyerFunds => "deposit top rate × duration, or lower either",
            Self::Manifest => "correct the manifest and sign a new bid",
            Self::Malformed => "update the node: both sides must run compatible versions",
            Self::NotYours => "ask from the node that the bid names",
            Self::Backoff => "settle accepts that you asked for, and wait",
            Self::Busy | Self::ShuttingDown => "ask the next best offer, or again in a moment",
        }
    }
}

impl fmt::Display for DeclineCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DeclineCode {
    type Err = TradeError;

    fn from_str(text: &str) -> Result<Self, TradeError> {
        Self::all().find(|code| code.as_str() == text).ok_or(TradeError::UnknownCode)
    }
}

impl TryFrom<String> for DeclineCode {
    type Error = TradeError;

    fn try_from(text: String) -> Result<Self, TradeError> {
        text.parse()
    }
}

impl From<DeclineCode> for String {
    fn from(code: DeclineCode) -> Self {
        code.as_str().to_owned()
    }
}

/// Where a lease's machine stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessState {
    /// Not there yet.
    Pending {
        /// What is being done, for people.
        state: String,
    },
    /// Up.
    Ready(Access),
    /// There is none, or not any more.
    Gone {
        /// Why, for people.
        reason: String,
    },
}

/// How to reach a machine by ssh.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Login name.
    pub user: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The machine's public host key, `ssh-ed25519 AAAA…`: type and key, no comment.
    pub host_key: String,
}

impl Access {
    /// Checks that the fields can stand in an ssh command line and a known_hosts file.
    ///
    /// # Errors
    /// The first field that cannot.
    pub fn check(&self) -> Result<(), TradeError> {
        let word = |text: &str, max: usize, also: &[u8]| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || also.contains(&b);
            !text.is_empty() && text.len() <= max && !text.starts_with('-') && text.bytes().all(plain)
        };
        let key_fields = self.host_key.split(' ').all(|field| word(field, MAX_SSH_KEY_BYTES, b"-@.+/="));
        let checks = [
            ("user", word(&self.user, MAX_USER_BYTES, b"_-")),
            ("host", word(&self.host, MAX_HOST_BYTES, b".:-_")),
            ("port", self.port != 0),
            ("host_key", key_fields && self.host_key.split(' ').count() == 2),
        ];
        checks
            .into_iter()
            .try_for_each(|(field, valid)| if valid { Ok(()) } else { Err(TradeError::Field(field)) })
    }
}

/// What is wrong with a trade answer from the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TradeError {
    /// A field of [`Access`] is not usable.
    #[error(
        "access with an unusable {0}: the provider's adapter must send a plain user, host, port and public key"
    )]
    Field(&'static str),
    /// A text is too long or has control characters.
    #[error(
        "a text of more than {MAX_DETAIL_BYTES} bytes or with control characters: the sender must clean it"
    )]
    Text,
    /// More console lines than an answer may have.
    #[error("{0} console lines, more than {MAX_CONSOLE_LINES}: the sender must cut them")]
    Lines(usize),
    /// A code that this version does not know.
    #[error("unknown decline code: update the node")]
    UnknownCode,
}

impl TradeResponse {
    /// Checks the texts: see the module's description.
    ///
    /// # Errors
    /// The first text that is too long or unsafe to show or use.
    pub fn check(&self) -> Result<(), TradeError> {
        match self {
            Self::Accept(_) | Self::Noted => Ok(()),
            Self::Console(lines) if lines.len() > MAX_CONSOLE_LINES => Err(TradeError::Lines(lines.len())),
            Self::Console(lines) => lines.iter().try_for_each(|line| check_text(line)),
            Self::Declined(decline) => check_text(&decline.detail),
            Self::Access(AccessState::Ready(access)) => access.check(),
            Self::Access(AccessState::Pending { state: text } | AccessState::Gone { reason: text }) => {
                check_text(text)
            }
        }
    }
}

/// What may be sent of a console: its last lines, each cut and cleaned.
pub fn clean_lines(lines: &[String]) -> Vec<String> {
    let from = lines.len().saturating_sub(MAX_CONSOLE_LINES);
    lines[from..].iter().map(|line| clean_text(line)).collect()
}

/// Cuts a text to what may be sent in an answer, and replaces control characters by spaces.
pub fn clean_text(text: &str) -> String {
    let cut = text.floor_char_boundary(MAX_DETAIL_BYTES);
    text[..cut].replace(char::is_control, " ")
}

fn check_text(text: &str) -> Result<(), TradeError> {
    let valid = text.len() <= MAX_DETAIL_BYTES && !text.contains(char::is_control);
    if valid { Ok(()) } else { Err(TradeError::Text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            user: "root".into(),
            host: "127.0.0.1".into(),
            port: 2222,
            host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA+/=".into(),
        }
    }

    #[test]
    fn of_a_console_the_last_lines_go_out_and_no_more_come_in() {
        let lines: Vec<String> = (0..100).map(|n| format!("{n}\u{7}{}", "x".repeat(600))).collect();
        let sent = clean_lines(&lines);
        assert_eq!(sent.len(), MAX_CONSOLE_LINES);
        assert!(sent[0].starts_with("36 x") && sent.iter().all(|line| line.len() <= MAX_DETAIL_BYTES));
        assert_eq!(TradeResponse::Console(sent).check(), Ok(()));
        assert_eq!(TradeResponse::Console(lines[..1].to_vec()).check(), Err(TradeError::Text));
        let many = vec![String::new(); MAX_CONSOLE_LINES + 1];
        assert_eq!(TradeResponse::Console(many).check(), Err(TradeError::Lines(65)));
    }

    #[test]
    fn decline_codes_have_distinct_names_that_read_back() {
        for code in DeclineCode::all() {
            assert_eq!(code.as_str().parse(), Ok(code));
            assert!(!code.remedy().is_empty());
        }
        assert_eq!(serde_json::to_string(&DeclineCode::Rule(Rule::Price)).unwrap(), "\"price\"");
        assert_eq!("nonsense".parse::<DeclineCode>(), Err(TradeError::UnknownCode));
    }

    #[test]
    fn access_that_could_pass_for_an_option_is_refused() {
        assert_eq!(access().check(), Ok(()));
        assert_eq!(Access { host: "::1".into(), ..access() }.check(), Ok(()));
        let host = |host: &str| Access { host: host.into(), ..access() }.check();
        assert_eq!(host("-oProxyCommand=x"), Err(TradeError::Field("host")));
        assert_eq!(host("a b"), Err(TradeError::Field("host")));
        assert_eq!(Access { user: "-l".into(), ..access() }.check(), Err(TradeError::Field("user")));
        assert_eq!(Access { port: 0, ..access() }.check(), Err(TradeError::Field("port")));
        let key = |key: &str| Access { host_key: key.into(), ..access() }.check();
        assert_eq!(key("ssh-ed25519 AAAA\nevil ssh-rsa B"), Err(TradeError::Field("host_key")));
        assert_eq!(key("ssh-ed25519"), Err(TradeError::Field("host_key")));
    }

    #[test]
    fn details_are_cut_at_a_character_and_cleaned() {
        let decline = Decline::new(DeclineCode::Busy, format!("a\u{1b}[31m{}", "\u{e9}".repeat(600)));
        assert!(decline.detail.len() <= MAX_DETAIL_BYTES);
        assert!(decline.detail.starts_with("a [31m"));
        assert_eq!(TradeResponse::Declined(decline).check(), Ok(()));
        let raw = Decline { code: DeclineCode::Busy, detail: "\u{1b}[31m".into() };
        assert_eq!(TradeResponse::Declined(raw).check(), Err(TradeError::Text));
    }
}
