//! Offers: the whole book's, and our own templates.

use std::collections::HashMap;

use alloy_primitives::B256;
use axum::{
    Json,
    extract::{Path, State},
};
use sublet_market::Offer;
use sublet_store::OfferTemplate;

use sublet_api::types::{OfferInfo, PostOffer};

use super::{ApiError, ApiState};

pub(super) async fn list(State(state): State<ApiState>) -> Result<Json<Vec<OfferInfo>>, ApiError> {
    let core = &state.core;
    let mine = core.account.maker();
    let refusals = state.provider.as_ref().map(|p| p.refusals()).unwrap_or_default();
    let mut offers: Vec<OfferInfo> = {
        let book = core.market.book();
        book.offers()
            .filter(|(_, signed)| signed.order.units > 0)
            .map(|(digest, signed)| {
                let points = book.maker(&signed.order.provider).map_or(0, |maker| maker.points);
                info(&signed.order, Some(digest), signed.order.provider == mine, points)
            })
            .collect()
    };
    // Templates of ours that have no live offer: all units leased, or not counted by our own book.
    let shown: Vec<String> = offers.iter().filter(|o| o.mine).map(|o| o.series.clone()).collect();
    for template in core.store.all::<OfferTemplate>()?.iter().filter(|t| !t.cancelled) {
        if !shown.contains(&series_name(template.series)) {
            offers.push(unannounced(&state, template, &refusals));
        }
    }
    offers.sort_by_key(|offer| (offer.terms.price_per_second, offer.digest));
    Ok(Json(offers))
}

pub(super) async fn create(
    State(state): State<ApiState>,
    Json(body): Json<PostOffer>,
) -> Result<Json<OfferInfo>, ApiError> {
    let provider = state.require_provider()?;
    let template = provider.post_offer(body.terms).await?;
    Ok(Json(unannounced(&state, &template, &HashMap::new())))
}

pub(super) async fn cancel(
    State(state): State<ApiState>,
    Path(series): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let number = u64::from_str_radix(series.trim_start_matches("0x"), 16).map_err(|_| {
        ApiError::invalid("a series is up to 16 hexadecimal digits, as `sublet offer list` shows it")
    })?;
    state.require_provider()?.cancel_offer(number)?;
    Ok(Json(serde_json::json!({ "series": series_name(number), "cancelled": true })))
}

fn info(offer: &Offer, digest: Option<B256>, mine: bool, points: u64) -> OfferInfo {
    OfferInfo {
        digest,
        mine,
        provider: offer.provider,
        node: offer.node,
        terms: offer.terms(),
        series: series_name(offer.series),
        points,
        valid_until: offer.valid_until,
        refused: None,
    }
}

fn unannounced(state: &ApiState, template: &OfferTemplate, refusals: &HashMap<u64, String>) -> OfferInfo {
    OfferInfo {
        digest: None,
        mine: true,
        provider: state.core.account.maker(),
        node: state.core.node,
        terms: template.terms.clone(),
        series: series_name(template.series),
        points: 0,
        valid_until: 0,
        refused: refusals.get(&template.series).cloned(),
    }
}

fn series_name(series: u64) -> String {
    format!("{series:016x}")
}
