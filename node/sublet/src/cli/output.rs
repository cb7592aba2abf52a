//! Text for people, JSON for programs.
//!
//! Nothing here panics when the reader closes the pipe (`sublet offer list | head`).

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write as _},
};

use anyhow::Context as _;
use clap::ValueEnum;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use sublet_api::client::ClientError;
use sublet_chain::ChainError;
use sublet_engine::EngineError;

use super::Refused;
use crate::node::NodeError;

/// The form of what goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines and tables.
    Text,
    /// One JSON document; the shapes are in docs/api.md.
    Json,
}

impl Output {
    /// Prints `data` as JSON, or what `text` makes of it. A reader that has gone away is no error.
    pub(super) fn print<T: Serialize>(self, data: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        match self.write(data, text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => done.context("cannot write to stdout"),
        }
    }

    /// Prints like [`Output::print`], for commands that end when their reader does.
    pub(super) fn write<T: Serialize>(self, data: &T, text: impl FnOnce(&T) -> String) -> io::Result<()> {
        let text = match self {
            Self::Text => text(data),
            Self::Json => serde_json::to_string_pretty(data)?,
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.trim_end())?;
        out.flush()
    }

    /// One line on stderr, and in JSON an object on stdout as well.
    pub fn print_error(self, error: &anyhow::Error) {
        let text = one_line(error);
        note(format_args!("error: {text}"));
        if self == Self::Json {
            // Whether anybody reads it or not, the exit code says the same.
            let _ = self.write(&serde_json::json!({ "error": text, "code": code(error) }), |_| String::new());
        }
    }
}

/// A line on stderr for whoever watches; nobody has to.
pub(super) fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The error and those of its causes that it does not say itself already.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The stable code of an error, as docs/api.md lists them.
pub(super) fn code(error: &anyhow::Error) -> &str {
    if error.downcast_ref::<Refused>().is_some() {
        return "refused";
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(body)) => return &body.code,
        Some(ClientError::NotRunning { .. } | ClientError::Stranger { .. }) => return "not_running",
        Some(ClientError::Waiting { .. }) => return "waiting",
        _ => {}
    }
    if let Some(error) = error.downcast_ref::<EngineError>() {
        return error.code();
    }
    let chain = match error.downcast_ref::<NodeError>() {
        Some(NodeError::Chain(error)) => Some(error),
        _ => error.downcast_ref::<ChainError>(),
    };
    match chain {
        Some(ChainError::GasMoney { .. }) => "gas",
        Some(error) if error.revert_name().is_some() => "refused",
        _ => "failed",
    }
}

/// A table without lines: one row a record.
pub(super) fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headers.iter().map(|h| h.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<_> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Two columns: names and values.
pub(super) fn facts(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<_> = rows.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

/// The first and last digits of a long hexadecimal value.
pub(super) fn short(value: &impl ToString) -> String {
    let text = value.to_string();
    match (text.get(..10), text.len().checked_sub(4).and_then(|at| text.get(at..))) {
        (Some(head), Some(tail)) if text.len() > 18 => format!("{head}…{tail}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sublet_api::types::ErrorBody;
    use sublet_base::home::HomeError;

    #[test]
    fn an_error_is_said_once() {
        let source = io::Error::new(ErrorKind::NotFound, "no such file");
        let io = HomeError::Io { action: "read", path: "wallet.key".into(), source };
        assert_eq!(one_line(&anyhow::Error::new(io)), "cannot read wallet.key: no such file");
        let wrapped = anyhow::anyhow!("no such file").context("cannot start");
        assert_eq!(one_line(&wrapped), "cannot start: no such file");
    }

    #[test]
    fn codes_tell_whose_turn_it_is() {
        let gas = || ChainError::GasMoney { call: "deposit", address: [1; 20].into(), have: 0, need: 1 };
        let body = ErrorBody { error: "no".into(), code: "funds".into() };
        for (error, expected) in [
            (Refused("no".into()).into(), "refused"),
            (gas().into(), "gas"),
            (NodeError::Chain(gas()).into(), "gas"),
            (ClientError::Refused(body).into(), "funds"),
            (ClientError::NotRunning { home: "x".into() }.into(), "not_running"),
            (anyhow::anyhow!("anything else"), "failed"),
        ] {
            assert_eq!(code(&error), expected);
        }
    }
}
