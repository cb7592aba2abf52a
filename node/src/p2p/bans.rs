//! Peers that broke a protocol in a way that no honest one does: sent away, and not let in again for a while. Pure, over
//! an injected clock.

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

/// What is known of a peer that connects.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Banned,
    /// It was banned, and may come again.
    Forgiven,
}

impl Bans {
    pub(super) fn add(&mut self, peer: PeerId, now: Instant) {
        if self.0.len() >= MAX_BANS
            && !self.0.contains_key(&peer)
            && let Some(first) = self.0.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer)
        {
            self.0.remove(&first);
        }
        self.0.insert(peer, now + BAN);
    }

    pub(super) fn standing(&mut self, peer: &PeerId, now: Instant) -> Standing {
        match self.0.get(peer) {
            None => Standing::Good,
            Some(until) if *until > now => Standing::Banned,
            Some(_) => {
                self.0.remove(peer);
                Standing::Forgiven
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_ends() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut bans = Bans::default();
        assert_eq!(bans.standing(&peer, now), Standing::Good);
        bans.add(peer, now);
        assert_eq!(bans.standing(&peer, now + BAN / 2), Standing::Banned);
        assert_eq!(bans.standing(&peer, now + BAN), Standing::Forgiven);
        assert_eq!(bans.standing(&peer, now + BAN), Standing::Good);
    }

    #[test]
    fn the_oldest_bans_go_first() {
        let (now, first) = (Instant::now(), PeerId::random());
        let mut bans = Bans::default();
        bans.add(first, now);
        for n in 0..MAX_BANS as u64 {
            bans.add(PeerId::random(), now + Duration::from_millis(n + 1));
        }
        assert_eq!(bans.0.len(), MAX_BANS);
        assert_eq!(bans.standing(&first, now), Standing::Good);
    }
}
