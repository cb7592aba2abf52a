//! The makers that the book knows: what the chain says of them, and which orders they have here.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;

use super::pages::Ids;
use crate::rule::Maker;

/// What there is room for, each apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Offers = 0,
    Bids = 1,
    /// Series of offers that have ended; they are listed with the offers.
    Past = 2,
}

const KINDS: [Kind; 3] = [Kind::Offers, Kind::Bids, Kind::Past];

#[derive(Clone, Debug, Default)]
pub(super) struct MakerSlot {
    pub(super) address: Address,
    pub(super) maker: Maker,
    /// Series of offers that are remembered, live or not, and bids.
    pub(super) orders: [Vec<u32>; 2],
    /// How many of each kind there are.
    live: [usize; 3],
    /// Whether its orders are never evicted, nor its series forgotten.
    own: bool,
    /// It was not wanted the last time, and nothing was said of it since.
    idle: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Makers {
    floor: u128,
    by_address: BTreeMap<Address, u32>,
    slots: Vec<MakerSlot>,
    ids: Ids,
    own: BTreeSet<Address>,
    /// Orders of each kind for each floor of free balance, and the maker: who must give way comes last.
    crowded: [BTreeSet<(u64, u32)>; 3],
}

impl Makers {
    pub(super) fn new(floor: u128) -> Self {
        Self {
            floor,
            by_address: BTreeMap::new(),
            slots: Vec::new(),
            ids: Ids::default(),
            own: BTreeSet::new(),
            crowded: Default::default(),
        }
    }

    pub(super) fn floor(&self) -> u128 {
        self.floor
    }

    pub(super) fn id(&self, address: &Address) -> Option<u32> {
        self.by_address.get(address).copied()
    }

    pub(super) fn get(&self, address: &Address) -> Option<&Maker> {
        self.id(address).map(|id| &self.slot(id).maker)
    }

    #[inline]
    pub(super) fn slot(&self, id: u32) -> &MakerSlot {
        &self.slots[id as usize]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Address, &Maker)> {
        self.by_address.iter().map(|(address, id)| (address, &self.slot(*id).maker))
    }

    /// Makers with live orders of a kind and a floor of balance, without which none of these counts, by address.
    pub(super) fn with_funded(&self, kind: Kind) -> Vec<u32> {
        let ids = self.by_address.values().copied();
        let funded = |slot: &MakerSlot| slot.live[kind as usize] > 0 && slot.maker.free >= self.floor;
        ids.filter(|id| funded(self.slot(*id))).collect()
    }

    /// Sets what the chain says of a maker; gives its number.
    pub(super) fn set(&mut self, address: Address, maker: Maker) -> u32 {
        let id = self.by_address.get(&address).copied().unwrap_or_else(|| self.add(address));
        self.update(id, |slot| {
            slot.maker = maker;
            slot.idle = false;
        });
        id
    }

    fn add(&mut self, address: Address) -> u32 {
        let id = self.ids.take();
        self.slots.resize_with(self.ids.bound() as usize, MakerSlot::default);
        self.slots[id as usize] =
            MakerSlot { address, own: self.own.contains(&address), ..MakerSlot::default() };
        self.by_address.insert(address, id);
        id
    }

    /// Forgets the makers that have no order here and that `keep` does not want, at the second time: one whose account
    /// was just read has an order on its way.
    pub(super) fn retain(&mut self, keep: impl Fn(&Address) -> bool) {
        let (slots, ids) = (&mut self.slots, &mut self.ids);
        self.by_address.retain(|address, id| {
            let slot = &mut slots[*id as usize];
            let wanted = keep(address) || slot.orders.iter().any(|orders| !orders.is_empty());
            let kept = wanted || !slot.idle;
            slot.idle = !wanted;
            if !kept {
                *slot = MakerSlot::default();
                ids.give(*id);
            }
            kept
        });
    }

    /// A maker whose orders are never evicted.
    pub(super) fn set_own(&mut self, address: Address) {
        self.own.insert(address);
        if let Some(id) = self.id(&address) {
            self.update(id, |slot| slot.own = true);
        }
    }

    /// Lists an order with its maker.
    pub(super) fn list(&mut self, id: u32, kind: Kind, order: u32) {
        self.slots[id as usize].orders[kind as usize].push(order);
    }

    /// The opposite of [`Makers::list`].
    pub(super) fn unlist(&mut self, id: u32, kind: Kind, order: u32) {
        let orders = &mut self.slots[id as usize].orders[kind as usize];
        // A maker has a thousand orders at most.
        if let Some(at) = orders.iter().position(|listed| *listed == order) {
            orders.swap_remove(at);
        }
    }

    /// Counts live orders of a maker, or its series that have ended.
    pub(super) fn count(&mut self, id: u32, kind: Kind, more: bool) {
        self.update(id, |slot| {
            let live = &mut slot.live[kind as usize];
            *live = if more { live.saturating_add(1) } else { live.saturating_sub(1) };
        });
    }

    fn update(&mut self, id: u32, change: impl FnOnce(&mut MakerSlot)) {
        let floor = self.floor;
        let slot = &mut self.slots[id as usize];
        let old = KINDS.map(|kind| slot.crowding(kind, 0, floor));
        let was_own = slot.own;
        change(slot);
        for (kind, old) in KINDS.into_iter().zip(old) {
            let new = slot.crowding(kind, 0, floor);
            if old != new || was_own != slot.own {
                let crowded = &mut self.crowded[kind as usize];
                crowded.remove(&(old, id));
                if new > 0 && !slot.own {
                    crowded.insert((new, id));
                }
            }
        }
    }

    /// The maker with the most of a kind for its balance; never one of our own.
    pub(super) fn first_to_go(&self, kind: Kind) -> Option<u32> {
        self.crowded[kind as usize].last().map(|(_, id)| *id)
    }

    /// The maker that has to give way so that `id` may have one more order; `None` if that is the one that asks.
    pub(super) fn most_crowded(&self, id: u32, kind: Kind) -> Option<u32> {
        let (crowding, most) = *self.crowded[kind as usize].last()?;
        let slot = self.slot(id);
        (slot.own || slot.crowding(kind, 1, self.floor) < crowding).then_some(most)
    }
}

impl MakerSlot {
    /// Live orders for each floor of free balance, in 2^-32. Who has no floor of balance gives way before all others.
    fn crowding(&self, kind: Kind, more: usize, floor: u128) -> u64 {
        let live =
            u64::try_from(self.live[kind as usize].saturating_add(more)).unwrap_or(u64::MAX).min(1 << 24);
        let floors =
            u64::try_from(self.maker.free.checked_div(floor).unwrap_or(self.maker.free)).unwrap_or(u64::MAX);
        match floors {
            0 if live > 0 => (1_u64 << 62).saturating_add(live),
            0 => 0,
            floors => (live << 32).checked_div(floors.min(1 << 32)).unwrap_or(u64::MAX),
        }
    }
}
