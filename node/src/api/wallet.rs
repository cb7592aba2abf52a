//! Money: balances, deposit, withdraw, points.

use alloy_primitives::Address;
use axum::{
    Json,
    extract::{Path, State},
};

use super::{
    ApiError, ApiState,
    types::{Amount, MoveTokens, Points, Transaction, Wallet},
};
use crate::{
    chain::{Call, TxReport},
    engine::EngineError,
};

pub(super) async fn show(State(state): State<ApiState>) -> Result<Json<Wallet>, ApiError> {
    let address = state.core.address();
    let balances = state.core.chain.balances(address).await?;
    Ok(Json(Wallet {
        address,
        gas_wei: Amount(balances.eth),
        wallet: Amount(balances.wallet),
        free: Amount(balances.free),
        reserved: Amount(state.buyer.reserved()?),
        floor: Amount(state.buyer.floor()),
        points: balances.points,
    }))
}

pub(super) async fn deposit(
    State(state): State<ApiState>,
    Json(body): Json<MoveTokens>,
) -> Result<Json<Vec<Transaction>>, ApiError> {
    let core = &state.core;
    let amount = body.amount.0;
    if amount == 0 {
        return Err(ApiError::invalid("nothing to deposit: give an amount, for example 10"));
    }
    let there = core.chain.balances(core.address()).await?.wallet;
    if there < amount {
        return Err(EngineError::Funds(format!(
            "the wallet {} holds {}, not {}: get more CTK first",
            core.address(),
            Amount(there),
            Amount(amount)
        ))
        .into());
    }
    let mut done = Vec::new();
    if core.chain.allowance(core.address()).await? < amount {
        done.push(transaction("approve", &core.execute(Call::Approve { amount }).await?));
    }
    done.push(transaction("deposit", &core.execute(Call::Deposit { amount }).await?));
    after_move(&state).await;
    Ok(Json(done))
}

pub(super) async fn withdraw(
    State(state): State<ApiState>,
    Json(body): Json<MoveTokens>,
) -> Result<Json<Vec<Transaction>>, ApiError> {
    let core = &state.core;
    let amount = body.amount.0;
    let free = core.chain.balances(core.address()).await?.free;
    if free < amount || amount == 0 {
        return Err(EngineError::Funds(format!(
            "{} is free in the Market, not {}: running leases and bonds come free when they end",
            Amount(free),
            Amount(amount)
        ))
        .into());
    }
    let report = core.execute(Call::Withdraw { amount }).await?;
    after_move(&state).await;
    Ok(Json(vec![transaction("withdraw", &report)]))
}

pub(super) async fn points(
    State(state): State<ApiState>,
    Path(address): Path<Address>,
) -> Result<Json<Points>, ApiError> {
    let maker = state.core.chain.maker(address).await?;
    Ok(Json(Points { address, points: maker.points, free: Amount(maker.free) }))
}

pub(super) fn transaction(call: &str, report: &TxReport) -> Transaction {
    Transaction { call: call.to_owned(), tx: report.hash, gas: report.gas_used, block: report.block }
}

/// The transaction is mined whatever this read says; the watcher brings the same news a moment later.
async fn after_move(state: &ApiState) {
    if let Err(error) = state.core.refresh_maker(state.core.address()).await {
        tracing::debug!(%error, "the balance will be read again by the watcher");
    }
    state.core.wake.all();
}
