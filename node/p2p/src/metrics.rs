//! libp2p's own metrics: one registry, which the task writes through its recorder and the handle reads as text.

use libp2p::{
    metrics::{Metrics, Recorder as _, Registry},
    swarm::SwarmEvent,
};

use super::behaviour::BehaviourEvent;

/// What turns events into numbers.
pub(super) struct EventMetrics(Metrics);

impl EventMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self(Metrics::new(registry))
    }

    /// Counts an event of the swarm or of one of its protocols.
    pub(super) fn record(&self, event: &SwarmEvent<BehaviourEvent>) {
        let metrics = &self.0;
        match event {
            // A stranger says what these addresses are made of, and the recorder keeps a counter for each kind for
            // ever: they would fill our memory.
            SwarmEvent::NewExternalAddrCandidate { .. } => return,
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => metrics.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => metrics.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => metrics.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => metrics.record(event),
            _ => {}
        }
        metrics.record(event);
    }
}
