//! `make scale`: prints what one peer needs in markets of several sizes, and fails if `docs/scale.md` says
//! anything else.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser;
use serde_json::json;
use sublet_tests::{
    network::{Ended, conclude},
    raise_descriptors,
    scale::{
        measure,
        model::{Calibration, Market},
        page,
    },
    story::say,
    write_report,
};

/// The page that the tables are on.
const PAGE: &str = "docs/scale.md";

/// Orders of a measured network, and how far apart: two minutes in all, as long as the idle network is watched.
const ORDERS: u64 = 600;
const PAUSE: Duration = Duration::from_millis(200);

/// What one peer needs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Write the tables into the page instead of comparing them.
    #[arg(long)]
    write: bool,
    /// Runs the networks that the model stands on, some minutes, and compares the model with them.
    #[arg(long)]
    measure: bool,
    /// Nodes of the measured networks.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 20, 40])]
    nodes: Vec<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    conclude("scale", &run().await)
}

async fn run() -> anyhow::Result<Ended> {
    let arguments = Arguments::parse();
    if arguments.measure {
        run_networks(&arguments.nodes).await?;
    }
    let blocks = page::blocks();
    for (name, text) in &blocks {
        say(&format!("{name}\n\n{text}"))?;
    }
    let path = Path::new(PAGE);
    let text =
        std::fs::read_to_string(path).with_context(|| format!("{PAGE}: run this in the workspace's root"))?;
    let wanted = page::with_blocks(&text, &blocks)?;
    if arguments.write {
        std::fs::write(path, wanted)?;
        return Ok(Ended::Told);
    }
    ensure!(
        text == wanted,
        "{PAGE} says something else: run `cargo run -p sublet-tests --bin scale -- --write`"
    );
    say(&format!("{PAGE} says the same"))?;
    Ok(Ended::Told)
}

async fn run_networks(sizes: &[usize]) -> anyhow::Result<()> {
    raise_descriptors()?;
    let mut rows = Vec::new();
    for nodes in sizes {
        say(&format!("{nodes} nodes…"))?;
        let measured = measure::measure(*nodes, ORDERS, PAUSE).await?;
        let market = Market::of_measured(&measured);
        let calibration = Calibration::default();
        let (copies, bytes) = (calibration.copies(&market), calibration.bytes_per_order(&market));
        say(&format!(
            "  mesh {:.2}, copies {:.2} (model {copies:.2}), bytes an order {:.0} (model {bytes:.0}), pieces {:.2}, idle {:.0} B/s",
            measured.mesh,
            measured.copies,
            measured.bytes_per_order,
            measured.pieces_per_order,
            measured.idle_per_second
        ))?;
        rows.push(json!({ "measured": measured, "model": { "copies": copies, "bytes_per_order": bytes } }));
    }
    let report = write_report("scale", &rows)?;
    say(&format!("report: {}", report.display()))?;
    Ok(())
}
