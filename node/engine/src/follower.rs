//! What the chain has said, in the store: the watcher's batches become [`ChainLease`] records, and changed
//! accounts are told to the book.
//!
//! Batches may come twice (the cursor moves after a batch is applied), so applying one is idempotent.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256};
use sublet_base::phase::{BuyerPhase, ProviderPhase};
use sublet_base::{
    failpoint,
    wall::{self, Skew},
};
use sublet_chain::{ChainEvent, Cursor};
use sublet_market::{LeaseState, LoggedEvent, MarketEvent};
use sublet_store::{ChainLease, LeaseEnd, Promise, Purchase};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Core, EngineError};

/// How often the open leases are read whatever the events say.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How often it is noted that the chain was seen.
const NOTE_SIGHT: Duration = Duration::from_secs(15);

/// Leases read in one call.
const LEASES_AT_ONCE: usize = 100;

/// The store's key of the watcher's cursor.
pub const CURSOR_KEY: &str = "watcher_cursor";
/// The store's key of the time of a new block, noted every few seconds: a node that starts while no RPC
/// answers counts its being offline from it.
pub const LAST_SEEN_KEY: &str = "chain_seen_at";

/// Applies the watcher's events until `stop`. A failing disk or chain stops nothing: the same batch is
/// tried again, because the cursor has not moved.
pub async fn run(core: Arc<Core>, mut events: mpsc::Receiver<ChainEvent>, stop: CancellationToken) {
    let mut skew = Skew::default();
    let mut looked = Instant::now();
    let mut noted: Option<Instant> = None;
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        let Some(event) = event else { return };
        if let ChainEvent::Head(head) = &event {
            look_at_clocks(&mut skew, core.now());
            if noted.is_none_or(|at| at.elapsed() >= NOTE_SIGHT) {
                noted = Some(Instant::now());
                note_sight(&core, head.timestamp);
            }
            if looked.elapsed() >= LOOK_AGAIN {
                looked = Instant::now();
                look_again(&core).await;
            }
        }
        let mut pause = Duration::from_millis(200);
        while let Err(error) = apply(&core, &event).await {
            tracing::warn!(%error, "cannot apply the chain's events; trying again");
            // A disk that is full does not make us offline: the chain is there, and is asked about each lease.
            let _ = core.chain.head().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(10));
        }
        core.wake.all();
    }
}

/// Only a node that starts offline reads it: a disk that is full holds up nothing else.
fn note_sight(core: &Core, timestamp: u64) {
    if let Err(error) = core.store.put_meta(LAST_SEEN_KEY, &timestamp) {
        tracing::debug!(%error, "cannot record when the chain was last seen");
    }
}

/// Reads every open lease: of several endpoints behind one address, one that was behind may have left out an event.
async fn look_again(core: &Core) {
    if let Err(error) = refresh_open_leases(core).await {
        tracing::debug!(%error, "cannot read the open leases again; trying again in a minute");
    }
}

async fn refresh_open_leases(core: &Core) -> Result<(), EngineError> {
    for lease in core.store.all::<ChainLease>()? {
        refresh_lease(core, lease.id).await?;
    }
    Ok(())
}

fn look_at_clocks(skew: &mut Skew, chain: u64) {
    match skew.look(wall::unix_seconds(), chain) {
        Some(Some(problem)) => tracing::warn!(
            "{problem}: leases follow the chain's time, so none is affected; set the clock (NTP), or check \
             whether the RPC stands still"
        ),
        Some(None) => tracing::info!("the clock of this host agrees with the chain's time again"),
        None => {}
    }
}

async fn apply(core: &Core, event: &ChainEvent) -> Result<(), EngineError> {
    match event {
        ChainEvent::Batch { events, cursor, timestamp } => {
            apply_batch(core, events, cursor).await?;
            core.seen.set_watched_until(*timestamp);
        }
        ChainEvent::Head(head) => {
            core.seen.set_caught_up_at(head.timestamp);
            let us = core.account.maker();
            let mut book = core.market.book();
            book.expire(head.timestamp);
            // Strangers without an order here are read again when they send one.
            book.retain_makers(|maker| *maker == us);
        }
        ChainEvent::Reorg { to_block } => {
            tracing::warn!(to_block, "the chain was reorganised: leases are read again");
            // Until the new blocks are read nothing can be said to be missing on chain.
            core.seen.set_watched_until(0);
            core.seen.set_caught_up_at(0);
            for lease in core.store.all_and_past::<ChainLease>()? {
                if lease.events.iter().any(|e| e.block > *to_block) {
                    take_back(core, lease.id, *to_block)?;
                }
            }
            // Of an open one more may be known than its events tell: what a transaction of ours has changed.
            refresh_open_leases(core).await?;
            core.counters.reorg();
        }
        ChainEvent::Health { ok, error } => {
            core.counters.chain_health(*ok);
            if !ok {
                tracing::warn!(error = error.as_deref().unwrap_or("unknown"), "the chain does not answer");
            }
        }
    }
    Ok(())
}

/// Forgets what a lease's blocks above `to_block` told of. A file that was closed by them is opened again:
/// the lease may go on.
fn take_back(core: &Core, id: B256, to_block: u64) -> Result<(), EngineError> {
    let key = id.as_slice();
    // The lease last: an engine that sees it open, and nothing that explains it, would end it.
    core.store.restore::<Promise>(key, |promise| promise.phase = ProviderPhase::Leased)?;
    core.store.restore::<Purchase>(key, |purchase| purchase.phase = BuyerPhase::Leased)?;
    if core.store.restore::<ChainLease>(key, |_| {})? {
        tracing::warn!(lease = %id, "the end of this lease was reverted by a reorganisation");
    }
    core.store.update::<ChainLease>(key, |lease| {
        lease.events.retain(|e| e.block <= to_block);
        if !lease.events.iter().any(|e| matches!(e.event, MarketEvent::LeaseEnded { .. })) {
            lease.end = None;
        }
    })?;
    Ok(())
}

async fn apply_batch(core: &Core, events: &[LoggedEvent], cursor: &Cursor) -> Result<(), EngineError> {
    let mut makers = BTreeSet::new();
    read_parties(core, events).await?;
    for logged in events {
        makers.extend(logged.event.makers());
        match &logged.event {
            MarketEvent::BidCancelled { id, .. } => {
                core.market.book().remove_bid(*id);
            }
            MarketEvent::LeaseOpened { id, buyer, provider, provider_node, .. } => {
                core.market.book().remove_bid(*id);
                core.seen.parties().insert(*id, (*buyer, *provider));
                note_winner(core, *id, (*provider, *provider_node) == (core.account.maker(), core.node))?;
            }
            MarketEvent::OperatorSet { maker, key, approved } => {
                core.market.book().set_operator(*maker, *key, *approved);
            }
            event => {
                let parties = event.lease().and_then(|id| core.seen.parties().get(id));
                makers.extend(parties.into_iter().flat_map(|(buyer, provider)| [buyer, provider]));
            }
        }
        if let Some(id) = logged.event.lease() {
            note_lease_event(core, id, logged).await?;
        }
    }
    refresh_makers(core, makers).await?;
    confirm_leases(core, cursor.next()).await?;
    if !events.is_empty() {
        failpoint::reach(&["follower.noted"]);
    }
    core.store.put_meta(CURSOR_KEY, cursor)?;
    if !events.is_empty() {
        failpoint::reach(&["follower.moved"]);
    }
    Ok(())
}

/// Learns who is party to the leases of a batch that are older than this process, or than its memory of parties.
async fn read_parties(core: &Core, events: &[LoggedEvent]) -> Result<(), EngineError> {
    let unknown = {
        let parties = core.seen.parties();
        leases_to_read(events, |id| parties.get(id).is_some())
    };
    for ids in unknown.chunks(LEASES_AT_ONCE) {
        let views = core.chain.leases(ids.to_vec()).await?;
        let mut parties = core.seen.parties();
        // A backend that has fallen behind knows nothing of a young lease: nothing is noted then.
        for (id, view) in ids.iter().zip(views).filter(|(_, view)| view.state != LeaseState::None) {
            parties.insert(*id, (view.buyer, view.provider));
        }
    }
    Ok(())
}

/// The leases whose events in a batch change their buyers' balances without naming them, and whose buyers are
/// not known.
fn leases_to_read(events: &[LoggedEvent], known: impl Fn(B256) -> bool) -> Vec<B256> {
    let mut opened = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for logged in events {
        match logged.event {
            MarketEvent::LeaseOpened { id, .. } => _ = opened.insert(id),
            MarketEvent::LeaseToppedUp { id, .. } | MarketEvent::LeaseEnded { id, .. }
                if !known(id) && !opened.contains(&id) =>
            {
                unknown.insert(id);
            }
            _ => {}
        }
    }
    unknown.into_iter().collect()
}

/// A bid is settled once: who accepted it and is not its provider holds nothing for it any more, and its buyer has kept
/// faith. Should a reorganisation give the lease to us after all, we owe it.
fn note_winner(core: &Core, id: B256, ours: bool) -> Result<(), EngineError> {
    let key = id.as_slice();
    let promise = core.store.find::<Promise>(key)?;
    match promise.map(|promise| promise.phase) {
        Some(ProviderPhase::Held) if !ours => {
            tracing::info!(lease = %id, "the bid was settled with another provider: its capacity is free");
            core.store.update::<Promise>(key, |promise| promise.phase = ProviderPhase::Lapsed)?;
            core.store.archive::<Promise>(key)?;
        }
        Some(ProviderPhase::Lapsed) if ours => {
            core.store.restore::<Promise>(key, |_| {})?;
        }
        _ => {}
    }
    Ok(())
}

/// Records the event of a lease that this node is a party of.
async fn note_lease_event(core: &Core, id: B256, logged: &LoggedEvent) -> Result<(), EngineError> {
    let known = core.store.find::<ChainLease>(id.as_slice())?;
    let ours = match &logged.event {
        MarketEvent::LeaseOpened { buyer, provider, buyer_node, provider_node, .. } => {
            // A maker may have several nodes: each minds what it has signed for.
            let parties = [(*buyer, *buyer_node), (*provider, *provider_node)];
            parties.contains(&(core.account.maker(), core.node))
        }
        _ => known.is_some(),
    };
    if !ours {
        return Ok(());
    }
    let (view, height) = core.chain.lease_at_head(id).await?;
    if known.is_none() {
        let changed_at = Some(height);
        let (view, events) = (view.clone(), Vec::new());
        core.store.put(&ChainLease { id, view, changed_at, events, end: None })?;
    }
    core.store.update::<ChainLease>(id.as_slice(), |lease| {
        lease.view = view;
        lease.changed_at = Some(height);
        let seen = (logged.block, logged.log_index);
        if !lease.events.iter().any(|e| (e.block, e.log_index) == seen) {
            lease.events.push(logged.clone());
        }
        if let MarketEvent::LeaseEnded { reason, ended_at, .. } = &logged.event {
            lease.end = Some(LeaseEnd { reason: *reason, at: u64::from(*ended_at) });
        }
    })?;
    Ok(())
}

/// Reads a lease's state again, after a transaction of ours has changed it.
pub async fn refresh_lease(core: &Core, id: B256) -> Result<(), EngineError> {
    read_lease(core, id, 0).await
}

async fn read_lease(core: &Core, id: B256, read: u64) -> Result<(), EngineError> {
    let (view, height) = core.chain.lease_at_head(id).await?;
    core.store.update::<ChainLease>(id.as_slice(), |lease| lease.saw(view, height, read))?;
    Ok(())
}

/// Reads those leases again that had changed in a block that was read by now: another may stand in its place,
/// of which no event tells what did not happen.
async fn confirm_leases(core: &Core, read: u64) -> Result<(), EngineError> {
    for lease in core.store.all::<ChainLease>()? {
        if lease.changed_at.is_some_and(|height| height < read) {
            read_lease(core, lease.id, read).await?;
        }
    }
    Ok(())
}

async fn refresh_makers(core: &Core, changed: BTreeSet<Address>) -> Result<(), EngineError> {
    for maker in changed {
        let known = core.market.book().maker(&maker).is_some();
        if known || maker == core.account.maker() {
            core.refresh_maker(maker).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(event: MarketEvent) -> LoggedEvent {
        LoggedEvent { block: 1, timestamp: 1, tx: B256::ZERO, log_index: 0, event }
    }

    fn opened(id: u8) -> MarketEvent {
        MarketEvent::LeaseOpened {
            id: B256::repeat_byte(id),
            buyer: Address::repeat_byte(1),
            provider: Address::repeat_byte(2),
            offer: B256::ZERO,
            buyer_node: B256::ZERO,
            provider_node: B256::ZERO,
            rate: 1,
            duration: 1,
            max_duration: 1,
            bond_seconds: 0,
            activate_by: 1,
            burn: false,
        }
    }

    fn topped_up(id: u8) -> MarketEvent {
        MarketEvent::LeaseToppedUp { id: B256::repeat_byte(id), funded_until: 2, amount: 1 }
    }

    #[test]
    fn the_buyers_of_leases_that_were_opened_before_the_start_are_asked_for() {
        let activated = MarketEvent::LeaseActivated {
            id: B256::repeat_byte(4),
            started_at: 1,
            funded_until: 2,
            max_end: 3,
        };
        let events =
            [opened(1), topped_up(1), topped_up(3), topped_up(2), topped_up(2), activated, topped_up(5)];
        let events = events.map(logged);
        let known = |id| id == B256::repeat_byte(5);
        assert_eq!(leases_to_read(&events, known), [2, 3].map(B256::repeat_byte));
    }
}
