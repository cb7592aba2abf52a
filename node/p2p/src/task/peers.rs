//! The network task's part in who its peers are: dials and their failures, what peers claim about themselves,
//! bans, and the known peers.

use std::time::Instant;

use libp2p::{
    Multiaddr, PeerId, identify,
    swarm::{ConnectionId, DialError},
};
use sublet_base::{home::write_atomic, wall};
use tokio::sync::mpsc;

use super::{Peer, Task};
use crate::{
    Inbound,
    address::{self, clean_agent},
    behaviour::{BLAMED, GRAYLIST},
    sync::{Blame, PeerEvent},
};

impl Task {
    pub(super) fn on_dial_failure(&mut self, connection: ConnectionId, error: &DialError) {
        let obtained = match error {
            DialError::LocalPeerId { .. } => Some(*self.swarm.local_peer_id()),
            DialError::WrongPeerId { obtained, .. } => Some(*obtained),
            _ => None,
        };
        if let Some((address, delay)) = self.bootstrap.failed(connection, obtained, Instant::now()) {
            tracing::warn!(%address, %error, retry_in_s = delay.as_secs(), "a bootstrap peer does not answer");
        }
    }

    pub(super) fn on_joined(&mut self, peer: PeerId) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.inbound.try_send(Inbound::PeerJoined(peer)) {
            self.state.joined = Some(peer);
        }
    }

    /// Sends a peer away that broke a protocol in a way that no honest one does, and keeps it out for a while.
    pub(super) fn blame(&mut self, blame: Blame) {
        let Some((peer, why)) = blame else { return };
        let forgiven = self.state.bans.add(peer, Instant::now());
        forgiven.into_iter().for_each(|peer| self.forgive(peer));
        let behaviour = self.swarm.behaviour_mut();
        // What it had sent before it went is still coming in.
        if behaviour.banned.block_peer(peer) {
            tracing::debug!(%peer, why, "a peer broke the protocol and is banned");
            behaviour.gossip.set_application_score(&peer, BLAMED);
            self.sync.blamed();
            self.store.forget(&peer);
        }
    }

    /// Whose time is up may come again.
    pub(super) fn lift_bans(&mut self, now: Instant) {
        self.state.bans.lift(now).into_iter().for_each(|peer| self.forgive(peer));
    }

    fn forgive(&mut self, peer: PeerId) {
        let behaviour = self.swarm.behaviour_mut();
        behaviour.banned.unblock_peer(peer);
        behaviour.gossip.set_application_score(&peer, 0.0);
    }

    /// Gossipsub counts more than we see, as the same forgery sent again and again: who was caught and is not
    /// listened to any more need not stay.
    pub(super) fn send_offenders_away(&mut self, now: Instant) {
        let gossip = &self.swarm.behaviour().gossip;
        let is_graylisted = |peer: &PeerId| gossip.peer_score(peer).is_some_and(|score| score < GRAYLIST);
        let offenders: Vec<PeerId> = self
            .state
            .peers
            .keys()
            .filter(|peer| self.gossip.has_faults(peer, now) && is_graylisted(peer))
            .copied()
            .collect();
        for peer in offenders {
            self.blame(Some((peer, "repeated forgeries".to_owned())));
        }
    }

    /// The driver hears of peers late rather than not at all, unless hundreds come and go in one moment: then
    /// gossip and the peers' own questions have to do.
    pub(super) fn tell(&self, event: PeerEvent) {
        if self.peer_events.try_send(event).is_err() {
            tracing::debug!(?event, "the sync driver is busy");
        }
    }

    pub(super) fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let Some(Peer { info: known, reached, .. }) = self.state.peers.get_mut(&peer) else { return };
        let reached = *reached;
        known.agent = clean_agent(&info.agent_version);
        // A peer of another market, or one that only listens in, is no use for routing.
        if !self.discover || !info.protocols.contains(&self.names.kad) {
            return;
        }
        let addresses: Vec<Multiaddr> = address::dialable(info.listen_addrs, &known.address).collect();
        for address in &addresses {
            self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
        }
        self.store.met(peer, addresses, wall::unix_seconds(), reached, Instant::now());
    }

    /// Whether as many peers as one host may send have come from where this address is.
    pub(super) fn is_crowded(&self, address: &Multiaddr) -> bool {
        let Some(host) = address::host(address) else { return false };
        let came = self.state.peers.values().filter(|peer| !peer.reached);
        let of_host = came.filter(|peer| address::host(&peer.info.address) == Some(host)).count();
        of_host >= self.max_peers_per_address
    }

    /// Dials the next peer that mDNS has found.
    pub(super) fn dial_lan(&mut self) {
        let peers = &self.state.peers;
        let Some(dial) = self.lan.due(|peer| peers.contains_key(peer)) else { return };
        if let Err(error) = self.swarm.dial(dial) {
            tracing::debug!(%error, "a peer on the local network was not dialled");
        }
    }

    /// Dials a peer of old if there are few.
    pub(super) fn dial_stored(&mut self, now: Instant) {
        let peers = &self.state.peers;
        let reached = peers.values().filter(|peer| peer.reached).count();
        let Some(dial) = self.store.due(now, reached, |peer| peers.contains_key(peer)) else { return };
        if let Err(error) = self.swarm.dial(dial) {
            tracing::debug!(%error, "a stored peer was not dialled");
        }
    }

    /// Writes the known peers down, beside the network's work.
    pub(super) fn save_peers(&mut self) {
        let Some(path) = self.store_path.clone() else { return };
        let Some(text) = self.store.changes() else { return };
        tokio::task::spawn_blocking(move || {
            if let Err(error) = write_atomic(&path, &text, 0o600) {
                tracing::warn!(%error, "cannot write the file of known peers");
            }
        });
    }
}
