//! Deployment, connection, and what each of them says when something is wrong.

use std::time::Duration;

use alloy::providers::{Provider as _, ext::AnvilApi as _};
use alloy_primitives::{Address, B256};
use sublet_chain::{
    Chain, ChainError, Check, CheckResult, CodeHashes, DeployOptions, Deployment,
    anvil::{Anvil, AnvilConfig, AnvilError},
    check_deployment, deploy,
};
use sublet_market::lease::Params;

use crate::support::{CTK, World, instant, options};

async fn refused(world: &World, deployment: Deployment) -> ChainError {
    Chain::connect_with(&[world.anvil.url()], deployment, world.deployer.clone(), options())
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_deployment_can_be_connected_to_by_its_file() {
    let world = World::new(instant()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deployment.json");
    world.deployment.write(&path).unwrap();
    let deployment = Deployment::read(&path).unwrap();
    let chain = Chain::connect(world.anvil.url(), deployment, world.deployer.clone()).await.unwrap();
    let balances = chain.balances(chain.address()).await.unwrap();
    assert_eq!(balances.wallet, 1_000_000 * CTK);
    assert_eq!((balances.free, balances.points), (0, 0));
    assert!(balances.eth > 0);
    let head = chain.head().await.unwrap();
    assert!(chain.now() >= head.timestamp && chain.now() <= head.timestamp + 5);
    assert_eq!(chain.block_timestamp(head.number).await.unwrap(), Some(head.timestamp));
    assert_eq!(chain.block_timestamp(head.number + 1000).await.unwrap(), None);
}

#[tokio::test]
async fn two_deployments_never_share_a_domain() {
    let world = World::new(instant()).await;
    let asked = DeployOptions { chain: options(), ..DeployOptions::default() };
    let (other, _) = deploy(world.anvil.url(), world.deployer.clone(), asked).await.unwrap();
    assert_ne!(other.domain().separator(), world.deployment.domain().separator());
    assert_ne!(other.salt, world.deployment.salt);
}

#[tokio::test]
async fn constants_out_of_bounds_are_refused_before_the_market_is_sent() {
    let world = World::new(instant()).await;
    let params = Params { fee_bps: 5000, hold: 600, notice: 60, half_life_days: 90 };
    let asked = DeployOptions { params, salt: None, chain: options() };
    let error = deploy(world.anvil.url(), world.deployer.clone(), asked).await.unwrap_err();
    assert_eq!(error.revert_name(), Some("FeeOutOfRange"), "{error}");
}

#[tokio::test]
async fn whatever_differs_from_the_deployment_is_named_with_the_remedy() {
    let world = World::new(instant()).await;
    let good = world.deployment.clone();
    let said = refused(&world, Deployment { chain_id: 1, ..good.clone() }).await.to_string();
    assert!(said.contains("the deployment is for chain 1 but the RPC at"), "{said}");
    assert!(said.contains("answers chain 31337") && said.contains("chain.rpc_url"), "{said}");

    let said =
        refused(&world, Deployment { market: Address::repeat_byte(9), ..good.clone() }).await.to_string();
    assert!(said.contains("no market contract") && said.contains("sublet chain deploy"), "{said}");
    let said =
        refused(&world, Deployment { token: Address::repeat_byte(9), ..good.clone() }).await.to_string();
    assert!(said.contains("no token contract"), "{said}");
    let said = refused(&world, Deployment { token: good.market, ..good.clone() }).await.to_string();
    assert!(said.contains("says the token is"), "{said}");
    let said = refused(&world, Deployment { salt: B256::repeat_byte(9), ..good.clone() }).await.to_string();
    assert!(said.contains("the domain separator"), "{said}");
    let params = Params { hold: 700, ..good.params };
    let said = refused(&world, Deployment { params, ..good }).await.to_string();
    assert!(said.contains("hold 700 s") && said.contains("hold 600 s"), "{said}");
}

fn wrong(checks: &[Check]) -> Vec<&'static str> {
    checks.iter().filter(|check| check.verdict != CheckResult::Ok).map(|check| check.what).collect()
}

#[tokio::test]
async fn a_deployment_is_trusted_only_with_the_code_that_this_binary_knows() {
    let world = World::new(instant()).await;
    let good = world.deployment.clone();
    let check = async |deployment: Deployment| {
        check_deployment(world.anvil.url(), &deployment, Duration::from_secs(5)).await.unwrap()
    };
    let checks = check(good.clone()).await;
    assert_eq!((wrong(&checks), checks.len()), (vec![], 11), "{checks:#?}");

    // Constants that are not those of the deployment make other code.
    let params = Params { notice: 1, ..good.params };
    let other = check(Deployment { params, ..good.clone() }).await;
    assert_eq!(wrong(&other), ["the Market's code by this binary", "the Market's constants"]);
    assert_eq!(wrong(&check(Deployment { chain_id: 1, ..good.clone() }).await), ["chain id"]);
    for block in [good.block + 1, good.block + 1_000] {
        world.anvil.provider().anvil_mine(Some(1), None).await.unwrap();
        let late = check(Deployment { block, ..good.clone() }).await;
        assert_eq!(wrong(&late), ["the Market's first block"], "{late:#?}");
        let said = refused(&world, Deployment { block, ..good.clone() }).await.to_string();
        assert!(said.contains("the Market's first block"), "{said}");
    }
    let nowhere = Deployment { token: Address::repeat_byte(9), ..good.clone() };
    assert_eq!(wrong(&check(nowhere).await), ["a contract at the token's address"]);

    // One byte of the Market is another one: it still answers as it should.
    let provider = world.anvil.provider();
    let mut code = provider.get_code_at(good.market).await.unwrap().to_vec();
    let last = code.len() - 1;
    code[last] ^= 1;
    provider.anvil_set_code(good.market, code.into()).await.unwrap();
    let changed = check(good.clone()).await;
    assert_eq!(wrong(&changed), ["the Market's code hash", "the Market's code by this binary"]);
    let said = refused(&world, good.clone()).await.to_string();
    assert!(said.contains("the Market's code hash") && said.contains("sublet chain deploy"), "{said}");

    // A file that goes along with the change does not help.
    let seen = changed.iter().find(|check| check.what == "the Market's code hash").unwrap().seen.parse();
    let code_hashes = CodeHashes { market: seen.unwrap(), ..good.code_hashes };
    let said = refused(&world, Deployment { code_hashes, ..good.clone() }).await.to_string();
    assert!(said.contains("the Market's code by this binary"), "{said}");

    // Something else altogether at the Market's address.
    let token = provider.get_code_at(good.token).await.unwrap();
    provider.anvil_set_code(good.market, token).await.unwrap();
    let strange = check(good).await;
    assert!(wrong(&strange).contains(&"the Market's answers"), "{strange:#?}");
}

#[tokio::test]
async fn an_rpc_that_is_not_there_is_named_with_the_remedy() {
    let world = World::new(instant()).await;
    let (deployment, signer) = (world.deployment.clone(), world.deployer.clone());
    let url = world.anvil.url().to_owned();
    world.anvil.stop().await;
    let error = Chain::connect_with(&[&url], deployment, signer, options()).await.unwrap_err();
    let said = error.to_string();
    assert!(error.is_retryable());
    assert!(said.contains(&format!("cannot reach the RPC at {url}: ")) && said.contains("refused"), "{said}");
    assert!(said.contains("is the chain running? set `chain.rpc_url`"), "{said}");
}

#[tokio::test]
async fn an_rpc_that_hangs_is_given_up() {
    let world = World::new(instant()).await;
    let chain = world.connect(&world.deployer).await;
    world.anvil.pause();
    // The signal takes its time to arrive: a first answer may still come.
    let error = loop {
        if let Err(error) = chain.head().await {
            break error;
        }
    };
    assert!(error.to_string().contains("no answer within 2 s"), "{error}");
    world.anvil.resume();
    chain.head().await.unwrap();
}

#[tokio::test]
async fn a_missing_anvil_is_named_with_the_remedy() {
    let config = AnvilConfig { binary: Some("/nonexistent/anvil".into()), ..instant() };
    let said = Anvil::start(config).await.unwrap_err().to_string();
    assert!(said.contains("npm ci") && said.contains("SUBLET_ANVIL"), "{said}");
}

#[tokio::test]
async fn an_anvil_that_cannot_start_says_why() {
    let config = AnvilConfig { extra: vec!["--no-such-option".into()], ..instant() };
    let error = Anvil::start(config).await.unwrap_err();
    assert!(matches!(error, AnvilError::NotUp(_)), "{error}");
    assert!(error.to_string().contains("--no-such-option"), "{error}");
}

#[tokio::test]
async fn a_dropped_anvil_is_gone() {
    let anvil = Anvil::start(instant()).await.unwrap_or_else(|e| panic!("{e}"));
    let process = std::path::PathBuf::from(format!("/proc/{}", anvil.pid()));
    let ended = anvil.watch_end();
    assert!(process.exists());
    drop(anvil);
    ended.await;
    assert!(!process.exists());
}
