//! The calls that move no lease. Rust has no model of them but the books of `world.rs`.

use alloy::primitives::{Address, Bytes, U256};
use sublet_contracts::Market;

use crate::{
    Random, Tally,
    evm::{DEPLOYER, only},
    refusals::bytes,
    world::{STRANGER, World},
};

impl World {
    /// What moves no lease: money in and out, epochs, operators, and the burning of what was collected.
    pub(crate) fn bank(&mut self, random: &mut Random, tally: &mut Tally) -> &'static str {
        let at = usize::try_from(random.within(0, 2)).expect("small");
        match random.within(0, 7) {
            0..=2 => self.withdraw(random, tally, at),
            3 => self.deposit(random, tally, at),
            4 => self.bump_epoch(random, tally, at),
            5 | 6 => self.set_operator(random, tally, at),
            _ => self.flush_burn(random, tally),
        }
    }

    /// By a maker, or by its operator, who has only what is its own: nothing.
    fn withdraw(&mut self, random: &mut Random, tally: &mut Tally, at: usize) -> &'static str {
        let free = self.owners[at].free;
        let (caller, own) = self.one_of(random, self.owners[at].key.address());
        let amount = *random.pick(&[0, 1, free / 3, free.saturating_add(1)]);
        let ours =
            if amount == 0 { Err(bytes(&Market::ZeroAmount {})) } else { self.covered(caller, amount) };
        let theirs = self.chain.send(caller, &Market::withdrawCall { amount: U256::from(amount) });
        let verdict = tally.agree("withdraw", &ours, &theirs, &self.at());
        if ours.is_ok() {
            assert!(own, "an operator withdrew");
            self.owners[at].free -= amount;
        }
        verdict
    }

    fn deposit(&mut self, random: &mut Random, tally: &mut Tally, at: usize) -> &'static str {
        let maker = self.owners[at].key.address();
        let amount = *random.pick(&[0, 1, 1 << 40, 1 << 68]);
        let ours = if amount == 0 { Err(bytes(&Market::ZeroAmount {})) } else { Ok(()) };
        let theirs = self.chain.send(DEPLOYER, &Market::depositForCall { maker, amount: U256::from(amount) });
        self.owners[at].free += amount;
        tally.agree("depositFor", &ours, &theirs, &self.at())
    }

    /// An operator's is its own epoch, and not its maker's.
    fn bump_epoch(&mut self, random: &mut Random, tally: &mut Tally, at: usize) -> &'static str {
        let (caller, own) = self.one_of(random, self.owners[at].key.address());
        let theirs = self.chain.send(caller, &Market::bumpEpochCall {});
        self.owners[at].epoch += u32::from(own);
        tally.agree("bumpEpoch", &Ok(()), &theirs, &self.at())
    }

    fn set_operator(&mut self, random: &mut Random, tally: &mut Tally, at: usize) -> &'static str {
        let owner = &mut self.owners[at];
        let (maker, approved) = (owner.key.address(), !owner.approved);
        let nobody = random.once_in(8);
        let key = if nobody { Address::ZERO } else { owner.operator.address() };
        let theirs = self.chain.send(maker, &Market::setOperatorCall { key, approved });
        let ours = if nobody {
            Err(bytes(&Market::ZeroAddress {}))
        } else {
            owner.approved = approved;
            Ok(())
        };
        self.assert_operators();
        tally.agree(if approved { "approve" } else { "revoke" }, &ours, &theirs, &self.at())
    }

    fn flush_burn(&mut self, random: &mut Random, tally: &mut Tally) -> &'static str {
        let waiting = (self.payouts, self.fees);
        let ours = if waiting == (0, 0) { Err(bytes(&Market::NothingToFlush {})) } else { Ok(()) };
        let caller = *random.pick(&[STRANGER, self.owners[0].key.address()]);
        let theirs = self.chain.send(caller, &Market::flushBurnCall {});
        let verdict = tally.agree("flushBurn", &ours, &theirs, &self.at());
        if let Ok((_, logs)) = theirs {
            let event: Market::BurnFlushed = only(&logs);
            assert_eq!((U256::from(waiting.0), U256::from(waiting.1)), (event.payouts, event.fees));
            (self.payouts, self.fees) = (0, 0);
        }
        verdict
    }

    /// What the contract says of a debit.
    pub(crate) fn covered(&self, maker: Address, amount: u128) -> Result<(), Bytes> {
        let free = self.find(maker).map_or(0, |o| o.free);
        if amount <= free {
            return Ok(());
        }
        let (free, needed) = (U256::from(free), U256::from(amount));
        Err(bytes(&Market::InsufficientFree { maker, free, needed }))
    }

    /// A maker, mostly, or its operator, or the stranger; and whether it is the maker.
    pub(crate) fn one_of(&self, random: &mut Random, maker: Address) -> (Address, bool) {
        let caller = *random.pick(&[maker, maker, maker, maker, self.operator(maker), STRANGER]);
        (caller, caller == maker)
    }

    /// Where a history is, for whoever reads a failure.
    pub(crate) fn at(&self) -> String {
        format!("at {}", self.chain.now)
    }
}
