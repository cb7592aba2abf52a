//! `make demo`: tells the story of a trade, writes reports/demo.json, leaves nothing behind.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use sublet::{cli::how_to_play, devnet::DEVNET_PARAMS, devnet::Devnet, devnet::DevnetOptions};
use sublet_tests::{
    demo::{Facts, tell},
    images,
    network::{Ended, Tale, conclude, with_network},
    story::{Story, say},
    write_report,
};

/// One trade with real parts, told while it happens.
#[derive(Debug, Parser)]
struct Demo {
    /// Keep the network running afterwards until Ctrl-C, and print how to use it.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let demo = Demo::parse();
    conclude("demo", &run(demo.keep).await)
}

async fn run(keep: bool) -> anyhow::Result<Ended> {
    let (images, story, facts) = (images()?, Story::default(), Facts::default());
    with_network("demo", &mut OneTrade { keep, images, story, facts, kept: false }).await
}

struct OneTrade {
    keep: bool,
    images: PathBuf,
    story: Story,
    facts: Facts,
    /// The story is told and the network stays up for play: ending it is no interruption.
    kept: bool,
}

impl Tale for OneTrade {
    async fn start(&mut self, options: DevnetOptions) -> anyhow::Result<Devnet> {
        self.story
            .step("a development chain comes up and the contracts are deployed", bring_chain(options))
            .await
    }

    async fn tell(&mut self, net: &mut Devnet) -> anyhow::Result<()> {
        let buyer = tell(net, &self.images, &mut self.story, &mut self.facts).await?;
        if self.keep {
            say(&format!("\n{}", how_to_play(net, &buyer)))?;
            self.kept = true;
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn close(&mut self, net: &Devnet, told: anyhow::Result<Ended>) -> anyhow::Result<Ended> {
        let verdict = match &told {
            Ok(Ended::Interrupted) if !self.kept => return told,
            Ok(_) => "ok",
            Err(_) => "failed",
        };
        let written = write_report("demo", &self.facts.report(&self.story, net, verdict));
        told?;
        let path = written?;
        // Nobody has to read it.
        let _ = say(&format!("\nreport: {}", path.display()));
        Ok(Ended::Told)
    }
}

async fn bring_chain(options: DevnetOptions) -> anyhow::Result<(Devnet, Vec<String>)> {
    let net = Devnet::start(options).await?;
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
}
