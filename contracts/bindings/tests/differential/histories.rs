//! Histories of several leases between makers who trade both ways: after each call the lease, both accounts and the burn
//! bucket must be what `sublet_market::lease` says.

use alloy::primitives::{Address, B256, Bytes, Log, U256};
use sublet_contracts::{IMarket, IMarket::LeaseView, Market};
use sublet_market::{
    Accept, Bid, Order as _, OrderKey,
    lease::{Action, EndReason, Flows, Lease, Params, Party, Points, Refusal, State},
};

use crate::{
    Random, Tally,
    evm::{Chain, only},
    revert_name, seed, times,
};

const HISTORIES: u64 = 130;
const CALLS: u64 = 40;
const START: u64 = 1_900_000_000;

struct Maker {
    key: OrderKey,
    operator: Address,
    free: u128,
    points: Points,
}

struct World {
    chain: Chain,
    params: Params,
    makers: Vec<Maker>,
    leases: Vec<(B256, Lease)>,
    payouts: u128,
    fees: u128,
    salt: u64,
}

impl World {
    fn new(random: &mut Random) -> Self {
        let hold = random.within32(60, 3_600);
        let params = Params {
            fee_bps: u16::try_from(random.within(10, 500)).expect("16 bits"),
            hold,
            notice: random.within32(0, hold.min(600)),
            half_life_days: u16::try_from(random.within(7, 365)).expect("16 bits"),
        };
        let mut chain = Chain::new(&params, START);
        let mut makers = Vec::new();
        for n in 1..=3_u8 {
            let key = OrderKey::from_bytes(&[n; 32]).expect("a key");
            let operator = Address::repeat_byte(0x10 + n);
            let free = u128::from(random.within(1, 1 << 55)) << 16;
            chain.fund(key.address(), free);
            chain
                .send(key.address(), &Market::setOperatorCall { key: operator, approved: true })
                .expect("an operator");
            makers.push(Maker { key, operator, free, points: Points::default() });
        }
        Self { chain, params, makers, leases: Vec::new(), payouts: 0, fees: 0, salt: 0 }
    }

    fn of(&mut self, address: Address) -> &mut Maker {
        self.makers.iter_mut().find(|m| m.key.address() == address).expect("a maker")
    }

    /// A good trade between two of the makers; refused only for lack of money.
    fn settle(&mut self, random: &mut Random) -> &'static str {
        let (b, p) = *random.pick(&[(0, 1), (1, 0), (0, 2), (2, 1)]);
        self.salt += 1;
        let bits = random.within(1, 58);
        let rate = random.within(1, 1 << bits);
        let duration = random.within32(300, 20_000);
        let buyer = self.makers[b].key.address();
        let bid = Bid {
            buyer,
            settler: buyer,
            spec: B256::repeat_byte(1),
            node: B256::repeat_byte(5),
            max_rate: rate,
            min_bond_seconds: 0,
            min_points: 0,
            duration,
            valid_until: self.chain.now,
            epoch: 0,
            salt: self.salt,
        };
        let bid = self.makers[b].key.sign(bid, &self.chain.domain);
        let id = bid.order.digest(&self.chain.domain);
        let accept = Accept {
            bid: id,
            offer: B256::ZERO,
            provider: self.makers[p].key.address(),
            node: B256::repeat_byte(6),
            rate,
            bond_seconds: random.within32(0, 4_000),
            activate_within: random.within32(0, 1_800),
            max_duration: random.within32(duration, 40_000),
            burn: random.once_in(4),
            settle_by: self.chain.now,
        };
        let accept = self.makers[p].key.sign(accept, &self.chain.domain);
        let call = Market::settleCall {
            bid: IMarket::Bid::from(&bid.order),
            bidSignature: Bytes::copy_from_slice(bid.signature.as_bytes()),
            accept: IMarket::Accept::from(&accept.order),
            acceptSignature: Bytes::copy_from_slice(accept.signature.as_bytes()),
        };
        let (lease, flows) = Lease::open(&bid.order, &accept.order, self.chain.now).expect("good terms");
        let theirs = self.chain.send(buyer, &call);
        let ours = if self.makers[b].free < flows.escrow_in {
            "BuyerFunds"
        } else if self.makers[p].free < flows.bond_in {
            "ProviderFunds"
        } else {
            self.makers[b].free -= flows.escrow_in;
            self.makers[p].free -= flows.bond_in;
            self.leases.push((id, lease));
            "settle"
        };
        assert_eq!(ours, theirs.err().map_or("settle", |data| revert_name(&data)));
        ours
    }

    /// Anybody's try at a step of one of the leases.
    fn act(&mut self, random: &mut Random) -> &'static str {
        let Some(at) = self.leases.len().checked_sub(1) else { return self.settle(random) };
        let back = random.within(0, u64::try_from(at.min(2)).expect("small"));
        let at = at - usize::try_from(back).expect("small");
        let (id, lease) = self.leases[at];
        let (from, by) = self.caller(random, &lease);
        let secs = *random.pick(&[0, 1, 300, 5_000, u32::MAX]);
        use Action::{Abort, Activate, Close, Finish, ProviderClose, Reject, TopUp};
        let top_up = TopUp(secs);
        // Mostly what the state allows, so that histories get somewhere.
        let early = [Activate, Activate, Activate, Activate, Abort, top_up, Close];
        let running =
            [top_up, top_up, top_up, Close, Reject, Reject, ProviderClose, Finish, Finish, Activate];
        let over = [Activate, Abort, top_up, Close, Reject, ProviderClose, Finish];
        let action = *match lease.state {
            State::Opened { .. } => random.pick(&early),
            State::Active { .. } => random.pick(&running),
            State::Ended(_) => random.pick(&over),
        };
        let theirs = match action {
            Action::Activate => self.chain.send(from, &Market::activateCall { id }),
            Action::Abort => self.chain.send(from, &Market::abortCall { id }),
            Action::TopUp(secs) => self.chain.send(from, &Market::topUpCall { id, secs }),
            Action::Close => self.chain.send(from, &Market::closeCall { id }),
            Action::Reject => self.chain.send(from, &Market::rejectCall { id }),
            Action::ProviderClose => self.chain.send(from, &Market::providerCloseCall { id }),
            Action::Finish => self.chain.send(from, &Market::finishCall { id }),
            Action::Claim => unreachable!("claims go in batches"),
        };
        let ours = lease.apply(action, by, self.chain.now, &self.params);
        let free = self.of(lease.buyer).free;
        let verdict = match &ours {
            Err(no) => error_of(no),
            Ok((_, flows)) if flows.escrow_in > free => "InsufficientFree",
            Ok(_) => name_of(action),
        };
        let logs = match theirs {
            Err(data) => {
                assert_eq!(
                    verdict,
                    revert_name(&data),
                    "{action:?} by {by:?} of {lease:?} at {}",
                    self.chain.now
                );
                return verdict;
            }
            Ok((_, logs)) => logs,
        };
        let (next, flows) =
            ours.unwrap_or_else(|no| panic!("{action:?} of {lease:?} went through, not here: {no}"));
        assert_eq!(verdict, name_of(action), "{action:?} of {lease:?} went through");
        if let State::Ended(reason) = next.state {
            assert_end(&logs, reason, &flows);
        }
        self.book(at, next, &flows, matches!(next.state, State::Ended(_)));
        verdict
    }

    /// A claim of a list with repetitions, strangers' and unknown leases in it.
    fn claim(&mut self, random: &mut Random) -> &'static str {
        let mut wanted = Vec::new();
        for _ in 0..random.within(0, 4) {
            let known = self.leases.len();
            let pick =
                usize::try_from(random.within(0, u64::try_from(known).expect("small"))).expect("small");
            wanted.push(self.leases.get(pick).map_or(B256::repeat_byte(0xee), |(id, _)| *id));
        }
        let theirs = self.chain.send(Address::repeat_byte(0x77), &Market::claimCall { ids: wanted.clone() });
        let mut paid = 0;
        for id in wanted {
            let Some(at) = self.leases.iter().position(|(known, _)| *known == id) else { continue };
            if let Ok((next, flows)) = self.leases[at].1.claim(self.chain.now, &self.params) {
                self.book(at, next, &flows, true);
                paid += 1;
            }
        }
        match theirs {
            Ok((_, logs)) => {
                assert_eq!(logs.len(), paid, "one event a payment");
                "claim"
            }
            Err(data) => {
                assert_eq!(paid, 0, "the contract found nothing to claim");
                revert_name(&data)
            }
        }
    }

    fn withdraw(&mut self, random: &mut Random) -> &'static str {
        let at = usize::try_from(random.within(0, 2)).expect("small");
        let (maker, free) = (self.makers[at].key.address(), self.makers[at].free);
        let amount = *random.pick(&[0, 1, free / 3, free.saturating_add(1)]);
        match self.chain.send(maker, &Market::withdrawCall { amount: U256::from(amount) }) {
            Ok(_) => {
                assert!(amount > 0 && amount <= free);
                self.makers[at].free -= amount;
                "withdraw"
            }
            Err(data) => {
                assert_eq!(revert_name(&data), if amount == 0 { "ZeroAmount" } else { "InsufficientFree" });
                assert!(amount == 0 || amount > free);
                "no withdraw"
            }
        }
    }

    fn caller(&self, random: &mut Random, lease: &Lease) -> (Address, Party) {
        let operator = |of: Address| {
            self.makers.iter().find(|m| m.key.address() == of).map(|m| m.operator).expect("a maker")
        };
        match random.within(0, 8) {
            0..=2 if !matches!(lease.state, State::Opened { .. }) => (lease.buyer, Party::Buyer),
            0..=5 => (lease.provider, Party::Provider),
            6 => (operator(lease.buyer), Party::Buyer),
            7 => (operator(lease.provider), Party::Provider),
            _ => (Address::repeat_byte(0x77), Party::Other),
        }
    }

    fn book(&mut self, at: usize, next: Lease, flows: &Flows, writes_points: bool) {
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

    fn assert_same(&mut self) {
        let now = self.chain.now;
        let ids: Vec<B256> = self.leases.iter().map(|(id, _)| *id).collect();
        let views = self.chain.read(&Market::leasesCall { ids });
        for ((_, lease), view) in self.leases.iter().zip(&views) {
            assert_view(lease, view);
        }
        let makers: Vec<Address> = self.makers.iter().map(|m| m.key.address()).collect();
        let accounts = self.chain.read(&Market::accountsCall { makers });
        for (maker, seen) in self.makers.iter().zip(&accounts) {
            assert_eq!(
                (maker.free, maker.points.at(now, &self.params)),
                (seen.free.to::<u128>(), seen.points)
            );
        }
        let bucket = self.chain.read(&Market::burnBucketCall {});
        assert_eq!((self.payouts, self.fees), (bucket.payouts, bucket.fees));
    }
}

fn assert_view(lease: &Lease, view: &LeaseView) {
    let terms = (view.buyer, view.provider, view.rate, view.bondSeconds.to::<u32>(), view.burn);
    assert_eq!((lease.buyer, lease.provider, lease.rate, lease.bond_seconds, lease.burn), terms);
    match lease.state {
        State::Opened { activate_by, duration, max_duration } => {
            assert_eq!((view.state, u64::from(view.activateBy)), (1, activate_by));
            assert_eq!((view.duration, view.maxDuration), (duration, max_duration));
        }
        State::Active { paid_until, funded_until, max_end } => {
            let times = (view.paidUntil.into(), view.fundedUntil.into(), view.maxEnd.into());
            assert_eq!((view.state, (paid_until, funded_until, max_end)), (2, times));
        }
        State::Ended(reason) => assert_eq!((view.state, view.reason), (3, number_of(reason))),
    }
}

fn assert_end(logs: &[Log], reason: EndReason, flows: &Flows) {
    let event: Market::LeaseEnded = only(logs);
    assert_eq!(event.reason, number_of(reason));
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

fn number_of(reason: EndReason) -> u8 {
    match reason {
        EndReason::Cancelled => 1,
        EndReason::Aborted => 2,
        EndReason::Closed => 3,
        EndReason::Rejected => 4,
        EndReason::ProviderClosed => 5,
        EndReason::Finished => 6,
    }
}

fn name_of(action: Action) -> &'static str {
    match action {
        Action::Activate => "activate",
        Action::Abort => "abort",
        Action::TopUp(_) => "topUp",
        Action::Claim => "claim",
        Action::Close => "close",
        Action::Reject => "reject",
        Action::ProviderClose => "providerClose",
        Action::Finish => "finish",
    }
}

fn error_of(no: &Refusal) -> &'static str {
    match no {
        Refusal::NotInState(_) => "WrongState",
        Refusal::NotAllowed("buyer") => "NotBuyer",
        Refusal::NotAllowed(_) => "NotProvider",
        Refusal::ActivationMissed(_) => "ActivationLate",
        Refusal::StillActivatable(_) => "AbortEarly",
        Refusal::FundsEnded(_) => "LeaseOver",
        Refusal::NotFinishable(_) => "FinishEarly",
        Refusal::BeyondMaxEnd(_) => "TopUpTooLong",
        Refusal::NoSeconds => "ZeroSeconds",
        Refusal::NothingToClaim(_) => "NothingToClaim",
        Refusal::RejectionMissed(_) => "RejectLate",
        Refusal::DurationBeyondMax { .. } => "DurationTooLong",
    }
}

#[test]
fn every_step_of_every_history_moves_the_same() {
    let mut tally = Tally::default();
    for history in 0..HISTORIES * times() {
        let mut random = Random::new(seed().wrapping_add(history));
        let mut world = World::new(&mut random);
        for call in 0..CALLS {
            let verdict = match random.within(0, 13) {
                0 => world.settle(&mut random),
                1..=7 => world.act(&mut random),
                8 | 9 => world.claim(&mut random),
                10 => world.withdraw(&mut random),
                _ => {
                    // Mostly minutes, sometimes the very same second, seldom days.
                    let secs =
                        [0, random.within(0, 900), random.within(0, 8_000), random.within(0, 40 * 86_400)];
                    let secs =
                        secs[[0, 0, 1, 1, 1, 1, 2, 3][usize::try_from(random.within(0, 7)).expect("small")]];
                    let now = world.chain.now + secs;
                    world.chain.set_time(now);
                    "wait"
                }
            };
            println!("history {history} of seed {}, call {call}: {verdict}", seed());
            world.assert_same();
            tally.count(verdict);
        }
    }
    let all = [
        "settle",
        "activate",
        "abort",
        "topUp",
        "claim",
        "close",
        "reject",
        "providerClose",
        "finish",
        "withdraw",
        "BuyerFunds",
        "ProviderFunds",
        "WrongState",
        "NotBuyer",
        "NotProvider",
        "ActivationLate",
        "AbortEarly",
        "LeaseOver",
        "FinishEarly",
        "TopUpTooLong",
        "ZeroSeconds",
        "NothingToClaim",
        "RejectLate",
    ];
    tally.demand(&all, 2);
    let calls: u64 = HISTORIES * CALLS;
    assert!(tally.total() >= calls);
}
