//! `make chaos`: nodes die at every place between two side effects, and the RPC hangs; writes reports/chaos.json.

use std::process::ExitCode;

use clap::Parser;
use sublet::devnet::Devnet;
use sublet_tests::{
    chaos::{self, CASES, Case, Row},
    images,
    network::{Ended, Tale, conclude, with_network},
    story::say,
    write_report,
};

#[tokio::main]
async fn main() -> ExitCode {
    conclude("chaos", &run().await)
}

/// A node is killed, or the chain's RPC hangs, in the middle of a trade, started again, and the trade must come to its end.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the cases whose place has this in its name.
    #[arg(long)]
    only: Option<String>,
    /// Only the few that `make test` runs too.
    #[arg(long)]
    short: bool,
}

/// The network in which the RPC hangs.
struct Dark(Vec<Row>);

impl Tale for Dark {
    async fn tell(&mut self, net: &mut Devnet) -> anyhow::Result<()> {
        self.0 = chaos::dark(net, &images()?).await?;
        for row in &self.0 {
            say(&format!("{} {:>3} s  {}: {}", row.verdict, row.seconds, row.fault, row.seen))?;
        }
        Ok(())
    }

    fn close(&mut self, _net: &Devnet, told: anyhow::Result<Ended>) -> anyhow::Result<Ended> {
        told
    }
}

async fn run() -> anyhow::Result<Ended> {
    let arguments = Arguments::parse();
    let wanted = |case: &&Case| {
        (!arguments.short || case.short)
            && arguments.only.as_ref().is_none_or(|part| case.failpoint.contains(part))
    };
    let cases: Vec<Case> = CASES.iter().filter(wanted).copied().collect();
    anyhow::ensure!(!cases.is_empty(), "no case has that in its name");
    let mut dark = Dark(Vec::new());
    // The hanging RPC needs a network of its own; it has no place for a name.
    if arguments.only.is_none() && with_network("dark", &mut dark).await? == Ended::Interrupted {
        return Ok(Ended::Interrupted);
    }
    with_network("chaos", &mut Chaos { cases, rows: dark.0 }).await
}

struct Chaos {
    cases: Vec<Case>,
    rows: Vec<Row>,
}

impl Tale for Chaos {
    async fn tell(&mut self, net: &mut Devnet) -> anyhow::Result<()> {
        say(&format!("{} crashes, some ten seconds each…", self.cases.len()))?;
        self.rows.extend(chaos::run(net, &images()?, &self.cases).await?);
        let failed = self.rows.iter().filter(|row| row.verdict != "pass").count();
        anyhow::ensure!(failed == 0, "{failed} of {} cases failed", self.rows.len());
        Ok(())
    }

    fn close(&mut self, _net: &Devnet, told: anyhow::Result<Ended>) -> anyhow::Result<Ended> {
        if !self.rows.is_empty() {
            let path = write_report("chaos", &self.rows)?;
            // Nobody has to read it.
            let _ = say(&format!("report: {}", path.display()));
        }
        told
    }
}
