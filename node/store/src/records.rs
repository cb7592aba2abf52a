//! The records of the store: what the operator wants to sell, what was promised, what was bought, and what
//! the chain said of our leases.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sublet_base::phase::{BuyerPhase, OnFailure, ProviderPhase};
use sublet_chain::LeaseView;
use sublet_market::{
    Accept, Access, Bid, EndReason, LoggedEvent, Manifest, MarketEvent, Offer, OfferTerms, Resources, Signed,
    Spec,
};

use super::{DeclineReason, Row};

/// What the operator wants to sell. The engine keeps a live, signed offer of it in gossip.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OfferTemplate {
    /// Names the line of offers that replace each other.
    pub series: u64,
    /// What it offers when nothing is leased, with the adapter's traits beside the operator's.
    #[serde(flatten)]
    pub terms: OfferTerms,
    /// The highest sequence number ever signed for this series.
    pub seq: u64,
    /// Withdrawn by the operator; kept until every older offer of the series has expired.
    pub cancelled: bool,
    /// The latest end of life of any version that had units.
    pub live_until: u64,
}

impl Row for OfferTemplate {
    const TABLE: &'static str = "offers";
    const PAST_TABLE: &'static str = "past_offers";
    fn key(&self) -> Vec<u8> {
        self.series.to_be_bytes().to_vec()
    }
}

/// A provider's commitment to one bid, from the signature of the accept to the end of the lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Promise {
    /// The bid's digest, which is the lease's id.
    pub id: B256,
    /// The series of the offer that was asked.
    pub series: u64,
    /// The offer as it was signed then.
    pub offer: Signed<Offer>,
    /// The buyer's bid.
    pub bid: Signed<Bid>,
    /// What the bid asks for.
    pub spec: Spec,
    /// The private part: image and ssh keys.
    pub manifest: Manifest,
    /// What we signed.
    pub accept: Signed<Accept>,
    /// Where it stands.
    pub phase: ProviderPhase,
    /// Chain time of the accept.
    pub accepted_at: u64,
    /// The adapter's name for the machine.
    pub instance: Option<String>,
    /// How the machine is reached, once it runs.
    pub access: Option<Access>,
    /// Why the last step failed, in words.
    pub trouble: Option<String>,
    /// Provisioning failed for good: the lease is to be given up.
    pub give_up: bool,
    /// The operator gives the lease up; on disk before the transaction.
    #[serde(default)]
    pub closing: bool,
    /// The last console lines, kept when the machine is removed.
    pub console: Vec<String>,
}

impl Promise {
    /// What this promise takes of the adapter's capacity while it lasts.
    pub fn resources(&self) -> Resources {
        let unit = self.offer.order.unit;
        // Checked when the ask was answered: the product fits.
        unit.checked_mul(self.spec.units).unwrap_or(unit)
    }

    /// True while the capacity may not be offered again.
    pub fn holds_capacity(&self) -> bool {
        matches!(self.phase, ProviderPhase::Held | ProviderPhase::Leased)
    }
}

impl Row for Promise {
    const TABLE: &'static str = "promises";
    const PAST_TABLE: &'static str = "past_promises";
    fn key(&self) -> Vec<u8> {
        self.id.to_vec()
    }
}

/// How a buyer ends a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Pays to now and a little more.
    Close,
    /// Burns the last HOLD of it: the machine is not there.
    Reject,
}

/// A provider's no to one of our bids.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decline {
    /// The node that was asked.
    pub node: B256,
    /// The provider's address.
    pub provider: Address,
    /// The offer's digest.
    pub offer: B256,
    /// The offer's rate for this bid, base units a second.
    #[serde(with = "sublet_market::text_number")]
    pub rate: u64,
    /// Why.
    pub code: DeclineReason,
    /// The provider's words.
    pub detail: String,
    /// Chain time of the last time.
    pub at: u64,
    /// How often this was said.
    pub times: u32,
}

/// A bid of ours, from its signature to the end of the lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Purchase {
    /// The bid's digest, which is the lease's id.
    pub id: B256,
    /// What we signed.
    pub bid: Signed<Bid>,
    /// What the bid asks for.
    pub spec: Spec,
    /// The private part.
    pub manifest: Manifest,
    /// The offer that was taken.
    pub offer: Option<Signed<Offer>>,
    /// The provider's commitment.
    pub accept: Option<Signed<Accept>>,
    /// The transaction that locked the escrow.
    pub settle_tx: Option<B256>,
    /// Chain time when that was seen in a block.
    #[serde(default)]
    pub settled_at: u64,
    /// What to do when the machine is not there.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The machine has answered at least once.
    #[serde(default)]
    pub reached: bool,
    /// Why this node ended the lease by itself.
    #[serde(default)]
    pub failure: Option<String>,
    /// The failed bid that this one takes the place of.
    #[serde(default)]
    pub continues: Option<B256>,
    /// The only node that is asked: it keeps the disk that the machine is to have.
    #[serde(default)]
    pub only: Option<(Address, B256)>,
    /// Providers that failed, and are not asked.
    #[serde(default)]
    pub avoid: Vec<Address>,
    /// Its owner wants the lease to end: on disk before the transaction, and kept, as a block may be taken back.
    #[serde(default)]
    pub ending: Option<Ending>,
    /// Where it stands.
    pub phase: BuyerPhase,
    /// Everybody who said no, in order.
    pub declines: Vec<Decline>,
    /// How the machine is reached, once the provider has said so.
    pub access: Option<Access>,
    /// Why the last step failed, in words.
    pub trouble: Option<String>,
    /// The last console lines, as the provider told them at the end.
    #[serde(default)]
    pub console: Vec<String>,
    /// Offers that were asked and whose answer is not known: on disk before the question, as an accept may be waiting.
    #[serde(default)]
    pub asked: Vec<Signed<Offer>>,
    /// What the engine may still spend on top-ups by itself, base units.
    #[serde(with = "sublet_market::text_number", default)]
    pub top_up_budget: u128,
}

impl Purchase {
    /// True until it is over for good.
    pub fn is_open(&self) -> bool {
        use BuyerPhase::{Accepted, Leased, Seeking, Settled};
        matches!(self.phase, Seeking | Accepted | Settled | Leased)
    }
}

impl Row for Purchase {
    const TABLE: &'static str = "purchases";
    const PAST_TABLE: &'static str = "past_purchases";
    fn key(&self) -> Vec<u8> {
        self.id.to_vec()
    }
}

/// How a lease ended, from its `LeaseEnded` event. Amounts in base units.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseEnd {
    /// Why.
    pub reason: EndReason,
    /// Chain time of the end.
    pub at: u64,
}

/// What the chain has said of a lease of ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChainLease {
    /// The lease's id.
    pub id: B256,
    /// The contract's state when it was last read.
    pub view: LeaseView,
    /// The height at which it was found to have changed: as long as that block may be taken back, it is to be
    /// read again.
    #[serde(default)]
    pub changed_at: Option<u64>,
    /// Every confirmed event, oldest first.
    pub events: Vec<LoggedEvent>,
    /// How it ended.
    pub end: Option<LeaseEnd>,
}

impl ChainLease {
    /// Takes in what was read at `height`, when all blocks below `read` had been read.
    pub fn saw(&mut self, view: LeaseView, height: u64, read: u64) {
        if view != self.view {
            self.view = view;
            self.changed_at = Some(height);
        } else if self.changed_at.is_some_and(|changed| changed < read) {
            self.changed_at = None;
        }
    }

    /// When billing started, chain time.
    pub fn started_at(&self) -> Option<u64> {
        self.events.iter().find_map(|logged| match logged.event {
            MarketEvent::LeaseActivated { started_at, .. } => Some(u64::from(started_at)),
            _ => None,
        })
    }

    /// The buyer's node, as the settlement names it.
    pub fn buyer_node(&self) -> Option<B256> {
        self.nodes().map(|(buyer, _)| buyer)
    }

    /// The provider's node, as the settlement names it.
    pub fn provider_node(&self) -> Option<B256> {
        self.nodes().map(|(_, provider)| provider)
    }

    fn nodes(&self) -> Option<(B256, B256)> {
        self.events.iter().find_map(|logged| match logged.event {
            MarketEvent::LeaseOpened { buyer_node, provider_node, .. } => Some((buyer_node, provider_node)),
            _ => None,
        })
    }
}

impl Row for ChainLease {
    const TABLE: &'static str = "leases";
    const PAST_TABLE: &'static str = "past_leases";
    fn key(&self) -> Vec<u8> {
        self.id.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use sublet_market::LeaseState;

    use super::*;

    fn view(state: LeaseState) -> LeaseView {
        LeaseView {
            state,
            reason: None,
            buyer: Address::repeat_byte(1),
            provider: Address::repeat_byte(2),
            rate: 1,
            max_end: 9,
            paid_until: 7,
            funded_until: 8,
            bond_seconds: 1,
            burn: false,
            activate_by: 0,
            duration: 0,
            max_duration: 0,
        }
    }

    #[test]
    fn what_changed_is_read_again_until_its_block_was_read() {
        let (opened, active) = (view(LeaseState::Opened), view(LeaseState::Active));
        let id = B256::ZERO;
        let mut lease =
            ChainLease { id, view: opened.clone(), changed_at: None, events: Vec::new(), end: None };
        lease.saw(active.clone(), 20, 0);
        assert_eq!(lease.changed_at, Some(20));
        lease.saw(active.clone(), 20, 20);
        assert_eq!(lease.changed_at, Some(20), "block 20 may still be taken back unseen");
        lease.saw(opened.clone(), 21, 21);
        assert_eq!((&lease.view, lease.changed_at), (&opened, Some(21)));
        lease.saw(opened, 22, 22);
        assert_eq!(lease.changed_at, None);
    }
}
