//! `sublet offer`

use clap::{Args, Subcommand};
use sublet_api::types::{OfferInfo, PostOffer};
use sublet_market::{OfferTerms, Traits, amount::format_rate};

use super::{
    Context,
    output::{short, table},
    values::{self, UnitArgs, describe},
};

/// Sell: post, list and cancel offers.
#[derive(Debug, Subcommand)]
pub(super) enum Offer {
    /// Post an offer of this node's capacity; it is renewed until it is cancelled.
    Post(Post),
    /// List all live offers that this node knows, cheapest first.
    List {
        /// Only this node's own offers.
        #[arg(long)]
        mine: bool,
    },
    /// Cancel an offer; leases that came of it go on.
    Cancel {
        /// The offer's series, as `sublet offer list` shows it.
        series: String,
    },
}

/// What is offered.
#[derive(Debug, Args)]
pub(super) struct Post {
    #[command(flatten)]
    unit: UnitArgs,
    /// Number of units for sale.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(value_name = "N", help_heading = "Machine")]
    units: u32,
    /// Price of one unit, for example "0.0025 CTK/s" or "9 CTK/h".
    #[arg(long, value_parser = values::rate, value_name = "PRICE", help_heading = "Price and funds")]
    price: u64,
    /// Bond that you lock for a lease, as time at its rate, at most 1d.
    #[arg(long, default_value = "10m", value_parser = values::bond)]
    #[arg(value_name = "DURATION", help_heading = "Price and funds")]
    bond: u32,
    /// Shortest lease, at least 5m.
    #[arg(long, default_value = "5m", value_parser = values::lease_duration)]
    #[arg(value_name = "DURATION", help_heading = "Time")]
    min_duration: u32,
    /// Longest lease, with all extensions, at most 366d.
    #[arg(long, default_value = "30d", value_parser = values::lease_duration)]
    #[arg(value_name = "DURATION", help_heading = "Time")]
    max_duration: u32,
    /// Longest time from settlement to the running machine, at most 30m.
    #[arg(long, default_value = "5m", value_parser = values::activate_within)]
    #[arg(value_name = "DURATION", help_heading = "Time")]
    activate_within: u32,
    /// Burn the earnings instead of being paid.
    #[arg(long, help_heading = "Price and funds")]
    burn: bool,
    /// A trait of the machines, besides those that the adapter adds; may be given several times.
    #[arg(long = "trait", value_name = "KEY=VALUE", help_heading = "Machine")]
    traits: Vec<String>,
}

impl Offer {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        match self {
            Self::Post(post) => {
                let terms = OfferTerms {
                    unit: post.unit.resources(),
                    units: post.units,
                    price_per_second: post.price,
                    bond_seconds: post.bond,
                    min_duration: post.min_duration,
                    max_duration: post.max_duration,
                    activate_within: post.activate_within,
                    burn: post.burn,
                    traits: Traits::new(post.traits)?,
                };
                let body = PostOffer { terms };
                let offer: OfferInfo = client.post("/v1/offers", &body).await?;
                context.output.print(&offer, |offer| {
                    format!(
                        "offered {} × ({}) at {}; series {}",
                        offer.terms.units,
                        describe(&offer.terms.unit),
                        format_rate(offer.terms.price_per_second),
                        offer.series
                    )
                })
            }
            Self::List { mine } => {
                let mut offers: Vec<OfferInfo> = client.get("/v1/offers").await?;
                offers.retain(|offer| offer.mine || !mine);
                context.output.print(&offers, |offers| list(offers))
            }
            Self::Cancel { series } => {
                let done: serde_json::Value = client.delete(&format!("/v1/offers/{series}")).await?;
                context.output.print(&done, |_| format!("series {series} is withdrawn"))
            }
        }
    }
}

fn list(offers: &[OfferInfo]) -> String {
    if offers.is_empty() {
        return "no offers yet: peers may not be connected (see `sublet node status`), or nobody sells"
            .into();
    }
    let rows = offers.iter().map(|offer| {
        let state = match &offer.refused {
            Some(reason) => format!("does not count: {reason}"),
            None if offer.digest.is_none() => "all units leased or not announced yet".into(),
            None => String::new(),
        };
        vec![
            offer.series.clone(),
            if offer.mine { "me".into() } else { short(&offer.provider) },
            offer.terms.units.to_string(),
            describe(&offer.terms.unit),
            format_rate(offer.terms.price_per_second),
            offer.points.to_string(),
            offer.terms.traits.iter().collect::<Vec<_>>().join(" "),
            state,
        ]
    });
    table(&["series", "provider", "units", "unit", "price", "points", "traits", ""], rows)
}
