//! The shapes of the local API: what the server sends is what `--output json` prints.
//!
//! Amounts are base units (10^-18 CTK) as decimal strings, because they do not fit a JSON number. Rates are
//! base units a second, also strings. Times are Unix seconds of chain time.

mod money;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sublet_base::phase::{BuyerPhase, OnFailure, ProviderPhase};
use sublet_market::{
    Access, BidTerms, EndReason, LeaseState, LoggedEvent, OfferTerms, Resources, text_number,
};

pub use self::money::{MoveTokens, Operator, Points, Transaction, Wallet};
pub use super::amount::Amount;

/// `GET /v1/book/digest`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BookDigest {
    /// The sum, modulo 2^256, of the digests of all orders in the node's book: offers, cancels that have not
    /// expired, and bids.
    pub digest: B256,
    /// How many offers they are.
    pub offers: usize,
    /// How many bids.
    pub bids: usize,
}

/// `GET /v1/status`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The binary's version.
    pub version: String,
    /// The wallet's address.
    pub address: Address,
    /// The libp2p identity as orders name it.
    pub node: B256,
    /// The same as a peer id.
    pub peer_id: String,
    /// Where peers reach this node, with the peer id.
    pub listen: Vec<String>,
    /// Peers connected now.
    pub peers: Vec<String>,
    /// The chain.
    pub chain_id: u64,
    /// Chain time now.
    pub chain_time: u64,
    /// All events up to this chain time are taken in.
    pub watched_until: u64,
    /// The Market contract.
    pub market: Address,
    /// The token contract.
    pub token: Address,
    /// Whether this node sells.
    pub provider: bool,
    /// Offers and bids in the book.
    pub book: BookSize,
    /// Orders heard of, by what became of them.
    pub gossip: serde_json::Value,
}

/// How full the book is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct BookSize {
    /// Live offers.
    pub offers: usize,
    /// Live bids.
    pub bids: usize,
}

/// `POST /v1/offers`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostOffer {
    /// What is offered; the adapter adds its own traits.
    #[serde(flatten)]
    pub terms: OfferTerms,
}

/// An offer in the book, or a template of our own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OfferInfo {
    /// The signed digest; absent while nothing is announced.
    pub digest: Option<B256>,
    /// Ours.
    pub mine: bool,
    /// Who sells.
    pub provider: Address,
    /// The provider's node.
    pub node: B256,
    /// What it offers, with the units left.
    #[serde(flatten)]
    pub terms: OfferTerms,
    /// Names the line of offers that replace each other, in hexadecimal.
    pub series: String,
    /// The provider's reputation.
    pub points: u64,
    /// End of life of this version.
    pub valid_until: u64,
    /// Why our own book ignores our offer.
    pub refused: Option<String>,
}

/// `POST /v1/bids`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostBid {
    /// What is wanted.
    #[serde(flatten)]
    pub terms: BidTerms,
    /// What the node may spend on top-ups by itself when the funds run out.
    #[serde(default)]
    pub top_up_budget: Amount,
    /// What the node does when the machine is not there, or the provider gives the lease up.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// More time for a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    /// Seconds.
    pub seconds: u32,
}

/// A bid of ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BidInfo {
    /// The digest, which is the lease's id as well.
    pub id: B256,
    /// Where it stands.
    pub phase: BuyerPhase,
    /// What one unit must have at least.
    pub unit: Resources,
    /// How many units.
    pub units: u32,
    /// Top rate for all units, base units a second.
    #[serde(with = "text_number")]
    pub max_rate: u64,
    /// Seconds to pay in advance.
    pub duration: u32,
    /// What it may lock at most.
    pub budget: Amount,
    /// End of its life.
    pub valid_until: u64,
    /// Who accepted, if somebody did.
    pub provider: Option<Address>,
    /// At which rate.
    #[serde(with = "text_number::option", default)]
    pub rate: Option<u64>,
    /// Everybody who said no.
    pub declines: Vec<DeclineInfo>,
    /// How the machine is reached.
    pub access: Option<Access>,
    /// The transaction that locked the escrow.
    pub settle_tx: Option<B256>,
    /// What the node does when the machine is not there.
    pub on_failure: OnFailure,
    /// Why the node ended the lease by itself.
    pub failure: Option<String>,
    /// The failed bid that this one takes the place of.
    pub continues: Option<B256>,
    /// Providers that failed before, and are not asked.
    pub avoid: Vec<Address>,
    /// Why the last step failed.
    pub trouble: Option<String>,
    /// What the book says of it, while it is looking.
    pub explanation: Option<Explained>,
}

/// A provider's no to a bid of ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeclineInfo {
    /// The node that was asked.
    pub node: B256,
    /// The provider's address.
    pub provider: Address,
    /// The offer's digest.
    pub offer: B256,
    /// The offer's rate for this bid, base units a second.
    #[serde(with = "text_number")]
    pub rate: u64,
    /// Stable reason code.
    pub code: String,
    /// The provider's words.
    pub detail: String,
    /// Chain time of the last time.
    pub at: u64,
    /// How often this was said.
    pub times: u32,
}

/// What the offers in the book failed on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explained {
    /// Offers in the book.
    pub offers: usize,
    /// Those that fit.
    pub fit: usize,
    /// How many offers fail on each rule.
    pub failed: Vec<FailedRule>,
    /// All of it in plain words, with the nearest miss.
    pub text: String,
}

/// A rule and how many offers fail on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailedRule {
    /// The rule's stable name.
    pub rule: String,
    /// Offers that fail on it.
    pub offers: usize,
}

/// Which side of a lease this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// We pay.
    Buyer,
    /// We run the machine.
    Provider,
}

/// A lease of ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseInfo {
    /// The bid's digest.
    pub id: B256,
    /// Our side.
    pub role: Role,
    /// On chain.
    pub state: LeaseState,
    /// The buyer.
    pub buyer: Address,
    /// The provider.
    pub provider: Address,
    /// Base units a second.
    #[serde(with = "text_number")]
    pub rate: u64,
    /// Billing began (0: not yet).
    pub started_at: u64,
    /// Paid to the provider up to here.
    pub paid_until: u64,
    /// Funds end here.
    pub funded_until: u64,
    /// Seconds metered up to now.
    pub metered_seconds: u64,
    /// What they cost.
    pub metered: Amount,
    /// The provider's bond.
    pub bond: Amount,
    /// How it ended, if it has.
    pub ended: Option<LeaseEnded>,
    /// Where the provider's engine stands (role provider).
    pub provider_phase: Option<ProviderPhase>,
    /// The adapter's name for the machine (role provider).
    pub instance: Option<String>,
    /// How the machine is reached.
    pub access: Option<Access>,
    /// Why the last step failed.
    pub trouble: Option<String>,
    /// The funds end soon: when, and what to do (role buyer).
    #[serde(default)]
    pub warning: Option<String>,
    /// The machine's last console lines, after the end.
    pub console: Vec<String>,
    /// Every confirmed event.
    pub events: Vec<LoggedEvent>,
}

/// `POST /v1/leases/{id}/revive`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revive {
    /// Seconds to pay in advance.
    pub duration: u32,
    /// Top rate for all units, base units a second; that of the lease's bid without it.
    #[serde(with = "text_number::option", default)]
    pub max_rate: Option<u64>,
}

/// `GET /v1/leases/{id}/console`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Console {
    /// The last lines, oldest first.
    pub lines: Vec<String>,
}

/// Who was paid what in the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseEnded {
    /// Why.
    pub reason: EndReason,
    /// Chain time.
    pub at: u64,
    /// To the provider over the whole lease, or to the burn bucket where the offer had the burn flag.
    pub paid: Amount,
    /// Fees burned over the whole lease.
    pub fee: Amount,
    /// Burned by a reject.
    pub burned: Amount,
    /// Back to the buyer.
    pub refunded: Amount,
    /// Bond back to the provider.
    pub bond_to_provider: Amount,
    /// Bond to the buyer.
    pub bond_to_buyer: Amount,
}

/// The body of every error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One line, with the remedy.
    pub error: String,
    /// Stable: `invalid`, `funds`, `gas`, `not_found`, `refused`, `chain`, `unauthorized`, `internal`.
    pub code: String,
}
