//! A trade while the RPC of both nodes misbehaves: it must come to its end, no machine may stop, nothing may be lost.

use std::{path::Path, time::Duration};

use sublet::{chain::LeaseState, devnet::Devnet};

use super::{BOOTED, GOOD_RATE, Row, SOON, stage::Stage};
use crate::{
    rpc_proxy::{Fault, RpcProxy},
    story::say,
};

/// How long a fault lasts that lets nothing through.
const FAULT_LASTS: Duration = Duration::from_secs(8);
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
}

/// The faults; a few of them for the short run.
pub async fn run(net: &mut Devnet, images: &Path, short: bool) -> anyhow::Result<Vec<Row>> {
    let proxy = RpcProxy::start(net.anvil.url()).await?;
    net.rpc_url = proxy.url().to_owned();
    let mut stage = Stage::set(net, images).await?;
    let other = stage.another_chain().await?;
    let mut faults = vec![
        (Fault::Flaky(20), When::Throughout),
        (Fault::Stale(0), When::Running),
        (Fault::Cut, When::AnHour),
    ];
    if !short {
        faults.extend([
            (Fault::Reorder(Duration::from_millis(400)), When::Throughout),
            (Fault::Cut, When::Running),
            (Fault::Hang, When::Running),
            (Fault::Error, When::Running),
            (Fault::Status(503), When::Running),
            (Fault::Status(429), When::Running),
            (Fault::Garbage, When::Running),
            (Fault::Astray(other.url().to_owned()), When::Running),
        ]);
    }
    let mut rows = Vec::new();
    for (fault, when) in faults {
        let started = std::time::Instant::now();
        let seen = perform(&mut stage, &proxy, &fault, when).await;
        proxy.set(Fault::None).await?;
        let row = Row {
            case: "rpc".into(),
            fault: format!("{}, {}", fault.describe(), described(when)),
            expected: expected(when).into(),
            verdict: if seen.is_ok() { "pass" } else { "fail" },
            seen: match &seen {
                Ok(seen) => seen.clone(),
                Err(error) => format!("{error:#}; logs: {}", stage.logs()),
            },
            seconds: started.elapsed().as_secs(),
        };
        say(&format!("{} {:>3} s  {}: {}", row.verdict, row.seconds, row.fault, row.seen))?;
        rows.push(row);
        if seen.is_err() {
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
    }
}

fn expected(when: When) -> &'static str {
    match when {
        When::Throughout => "the trade comes to its end all the same",
        When::Running => "the machine runs on, and the lease is closed afterwards",
        When::AnHour => "the lease is over by its own terms: finished, paid in full, nothing left",
    }
}

async fn perform(
    stage: &mut Stage<'_>,
    proxy: &RpcProxy,
    fault: &Fault,
    when: When,
) -> anyhow::Result<String> {
    if when == When::Throughout {
        proxy.set(fault.clone()).await?;
    }
    let before = proxy.requests();
    let id = stage.post_bid(GOOD_RATE).await?;
    stage.until("the machine runs", BOOTED, async |stage| stage.log_in(id).await.map(|()| true)).await?;
    match when {
        When::Throughout => {}
        When::Running => {
            proxy.set(fault.clone()).await?;
            let stopped = stage.look_for(FAULT_LASTS).await?;
            anyhow::ensure!(!stopped, "the machine was stopped");
            stage.log_in(id).await?;
            proxy.set(Fault::None).await?;
            anyhow::ensure!(stage.state(id).await? == LeaseState::Active, "the lease has ended");
        }
        When::AnHour => {
            proxy.set(fault.clone()).await?;
            stage.advance(HOUR).await?;
            stage.look_for(FAULT_LASTS).await?;
            anyhow::ensure!(
                stage.state(id).await? == LeaseState::Active,
                "a fault of the RPC closed the lease"
            );
            proxy.set(Fault::None).await?;
            stage
                .until("the lease is finished", SOON, async |stage| {
                    Ok(stage.state(id).await? == LeaseState::Ended)
                })
                .await?;
        }
    }
    if when != When::AnHour {
        stage.close(id).await?;
    }
    stage.until_concluded(id).await?;
    stage.check_money().await?;
    let reason = if when == When::AnHour { "finished" } else { "closed" };
    let end = stage.check_end(id, reason).await?;
    Ok(format!("{end}; {} requests", proxy.requests() - before))
}
