//! Limits on the gossip of one peer, and when it is more than an honest node sends. Pure, over an
//! injected clock.
//!
//! Nobody is blamed for what depends on time, chain or policy, so the content of a flood proves nothing: a
//! hostile maker could have honest nodes carry it. What proves something is a rate that every honest node
//! keeps when it forwards. So each node forwards no more than that, and a peer that sends far more is not
//! honest.

use std::{collections::HashMap, time::Instant};

use alloy_primitives::Address;
use libp2p::PeerId;

use super::{fair_share::FairShare, rate::Buckets};

/// Messages of one peer between the wire and the verdict: half the queue of the checks, so that no peer fills it alone.
const MAX_UNDER_WAY: usize = 256;

/// Seconds' worth of orders that a node forwards at once after a quiet time.
const FORWARD_BURST: f64 = 8.0;

/// The same for what is let in from one peer before it is blamed: what it forwarded in a burst, what it
/// published itself, and what a link held back for as long as links are kept that do not answer.
const ARRIVAL_BURST: f64 = 32.0;

/// One maker gets this part of what is forwarded over time: offers of its largest quota, renewed every two minutes.
const MAKER_SHARE: f64 = 1.0 / 64.0;

/// Seconds' worth of all forwarding that one maker may have at once: its largest quota.
const MAKER_BURST: f64 = 2.0;

/// Messages that no honest peer could have forwarded and that we put up with, for there may be a fault in us...
const FAULTS: f64 = 3.0;

/// ... within these seconds.
const FAULT_SECONDS: f64 = 600.0;

/// What becomes of a message before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It may be checked; follow up with [`PeerLimits::leave`].
    Welcome,
    /// Too many of this peer's are under way.
    Full,
    /// The peer has sent more than an honest one can.
    Flood,
}

/// The books that are kept on peers and makers. All bounded.
pub(super) struct PeerLimits {
    under_way: HashMap<PeerId, usize>,
    arrivals: Buckets<PeerId>,
    faults: Buckets<PeerId>,
    forwarded: FairShare<Option<Address>>,
    makers: Buckets<Address>,
}

impl PeerLimits {
    /// For a network in which every node forwards at most so many orders a second over time.
    pub(super) fn new(orders_per_second: u32, now: Instant) -> Self {
        let rate = f64::from(orders_per_second.max(1));
        Self {
            under_way: HashMap::new(),
            arrivals: Buckets::with_size(rate, rate * ARRIVAL_BURST).lenient(),
            faults: Buckets::with_size(FAULTS / FAULT_SECONDS, FAULTS).lenient(),
            forwarded: FairShare::new(rate * FORWARD_BURST, FORWARD_BURST, now),
            makers: Buckets::with_size(rate * MAKER_SHARE, rate * MAKER_BURST),
        }
    }

    /// A message under a new id has come from `peer`.
    pub(super) fn enter(&mut self, peer: PeerId, now: Instant) -> Entry {
        if !self.arrivals.take(peer, now) {
            return Entry::Flood;
        }
        let count = self.under_way.entry(peer).or_default();
        if *count >= MAX_UNDER_WAY {
            return Entry::Full;
        }
        *count += 1;
        Entry::Welcome
    }

    /// A message that was welcome has been dealt with.
    pub(super) fn leave(&mut self, peer: &PeerId) {
        if let Some(count) = self.under_way.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(peer);
            }
        }
    }

    /// The peer sent what no honest one could have forwarded; whether that was once too often.
    pub(super) fn fault(&mut self, peer: PeerId, now: Instant) -> bool {
        !self.faults.take(peer, now)
    }

    /// Whether the peer was caught at such a thing lately.
    pub(super) fn has_faults(&self, peer: &PeerId, now: Instant) -> bool {
        self.faults.is_drawn_on(peer, now)
    }

    /// Whether one more order of `maker` may go on. However many makers there are that renew their few orders without
    /// end, one that sends little finds its share.
    pub(super) fn may_forward(&mut self, maker: Address, now: Instant) -> bool {
        let may = self.makers.take(maker, now) && self.forwarded.allows(&Some(maker), now);
        if may {
            self.forwarded.spend(Some(maker), 1.0, now);
        }
        may
    }

    /// An order of ours went out: it counts, and is never held back.
    pub(super) fn published(&mut self, now: Instant) {
        self.forwarded.spend(None, 1.0, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_told_from_the_most_that_an_honest_node_forwards() {
        let start = Instant::now();
        let (honest, flooder) = (PeerId::random(), PeerId::random());
        let (mut sender, mut receiver) = (PeerLimits::new(100, start), PeerLimits::new(100, start));
        // Everything that it forwards in a minute arrives at one moment, with a burst before.
        let mut sent = 0;
        for tick in 0..240_u32 {
            let now = start + Duration::from_millis(250) * tick;
            let makers = (0..4).flat_map(|_| 0..=u8::MAX).map(Address::repeat_byte);
            sent += makers.filter(|maker| sender.may_forward(*maker, now)).count();
        }
        assert!((5_000..=6_900).contains(&sent), "{sent}");
        let half_a_minute_late = start + Duration::from_secs(24);
        for _ in 0..3_200 {
            assert_ne!(receiver.enter(honest, half_a_minute_late), Entry::Flood);
            receiver.leave(&honest);
        }
        let many = (0..10_000).filter(|_| receiver.enter(flooder, start) == Entry::Flood).count();
        assert_eq!(many, 6_800);
    }

    #[test]
    fn no_peer_fills_the_queue_alone() {
        let now = Instant::now();
        let (greedy, other) = (PeerId::random(), PeerId::random());
        let mut peer_limits = PeerLimits::new(500, now);
        let welcome = |peer_limits: &mut PeerLimits, peer| peer_limits.enter(peer, now) == Entry::Welcome;
        assert_eq!((0..1_000).filter(|_| welcome(&mut peer_limits, greedy)).count(), MAX_UNDER_WAY);
        assert!(welcome(&mut peer_limits, other));
        peer_limits.leave(&greedy);
        assert!(welcome(&mut peer_limits, greedy));
        assert!(!welcome(&mut peer_limits, greedy));
        (0..MAX_UNDER_WAY).for_each(|_| peer_limits.leave(&greedy));
        peer_limits.leave(&other);
        assert!(peer_limits.under_way.is_empty());
    }

    #[test]
    fn one_maker_does_not_take_the_room_of_all() {
        let now = Instant::now();
        let mut peer_limits = PeerLimits::new(500, now);
        let (busy, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
        assert_eq!((0..5_000).filter(|_| peer_limits.may_forward(busy, now)).count(), 1_000);
        assert!(peer_limits.may_forward(other, now));
        let later = now + Duration::from_secs(16);
        assert_eq!((0..5_000).filter(|_| peer_limits.may_forward(busy, later)).count(), 125);
    }

    #[test]
    fn many_makers_do_not_take_the_room_of_one_that_sends_little() {
        let start = Instant::now();
        let mut peer_limits = PeerLimits::new(500, start);
        let busy = |n: u32| Address::from_word(alloy_primitives::U256::from(n).into());
        for time in 0..30 {
            let now = start + Duration::from_secs(4) * time;
            for n in 1..=128 {
                while peer_limits.may_forward(busy(n), now) {}
            }
            assert!(peer_limits.may_forward(Address::repeat_byte(2), now), "{time}");
        }
    }

    #[test]
    fn the_fourth_fault_in_ten_minutes_is_one_too_many() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut peer_limits = PeerLimits::new(500, now);
        assert!(!peer_limits.has_faults(&peer, now));
        assert_eq!([0; 4].map(|_| peer_limits.fault(peer, now)), [false, false, false, true]);
        assert!(peer_limits.has_faults(&peer, now));
        let forgotten = now + Duration::from_secs(600);
        assert!(!peer_limits.has_faults(&peer, forgotten) && !peer_limits.fault(peer, forgotten));
    }
}
