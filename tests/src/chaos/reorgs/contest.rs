//! Two buyers want the only machine. The first has settled, and a reorganisation reverts that while the first
//! is away; then the second settles. Only the buyer that has the machine now may reach it.

use std::{path::Path, time::Instant};

use alloy_primitives::B256;
use anyhow::{bail, ensure};
use sublet::devnet::{
    Devnet, NodeProcess,
    market::{BUYER_FUNDS, deposit},
};
use sublet_api::types::{BidInfo, LeaseInfo};
use sublet_base::phase::BuyerPhase;
use sublet_market::Access;
use sublet_market::LeaseState;
use tokio::process::Command;

use super::{log_in, reaches};
use crate::{
    chaos::{
        BOOTED, GOOD_RATE, Row, SOON, Who,
        stage::{Stage, bid_args},
    },
    command::{self, json, succeed},
};

/// From this depth on the first buyer has logged in to its machine before that is taken back; before, it has settled.
const DEEP: u64 = 5;
/// Beyond the time in which the first buyer's accept may be settled, seconds.
const LAPSE: u64 = 200;
/// Beyond the first buyer's bid, and the pause that it has to make after an accept that it did not settle, seconds.
const FORGIVEN: u64 = 700;

/// The buyer that competes with the stage's.
pub(super) struct Rival(NodeProcess);

impl Rival {
    pub(super) async fn join(stage: &mut Stage<'_>) -> anyhow::Result<Self> {
        let node = stage.net.add_node("rival", BUYER_FUNDS, None).await?;
        deposit(&node, BUYER_FUNDS).await?;
        stage.others.push(node.address()?);
        Ok(Self(node))
    }

    fn home(&self) -> &Path {
        self.0.home().path()
    }

    async fn post_bid(&self) -> anyhow::Result<B256> {
        // It stands until the first buyer's machine has booted and minutes of chain time have passed.
        let args = [&bid_args(GOOD_RATE)[..], &["--valid-for", "9m"]].concat();
        let bid: BidInfo = json(self.0.binary(), self.home(), &args).await?;
        Ok(bid.id)
    }

    async fn lease(&self, id: B256) -> anyhow::Result<LeaseInfo> {
        json(self.0.binary(), self.home(), &["lease", "show", &id.to_string()]).await
    }

    async fn command(&self, how: &str, id: B256) -> anyhow::Result<()> {
        succeed(self.0.binary(), self.home(), &["lease", how, &id.to_string()]).await.map(drop)
    }

    /// The stage's buyer can log in to the machine of `id`, and this one cannot.
    pub(super) async fn is_kept_out(&self, stage: &Stage<'_>, id: B256) -> anyhow::Result<Access> {
        let access = known_access(stage.lease(Who::Buyer, id).await?)?;
        ensure!(opens(stage.node(Who::Buyer), &access).await?, "the buyer's key does not open its machine");
        ensure!(!opens(&self.0, &access).await?, "another buyer's key opens the machine");
        Ok(access)
    }
}

fn known_access(lease: LeaseInfo) -> anyhow::Result<Access> {
    lease.access.ok_or_else(|| anyhow::anyhow!("the machine's address is not known"))
}

/// Whether the key of a node's home opens what answers there. That nothing does is an error.
async fn opens(node: &NodeProcess, access: &Access) -> anyhow::Result<bool> {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F/dev/null", "-oUserKnownHostsFile=/dev/null", "-oStrictHostKeyChecking=no"])
        .args(["-oIdentitiesOnly=yes", "-oBatchMode=yes", "-oConnectTimeout=15"])
        .arg(format!("-i{}", node.home().ssh_key().display()))
        .arg(format!("-p{}", access.port))
        .arg(format!("{}@{}", access.user, access.host))
        .arg("true");
    let said = command::run(ssh).await?;
    match said.code {
        Some(0) => Ok(true),
        _ if said.stderr.contains("Permission denied") => Ok(false),
        _ => bail!("ssh: {}", said.stderr.trim()),
    }
}

/// Once for each depth.
pub async fn run(net: &mut Devnet, images: &Path, depths: &[u64]) -> anyhow::Result<Vec<Row>> {
    let mut stage = Stage::set(net, images).await?;
    let rival = Rival::join(&mut stage).await?;
    let mut rows = Vec::new();
    for depth in depths {
        let started = Instant::now();
        let seen = play(&mut stage, &rival, *depth).await;
        let (fault, expected) = (
            "a settlement is reverted while its buyer is away and another one waits",
            "the other buyer has the machine, and only its key opens it",
        );
        let (case, failed) = (format!("contest, reorg of {depth}"), seen.is_err());
        rows.push(Row::tell(case, fault, expected, started, seen, || stage.logs().to_string())?);
        if failed {
            break;
        }
    }
    Ok(rows)
}

/// Plays it once; nothing is left of it.
async fn play(stage: &mut Stage<'_>, rival: &Rival, depth: u64) -> anyhow::Result<String> {
    // What was before must lie deeper than whatever is taken back.
    stage.bury().await?;
    let first = stage.post_bid(GOOD_RATE).await?;
    reaches(stage, first, "the first settles", |state| state != LeaseState::None).await?;
    let second = rival.post_bid().await?;
    let mut before = None;
    if depth >= DEEP {
        log_in(stage, first).await?;
        before = Some(rival.is_kept_out(stage, first).await?);
    }
    ensure!(stage.state(second).await? == LeaseState::None, "the only machine was sold twice");
    stage.take_down(Who::Buyer);
    let dropped =
        stage.reorg_until(depth, async |stage| Ok(stage.state(first).await? == LeaseState::None)).await?;
    stage.advance(LAPSE).await?;
    stage
        .until("the second buyer has the machine", BOOTED, async |stage| {
            let lease = rival.lease(second).await?;
            Ok(lease.state == LeaseState::Active && lease.access.is_some() && stage.machines().await? == 1)
        })
        .await?;
    ensure!(stage.state(first).await? == LeaseState::None, "the first buyer's lease is there too");
    let access = known_access(rival.lease(second).await?)?;
    ensure!(opens(&rival.0, &access).await?, "the second buyer's key does not open its machine");
    ensure!(
        !opens(stage.node(Who::Buyer), &access).await?,
        "the first buyer's key opens the second's machine"
    );
    if let Some(before) = before.filter(|before| before.port != access.port) {
        let still = opens(stage.node(Who::Buyer), &before).await;
        ensure!(still.is_err(), "the first buyer's machine is still there: {still:?}");
    }
    stage.bring_up(Who::Buyer).await?;
    // What it was once told must not open anything either.
    ensure!(stage.log_in(first).await.is_err(), "the first buyer logs in to something");
    rival.command("close", second).await?;
    stage.until_free().await?;
    stage.advance(FORGIVEN).await?;
    stage
        .until("the first bid is over", SOON, async |stage| {
            Ok(stage.bid(first).await?.phase == BuyerPhase::Expired)
        })
        .await?;
    stage.check_money().await?;
    let had = if depth >= DEEP { "had logged in" } else { "had settled" };
    Ok(format!("{dropped}; the first {had}, the machine then opened to the second buyer's key only"))
}
