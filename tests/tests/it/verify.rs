//! `sublet chain verify` as people run it: which deployments it lets pass, which it refuses, and by what exit code and
//! words a script or a reader learns of it.

use alloy::providers::{Provider as _, ext::AnvilApi as _};
use alloy_primitives::B256;
use serde_json::Value;
use sublet_chain::anvil::Anvil;
use sublet_chain::{CodeHashes, Deployment};
use sublet_market::lease::Params;
use sublet_tests::{
    command::{Outcome, sublet},
    rpc_proxy::{Fault, RpcProxy},
    sublet_binary,
};
use tempfile::TempDir;

use crate::support::instant_market;

/// A market on a chain, and a folder for the files that say so.
struct World {
    anvil: Anvil,
    deployment: Deployment,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let (anvil, deployment, _) = instant_market().await;
        Self { anvil, deployment, dir: tempfile::tempdir().unwrap() }
    }

    async fn run(&self, rpc_url: &str, deployment: &Deployment, output: &str) -> Outcome {
        let file = self.dir.path().join("deployment.json");
        deployment.write(&file).unwrap();
        let args = ["--output", output, "chain", "verify", "--rpc-url", rpc_url, "--deployment"];
        let args = [&args[..], &[file.to_str().unwrap()]].concat();
        // No home is needed, and none is made.
        let home = self.dir.path().join("home");
        let outcome = sublet(&sublet_binary().unwrap(), &home, &args).await.unwrap();
        assert!(!home.exists(), "verifying made a home");
        outcome
    }

    async fn verify(&self, deployment: &Deployment) -> Outcome {
        self.run(self.anvil.url(), deployment, "json").await
    }
}

/// The comparisons that came to this verdict.
fn found(outcome: &Outcome, verdict: &str) -> Vec<String> {
    // The error, if any, is a second document.
    let mut documents = serde_json::Deserializer::from_str(&outcome.stdout).into_iter::<Vec<Value>>();
    let checks = documents.next().unwrap().unwrap();
    let those = checks.iter().filter(|check| check["verdict"] == verdict);
    those.map(|check| check["what"].as_str().unwrap().to_owned()).collect()
}

/// All that was said.
fn words(outcome: &Outcome) -> String {
    format!("{}{}", outcome.stdout, outcome.stderr)
}

/// The first word after a comparison in the table for people.
fn verdict<'a>(outcome: &'a Outcome, what: &str) -> &'a str {
    let mut lines = outcome.stdout.lines().filter_map(|line| line.trim_start().strip_prefix(what));
    lines.next().and_then(|rest| rest.split_whitespace().next()).unwrap_or_default()
}

/// Exit code 4, the checks that differ, and an error that says what not to do.
fn refused(outcome: &Outcome, differing: &[&str]) {
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert_eq!(found(outcome, "differs"), differing, "{outcome:?}");
    let said = format!("{} of ", differing.len());
    assert!(words(outcome).contains(&said) && words(outcome).contains("do not trade on them"), "{outcome:?}");
}

#[tokio::test]
async fn the_market_of_this_binary_passes() {
    let world = World::new().await;
    let outcome = world.verify(&world.deployment).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(found(&outcome, "ok").len(), 11, "{outcome:?}");
    let outcome = world.run(world.anvil.url(), &world.deployment, "text").await;
    assert_eq!(verdict(&outcome, "the Market's code by this binary"), "ok");
}

#[tokio::test]
async fn a_file_that_says_otherwise_than_the_chain_is_refused() {
    let world = World::new().await;
    let good = &world.deployment;
    refused(&world.verify(&Deployment { chain_id: 1, ..good.clone() }).await, &["chain id"]);
    let first = ["the Market's first block"];
    world.anvil.mine(3).await.unwrap();
    refused(&world.verify(&Deployment { block: good.block + 1, ..good.clone() }).await, &first);
    refused(&world.verify(&Deployment { block: good.block + 1_000, ..good.clone() }).await, &first);
    let params = Params { hold: 700, ..good.params };
    let differing = ["the Market's code by this binary", "the Market's constants"];
    refused(&world.verify(&Deployment { params, ..good.clone() }).await, &differing);
    let differing = ["the Market's code by this binary", "the domain separator"];
    refused(&world.verify(&Deployment { salt: B256::repeat_byte(9), ..good.clone() }).await, &differing);
}

#[tokio::test]
async fn other_code_at_the_markets_address_is_refused() {
    let world = World::new().await;
    let provider = world.anvil.provider();
    let mut code = provider.get_code_at(world.deployment.market).await.unwrap().to_vec();
    *code.last_mut().unwrap() ^= 1;
    provider.anvil_set_code(world.deployment.market, code.clone().into()).await.unwrap();
    let hash = "the Market's code hash";
    let by_this_binary = "the Market's code by this binary";
    refused(&world.verify(&world.deployment).await, &[hash, by_this_binary]);
    // A file that was made for that code has its hash right.
    let code_hashes =
        CodeHashes { market: alloy_primitives::keccak256(&code), ..world.deployment.code_hashes };
    let forged = Deployment { code_hashes, ..world.deployment.clone() };
    refused(&world.verify(&forged).await, &[by_this_binary]);
    let outcome = world.run(world.anvil.url(), &forged, "text").await;
    assert_eq!((outcome.code, verdict(&outcome, by_this_binary)), (Some(4), "DIFFERS"));
}

/// The hashes of a file prove nothing by themselves: whoever wrote it chose them.
#[tokio::test]
async fn what_an_rpc_does_not_run_is_not_checked_and_that_is_no_pass() {
    let world = World::new().await;
    let proxy = RpcProxy::start(world.anvil.url()).await.unwrap();
    proxy.set(Fault::NoOverrides).await.unwrap();
    let outcome = world.run(proxy.url(), &world.deployment, "json").await;
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert_eq!(found(&outcome, "differs"), Vec::<String>::new(), "{outcome:?}");
    let unchecked = ["the token's code by this binary", "the Market's code by this binary"];
    assert_eq!(found(&outcome, "unchecked"), unchecked, "{outcome:?}");
    assert!(
        words(&outcome).contains("cannot check through") && words(&outcome).contains("overridden"),
        "{outcome:?}"
    );
    let outcome = world.run(proxy.url(), &world.deployment, "text").await;
    assert_eq!(verdict(&outcome, "the Market's code by this binary"), "NOT");
}

/// No answer is no verdict: a failure like any other.
#[tokio::test]
async fn an_rpc_that_does_not_answer_is_an_error() {
    let world = World::new().await;
    let proxy = RpcProxy::start(world.anvil.url()).await.unwrap();
    proxy.set(Fault::Status(429)).await.unwrap();
    let outcome = world.run(proxy.url(), &world.deployment, "json").await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let file = world.dir.path().join("none.json");
    let args = ["chain", "verify", "--deployment", file.to_str().unwrap()];
    let outcome = sublet(&sublet_binary().unwrap(), world.dir.path(), &args).await.unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        words(&outcome).contains("none.json") && words(&outcome).contains("sublet chain deploy"),
        "{outcome:?}"
    );
}
