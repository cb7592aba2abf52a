//! Reorganisations: blocks with a settlement, an activation, a top-up or a close are reverted, one to ten at
//! a time. anvil does not put their transactions back into its pool, so that whatever must happen again is up
//! to the nodes.

mod afresh;
mod contest;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use sublet::devnet::Devnet;
use sublet_chain::{ChainEvent, WatchConfig, watch};
use sublet_market::{LeaseState, LoggedEvent};
use tokio_util::sync::CancellationToken;

use self::contest::Rival;
pub use self::contest::run as contests;
use super::{BOOTED, GOOD_RATE, Row, SOON, Who, stage::Stage};

/// What is taken back.
const OPERATIONS: [&str; 5] = ["settle", "activate", "top-up", "close", "provider's close"];

/// One life of a lease for each depth; each of its four transactions is taken back once. Then another, which
/// its provider gives up.
pub async fn run(net: &mut Devnet, images: &Path, depths: &[u64]) -> anyhow::Result<Vec<Row>> {
    let mut stage = Stage::set(net, images).await?;
    let rival = Rival::join(&mut stage).await?;
    // The deposits must lie deeper than whatever is taken back: nobody would make them again.
    stage.bury().await?;
    let mut rows = Vec::new();
    for depth in depths {
        let mut lease = None;
        for operation in OPERATIONS {
            let started = Instant::now();
            let seen = take_back(&mut stage, &rival, operation, *depth, &mut lease).await;
            let failed = seen.is_err();
            rows.push(Row::tell(
                format!("reorg of {depth}"),
                format!("the block of the {operation} is reverted"),
                expected(operation),
                started,
                seen,
                || stage.logs().to_string(),
            )?);
            // The rest of this life has nothing to stand on.
            if failed {
                return Ok(rows);
            }
        }
    }
    Ok(rows)
}

fn expected(operation: &str) -> &'static str {
    match operation {
        "settle" => "settled again, the same lease, one machine",
        "activate" => "activated again, the same machine",
        "top-up" => "both nodes say what the chain says; the machine runs on",
        "provider's close" => "given up again, without another word of its operator",
        _ => "closed again; both files, and all that the API shows, as of a replay from the first block",
    }
}

async fn take_back(
    stage: &mut Stage<'_>,
    rival: &Rival,
    operation: &str,
    depth: u64,
    lease: &mut Option<B256>,
) -> anyhow::Result<String> {
    match operation {
        "settle" => {
            let id = stage.post_bid(GOOD_RATE).await?;
            *lease = Some(id);
            reaches(stage, id, "settled", |state| state != LeaseState::None).await?;
            let seen = stage.chain_lease(id).await?;
            let dropped = stage.reorg(depth, &seen, id).await?;
            reaches(stage, id, "settled again", |state| state != LeaseState::None).await?;
            Ok(format!("{dropped}; the lease is there again"))
        }
        "activate" => {
            let id = lease.context("there is no lease")?;
            reaches(stage, id, "activated", |state| state == LeaseState::Active).await?;
            let seen = stage.chain_lease(id).await?;
            let dropped = stage.reorg(depth, &seen, id).await?;
            reaches(stage, id, "activated again", |state| state == LeaseState::Active).await?;
            log_in(stage, id).await?;
            ensure!(stage.machines().await? == 1, "there are {} machines", stage.machines().await?);
            rival.is_kept_out(stage, id).await?;
            Ok(format!("{dropped}; the machine is there, for its buyer's key only"))
        }
        "top-up" => {
            let id = lease.context("there is no lease")?;
            stage.top_up(id).await?;
            let seen = stage.chain_lease(id).await?;
            let dropped = stage.reorg(depth, &seen, id).await?;
            // A deep one takes the activation back too.
            reaches(stage, id, "active again", |state| state == LeaseState::Active).await?;
            let after = agree(stage, id).await?;
            log_in(stage, id).await?;
            Ok(format!("{dropped}; funded until {after} on chain and in both nodes"))
        }
        "provider's close" => {
            let id = stage.post_bid(GOOD_RATE).await?;
            log_in(stage, id).await?;
            // Only the end is taken back.
            stage.bury().await?;
            stage.end(Who::Provider, "close", id).await?;
            let (dropped, _) = ends_again(stage, id, depth, "provider_closed").await?;
            Ok(format!("{dropped}; given up again"))
        }
        _ => {
            let id = lease.context("there is no lease")?;
            stage.close(id).await?;
            let (dropped, events) = ends_again(stage, id, depth, "closed").await?;
            let leases = afresh::compare(stage).await?;
            Ok(format!(
                "{dropped}; {events} events in both files and {leases} leases in both nodes, as in the replay; every \
                 token accounted for"
            ))
        }
    }
}

/// Takes the end of a lease back, and waits until it is there again and nothing is left. What was dropped, and how many
/// events both files have.
async fn ends_again(
    stage: &mut Stage<'_>,
    id: B256,
    depth: u64,
    reason: &str,
) -> anyhow::Result<(String, usize)> {
    let seen = stage.chain_lease(id).await?;
    let dropped = stage.reorg(depth, &seen, id).await?;
    reaches(stage, id, "ended again", |state| state == LeaseState::Ended).await?;
    stage.until_concluded(id).await?;
    let events = replayed(stage, id).await?;
    stage.check_money().await?;
    stage.check_end(id, reason).await?;
    Ok((dropped, events))
}

async fn reaches(
    stage: &mut Stage<'_>,
    id: B256,
    what: &str,
    wanted: fn(LeaseState) -> bool,
) -> anyhow::Result<()> {
    stage.until(what, BOOTED, async |stage| Ok(wanted(stage.state(id).await?))).await
}

async fn log_in(stage: &mut Stage<'_>, id: B256) -> anyhow::Result<()> {
    stage.until("a login", BOOTED, async |stage| stage.log_in(id).await.map(|()| true)).await
}

/// Waits until both nodes and the chain say the same of the lease. Gives the end of its funds.
async fn agree(stage: &mut Stage<'_>, id: B256) -> anyhow::Result<u64> {
    stage
        .until("both nodes agree with the chain", SOON, async |stage| {
            let chain = u64::from(stage.chain_lease(id).await?.funded_until);
            let buyer = stage.lease(Who::Buyer, id).await?;
            let provider = stage.lease(Who::Provider, id).await?;
            let replay = stage.events(id).await?;
            let funds = (buyer.funded_until, provider.funded_until);
            ensure!(funds == (chain, chain), "funded until {chain} on chain, {funds:?} in the nodes");
            for (node, events) in [("buyer", &buyer.events), ("provider", &provider.events)] {
                ensure!(*events == replay, "the {node} has {events:?}, the replay gives {replay:?}");
            }
            Ok(true)
        })
        .await?;
    Ok(u64::from(stage.chain_lease(id).await?.funded_until))
}

/// Waits until both files have the events that a replay from the deployment gives; their number.
async fn replayed(stage: &mut Stage<'_>, id: B256) -> anyhow::Result<usize> {
    stage
        .until("both files are as of a replay", SOON, async |stage| {
            let replay = stage.events(id).await?;
            Ok(stage.lease(Who::Buyer, id).await?.events == replay
                && stage.lease(Who::Provider, id).await?.events == replay)
        })
        .await?;
    Ok(stage.events(id).await?.len())
}

/// Every event of a lease, read anew from the deployment's block to one below the head, as a node without a past would.
pub(super) async fn replay(net: &Devnet, id: B256) -> anyhow::Result<Vec<LoggedEvent>> {
    let chain = net.bank.clone();
    let head = chain.head().await?.number;
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    let config = WatchConfig { poll: Duration::from_millis(50), confirmations: 1, ..WatchConfig::default() };
    let mut told = watch(chain, None, config, stop);
    let mut events = Vec::new();
    while let Some(event) = told.recv().await {
        match event {
            ChainEvent::Batch { events: batch, cursor, .. } => {
                events.extend(batch.into_iter().filter(|e| e.event.lease() == Some(id)));
                if cursor.next() >= head {
                    break;
                }
            }
            ChainEvent::Reorg { to_block } => events.retain(|e: &LoggedEvent| e.block <= to_block),
            ChainEvent::Head(_) | ChainEvent::Health { .. } => {}
        }
    }
    Ok(events)
}
