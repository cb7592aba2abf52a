//! A trade while the RPC of both nodes misbehaves: it must come to its end, no machine may stop, nothing may be lost.

use std::{path::Path, time::Duration};

use alloy_primitives::B256;
use anyhow::ensure;
use sublet::devnet::Devnet;
use sublet_market::LeaseState;

use super::{BOOTED, GOOD_RATE, Row, SOON, Who, stage::Stage};
use crate::rpc_proxy::{Fault, RpcProxy};

/// How long a fault lasts that lets nothing through.
const FAULT_LASTS: Duration = Duration::from_secs(8);
/// How often is looked whether a machine runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What the network's Market has, and a little more, seconds.
const HOLD: u64 = 70;
/// What is dark for an hour must find the lease at its end: it has ten minutes.
const HOUR: u64 = 3_600;

/// When the fault is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// From the bid to the close: what comes through late or at the second try.
    Throughout,
    /// While the machine runs.
    Running,
    /// While the machine runs, and an hour of chain time passes.
    AnHour,
    /// From shortly before the funds end.
    TheEnd,
}

/// The fault begins so many seconds before the funds end: far more than a block, and than the nodes need to see it.
const BEFORE_THE_END: u32 = 20;
/// A pass of the engine, a look at a chain that does not answer, and the guest's own way down, on a machine
/// that does nothing else: seconds.
pub const LATEST_STOP: u64 = 5;
/// Blocks come once a second, and each node looks at them in its own time.
const EARLIEST_STOP: u64 = 2;

/// Which of the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpcFaults {
    /// All of them.
    All,
    /// A few that trades get over.
    Trades,
    /// One that hides the end of a lease's funds.
    FundsEnd,
    /// Both of these.
    Short,
}

impl RpcFaults {
    fn list(self, other_chain: &str) -> Vec<(Fault, When)> {
        let mut faults = Vec::new();
        if self != Self::FundsEnd {
            faults.extend([
                (Fault::Flaky(20), When::Throughout),
                (Fault::Stale(0), When::Running),
                (Fault::Cut, When::AnHour),
            ]);
        }
        if self != Self::Trades {
            faults.push((Fault::Hang, When::TheEnd));
        }
        if self == Self::All {
            faults.extend([
                (Fault::Reorder(Duration::from_millis(400)), When::Throughout),
                (Fault::Cut, When::Running),
                (Fault::Cut, When::TheEnd),
                (Fault::Hang, When::Running),
                (Fault::Error, When::Running),
                (Fault::Status(503), When::Running),
                (Fault::Status(429), When::Running),
                (Fault::Garbage, When::Running),
                (Fault::Astray(other_chain.to_owned()), When::Running),
            ]);
        }
        faults
    }
}

/// One trade for each fault. A machine may run for less than so many seconds after its funds have ended.
pub async fn run(
    net: &mut Devnet,
    images: &Path,
    which: RpcFaults,
    latest_stop: u64,
) -> anyhow::Result<Vec<Row>> {
    let proxy = RpcProxy::start(net.anvil.url()).await?;
    net.rpc_url = proxy.url().to_owned();
    let mut stage = Stage::set(net, images).await?;
    let other = stage.another_chain().await?;
    let mut rows = Vec::new();
    for (fault, when) in which.list(other.url()) {
        let started = std::time::Instant::now();
        let seen = perform(&mut stage, &proxy, &fault, when, latest_stop).await;
        proxy.set(Fault::None).await?;
        let failed = seen.is_err();
        let fault = format!("{}, {}", fault.describe(), described(when));
        rows.push(Row::tell("rpc", fault, expected(when), started, seen, || stage.logs().to_string())?);
        if failed {
            return Ok(rows);
        }
    }
    other.stop().await;
    Ok(rows)
}

fn described(when: When) -> &'static str {
    match when {
        When::Throughout => "from the bid to the close",
        When::Running => "while the machine runs",
        When::AnHour => "for an hour of chain time",
        When::TheEnd => "while the funds end",
    }
}

fn expected(when: When) -> &'static str {
    match when {
        When::Throughout => "the trade comes to its end all the same",
        When::Running => "the machine runs on, and the lease is closed afterwards",
        When::AnHour => "the lease is over by its own terms: finished, paid in full, nothing left",
        When::TheEnd => {
            "the machine stops when the funds end, by the nodes' own clocks; finished, paid in full"
        }
    }
}

async fn perform(
    stage: &mut Stage<'_>,
    proxy: &RpcProxy,
    fault: &Fault,
    when: When,
    latest_stop: u64,
) -> anyhow::Result<String> {
    if when == When::Throughout {
        proxy.set(fault.clone()).await?;
    }
    let before = proxy.requests();
    let id = stage.post_bid(GOOD_RATE).await?;
    stage.until("the machine runs", BOOTED, async |stage| stage.log_in(id).await.map(|()| true)).await?;
    let mut stopped = String::new();
    match when {
        When::Throughout => {}
        When::TheEnd => stopped = stops_in_time(stage, proxy, fault, id, latest_stop).await?,
        When::Running => {
            proxy.set(fault.clone()).await?;
            let stopped = stage.look_for(FAULT_LASTS).await?;
            ensure!(!stopped, "the machine was stopped");
            stage.log_in(id).await?;
            proxy.set(Fault::None).await?;
            ensure!(stage.state(id).await? == LeaseState::Active, "the lease has ended");
        }
        When::AnHour => {
            proxy.set(fault.clone()).await?;
            stage.advance(HOUR).await?;
            stage.look_for(FAULT_LASTS).await?;
            ensure!(stage.state(id).await? == LeaseState::Active, "a fault of the RPC closed the lease");
            proxy.set(Fault::None).await?;
            stage
                .until("the lease is finished", SOON, async |stage| {
                    Ok(stage.state(id).await? == LeaseState::Ended)
                })
                .await?;
        }
    }
    let over = matches!(when, When::AnHour | When::TheEnd);
    if !over {
        stage.close(id).await?;
    }
    stage.until_concluded(id).await?;
    stage.check_money().await?;
    let end = stage.check_end(id, if over { "finished" } else { "closed" }).await?;
    Ok(format!("{stopped}{end}; {} requests", proxy.requests() - before))
}

/// Neither node sees the chain when the funds end; the chain itself goes on.
async fn stops_in_time(
    stage: &mut Stage<'_>,
    proxy: &RpcProxy,
    fault: &Fault,
    id: B256,
    latest_stop: u64,
) -> anyhow::Result<String> {
    let funded_until = u64::from(stage.chain_lease(id).await?.funded_until);
    let near = funded_until - u64::from(BEFORE_THE_END);
    stage.advance(near.saturating_sub(stage.chain_time().await?)).await?;
    stage
        .until("the nodes know that the end is near", SOON, async |stage| {
            let lease = stage.lease(Who::Provider, id).await?;
            Ok(lease.started_at + lease.metered_seconds >= near)
        })
        .await?;
    proxy.set(fault.clone()).await?;
    let mut last_seen = 0;
    let deadline = tokio::time::Instant::now() + SOON;
    while stage.is_running().await? {
        last_seen = stage.chain_time().await?;
        ensure!(
            tokio::time::Instant::now() < deadline,
            "the machine runs on, {} s unpaid",
            last_seen.saturating_sub(funded_until)
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let stopped = stage.chain_time().await?;
    ensure!(
        last_seen < funded_until + latest_stop,
        "it ran for {} s unpaid",
        last_seen.saturating_sub(funded_until)
    );
    ensure!(stopped + EARLIEST_STOP >= funded_until, "it stopped {} s too early", funded_until - stopped);
    ensure!(stage.state(id).await? == LeaseState::Active, "a fault of the RPC ended the lease");
    proxy.set(Fault::None).await?;
    // What is left to do once the chain is there again: the provider collects after the hold.
    stage.advance(HOLD).await?;
    stage
        .until("the lease is finished", SOON, async |stage| Ok(stage.state(id).await? == LeaseState::Ended))
        .await?;
    let late = i128::from(stopped) - i128::from(funded_until);
    Ok(format!("stopped {late} s after the end of the funds by the chain's time; "))
}
