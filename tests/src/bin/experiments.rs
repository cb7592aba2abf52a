//! `make experiments`: runs the reference experiments and writes reports/experiments.json.

use std::process::ExitCode;

use sublet::devnet::{DEVNET_PARAMS, Devnet, DevnetOptions};
use sublet_tests::{experiments, images, leftovers::assert_gone, sublet_binary, write_report};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => {
            println!("experiments: ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("experiments: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("sublet-experiments-{}", std::process::id()));
    let (images, binary) = (images()?, sublet_binary()?);
    println!("starting a chain, a provider and two buyers; the lease of 4,000 s runs in moved time…");
    let mut net = Devnet::start(DevnetOptions { dir: dir.clone(), binary, params: DEVNET_PARAMS }).await?;
    let rows = tokio::select! {
        rows = experiments::run(&mut net, &images) => rows,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    if rows.is_err() {
        for node in net.nodes() {
            eprintln!("--- the end of the log of '{}'\n{}", node.name(), node.log_tail());
        }
    }
    net.down().await?;
    assert_gone(&dir)?;
    let rows = rows?;
    for row in &rows {
        println!(
            "experiment {}: {}  {} CTK -> {} CTK  {}\n  {}",
            row.experiment,
            row.verdict,
            row.balance_before_ctk,
            row.balance_after_ctk,
            row.instance.as_deref().unwrap_or("no machine"),
            row.seen
        );
    }
    println!("report: {}", write_report("experiments", &rows)?.display());
    Ok(())
}
