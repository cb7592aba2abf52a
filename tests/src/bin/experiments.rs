//! `make experiments`: runs the reference experiments and writes reports/experiments.json.

use std::{path::PathBuf, process::ExitCode};

use sublet::devnet::Devnet;
use sublet_tests::{
    experiments::{self, Row},
    images,
    network::{Ended, Tale, conclude, with_network},
    story::say,
    write_report,
};

#[tokio::main]
async fn main() -> ExitCode {
    conclude("experiments", &run().await)
}

async fn run() -> anyhow::Result<Ended> {
    let images = images()?;
    with_network("experiments", &mut Experiments { images, rows: Vec::new() }).await
}

struct Experiments {
    images: PathBuf,
    rows: Vec<Row>,
}

impl Tale for Experiments {
    async fn tell(&mut self, net: &mut Devnet) -> anyhow::Result<()> {
        say("starting a provider and two buyers; the lease of 4,000 s runs in moved time…")?;
        self.rows = experiments::run(net, &self.images).await?;
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
            let path = write_report("experiments", &self.rows)?;
            // Nobody has to read it.
            let _ = say(&format!("report: {}", path.display()));
        }
        told
    }
}
