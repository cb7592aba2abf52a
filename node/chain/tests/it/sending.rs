//! The sender when the chain makes trouble: no gas money, stuck, failed and lost transactions.

use std::{sync::Arc, time::Duration};

use alloy::{
    network::TransactionBuilder as _,
    providers::{Provider as _, ProviderBuilder, ext::AnvilApi as _},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
};
use alloy_primitives::{Address, B256, Bytes, TxKind};
use sublet_chain::{Call, Chain, ChainError, ChainOptions, Fees, Flight, Journal as _, SendOptions};
use sublet_store::Store;

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

/// A node that ended while its transaction was in the pool, at a fee that no block takes.
#[tokio::test]
async fn a_transaction_that_an_ended_process_left_stuck_is_replaced_and_comes_first() {
    let world = World::new(instant()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let written = |send: fn(&mut SendOptions)| {
        let journal = Arc::new(Store::open(&path).unwrap());
        ChainOptions { journal, ..sending(send) }
    };
    let amount = 7 * CTK;
    let quick = || written(|o| o.resend_after = Duration::from_millis(300));
    let chain = world.connect_with(&world.deployer, quick()).await;
    let nonce = next_nonce(&world, &chain).await;
    world.anvil.provider().anvil_set_auto_mine(false).await.unwrap();
    let sent = tokio::spawn({
        let chain = chain.clone();
        async move { chain.execute(Call::Transfer { to: Address::repeat_byte(7), amount }).await }
    });
    // It has sent a dearer version already.
    let first = pooled(&world, &chain, nonce, None).await;
    pooled(&world, &chain, nonce, Some(first)).await;
    sent.abort();
    drop(sent.await);
    drop(chain);

    let left = Store::open(&path).unwrap().flights().unwrap();
    let newest = *left[0].hashes.last().unwrap();
    let chain = world.connect_with(&world.deployer, quick()).await;
    let sent = tokio::spawn({
        let chain = chain.clone();
        async move { chain.execute(Call::Approve { amount: CTK }).await }
    });
    pooled(&world, &chain, nonce, Some(newest)).await;
    let behind = world.anvil.provider().get_transaction_by_sender_nonce(chain.address(), nonce + 1).await;
    assert!(behind.unwrap().is_none(), "the new one waits for it");
    world.anvil.provider().anvil_set_auto_mine(true).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    sent.await.unwrap().unwrap();
    assert_eq!(next_nonce(&world, &chain).await, nonce + 2, "each once");
    let moved = chain.balances(Address::repeat_byte(7)).await.unwrap().wallet;
    assert_eq!(moved, amount, "the one that was left, once");
    let mined = async |hash| world.anvil.provider().get_transaction_receipt(hash).await.unwrap().is_some();
    assert!(!mined(first).await, "a dearer version was mined");
    drop(chain);
    let left = Store::open(&path).unwrap().flights().unwrap();
    assert!(left.is_empty(), "{left:?}");
}

/// An ended process has asked for the same, or for something like it: neither is done twice.
#[tokio::test]
async fn what_an_ended_process_has_sent_already_is_not_sent_again() {
    let world = World::new(instant()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let connect = async || {
        let journal = Arc::new(Store::open(&path).unwrap());
        world.connect_with(&world.deployer, ChainOptions { journal, ..options() }).await
    };
    let to = Address::repeat_byte(7);
    let transfer = |chain: &Chain, amount| {
        let chain = chain.clone();
        tokio::spawn(async move { chain.execute(Call::Transfer { to, amount }).await })
    };
    let (mut moved, mut answers) = (0, Vec::new());
    for again in [7 * CTK, 8 * CTK] {
        let chain = connect().await;
        let nonce = next_nonce(&world, &chain).await;
        world.anvil.provider().anvil_set_auto_mine(false).await.unwrap();
        let sent = transfer(&chain, 7 * CTK);
        let first = pooled(&world, &chain, nonce, None).await;
        sent.abort();
        drop(sent.await);
        drop(chain);
        let chain = connect().await;
        let second = transfer(&chain, again);
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.anvil.provider().anvil_set_auto_mine(true).await.unwrap();
        world.anvil.mine(1).await.unwrap();
        answers.push((first, second.await.unwrap()));
        moved += 7 * CTK;
        assert_eq!(chain.balances(to).await.unwrap().wallet, moved, "once");
        assert_eq!(next_nonce(&world, &chain).await, nonce + 1);
    }
    let [(first, same), (earlier, other)] = &answers[..] else { unreachable!() };
    assert_eq!(same.as_ref().unwrap().hash, *first, "the answer is that of the first");
    assert!(
        matches!(other, Err(e @ ChainError::Overtaken { hash, .. }) if hash == earlier && e.is_retryable()),
        "{other:?}"
    );
}

/// What no pool has is void: its nonce is used again, and whoever wanted the call decides anew.
#[tokio::test]
async fn a_transaction_that_was_written_down_and_never_sent_is_forgotten() {
    let world = World::new(instant()).await;
    let dir = tempfile::tempdir().unwrap();
    let journal: Arc<Store> = Arc::new(Store::open(&dir.path().join("db")).unwrap());
    let chain =
        world.connect_with(&world.deployer, ChainOptions { journal: journal.clone(), ..options() }).await;
    let nonce = next_nonce(&world, &chain).await;
    let never_sent = Flight {
        chain_id: world.deployment.chain_id,
        from: chain.address(),
        nonce,
        call: "transfer".into(),
        to: TxKind::Call(world.deployment.token),
        input: Bytes::new(),
        gas: 100_000,
        fees: Fees { max: 1, priority: 1 },
        raw: Bytes::new(),
        hashes: vec![B256::repeat_byte(9)],
    };
    let of_another_key = Flight { from: Address::repeat_byte(9), ..never_sent.clone() };
    journal.note(&never_sent).unwrap();
    journal.note(&of_another_key).unwrap();
    chain.execute(Call::Approve { amount: CTK }).await.unwrap();
    assert_eq!(next_nonce(&world, &chain).await, nonce + 1);
    assert_eq!(journal.flights().unwrap(), [of_another_key], "which is none of ours");
}

/// While the earlier one cannot be mined at any fee that may be paid, nothing is queued behind it.
#[tokio::test]
async fn nothing_is_sent_behind_a_transaction_that_stays_stuck() {
    let world = World::new(instant()).await;
    let options = sending(|o| o.confirm_timeout = Duration::from_millis(500));
    let chain = world.connect_with(&world.deployer, options).await;
    world.anvil.provider().anvil_set_auto_mine(false).await.unwrap();
    let nonce = next_nonce(&world, &chain).await;
    let first = chain.execute(Call::Approve { amount: CTK }).await.unwrap_err();
    assert!(first.is_unclear(), "{first}");
    let second = chain.execute(Call::Approve { amount: 2 * CTK }).await.unwrap_err();
    assert!(matches!(&second, ChainError::Blocked { nonce: n, .. } if *n == nonce), "{second}");
    assert!(second.is_retryable() && !second.is_unclear(), "{second}");
    let behind = world.anvil.provider().get_transaction_by_sender_nonce(chain.address(), nonce + 1).await;
    assert!(behind.unwrap().is_none(), "it would only wait");
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
