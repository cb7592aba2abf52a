//! Histories of several leases between makers who trade both ways, approve and revoke operators, cancel bids and void
//! all of them: after each call all leases and accounts and the burn bucket must be what Rust's books say; operators
//! too, where they were set and at the end.

use std::fmt::Display;

use alloy::primitives::{Address, B256, Bytes};
use sublet_contracts::{IMarket, Market};
use sublet_market::{
    Accept, Bid, Order as _,
    lease::{Action, Lease, State},
};

use crate::{
    Random, Tally,
    evm::only,
    refusals::{Step, bytes, of_step},
    seed, times,
    world::{Owner, STRANGER, Trade, World, assert_end, cancelled},
};

const HISTORIES: u64 = 130;
const CALLS: u64 = 40;
/// Of those, at least so many are made while there is something to compare.
pub(crate) const LEAST_CASES: u64 = 4_000;

fn index(n: u64) -> usize {
    usize::try_from(n).expect("small")
}

fn count(items: usize) -> u64 {
    u64::try_from(items).expect("small")
}

impl World {
    /// A trade between two of the makers: mostly a good one, which only lack of money stops.
    fn trade(&mut self, random: &mut Random) -> Trade {
        let (b, p) = *random.pick(&[(0, 1), (1, 0), (0, 2), (2, 1)]);
        self.salt += 1;
        let (now, domain) = (self.chain.now, self.chain.domain);
        let (buyer, provider) = (&self.owners[b], &self.owners[p]);
        let bits = random.within(1, 58);
        let rate = random.within(1, 1 << bits);
        let duration = random.within32(300, 20_000);
        let points = provider.points.at(now, &self.params);
        let bid = Bid {
            buyer: buyer.key.address(),
            settler: if random.once_in(5) { STRANGER } else { buyer.key.address() },
            spec: B256::repeat_byte(1),
            node: B256::repeat_byte(5),
            max_rate: rate,
            min_bond_seconds: 0,
            min_points: if random.once_in(6) { points + random.within(0, 1) } else { 0 },
            duration,
            valid_until: if random.once_in(24) { now - 1 } else { now + random.within(0, 600) },
            epoch: if random.once_in(16) { buyer.epoch + 1 } else { buyer.epoch },
            salt: self.salt,
        };
        let accept = Accept {
            bid: bid.digest(&domain),
            offer: B256::ZERO,
            provider: provider.key.address(),
            node: B256::repeat_byte(6),
            rate,
            bond_seconds: if random.once_in(12) { 86_400 } else { random.within32(0, 4_000) },
            activate_within: random.within32(0, 1_800),
            max_duration: random.within32(duration, 40_000),
            burn: random.once_in(4),
            settle_by: if random.once_in(24) { now - 1 } else { now + random.within(0, 300) },
        };
        // By the maker, by its operator, approved or not, or by the other side.
        let signer = |random: &mut Random, maker: &Owner, other: &Owner| match random.within(0, 11) {
            0 => other.key.clone(),
            1 | 2 => maker.operator.clone(),
            _ => maker.key.clone(),
        };
        Trade {
            bid: signer(random, buyer, provider).sign(bid, &domain),
            accept: signer(random, provider, buyer).sign(accept, &domain),
        }
    }

    /// Settles a new trade, or one of before.
    fn settle(&mut self, random: &mut Random, tally: &mut Tally) -> &'static str {
        let trade = if self.trades.is_empty() || !random.once_in(8) {
            let trade = self.trade(random);
            self.trades.push(trade.clone());
            trade
        } else {
            self.recent(random)
        };
        let settler = trade.bid.order.settler;
        let caller = match random.within(0, 9) {
            0 => STRANGER,
            1 => self.operator(settler),
            _ => settler,
        };
        let at = self.at();
        self.try_settle(&trade, caller, tally, &at)
    }

    /// Settles here and there.
    pub(crate) fn try_settle(
        &mut self,
        trade: &Trade,
        caller: Address,
        tally: &mut Tally,
        case: &dyn Display,
    ) -> &'static str {
        let Trade { bid, accept } = trade;
        let call = Market::settleCall {
            bid: IMarket::Bid::from(&bid.order),
            bidSignature: Bytes::copy_from_slice(bid.signature.as_bytes()),
            accept: IMarket::Accept::from(&accept.order),
            acceptSignature: Bytes::copy_from_slice(accept.signature.as_bytes()),
        };
        let ours = self.settled(trade, caller);
        let theirs = self.chain.send(caller, &call);
        let verdict = tally.agree("settle", &ours, &theirs, case);
        if let Ok((id, lease, flows)) = ours {
            self.of(lease.buyer).free -= flows.escrow_in;
            self.of(lease.provider).free -= flows.bond_in;
            self.leases.push((id, lease));
        }
        verdict
    }

    /// One of the last trades.
    fn recent(&self, random: &mut Random) -> Trade {
        let known = self.trades.len();
        self.trades[known - 1 - index(random.within(0, count(known.min(6) - 1)))].clone()
    }

    /// Somebody's try at cancelling a bid of before.
    fn cancel(&mut self, random: &mut Random, tally: &mut Tally) -> &'static str {
        if self.trades.is_empty() {
            return self.settle(random, tally);
        }
        let trade = self.recent(random);
        let (bid, id) = (&trade.bid.order, trade.bid.digest(&self.chain.domain));
        let (caller, _) = self.one_of(random, bid.buyer);
        let ours = if self.speaks_for(caller, bid.buyer) {
            self.unused(id)
        } else {
            Err(bytes(&Market::NotBuyer { caller, buyer: bid.buyer }))
        };
        let theirs = self.chain.send(caller, &Market::cancelCall { bid: IMarket::Bid::from(bid) });
        let verdict = tally.agree("cancel", &ours, &theirs, &self.at());
        if ours.is_ok() {
            let event: Market::BidCancelled = only(&theirs.expect("agreed").1);
            assert_eq!((event.id, event.buyer), (id, bid.buyer));
            self.leases.push((id, cancelled()));
        }
        verdict
    }

    /// Anybody's try at a step of one of the leases.
    fn act(&mut self, random: &mut Random, tally: &mut Tally) -> &'static str {
        use Action::{Abort, Activate, Close, Finish, ProviderClose, Reject, TopUp};
        let Some(at) = self.any_lease(random) else { return self.settle(random, tally) };
        let (id, lease) = self.leases[at];
        let from = self.caller(random, &lease);
        let secs = *random.pick(&[0, 1, 300, 5_000, u32::MAX]);
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
        let (name, theirs) = match action {
            Activate => ("activate", self.chain.send(from, &Market::activateCall { id })),
            Abort => ("abort", self.chain.send(from, &Market::abortCall { id })),
            TopUp(secs) => ("topUp", self.chain.send(from, &Market::topUpCall { id, secs })),
            Close => ("close", self.chain.send(from, &Market::closeCall { id })),
            Reject => ("reject", self.chain.send(from, &Market::rejectCall { id })),
            ProviderClose => ("providerClose", self.chain.send(from, &Market::providerCloseCall { id })),
            Finish => ("finish", self.chain.send(from, &Market::finishCall { id })),
            Action::Claim => unreachable!("claims go in batches"),
        };
        let now = self.chain.now;
        let step = Step { id, lease: &lease, caller: from, seconds: secs, now };
        let ours = lease
            .apply(action, self.party(from, &lease), now, &self.params)
            .map_err(|no| of_step(&no, &step))
            .and_then(|(next, flows)| {
                self.covered(lease.buyer, flows.escrow_in)?;
                Ok((next, flows))
            });
        let verdict =
            tally.agree(name, &ours, &theirs, &format_args!("{}: {action:?} of {lease:?}", self.at()));
        if let (Ok((next, flows)), Ok((_, logs))) = (ours, theirs) {
            if let State::Ended(reason) = next.state {
                assert_end(&logs, reason, &flows);
            }
            self.book(at, next, &flows, matches!(next.state, State::Ended(_)));
        }
        verdict
    }

    /// Mostly one that has not ended.
    fn any_lease(&self, random: &mut Random) -> Option<usize> {
        let all: Vec<usize> = (0..self.leases.len()).collect();
        let live: Vec<usize> =
            all.iter().copied().filter(|at| !matches!(self.leases[*at].1.state, State::Ended(_))).collect();
        let of = if live.is_empty() || random.once_in(6) { all } else { live };
        if of.is_empty() { None } else { Some(*random.pick(&of)) }
    }

    /// A claim of a list with repetitions, strangers', cancelled and unknown leases in it.
    fn claim(&mut self, random: &mut Random, tally: &mut Tally) -> &'static str {
        let mut wanted = Vec::new();
        for _ in 0..random.within(0, 4) {
            let known = self.any_lease(random).filter(|_| !random.once_in(6));
            wanted.push(known.map_or(B256::repeat_byte(0xee), |at| self.leases[at].0));
        }
        let theirs = self.chain.send(STRANGER, &Market::claimCall { ids: wanted.clone() });
        let mut paid = 0;
        for id in wanted {
            let Some(at) = self.leases.iter().position(|(known, _)| *known == id) else { continue };
            if let Ok((next, flows)) = self.leases[at].1.claim(self.chain.now, &self.params) {
                self.book(at, next, &flows, true);
                paid += 1;
            }
        }
        let ours = if paid > 0 { Ok(()) } else { Err(bytes(&Market::NothingToClaim {})) };
        let verdict = tally.agree("claim", &ours, &theirs, &self.at());
        if let Ok((_, logs)) = theirs {
            assert_eq!(logs.len(), paid, "one event a payment");
        }
        verdict
    }

    fn caller(&self, random: &mut Random, lease: &Lease) -> Address {
        match random.within(0, 8) {
            0..=2 if !matches!(lease.state, State::Opened { .. }) => lease.buyer,
            0..=5 => lease.provider,
            6 => self.operator(lease.buyer),
            7 => self.operator(lease.provider),
            _ => STRANGER,
        }
    }

    /// Mostly minutes, sometimes the very same second, seldom days.
    fn wait(&mut self, random: &mut Random) {
        let secs = [0, random.within(0, 900), random.within(0, 8_000), random.within(0, 40 * 86_400)];
        let secs = secs[[0, 0, 1, 1, 1, 1, 2, 3][index(random.within(0, 7))]];
        let now = self.chain.now + secs;
        self.chain.set_time(now);
    }
}

/// What every run of the histories must have called with success, often enough.
const CALLS_MADE: [&str; 16] = [
    "settle",
    "cancel",
    "activate",
    "abort",
    "topUp",
    "claim",
    "close",
    "reject",
    "providerClose",
    "finish",
    "withdraw",
    "depositFor",
    "bumpEpoch",
    "approve",
    "revoke",
    "flushBurn",
];

/// And how it must have been refused.
const REFUSALS_SEEN: [&str; 25] = [
    "NotSettler",
    "LeaseExists",
    "BidExpired",
    "AcceptExpired",
    "EpochMismatch",
    "PointsTooLow",
    "BuyerFunds",
    "ProviderFunds",
    "BidSignatureInvalid",
    "AcceptSignatureInvalid",
    "WrongState",
    "NotBuyer",
    "NotProvider",
    "ActivationLate",
    "AbortEarly",
    "LeaseOver",
    "FinishEarly",
    "TopUpTooLong",
    "ZeroSeconds",
    "InsufficientFree",
    "NothingToClaim",
    "RejectLate",
    "ZeroAmount",
    "ZeroAddress",
    "NothingToFlush",
];

#[test]
fn every_step_of_every_history_moves_the_same() {
    let mut tally = Tally::default();
    for history in 0..HISTORIES * times() {
        let mut random = Random::new(seed().wrapping_add(history));
        let mut world = World::new(&mut random);
        for call in 0..CALLS {
            let verdict = match random.within(0, 18) {
                0..=3 => world.settle(&mut random, &mut tally),
                4..=10 => world.act(&mut random, &mut tally),
                11 | 12 => world.claim(&mut random, &mut tally),
                13 => world.cancel(&mut random, &mut tally),
                14 | 15 => world.bank(&mut random, &mut tally),
                _ => {
                    world.wait(&mut random);
                    "time passes"
                }
            };
            println!("history {history} of seed {}, call {call}: {verdict}", seed());
            world.assert_same();
        }
        world.assert_operators();
    }
    tally.demand(LEAST_CASES * times(), &[&CALLS_MADE[..], &REFUSALS_SEEN[..]].concat(), 2);
}
