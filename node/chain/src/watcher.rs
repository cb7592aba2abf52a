//! Reads the Market's log from the chain and hands it on, in order and at least once.
//!
//! Inputs: heads and logs from the RPC. Outputs: [`ChainEvent`]s through a bounded channel. A batch carries
//! the cursor behind it: whoever applies the batch stores that cursor in the same step, and gives it back at
//! the next start, so that nothing is lost however the process ends. A batch may come twice, applying it must
//! be idempotent.
//!
//! Each block range is read between two looks at the hash of its last block, and the block under the cursor
//! is checked against its remembered hash in between, so a range always continues the chain that was read
//! before. When it does not, [`ChainEvent::Reorg`] tells down to which block events still stand, and reading
//! goes on from there. Before anything is reverted the RPC must show that it serves the deployment at all,
//! and then say the same again: one that has gone astray to another chain is an RPC that fails. An RPC that
//! fails is asked for ever, with growing pauses; where there are several, another takes its place.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alloy::{
    providers::Provider as _,
    rpc::types::{Filter, Log},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use sublet_market::LoggedEvent;

use super::{
    client::Chain,
    cursor::{BlockMark, Cursor},
    error::ChainError,
    event,
    rpc::Head,
    verify::serves,
};

/// Events that wait for a slow consumer; then the watcher waits too.
const CHANNEL: usize = 64;

/// What of the blocks that were read is on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Common {
    All,
    /// Up to this one; nothing of what is remembered if there is none.
    UpTo(Option<BlockMark>),
}

/// How the chain is watched.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// How often the head is asked for.
    pub poll: Duration,
    /// How many blocks must lie on top of an event before it is handed on.
    pub confirmations: u64,
    /// The most blocks that one question spans; RPCs refuse larger ranges.
    pub max_range: u64,
    /// The longest pause between two tries while the RPC fails.
    pub max_backoff: Duration,
    /// How often it is looked whether another endpoint serves better, while the one in use does not fail.
    pub compare_every: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            confirmations: 2,
            max_range: 2_000,
            max_backoff: Duration::from_secs(15),
            compare_every: Duration::from_secs(20),
        }
    }
}

/// What the watcher tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainEvent {
    /// The Market's events of the next blocks, oldest first; often none. Every event up to chain time
    /// `timestamp` has been handed on with this batch. Store `cursor` once the events are applied.
    Batch {
        /// What happened.
        events: Vec<LoggedEvent>,
        /// Where to go on after a restart.
        cursor: Cursor,
        /// The time of the last block that was read, Unix seconds.
        timestamp: u64,
    },
    /// A new newest block. Batches that its height confirms have come before.
    Head(Head),
    /// Events of blocks above `to_block` that were handed on may never have happened; what happened instead follows.
    Reorg {
        /// The last block that still stands.
        to_block: u64,
    },
    /// The RPC began to fail, or answers again.
    Health {
        /// Whether it answers.
        ok: bool,
        /// Why not.
        error: Option<String>,
    },
}

/// Starts to watch from `start`, the stored cursor of an earlier run, or else from the deployment. Ends when `stop` is
/// cancelled or the receiver is dropped.
#[must_use]
pub fn watch(
    chain: Chain,
    start: Option<Cursor>,
    config: WatchConfig,
    stop: CancellationToken,
) -> mpsc::Receiver<ChainEvent> {
    let (events, receiver) = mpsc::channel(CHANNEL);
    let cursor = start.unwrap_or_else(|| Cursor::starting_at(chain.deployment().block));
    let range = config.max_range.max(1);
    let watcher =
        Watcher { chain, config, cursor, range, told: None, healthy: true, compared: Instant::now(), events };
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = watcher.run() => {}
        }
    });
    receiver
}

/// Why a round ends early.
enum Halt {
    /// The consumer is gone: the watcher ends.
    Deaf,
    /// The RPC failed: try again later.
    Failed(ChainError),
}

impl From<ChainError> for Halt {
    fn from(error: ChainError) -> Self {
        Self::Failed(error)
    }
}

struct Watcher {
    chain: Chain,
    config: WatchConfig,
    /// Everything below its next block was handed on.
    cursor: Cursor,
    /// How many blocks the next question spans: halved when the RPC refuses, doubled again when it does not.
    range: u64,
    /// The head that the consumer knows.
    told: Option<Head>,
    healthy: bool,
    /// When the endpoints were last compared.
    compared: Instant,
    events: mpsc::Sender<ChainEvent>,
}

impl Watcher {
    async fn run(mut self) {
        let mut pause = self.config.poll;
        loop {
            if self.compared.elapsed() >= self.config.compare_every {
                self.elect().await;
            }
            match self.round().await {
                Ok(()) => {
                    pause = self.config.poll;
                    if !self.healthy {
                        self.healthy = true;
                        if self.tell(ChainEvent::Health { ok: true, error: None }).await.is_err() {
                            return;
                        }
                    }
                }
                Err(Halt::Deaf) => return,
                Err(Halt::Failed(error)) => {
                    debug!(%error, "the chain does not answer");
                    if self.healthy {
                        self.healthy = false;
                        let health = ChainEvent::Health { ok: false, error: Some(error.to_string()) };
                        if self.tell(health).await.is_err() {
                            return;
                        }
                    }
                    pause = (pause * 2).min(self.config.max_backoff).max(self.config.poll);
                    if self.elect().await {
                        pause = self.config.poll;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks which endpoint serves best. Says whether another one is asked from now on.
    async fn elect(&mut self) -> bool {
        self.compared = Instant::now();
        let rpc = self.chain.rpc();
        rpc.has_fallbacks() && rpc.elect(self.chain.deployment()).await
    }

    async fn tell(&self, event: ChainEvent) -> Result<(), Halt> {
        self.events.send(event).await.map_err(|_| Halt::Deaf)
    }

    /// One look at the head, and everything that it confirms.
    async fn round(&mut self) -> Result<(), Halt> {
        let head = self.chain.rpc().head().await?;
        let (head, reorganised) = self.check_cursor(head).await?;
        let last = head.number.saturating_sub(self.config.confirmations);
        while self.cursor.next() <= last {
            self.read_up_to(last).await?;
        }
        // A head below the known one, without a reorg, is an RPC node that lags behind its peers.
        let news = self.told.is_none_or(|told| {
            head.number > told.number || (head.number == told.number && head.hash != told.hash) || reorganised
        });
        if news {
            self.chain.clock().set(head);
            self.told = Some(head);
            self.tell(ChainEvent::Head(head)).await?;
        }
        Ok(())
    }

    /// Looks whether the block under the cursor is still on the chain; if not, rewinds to one that is. Gives
    /// the head to go on from, and whether it had to.
    async fn check_cursor(&mut self, head: Head) -> Result<(Head, bool), Halt> {
        if self.common(head).await? == Common::All {
            return Ok((head, false));
        }
        serves(self.chain.rpc(), self.chain.deployment()).await?;
        // Whoever answered may have been another chain's endpoint behind the same name: only what is said now counts.
        let head = self.chain.rpc().head().await?;
        match self.common(head).await? {
            Common::All => Err(ChainError::Moved { block: head.number }.into()),
            Common::UpTo(stands) => {
                self.rewind(stands).await?;
                Ok((head, true))
            }
        }
    }

    /// What of the blocks that were read is on the chain of this head.
    async fn common(&self, head: Head) -> Result<Common, ChainError> {
        let Some(newest) = self.cursor.newest() else { return Ok(Common::All) };
        // Blocks above the head say nothing: an RPC node may lag behind its peers.
        let mut visible = self.cursor.newest_first().filter(|mark| mark.number <= head.number).peekable();
        let Some(highest) = visible.peek().copied() else {
            let url = self.chain.rpc_label().to_owned();
            return Err(ChainError::Behind { url, head: head.number, read: newest.number });
        };
        for mark in visible {
            if self.is_on_chain(mark, head).await? {
                return Ok(if mark == highest { Common::All } else { Common::UpTo(Some(mark)) });
            }
        }
        Ok(Common::UpTo(None))
    }

    async fn is_on_chain(&self, mark: BlockMark, head: Head) -> Result<bool, ChainError> {
        if mark.number == head.number {
            return Ok(mark.hash == head.hash);
        }
        // No block where the head says that there is one is the answer of a node that lags behind.
        Ok(self.block(mark.number).await?.hash == mark.hash)
    }

    async fn rewind(&mut self, stands: Option<BlockMark>) -> Result<(), Halt> {
        let start = self.chain.deployment().block;
        self.cursor.rewind(stands, start);
        let to_block = self.cursor.next().saturating_sub(1);
        if stands.is_some() {
            info!(to_block, "the chain was reorganised");
        } else {
            warn!(
                to_block,
                "the reorganisation is deeper than the remembered blocks: reading the chain again from the \
                 deployment"
            );
        }
        self.tell(ChainEvent::Reorg { to_block }).await
    }

    /// Reads and hands on the next range of blocks, up to `last` at most.
    async fn read_up_to(&mut self, last: u64) -> Result<(), Halt> {
        let from = self.cursor.next();
        let to = last.min(from.saturating_add(self.range - 1));
        let end = self.block(to).await?;
        if let Some(mark) = self.cursor.newest() {
            // The range must continue what was read; the next round finds out where it parts.
            let under = self.block(mark.number).await?;
            if under.hash != mark.hash {
                return Err(ChainError::Moved { block: mark.number }.into());
            }
        }
        let logs = self.logs(from, to).await?;
        if self.block(to).await?.hash != end.hash {
            return Err(ChainError::Moved { block: to }.into());
        }
        let events = self.decode(&logs).await?;
        for log in &logs {
            if let (Some(number), Some(hash)) = (log.block_number, log.block_hash) {
                self.cursor.remember(BlockMark { number, hash });
            }
        }
        self.cursor.advance(end.into());
        self.range = self.range.saturating_mul(2).min(self.config.max_range.max(1));
        self.tell(ChainEvent::Batch { events, cursor: self.cursor.clone(), timestamp: end.timestamp }).await
    }

    async fn block(&self, number: u64) -> Result<Head, ChainError> {
        self.chain.rpc().block(number).await?.ok_or(ChainError::Moved { block: number })
    }

    async fn logs(&mut self, from: u64, to: u64) -> Result<Vec<Log>, ChainError> {
        let filter = Filter::new().address(self.chain.deployment().market).from_block(from).to_block(to);
        let rpc = self.chain.rpc();
        let answer = rpc.ask("eth_getLogs", rpc.provider().get_logs(&filter)).await;
        if matches!(answer, Err(ChainError::Rpc { .. })) && self.range > 1 {
            // Most likely more blocks or logs than this RPC gives at once.
            self.range = (self.range / 2).max(1);
        }
        let mut logs = answer?;
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        Ok(logs)
    }

    async fn decode(&self, logs: &[Log]) -> Result<Vec<LoggedEvent>, ChainError> {
        let mut times = BTreeMap::new();
        let mut events = Vec::with_capacity(logs.len());
        for log in logs {
            let Some(event) = event::decode(log)? else { continue };
            let (Some(block), Some(log_index), Some(tx)) =
                (log.block_number, log.log_index, log.transaction_hash)
            else {
                return Err(ChainError::Decode {
                    what: "a log",
                    reason: "it is of no mined transaction".into(),
                });
            };
            let known = log.block_timestamp.or_else(|| times.get(&block).copied());
            let timestamp = match known {
                Some(timestamp) => timestamp,
                None => self.block(block).await?.timestamp,
            };
            times.insert(block, timestamp);
            events.push(LoggedEvent { block, timestamp, tx, log_index, event });
        }
        Ok(events)
    }
}
