//! `make bench`: what the book, the checks of orders and the network cost, as figures and as ratios to a
//! baseline of the same run; writes reports/bench.json.
//!
//! What takes little time is measured several times, and the median is told. These are of one run each, which has many
//! deliveries or counts bytes instead of time: propagation, and the sync of books that hardly differ.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use serde_json::{Map, Value, json};
use sublet_tests::{
    hostile::Role,
    network::{Ended, conclude},
    propagation, raise_descriptors,
    shaper::Shape,
    story::say,
    sync, validation, write_report,
};

/// The links of the propagation: 50 ± 20 ms each way.
const LINK: Shape = Shape {
    delay: Duration::from_millis(50),
    jitter: Duration::from_millis(20),
    bytes_per_second: None,
    stalled: false,
    closed: false,
};
/// With hostile peers about, an honest node has so many connections, so that orders depend on being forwarded.
const FEW_CONNECTIONS: u32 = 16;

/// Measures what costs time and memory.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run only this part, and write no report.
    #[arg(long)]
    only: Option<Part>,
    /// Books of up to 100,000 offers only.
    #[arg(long)]
    quick: bool,
    /// How many nodes an order has to reach.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=100))]
    nodes: u16,
    /// How many orders are published.
    #[arg(long, default_value_t = 100)]
    orders: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Book,
    Validation,
    Sync,
    Propagation,
}

#[tokio::main]
async fn main() -> ExitCode {
    conclude("bench", &run().await)
}

async fn run() -> anyhow::Result<Ended> {
    let arguments = Arguments::parse();
    let mut figures = Map::new();
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    if wanted(Part::Book) {
        bench_book(arguments.quick, &mut figures)?;
    }
    if wanted(Part::Validation) {
        validate(&mut figures)?;
    }
    if wanted(Part::Sync) {
        synchronise(arguments.quick, &mut figures).await?;
    }
    if wanted(Part::Propagation) {
        propagate(&arguments, &mut figures).await?;
        propagate_besieged(&arguments, &mut figures).await?;
    }
    if arguments.only.is_some() {
        return Ok(Ended::Told);
    }
    compare(&mut figures);
    let path = write_report("bench", &figures)?;
    say(&format!("report: {}", path.display()))?;
    Ok(Ended::Told)
}

/// Runs the benchmark of the book. Its lines are `{"name": …, "value": …}`, or objects of figures.
fn bench_book(quick: bool, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
    say("cargo bench -p sublet-market --bench book: builds and runs…")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["bench", "--locked", "--package", "sublet-market", "--bench", "book", "--"]);
    command.args(quick.then_some("quick"));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let stdout = child.stdout.take().context("no output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let Ok(Value::Object(row)) = serde_json::from_str(&line) else { continue };
        let named = match (row.get("name").and_then(Value::as_str), row.get("value")) {
            (Some(name), Some(value)) => Map::from_iter([(name.to_owned(), value.clone())]),
            _ => row,
        };
        for (name, value) in named {
            tell(figures, [(&name, value)])?;
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "the benchmark ended with {status}");
    Ok(())
}

fn validate(figures: &mut Map<String, Value>) -> anyhow::Result<()> {
    say("orders checked as those from gossip…")?;
    let seen = validation::measure()?;
    tell(
        figures,
        [
            ("recover_bare_per_s", json!(seen.recover_per_s.round())),
            ("validate_per_s", json!(seen.validate_per_s.round())),
            ("validate_per_recover", json!(rounded(seen.validate_per_recover, 3))),
        ],
    )
}

async fn synchronise(quick: bool, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
    let thousands = if quick { 10 } else { 100 };
    say(&format!("{thousands},000 orders to an empty peer…"))?;
    let seen = sync::measure(thousands * 1_000).await?;
    let ratio = seen.diff_bytes as f64 / seen.full_bytes as f64;
    tell(
        figures,
        [
            (&format!("sync_{thousands}k_s"), json!(rounded(seen.seconds, 3))),
            ("sync_full_bytes", json!(seen.full_bytes)),
            ("sync_fetched", json!(seen.fetched)),
            ("sync_difference_each_way", json!(sync::DIFFERENCE)),
            ("sync_diff_bytes", json!(seen.diff_bytes)),
            ("sync_diff_ratio", json!(rounded(ratio, 6))),
        ],
    )
}

async fn propagate(arguments: &Arguments, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
    raise_descriptors()?;
    let nodes = usize::from(arguments.nodes);
    say(&format!("{nodes} nodes at 50 ± 20 ms, {} orders…", arguments.orders))?;
    let measured = propagation::measure(nodes, arguments.orders, LINK).await?;
    let delivered = measured.millis.len();
    tell(
        figures,
        [
            ("propagation_nodes", json!(nodes)),
            ("propagation_delivered", json!(format!("{delivered} of {}", measured.wanted))),
            ("propagation_p50_ms", json!(measured.percentile(50).round())),
            ("propagation_p99_ms", json!(measured.percentile(99).round())),
        ],
    )?;
    ensure!(delivered == measured.wanted, "{delivered} of {} deliveries came", measured.wanted);
    Ok(())
}

/// A tenth of the nodes are hostile.
async fn propagate_besieged(arguments: &Arguments, figures: &mut Map<String, Value>) -> anyhow::Result<()> {
    let nodes = usize::from(arguments.nodes);
    let roles: Vec<Role> = Role::ALL.into_iter().cycle().take((nodes / 10).max(1)).collect();
    let honest = nodes - roles.len();
    say(&format!("{honest} honest nodes and {} hostile ones: {roles:?}…", roles.len()))?;
    let seen = propagation::measure_besieged(honest, &roles, arguments.orders, FEW_CONNECTIONS, LINK).await?;
    let (delivered, wanted) = (seen.propagation.millis.len(), seen.propagation.wanted);
    let offenders = seen.offenders();
    tell(
        figures,
        [
            ("propagation_hostile_nodes", json!(roles.len())),
            ("propagation_hostile_delivered", json!(format!("{delivered} of {wanted}"))),
            ("propagation_hostile_delivered_by_sync", json!(seen.propagation.by_sync)),
            ("propagation_hostile_p50_ms", json!(seen.propagation.percentile(50).round())),
            ("propagation_hostile_p99_ms", json!(seen.propagation.percentile(99).round())),
            ("propagation_hostile_rejected", json!(seen.rejected)),
            ("propagation_hostile_sent_away", json!(format!("{} of {offenders}", seen.sent_away.len()))),
        ],
    )?;
    ensure!(delivered == wanted, "{delivered} of {wanted} honest deliveries came");
    ensure!(seen.sent_away.len() == offenders, "only {:?} were banned", seen.sent_away);
    Ok(())
}

/// Says figures, and keeps them for the report.
fn tell<const N: usize>(figures: &mut Map<String, Value>, rows: [(&str, Value); N]) -> anyhow::Result<()> {
    for (name, value) in rows {
        say(&format!("  {name}: {value}"))?;
        figures.insert(name.to_owned(), value);
    }
    Ok(())
}

fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}

/// The best of the book beside the naive matcher of the same run.
fn compare(figures: &mut Map<String, Value>) {
    let naive = figures.get("naive_best_ms_10k").and_then(Value::as_f64);
    let ours = figures.get("best_p50_us").and_then(|sizes| sizes["10000"].as_f64());
    if let Some((naive, ours)) = naive.zip(ours) {
        figures.insert("naive_to_best_10k".to_owned(), json!(rounded(naive * 1_000.0 / ours, 2)));
    }
}
