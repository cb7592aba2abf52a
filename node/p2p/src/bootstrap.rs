//! Bootstrap peers: dialled until they answer, again when they are lost, for ever, with a growing and
//! bounded delay. Pure bookkeeping over an injected clock; the network task does the dialling.

use std::time::{Duration, Instant};

use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};

/// Delay before the first retry.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Longest delay: a bootstrap node that comes back is met within half a minute.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The dial list.
#[derive(Debug)]
pub(super) struct Bootstrap {
    own: PeerId,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    address: Multiaddr,
    /// Who must answer, if the address names a peer.
    named: Option<PeerId>,
    state: State,
    delay: Duration,
}

#[derive(Debug, PartialEq)]
enum State {
    Waiting {
        until: Instant,
    },
    Dialing(ConnectionId),
    /// To whoever answered: behind an address without a name there may be another peer next time.
    Connected(PeerId),
    /// The address is our own: nodes often share one list.
    Ourselves,
}

impl Bootstrap {
    pub(super) fn new(own: PeerId, addresses: &[Multiaddr], now: Instant) -> Self {
        let entries = addresses
            .iter()
            .map(|address| {
                let named = peer_of(address);
                let state = if named == Some(own) { State::Ourselves } else { State::Waiting { until: now } };
                Entry { address: address.clone(), named, state, delay: FIRST_DELAY }
            })
            .collect();
        Self { own, entries }
    }

    /// The dials that are due. Each must be followed by [`Self::established`] or [`Self::failed`].
    pub(super) fn due(&mut self, now: Instant) -> Vec<DialOpts> {
        let mut dials = Vec::new();
        for entry in &mut self.entries {
            if !matches!(entry.state, State::Waiting { until } if until <= now) {
                continue;
            }
            let opts = match entry.named {
                Some(peer) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(vec![entry.address.clone()])
                    .build(),
                None => DialOpts::unknown_peer_id().address(entry.address.clone()).build(),
            };
            entry.state = State::Dialing(opts.connection_id());
            dials.push(opts);
        }
        dials
    }

    /// A connection to `peer` is up, whoever dialled.
    pub(super) fn established(&mut self, connection: ConnectionId, peer: PeerId) {
        for entry in &mut self.entries {
            if entry.state == State::Dialing(connection) || entry.named == Some(peer) {
                entry.state = State::Connected(peer);
                entry.delay = FIRST_DELAY;
            }
        }
    }

    /// A dial came to nothing; `obtained` is who answered in its place. Returns the address and the delay if it was
    /// one of ours.
    pub(super) fn failed(
        &mut self,
        connection: ConnectionId,
        obtained: Option<PeerId>,
        now: Instant,
    ) -> Option<(&Multiaddr, Duration)> {
        let own = self.own;
        let entry = self.entries.iter_mut().find(|entry| entry.state == State::Dialing(connection))?;
        if obtained == Some(own) {
            entry.state = State::Ourselves;
            return None;
        }
        let delay = entry.delay;
        entry.state = State::Waiting { until: now + delay };
        entry.delay = (delay * 2).min(MAX_DELAY);
        Some((&entry.address, delay))
    }

    /// The last connection to `peer` is gone.
    pub(super) fn lost(&mut self, peer: PeerId, now: Instant) {
        for entry in self.entries.iter_mut().filter(|entry| entry.state == State::Connected(peer)) {
            entry.state = State::Waiting { until: now + entry.delay };
        }
    }
}

/// The peer id at the end of an address, if it names one.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(now: Instant, address: &str) -> Bootstrap {
        Bootstrap::new(PeerId::random(), &[address.parse().unwrap()], now)
    }

    #[test]
    fn retries_for_ever_with_a_growing_and_bounded_delay() {
        let mut now = Instant::now();
        let mut list = list(now, "/ip4/127.0.0.1/tcp/4001");
        let mut delays = Vec::new();
        for _ in 0..8 {
            let dial = list.due(now).pop().expect("a dial is due");
            assert!(list.due(now).is_empty(), "one dial at a time");
            let (_, delay) = list.failed(dial.connection_id(), None, now).unwrap();
            assert!(list.due(now + delay - Duration::from_millis(1)).is_empty());
            now += delay;
            delays.push(delay.as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn redials_a_peer_that_was_lost() {
        let now = Instant::now();
        let peer = PeerId::random();
        let address = "/ip4/127.0.0.1/tcp/4001";
        for (address, must_be) in [(address.to_owned(), None), (format!("{address}/p2p/{peer}"), Some(peer))]
        {
            let mut list = list(now, &address);
            let dial = list.due(now).pop().unwrap();
            list.established(dial.connection_id(), peer);
            assert!(list.due(now + MAX_DELAY).is_empty());
            list.lost(peer, now);
            let again = list.due(now + FIRST_DELAY).pop().expect("lost peers are dialled again");
            assert_eq!(again.get_peer_id(), must_be, "only a named peer must be the same again");
        }
    }

    #[test]
    fn a_peer_that_dialled_us_needs_no_dial() {
        let now = Instant::now();
        let peer = PeerId::random();
        let mut list = list(now, &format!("/ip4/127.0.0.1/tcp/4001/p2p/{peer}"));
        list.established(ConnectionId::new_unchecked(7), peer);
        assert!(list.due(now).is_empty());
    }

    #[test]
    fn never_dials_itself_twice() {
        let now = Instant::now();
        let mut list = list(now, "/ip4/127.0.0.1/tcp/4001");
        let dial = list.due(now).pop().unwrap();
        let own = list.own;
        assert!(list.failed(dial.connection_id(), Some(own), now).is_none());
        assert!(list.due(now + MAX_DELAY).is_empty());
    }
}
