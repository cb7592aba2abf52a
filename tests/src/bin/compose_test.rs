//! `make compose-test`: trades between containers, writes reports/compose.json, leaves nothing behind.

use std::{path::PathBuf, process::ExitCode};

use sublet::devnet::stop_signal;
use sublet_tests::{
    compose::{
        Compose,
        scenarios::{self, Row},
    },
    network::{Ended, conclude},
    story::{complain, say},
    sublet_binary, write_report,
};

#[tokio::main]
async fn main() -> ExitCode {
    conclude("compose-test", &run().await)
}

async fn run() -> anyhow::Result<Ended> {
    let mut stopped = stop_signal()?;
    let root = std::env::current_dir()?;
    anyhow::ensure!(
        root.join("docker-compose.yml").is_file(),
        "there is no docker-compose.yml in {}: run it in the directory that has it",
        root.display()
    );
    let (net, binary, mut rows) = (Compose::new(root), sublet_binary()?, Vec::new());
    let told = tokio::select! {
        told = tell(&net, binary, &mut rows) => told.map(|()| Ended::Told),
        () = &mut stopped => Ok(Ended::Interrupted),
    };
    if told.is_err() {
        // What the containers have said goes with them.
        complain(&net.logs().await.unwrap_or_else(|error| format!("{error:#}")));
    }
    let _ = say("\ntaking the network down…");
    let down = net.down().await;
    if !matches!(told, Ok(Ended::Interrupted)) {
        let path = write_report("compose", &rows)?;
        let _ = say(&format!("report: {}", path.display()));
    }
    told.and_then(|ended| down.and(Ok(ended)))
}

async fn tell(net: &Compose, binary: PathBuf, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    say(&format!("making the images for {} (minutes the first time, seconds afterwards)…", net.project()))?;
    net.build(&binary).await?;
    scenarios::run(net, rows).await
}
