//! Our leases, as buyer and as provider.

use alloy_primitives::B256;
use axum::{
    Json,
    extract::{Path, State},
};
use sublet_engine::buyer::fund::ending_in;
use sublet_market::{LoggedEvent, MarketEvent};
use sublet_store::{ChainLease, Ending, Promise, Purchase};

use sublet_api::types::{Amount, BidInfo, Console, LeaseEnded, LeaseInfo, Revive, Role, TopUp, Transaction};

use super::{ApiError, ApiState, wallet::transaction};

pub(super) async fn list(State(state): State<ApiState>) -> Result<Json<Vec<LeaseInfo>>, ApiError> {
    let leases = state.core.store.all_and_past::<ChainLease>()?;
    let mut infos = leases.into_iter().map(|lease| info(&state, lease)).collect::<Result<Vec<_>, _>>()?;
    infos.sort_by_key(|lease| std::cmp::Reverse(lease.events.first().map(|event| event.block)));
    Ok(Json(infos))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    Path(id): Path<B256>,
) -> Result<Json<LeaseInfo>, ApiError> {
    let lease = state.core.store.find::<ChainLease>(id.as_slice())?.ok_or_else(|| unknown(id))?;
    info(&state, lease).map(Json)
}

pub(super) async fn console(
    State(state): State<ApiState>,
    Path(id): Path<B256>,
) -> Result<Json<Console>, ApiError> {
    let lines = match role(&state, id)? {
        Role::Buyer => state.buyer.console(id).await?,
        Role::Provider => match state.core.store.find::<Promise>(id.as_slice())? {
            Some(promise) => state.require_provider()?.console_of(&promise).await,
            None => return Err(unknown(id)),
        },
    };
    Ok(Json(Console { lines }))
}

pub(super) async fn revive(
    State(state): State<ApiState>,
    Path(id): Path<B256>,
    Json(body): Json<Revive>,
) -> Result<Json<BidInfo>, ApiError> {
    match role(&state, id)? {
        Role::Buyer => {
            let (purchase, explanation) = state.buyer.revive(id, body.duration, body.max_rate).await?;
            Ok(Json(super::bids::info(purchase, Some(&explanation))))
        }
        Role::Provider => Err(ApiError::invalid("only the buyer of a lease can revive it")),
    }
}

pub(super) async fn close(
    State(state): State<ApiState>,
    Path(id): Path<B256>,
) -> Result<Json<Transaction>, ApiError> {
    match role(&state, id)? {
        Role::Buyer => Ok(Json(transaction("close", &state.buyer.end(id, Ending::Close).await?))),
        Role::Provider => {
            let report = state.require_provider()?.close(id).await?;
            Ok(Json(transaction(&report.call, &report)))
        }
    }
}

pub(super) async fn reject(
    State(state): State<ApiState>,
    Path(id): Path<B256>,
) -> Result<Json<Transaction>, ApiError> {
    match role(&state, id)? {
        Role::Buyer => Ok(Json(transaction("reject", &state.buyer.end(id, Ending::Reject).await?))),
        Role::Provider => Err(ApiError::invalid(&format!(
            "only the buyer can reject a lease; give it up with `sublet lease close {id}`"
        ))),
    }
}

pub(super) async fn top_up(
    State(state): State<ApiState>,
    Path(id): Path<B256>,
    Json(body): Json<TopUp>,
) -> Result<Json<Transaction>, ApiError> {
    match role(&state, id)? {
        Role::Buyer => Ok(Json(transaction("topUp", &state.buyer.top_up(id, body.seconds).await?))),
        Role::Provider => Err(ApiError::invalid("only the buyer can top up a lease")),
    }
}

fn role(state: &ApiState, id: B256) -> Result<Role, ApiError> {
    let lease = state.core.store.find::<ChainLease>(id.as_slice())?.ok_or_else(|| unknown(id))?;
    Ok(role_in(state, &lease))
}

fn role_in(state: &ApiState, lease: &ChainLease) -> Role {
    if lease.view.buyer == state.core.account.maker() { Role::Buyer } else { Role::Provider }
}

fn unknown(id: B256) -> ApiError {
    ApiError::not_found(&format!(
        "this node has no lease {id}: see `sublet lease list` and `sublet bid list`"
    ))
}

fn info(state: &ApiState, lease: ChainLease) -> Result<LeaseInfo, ApiError> {
    let role = role_in(state, &lease);
    let key = lease.id.as_slice();
    let purchase = if role == Role::Buyer { state.core.store.find::<Purchase>(key)? } else { None };
    let promise = if role == Role::Provider { state.core.store.find::<Promise>(key)? } else { None };
    let meter = Meter::read(&lease, state.core.now());
    let view = &lease.view;
    let warning = purchase.as_ref().and_then(|p| {
        let left = ending_in(view, p.bid.order.duration, state.core.now())?;
        Some(format!("the funds end in {left} s: run `sublet lease top-up {} --for 10m`", lease.id))
    });
    let access = purchase.as_ref().and_then(|p| p.access.clone());
    let console = match (&purchase, &promise) {
        (Some(purchase), _) => purchase.console.clone(),
        (None, promise) => promise.as_ref().map(|p| p.console.clone()).unwrap_or_default(),
    };
    let trouble =
        purchase.and_then(|p| p.trouble).or_else(|| promise.as_ref().and_then(|p| p.trouble.clone()));
    Ok(LeaseInfo {
        id: lease.id,
        role,
        state: view.state,
        buyer: view.buyer,
        provider: view.provider,
        rate: view.rate,
        started_at: meter.started_at,
        paid_until: u64::from(view.paid_until),
        funded_until: u64::from(view.funded_until),
        metered_seconds: meter.seconds,
        metered: Amount(u128::from(view.rate) * u128::from(meter.seconds)),
        bond: Amount(u128::from(view.rate) * u128::from(view.bond_seconds)),
        ended: ended(&lease.events),
        provider_phase: promise.as_ref().map(|p| p.phase),
        instance: promise.as_ref().and_then(|p| p.instance.clone()),
        access: access.or_else(|| promise.as_ref().and_then(|p| p.access.clone())),
        trouble,
        warning,
        console,
        events: lease.events,
    })
}

/// Billed time of a lease: from activation to now, the end of the funds, or the end of the lease.
struct Meter {
    started_at: u64,
    seconds: u64,
}

impl Meter {
    fn read(lease: &ChainLease, now: u64) -> Self {
        let Some(started_at) = lease.started_at() else { return Self { started_at: 0, seconds: 0 } };
        let until = lease.end.as_ref().map_or(now, |end| end.at).min(u64::from(lease.view.funded_until));
        Self { started_at, seconds: until.saturating_sub(started_at) }
    }
}

/// The sums over a lease that has ended.
fn ended(events: &[LoggedEvent]) -> Option<LeaseEnded> {
    let (mut paid, mut fees) = (0_u128, 0_u128);
    for logged in events {
        match &logged.event {
            MarketEvent::LeaseClaimed { net, fee, .. } => {
                paid = paid.saturating_add(*net);
                fees = fees.saturating_add(*fee);
            }
            MarketEvent::LeaseEnded {
                reason,
                ended_at,
                paid_to_provider,
                fee,
                burned,
                refunded,
                bond_to_provider,
                bond_to_buyer,
                ..
            } => {
                return Some(LeaseEnded {
                    reason: *reason,
                    at: u64::from(*ended_at),
                    paid: Amount(paid.saturating_add(*paid_to_provider)),
                    fee: Amount(fees.saturating_add(*fee)),
                    burned: Amount(*burned),
                    refunded: Amount(*refunded),
                    bond_to_provider: Amount(*bond_to_provider),
                    bond_to_buyer: Amount(*bond_to_buyer),
                });
            }
            _ => {}
        }
    }
    None
}
