//! Text for people, JSON for programs.

use clap::ValueEnum;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;

use crate::api::client::ClientError;

/// The form of what goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines and tables.
    Text,
    /// One JSON document; the shapes are in docs/api.md.
    Json,
}

impl Output {
    /// Prints `data` as JSON, or what `text` makes of it.
    pub(super) fn print<T: Serialize>(self, data: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        match self {
            Self::Text => println!("{}", text(data).trim_end()),
            Self::Json => println!("{}", serde_json::to_string_pretty(data)?),
        }
        Ok(())
    }

    /// One line on stderr, and in JSON an object on stdout as well.
    pub fn print_error(self, error: &anyhow::Error) {
        eprintln!("error: {error:#}");
        if self == Self::Json {
            let code = match error.downcast_ref::<ClientError>() {
                Some(ClientError::Refused(body)) => body.code.clone(),
                Some(ClientError::NotRunning { .. }) => "not_running".into(),
                _ => "failed".into(),
            };
            println!("{}", serde_json::json!({ "error": format!("{error:#}"), "code": code }));
        }
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
