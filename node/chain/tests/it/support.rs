//! A deployed market on a fresh chain, and parties with money in it.

use std::time::Duration;

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::B256;
use sublet_chain::{
    Call, Chain, ChainOptions, DeployOptions, Deployment, SendOptions,
    anvil::{Anvil, AnvilConfig},
    deploy,
};
use sublet_market::{Accept, Bid, Order as _, OrderKey, Signed};

/// One token in base units.
pub(crate) const CTK: u128 = 1_000_000_000_000_000_000;
/// Base units per second: 0.001 CTK.
pub(crate) const RATE: u64 = 1_000_000_000_000_000;

pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) deployment: Deployment,
    pub(crate) deployer: PrivateKeySigner,
}

pub(crate) struct Party {
    pub(crate) chain: Chain,
    pub(crate) key: OrderKey,
}

/// Short times, so that tests of failures end soon.
pub(crate) fn options() -> ChainOptions {
    ChainOptions {
        request_timeout: Duration::from_secs(2),
        send: SendOptions {
            receipt_poll: Duration::from_millis(20),
            confirm_timeout: Duration::from_secs(30),
            ..SendOptions::default()
        },
        ..ChainOptions::default()
    }
}

/// A chain that makes a block for each transaction.
pub(crate) fn instant() -> AnvilConfig {
    AnvilConfig { block_time: None, ..AnvilConfig::default() }
}

impl World {
    pub(crate) async fn new(config: AnvilConfig) -> Self {
        let anvil = Anvil::start(config).await.unwrap_or_else(|e| panic!("{e}"));
        let deployer = anvil.funded_signer().await.unwrap();
        let asked = DeployOptions { chain: options(), ..DeployOptions::default() };
        let (deployment, reports) = deploy(anvil.url(), deployer.clone(), asked).await.unwrap();
        assert_eq!(reports.len(), 2);
        Self { anvil, deployment, deployer }
    }

    pub(crate) async fn connect(&self, signer: &PrivateKeySigner) -> Chain {
        self.connect_with(signer, options()).await
    }

    pub(crate) async fn connect_with(&self, signer: &PrivateKeySigner, options: ChainOptions) -> Chain {
        Chain::connect_with(&[self.anvil.url()], self.deployment.clone(), signer.clone(), options)
            .await
            .unwrap()
    }

    /// A party with `tokens` CTK in the Market.
    pub(crate) async fn party(&self, tokens: u128) -> Party {
        let signer = self.anvil.funded_signer().await.unwrap();
        let chain = self.connect(&signer).await;
        let bank = self.connect(&self.deployer).await;
        let amount = tokens * CTK;
        bank.execute(Call::Transfer { to: chain.address(), amount }).await.unwrap();
        chain.execute(Call::Approve { amount }).await.unwrap();
        chain.execute(Call::Deposit { amount }).await.unwrap();
        Party { chain, key: OrderKey::from_bytes(&signer.to_bytes().0).unwrap() }
    }
}

/// Deadlines count from the newest head.
pub(crate) async fn trade(buyer: &Party, provider: &Party) -> (Bid, Accept) {
    let now = buyer.chain.head().await.unwrap().timestamp;
    let bid = Bid {
        buyer: buyer.chain.address(),
        settler: buyer.chain.address(),
        spec: B256::repeat_byte(1),
        node: B256::repeat_byte(2),
        max_rate: RATE,
        min_bond_seconds: 600,
        min_points: 0,
        duration: 3600,
        valid_until: now + 300,
        epoch: 0,
        salt: u64::from_be_bytes(PrivateKeySigner::random().address()[..8].try_into().unwrap()),
    };
    let accept = Accept {
        bid: bid.digest(&buyer.chain.domain()),
        offer: B256::repeat_byte(3),
        provider: provider.chain.address(),
        node: B256::repeat_byte(4),
        rate: RATE,
        bond_seconds: 600,
        activate_within: 600,
        max_duration: 7200,
        burn: false,
        settle_by: now + 120,
    };
    (bid, accept)
}

pub(crate) fn signed(
    buyer: &Party,
    provider: &Party,
    bid: Bid,
    accept: Accept,
) -> (Signed<Bid>, Signed<Accept>) {
    let domain = buyer.chain.domain();
    (buyer.key.sign(bid, &domain), provider.key.sign(accept, &domain))
}

/// Settles a trade and returns the lease's id.
pub(crate) async fn settled(buyer: &Party, provider: &Party) -> B256 {
    let (bid, accept) = trade(buyer, provider).await;
    let id = accept.bid;
    let (bid, accept) = signed(buyer, provider, bid, accept);
    buyer.chain.execute(Call::Settle { bid, accept }).await.unwrap();
    id
}
