//! The sender when the chain makes trouble: no gas money, stuck, failed and lost transactions.

use std::time::Duration;

use alloy::{
    network::TransactionBuilder as _,
    providers::{Provider as _, ProviderBuilder, ext::AnvilApi as _},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
};
use alloy_primitives::B256;
use sublet::chain::{Call, Chain, ChainError, ChainOptions, SendOptions};

use crate::support::{CTK, World, instant, options, settled};

/// Waits until the pool has a transaction of `chain` with this nonce and another hash than `than`.
async fn pooled(world: &World, chain: &Chain, nonce: u64, than: Option<B256>) -> B256 {
    let found = async {
        loop {
            let pooled = world.anvil.provider().get_transaction_by_sender_nonce(chain.address(), nonce).await;
            if let Ok(Some(transaction)) = pooled {
                let hash = *transaction.inner.hash();
                if Some(hash) != than {
                    return hash;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("no such transaction in the pool")
}

async fn next_nonce(world: &World, chain: &Chain) -> u64 {
    world.anvil.provider().get_transaction_count(chain.address()).await.unwrap()
}

fn sending(send: impl FnOnce(&mut SendOptions)) -> ChainOptions {
    let mut options = options();
    send(&mut options.send);
    options
}

#[tokio::test]
async fn a_key_without_gas_money_is_told_what_to_send_where() {
    let world = World::new(instant()).await;
    let poor = PrivateKeySigner::random();
    let chain = world.connect(&poor).await;
    let error = chain.execute(Call::Approve { amount: CTK }).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, ChainError::GasMoney { have: 0, need: 1.., .. }), "{said}");
    assert!(
        said.contains(&format!("send some of the chain's native currency to {}", poor.address())),
        "{said}"
    );
}

#[tokio::test]
async fn a_price_above_the_cap_is_not_paid() {
    let world = World::new(instant()).await;
    let chain = world.connect_with(&world.deployer, sending(|o| o.max_fee_per_gas = 1)).await;
    let error = chain.execute(Call::Approve { amount: CTK }).await.unwrap_err();
    assert!(matches!(error, ChainError::FeeTooHigh { cap: 1, .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn calls_of_one_key_queue() {
    let world = World::new(instant()).await;
    let chain = world.connect(&world.deployer).await;
    let calls = (1..=5).map(|amount| chain.execute(Call::Approve { amount }));
    let reports = futures::future::try_join_all(calls).await.unwrap();
    let blocks: Vec<_> = reports.iter().map(|r| r.block).collect();
    assert!(blocks.is_sorted_by(|a, b| a < b), "{blocks:?}");
}

#[tokio::test]
async fn a_stuck_transaction_is_replaced_by_a_dearer_one() {
    let world = World::new(instant()).await;
    let chain =
        world.connect_with(&world.deployer, sending(|o| o.resend_after = Duration::from_millis(300))).await;
    world.anvil.provider().anvil_set_auto_mine(false).await.unwrap();
    let nonce = next_nonce(&world, &chain).await;
    let sent = tokio::spawn({
        let chain = chain.clone();
        async move { chain.execute(Call::Approve { amount: CTK }).await }
    });
    let first = pooled(&world, &chain, nonce, None).await;
    pooled(&world, &chain, nonce, Some(first)).await;
    world.anvil.mine(1).await.unwrap();
    let report = sent.await.unwrap().unwrap();
    assert_ne!(report.hash, first);
    assert_eq!(next_nonce(&world, &chain).await, nonce + 1, "one call, one transaction");
}

#[tokio::test]
async fn a_transaction_that_is_never_mined_is_unclear_and_does_not_block_the_next() {
    let world = World::new(instant()).await;
    let chain = world
        .connect_with(&world.deployer, sending(|o| o.confirm_timeout = Duration::from_millis(500)))
        .await;
    world.anvil.provider().anvil_set_auto_mine(false).await.unwrap();
    let error = chain.execute(Call::Approve { amount: CTK }).await.unwrap_err();
    assert!(matches!(error, ChainError::Unconfirmed { .. }) && error.is_unclear(), "{error}");
    world.anvil.mine(1).await.unwrap();
    world.anvil.provider().anvil_set_auto_mine(true).await.unwrap();
    assert_eq!(chain.allowance(chain.address()).await.unwrap(), CTK, "it was mined after all");
    chain.execute(Call::Approve { amount: 2 * CTK }).await.unwrap();
    assert_eq!(chain.allowance(chain.address()).await.unwrap(), 2 * CTK);
}

#[tokio::test]
async fn a_transaction_that_fails_on_chain_says_why() {
    let world = World::new(instant()).await;
    let (buyer, provider) = (world.party(100).await, world.party(100).await);
    let id = settled(&buyer, &provider).await;
    world.anvil.provider().anvil_set_auto_mine(false).await.unwrap();
    let nonce = next_nonce(&world, &provider.chain).await;
    let sent = tokio::spawn({
        let chain = provider.chain.clone();
        async move { chain.execute(Call::Activate { id }).await }
    });
    let hash = pooled(&world, &provider.chain, nonce, None).await;
    world.anvil.advance(3600).await.unwrap();
    let error = sent.await.unwrap().unwrap_err();
    assert!(matches!(&error, ChainError::Failed { hash: h, .. } if *h == hash), "{error}");
    assert_eq!(error.revert_name(), Some("ActivationLate"), "{error}");
}

#[tokio::test]
async fn a_key_that_somebody_else_uses_is_noticed() {
    let world = World::new(instant()).await;
    let chain = world.connect(&world.deployer).await;
    world.anvil.provider().anvil_set_auto_mine(false).await.unwrap();
    let nonce = next_nonce(&world, &chain).await;
    let sent = tokio::spawn({
        let chain = chain.clone();
        async move { chain.execute(Call::Approve { amount: CTK }).await }
    });
    let ours = pooled(&world, &chain, nonce, None).await;
    let wallet = ProviderBuilder::new()
        .wallet(world.deployer.clone())
        .connect_http(world.anvil.url().parse().unwrap());
    let theirs = TransactionRequest::default()
        .with_to(chain.address())
        .with_nonce(nonce)
        .with_gas_limit(21_000)
        .with_max_fee_per_gas(100_000_000_000)
        .with_max_priority_fee_per_gas(50_000_000_000);
    let _pending = wallet.send_transaction(theirs).await.unwrap();
    pooled(&world, &chain, nonce, Some(ours)).await;
    world.anvil.mine(1).await.unwrap();
    let error = sent.await.unwrap().unwrap_err();
    assert!(matches!(error, ChainError::Superseded { nonce: n, .. } if n == nonce), "{error}");
    assert!(error.to_string().contains("used by another program"), "{error}");
    assert_eq!(chain.allowance(chain.address()).await.unwrap(), 0);
}
