//! `sublet bid`

use std::{path::PathBuf, time::Duration};

use alloy_primitives::B256;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sublet_api::{
    client::ApiClient,
    types::{Amount, BidInfo, DeclineInfo, PostBid},
};
use sublet_base::phase::{BuyerPhase, OnFailure};
use sublet_market::{
    BidTerms, Traits,
    amount::{format_duration, format_rate},
};

use super::{
    Context, Refused,
    output::{facts, note, short, table},
    values::{self, UnitArgs, describe, public_keys, time},
};

/// How often `--wait` looks.
const POLL: Duration = Duration::from_millis(250);

/// Buy: post, list and cancel bids, and see why nothing fits.
#[derive(Debug, Subcommand)]
pub(super) enum Bid {
    /// Post a bid: ask the market for a machine.
    Post(Post),
    /// List this node's bids.
    List,
    /// Show one bid: its state, who declined and why, what the book says.
    Show {
        /// The bid's id.
        #[arg(value_parser = values::id)]
        id: B256,
    },
    /// Explain why no offer fits: how many fail on each rule, and the nearest miss.
    Explain {
        /// The bid's id.
        #[arg(value_parser = values::id)]
        id: B256,
    },
    /// Cancel a bid: stop looking for a provider.
    Cancel {
        /// The bid's id.
        #[arg(value_parser = values::id)]
        id: B256,
    },
}

/// What is wanted.
#[derive(Debug, Args)]
pub(super) struct Post {
    #[command(flatten)]
    unit: UnitArgs,
    /// Number of units, all in one machine.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(value_name = "N", help_heading = "Machine")]
    units: u32,
    /// Top rate: the most to pay for all units, for example "0.0025 CTK/s" or "9 CTK/h".
    #[arg(long, value_parser = values::rate, value_name = "PRICE", help_heading = "Price and funds")]
    max_rate: u64,
    /// Length of the lease, from 5m to 366d; paid in advance into escrow, what is not used comes back.
    #[arg(long = "for", default_value = "1h", value_parser = values::lease_duration)]
    #[arg(value_name = "DURATION", help_heading = "Time")]
    duration: u32,
    /// A trait that the offer must have; may be given several times.
    #[arg(long = "trait", value_name = "KEY=VALUE", help_heading = "Machine")]
    traits: Vec<String>,
    /// Least bond that the provider must lock, as time at the lease's rate, at most 1d.
    #[arg(long, default_value = "0s", value_parser = values::bond)]
    #[arg(value_name = "DURATION", help_heading = "Price and funds")]
    min_bond: u32,
    /// Least reputation points that the provider must have.
    #[arg(long, default_value_t = 0, value_name = "POINTS", help_heading = "Price and funds")]
    min_points: u64,
    /// How long the bid is valid, at most 10m.
    #[arg(long, default_value = "5m", value_parser = values::bid_life)]
    #[arg(value_name = "DURATION", help_heading = "Time")]
    valid_for: u32,
    /// Image to boot.
    #[arg(long, default_value = "debian-guest", value_name = "NAME", help_heading = "Machine")]
    image: String,
    /// OpenSSH public key file that may log in, besides the home's own key (see `sublet lease ssh`).
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    ssh_key: Option<PathBuf>,
    /// Budget for automatic top-ups, for example "5 CTK": whenever the funds run low, pay for the same time
    /// again.
    #[arg(long, default_value = "0", value_parser = values::amount)]
    #[arg(value_name = "AMOUNT", help_heading = "Price and funds")]
    auto_top_up: u128,
    /// What to do if the machine is unreachable, or its provider gives the lease up.
    #[arg(long, default_value = "end", value_parser = values::on_failure(), value_name = "ACTION", help_heading = "Behaviour")]
    on_failure: OnFailure,
    /// Wait until the machine accepts logins.
    #[arg(long, help_heading = "Behaviour")]
    wait: bool,
}

impl Bid {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Post(args) => post(context, args).await,
            Self::List => {
                let bids: Vec<BidInfo> = context.client()?.get("/v1/bids").await?;
                context.output.print(&bids, |bids| list(bids))
            }
            Self::Show { id } => {
                let bid: BidInfo = context.client()?.get(&format!("/v1/bids/{id}")).await?;
                context.output.print(&bid, show)
            }
            Self::Explain { id } => {
                let bid: BidInfo = context.client()?.get(&format!("/v1/bids/{id}")).await?;
                let data = json!({ "explanation": bid.explanation, "declines": bid.declines });
                context.output.print(&data, |_| explain(&bid, "\n"))
            }
            Self::Cancel { id } => {
                let done: serde_json::Value = context.client()?.delete(&format!("/v1/bids/{id}")).await?;
                context.output.print(&done, |_| format!("bid {id} is cancelled; nothing was paid"))
            }
        }
    }
}

async fn post(context: &Context, args: Post) -> anyhow::Result<()> {
    let client = context.client()?;
    let mut keys = public_keys(&context.home.ssh_public_key())?;
    if let Some(path) = &args.ssh_key {
        keys.extend(public_keys(path)?);
    }
    let terms = BidTerms {
        unit: args.unit.resources(),
        units: args.units,
        traits: Traits::new(args.traits)?,
        max_rate: args.max_rate,
        min_bond_seconds: args.min_bond,
        min_points: args.min_points,
        duration: args.duration,
        valid_for: args.valid_for,
        image: args.image,
        ssh_authorized_keys: keys,
    };
    let body = PostBid { terms, top_up_budget: Amount(args.auto_top_up), on_failure: args.on_failure };
    let bid: BidInfo = client.post("/v1/bids", &body).await?;
    follow(context, &client, bid, args.wait).await
}

/// Prints a bid that was posted, or waits for its machine and prints that.
pub(super) async fn follow(
    context: &Context,
    client: &ApiClient,
    bid: BidInfo,
    waits: bool,
) -> anyhow::Result<()> {
    if !waits {
        return context.output.print(&bid, posted);
    }
    let bid = wait(client, bid).await?;
    context.output.print(&bid, running)
}

/// What to do with a machine that runs.
pub(super) fn running(bid: &BidInfo) -> String {
    format!(
        "the machine of lease {} runs at {}\nlog in:  sublet lease ssh {}\nend it:  sublet lease close {}",
        bid.id,
        bid.rate.map(format_rate).unwrap_or_default(),
        bid.id,
        bid.id
    )
}

/// Follows a bid until its machine answers, with a spinner and every decline on stderr.
pub(super) async fn wait(client: &ApiClient, mut bid: BidInfo) -> anyhow::Result<BidInfo> {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    let (mut declines, mut stage) = (0, String::new());
    loop {
        for no in bid.declines.iter().skip(declines) {
            spinner.suspend(|| note(decline(no)));
        }
        declines = bid.declines.len();
        let now = waiting_for(&bid);
        if now != stage {
            spinner.set_message(now.clone());
            // Without a terminal the spinner is silent: say each stage once.
            if spinner.is_hidden() {
                note(&now);
            }
            stage = now;
        }
        match bid.phase {
            BuyerPhase::Leased if bid.access.is_some() => break,
            BuyerPhase::Expired | BuyerPhase::Cancelled => {
                spinner.finish_and_clear();
                return Err(Refused(format!("no machine: the bid is over. {}", explain(&bid, "; "))).into());
            }
            BuyerPhase::Done => {
                spinner.finish_and_clear();
                let why = bid.trouble.clone().unwrap_or_else(|| "see `sublet lease show`".into());
                return Err(Refused(format!(
                    "the lease {} ended before the machine could be used: {why}",
                    bid.id
                ))
                .into());
            }
            _ => {}
        }
        tokio::time::sleep(POLL).await;
        bid = client.get(&format!("/v1/bids/{}", bid.id)).await?;
    }
    spinner.finish_and_clear();
    Ok(bid)
}

fn waiting_for(bid: &BidInfo) -> String {
    match bid.phase {
        BuyerPhase::Seeking => match &bid.explanation {
            Some(e) if e.fit == 0 => format!("no offer fits yet ({} in the book); waiting for one", e.offers),
            _ => "asking providers".into(),
        },
        BuyerPhase::Accepted => "accepted; locking the escrow on chain".into(),
        BuyerPhase::Settled => "settled; waiting for confirmations".into(),
        BuyerPhase::Leased => {
            bid.trouble.clone().unwrap_or_else(|| "the provider is starting the machine".into())
        }
        BuyerPhase::Done | BuyerPhase::Expired | BuyerPhase::Cancelled => "over".into(),
    }
}

fn posted(bid: &BidInfo) -> String {
    let mut text =
        format!("bid {} is valid until {} and locks up to {}", bid.id, time(bid.valid_until), bid.budget);
    if bid.explanation.as_ref().is_some_and(|e| e.fit == 0) {
        text = format!("{text}\n{}", explain(bid, "\n"));
    }
    format!("{text}\nfollow it:  sublet bid show {}", bid.id)
}

/// What the book says and who said no.
fn explain(bid: &BidInfo, separator: &str) -> String {
    let book = bid.explanation.as_ref().map_or_else(
        || "the bid is no longer looking for a provider".to_owned(),
        |explanation| explanation.text.clone(),
    );
    std::iter::once(book).chain(bid.declines.iter().map(decline)).collect::<Vec<_>>().join(separator)
}

fn decline(no: &DeclineInfo) -> String {
    format!("{} declined: {} ({})", short(&no.provider), no.detail, no.code)
}

fn list(bids: &[BidInfo]) -> String {
    if bids.is_empty() {
        return "no bids yet: post one with `sublet bid post`".into();
    }
    let rows = bids.iter().map(|bid| {
        vec![
            bid.id.to_string(),
            phase(bid.phase).into(),
            describe(&bid.unit),
            format_rate(bid.rate.unwrap_or(bid.max_rate)),
            format_duration(u64::from(bid.duration)),
            bid.provider.as_ref().map(short).unwrap_or_default(),
        ]
    });
    table(&["id", "phase", "unit", "rate", "for", "provider"], rows)
}

fn show(bid: &BidInfo) -> String {
    let mut rows = vec![
        ("id", bid.id.to_string()),
        ("phase", phase(bid.phase).to_owned()),
        ("wanted", format!("{} × ({})", bid.units, describe(&bid.unit))),
        ("top rate", format_rate(bid.max_rate)),
        ("for", format_duration(u64::from(bid.duration))),
        ("budget", Amount::to_string(&bid.budget)),
        ("valid until", time(bid.valid_until)),
    ];
    rows.extend(bid.provider.map(|provider| ("provider", provider.to_string())));
    rows.extend(bid.rate.map(|rate| ("rate", format_rate(rate))));
    rows.extend(bid.settle_tx.map(|tx| ("settled in", tx.to_string())));
    rows.extend(bid.failure.clone().map(|failure| ("ended because", failure)));
    rows.extend(bid.continues.map(|failed| ("replaces", failed.to_string())));
    rows.extend(bid.trouble.clone().map(|trouble| ("last problem", trouble)));
    let mut text = facts(&rows);
    if bid.explanation.is_some() || !bid.declines.is_empty() {
        text = format!("{text}\n\n{}", explain(bid, "\n"));
    }
    text
}

fn phase(phase: BuyerPhase) -> &'static str {
    match phase {
        BuyerPhase::Seeking => "seeking",
        BuyerPhase::Accepted => "accepted",
        BuyerPhase::Settled => "settled",
        BuyerPhase::Leased => "leased",
        BuyerPhase::Done => "done",
        BuyerPhase::Expired => "expired",
        BuyerPhase::Cancelled => "cancelled",
    }
}
