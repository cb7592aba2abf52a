//! `make experiments [ADAPTER=aws]`: runs the reference experiments and writes reports/experiments.json (and
//! reports/experiments-ADAPTER.json).

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sublet::devnet::Devnet;
use sublet_tests::{
    experiments::{self, Row, Site},
    images,
    network::{Ended, Tale, conclude, with_network},
    story::say,
    write_report,
};

#[tokio::main]
async fn main() -> ExitCode {
    conclude("experiments", &run().await)
}

/// A buyer with 50 CTK gets a machine, one without is refused, the same with 100 succeeds.
#[derive(Debug, Parser)]
struct Arguments {
    /// What runs the machines.
    #[arg(long, value_enum, default_value_t = Adapter::Hypervisor)]
    adapter: Adapter,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Adapter {
    /// QEMU guests on this host.
    Hypervisor,
    /// Instances of a strict EC2 server.
    Aws,
}

async fn run() -> anyhow::Result<Ended> {
    let (site, report) = match Arguments::parse().adapter {
        Adapter::Hypervisor => (Site::Hypervisor(images()?), "experiments-hypervisor"),
        Adapter::Aws => (Site::aws().await?, "experiments-aws"),
    };
    with_network("experiments", &mut Experiments { site, report, rows: Vec::new() }).await
}

struct Experiments {
    site: Site,
    report: &'static str,
    rows: Vec<Row>,
}

impl Tale for Experiments {
    async fn tell(&mut self, net: &mut Devnet) -> anyhow::Result<()> {
        say("starting a provider and two buyers; the lease of 4,000 s runs in moved time…")?;
        self.rows = experiments::run(net, &self.site).await?;
        for row in &self.rows {
            say(&format!(
                "experiment {}: {}  {} CTK -> {} CTK  {}\n  {}",
                row.experiment,
                row.verdict,
                row.balance_before_ctk,
                row.balance_after_ctk,
                row.instance.as_deref().unwrap_or("no machine"),
                row.seen
            ))?;
        }
        Ok(())
    }

    fn close(&mut self, _net: &Devnet, told: anyhow::Result<Ended>) -> anyhow::Result<Ended> {
        if matches!(told, Ok(Ended::Told)) {
            // The newest run under the plain name, each adapter's under its own.
            write_report("experiments", &self.rows)?;
            let path = write_report(self.report, &self.rows)?;
            // Nobody has to read it.
            let _ = say(&format!("report: {}", path.display()));
        }
        told
    }
}
