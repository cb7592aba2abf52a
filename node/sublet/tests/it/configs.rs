//! The example configurations are what the binary reads.

use std::path::{Path, PathBuf};

use sublet::config::Config;

fn examples(folder: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn every_example_parses() {
    for folder in ["configs", "configs/compose"] {
        let files = examples(folder);
        assert!(!files.is_empty(), "no example in {folder}");
        for path in files {
            let text = std::fs::read_to_string(&path).unwrap();
            if let Err(error) = Config::parse(&path, &text) {
                panic!("{error}");
            }
        }
    }
}

#[test]
fn the_page_on_keys_shows_settings_that_work() {
    let page = include_str!("../../../../docs/keys.md");
    let example = page.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let text = format!("[chain]\nrpc_url = \"http://127.0.0.1:8545\"\n{example}");
    let config = Config::parse(Path::new("keys.md"), &text).unwrap();
    assert_eq!(config.wallet.kms_key.as_deref(), Some("alias/sublet"));
    let reference = include_str!("../../../../docs/configuration.md");
    let keys = ["passphrase_file", "kms_key", "region", "endpoint_url", "profile", "credentials_file"];
    assert!(keys.iter().all(|key| reference.contains(&format!("| `{key}` |"))));
}

#[test]
fn the_full_example_names_the_defaults() {
    let full = include_str!("../../../../configs/node.toml");
    let least = "[chain]\nrpc_url = \"http://127.0.0.1:8545\"\n";
    let parse = |text| Config::parse(Path::new("node.toml"), text).unwrap();
    // A key that the example lacks would pass below, for it has its default.
    let keys = |config: &Config| -> Vec<String> {
        let table: toml::Table = toml::to_string(config).unwrap().parse().unwrap();
        let sections = table.iter().filter_map(|(section, keys)| Some((section, keys.as_table()?)));
        sections.flat_map(|(section, keys)| keys.keys().map(move |key| format!("{section}.{key}"))).collect()
    };
    let written: toml::Table = full.parse().unwrap();
    for key in keys(&parse(least)) {
        let (section, name) = key.split_once('.').unwrap();
        assert!(written[section].get(name).is_some(), "configs/node.toml does not name {key}");
    }
    let (mut full, least) = (parse(full), parse(least));
    // The one section that is off by default.
    assert!(full.metrics.take().is_some());
    assert_eq!(format!("{full:?}"), format!("{least:?}"));
}
