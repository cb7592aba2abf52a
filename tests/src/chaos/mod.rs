//! Chaos: nodes die at every place between two side effects, are started again, and the trade must come to its end
//! with nothing orphaned, paid twice, lost or stuck.

mod cases;
mod flows;
mod host;
mod prompt;
mod reorgs;
mod rpc;
mod soak;
mod stage;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;
use sublet::devnet::Devnet;
use sublet_market::LeaseState;

use self::stage::Stage;
pub use self::{
    cases::{CASES, Case, Flow, Who},
    host::{HOST_FAULTS, HostFault, SHORT_HOST_FAULTS, run as host_faults},
    prompt::{LIMIT as PROMPT, run as prompt},
    reorgs::{contests, run as reorgs},
    rpc::{LATEST_STOP, RpcFaults, run as rpc_faults},
    soak::{Size, run as soak},
};
use crate::story::say;

/// How deep blocks are taken back in what `make test` tries.
pub const SHORT_DEPTHS: [u64; 1] = [4];
/// Where two buyers compete: before the first one's machine runs, and after.
pub const CONTEST_DEPTHS: [u64; 4] = [1, 2, 5, 10];
/// The one of these that `make test` tries.
pub const SHORT_CONTEST_DEPTHS: [u64; 1] = [5];

const SOON: Duration = Duration::from_secs(60);
const BOOTED: Duration = Duration::from_secs(120);
/// More than the provider's price.
const GOOD_RATE: &str = "0.003 CTK/s";
/// What the provider of the dark test is configured with.
const MAX_OFFLINE: Duration = Duration::from_secs(10);
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

impl Row {
    /// The row of a case that began at `started`; of one that failed with the last lines of the logs. It is told at
    /// once.
    fn tell(
        case: impl Into<String>,
        fault: impl Into<String>,
        expected: impl Into<String>,
        started: Instant,
        seen: anyhow::Result<String>,
        logs: impl FnOnce() -> String,
    ) -> anyhow::Result<Self> {
        let verdict = if seen.is_ok() { "pass" } else { "fail" };
        let seen = seen.unwrap_or_else(|error| format!("{error:#}; logs: {}", logs()));
        let seconds = started.elapsed().as_secs();
        let row = Self {
            case: case.into(),
            fault: fault.into(),
            expected: expected.into(),
            seen,
            verdict,
            seconds,
        };
        say(&format!("{verdict} {seconds:>3} s  {}: {}: {}", row.case, row.fault, row.seen))?;
        Ok(row)
    }
}

/// Runs the cases one after the other on one network.
pub async fn run(net: &mut Devnet, images: &Path, cases: &[Case]) -> anyhow::Result<Vec<Row>> {
    let mut stage = Stage::set(net, images).await?;
    // Some of the trades cost the provider its bond.
    stage.endow_provider().await?;
    let mut rows = Vec::new();
    for case in cases {
        let started = Instant::now();
        let seen = flows::perform(&mut stage, case).await;
        let failed = seen.is_err();
        rows.push(Row::tell(
            format!("{:?}", case.flow).to_lowercase(),
            format!("{:?} dies at {}", case.who, case.failpoint).to_lowercase(),
            case.flow.expected(),
            started,
            seen,
            || stage.logs().to_string(),
        )?);
        if failed {
            stage.reset().await?;
        }
    }
    let started = Instant::now();
    let open = stage.open_files().await?;
    let seen = if open.is_empty() { Ok("none".to_owned()) } else { Err(anyhow::anyhow!(open.join(", "))) };
    let (fault, expected) =
        ("all of the crashes above", "no file of a lease or a bid is open in either node");
    rows.push(Row::tell("files", fault, expected, started, seen, String::new)?);
    Ok(rows)
}

/// The RPC hangs while a machine runs: for less than `max_offline` nobody notices, after that the machine is
/// stopped, and with the next block it is back.
pub async fn dark(net: &mut Devnet, images: &Path) -> anyhow::Result<Vec<Row>> {
    let mut stage = Stage::set(net, images).await?;
    stage.set_max_offline(MAX_OFFLINE).await?;
    let id = stage.post_bid(GOOD_RATE).await?;
    stage.until("the machine runs", BOOTED, async |stage| stage.log_in(id).await.map(|()| true)).await?;
    let mut rows = Vec::new();
    for (fault, dark_for, expected) in [
        ("the RPC hangs for less than max_offline", MAX_OFFLINE / 2, "the machine runs on"),
        (
            "the RPC hangs for longer than max_offline",
            MAX_OFFLINE * 4,
            "the machine is stopped, and comes back",
        ),
    ] {
        let started = Instant::now();
        let stopped = stage.go_dark(dark_for).await?;
        let came_back = stage
            .until("the machine is back", BOOTED, async |stage| stage.log_in(id).await.map(|()| true))
            .await;
        let ends = stage.state(id).await? == LeaseState::Active;
        let right = stopped == (dark_for > MAX_OFFLINE) && came_back.is_ok() && ends;
        let seen = format!(
            "stopped meanwhile: {stopped}; login afterwards: {}; lease still active: {ends}",
            came_back.is_ok()
        );
        let seen = if right { Ok(seen) } else { Err(anyhow::anyhow!(seen)) };
        rows.push(Row::tell("dark", fault, expected, started, seen, || stage.logs().to_string())?);
    }
    stage.close(id).await?;
    stage.until_concluded(id).await?;
    stage.check_money().await?;
    Ok(rows)
}
