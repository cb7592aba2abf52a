//! The watcher: everything, in order, at least once, whatever happens to the RPC, the process or the chain.

use std::time::Duration;

use sublet_chain::{Call, Chain, ChainEvent, Cursor, WatchConfig, anvil::AnvilConfig, watch};
use sublet_market::{LoggedEvent, MarketEvent};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{CTK, World, instant, options, settled};

/// A consumer: what it was told, and the cursor that it would have stored.
struct Watched {
    receiver: mpsc::Receiver<ChainEvent>,
    events: Vec<LoggedEvent>,
    cursor: Option<Cursor>,
    reorgs: Vec<u64>,
    health: Vec<bool>,
    _stop: DropGuard,
}

impl Watched {
    fn new(chain: &Chain, start: Option<Cursor>, confirmations: u64) -> Self {
        let config = WatchConfig {
            poll: Duration::from_millis(50),
            confirmations,
            max_range: 3,
            max_backoff: Duration::from_millis(200),
            ..WatchConfig::default()
        };
        let stop = CancellationToken::new();
        let receiver = watch(chain.clone(), start.clone(), config, stop.clone());
        let _stop = stop.drop_guard();
        Self { receiver, events: Vec::new(), cursor: start, reorgs: Vec::new(), health: Vec::new(), _stop }
    }

    async fn step(&mut self) {
        let event = tokio::time::timeout(Duration::from_secs(20), self.receiver.recv()).await;
        match event.expect("the watcher is silent").expect("the watcher has ended") {
            ChainEvent::Batch { events, cursor, .. } => {
                self.events.extend(events);
                self.cursor = Some(cursor);
            }
            ChainEvent::Head(_) => {}
            ChainEvent::Reorg { to_block } => {
                self.reorgs.push(to_block);
                self.events.retain(|e| e.block <= to_block);
            }
            ChainEvent::Health { ok, .. } => self.health.push(ok),
        }
    }

    async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.step().await;
        }
    }

    async fn until_read(&mut self, block: u64) {
        self.until(|w| w.cursor.as_ref().is_some_and(|c| c.next() > block)).await;
    }

    fn happened(&self) -> Vec<MarketEvent> {
        self.events.iter().map(|e| e.event.clone()).collect()
    }
}

#[tokio::test]
async fn every_event_comes_in_order_also_across_a_restart() {
    let world = World::new(instant()).await;
    let (buyer, provider) = (world.party(100).await, world.party(100).await);
    let chain = world.connect(&world.deployer).await;
    let mut watched = Watched::new(&chain, None, 0);
    let id = settled(&buyer, &provider).await;
    let head = chain.head().await.unwrap();
    watched.until_read(head.number).await;
    let mut events = std::mem::take(&mut watched.events);
    let cursor = watched.cursor.clone();
    drop(watched);

    let mut expected = Vec::new();
    expected.extend(provider.chain.execute(Call::Activate { id }).await.unwrap().events);
    world.anvil.advance(2000).await.unwrap();
    expected.extend(buyer.chain.execute(Call::Claim { ids: vec![id] }).await.unwrap().events);
    expected.extend(buyer.chain.execute(Call::Close { id }).await.unwrap().events);
    let names: Vec<_> = expected.iter().map(MarketEvent::name).collect();
    assert_eq!(names, ["LeaseActivated", "LeaseClaimed", "LeaseEnded"]);

    let mut watched = Watched::new(&chain, cursor, 0);
    watched.until_read(chain.head().await.unwrap().number).await;
    assert_eq!(watched.happened(), expected);
    events.extend(watched.events);
    let names: Vec<_> = events.iter().map(|e| e.event.name()).take(3).collect();
    assert_eq!(names, ["Deposited", "Deposited", "LeaseOpened"]);
    assert!(events.is_sorted_by_key(|e| (e.block, e.log_index)));
    for event in &events {
        assert_eq!(chain.block_timestamp(event.block).await.unwrap(), Some(event.timestamp));
    }
}

#[tokio::test]
async fn an_event_waits_for_its_confirmations() {
    let world = World::new(instant()).await;
    let chain = world.connect(&world.deployer).await;
    let mut watched = Watched::new(&chain, None, 3);
    let block = chain.execute(Call::BumpEpoch).await.unwrap().block;
    world.anvil.mine(2).await.unwrap();
    watched.until_read(block - 1).await;
    assert_eq!(watched.happened(), []);
    world.anvil.mine(1).await.unwrap();
    watched.until_read(block).await;
    assert_eq!(watched.happened(), [MarketEvent::EpochBumped { buyer: chain.address(), epoch: 1 }]);
}

#[tokio::test]
async fn heads_set_the_clock() {
    let world = World::new(instant()).await;
    let chain = world.connect(&world.deployer).await;
    let _watched = Watched::new(&chain, None, 0);
    let before = chain.now();
    let mut heads = chain.heads();
    world.anvil.advance(5000).await.unwrap();
    let later = heads.wait_for(|seen| seen.head.timestamp >= before + 5000);
    tokio::time::timeout(Duration::from_secs(10), later).await.expect("no new head").unwrap();
    assert!(chain.now() >= before + 5000);
}

#[tokio::test]
async fn a_hanging_rpc_is_told_and_waited_for() {
    let world = World::new(instant()).await;
    let chain = world.connect(&world.deployer).await;
    let mut watched = Watched::new(&chain, None, 0);
    watched.until_read(world.deployment.block).await;
    world.anvil.pause();
    watched.until(|w| w.health == [false]).await;
    world.anvil.resume();
    watched.until(|w| w.health == [false, true]).await;
    chain.execute(Call::BumpEpoch).await.unwrap();
    watched.until(|w| w.events.len() == 1).await;
    assert_eq!(watched.reorgs, [0; 0]);
}

#[tokio::test]
async fn a_chain_that_is_restarted_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let state = Some(dir.path().join("chain.json"));
    let world = World::new(AnvilConfig { state: state.clone(), ..instant() }).await;
    let chain = world.connect(&world.deployer).await;
    let mut watched = Watched::new(&chain, None, 0);
    chain.execute(Call::BumpEpoch).await.unwrap();
    watched.until(|w| w.events.len() == 1).await;
    let port = world.anvil.port();
    let World { anvil, .. } = world;
    anvil.stop().await;
    watched.until(|w| w.health == [false]).await;
    let again = AnvilConfig { state, port: Some(port), ..instant() };
    let _anvil = sublet_chain::anvil::Anvil::start(again).await.unwrap();
    watched.until(|w| w.health == [false, true]).await;
    chain.execute(Call::BumpEpoch).await.unwrap();
    watched.until(|w| w.events.len() == 2).await;
    assert_eq!(watched.reorgs, [0; 0]);
}

#[tokio::test]
async fn a_reorg_takes_back_what_never_happened() {
    let world = World::new(instant()).await;
    let chain = world.connect(&world.deployer).await;
    let mut watched = Watched::new(&chain, None, 0);
    let stays = chain.execute(Call::BumpEpoch).await.unwrap().block;
    // One more than is taken back, each seen by the watcher.
    world.anvil.mine(1).await.unwrap();
    watched.until_read(stays + 1).await;
    let bumped = chain.execute(Call::BumpEpoch).await.unwrap().block;
    world.anvil.mine(2).await.unwrap();
    watched.until_read(bumped + 2).await;
    assert_eq!(watched.events.len(), 2);

    world.anvil.reorg(3).await.unwrap();
    watched.until(|w| !w.reorgs.is_empty()).await;
    assert_eq!(watched.reorgs, [bumped - 1]);
    watched.until_read(bumped + 2).await;
    let only = MarketEvent::EpochBumped { buyer: chain.address(), epoch: 1 };
    assert_eq!(watched.happened(), [only]);
}

#[tokio::test]
async fn a_reorg_while_nobody_watched_is_noticed_at_the_start() {
    let world = World::new(instant()).await;
    let chain = world.connect(&world.deployer).await;
    let mut watched = Watched::new(&chain, None, 0);
    let block = chain.execute(Call::BumpEpoch).await.unwrap().block;
    watched.until_read(block).await;
    let cursor = watched.cursor.clone();
    drop(watched);
    world.anvil.reorg(1).await.unwrap();
    let mut watched = Watched::new(&chain, cursor, 0);
    watched.until(|w| !w.reorgs.is_empty()).await;
    assert!(watched.reorgs[0] < block);
    watched.until_read(block).await;
    assert_eq!(watched.happened(), []);
}

#[tokio::test]
async fn deposits_are_seen_by_a_watcher_with_the_default_options() {
    let world = World::new(AnvilConfig::default()).await;
    let chain = world.connect_with(&world.deployer, options()).await;
    let mut events = watch(chain.clone(), None, WatchConfig::default(), CancellationToken::new());
    let party = world.party(1).await;
    let wanted =
        MarketEvent::Deposited { maker: party.chain.address(), from: party.chain.address(), amount: CTK };
    let seen = async {
        while let Some(event) = events.recv().await {
            if let ChainEvent::Batch { events, .. } = event
                && events.iter().any(|e| e.event == wanted)
            {
                return;
            }
        }
        panic!("the watcher has ended");
    };
    tokio::time::timeout(Duration::from_secs(30), seen).await.expect("the deposit is not seen");
}
