//! How fast a provider follows the chain: from the block in which a lease ends to the machine's end, and to the offer
//! that has its capacity again. And how fast it is back in business after a power cut.

use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use anyhow::{bail, ensure};
use sublet::devnet::{Devnet, NodeProcess};
use sublet_api::{client::ApiClient, types::OfferInfo};
use sublet_market::LeaseState;

use super::{BOOTED, GOOD_RATE, Row, SOON, Who, stage::Stage};
use crate::command::until;

/// The most that it may take on a machine that does nothing else: machine and offer together after an end,
/// the offer after a start.
pub const LIMIT: Duration = Duration::from_secs(5);
/// How often is looked.
const POLL: Duration = Duration::from_millis(20);
/// Who ends the lease, and how: in two of them the provider learns of it from the chain only.
const ENDS: [(Who, &str); 3] = [(Who::Buyer, "close"), (Who::Buyer, "reject"), (Who::Provider, "close")];

/// One lease for each kind of end, and one start; each may take `limit`.
pub async fn run(net: &mut Devnet, images: &Path, limit: Duration) -> anyhow::Result<Vec<Row>> {
    let mut stage = Stage::set(net, images).await?;
    let mut rows = Vec::new();
    for (who, how) in ENDS {
        let started = Instant::now();
        let seen = measure(&mut stage, who, how, limit).await;
        let fault = format!("{who:?} ends the lease: {how}").to_lowercase();
        let expected =
            format!("machine gone and its capacity for sale within {} s of the block", limit.as_secs());
        let failed = seen.is_err();
        rows.push(Row::tell("prompt", fault, expected, started, seen, || stage.logs().to_string())?);
        if failed {
            return Ok(rows);
        }
    }
    let started = Instant::now();
    let expected =
        format!("a newly signed offer is in the buyer's book within {} s of the start", limit.as_secs());
    let seen = measure_start(&mut stage, limit).await;
    let fault = "the provider is killed and started again";
    rows.push(Row::tell("prompt", fault, expected, started, seen, || stage.logs().to_string())?);
    Ok(rows)
}

async fn measure(stage: &mut Stage<'_>, who: Who, how: &str, limit: Duration) -> anyhow::Result<String> {
    let id = stage.post_bid(GOOD_RATE).await?;
    stage.until("the machine runs", BOOTED, async |stage| stage.log_in(id).await.map(|()| true)).await?;
    let (said, times) =
        tokio::join!(stage.tell_to_end(who, how, id), follow(stage, stage.node(Who::Provider), id));
    let said = said?;
    ensure!(said.code == Some(0), "{}", said.stderr);
    let (gone, for_sale) = times?;
    let seen = format!("gone after {} ms, for sale after {} ms", gone.as_millis(), for_sale.as_millis());
    ensure!(gone.max(for_sale) <= limit, "{seen}");
    stage.until_concluded(id).await?;
    stage.check_money().await?;
    Ok(seen)
}

async fn measure_start(stage: &mut Stage<'_>, limit: Duration) -> anyhow::Result<String> {
    let (buyer, provider) = (stage.node(Who::Buyer).client()?, stage.node(Who::Provider).client()?);
    // The provider's own book has an offer a moment before others have it.
    let known = until("the buyer has what the provider offers", SOON, async || {
        let live = async |client: &ApiClient| -> anyhow::Result<HashSet<_>> {
            let offers: Vec<OfferInfo> = client.get("/v1/offers").await?;
            Ok(offers.iter().filter(|offer| offer.terms.units > 0).filter_map(|offer| offer.digest).collect())
        };
        let known = live(&buyer).await?;
        Ok((!known.is_empty() && known == live(&provider).await?).then_some(known))
    })
    .await?;
    stage.take_down(Who::Provider);
    let started = Instant::now();
    stage.bring_up(Who::Provider).await?;
    let is_new = |offer: &OfferInfo| {
        offer.terms.units > 0 && offer.digest.is_some_and(|digest| !known.contains(&digest))
    };
    while !buyer.get::<Vec<OfferInfo>>("/v1/offers").await?.iter().any(is_new) {
        ensure!(started.elapsed() < SOON, "the offer does not come back");
        tokio::time::sleep(POLL).await;
    }
    let took = started.elapsed();
    let seen = format!("back after {} ms", took.as_millis());
    ensure!(took <= limit, "{seen}");
    Ok(seen)
}

/// Waits for the block with the end; how long after it the machine was gone, and the capacity was announced again.
async fn follow(stage: &Stage<'_>, provider: &NodeProcess, id: B256) -> anyhow::Result<(Duration, Duration)> {
    let deadline = Instant::now() + SOON;
    while stage.state(id).await? != LeaseState::Ended {
        ensure!(Instant::now() < deadline, "the lease does not end");
        tokio::time::sleep(POLL).await;
    }
    let ended = Instant::now();
    let client = provider.client()?;
    let (mut gone, mut for_sale) = (None, None);
    loop {
        if gone.is_none() && stage.machines().await? == 0 {
            gone = Some(ended.elapsed());
        }
        if for_sale.is_none() {
            let offers: Vec<OfferInfo> = client.get("/v1/offers").await?;
            let announced = |offer: &OfferInfo| offer.mine && offer.digest.is_some() && offer.terms.units > 0;
            for_sale = offers.iter().any(announced).then(|| ended.elapsed());
        }
        if let (Some(gone), Some(for_sale)) = (gone, for_sale) {
            return Ok((gone, for_sale));
        }
        if Instant::now() > deadline {
            bail!("after {} s gone: {gone:?}, for sale: {for_sale:?}", ended.elapsed().as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}
