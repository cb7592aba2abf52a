//! `sublet lease`

use std::{os::unix::process::CommandExt as _, process::Command};

use alloy_primitives::B256;
use anyhow::Context as _;
use clap::Subcommand;
use sublet_api::types::{BidInfo, Console, LeaseInfo, Revive, Role, TopUp, Transaction};
use sublet_base::ssh;
use sublet_market::LeaseState;
use sublet_market::amount::{format_duration, format_rate};

use super::{
    Context, Refused, bid,
    output::{facts, note, short, table},
    values::{self, time},
};

/// Running and past leases.
#[derive(Debug, Subcommand)]
pub(super) enum Lease {
    /// List this node's leases, newest first.
    List,
    /// Show one lease: money, time, machine, events.
    Show {
        /// The lease's id.
        #[arg(value_parser = values::id)]
        id: B256,
    },
    /// Log in to the machine by ssh, or run a command: `sublet lease ssh ID -- uname -a`.
    Ssh {
        /// The lease's id.
        #[arg(value_parser = values::id)]
        id: B256,
        /// A command instead of a shell.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Show the machine's last console lines; of an ended lease, those that were kept.
    Logs {
        /// The lease's id.
        #[arg(value_parser = values::id)]
        id: B256,
    },
    /// Rent again with the disk of an ended lease, from the same provider, while it keeps the disk.
    Revive {
        /// The ended lease's id.
        #[arg(value_parser = values::id)]
        id: B256,
        /// How long, from 5m to 366d; paid in advance into escrow, what is not used comes back.
        #[arg(long = "for", default_value = "1h", value_parser = values::lease_duration)]
        #[arg(value_name = "DURATION")]
        duration: u32,
        /// Top rate, for example "9 CTK/h"; by default that of the first lease's bid.
        #[arg(long, value_parser = values::rate, value_name = "PRICE")]
        max_rate: Option<u64>,
        /// Wait until the machine accepts logins.
        #[arg(long)]
        wait: bool,
    },
    /// End a lease: a buyer pays until now and for the notice; a provider forfeits its bond.
    Close {
        /// The lease's id.
        #[arg(value_parser = values::id)]
        id: B256,
    },
    /// Top up: pay for more time of a running lease.
    TopUp {
        /// The lease's id.
        #[arg(value_parser = values::id)]
        id: B256,
        /// Time to add, within the provider's longest lease.
        #[arg(long = "for", value_parser = values::top_up, value_name = "DURATION")]
        duration: u32,
    },
    /// Reject: end a lease whose machine does not work; the last minutes' pay is burned, not paid.
    Reject {
        /// The lease's id.
        #[arg(value_parser = values::id)]
        id: B256,
    },
}

impl Lease {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.client()?;
        match self {
            Self::List => {
                let leases: Vec<LeaseInfo> = client.get("/v1/leases").await?;
                context.output.print(&leases, |leases| list(leases))
            }
            Self::Show { id } => {
                let lease: LeaseInfo = client.get(&format!("/v1/leases/{id}")).await?;
                context.output.print(&lease, show)
            }
            Self::Ssh { id, command } => {
                let lease: LeaseInfo = client.get(&format!("/v1/leases/{id}")).await?;
                log_in(context, &lease, &command)
            }
            Self::Logs { id } => {
                let console: Console = client.get(&format!("/v1/leases/{id}/console")).await?;
                context.output.print(&console, |console| console.lines.join("\n"))
            }
            Self::Revive { id, duration, max_rate, wait } => {
                let body = Revive { duration, max_rate };
                let posted: BidInfo = client.post(&format!("/v1/leases/{id}/revive"), &body).await?;
                bid::follow(context, &client, posted, wait).await
            }
            Self::TopUp { id, duration } => top_up(context, id, duration).await,
            Self::Close { id } => end(context, id, "close").await,
            Self::Reject { id } => end(context, id, "reject").await,
        }
    }
}

async fn top_up(context: &Context, id: B256, seconds: u32) -> anyhow::Result<()> {
    let client = context.client()?;
    note("waiting for the chain…");
    let done: Transaction = client.post(&format!("/v1/leases/{id}/top-up"), &TopUp { seconds }).await?;
    let lease: LeaseInfo = client.get(&format!("/v1/leases/{id}")).await?;
    context.output.print(&done, |tx| {
        format!(
            "{} in {} (gas {}); the lease is funded until {}",
            tx.call,
            short(&tx.tx),
            tx.gas,
            time(lease.funded_until)
        )
    })
}

async fn end(context: &Context, id: B256, how: &str) -> anyhow::Result<()> {
    let client = context.client()?;
    note("waiting for the chain…");
    let done: Transaction = client.post(&format!("/v1/leases/{id}/{how}"), &()).await?;
    context.output.print(&done, |tx| {
        format!(
            "{} in {} (gas {}); see who was paid what: sublet lease show {id}",
            tx.call,
            short(&tx.tx),
            tx.gas
        )
    })
}

/// Replaces this process by `ssh`.
fn log_in(context: &Context, lease: &LeaseInfo, command: &[String]) -> anyhow::Result<()> {
    let access = match (&lease.access, lease.role) {
        (Some(access), Role::Buyer) => access,
        (_, Role::Provider) => {
            return Err(Refused("only the buyer of a lease may log in to its machine".into()).into());
        }
        (None, Role::Buyer) => {
            let why = lease.trouble.clone().unwrap_or_else(|| format!("the lease is {}", state(lease.state)));
            return Err(Refused(format!("the machine cannot be reached: {why}")).into());
        }
    };
    let mut program = Command::new(ssh::PROGRAM);
    program.args(ssh::arguments(&context.home, lease.id, access)?).args(command);
    let failed = program.exec();
    Err(failed).context(ssh::MISSING)
}

fn list(leases: &[LeaseInfo]) -> String {
    if leases.is_empty() {
        return "no leases yet: post a bid with `sublet bid post`, or an offer with `sublet offer post`"
            .into();
    }
    let rows = leases.iter().map(|lease| {
        let (role, other) = match lease.role {
            Role::Buyer => ("buyer", lease.provider),
            Role::Provider => ("provider", lease.buyer),
        };
        vec![
            lease.id.to_string(),
            role.into(),
            lease.ended.as_ref().map_or_else(|| state(lease.state).to_owned(), |end| end.reason.to_string()),
            format_rate(lease.rate),
            format_duration(lease.metered_seconds),
            lease.metered.to_string(),
            short(&other),
        ]
    });
    table(&["id", "role", "state", "rate", "metered", "cost", "with"], rows)
}

fn show(lease: &LeaseInfo) -> String {
    let mut rows = vec![
        ("id", lease.id.to_string()),
        ("role", if lease.role == Role::Buyer { "buyer" } else { "provider" }.to_owned()),
        ("state", state(lease.state).to_owned()),
        ("buyer", lease.buyer.to_string()),
        ("provider", lease.provider.to_string()),
        ("rate", format_rate(lease.rate)),
        ("bond", lease.bond.to_string()),
    ];
    if lease.started_at > 0 {
        rows.push(("billing since", time(lease.started_at)));
        rows.push(("metered", format!("{} s, {}", lease.metered_seconds, lease.metered)));
        rows.push(("funded until", time(lease.funded_until)));
    }
    rows.extend(lease.instance.clone().map(|instance| ("machine", instance)));
    rows.extend(
        lease.access.as_ref().map(|a| ("reached at", format!("{}@{} port {}", a.user, a.host, a.port))),
    );
    rows.extend(lease.warning.clone().map(|warning| ("warning", warning)));
    rows.extend(lease.trouble.clone().map(|trouble| ("last problem", trouble)));
    if let Some(end) = &lease.ended {
        rows.push(("ended", format!("{} at {}", end.reason, time(end.at))));
        rows.push(("paid to the provider", end.paid.to_string()));
        rows.push(("fee, burned", end.fee.to_string()));
        rows.push(("burned besides", end.burned.to_string()));
        rows.push(("back to the buyer", end.refunded.to_string()));
        rows.push(("bond to the provider", end.bond_to_provider.to_string()));
        rows.push(("bond to the buyer", end.bond_to_buyer.to_string()));
    }
    let events = lease.events.iter().map(|e| {
        vec![time(e.timestamp), e.event.name().to_owned(), format!("block {}", e.block), e.tx.to_string()]
    });
    let mut text =
        format!("{}\n\n{}", facts(&rows), table(&["time", "event", "block", "transaction"], events));
    if !lease.console.is_empty() {
        text = format!("{text}\n\nlast console lines\n{}", lease.console.join("\n"));
    }
    text
}

fn state(state: LeaseState) -> &'static str {
    match state {
        LeaseState::None => "none",
        LeaseState::Opened => "opened",
        LeaseState::Active => "active",
        LeaseState::Ended => "ended",
    }
}
