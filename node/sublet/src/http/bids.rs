//! Our bids: what was asked for, who declined and why, what the book says.

use alloy_primitives::B256;
use axum::{
    Json,
    extract::{Path, State},
};
use sublet_base::phase::BuyerPhase;
use sublet_engine::buyer::NewBid;
use sublet_market::Explanation;
use sublet_store::{Decline, Purchase};

use sublet_api::types::{Amount, BidInfo, DeclineInfo, Explained, FailedRule, PostBid};

use super::{ApiError, ApiState};

pub(super) async fn list(State(state): State<ApiState>) -> Result<Json<Vec<BidInfo>>, ApiError> {
    let purchases = state.core.store.all_and_past::<Purchase>()?;
    Ok(Json(purchases.into_iter().map(|purchase| info(purchase, None)).collect()))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path(id): Path<B256>,
) -> Result<Json<BidInfo>, ApiError> {
    let purchase =
        state.core.store.find::<Purchase>(id.as_slice())?.ok_or_else(|| {
            ApiError::not_found(&format!("this node has no bid {id}: see `sublet bid list`"))
        })?;
    let explanation = matches!(purchase.phase, BuyerPhase::Seeking | BuyerPhase::Expired).then(|| {
        let (bid, spec) = (&purchase.bid.order, &purchase.spec);
        // An expired bid is explained as of its last moment: why nobody took it, not that it is late.
        let at = state.core.now().min(bid.valid_until.saturating_sub(1));
        state.core.market.book().explain(bid, spec, at)
    });
    Ok(Json(info(purchase, explanation.as_ref())))
}

pub(super) async fn create(
    State(state): State<ApiState>,
    Json(body): Json<PostBid>,
) -> Result<Json<BidInfo>, ApiError> {
    let (purchase, explanation) = state
        .buyer
        .post_bid(NewBid {
            terms: body.terms,
            top_up_budget: body.top_up_budget.0,
            on_failure: body.on_failure,
            continues: None,
            disk_of: None,
            avoid: Vec::new(),
        })
        .await?;
    Ok(Json(info(purchase, Some(&explanation))))
}

pub(super) async fn cancel(
    State(state): State<ApiState>,
    Path(id): Path<B256>,
) -> Result<Json<serde_json::Value>, ApiError> {
    state.buyer.cancel_bid(id)?;
    Ok(Json(serde_json::json!({ "id": id, "cancelled": true })))
}

pub(super) fn info(purchase: Purchase, explanation: Option<&Explanation>) -> BidInfo {
    let bid = &purchase.bid.order;
    let accept = purchase.accept.as_ref().map(|accept| &accept.order);
    BidInfo {
        id: purchase.id,
        phase: purchase.phase,
        unit: purchase.spec.unit,
        units: purchase.spec.units,
        max_rate: bid.max_rate,
        duration: bid.duration,
        budget: Amount(bid.budget()),
        valid_until: bid.valid_until,
        provider: accept.map(|accept| accept.provider),
        rate: accept.map(|accept| accept.rate),
        declines: purchase.declines.into_iter().map(decline).collect(),
        access: purchase.access,
        settle_tx: purchase.settle_tx,
        on_failure: purchase.on_failure,
        failure: purchase.failure,
        continues: purchase.continues,
        avoid: purchase.avoid,
        trouble: purchase.trouble,
        explanation: explanation.map(explained),
    }
}

fn decline(no: Decline) -> DeclineInfo {
    let Decline { node, provider, offer, rate, code, detail, at, times } = no;
    DeclineInfo { node, provider, offer, rate, code: code.into(), detail, at, times }
}

fn explained(explanation: &Explanation) -> Explained {
    let failed = explanation.failed.iter();
    Explained {
        offers: explanation.offers,
        fit: explanation.fit,
        failed: failed.map(|(rule, offers)| FailedRule { rule: rule.to_string(), offers: *offers }).collect(),
        text: explanation.to_string(),
    }
}
