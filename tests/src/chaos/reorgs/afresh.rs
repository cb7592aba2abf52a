//! What a node derives from the chain's events, against what it derives when it reads them all again: its
//! database is put aside, and it starts without a past.

use std::fs;

use anyhow::ensure;
use serde_json::Value;
use sublet_api::types::LeaseInfo;

use crate::chaos::{SOON, Who, stage::Stage};

/// What comes of the node's own doing, and of the moment, and not of the chain alone.
const OWN: [&str; 6] = ["provider_phase", "instance", "access", "trouble", "warning", "console"];

/// Both nodes' leases, as the API shows them, are those of nodes that start from nothing; how many there are. All of
/// them must be over.
pub(super) async fn compare(stage: &mut Stage<'_>) -> anyhow::Result<usize> {
    let mut compared = 0;
    for who in [Who::Provider, Who::Buyer] {
        let known = leases(stage, who).await?;
        let store = stage.node(who).home().store();
        let aside = store.with_extension("aside");
        stage.down_and_up(who, async |_| Ok(fs::rename(&store, &aside)?)).await?;
        let same = stage
            .until("a node without a past says the same", SOON, async |stage| {
                let afresh = leases(stage, who).await?;
                ensure!(afresh == known, "the {who:?} has {known:?}, a replay gives {afresh:?}");
                Ok(true)
            })
            .await;
        stage.down_and_up(who, async |_| Ok(fs::rename(&aside, &store)?)).await?;
        same?;
        compared += known.len();
    }
    Ok(compared)
}

/// The chain's part of every lease of a node, in the order of their ids.
async fn leases(stage: &Stage<'_>, who: Who) -> anyhow::Result<Vec<Value>> {
    let mut leases: Vec<LeaseInfo> = stage.node(who).client()?.get("/v1/leases").await?;
    // A settlement that never was leaves a file without any events.
    leases.retain(|lease| !lease.events.is_empty());
    leases.sort_by_key(|lease| lease.id);
    let values = leases.into_iter().map(|lease| {
        let mut value = serde_json::to_value(lease)?;
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|name, _| !OWN.contains(&name.as_str()));
        }
        Ok(value)
    });
    values.collect()
}
