//! Chaos: nodes die at every place between two side effects, are started again, and the trade must come to its end
//! with nothing orphaned, paid twice, lost or stuck.

mod cases;
mod host;
mod reorgs;
mod rpc;
mod soak;
mod stage;

use std::{path::Path, time::Duration};

use serde::Serialize;
use sublet::{chain::LeaseState, devnet::Devnet, store::BuyerPhase};

use self::stage::Stage;
pub use self::{
    cases::{CASES, Case, Flow, Who},
    host::{HOST_FAULTS, HostFault, run as host_faults},
    reorgs::run as reorgs,
    rpc::run as rpc_faults,
    soak::run as soak,
};
use crate::story::say;

const SOON: Duration = Duration::from_secs(60);
const BOOTED: Duration = Duration::from_secs(120);
/// More than the provider's price.
const GOOD_RATE: &str = "0.003 CTK/s";
/// What the provider of the dark test is configured with.
const MAX_BLIND: Duration = Duration::from_secs(10);
/// Less than anybody's.
const BAD_RATE: &str = "0.0001 CTK/s";

/// A row of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The trade.
    pub case: String,
    /// What was done to it.
    pub fault: String,
    /// What must come of it.
    pub expected: String,
    /// What came of it.
    pub seen: String,
    /// `pass` or `fail`.
    pub verdict: &'static str,
    /// How long it took.
    pub seconds: u64,
}

/// Runs the cases one after the other on one network.
pub async fn run(net: &mut Devnet, images: &Path, cases: &[Case]) -> anyhow::Result<Vec<Row>> {
    let mut stage = Stage::set(net, images).await?;
    let mut rows = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let started = std::time::Instant::now();
        let seen = perform(&mut stage, case).await;
        let row = Row {
            case: format!("{:?}", case.flow).to_lowercase(),
            fault: format!("{:?} dies at {}", case.who, case.failpoint).to_lowercase(),
            expected: case.flow.expected().to_owned(),
            verdict: if seen.is_ok() { "pass" } else { "fail" },
            seen: match &seen {
                Ok(seen) => seen.clone(),
                Err(error) => format!("{error:#}; logs: {}", stage.logs()),
            },
            seconds: started.elapsed().as_secs(),
        };
        say(&format!(
            "{:>2}/{} {} {:>3} s  {}: {}",
            at + 1,
            cases.len(),
            row.verdict,
            row.seconds,
            row.fault,
            row.seen
        ))?;
        if seen.is_err() {
            stage.reset().await?;
        }
        rows.push(row);
    }
    Ok(rows)
}

async fn perform(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    let seen = match case.flow {
        Flow::Close => close(stage, case).await?,
        Flow::Finish => finish(stage, case).await?,
        Flow::Unsettled => unsettled(stage, case).await?,
        Flow::Unsold => unsold(stage, case).await?,
        Flow::ProviderAway => provider_away(stage, case).await?,
    };
    stage.until("the place is reached", SOON, async |stage| Ok(stage.all_reached())).await?;
    stage.until_free().await?;
    stage.check_money().await?;
    Ok(seen)
}

/// Until the buyer can log in.
async fn rented(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<alloy_primitives::B256> {
    stage.arm(case.who, case.failpoint).await?;
    let id = stage.post_bid(GOOD_RATE).await?;
    stage
        .until("the machine runs", BOOTED, async |stage| {
            let lease = stage.lease(Who::Buyer, id).await?;
            Ok(lease.state == LeaseState::Active && lease.access.is_some())
        })
        .await?;
    Ok(id)
}

async fn close(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    let id = rented(stage, case).await?;
    stage.until("a login", SOON, async |stage| stage.log_in(id).await.map(|()| true)).await?;
    if case.failpoint.contains("claim") {
        stage.advance(120).await?;
        stage
            .until("pay is claimed", SOON, async |stage| {
                let lease = stage.lease(Who::Buyer, id).await?;
                Ok(lease.paid_until > lease.started_at)
            })
            .await?;
    }
    stage.close(id).await?;
    stage.until_concluded(id).await?;
    stage.check_end(id, "closed").await
}

async fn finish(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    let id = rented(stage, case).await?;
    // The ten minutes, and the hold.
    stage.advance(700).await?;
    stage
        .until("the lease ends", SOON, async |stage| Ok(stage.state(id).await? == LeaseState::Ended))
        .await?;
    stage.until_concluded(id).await?;
    stage.check_end(id, "finished").await
}

async fn unsettled(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.arm(Who::Buyer, "buyer.settle.before").await?;
    stage.keep_away(Who::Buyer);
    stage.arm(case.who, case.failpoint).await?;
    let id = stage.post_bid(GOOD_RATE).await?;
    stage.until("the buyer is gone", SOON, async |stage| Ok(stage.is_down(Who::Buyer))).await?;
    // Beyond settle_by; then beyond the pause in which the buyer may not ask again.
    stage.advance(200).await?;
    stage.until_free().await?;
    stage.advance(600).await?;
    stage.bring_back(Who::Buyer)?;
    nothing_came_of_it(stage, id).await
}

async fn unsold(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.arm(case.who, case.failpoint).await?;
    let id = stage.post_bid(BAD_RATE).await?;
    stage.advance(400).await?;
    nothing_came_of_it(stage, id).await
}

async fn nothing_came_of_it(stage: &mut Stage<'_>, id: alloy_primitives::B256) -> anyhow::Result<String> {
    stage
        .until("the bid is over", SOON, async |stage| Ok(stage.bid(id).await?.phase == BuyerPhase::Expired))
        .await?;
    anyhow::ensure!(stage.state(id).await? == LeaseState::None, "a lease came of it");
    Ok("the bid expired, nothing was settled".into())
}

async fn provider_away(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.arm(Who::Provider, "provider.provision.before").await?;
    stage.keep_away(Who::Provider);
    stage.arm(case.who, case.failpoint).await?;
    let id = stage.post_bid(GOOD_RATE).await?;
    stage.until("the provider is gone", SOON, async |stage| Ok(stage.is_down(Who::Provider))).await?;
    stage.advance(400).await?;
    stage
        .until("the buyer takes its money back", SOON, async |stage| {
            Ok(stage.state(id).await? == LeaseState::Ended)
        })
        .await?;
    stage.bring_back(Who::Provider)?;
    stage.until_concluded(id).await?;
    stage.check_end(id, "aborted").await
}

/// The RPC hangs while a machine runs: for less than `max_blind` nobody notices, after that the machine is stopped, and
/// with the next block it is back.
pub async fn dark(net: &mut Devnet, images: &Path) -> anyhow::Result<Vec<Row>> {
    let mut stage = Stage::set(net, images).await?;
    stage.set_max_blind(MAX_BLIND).await?;
    let id = stage.post_bid(GOOD_RATE).await?;
    stage.until("the machine runs", BOOTED, async |stage| stage.log_in(id).await.map(|()| true)).await?;
    let mut rows = Vec::new();
    for (fault, dark_for, expected) in [
        ("the RPC hangs for less than max_blind", MAX_BLIND / 2, "the machine runs on"),
        ("the RPC hangs for longer than max_blind", MAX_BLIND * 2, "the machine is stopped, and comes back"),
    ] {
        let started = std::time::Instant::now();
        let stopped = stage.go_dark(dark_for).await?;
        let came_back = stage
            .until("the machine is back", BOOTED, async |stage| stage.log_in(id).await.map(|()| true))
            .await;
        let ends = stage.state(id).await? == LeaseState::Active;
        let right = stopped == (dark_for > MAX_BLIND) && came_back.is_ok() && ends;
        let row = Row {
            case: "dark".into(),
            fault: fault.into(),
            expected: expected.into(),
            seen: format!(
                "stopped meanwhile: {stopped}; login afterwards: {}; lease still active: {ends}",
                came_back.is_ok()
            ),
            verdict: if right { "pass" } else { "fail" },
            seconds: started.elapsed().as_secs(),
        };
        say(&format!("{} {:>3} s  {}: {}", row.verdict, row.seconds, row.fault, row.seen))?;
        rows.push(row);
    }
    stage.close(id).await?;
    stage.until_concluded(id).await?;
    stage.check_money().await?;
    Ok(rows)
}
