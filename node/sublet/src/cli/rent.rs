//! `sublet rent`: the one command for a newcomer with a funded wallet.
//!
//! It reads the book, shows the highest cost, asks to confirm, deposits what is missing, posts the bid and
//! follows it to the ssh command. Everything that it does can be done in single steps with `wallet` and `bid`.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::Args;
use sublet_api::{
    client::ApiClient,
    types::{Amount, BidInfo, MoveTokens, OfferInfo, PostBid, Transaction, Wallet},
};
use sublet_base::phase::OnFailure;
use sublet_market::{
    BidTerms, Resources, Traits,
    amount::{format_duration, format_rate},
};

use super::{
    Context, Refused, bid,
    output::{note, short},
    values::{self, UnitArgs, describe, public_keys},
};

/// Offers that the top rate covers when none is given: enough to get past one or two that decline.
const OFFERS_COVERED: usize = 3;
/// Seconds that the bid stands.
const BID_LIFE: u32 = 300;

/// Rent a machine: estimate the price, ask to confirm, deposit, bid, wait, print the ssh command.
#[derive(Debug, Args)]
pub(super) struct Rent {
    #[command(flatten)]
    unit: UnitArgs,
    /// Length of the lease, from 5m to 366d; paid in advance into escrow, what is not used comes back.
    #[arg(long = "for", default_value = "1h", value_parser = values::lease_duration)]
    #[arg(value_name = "DURATION", help_heading = "Time")]
    duration: u32,
    /// Top rate: the most to pay, for example "9 CTK/h"; by default the price of the third cheapest fitting
    /// offer.
    #[arg(long, value_parser = values::rate, value_name = "PRICE", help_heading = "Price and funds")]
    max_rate: Option<u64>,
    /// A trait that the offer must have; may be given several times.
    #[arg(long = "trait", value_name = "KEY=VALUE", help_heading = "Machine")]
    traits: Vec<String>,
    /// Image to boot.
    #[arg(long, default_value = "debian-guest", value_name = "NAME", help_heading = "Machine")]
    image: String,
    /// OpenSSH public key file that may log in, besides the home's own key.
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    ssh_key: Option<PathBuf>,
    /// What to do if the machine is unreachable, or its provider gives the lease up.
    #[arg(long, default_value = "end", value_parser = values::on_failure(), value_name = "ACTION", help_heading = "Behaviour")]
    on_failure: OnFailure,
    /// Skip the confirmation.
    #[arg(long, short, help_heading = "Behaviour")]
    yes: bool,
}

/// What it will cost.
struct Estimate {
    /// Fitting offers.
    offers: usize,
    /// The cheapest, base units a second.
    cheapest: u64,
    /// The bid's top rate.
    top: u64,
}

impl Rent {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        let unit = self.unit.resources();
        let traits = self.traits.iter().cloned().chain([format!("image={}", self.image)]);
        let traits = Traits::new(traits)?;
        let offers: Vec<OfferInfo> = client.get("/v1/offers").await?;
        let estimate = self.estimate(&offers, &unit, &traits)?;
        let budget = u128::from(estimate.top) * u128::from(self.duration);
        let wallet: Wallet = client.get("/v1/wallet").await?;
        let missing = shortfall(&wallet, budget)?;
        note(self.describe(&unit, &estimate, budget, missing));
        if !self.yes {
            confirm()?;
        }
        if missing > 0 {
            note(format!("depositing {}…", Amount(missing)));
            let body = MoveTokens { amount: Amount(missing) };
            let _: Vec<Transaction> = client.post("/v1/wallet/deposit", &body).await?;
        }
        let bid = self.post(context, &client, unit, &traits, estimate.top).await?;
        let bid = bid::wait(&client, bid).await?;
        context.output.print(&bid, bid::running)
    }

    /// Which offers fit, and what they cost.
    fn estimate(&self, offers: &[OfferInfo], unit: &Resources, traits: &Traits) -> anyhow::Result<Estimate> {
        let within = |offer: &&OfferInfo| {
            offer.digest.is_some()
                && !offer.mine
                && offer.terms.unit.covers(unit)
                && offer.terms.traits.contains_all(traits)
                && (offer.terms.min_duration..=offer.terms.max_duration).contains(&self.duration)
        };
        let mut prices: Vec<u64> =
            offers.iter().filter(within).map(|offer| offer.terms.price_per_second).collect();
        prices.sort_unstable();
        let Some(cheapest) = prices.first().copied() else {
            return Err(Refused(format!(
                "none of {} offers in the book has {} with {} for {}: see `sublet offer list`, and ask for less or \
                 without --trait",
                offers.len(),
                describe(unit),
                traits.iter().collect::<Vec<_>>().join(" "),
                format_duration(u64::from(self.duration))
            ))
            .into());
        };
        let covered = prices.get(OFFERS_COVERED - 1).or(prices.last()).copied().unwrap_or(cheapest);
        let top = self.max_rate.unwrap_or(covered);
        if top < cheapest {
            return Err(Refused(format!(
                "the cheapest offer that fits asks {}, you pay at most {}: raise --max-rate",
                format_rate(cheapest),
                format_rate(top)
            ))
            .into());
        }
        Ok(Estimate { offers: prices.iter().filter(|price| **price <= top).count(), cheapest, top })
    }

    fn describe(&self, unit: &Resources, estimate: &Estimate, budget: u128, missing: u128) -> String {
        let least = u128::from(estimate.cheapest) * u128::from(self.duration);
        let deposit = if missing == 0 {
            String::new()
        } else {
            format!("\n  moves {} from the wallet into the Market first", Amount(missing))
        };
        format!(
            "{} for {}\n  {} offer(s) fit, from {} to {}\n  estimate: {}, at most {}; what is not used comes \
             back{deposit}",
            describe(unit),
            format_duration(u64::from(self.duration)),
            estimate.offers,
            format_rate(estimate.cheapest),
            format_rate(estimate.top),
            Amount(least),
            Amount(budget),
        )
    }

    async fn post(
        &self,
        context: &Context,
        client: &ApiClient,
        unit: Resources,
        traits: &Traits,
        max_rate: u64,
    ) -> anyhow::Result<BidInfo> {
        let mut keys = public_keys(&context.home.ssh_public_key())?;
        if let Some(path) = &self.ssh_key {
            keys.extend(public_keys(path)?);
        }
        let terms = BidTerms {
            unit,
            units: 1,
            traits: traits.clone(),
            max_rate,
            min_bond_seconds: 0,
            min_points: 0,
            duration: self.duration,
            valid_for: BID_LIFE,
            image: self.image.clone(),
            ssh_authorized_keys: keys,
        };
        let body = PostBid { terms, top_up_budget: Amount(0), on_failure: self.on_failure };
        Ok(client.post("/v1/bids", &body).await?)
    }
}

/// What has to be deposited for `budget`, or why it cannot be.
fn shortfall(wallet: &Wallet, budget: u128) -> anyhow::Result<u128> {
    let needed = budget.max(wallet.floor.0).saturating_add(wallet.reserved.unwrap_or_default().0);
    let missing = needed.saturating_sub(wallet.free.0);
    if missing > wallet.wallet.0 {
        return Err(Refused(format!(
            "this needs {} in the Market; {} is free there and {} in the wallet {}: get {} more (on a devnet, `sublet \
             faucet`)",
            Amount(needed),
            wallet.free,
            wallet.wallet,
            short(&wallet.address),
            Amount(missing - wallet.wallet.0)
        ))
        .into());
    }
    if wallet.gas_wei.0 == 0 {
        return Err(Refused(format!(
            "the wallet {} has no gas money: send some of the chain's native currency to it (on a devnet, `sublet \
             faucet`)",
            wallet.address
        ))
        .into());
    }
    Ok(missing)
}

fn confirm() -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Refused("stdin is not a terminal: pass --yes to skip confirmation".into()).into());
    }
    eprint!("continue? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Refused("not confirmed: nothing was done".into()).into())
}
