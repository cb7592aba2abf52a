//! A Market, its makers, and the books that Rust keeps of them.

use alloy::primitives::{Address, B256, Bytes, Log, U256};
use sublet_contracts::{IMarket::LeaseView, Market, end_reason, lease_state};
use sublet_market::{
    Accept, Bid, Maker, OrderKey, Signed, check_settle,
    lease::{EndReason, Flows, Lease, Params, Party, Points, State},
};

use crate::{
    Random,
    evm::{Chain, only},
    refusals::{self, bytes, state_of},
};

const START: u64 = 1_900_000_000;
/// Nobody's operator.
pub(crate) const STRANGER: Address = Address::repeat_byte(0x77);

/// A maker's account, and the one key that it approves and revokes.
pub(crate) struct Owner {
    pub(crate) key: OrderKey,
    pub(crate) operator: OrderKey,
    pub(crate) approved: bool,
    pub(crate) free: u128,
    pub(crate) epoch: u32,
    pub(crate) points: Points,
}

/// Two orders for each other, signed by whoever.
#[derive(Clone)]
pub(crate) struct Trade {
    pub(crate) bid: Signed<Bid>,
    pub(crate) accept: Signed<Accept>,
}

pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) params: Params,
    pub(crate) owners: Vec<Owner>,
    /// All ids that are used up: leases, and bids that were cancelled before they became one.
    pub(crate) leases: Vec<(B256, Lease)>,
    /// To be tried again.
    pub(crate) trades: Vec<Trade>,
    pub(crate) payouts: u128,
    pub(crate) fees: u128,
    pub(crate) salt: u64,
}

impl World {
    pub(crate) fn new(random: &mut Random) -> Self {
        let hold = random.within32(60, 3_600);
        let params = Params {
            fee_bps: u16::try_from(random.within(10, 500)).expect("16 bits"),
            hold,
            notice: random.within32(0, hold.min(600)),
            half_life_days: u16::try_from(random.within(7, 365)).expect("16 bits"),
        };
        let mut chain = Chain::new(&params, START);
        let mut owners = Vec::new();
        for n in 1..=3_u8 {
            let key = OrderKey::from_bytes(&[n; 32]).expect("a key");
            let operator = OrderKey::from_bytes(&[0x10 + n; 32]).expect("a key");
            let free = u128::from(random.within(1, 1 << 55)) << 16;
            chain.fund(key.address(), free);
            let call = Market::setOperatorCall { key: operator.address(), approved: true };
            chain.send(key.address(), &call).expect("an operator");
            owners.push(Owner { key, operator, approved: true, free, epoch: 0, points: Points::default() });
        }
        let (leases, trades) = (Vec::new(), Vec::new());
        Self { chain, params, owners, leases, trades, payouts: 0, fees: 0, salt: 0 }
    }

    pub(crate) fn find(&self, address: Address) -> Option<&Owner> {
        self.owners.iter().find(|o| o.key.address() == address)
    }

    pub(crate) fn of(&mut self, address: Address) -> &mut Owner {
        self.owners.iter_mut().find(|o| o.key.address() == address).expect("a maker")
    }

    /// A maker's operator, approved or not; nobody's is the stranger.
    pub(crate) fn operator(&self, maker: Address) -> Address {
        self.find(maker).map_or(STRANGER, |o| o.operator.address())
    }

    /// Whether the contract must take `key` for `maker`.
    pub(crate) fn speaks_for(&self, key: Address, maker: Address) -> bool {
        key == maker || self.find(maker).is_some_and(|o| o.approved && o.operator.address() == key)
    }

    pub(crate) fn party(&self, caller: Address, lease: &Lease) -> Party {
        if self.speaks_for(caller, lease.buyer) {
            Party::Buyer
        } else if self.speaks_for(caller, lease.provider) {
            Party::Provider
        } else {
            Party::Other
        }
    }

    /// What a settlement comes to by Rust: its rules in the contract's order, the signers that it recovers, the lease.
    pub(crate) fn settled(&self, trade: &Trade, caller: Address) -> Result<(B256, Lease, Flows), Bytes> {
        let (bid, accept, domain) = (&trade.bid.order, &trade.accept.order, &self.chain.domain);
        if !self.speaks_for(caller, bid.settler) {
            return Err(bytes(&Market::NotSettler { caller, settler: bid.settler }));
        }
        let id = trade.bid.digest(domain);
        if accept.bid == id {
            self.unused(id)?;
        }
        let (buyer, provider, now) = (bid.buyer, accept.provider, self.chain.now);
        check_settle(bid, id, accept, &self.account(buyer), &self.account(provider), now)
            .map_err(|no| refusals::of_orders(&no, bid, id, accept, now))?;
        let signer = trade.bid.signer(domain).expect("a signature of ours");
        if !self.speaks_for(signer, buyer) {
            return Err(bytes(&Market::BidSignatureInvalid { signer, buyer }));
        }
        let signer = trade.accept.signer(domain).expect("a signature of ours");
        if !self.speaks_for(signer, provider) {
            return Err(bytes(&Market::AcceptSignatureInvalid { signer, provider }));
        }
        let (lease, flows) = Lease::open(bid, accept, now).expect("check_settle has looked at the duration");
        Ok((id, lease, flows))
    }

    /// An id is used once.
    pub(crate) fn unused(&self, id: B256) -> Result<(), Bytes> {
        match self.leases.iter().find(|(known, _)| *known == id) {
            Some((_, lease)) => Err(bytes(&Market::LeaseExists { id, state: state_of(lease) as u8 })),
            None => Ok(()),
        }
    }

    fn account(&self, maker: Address) -> Maker {
        self.find(maker).map_or(Maker { free: 0, points: 0, epoch: 0 }, |o| Maker {
            free: o.free,
            points: o.points.at(self.chain.now, &self.params),
            epoch: o.epoch,
        })
    }

    /// Books a step of a lease.
    pub(crate) fn book(&mut self, at: usize, next: Lease, flows: &Flows, writes_points: bool) {
        let (now, params) = (self.chain.now, self.params);
        self.leases[at].1 = next;
        let buyer = self.of(next.buyer);
        buyer.free = buyer.free + flows.to_buyer + flows.bond_to_buyer - flows.escrow_in;
        let provider = self.of(next.provider);
        provider.free += flows.to_provider + flows.bond_to_provider;
        if writes_points {
            provider.points = provider.points.write(now, flows.points_earned, flows.points_cut, &params);
        }
        self.payouts += flows.to_payout_bucket;
        self.fees += flows.fee + flows.burned + flows.bond_burned;
    }

    /// All leases, accounts and the bucket are on chain what the books say.
    pub(crate) fn assert_same(&mut self) {
        let now = self.chain.now;
        let ids: Vec<B256> = self.leases.iter().map(|(id, _)| *id).collect();
        let views = self.chain.read(&Market::leasesCall { ids });
        for ((_, lease), view) in self.leases.iter().zip(&views) {
            assert_view(lease, view);
        }
        let makers: Vec<Address> = self.owners.iter().map(|o| o.key.address()).collect();
        let accounts = self.chain.read(&Market::accountsCall { makers });
        for (owner, seen) in self.owners.iter().zip(&accounts) {
            let ours = (owner.free, owner.epoch, owner.points.at(now, &self.params));
            assert_eq!(ours, (seen.free.to::<u128>(), seen.epoch, seen.points));
        }
        let bucket = self.chain.read(&Market::burnBucketCall {});
        assert_eq!((self.payouts, self.fees), (bucket.payouts, bucket.fees));
    }

    /// So are all operators.
    pub(crate) fn assert_operators(&mut self) {
        for owner in &self.owners {
            let (maker, key) = (owner.key.address(), owner.operator.address());
            assert_eq!(owner.approved, self.chain.read(&Market::isOperatorCall { maker, key }));
        }
    }
}

/// A bid that was cancelled, as the chain keeps it: nobody's lease, which ended before it began.
pub(crate) fn cancelled() -> Lease {
    Lease {
        buyer: Address::ZERO,
        provider: Address::ZERO,
        rate: 0,
        bond_seconds: 0,
        burn: false,
        state: State::Ended(EndReason::Cancelled),
    }
}

fn assert_view(lease: &Lease, view: &LeaseView) {
    let terms = (view.buyer, view.provider, view.rate, view.bondSeconds.to::<u32>(), view.burn);
    assert_eq!((lease.buyer, lease.provider, lease.rate, lease.bond_seconds, lease.burn), terms);
    assert_eq!(lease_state(view.state), Ok(state_of(lease)));
    match lease.state {
        State::Opened { activate_by, duration, max_duration } => {
            assert_eq!(u64::from(view.activateBy), activate_by);
            assert_eq!((view.duration, view.maxDuration), (duration, max_duration));
        }
        State::Active { paid_until, funded_until, max_end } => {
            let times = (view.paidUntil.into(), view.fundedUntil.into(), view.maxEnd.into());
            assert_eq!((paid_until, funded_until, max_end), times);
        }
        State::Ended(reason) => assert_eq!(end_reason(view.reason), Ok(Some(reason))),
    }
}

/// The one event of an end says what Rust's flows say.
pub(crate) fn assert_end(logs: &[Log], reason: EndReason, flows: &Flows) {
    let event: Market::LeaseEnded = only(logs);
    assert_eq!(end_reason(event.reason), Ok(Some(reason)));
    let ours = [
        flows.to_provider + flows.to_payout_bucket,
        flows.fee,
        flows.burned + flows.bond_burned,
        flows.to_buyer,
        flows.bond_to_provider,
        flows.bond_to_buyer,
    ];
    let theirs = [
        event.paidToProvider,
        event.fee,
        event.burned,
        event.refunded,
        event.bondToProvider,
        event.bondToBuyer,
    ];
    assert_eq!(ours.map(U256::from), theirs);
}
