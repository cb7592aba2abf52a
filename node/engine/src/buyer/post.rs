//! A new bid: checked against the balance, signed, stored, gossiped.

use alloy_primitives::{Address, B256};
use sublet_base::failpoint;
use sublet_base::phase::{BuyerPhase, OnFailure};
use sublet_market::{Bid, BidTerms, Explanation, Manifest, Order as _, Signed, Spec, amount::format_amount};
use sublet_store::Purchase;

use super::Buyer;
use crate::{EngineError, random, reservations::Means};

/// What a buyer asks for.
#[derive(Debug, Clone)]
pub struct NewBid {
    /// What is wanted.
    pub terms: BidTerms,
    /// What may be spent on top-ups without asking again, base units.
    pub top_up_budget: u128,
    /// What to do when the machine is not there.
    pub on_failure: OnFailure,
    /// The failed bid that this one takes the place of.
    pub continues: Option<B256>,
    /// A lease of ours that is over, and whose disk the machine is to have: only its provider is asked.
    pub disk_of: Option<B256>,
    /// Providers that are not asked.
    pub avoid: Vec<Address>,
}

impl Buyer {
    /// Signs a bid, keeps it, gossips it and starts asking. Refuses at once what cannot be paid for.
    pub async fn post_bid(&self, new: NewBid) -> Result<(Purchase, Explanation), EngineError> {
        let invalid = |e: &dyn std::fmt::Display| EngineError::Invalid(e.to_string());
        let terms = new.terms;
        let manifest = Manifest {
            salt: random::<32>()?.into(),
            image: terms.image,
            ssh_authorized_keys: terms.ssh_authorized_keys,
            disk_of: new.disk_of,
        };
        let only = new.disk_of.map(|old| self.keeper_of(old)).transpose()?;
        manifest.check().map_err(|e| invalid(&e))?;
        let manifest_hash = manifest.hash().map_err(|e| invalid(&e))?;
        let spec =
            Spec { unit: terms.unit, units: terms.units, traits: terms.traits, manifest: manifest_hash };
        let _turn = self.core.turns.next().await;
        let means = self.core.means().await?;
        let salt = random::<8>()?;
        let bid = Bid {
            buyer: self.core.account.maker(),
            // Whoever settles pays the gas: the key that this node has.
            settler: self.core.account.key(),
            spec: spec.hash_struct(),
            node: self.core.node,
            max_rate: terms.max_rate,
            min_bond_seconds: terms.min_bond_seconds,
            min_points: terms.min_points,
            duration: terms.duration,
            valid_until: self.core.now() + u64::from(terms.valid_for),
            epoch: means.account.epoch,
            salt: u64::from_be_bytes(salt),
        };
        bid.check().map_err(|e| invalid(&e))?;
        spec.check().map_err(|e| invalid(&e))?;
        self.check_funds(&bid, &means).await?;
        self.core.account.require_gas().await?;
        let id = bid.digest(&self.core.chain.domain());
        let explanation = self.core.market.book().explain(&bid, &spec, self.core.now());
        let bid = self.core.account.sign(bid).await?;
        let kept = Kept { only, on_failure: new.on_failure, continues: new.continues, avoid: new.avoid };
        let purchase = new_purchase(id, bid, spec, manifest, kept, new.top_up_budget);
        self.open_auction(id);
        self.gossip(&purchase).await.inspect_err(|_| self.close_auction(&id))?;
        failpoint::reach(&["buyer.post.gossiped"]);
        self.core.store.put(&purchase)?;
        failpoint::reach(&["buyer.post.stored"]);
        self.core.wake.buyer.notify_one();
        Ok((purchase, explanation))
    }

    /// What must be free in the Market for orders to count at all.
    pub fn floor(&self) -> u128 {
        self.floor
    }

    /// The bid's budget must be free in the Market now: later is too late for the provider that holds capacity.
    async fn check_funds(&self, bid: &Bid, means: &Means) -> Result<(), EngineError> {
        let needed = bid.budget().max(self.floor);
        let (free, promised) = (means.account.free, means.reserved);
        if means.left() >= needed {
            return Ok(());
        }
        let wallet = self.core.chain.balances(self.core.account.maker()).await?.wallet;
        let missing = needed.saturating_add(promised) - free;
        let remedy = if wallet >= missing {
            format!("run `sublet wallet deposit {}`", plain(missing))
        } else {
            format!(
                "get {} more into the wallet {}, then run `sublet wallet deposit {}`",
                format_amount(missing - wallet),
                self.core.account.maker(),
                plain(missing)
            )
        };
        let why = if bid.budget() < self.floor {
            "orders of makers with less do not count; its budget, top rate × duration, is smaller"
        } else {
            "top rate × duration"
        };
        Err(EngineError::Funds(format!(
            "this bid needs {} free in the Market{} ({why}); there is {} free in the Market \
             and {} in the wallet: {remedy}",
            format_amount(needed),
            means.beside(),
            format_amount(free),
            format_amount(wallet)
        )))
    }
}

/// What a new bid is remembered with, beside what is signed.
struct Kept {
    only: Option<(Address, B256)>,
    on_failure: OnFailure,
    continues: Option<B256>,
    avoid: Vec<Address>,
}

fn new_purchase(
    id: B256,
    bid: Signed<Bid>,
    spec: Spec,
    manifest: Manifest,
    kept: Kept,
    top_up_budget: u128,
) -> Purchase {
    Purchase {
        id,
        bid,
        spec,
        manifest,
        offer: None,
        accept: None,
        settle_tx: None,
        settled_at: 0,
        ending: None,
        on_failure: kept.on_failure,
        reached: false,
        failure: None,
        continues: kept.continues,
        only: kept.only,
        avoid: kept.avoid,
        phase: BuyerPhase::Seeking,
        declines: Vec::new(),
        access: None,
        trouble: None,
        console: Vec::new(),
        asked: Vec::new(),
        top_up_budget,
    }
}

/// An amount as `sublet wallet deposit` takes it.
fn plain(base_units: u128) -> String {
    format_amount(base_units).trim_end_matches(" CTK").to_owned()
}
