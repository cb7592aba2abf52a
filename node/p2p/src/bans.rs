//! Banned peers: those that broke a protocol in a way that no honest one does, refused for a while. Pure,
//! over an injected clock.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::PeerId;

/// How long a peer stays away. A new identity costs nothing, so longer would only hurt those whose fault was ours.
const BAN: Duration = Duration::from_secs(600);

/// Peers that are remembered; the one whose time is up first goes first.
const MAX_BANS: usize = 1_024;

/// Who is not let in.
#[derive(Debug, Default)]
pub(super) struct Bans(HashMap<PeerId, Instant>);

impl Bans {
    /// Bans a peer from now on. Gives the one that is let in again for it, if there were too many.
    pub(super) fn add(&mut self, peer: PeerId, now: Instant) -> Option<PeerId> {
        let first = || self.0.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
        let full = self.0.len() >= MAX_BANS && !self.0.contains_key(&peer);
        let forgiven = if full { first() } else { None };
        if let Some(first) = &forgiven {
            self.0.remove(first);
        }
        self.0.insert(peer, now + BAN);
        forgiven
    }

    /// The peers whose time is up.
    pub(super) fn lift(&mut self, now: Instant) -> Vec<PeerId> {
        self.0.extract_if(|_, until| *until <= now).map(|(peer, _)| peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_ends() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut bans = Bans::default();
        bans.add(peer, now);
        bans.add(peer, now + BAN / 2);
        assert!(bans.lift(now + BAN).is_empty(), "it begins anew");
        assert_eq!(bans.lift(now + BAN / 2 + BAN), [peer]);
        assert!(bans.lift(now + 2 * BAN).is_empty());
    }

    #[test]
    fn the_oldest_bans_go_first() {
        let (now, first) = (Instant::now(), PeerId::random());
        let mut bans = Bans::default();
        bans.add(first, now);
        let forgiven: Vec<_> = (1..=MAX_BANS as u64)
            .filter_map(|n| bans.add(PeerId::random(), now + Duration::from_millis(n)))
            .collect();
        assert_eq!(forgiven, [first]);
        assert_eq!(bans.0.len(), MAX_BANS);
    }
}
