//! Overrides of the file: environment variables, and over them `--set` flags.
//!
//! `SUBLET__CHAIN__RPC_URL=http://…` and `--set chain.rpc_url=http://…` both set the key `rpc_url` of `[chain]`.
//! A value is read as TOML where it is TOML (`3`, `true`, `["/ip4/…"]`), and as a string otherwise.

use toml::{Table, Value};

/// Variables with this prefix are keys of the configuration; `__` separates sections.
const PREFIX: &str = "SUBLET__";

/// One value that replaces or adds to what the file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// Where it came from, for errors: `SUBLET__CHAIN__POLL` or `--set chain.poll`.
    pub source: String,
    path: Vec<String>,
    value: Value,
}

impl Override {
    /// A flag of the form `chain.rpc_url=http://…`.
    ///
    /// # Errors
    /// A text without `=` or with an empty key.
    pub fn from_flag(text: &str) -> Result<Self, String> {
        let example = "for example --set chain.rpc_url=http://127.0.0.1:8545";
        let (key, value) = text.split_once('=').ok_or_else(|| format!("'{text}' has no '=': {example}"))?;
        let path: Vec<String> = key.trim().split('.').map(ToOwned::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("'{key}' is not a key: {example}"));
        }
        Ok(Self { source: format!("--set {}", key.trim()), path, value: read(value) })
    }

    /// All variables of the environment that are keys of the configuration, in the order of their names.
    pub fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Vec<Self> {
        let mut found: Vec<Self> = variables
            .filter_map(|(name, value)| {
                let path = name.strip_prefix(PREFIX)?.split("__").map(str::to_ascii_lowercase).collect();
                Some(Self { path, value: read(&value), source: name })
            })
            .collect();
        found.sort_by(|a, b| a.source.cmp(&b.source));
        found
    }

    /// Puts the value into the table; sections are made as needed.
    pub(super) fn apply(&self, table: &mut Table) -> Result<(), String> {
        let Some((key, sections)) = self.path.split_last() else { return Ok(()) };
        let mut table = table;
        for section in sections {
            let entry = table.entry(section.as_str()).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().ok_or_else(|| format!("'{section}' is a value, not a section"))?;
        }
        table.insert(key.clone(), self.value.clone());
        Ok(())
    }
}

fn read(text: &str) -> Value {
    let text = text.trim();
    let document = format!("value = {text}");
    let parsed = toml::from_str::<Table>(&document).ok().filter(|table| table.len() == 1);
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(overrides: &[Override]) -> Table {
        let mut table = toml::from_str("[chain]\npoll = \"1s\"\n").unwrap();
        for one in overrides {
            one.apply(&mut table).unwrap();
        }
        table
    }

    #[test]
    fn a_flag_names_section_and_key() {
        let table = applied(&[
            Override::from_flag("chain.rpc_url=http://host:1/a=b").unwrap(),
            Override::from_flag("chain.confirmations = 3").unwrap(),
            Override::from_flag("p2p.bootstrap=[\"/ip4/1.2.3.4/tcp/1\"]").unwrap(),
        ]);
        assert_eq!(table["chain"]["rpc_url"].as_str(), Some("http://host:1/a=b"));
        assert_eq!(table["chain"]["confirmations"].as_integer(), Some(3));
        assert_eq!(table["chain"]["poll"].as_str(), Some("1s"));
        assert_eq!(table["p2p"]["bootstrap"][0].as_str(), Some("/ip4/1.2.3.4/tcp/1"));
    }

    #[test]
    fn the_environment_names_them_with_two_underscores() {
        let variables = [("SUBLET__CHAIN__RPC_URL", "http://a"), ("SUBLET_HOME", "/x"), ("PATH", "/bin")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = Override::from_environment(variables.into_iter());
        assert_eq!(found.len(), 1);
        assert_eq!(applied(&found)["chain"]["rpc_url"].as_str(), Some("http://a"));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["chain.rpc_url", "=1", ".poll=1", "chain..poll=1"] {
            let said = Override::from_flag(text).unwrap_err();
            assert!(said.contains("--set chain.rpc_url="), "{said}");
        }
        let one = Override::from_flag("chain.poll.x=1").unwrap();
        let mut table = toml::from_str("[chain]\npoll = \"1s\"\n").unwrap();
        assert!(one.apply(&mut table).unwrap_err().contains("'poll' is a value"));
    }
}
