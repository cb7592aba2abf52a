//! The provider engine: keeps offers in gossip, answers asks, and carries every promise through its life.
//!
//! Level-triggered: each pass compares promises (store), leases (chain, by way of the store) and machines
//! (adapter), and starts the next step of each. A step that fails is tried again after a pause; a restart in
//! the middle of any step comes to the same end.

mod ask;
mod close;
mod commitments;
mod console;
mod decide;
mod disks;
mod offers;
mod offline_guard;
mod quotes;
mod recovered;
mod steps;
mod timed;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
pub use offers::LiveOffer;
pub use offline_guard::OfflineGuard;
use sublet_adapter::{Adapter, Instance};
use sublet_market::{
    OfferTerms, Order as _, Resources, Shard, Traits, amount::format_amount, shard::regions_of,
};
use sublet_store::{ChainLease, OfferTemplate, Promise};
use tokio_util::sync::CancellationToken;

use self::{
    decide::{Facts, Step, decide},
    offers::Announced,
    quotes::Quoted,
    recovered::Look,
    timed::Timed,
};
use super::{
    Core, EngineError, PASS_INTERVAL,
    ending::UnderWay,
    jobs::{JobEnd, Jobs},
    random,
};

/// How often machines that no promise explains are looked for.
const ORPHAN_INTERVAL: Duration = Duration::from_secs(10);
/// A settlement must be seen and a machine booted in this time, seconds.
const LEAST_ACTIVATE_WITHIN: u32 = 60;
/// With the newest blocks older than this, in seconds, machines that nothing explains are left alone.
const LONGEST_OFFLINE: u64 = 120;
/// Steps get this long to end at shutdown.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// The provider engine.
pub struct Provider {
    core: Arc<Core>,
    adapter: Arc<dyn Adapter>,
    config: ProviderSettings,
    /// Steps that wait for the chain, and those that only write something down.
    jobs: Arc<Jobs>,
    /// Steps on machines: apart, so that none waits while a transaction does, and an unpaid one is stopped in time.
    machine_jobs: Arc<Jobs>,
    /// One claim at a time looks what is worth claiming.
    claims: tokio::sync::Mutex<()>,
    announced: Mutex<Announced>,
    refused: Mutex<HashMap<u64, String>>,
    quoted: Mutex<Quoted>,
    /// Leases that the operator is giving up at this moment.
    closing: UnderWay,
    /// What machines take that no promise explains.
    unexplained: Mutex<Resources>,
}

/// What the operator of a selling node has decided.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// The least free balance that a maker's orders need to count, base units.
    pub floor: u128,
    /// How long an offer of ours lives before it must be renewed.
    pub offer_lifetime: Duration,
    /// How long the capacity is held for a bid that we accepted.
    pub settle_within: Duration,
    /// How often pay is claimed from a running lease.
    pub claim_every: Duration,
    /// The least that a claim must bring, base units.
    pub claim_at_least: u128,
    /// How long a buyer that let an accept lapse waits for the next one.
    pub backoff: Duration,
    /// How far below its price an offer is quoted to beat the best other one in the book, in percent.
    pub discount_percent: u8,
    /// How long machines run on while no new block of the chain is seen.
    pub max_offline: Duration,
    /// How long a disk is kept after the end of its lease; 0 for not at all.
    pub keep_disk_for: Duration,
}

impl Provider {
    /// An engine over `adapter`; nothing happens before [`Provider::run`].
    pub fn new(
        core: Arc<Core>,
        adapter: Arc<dyn Adapter>,
        config: ProviderSettings,
        stop: CancellationToken,
    ) -> Arc<Self> {
        core.counters.expect_steps("provider", Step::ALL.map(Step::as_str));
        Arc::new(Self {
            core,
            adapter: Timed::over(adapter),
            config,
            jobs: Jobs::new(stop.clone()),
            machine_jobs: Jobs::new(stop),
            claims: tokio::sync::Mutex::new(()),
            announced: Mutex::default(),
            refused: Mutex::default(),
            quoted: Mutex::default(),
            closing: UnderWay::default(),
            unexplained: Mutex::default(),
        })
    }

    /// Passes until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        // Before anything is offered: what runs and nothing explains takes room too.
        let first_sweep = self.pass_or_warn(true).await;
        // Apart: an offer that waits for the chain must not hold up the end of a machine.
        tokio::join!(self.keep_passing(first_sweep, &stop), self.keep_announcing(&stop));
        tokio::join!(self.jobs.drain(DRAIN_LIMIT), self.machine_jobs.drain(DRAIN_LIMIT));
    }

    async fn keep_passing(self: &Arc<Self>, mut last_sweep: Instant, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.core.wake.provider.notified() => {}
                () = self.jobs.finished() => {}
                () = self.machine_jobs.finished() => {}
                () = tokio::time::sleep(PASS_INTERVAL) => {}
            }
            let sweep = last_sweep.elapsed() >= ORPHAN_INTERVAL;
            let passed = self.pass_or_warn(sweep).await;
            if sweep {
                last_sweep = passed;
            }
        }
    }

    async fn keep_announcing(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.announce().await {
                tracing::warn!(%error, "cannot maintain the offers; trying again");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PASS_INTERVAL) => {}
            }
        }
    }

    /// Gives the time at which the pass was over.
    async fn pass_or_warn(self: &Arc<Self>, sweep: bool) -> Instant {
        if let Err(error) = self.pass(sweep).await {
            tracing::warn!(%error, "a pass of the provider engine failed; the next one tries again");
        }
        Instant::now()
    }

    async fn pass(self: &Arc<Self>, sweep: bool) -> Result<(), EngineError> {
        let open = self.core.store.all::<Promise>()?;
        let Look { machines, unknown, whole } = self.look(&open, sweep).await;
        if whole {
            self.note_unexplained(&machines)?;
        }
        let offline = self.core.chain.newest().age() > self.config.max_offline;
        for promise in open.iter().filter(|promise| !unknown.contains(&promise.id)) {
            let lease = self.core.store.get::<ChainLease>(promise.id.as_slice())?;
            let step = decide(&Facts {
                promise,
                lease: lease.as_ref().map(|lease| &lease.view),
                ended: lease.as_ref().is_some_and(|lease| lease.end.is_some()),
                instance: machines.get(&promise.id).map(|machine| &machine.state),
                now: self.core.now(),
                watched_until: self.core.seen.watched_until(),
                offline,
                params: self.core.chain.params(),
                worth: self.claim_worth(),
                backoff: self.config.backoff.as_secs(),
            });
            if step != Step::Wait && !self.is_under_way(step, promise.id) {
                self.start(step, promise.id);
            }
        }
        if sweep && self.core.store.check_writable().is_err() {
            self.stop_ended(&open, &machines);
        }
        if whole {
            self.tend_recovered(&machines, offline)?;
        }
        if sweep && whole {
            self.sweep(&machines)?;
            self.tend_disks().await?;
        }
        Ok(())
    }

    /// Removes machines that nothing explains: left over from a store that was lost or a step cut short. A machine
    /// that the chain says is paid for stays.
    fn sweep(self: &Arc<Self>, machines: &HashMap<B256, Instance>) -> Result<(), EngineError> {
        // Before the newest blocks are read, nothing can be said to be unpaid.
        if self.is_reading() {
            return Ok(());
        }
        for lease in machines.keys() {
            let on_chain = self.core.store.get::<ChainLease>(lease.as_slice())?;
            let paid = on_chain.is_some_and(|lease| lease.view.is_paid(self.core.now()));
            if self.is_promised(*lease)? || paid {
                continue;
            }
            tracing::warn!(%lease, "removing a machine that belongs to no known lease");
            let (provider, id) = (Arc::clone(self), *lease);
            self.try_for(id, "cannot remove the machine; the next sweep tries again", async move {
                provider.remove_machine(id).await
            });
        }
        Ok(())
    }

    /// Starts `work` on a lease's machine or disk in the background; says `trouble` when it fails.
    fn try_for(
        &self,
        lease: B256,
        trouble: &'static str,
        work: impl Future<Output = Result<(), EngineError>> + Send + 'static,
    ) {
        self.machine_jobs.start(lease, async move {
            match work.await {
                Ok(()) => JobEnd::Done,
                Err(error) => {
                    tracing::warn!(%lease, %error, "{trouble}");
                    JobEnd::Failed
                }
            }
        });
    }

    /// Whether an open promise explains a lease or a machine, as of now.
    fn is_promised(&self, lease: B256) -> Result<bool, EngineError> {
        Ok(self.core.store.get::<Promise>(lease.as_slice())?.is_some())
    }

    /// Takes a new template in, with the adapter's traits beside its own; it is announced within a moment.
    ///
    /// # Errors
    /// Terms that make no sense, or that this node cannot keep.
    pub async fn post_offer(&self, mut terms: OfferTerms) -> Result<OfferTemplate, EngineError> {
        let own = terms.traits.iter().map(ToOwned::to_owned);
        let traits = self.adapter.traits().into_iter().chain(self.disk_trait()).chain(own);
        terms.traits = Traits::new(traits).map_err(|e| EngineError::Invalid(e.to_string()))?;
        let series = u64::from_be_bytes(random()?);
        let template = OfferTemplate { series, terms, seq: 0, cancelled: false, live_until: 0 };
        self.check_template(&template).await?;
        self.core.store.put(&template)?;
        self.core.wake.provider.notify_one();
        Ok(template)
    }

    async fn check_template(&self, template: &OfferTemplate) -> Result<(), EngineError> {
        if template.terms.units == 0 {
            return Err(EngineError::Invalid("an offer needs at least one unit: --units 1".into()));
        }
        let now = self.core.now();
        let offer = self.offer_of(
            template,
            template.terms.units,
            now.saturating_add(self.config.offer_lifetime.as_secs()),
        );
        offer.check().map_err(|e| EngineError::Invalid(e.to_string()))?;
        if template.terms.activate_within < LEAST_ACTIVATE_WITHIN {
            return Err(EngineError::Invalid(format!(
                "activate_within is {} s: a settlement must be confirmed and a machine booted in that time, give at \
                 least {LEAST_ACTIVATE_WITHIN} s",
                template.terms.activate_within
            )));
        }
        let unheard = |region: &&str| !self.core.p2p.follows(Shard::of_region(region));
        if let Some(region) = regions_of(&template.terms.traits).find(unheard) {
            return Err(EngineError::Invalid(format!(
                "this node does not receive the bids for the region {region}: add it to p2p.shards in \
                 node.toml, or leave the list empty to follow all"
            )));
        }
        self.core.account.require_gas().await?;
        let capacity = self.adapter.capacity().await?;
        if !capacity.covers(&template.terms.unit) {
            return Err(EngineError::Invalid(format!(
                "one unit is larger than the whole capacity ({} vCPU, {} MiB, {} GiB disk): offer less, or raise \
                 provider.hypervisor.capacity in node.toml",
                capacity.vcpus, capacity.memory_mib, capacity.disk_gib
            )));
        }
        let bond = u128::from(template.terms.price_per_second) * u128::from(template.terms.bond_seconds);
        let needed = bond.max(self.config.floor);
        let free = self.core.refresh_maker(self.core.account.maker()).await?.free;
        if free < needed {
            return Err(EngineError::Funds(format!(
                "an offer counts only while the bond of one unit is covered: needed {}, free in the Market {}; \
                 run `sublet wallet deposit` first",
                format_amount(needed),
                format_amount(free)
            )));
        }
        Ok(())
    }

    /// Withdraws an offer. Leases that came of it go on.
    pub fn cancel_offer(&self, series: u64) -> Result<(), EngineError> {
        let mut template = self.core.store.get::<OfferTemplate>(&series.to_be_bytes())?.ok_or_else(|| {
            EngineError::NotFound(format!("this node has no offer of series {series:016x}"))
        })?;
        template.cancelled = true;
        self.core.store.put(&template)?;
        self.core.wake.provider.notify_one();
        Ok(())
    }
}
