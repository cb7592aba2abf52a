//! The task that keeps the sessions going: a few at a time, as the agenda says.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    agenda::{Agenda, End},
    client::{Client, SyncFault},
};
use crate::{handle::Command, validation::StopOnPanic};

/// Sessions at a time. What one brings, the next need not fetch.
const MAX_SESSIONS: usize = 2;

/// How often the agenda is looked at.
const TICK: Duration = Duration::from_millis(250);

/// What the network task tells of its peers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PeerEvent {
    /// It follows our topic.
    Joined(PeerId),
    /// The last connection to it is closed.
    Left(PeerId),
}

type Ended = (PeerId, Result<(), SyncFault>);

/// Compares books with peers.
pub(crate) struct Driver {
    client: Arc<Client>,
    agenda: Agenda,
    events: mpsc::Receiver<PeerEvent>,
    sessions: FuturesUnordered<BoxFuture<'static, Ended>>,
}

impl Driver {
    pub(crate) fn new(client: Client, events: mpsc::Receiver<PeerEvent>, interval: Duration) -> Self {
        let agenda = Agenda::new(interval, Instant::now());
        Self { client: Arc::new(client), agenda, events, sessions: FuturesUnordered::new() }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let _guard = StopOnPanic::new(&stop, "sync");
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                event = self.events.recv() => match event {
                    Some(PeerEvent::Joined(peer)) => self.agenda.joined(peer, Instant::now()),
                    Some(PeerEvent::Left(peer)) => self.agenda.left(&peer),
                    None => return,
                },
                Some((peer, result)) = self.sessions.next(), if !self.sessions.is_empty() => {
                    self.ended(peer, result).await;
                }
                _ = tick.tick() => {}
            }
            self.begin();
        }
    }

    fn begin(&mut self) {
        while self.sessions.len() < MAX_SESSIONS {
            let Some(peer) = self.agenda.next(Instant::now()) else { return };
            let client = Arc::clone(&self.client);
            self.sessions.push(Box::pin(async move {
                let result = client.run(peer).await;
                (peer, result)
            }));
        }
    }

    async fn ended(&mut self, peer: PeerId, result: Result<(), SyncFault>) {
        let end = match &result {
            Ok(()) => End::Completed,
            Err(fault) if fault.is_pointless() => End::Pointless,
            Err(fault) if fault.is_useless() => End::Useless,
            Err(_) => End::Failed,
        };
        if let Err(fault) = result {
            tracing::debug!(%peer, %fault, "comparing books failed");
            if fault.is_peer_fault() {
                let blame = Command::Blame { peer, why: fault.to_string() };
                // The task is gone: so are we, in a moment.
                let _ = self.client.commands.send(blame).await;
            }
        }
        self.agenda.ended(&peer, end, Instant::now());
    }
}
