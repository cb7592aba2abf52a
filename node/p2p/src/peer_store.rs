//! Known peers, on disk: a node that starts again finds the network without its bootstrap peers.
//! Only peers of our market that told us where they listen are kept, a bounded number. First go those that
//! only ever came to us, for anybody can create any number of those; then the ones not seen for the longest.
//!
//! Stored peers are dialled only while we have reached few ourselves, one at a time, each with a growing
//! pause after a failure; one that never answers is forgotten. Pure bookkeeping over injected clocks, but for
//! [`load`].

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    swarm::dial_opts::{DialOpts, PeerCondition},
};
use serde::{Deserialize, Serialize};

/// Once we are connected to so many peers that we dialled ourselves, no stored one is dialled: gossip's mesh
/// has six, and the routing table finds the rest. Peers that came to us do not count: they may all be one
/// stranger's.
const ENOUGH_PEERS: usize = 8;

/// Addresses that are kept of one peer.
const MAX_ADDRESSES: usize = 4;

/// Pause after a dial; it doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// Failures in a row after which a peer is forgotten: about three hours.
const MAX_FAILURES: u32 = 10;

/// A larger file was not written by us: 1,000 peers take 300 kB.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A peer in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    peer: String,
    addresses: Vec<Multiaddr>,
    /// When it was last met, Unix seconds.
    seen: u64,
    /// We dialled it once, and it was there.
    #[serde(default)]
    reached: bool,
}

#[derive(Debug)]
struct Entry {
    addresses: Vec<Multiaddr>,
    seen: u64,
    reached: bool,
    failures: u32,
    next: Instant,
}

/// Peers to come back to.
#[derive(Debug)]
pub(super) struct PeerStore {
    capacity: usize,
    entries: HashMap<PeerId, Entry>,
    changed: bool,
}

/// What the file holds. It is only a convenience: one that cannot be read is as good as none, and the log says so.
pub(super) fn load(path: &Path) -> Vec<Stored> {
    let read = || -> Result<Vec<Stored>, String> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
            Ok(file) if file.len() > MAX_FILE_BYTES => {
                return Err(format!("{} bytes are too many", file.len()));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(
            path = %path.display(), error,
            "cannot read the file of known peers; starting a new one"
        );
        Vec::new()
    })
}

impl PeerStore {
    pub(super) fn new(stored: Vec<Stored>, capacity: usize, now: Instant) -> Self {
        let mut store = Self { capacity, entries: HashMap::new(), changed: false };
        for Stored { peer, addresses, seen, reached } in stored {
            if let Ok(peer) = peer.parse() {
                store.met(peer, addresses, seen, reached, now);
            }
        }
        store.changed = false;
        store
    }

    /// A peer of our market says where it listens; `seen` is the time in Unix seconds, `reached` whether we dialled it.
    pub(super) fn met(
        &mut self,
        peer: PeerId,
        mut addresses: Vec<Multiaddr>,
        seen: u64,
        reached: bool,
        now: Instant,
    ) {
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() || self.capacity == 0 {
            return;
        }
        self.changed = true;
        let reached = reached || self.entries.get(&peer).is_some_and(|entry| entry.reached);
        self.entries.insert(peer, Entry { addresses, seen, reached, failures: 0, next: now });
        let least = |(_, entry): &(&PeerId, &Entry)| (entry.reached, entry.seen);
        if self.entries.len() > self.capacity
            && let Some(least) = self.entries.iter().min_by_key(least).map(|(peer, _)| *peer)
        {
            self.entries.remove(&least);
        }
    }

    /// A peer that broke the rules is not looked for again.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.changed |= self.entries.remove(peer).is_some();
    }

    /// The next dial, if we have reached few of the connected peers and one is due: one that was reached
    /// before, if there is any, and the one that was met last.
    pub(super) fn due(
        &mut self,
        now: Instant,
        reached: usize,
        is_connected: impl Fn(&PeerId) -> bool,
    ) -> Option<DialOpts> {
        if reached >= ENOUGH_PEERS {
            return None;
        }
        let due = |(peer, entry): &(&PeerId, &mut Entry)| entry.next <= now && !is_connected(peer);
        let (peer, entry) =
            self.entries.iter_mut().filter(due).max_by_key(|(_, entry)| (entry.reached, entry.seen))?;
        // Whatever becomes of it, it is not dialled again at once.
        entry.next = now + FIRST_PAUSE;
        let opts = DialOpts::peer_id(*peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(entry.addresses.clone())
            .build();
        Some(opts)
    }

    /// A dial of `peer` came to nothing.
    pub(super) fn failed(&mut self, peer: &PeerId, now: Instant) {
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.failures += 1;
        entry.next = now + FIRST_PAUSE.saturating_mul(1 << entry.failures.min(20)).min(MAX_PAUSE);
        if entry.failures >= MAX_FAILURES {
            self.forget(peer);
        }
    }

    /// `peer` is connected, whoever dialled.
    pub(super) fn connected(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.failures = 0;
        }
    }

    /// The text for the file, if anything has changed since the last one.
    pub(super) fn changes(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let stored = |(peer, entry): (&PeerId, &Entry)| Stored {
            peer: peer.to_string(),
            addresses: entry.addresses.clone(),
            seen: entry.seen,
            reached: entry.reached,
        };
        let mut all: Vec<Stored> = self.entries.iter().map(stored).collect();
        all.sort_by(|a, b| b.seen.cmp(&a.seen).then_with(|| a.peer.cmp(&b.peer)));
        serde_json::to_string_pretty(&all).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Vec<Multiaddr> {
        vec!["/ip4/192.0.2.7/tcp/4001".parse().unwrap()]
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.json");
        assert_eq!(load(&path), []);
        let now = Instant::now();
        let mut store = PeerStore::new(Vec::new(), 10, now);
        assert_eq!(store.changes(), None);
        let (one, two) = (PeerId::random(), PeerId::random());
        store.met(one, address(), 5, false, now);
        store.met(two, address(), 6, false, now);
        std::fs::write(&path, store.changes().unwrap()).unwrap();
        assert_eq!(store.changes(), None, "nothing new");
        let mut again = PeerStore::new(load(&path), 10, now);
        let first = again.due(now, 0, |_| false).unwrap();
        assert_eq!(first.get_peer_id(), Some(two), "the one met last comes first");
        assert_eq!(again.due(now, 0, |_| false).unwrap().get_peer_id(), Some(one));
        assert!(again.due(now, 0, |_| false).is_none());
        std::fs::write(&path, "no list").unwrap();
        assert_eq!(load(&path), []);
    }

    #[test]
    fn few_are_kept_and_they_are_those_met_last() {
        let now = Instant::now();
        let mut store = PeerStore::new(Vec::new(), 3, now);
        let peers: Vec<PeerId> = (0..10).map(|_| PeerId::random()).collect();
        for (seen, peer) in peers.iter().enumerate() {
            store.met(*peer, vec![address().remove(0); 100], seen as u64, false, now);
        }
        assert_eq!(store.entries.len(), 3);
        assert!(peers[7..].iter().all(|peer| store.entries[peer].addresses.len() == MAX_ADDRESSES));
    }

    #[test]
    fn strangers_who_come_to_us_do_not_crowd_out_whom_we_have_reached() {
        let now = Instant::now();
        let mut store = PeerStore::new(Vec::new(), 3, now);
        let friend = PeerId::random();
        store.met(friend, address(), 1, true, now);
        store.met(friend, address(), 2, false, now);
        for seen in 3..100 {
            store.met(PeerId::random(), address(), seen, false, now);
        }
        assert_eq!(store.due(now, 0, |_| false).unwrap().get_peer_id(), Some(friend));
        let text = store.changes().unwrap();
        let mut again = PeerStore::new(serde_json::from_str(&text).unwrap(), 3, now);
        assert_eq!(again.due(now, 0, |_| false).unwrap().get_peer_id(), Some(friend));
    }

    #[test]
    fn a_peer_that_does_not_answer_is_dialled_ever_more_seldom_and_then_forgotten() {
        let (mut now, peer) = (Instant::now(), PeerId::random());
        let mut store = PeerStore::new(Vec::new(), 3, now);
        store.met(peer, address(), 1, false, now);
        let mut pauses = Vec::new();
        while store.due(now, 0, |_| false).is_some() {
            store.failed(&peer, now);
            let Some(entry) = store.entries.get(&peer) else { break };
            pauses.push((entry.next - now).as_secs());
            now = entry.next;
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1280, 2560, 3600]);
        assert!(store.entries.is_empty() && store.changes().is_some());
    }

    #[test]
    fn nobody_is_dialled_while_there_are_peers_enough() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut store = PeerStore::new(Vec::new(), 3, now);
        store.met(peer, address(), 1, false, now);
        assert!(store.due(now, ENOUGH_PEERS, |_| false).is_none());
        assert!(store.due(now, 1, |connected| *connected == peer).is_none());
        assert!(store.due(now, 1, |_| false).is_some());
    }
}
