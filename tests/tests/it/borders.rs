//! Which crate may stand on which: the floor plan of ARCHITECTURE.md, held against what Cargo knows.

use std::{collections::BTreeMap, process::Command};

/// Each floor may use the ones above it in this list, and of its own only what [`BESIDE`] names. What is alone on its
/// floor is named alone.
const FLOORS: [&[&str]; 9] = [
    &["sublet-market"],
    &["sublet-base", "sublet-contracts", "sublet-cloud-aws"],
    &["sublet-adapter", "sublet-signer-kms"],
    &["sublet-adapter-hypervisor", "sublet-adapter-aws"],
    &["sublet-keys", "sublet-chain", "sublet-p2p", "sublet-store"],
    &["sublet-engine"],
    &["sublet-api"],
    &["sublet"],
    &["sublet-tests", "sublet-moto", "sublet-fuzz"],
];

/// Steps on one floor: who uses whom.
const BESIDE: [(&str, &str); 3] =
    [("sublet-chain", "sublet-keys"), ("sublet-store", "sublet-chain"), ("sublet-tests", "sublet-moto")];

/// What may use no more than this: the API's shapes stay free of the store and the engines, and nobody but
/// the binary and the tests knows a backend or the clouds' SDKs.
const NARROW: [(&str, &[&str]); 4] = [
    ("sublet-api", &["sublet-base", "sublet-market"]),
    ("sublet-p2p", &["sublet-base", "sublet-market"]),
    ("sublet-base", &["sublet-market"]),
    ("sublet-adapter", &["sublet-market"]),
];

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|crates| crates.contains(&name))
}

/// Every crate of the workspace, and what it uses outside its tests, all dependencies with their names.
fn workspace() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    // Those of tests have the kind "dev", of build scripts "build", all others none.
    let used = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|used| used["kind"] != "dev").map(name).collect()
    };
    packages.map(|package| (name(package), used(package))).collect()
}

/// What of the plan the workspace breaks.
fn broken(workspace: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut said = Vec::new();
    for (name, used) in workspace {
        let Some(own) = floor(name) else {
            said.push(format!("{name} is on no floor: put it into the plan"));
            continue;
        };
        let narrow = NARROW.iter().find(|(narrow, _)| narrow == name).map(|(_, allowed)| *allowed);
        for used in used.iter().filter(|used| workspace.contains_key(*used)) {
            let beside = BESIDE.contains(&(name.as_str(), used.as_str()));
            let above = floor(used).is_some_and(|other| other < own);
            if !(above || beside) || narrow.is_some_and(|allowed| !allowed.contains(&used.as_str())) {
                said.push(format!("{name} must not use {used}"));
            }
        }
    }
    said
}

#[test]
fn every_crate_uses_only_what_the_plan_lets_it() {
    let workspace = workspace();
    let known = FLOORS.iter().flat_map(|crates| crates.iter());
    let gone: Vec<_> = known.filter(|name| !workspace.contains_key(**name)).collect();
    assert!(gone.is_empty(), "in the plan and not in the workspace: {gone:?}");
    let said = broken(&workspace);
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn the_command_line_is_known_to_the_binary_and_the_tests_alone() {
    for (name, used) in workspace() {
        let may = ["sublet", "sublet-tests", "sublet-fuzz"].contains(&name.as_str());
        assert!(may || !used.iter().any(|used| used == "clap"), "{name} must not use clap");
    }
}

#[test]
fn a_step_against_the_plan_is_named() {
    let of =
        |name: &str, used: &[&str]| (name.to_owned(), used.iter().map(|used| (*used).to_owned()).collect());
    let plan = BTreeMap::from([
        of("sublet-market", &["serde"]),
        of("sublet-store", &["sublet-engine", "sublet-market"]),
        of("sublet-engine", &["sublet-store"]),
        of("sublet-api", &["sublet-store"]),
        of("sublet-new", &[]),
    ]);
    let said = broken(&plan).join("\n");
    assert_eq!(said.lines().count(), 3, "{said}");
    for part in [
        "sublet-store must not use sublet-engine",
        "sublet-api must not use sublet-store",
        "sublet-new is on no floor",
    ] {
        assert!(said.contains(part), "{said}");
    }
}
