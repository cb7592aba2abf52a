//! The trades that are crashed, each from the bid to its end, and what must come of it.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use alloy_primitives::B256;
use anyhow::ensure;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sublet::devnet::market::IMAGE;
use sublet_base::phase::BuyerPhase;
use sublet_market::{LeaseState, MarketEvent};

use super::{
    BAD_RATE, BOOTED, GOOD_RATE, MAX_OFFLINE, SOON,
    cases::{Case, Flow, Who},
    stage::Stage,
};

/// How long the buyer looks at a machine that stands still before it leaves it.
const GIVE_UP_AFTER: &str = "give_up_after = \"10s\"";
/// What one whole top-up of these leases costs twice: a second one would not fail for want of budget.
const TOP_UP_BUDGET: &str = "3 CTK";
/// A lease of ten minutes with so many seconds behind it is topped up: the last minute is near.
const NEAR_THE_END: u64 = 550;

/// Plays a case, and checks that nothing is left of it.
pub(super) async fn perform(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.configure_as_before().await?;
    let seen = match case.flow {
        Flow::Close => close(stage, case).await?,
        Flow::Finish => finish(stage, case).await?,
        Flow::Unsettled => unsettled(stage, case).await?,
        Flow::Unsold => unsold(stage, case).await?,
        Flow::ProviderAway => provider_away(stage, case).await?,
        Flow::BothAway => both_away(stage, case).await?,
        Flow::TopUp => topped_up(stage, case).await?,
        Flow::Reject => ended_by(stage, case, Who::Buyer, "reject", "rejected").await?,
        Flow::ProviderCloses => ended_by(stage, case, Who::Provider, "close", "provider_closed").await?,
        Flow::GivenUp => given_up(stage, case).await?,
        Flow::Offline => offline(stage, case).await?,
        Flow::Revived => revived(stage, case).await?,
        Flow::Left => left(stage, case, &[]).await?.1,
        Flow::Rebid => rebid(stage, case).await?,
    };
    stage.until("the place is reached", SOON, async |stage| Ok(stage.all_reached())).await?;
    stage.until_free().await?;
    stage.check_money().await?;
    if case.failpoint.contains("conclude") {
        let open = stage.open_files().await?;
        ensure!(open.is_empty(), "still open: {}", open.join(", "));
    }
    Ok(seen)
}

/// Until the buyer can log in.
async fn rented(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<B256> {
    stage.arm(case.who, case.failpoint).await?;
    let id = stage.post_bid(GOOD_RATE).await?;
    runs(stage, id).await?;
    Ok(id)
}

async fn runs(stage: &mut Stage<'_>, id: B256) -> anyhow::Result<()> {
    stage
        .until("the machine runs", BOOTED, async |stage| {
            let lease = stage.lease(Who::Buyer, id).await?;
            Ok(lease.state == LeaseState::Active && lease.access.is_some())
        })
        .await
}

async fn log_in(stage: &mut Stage<'_>, id: B256) -> anyhow::Result<()> {
    stage.until("a login", BOOTED, async |stage| stage.log_in(id).await.map(|()| true)).await
}

async fn close(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    let id = rented(stage, case).await?;
    log_in(stage, id).await?;
    if case.failpoint.contains("claim") {
        stage.advance(120).await?;
        stage
            .until("pay is claimed", SOON, async |stage| {
                let lease = stage.lease(Who::Buyer, id).await?;
                Ok(lease.paid_until > lease.started_at)
            })
            .await?;
    }
    closed(stage, id).await
}

/// Closed by its buyer, and over for both.
async fn closed(stage: &mut Stage<'_>, id: B256) -> anyhow::Result<String> {
    stage.close(id).await?;
    stage.until_concluded(id).await?;
    stage.check_end(id, "closed").await
}

async fn finish(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    let id = rented(stage, case).await?;
    // The ten minutes, and the hold.
    stage.advance(700).await?;
    stage
        .until("the lease ends", SOON, async |stage| Ok(stage.state(id).await? == LeaseState::Ended))
        .await?;
    stage.until_concluded(id).await?;
    stage.check_end(id, "finished").await
}

async fn unsettled(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.arm(Who::Buyer, "buyer.settle.before").await?;
    stage.keep_away(Who::Buyer);
    match case.who {
        Who::Provider => stage.arm(Who::Provider, case.failpoint).await?,
        Who::Buyer => stage.arm_later(Who::Buyer, case.failpoint),
    }
    let id = stage.post_bid(GOOD_RATE).await?;
    stage.until("the buyer is gone", SOON, async |stage| Ok(stage.is_down(Who::Buyer))).await?;
    // Beyond settle_by; then beyond the pause in which the buyer may not ask again.
    stage.advance(200).await?;
    stage.until_free().await?;
    stage.advance(600).await?;
    stage.bring_back(Who::Buyer)?;
    nothing_came_of_it(stage, id).await
}

async fn unsold(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.arm(case.who, case.failpoint).await?;
    let id = stage.post_bid(BAD_RATE).await?;
    stage.advance(400).await?;
    nothing_came_of_it(stage, id).await
}

async fn nothing_came_of_it(stage: &mut Stage<'_>, id: B256) -> anyhow::Result<String> {
    stage
        .until("the bid is over", SOON, async |stage| Ok(stage.bid(id).await?.phase == BuyerPhase::Expired))
        .await?;
    ensure!(stage.state(id).await? == LeaseState::None, "a lease came of it");
    Ok("the bid expired, nothing was settled".into())
}

async fn provider_away(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.arm(Who::Provider, "provider.provision.before").await?;
    stage.keep_away(Who::Provider);
    stage.arm(case.who, case.failpoint).await?;
    let id = stage.post_bid(GOOD_RATE).await?;
    stage.until("the provider is gone", SOON, async |stage| Ok(stage.is_down(Who::Provider))).await?;
    stage.advance(400).await?;
    aborted(stage, id).await?;
    stage.bring_back(Who::Provider)?;
    stage.until_concluded(id).await?;
    stage.check_end(id, "aborted").await
}

async fn both_away(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.arm(Who::Provider, "provider.provision.before").await?;
    stage.arm_later(Who::Provider, case.failpoint);
    stage.keep_away(Who::Provider);
    stage.arm(Who::Buyer, "buyer.note_leased.after").await?;
    stage.keep_away(Who::Buyer);
    let id = stage.post_bid(GOOD_RATE).await?;
    stage
        .until("both are gone", SOON, async |stage| {
            Ok(stage.is_down(Who::Provider) && stage.is_down(Who::Buyer))
        })
        .await?;
    stage.advance(400).await?;
    stage.bring_back(Who::Provider)?;
    aborted(stage, id).await?;
    stage.bring_back(Who::Buyer)?;
    stage.until_concluded(id).await?;
    stage.check_end(id, "aborted").await
}

async fn aborted(stage: &mut Stage<'_>, id: B256) -> anyhow::Result<()> {
    stage
        .until("the money is taken back", SOON, async |stage| Ok(stage.state(id).await? == LeaseState::Ended))
        .await
}

async fn topped_up(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.arm(case.who, case.failpoint).await?;
    let id = stage.post_bid_with(GOOD_RATE, &["--auto-top-up", TOP_UP_BUDGET]).await?;
    runs(stage, id).await?;
    let before = stage.chain_lease(id).await?.funded_until;
    stage.advance(NEAR_THE_END).await?;
    stage
        .until("it is topped up, and the place is reached", SOON, async |stage| {
            Ok(stage.all_reached() && stage.chain_lease(id).await?.funded_until > before)
        })
        .await?;
    log_in(stage, id).await?;
    let seen = closed(stage, id).await?;
    let events = stage.lease(Who::Buyer, id).await?.events;
    let times = events.iter().filter(|e| matches!(e.event, MarketEvent::LeaseToppedUp { .. })).count();
    ensure!(times == 1, "it was topped up {times} times");
    Ok(format!("topped up once; {seen}"))
}

/// A user's wish, on either side.
async fn ended_by(
    stage: &mut Stage<'_>,
    case: &Case,
    who: Who,
    how: &str,
    reason: &str,
) -> anyhow::Result<String> {
    let id = rented(stage, case).await?;
    log_in(stage, id).await?;
    stage.end_once(who, how, id).await?;
    stage.until_concluded(id).await?;
    stage.check_end(id, reason).await
}

async fn given_up(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    let images = few_images(stage).await?;
    let id = rented(stage, case).await?;
    fs::remove_file(images.join(IMAGE))?;
    kill(Pid::from_raw(stage.pid(id)?), Signal::SIGKILL)?;
    fs::remove_dir_all(stage.folder(id))?;
    stage
        .until(
            "the provider gives it up",
            SOON,
            async |stage| Ok(stage.state(id).await? == LeaseState::Ended),
        )
        .await?;
    stage.until_closed(id).await?;
    let seen = stage.check_end(id, "provider_closed").await?;
    // What is for sale names the image: it is there again before anything else is.
    stage.configure_as_before().await?;
    Ok(seen)
}

/// Gives the provider a folder of images of its own, from which the one of the bids can be taken away.
async fn few_images(stage: &mut Stage<'_>) -> anyhow::Result<PathBuf> {
    let (all, few) = (crate::images()?, stage.net.dir().join("few-images"));
    if few.exists() {
        fs::remove_dir_all(&few)?;
    }
    fs::create_dir(&few)?;
    // Without any image at all its node would not start.
    for name in [IMAGE, "another"] {
        symlink(all.join(IMAGE), few.join(name))?;
    }
    stage.reconfigure(Who::Provider, &all.display().to_string(), &few.display().to_string()).await?;
    Ok(few)
}

async fn offline(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    stage.set_max_offline(MAX_OFFLINE).await?;
    let id = rented(stage, case).await?;
    stage.keep_away(Who::Provider);
    stage.net.anvil.pause();
    let gone =
        stage.until("the provider pauses it", SOON, async |stage| Ok(stage.is_down(Who::Provider))).await;
    stage.net.anvil.resume();
    gone?;
    stage.bring_back(Who::Provider)?;
    log_in(stage, id).await?;
    closed(stage, id).await
}

async fn revived(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    let first = stage.post_bid(GOOD_RATE).await?;
    runs(stage, first).await?;
    stage
        .until("a note is written", BOOTED, async |stage| {
            stage.in_guest(first, "echo of the first life > /data/note && sync").await.map(|_| true)
        })
        .await?;
    closed(stage, first).await?;
    stage.arm(case.who, case.failpoint).await?;
    let second = stage.revive(first).await?;
    runs(stage, second).await?;
    stage
        .until("the note is there", BOOTED, async |stage| {
            Ok(stage.in_guest(second, "cat /data/note").await?.trim() == "of the first life")
        })
        .await?;
    Ok(format!("the old disk; {}", closed(stage, second).await?))
}

/// The lease, and how it ended.
async fn left(stage: &mut Stage<'_>, case: &Case, further: &[&str]) -> anyhow::Result<(B256, String)> {
    stage.configure_once(Who::Buyer, "[buyer]", GIVE_UP_AFTER).await?;
    let id = stage.post_bid_with(GOOD_RATE, further).await?;
    runs(stage, id).await?;
    log_in(stage, id).await?;
    kill(Pid::from_raw(stage.pid(id)?), Signal::SIGSTOP)?;
    stage.arm(case.who, case.failpoint).await?;
    stage
        .until("the buyer leaves it", BOOTED, async |stage| Ok(stage.state(id).await? == LeaseState::Ended))
        .await?;
    stage.until_closed(id).await?;
    let failure = stage.bid(id).await?.failure.unwrap_or_default();
    ensure!(failure.starts_with("the machine is gone"), "it was left because: {failure}");
    let seen = stage.check_end(id, "closed").await?;
    Ok((id, seen))
}

async fn rebid(stage: &mut Stage<'_>, case: &Case) -> anyhow::Result<String> {
    let (id, seen) = left(stage, case, &["--on-failure", "rebid"]).await?;
    let next = stage.bids_after(id).await?;
    ensure!(next.len() == 1, "{} bids take its place", next.len());
    // Nobody else sells: it comes to nothing.
    stage.advance(700).await?;
    nothing_came_of_it(stage, next[0].id).await?;
    Ok(format!("{seen}; one bid took its place"))
}
