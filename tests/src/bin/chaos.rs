//! `make chaos`: nodes die at every place between two side effects, the RPC fails in every way, the chain
//! reverts blocks, host and peers fail; writes reports/chaos.json.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sublet::devnet::Devnet;
use sublet_tests::{
    chaos::{
        self, CASES, CONTEST_DEPTHS, Case, HOST_FAULTS, HostFault, Row, RpcFaults, SHORT_CONTEST_DEPTHS,
        SHORT_DEPTHS, SHORT_HOST_FAULTS, Size,
    },
    images,
    network::{Ended, Tale, conclude, with_network},
    story::say,
    write_report,
};

#[tokio::main]
async fn main() -> ExitCode {
    conclude("chaos", &run().await)
}

/// Something goes wrong in the middle of a trade, and the trade must come to its end.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run only this part; may be given several times.
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Run only the crashes whose place has this in its name.
    #[arg(long)]
    only: Option<String>,
    /// Run only a few cases of each part; `make test` runs the same without the soak.
    #[arg(long)]
    short: bool,
    /// Only reorganisations of so many blocks; may be given several times.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10))]
    depth: Vec<u64>,
    /// Only this fault of the part `host`; may be given several times.
    #[arg(long, value_enum)]
    fault: Vec<HostFault>,
    /// How many leases the soak has; 200, or 8 with `--short`.
    #[arg(long)]
    leases: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The RPC hangs for longer than `max_offline`.
    Dark,
    /// The RPC drops, delays, refuses, stands still, goes astray.
    Rpc,
    /// A lease ends: how fast its machine is gone and its room for sale.
    Prompt,
    /// Blocks are taken back, one to ten at a time.
    Reorgs,
    /// The same, where that gives the only machine to another buyer.
    Contests,
    /// Many leases by many nodes at random.
    Soak,
    /// The disk is full, the database locked, damaged or lost, the clock jumps, QEMU hangs, fails and lies, a
    /// peer is mute.
    Host,
    /// A node dies at every place between two side effects.
    Crashes,
}

async fn run() -> anyhow::Result<Ended> {
    let arguments = Arguments::parse();
    let wanted = |case: &&Case| {
        (!arguments.short || case.short)
            && arguments.only.as_ref().is_none_or(|part| case.failpoint.contains(part))
    };
    let cases: Vec<Case> = CASES.iter().filter(wanted).copied().collect();
    anyhow::ensure!(!cases.is_empty(), "no case has that in its name");
    // A place to die at belongs to one part only.
    let parts = match (&arguments.only, arguments.part.is_empty()) {
        (Some(_), _) => vec![Part::Crashes],
        (None, true) => Part::value_variants().to_vec(),
        (None, false) => arguments.part,
    };
    let chosen =
        |all: &[u64]| if arguments.depth.is_empty() { all.to_vec() } else { arguments.depth.clone() };
    let (depths, contests) = match arguments.short {
        true => (chosen(&SHORT_DEPTHS), chosen(&SHORT_CONTEST_DEPTHS)),
        false => (chosen(&(1..=10).collect::<Vec<_>>()), chosen(&CONTEST_DEPTHS)),
    };
    let faults = match (arguments.fault, arguments.short) {
        (chosen, _) if !chosen.is_empty() => chosen,
        (_, true) => SHORT_HOST_FAULTS.to_vec(),
        (_, false) => HOST_FAULTS.to_vec(),
    };
    let soak = if arguments.short { Size::SHORT } else { Size::FULL };
    let soak = Size { leases: arguments.leases.unwrap_or(soak.leases), ..soak };
    let mut rows = Vec::new();
    for part in parts {
        let mut chaos = Chaos {
            part,
            cases: &cases,
            depths: &depths,
            contests: &contests,
            faults: &faults,
            soak,
            short: arguments.short,
            rows: Vec::new(),
        };
        let ended = with_network("chaos", &mut chaos).await;
        rows.extend(chaos.rows);
        if !rows.is_empty() {
            let path = write_report("chaos", &rows)?;
            // Nobody has to read it.
            let _ = say(&format!("report: {}", path.display()));
        }
        if ended? == Ended::Interrupted {
            return Ok(Ended::Interrupted);
        }
    }
    let failed = rows.iter().filter(|row| row.verdict != "pass").count();
    anyhow::ensure!(failed == 0, "{failed} of {} cases failed", rows.len());
    Ok(Ended::Told)
}

/// One part, on a network of its own.
struct Chaos<'a> {
    part: Part,
    cases: &'a [Case],
    depths: &'a [u64],
    contests: &'a [u64],
    faults: &'a [HostFault],
    soak: Size,
    short: bool,
    rows: Vec<Row>,
}

impl Tale for Chaos<'_> {
    async fn tell(&mut self, net: &mut Devnet) -> anyhow::Result<()> {
        let images = images()?;
        self.rows = match self.part {
            Part::Dark => chaos::dark(net, &images).await?,
            Part::Rpc => {
                let which = if self.short { RpcFaults::Short } else { RpcFaults::All };
                chaos::rpc_faults(net, &images, which, chaos::LATEST_STOP).await?
            }
            Part::Prompt => chaos::prompt(net, &images, chaos::PROMPT).await?,
            Part::Reorgs => chaos::reorgs(net, &images, self.depths).await?,
            Part::Contests => chaos::contests(net, &images, self.contests).await?,
            Part::Host => chaos::host_faults(net, &images, self.faults).await?,
            Part::Soak => chaos::soak(net, &images, self.soak).await?,
            Part::Crashes => {
                say(&format!("{} crashes, some ten seconds each…", self.cases.len()))?;
                chaos::run(net, &images, self.cases).await?
            }
        };
        Ok(())
    }

    fn close(&mut self, _net: &Devnet, told: anyhow::Result<Ended>) -> anyhow::Result<Ended> {
        told
    }
}
