//! RPC endpoints that fail in every way: another takes over, and none is believed against what was seen before.

use std::time::{Duration, Instant};

use alloy_primitives::B256;
use sublet_chain::anvil::{Anvil, AnvilConfig};
use sublet_chain::{
    Call, Chain, ChainError, ChainEvent, ChainOptions, Check, CheckResult, Deployment, WatchConfig,
    check_deployment, watch,
};
use sublet_market::MarketEvent;
use sublet_tests::{
    command::until,
    rpc_proxy::{Fault, RpcProxy},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{instant_chain, instant_market};

struct World {
    anvil: Anvil,
    deployment: Deployment,
    bank: Chain,
    proxy: RpcProxy,
}

impl World {
    async fn new() -> Self {
        let (anvil, deployment, deployer) = instant_market().await;
        let bank = Chain::connect(anvil.url(), deployment.clone(), deployer).await.unwrap();
        bank.execute(Call::Approve { amount: u128::MAX }).await.unwrap();
        let proxy = RpcProxy::start(anvil.url()).await.unwrap();
        Self { anvil, deployment, bank, proxy }
    }

    async fn connect(&self, urls: &[&str]) -> Chain {
        let signer = self.anvil.funded_signer().await.unwrap();
        let options = ChainOptions { request_timeout: Duration::from_secs(3), ..ChainOptions::default() };
        Chain::connect_with(urls, self.deployment.clone(), signer, options).await.unwrap()
    }

    /// Something that a watcher must tell of: a deposit of so much.
    async fn deposit(&self, amount: u128) {
        self.bank.execute(Call::Deposit { amount }).await.unwrap();
    }
}

/// The same chain id, other blocks, and more of them: what a wrong entry in a load balancer looks like.
async fn another_chain() -> Anvil {
    let other = instant_chain().await;
    other.mine(500).await.unwrap();
    other
}

fn watched(chain: &Chain, stop: &CancellationToken) -> mpsc::Receiver<ChainEvent> {
    let config = WatchConfig {
        poll: Duration::from_millis(50),
        confirmations: 0,
        max_backoff: Duration::from_millis(200),
        compare_every: Duration::from_millis(500),
        ..WatchConfig::default()
    };
    watch(chain.clone(), None, config, stop.clone())
}

/// Reads on until the deposit is told. A reorganisation would be a lie.
async fn until_told(events: &mut mpsc::Receiver<ChainEvent>, wanted: u128) -> Vec<u128> {
    let mut told = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !told.contains(&wanted) {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = tokio::time::timeout(left, events.recv()).await.expect("the deposit was never told");
        match event.expect("the watcher has ended") {
            ChainEvent::Batch { events, .. } => told.extend(events.iter().filter_map(|e| match e.event {
                MarketEvent::Deposited { amount, .. } => Some(amount),
                _ => None,
            })),
            ChainEvent::Reorg { to_block } => panic!("there was no reorganisation down to {to_block}"),
            ChainEvent::Head(_) | ChainEvent::Health { .. } => {}
        }
    }
    told
}

#[tokio::test]
async fn whatever_is_wrong_with_an_endpoint_the_next_one_takes_over() {
    let world = World::new().await;
    let other = Anvil::start(AnvilConfig::default()).await.unwrap();
    let chain = world.connect(&[world.proxy.url(), world.anvil.url()]).await;
    assert_eq!(chain.rpc_label(), world.proxy.url());
    let stop = CancellationToken::new();
    let mut events = watched(&chain, &stop);
    let faults = [
        Fault::Cut,
        Fault::Hang,
        Fault::Error,
        Fault::Status(503),
        Fault::Status(429),
        Fault::Garbage,
        Fault::Astray(other.url().to_owned()),
        Fault::Stale(0),
    ];
    let mut all = Vec::new();
    for (at, fault) in faults.into_iter().enumerate() {
        world.proxy.set(fault.clone()).await.unwrap();
        // A head that stands still is seen by comparison only: a minute and some blocks are more than the
        // network's delay.
        world.anvil.advance(60).await.unwrap();
        world.anvil.mine(3).await.unwrap();
        let amount = u128::try_from(at).unwrap() + 1;
        world.deposit(amount).await;
        all.extend(until_told(&mut events, amount).await);
        assert_eq!(chain.rpc_label(), world.anvil.url(), "{}", fault.describe());
        world.proxy.set(Fault::None).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while chain.rpc_label() != world.proxy.url() {
            assert!(Instant::now() < deadline, "the preferred endpoint is not asked again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(all, (1..=8).collect::<Vec<_>>(), "each once, in order");
    stop.cancel();
}

#[tokio::test]
async fn a_node_starts_while_its_first_endpoint_is_down() {
    let world = World::new().await;
    world.proxy.set(Fault::Cut).await.unwrap();
    let chain = world.connect(&[world.proxy.url(), world.anvil.url()]).await;
    assert_eq!(chain.rpc_label(), world.anvil.url());
}

#[tokio::test]
async fn a_lone_endpoint_that_goes_astray_takes_nothing_back() {
    let (world, other) = (World::new().await, another_chain().await);
    let chain = world.connect(&[world.proxy.url()]).await;
    let stop = CancellationToken::new();
    let mut events = watched(&chain, &stop);
    world.deposit(1).await;
    until_told(&mut events, 1).await;
    world.proxy.set(Fault::Astray(other.url().to_owned())).await.unwrap();
    let unhealthy = async {
        loop {
            match events.recv().await.expect("the watcher has ended") {
                ChainEvent::Health { ok: false, error } => return error.unwrap(),
                ChainEvent::Reorg { .. } => panic!("another chain is no reorganisation"),
                _ => {}
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(10), unhealthy).await.unwrap();
    assert!(error.contains("there is no token contract"), "{error}");
    world.deposit(2).await;
    world.proxy.set(Fault::None).await.unwrap();
    assert_eq!(until_told(&mut events, 2).await, [2], "nothing lost, nothing told twice");
    stop.cancel();
}

#[tokio::test]
async fn an_endpoint_that_was_astray_for_a_moment_takes_nothing_back() {
    let (world, other) = (World::new().await, another_chain().await);
    let chain = world.connect(&[world.proxy.url()]).await;
    let stop = CancellationToken::new();
    let mut events = watched(&chain, &stop);
    for amount in 1..=3 {
        world.deposit(amount).await;
        assert_eq!(until_told(&mut events, amount).await, [amount], "nothing lost, nothing told twice");
        let asked = world.proxy.requests();
        world.proxy.set(Fault::Wavering(other.url().to_owned())).await.unwrap();
        until("the watcher looks whose chain it is", Duration::from_secs(10), || async {
            Ok((world.proxy.requests() > asked + 8).then_some(()))
        })
        .await
        .unwrap();
    }
    world.deposit(4).await;
    until_told(&mut events, 4).await;
    stop.cancel();
}

#[tokio::test]
async fn an_endpoint_that_fell_behind_is_not_believed_about_a_lease() {
    let world = World::new().await;
    let chain = world.connect(&[world.proxy.url()]).await;
    world.anvil.mine(10).await.unwrap();
    let head = chain.head().await.unwrap();
    assert!(chain.lease(B256::ZERO).await.is_ok());
    world.proxy.set(Fault::Stale(5)).await.unwrap();
    let error = chain.lease(B256::ZERO).await.unwrap_err();
    assert!(
        matches!(error, ChainError::Behind { head: stale, read, .. } if stale + 5 == head.number && read == head.number),
        "{error}"
    );
    // One that stands still at what was seen says nothing wrong.
    world.proxy.set(Fault::Stale(0)).await.unwrap();
    assert!(chain.lease(B256::ZERO).await.is_ok());
}

#[tokio::test]
async fn a_flaky_endpoint_that_answers_out_of_order_loses_no_event_and_no_transaction() {
    let world = World::new().await;
    let chain = world.connect(&[world.proxy.url()]).await;
    world.bank.execute(Call::Transfer { to: chain.address(), amount: 1_000 }).await.unwrap();
    let stop = CancellationToken::new();
    let mut events = watched(&chain, &stop);
    chain.execute(Call::Approve { amount: u128::MAX }).await.unwrap();
    for (fault, amount) in
        [(Fault::Reorder(Duration::from_millis(150)), 1), (Fault::Flaky(20), 2), (Fault::Flaky(40), 3)]
    {
        world.proxy.set(fault.clone()).await.unwrap();
        // As the engines do: an error that leaves it open what happened is followed by a look, then by another try.
        let before = world.bank.maker(chain.address()).await.unwrap().free;
        for _ in 0..50 {
            let tried = chain.execute(Call::Deposit { amount }).await;
            if tried.is_ok() || world.bank.maker(chain.address()).await.unwrap().free > before {
                break;
            }
        }
        assert_eq!(
            world.bank.maker(chain.address()).await.unwrap().free - before,
            amount,
            "{}",
            fault.describe()
        );
        assert_eq!(until_told(&mut events, amount).await, [amount]);
    }
    stop.cancel();
}

#[tokio::test]
async fn a_transaction_whose_answer_is_lost_is_carried_out_once() {
    let world = World::new().await;
    let chain = world.connect(&[world.proxy.url()]).await;
    let before = chain.balances(chain.address()).await.unwrap();
    world.bank.execute(Call::Transfer { to: chain.address(), amount: 1_000 }).await.unwrap();
    chain.execute(Call::Approve { amount: u128::MAX }).await.unwrap();
    for n in 1..=3 {
        world.proxy.set(Fault::Swallow).await.unwrap();
        chain.execute(Call::Deposit { amount: 100 }).await.unwrap();
        let now = chain.balances(chain.address()).await.unwrap();
        assert_eq!((now.free, now.wallet), (before.free + 100 * n, before.wallet + 1_000 - 100 * n));
    }
}

#[tokio::test]
async fn code_that_an_endpoint_does_not_run_is_not_called_checked() {
    let world = World::new().await;
    world.proxy.set(Fault::NoOverrides).await.unwrap();
    let check = async || check_deployment(world.proxy.url(), &world.deployment, Duration::from_secs(5)).await;
    let checks = check().await.unwrap();
    let open = checks.iter().filter(|check| check.verdict == CheckResult::Unchecked);
    let open: Vec<&str> = open.map(|check| check.what).collect();
    assert_eq!(open, ["the token's code by this binary", "the Market's code by this binary"], "{checks:#?}");
    assert!(!checks.iter().any(|check| check.verdict == CheckResult::Differs), "{checks:#?}");
    assert!(!checks.iter().all(Check::holds));
    // A node trusts the hashes of its file then, and says so.
    world.connect(&[world.proxy.url()]).await;

    // Too busy is not the same as not able to.
    world.proxy.set(Fault::Status(429)).await.unwrap();
    assert!(check().await.unwrap_err().is_retryable());
}
