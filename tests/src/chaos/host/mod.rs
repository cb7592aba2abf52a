//! Faults of the host, of what runs the machines, and of peers: a trade around each, and what must come of it.
//!
//! All of them happen to one provider that sells two machines, whose home lies on a small file system of its
//! own, and whose QEMU is started by a script that tests can make hang, fail or stay behind. Node, adapter,
//! QEMU, chain and disk are real.

mod backend;
mod clock;
mod disk;
mod lost;
mod silent;
mod store;

use std::{path::Path, time::Duration};

use alloy_primitives::B256;
use anyhow::ensure;
use clap::ValueEnum;
use sublet::devnet::{
    Devnet,
    market::{SELLERS, offer_of},
};
use sublet_api::types::{LeaseInfo, OfferInfo};
use sublet_market::Resources;

use self::{backend::Wrapper, disk::SmallDisk};
use super::{BOOTED, GOOD_RATE, Row, SOON, cases::Who, stage::Stage};
use crate::{command::json, story::say};

/// How long the buyer looks at a machine that does not answer. Longer than any repair here takes.
const GIVE_UP_AFTER: &str = "60s";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostFault {
    /// The provider's disk is full for a while.
    DiskFull,
    /// A second node is started on the same home.
    StoreLocked,
    /// The database's file is damaged.
    StoreDamaged,
    /// The wall clocks of both nodes go ahead by an hour.
    ClockAhead,
    /// The wall clocks of both nodes fall back by an hour.
    ClockBehind,
    /// QEMU hangs at its first start.
    QemuHangs,
    /// QEMU fails five times.
    QemuFails,
    /// A machine is gone, with all that the adapter kept of it.
    MachineVanishes,
    /// QEMU is gone, and what looks like its process stays.
    MachineLies,
    /// QEMU stands still while it runs.
    MachineFrozen,
    /// A provider takes asks and says nothing.
    SilentProvider,
    /// Buyers open streams and say nothing, or are promised a machine and never settle.
    SilentBuyer,
    /// The provider's database is gone while a machine runs.
    StoreLost,
    /// It is gone, and the lease was closed while the provider was away.
    StoreLostAndClosed,
}

/// All of them, in the order in which they are tried.
pub const HOST_FAULTS: [HostFault; 14] = [
    HostFault::StoreLocked,
    HostFault::StoreDamaged,
    HostFault::ClockAhead,
    HostFault::ClockBehind,
    HostFault::QemuHangs,
    HostFault::QemuFails,
    HostFault::MachineVanishes,
    HostFault::MachineLies,
    HostFault::MachineFrozen,
    HostFault::SilentProvider,
    HostFault::SilentBuyer,
    HostFault::DiskFull,
    HostFault::StoreLost,
    HostFault::StoreLostAndClosed,
];

/// Those that `make test` tries.
pub const SHORT_HOST_FAULTS: [HostFault; 3] =
    [HostFault::StoreLocked, HostFault::SilentBuyer, HostFault::StoreLost];

impl HostFault {
    fn described(self) -> &'static str {
        match self {
            Self::DiskFull => "the provider's disk is full, and is freed later",
            Self::StoreLocked => "a second node is started on the provider's home",
            Self::StoreDamaged => "the provider's database is damaged while it is down",
            Self::ClockAhead => "the clocks of both hosts go ahead by an hour",
            Self::ClockBehind => "the clocks of both hosts fall back by an hour",
            Self::QemuHangs => "QEMU hangs when it is started",
            Self::QemuFails => "QEMU fails five times when it is started",
            Self::MachineVanishes => "a machine is killed and its folder removed",
            Self::MachineLies => "QEMU is gone and a process with its marks stays",
            Self::MachineFrozen => "QEMU stands still",
            Self::SilentProvider => "the cheapest provider takes asks and says nothing",
            Self::SilentBuyer => "buyers say nothing, or never settle",
            Self::StoreLost => "the provider's database is lost while a machine runs",
            Self::StoreLostAndClosed => "the database is lost, and the lease closed meanwhile",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::DiskFull => {
                "the machine runs on, nothing new is promised, the error says why; what ends is stopped; it goes on by itself"
            }
            Self::StoreLocked => "refused with the remedy; the first node and its machine run on",
            Self::StoreDamaged => {
                "refused with the remedy; with the backup in place the machine is reached again"
            }
            Self::ClockAhead | Self::ClockBehind => {
                "leases follow the chain's time: nothing is closed, nothing runs unpaid; the skew is warned \
                 of"
            }
            Self::QemuHangs => "another lease starts meanwhile; the hanging one starts at the next try",
            Self::QemuFails => "it is retried until it works; the trouble is named",
            Self::MachineVanishes => "the buyer gets a new machine under the same lease",
            Self::MachineLies => "it is seen to be gone, and started again",
            Self::MachineFrozen => "its buyer leaves it; another lease is not touched; nothing is left of it",
            Self::SilentProvider => "the buyer goes to the next offer",
            Self::SilentBuyer => "others are served; the capacity is free again after settle_within",
            Self::StoreLost => {
                "the same machine runs on, is reached by its buyer, started again and paid; its capacity is \
                 not sold twice"
            }
            Self::StoreLostAndClosed => "the machine is removed",
        }
    }
}

/// The stage with what faults need.
struct Scene<'a> {
    stage: Stage<'a>,
    wrapper: Wrapper,
    disk: SmallDisk,
    unit: Resources,
    /// The offers that count: after a loss peers remember others for a while.
    series: Vec<String>,
}

/// Tries faults one after the other on one network. After one that went wrong the rest is not tried.
pub async fn run(net: &mut Devnet, images: &Path, faults: &[HostFault]) -> anyhow::Result<Vec<Row>> {
    let mut disk = SmallDisk::mount(&net.dir().join(SELLERS[2].name)).await?;
    let rows = match Scene::set(net, images, disk.clone()).await {
        Ok(mut scene) => {
            let rows = scene.play(faults).await;
            // The disk is ours: what works on it has to end before it goes.
            scene.stage.node(Who::Provider).kill();
            scene.stage.node(Who::Provider).remove_machines().await;
            rows
        }
        Err(error) => Err(error),
    };
    disk.unmount().await?;
    rows
}

impl<'a> Scene<'a> {
    async fn set(net: &'a mut Devnet, images: &Path, disk: SmallDisk) -> anyhow::Result<Self> {
        let wrapper = Wrapper::write(net.dir())?;
        let mut stage = Stage::set(net, images).await?;
        stage.configure(Who::Buyer, "[buyer]", &format!("give_up_after = \"{GIVE_UP_AFTER}\"")).await?;
        let lines = format!("qemu_binary = {:?}\nboot_timeout = \"45s\"", wrapper.path());
        let path = stage.node(Who::Provider).home().path().join("node.toml");
        let text = std::fs::read_to_string(&path)?;
        let two = text.replace("vcpus = 1, memory_mib = 512", "vcpus = 2, memory_mib = 512");
        ensure!(two != text, "{} has another capacity", path.display());
        std::fs::write(&path, two)?;
        stage.configure(Who::Provider, "[provider.hypervisor]", &lines).await?;
        let unit = Resources { vcpus: 1, memory_mib: 256, disk_gib: 1, ..Resources::default() };
        let first = all_own_offers(&stage).await?.into_iter().map(|offer| offer.series).collect();
        let mut scene = Self { stage, wrapper, disk, unit, series: first };
        scene.post_offer().await?;
        Ok(scene)
    }

    async fn play(&mut self, faults: &[HostFault]) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for fault in faults {
            let started = std::time::Instant::now();
            let seen = self.perform(*fault).await;
            let row = Row {
                case: "host".into(),
                fault: fault.described().into(),
                expected: fault.expected().into(),
                verdict: if seen.is_ok() { "pass" } else { "fail" },
                seen: match &seen {
                    Ok(seen) => seen.clone(),
                    Err(error) => format!("{error:#}; logs: {}", self.stage.logs()),
                },
                seconds: started.elapsed().as_secs(),
            };
            say(&format!("{} {:>3} s  {}: {}", row.verdict, row.seconds, row.fault, row.seen))?;
            rows.push(row);
            if seen.is_err() {
                break;
            }
        }
        Ok(rows)
    }

    async fn perform(&mut self, fault: HostFault) -> anyhow::Result<String> {
        let seen = match fault {
            HostFault::DiskFull => self.disk_full().await,
            HostFault::StoreLocked => self.store_locked().await,
            HostFault::StoreDamaged => self.store_damaged().await,
            HostFault::ClockAhead => self.clock_jumps(3_600, "ahead of").await,
            HostFault::ClockBehind => self.clock_jumps(-3_600, "behind").await,
            HostFault::QemuHangs => self.qemu_hangs().await,
            HostFault::QemuFails => self.qemu_fails().await,
            HostFault::MachineVanishes => self.machine_vanishes().await,
            HostFault::MachineLies => self.machine_lies().await,
            HostFault::MachineFrozen => self.machine_frozen().await,
            HostFault::SilentProvider => self.silent_provider().await,
            HostFault::SilentBuyer => self.silent_buyer().await,
            HostFault::StoreLost => self.store_lost().await,
            HostFault::StoreLostAndClosed => self.store_lost_and_closed().await,
        }?;
        self.until_at_rest().await?;
        let log = std::fs::read_to_string(self.stage.node(Who::Provider).home().path().join("node.log"))?;
        ensure!(!log.contains("panicked"), "the provider has panicked");
        Ok(seen)
    }

    /// Puts one more machine up for sale.
    async fn post_offer(&mut self) -> anyhow::Result<()> {
        let offer = offer_of(self.unit, SELLERS[2].price_per_second, false);
        let posted: OfferInfo = self.stage.node(Who::Provider).client()?.post("/v1/offers", &offer).await?;
        self.series.push(posted.series);
        Ok(())
    }

    /// A bid whose machine its buyer can log in to.
    async fn rent(&mut self) -> anyhow::Result<B256> {
        let id = self.stage.post_bid(GOOD_RATE).await?;
        self.until_login(id).await?;
        Ok(id)
    }

    async fn until_login(&mut self, id: B256) -> anyhow::Result<()> {
        self.stage.until("a login", BOOTED, async |stage| stage.log_in(id).await.map(|()| true)).await
    }

    /// Ends a lease as its buyer, and sees both sides close their files.
    async fn close(&mut self, id: B256) -> anyhow::Result<String> {
        self.stage.close(id).await?;
        self.stage.until_closed(id).await?;
        self.stage.check_end(id, "closed").await
    }

    async fn lease(&self, who: Who, id: B256) -> anyhow::Result<LeaseInfo> {
        self.stage.lease(who, id).await
    }

    async fn own_offers(&self) -> anyhow::Result<Vec<OfferInfo>> {
        own_offers(&self.stage, &self.series).await
    }

    /// Nothing runs, both machines are for sale, and every token is accounted for.
    async fn until_at_rest(&mut self) -> anyhow::Result<()> {
        self.stage
            .until("both machines are for sale again", SOON, async |stage| {
                let free: u32 =
                    own_offers(stage, &self.series).await?.iter().map(|offer| offer.terms.units).sum();
                Ok(stage.machines().await? == 0 && free == 2)
            })
            .await?;
        self.stage.check_money().await
    }

    fn pid(&self, id: B256) -> anyhow::Result<i32> {
        self.stage.pid(id)
    }

    /// Waits for so long while nothing may end.
    async fn hold(&mut self, time: Duration) -> anyhow::Result<()> {
        ensure!(!self.stage.look_for(time).await?, "a machine was stopped");
        Ok(())
    }
}

/// Those of these offers of the provider that are announced, and so have units left. After a leap of the chain the node
/// shows the old ones until it has read the new head: they do not count.
async fn own_offers(stage: &Stage<'_>, series: &[String]) -> anyhow::Result<Vec<OfferInfo>> {
    let mut offers = all_own_offers(stage).await?;
    let now = stage.net.bank.head().await?.timestamp;
    offers
        .retain(|offer| offer.digest.is_some() && offer.valid_until > now && series.contains(&offer.series));
    Ok(offers)
}

async fn all_own_offers(stage: &Stage<'_>) -> anyhow::Result<Vec<OfferInfo>> {
    let node = stage.node(Who::Provider);
    json(node.binary(), node.home().path(), &["offer", "list", "--mine"]).await
}

/// Whether a process runs; one that has ended and was not waited for has no arguments.
fn runs(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| !arguments.is_empty())
}
