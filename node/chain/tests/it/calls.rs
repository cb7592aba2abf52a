//! What the contracts do for a node: money in and out, whole leases, and refusals before any gas is spent.

use alloy::providers::Provider as _;
use alloy_primitives::B256;
use sublet_chain::{Call, ChainError, anvil::AnvilConfig};
use sublet_market::{Accept, Bid};
use sublet_market::{EndReason, LeaseState, MarketEvent};

use crate::support::{CTK, Party, RATE, World, instant, settled, signed, trade};

#[tokio::test]
async fn tokens_go_in_and_out() {
    let world = World::new(instant()).await;
    let party = world.party(10).await;
    let chain = &party.chain;
    assert_eq!(chain.maker(chain.address()).await.unwrap().free, 10 * CTK);
    let report = chain.execute(Call::Withdraw { amount: 4 * CTK }).await.unwrap();
    assert_eq!(report.events, [MarketEvent::Withdrawn { maker: chain.address(), amount: 4 * CTK }]);
    assert!(report.gas_used > 21_000 && report.fee_wei > 0);
    let balances = chain.balances(chain.address()).await.unwrap();
    assert_eq!((balances.free, balances.wallet), (6 * CTK, 4 * CTK));
    let error = chain.execute(Call::Withdraw { amount: 7 * CTK }).await.unwrap_err();
    assert_eq!(error.revert_name(), Some("InsufficientFree"), "{error}");
    let error = chain.execute(Call::Deposit { amount: 4 * CTK }).await.unwrap_err();
    assert_eq!(error.revert_name(), Some("ERC20InsufficientAllowance"), "{error}");
    assert_eq!(chain.allowance(chain.address()).await.unwrap(), 0);
}

#[tokio::test]
async fn operators_come_and_go() {
    let world = World::new(instant()).await;
    let party = world.party(1).await;
    let (maker, key) = (party.chain.address(), world.deployer.address());
    assert!(!party.chain.is_operator(maker, key).await.unwrap());
    party.chain.execute(Call::SetOperator { key, approved: true }).await.unwrap();
    assert!(party.chain.is_operator(maker, key).await.unwrap());
}

/// On a chain with blocks every second, as real ones have.
#[tokio::test]
async fn a_lease_lives_and_ends() {
    let world = World::new(AnvilConfig::default()).await;
    let (buyer, provider) = (world.party(100).await, world.party(100).await);
    let id = settled(&buyer, &provider).await;
    let rate = u128::from(RATE);
    let view = buyer.chain.lease(id).await.unwrap();
    assert_eq!((view.state, view.reason, view.rate), (LeaseState::Opened, None, RATE));
    assert_eq!((view.buyer, view.provider), (buyer.chain.address(), provider.chain.address()));
    assert_eq!((view.duration, view.max_duration, view.bond_seconds), (3600, 7200, 600));
    assert_eq!(buyer.chain.maker(view.buyer).await.unwrap().free, 100 * CTK - 3600 * rate);
    assert_eq!(buyer.chain.maker(view.provider).await.unwrap().free, 100 * CTK - 600 * rate);

    provider.chain.execute(Call::Activate { id }).await.unwrap();
    let active = buyer.chain.lease(id).await.unwrap();
    assert_eq!(active.state, LeaseState::Active);
    assert_eq!(active.funded_until, active.paid_until + 3600);
    buyer.chain.execute(Call::TopUp { id, secs: 100 }).await.unwrap();

    let error = provider.chain.execute(Call::Claim { ids: vec![id] }).await.unwrap_err();
    assert_eq!(error.revert_name(), Some("NothingToClaim"), "{error}");
    world.anvil.advance(1000).await.unwrap();
    let report = provider.chain.execute(Call::Claim { ids: vec![id] }).await.unwrap();
    let claimed = report.events.iter().find_map(|e| match e {
        MarketEvent::LeaseClaimed { net, fee, .. } => Some((*net, *fee)),
        _ => None,
    });
    let (net, fee) = claimed.unwrap();
    assert!(net >= 400 * rate * 99 / 100 && fee * 99 == net, "{net} {fee}");

    let report = buyer.chain.execute(Call::Close { id }).await.unwrap();
    let reason = report.events.iter().find_map(|e| match e {
        MarketEvent::LeaseEnded { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(reason, Some(EndReason::Closed));
    let ended = buyer.chain.lease(id).await.unwrap();
    assert_eq!((ended.state, ended.reason), (LeaseState::Ended, Some(EndReason::Closed)));
    assert!(buyer.chain.maker(view.provider).await.unwrap().points > 0);
    buyer.chain.execute(Call::FlushBurn).await.unwrap();
}

#[tokio::test]
async fn an_unknown_lease_is_none() {
    let world = World::new(instant()).await;
    let chain = world.connect(&world.deployer).await;
    assert_eq!(chain.lease(B256::repeat_byte(7)).await.unwrap().state, LeaseState::None);
}

async fn nonce(world: &World, party: &Party) -> u64 {
    world.anvil.provider().get_transaction_count(party.chain.address()).await.unwrap()
}

#[tokio::test]
async fn what_the_contract_would_refuse_is_never_sent() {
    type Change = fn(&mut Bid, &mut Accept);
    let world = World::new(instant()).await;
    let (buyer, provider) = (world.party(100).await, world.party(10).await);
    let changes: [(&str, Change); 6] = [
        ("WrongBid", |_, accept| accept.bid = B256::repeat_byte(9)),
        ("RateTooHigh", |_, accept| accept.rate = RATE + 1),
        ("AcceptExpired", |_, accept| accept.settle_by -= 10_000),
        ("BondTooShort", |_, accept| accept.bond_seconds = 599),
        ("DurationTooLong", |_, accept| accept.max_duration = 3599),
        ("ProviderFunds", |_, accept| accept.bond_seconds = 86_400),
    ];
    let before = nonce(&world, &buyer).await;
    for (expected, change) in changes {
        let (mut bid, mut accept) = trade(&buyer, &provider).await;
        change(&mut bid, &mut accept);
        let (bid, accept) = signed(&buyer, &provider, bid, accept);
        let error = buyer.chain.execute(Call::Settle { bid, accept }).await.unwrap_err();
        assert_eq!(error.revert_name(), Some(expected), "{error}");
        assert!(matches!(error, ChainError::Reverted { .. }), "{error}");
    }
    let (bid, accept) = trade(&buyer, &provider).await;
    let (bid, mut accept) = signed(&buyer, &provider, bid, accept);
    accept.order.rate -= 1;
    let error = buyer.chain.execute(Call::Settle { bid, accept }).await.unwrap_err();
    assert_eq!(error.revert_name(), Some("AcceptSignatureInvalid"), "{error}");
    assert_eq!(nonce(&world, &buyer).await, before, "a refused call must cost nothing");
}

#[tokio::test]
async fn a_settled_bid_says_that_its_lease_exists() {
    let world = World::new(instant()).await;
    let (buyer, provider) = (world.party(100).await, world.party(100).await);
    let (bid, accept) = trade(&buyer, &provider).await;
    let (bid, accept) = signed(&buyer, &provider, bid, accept);
    let call = Call::Settle { bid, accept };
    // An intent survives the store.
    let call: Call = serde_json::from_str(&serde_json::to_string(&call).unwrap()).unwrap();
    buyer.chain.execute(call.clone()).await.unwrap();
    let error = buyer.chain.execute(call).await.unwrap_err();
    assert_eq!(error.revert_name(), Some("LeaseExists"), "{error}");
}
