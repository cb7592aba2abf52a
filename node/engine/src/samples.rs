//! Orders and records for the engines' unit tests.

use alloy_primitives::B256;
use sublet_base::phase::{BuyerPhase, ProviderPhase};
use sublet_chain::LeaseView;
use sublet_market::{
    Accept, Bid, LeaseState, Manifest, Offer, Order as _, Quote, Signed, Spec, Traits,
    lease::Params,
    samples::{bid_of, domain, key, offer_of, spec},
};
use sublet_store::{Promise, Purchase};

/// The last second in which the sample accept can be settled.
pub(crate) const SETTLE_BY: u64 = 1_000_100;
/// The last second of the sample bid.
pub(crate) const VALID_UNTIL: u64 = 1_000_300;
/// The lease of [`view`] must be activated by then.
pub(crate) const ACTIVATE_BY: u32 = 1_000_400;
/// The market's parameters, with short times.
pub(crate) const PARAMS: Params = Params { fee_bps: 100, hold: 60, notice: 5, half_life_days: 90 };
/// The lease of [`view`] is paid up to here.
pub(crate) const FUNDED_UNTIL: u32 = 1_004_000;

fn offer() -> Signed<Offer> {
    let offer = Offer {
        node: B256::repeat_byte(1),
        units: 1,
        price_per_second: 1_000,
        traits: Traits::default(),
        valid_until: VALID_UNTIL,
        ..offer_of(&key(1), 7)
    };
    key(1).sign(offer, &domain())
}

fn manifest() -> Manifest {
    Manifest {
        salt: B256::ZERO,
        image: "debian-guest".into(),
        ssh_authorized_keys: vec!["ssh-ed25519 AAAA".into()],
        disk_of: None,
    }
}

fn bid() -> (Signed<Bid>, Spec) {
    let spec = Spec { manifest: manifest().hash().unwrap(), ..spec() };
    let bid = Bid {
        node: B256::repeat_byte(2),
        max_rate: 1_000,
        duration: 3_600,
        valid_until: VALID_UNTIL,
        ..bid_of(&key(2), &spec, 1)
    };
    (key(2).sign(bid, &domain()), spec)
}

fn accept() -> Signed<Accept> {
    let offer = offer();
    let accept = Accept {
        bid: bid().0.order.digest(&domain()),
        offer: offer.order.digest(&domain()),
        provider: offer.order.provider,
        node: offer.order.node,
        rate: 1_000,
        bond_seconds: 600,
        activate_within: 300,
        max_duration: 86_400,
        burn: false,
        settle_by: SETTLE_BY,
    };
    key(1).sign(accept, &domain())
}

/// The sample offer as the book quotes it.
pub(crate) fn quote() -> Quote {
    let offer = offer();
    Quote { digest: offer.order.digest(&domain()), rate: 1_000, points: 0, offer }
}

/// A promise in a phase.
pub(crate) fn promise(phase: ProviderPhase) -> Promise {
    let (bid, spec) = bid();
    Promise {
        id: bid.order.digest(&domain()),
        series: 7,
        offer: offer(),
        bid,
        spec,
        manifest: manifest(),
        accept: accept(),
        phase,
        accepted_at: 1_000_000,
        instance: None,
        access: None,
        trouble: None,
        give_up: false,
        closing: false,
        console: Vec::new(),
    }
}

/// A purchase in a phase, with the accept that the phase implies.
pub(crate) fn purchase(phase: BuyerPhase) -> Purchase {
    let (bid, spec) = bid();
    let chosen = phase != BuyerPhase::Seeking;
    Purchase {
        id: bid.order.digest(&domain()),
        bid,
        spec,
        manifest: manifest(),
        offer: chosen.then(offer),
        accept: chosen.then(accept),
        settle_tx: None,
        settled_at: 0,
        ending: None,
        on_failure: Default::default(),
        reached: false,
        failure: None,
        continues: None,
        only: None,
        avoid: Vec::new(),
        phase,
        declines: Vec::new(),
        access: None,
        trouble: None,
        console: Vec::new(),
        asked: Vec::new(),
        top_up_budget: 0,
    }
}

/// The lease of the samples in a state.
pub(crate) fn view(state: LeaseState) -> LeaseView {
    LeaseView {
        state,
        reason: None,
        buyer: key(2).address(),
        provider: key(1).address(),
        rate: 1_000,
        max_end: 2_000_000,
        paid_until: 1_000_400,
        funded_until: FUNDED_UNTIL,
        bond_seconds: 600,
        burn: false,
        activate_by: ACTIVATE_BY,
        duration: 3_600,
        max_duration: 86_400,
    }
}
