//! Peers found by mDNS: dialled one after the other, as any host of the local network can announce any number
//! of them.

use std::collections::VecDeque;

use libp2p::{
    Multiaddr, PeerId,
    swarm::dial_opts::{DialOpts, PeerCondition},
};

/// Addresses that wait to be dialled; the rest is announced again.
const MAX_WAITING: usize = 64;

/// The addresses that are to be dialled.
#[derive(Debug, Default)]
pub(super) struct Lan(VecDeque<(PeerId, Multiaddr)>);

impl Lan {
    /// Somebody on the local network says that `peer` is at `address`.
    pub(super) fn found(&mut self, peer: PeerId, address: Multiaddr) {
        if self.0.len() < MAX_WAITING {
            self.0.push_back((peer, address));
        }
    }

    /// The next dial, to a peer that is not `known`.
    pub(super) fn due(&mut self, known: impl Fn(&PeerId) -> bool) -> Option<DialOpts> {
        let (peer, address) = std::iter::from_fn(|| self.0.pop_front()).find(|(peer, _)| !known(peer))?;
        let dial = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing);
        Some(dial.addresses(vec![address]).build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_dialled_one_at_a_time_and_only_so_many_wait() {
        let (known, address): (_, Multiaddr) = (PeerId::random(), "/ip4/192.0.2.1/tcp/1".parse().unwrap());
        let mut lan = Lan::default();
        lan.found(known, address.clone());
        for _ in 0..1_000 {
            lan.found(PeerId::random(), address.clone());
        }
        let mut dialled = 0;
        while let Some(dial) = lan.due(|peer| *peer == known) {
            assert_ne!(dial.get_peer_id(), Some(known));
            dialled += 1;
        }
        assert_eq!(dialled, MAX_WAITING - 1);
    }
}
