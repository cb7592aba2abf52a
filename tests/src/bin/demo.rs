//! `make demo`: tells the story of a trade, writes reports/demo.json, leaves nothing behind.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use sublet::{
    cli::how_to_play,
    devnet::{DEVNET_PARAMS, Devnet, DevnetOptions},
};
use sublet_tests::{
    demo::{Facts, tell},
    images,
    leftovers::assert_gone,
    story::Story,
    sublet_binary, write_report,
};
use tokio::signal::unix::{SignalKind, signal};

/// One trade with real parts, told while it happens.
#[derive(Debug, Parser)]
struct Demo {
    /// Leave the network up afterwards until Ctrl-C, and say how to play with it.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let demo = Demo::parse();
    let dir = std::env::temp_dir().join(format!("sublet-demo-{}", std::process::id()));
    match run(demo.keep, dir.clone()).await {
        Ok(Ended::Told) => {
            if let Err(error) = assert_gone(&dir) {
                eprintln!("demo: failed: {error:#}");
                return ExitCode::FAILURE;
            }
            println!("\ndemo: ok");
            ExitCode::SUCCESS
        }
        Ok(Ended::Interrupted) => {
            eprintln!("demo: interrupted; everything is taken down");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("\ndemo: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

enum Ended {
    Told,
    Interrupted,
}

async fn run(keep: bool, dir: PathBuf) -> anyhow::Result<Ended> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut signalled = Box::pin(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let (images, binary) = (images()?, sublet_binary()?);
    let mut story = Story::default();
    let mut net = story
        .step("a development chain comes up and the contracts are deployed", async {
            let net = Devnet::start(DevnetOptions { dir, binary, params: DEVNET_PARAMS }).await?;
            let gas: u64 = net.deploy_reports.iter().map(|report| report.gas_used).sum();
            let said = vec![
                format!("anvil pid {}, chain {}, a block a second", net.anvil.pid(), net.deployment.chain_id),
                format!("CloudToken {}", net.deployment.token),
                format!("Market     {}  (gas for both {gas})", net.deployment.market),
                format!(
                    "HOLD is {} s and NOTICE {} s on this devnet; a real market has minutes",
                    DEVNET_PARAMS.hold, DEVNET_PARAMS.notice
                ),
            ];
            Ok((net, said))
        })
        .await?;
    let mut facts = Facts::default();
    let told = tokio::select! {
        told = tell(&mut net, &images, &mut story, &mut facts) => Some(told),
        () = &mut signalled => None,
    };
    let ended = match told {
        None => Ok(Ended::Interrupted),
        Some(Err(error)) => {
            for node in net.nodes() {
                eprintln!("--- the end of the log of '{}'\n{}", node.name(), node.log_tail());
            }
            write_report("demo", &facts.report(&story, &net, "failed"))?;
            Err(error)
        }
        Some(Ok(buyer)) => {
            let path = write_report("demo", &facts.report(&story, &net, "ok"))?;
            println!("\nreport: {}", path.display());
            if keep {
                println!("\n{}", how_to_play(&net, &buyer));
                signalled.await;
            }
            Ok(Ended::Told)
        }
    };
    println!("\ntaking the network down…");
    net.down().await?;
    ended
}
