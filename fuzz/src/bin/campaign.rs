//! `make fuzz`: builds the fuzzer, gives every target its time, and writes reports/fuzz.json. Fails if anything broke.
//!
//! What the fuzzer finds on the way is kept in the cache, for the next run to begin with; what breaks a
//! target is written to reports/fuzz/.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use serde::Serialize;
use sublet_fuzz::{TARGETS, Target, corpus};

/// An input may take so long on a busy machine: those that take more are reported like a crash.
const SLOWEST_SECONDS: u32 = 10;
/// The whole process, with the fuzzer's own tables.
const MOST_MIB: u32 = 2_048;

/// Fuzzes every reader of foreign bytes.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    time: u32,
    /// These targets only.
    #[arg(long, value_delimiter = ',')]
    target: Vec<String>,
    /// What was found is written to the committed corpora, as few and as short inputs as go the same ways.
    #[arg(long)]
    keep: bool,
    /// The built fuzzer; built here without it.
    #[arg(long)]
    fuzzer: Option<PathBuf>,
}

/// What became of a target.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    target: &'static str,
    from: &'static str,
    seconds: u32,
    executions: u64,
    executions_per_second: u64,
    /// Branches of our own crates that were taken.
    coverage: u64,
    /// Inputs that were found to go new ways.
    corpus: u64,
    slowest_seconds: u64,
    peak_mib: u64,
    crashes: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let fuzzer = arguments.fuzzer.clone().map_or_else(build, Ok)?;
    let asked = &arguments.target;
    for name in asked {
        ensure!(sublet_fuzz::find(name).is_some(), "{name} is no target: one of {}", names().join(", "));
    }
    let wanted = |target: &&Target| asked.is_empty() || asked.iter().any(|name| name == target.name);
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    let mut outcomes = Vec::new();
    println!(
        "{:16} {:>11} {:>9} {:>9} {:>7} {:>8}",
        "target", "executions", "a second", "coverage", "corpus", "crashes"
    );
    for target in targets {
        let outcome = fuzz(&fuzzer, target, arguments.time)?;
        println!(
            "{:16} {:>11} {:>9} {:>9} {:>7} {:>8}",
            outcome.target,
            outcome.executions,
            outcome.executions_per_second,
            outcome.coverage,
            outcome.corpus,
            outcome.crashes.len()
        );
        if arguments.keep {
            keep(&fuzzer, target)?;
        }
        outcomes.push(outcome);
    }
    let text = serde_json::to_string_pretty(&outcomes)? + "\n";
    fs::create_dir_all("reports")?;
    fs::write("reports/fuzz.json", text)?;
    println!("report: reports/fuzz.json");
    let crashes: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.crashes).collect();
    for crash in &crashes {
        println!(
            "broken by {crash}: see the log beside it; once it is fixed, move it to fuzz/regressions/TARGET/"
        );
    }
    Ok(crashes.is_empty())
}

fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|target| target.name).collect()
}

/// Builds the fuzzer with the workspace's own crates instrumented; only stable flags.
fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let wrapper = corpus::root().join("rustc-instrumented");
    let status = Command::new(cargo)
        .args([
            "build",
            "--locked",
            "--profile",
            "fuzz",
            "--package",
            "sublet-fuzz",
            "--features",
            "libfuzzer",
        ])
        .args(["--bin", "fuzz"])
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        .status()
        .context("cargo cannot be started")?;
    ensure!(status.success(), "the fuzzer does not build; it needs a C++ compiler (Debian: g++)");
    let targets = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(targets.join("fuzz/fuzz"))
}

/// Where a target's finds are kept between runs.
fn finds(target: &Target) -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    let folder = cache.join("sublet/fuzz").join(target.name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn fuzz(fuzzer: &Path, target: &Target, seconds: u32) -> anyhow::Result<Outcome> {
    let artifacts = Path::new("reports/fuzz").join(target.name);
    fs::create_dir_all(&artifacts)?;
    let log = artifacts.join("log");
    let before = crashes(&artifacts)?;
    let mut command = libfuzzer(fuzzer, target);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.max_len))
        .arg(format!("-timeout={SLOWEST_SECONDS}"))
        .arg(format!("-rss_limit_mb={MOST_MIB}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-verbosity=1"])
        .arg(finds(target)?)
        .arg(corpus::folder(target));
    let status =
        command.stderr(fs::File::create(&log)?).stdout(Stdio::null()).status().context("the fuzzer")?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let crashes: Vec<String> =
        crashes(&artifacts)?.into_iter().filter(|crash| !before.contains(crash)).collect();
    ensure!(
        status.success() || !crashes.is_empty(),
        "{} ended with {status}: see {}",
        target.name,
        log.display()
    );
    let stat = |name: &str| number_after(&text, name);
    Ok(Outcome {
        target: target.name,
        from: target.from,
        seconds,
        executions: stat("stat::number_of_executed_units:"),
        executions_per_second: stat("stat::average_exec_per_sec:"),
        coverage: stat(" cov: "),
        corpus: stat("stat::new_units_added:"),
        slowest_seconds: stat("stat::slowest_unit_time_sec:"),
        peak_mib: stat("stat::peak_rss_mb:"),
        crashes,
    })
}

fn libfuzzer(fuzzer: &Path, target: &Target) -> Command {
    let mut command = Command::new(fuzzer);
    command.env("SUBLET_FUZZ_TARGET", target.name);
    command
}

/// The number after the last `name`.
fn number_after(text: &str, name: &str) -> u64 {
    let after = text.rsplit_once(name).map(|(_, after)| after.trim_start()).unwrap_or_default();
    after
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

/// The inputs that broke a target, by libFuzzer's names for them.
fn crashes(artifacts: &Path) -> anyhow::Result<Vec<String>> {
    let mut crashes = Vec::new();
    for entry in fs::read_dir(artifacts)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name != "log") {
            crashes.push(path.display().to_string());
        }
    }
    crashes.sort();
    Ok(crashes)
}

/// Adds to the committed corpus what goes ways that nothing in it goes.
fn keep(fuzzer: &Path, target: &Target) -> anyhow::Result<()> {
    let merged = Path::new("reports/fuzz").join(format!("{}-merged", target.name));
    if merged.exists() {
        fs::remove_dir_all(&merged)?;
    }
    fs::create_dir_all(&merged)?;
    let committed = corpus::folder(target);
    for (name, bytes) in corpus::read(target)? {
        fs::write(merged.join(name), bytes)?;
    }
    let merge = libfuzzer(fuzzer, target)
        .arg("-merge=1")
        .arg(format!("-max_len={KEPT_BYTES}"))
        .arg(&merged)
        .arg(finds(target)?)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(merge.success(), "the merge for {} ended with {merge}", target.name);
    let mut new = Vec::new();
    for entry in fs::read_dir(&merged)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("seed-") && !name.starts_with("found-") {
            new.push((entry.metadata()?.len(), name));
        }
    }
    new.sort();
    for (_, name) in new.iter().take(KEPT) {
        fs::copy(merged.join(name), committed.join(format!("found-{}", &name[..12.min(name.len())])))?;
    }
    println!("{:16} {} of {} finds kept", "", new.len().min(KEPT), new.len());
    Ok(())
}

/// Finds that are committed at most for a target, the shortest first.
const KEPT: usize = 20;
/// Longer ones stay in the cache.
const KEPT_BYTES: usize = 1_024;
