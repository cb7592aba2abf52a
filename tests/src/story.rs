//! A story told while it happens: steps with their times, for the reader and for the report.

use std::{
    io::{self, ErrorKind, Write as _},
    time::Instant,
};

use serde::Serialize;

/// A line on stdout. An error ends the story, in order: `println!` would panic in the middle of it.
pub fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A line on stderr; whether somebody reads it or not changes nothing.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether the reader of our output has gone away.
pub fn is_reader_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// One step of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What happened.
    pub name: String,
    /// Milliseconds from the beginning of the story.
    pub start_ms: u128,
    /// How long it took.
    pub duration_ms: u128,
    /// What came of it, in words.
    pub detail: Vec<String>,
}

/// The teller.
pub struct Story {
    begun: Instant,
    steps: Vec<Step>,
}

impl Default for Story {
    fn default() -> Self {
        Self { begun: Instant::now(), steps: Vec::new() }
    }
}

impl Story {
    /// Tells a step: its title at once, its details and time when it is done.
    pub async fn step<T>(
        &mut self,
        name: &str,
        act: impl Future<Output = anyhow::Result<(T, Vec<String>)>>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        let start_ms = start.duration_since(self.begun).as_millis();
        say(&format!("\n[{:>5.1} s] {name}", seconds(start_ms)))?;
        let (value, detail) = act.await?;
        for line in &detail {
            say(&format!("          {line}"))?;
        }
        let duration_ms = start.elapsed().as_millis();
        say(&format!("          ({duration_ms} ms)"))?;
        self.steps.push(Step { name: name.to_owned(), start_ms, duration_ms, detail });
        Ok(value)
    }

    /// Milliseconds since the beginning.
    pub fn elapsed_ms(&self) -> u128 {
        self.begun.elapsed().as_millis()
    }

    /// All steps told so far.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

#[allow(clippy::cast_precision_loss)] // For display: milliseconds of a minute are exact in a double.
fn seconds(ms: u128) -> f64 {
    ms as f64 / 1000.0
}
