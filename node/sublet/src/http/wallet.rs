//! Money: balances, deposit, withdraw, operators, points.

use alloy_primitives::Address;
use axum::{
    Json,
    extract::{Path, State},
};
use sublet_chain::TxReport;
use sublet_engine::{EngineError, account::Account};

use sublet_api::types::{Amount, MoveTokens, Operator, Points, Transaction, Wallet};

use super::{ApiError, ApiState};

pub(super) async fn show(State(state): State<ApiState>) -> Result<Json<Wallet>, ApiError> {
    let wallet = wallet(&state.core.account, state.buyer.floor()).await?;
    Ok(Json(Wallet { reserved: Some(Amount(state.core.reserved()?)), ..wallet }))
}

/// What a node without a memory can say of its wallet.
pub(crate) async fn wallet(account: &Account, floor: u128) -> Result<Wallet, EngineError> {
    let holdings = account.holdings().await?;
    let operator = account.operator().zip(holdings.approved);
    Ok(Wallet {
        address: account.maker(),
        operator: operator.map(|(key, approved)| Operator { key, approved }),
        gas_wei: Amount(holdings.gas),
        wallet: Amount(holdings.maker.wallet),
        free: Amount(holdings.maker.free),
        reserved: None,
        floor: Amount(floor),
        points: holdings.maker.points,
    })
}

pub(super) async fn deposit(
    State(state): State<ApiState>,
    Json(body): Json<MoveTokens>,
) -> Result<Json<Vec<Transaction>>, ApiError> {
    let done = state.core.account.deposit(body.amount.0).await?;
    after_move(&state).await;
    Ok(Json(transactions(&done)))
}

pub(super) async fn withdraw(
    State(state): State<ApiState>,
    Json(body): Json<MoveTokens>,
) -> Result<Json<Vec<Transaction>>, ApiError> {
    state.core.check_withdrawal(body.amount.0).await?;
    let done = state.core.account.withdraw(body.amount.0).await?;
    after_move(&state).await;
    Ok(Json(transactions(&done)))
}

pub(super) async fn operator(
    State(state): State<ApiState>,
    Path(key): Path<Address>,
) -> Result<Json<Operator>, ApiError> {
    Ok(Json(Operator { key, approved: state.core.account.is_operator(key).await? }))
}

pub(super) async fn set_operator(
    State(state): State<ApiState>,
    Json(body): Json<Operator>,
) -> Result<Json<Vec<Transaction>>, ApiError> {
    Ok(Json(transactions(&state.core.account.set_operator(body.key, body.approved).await?)))
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

/// By their names in the contract.
pub(crate) fn transactions(reports: &[TxReport]) -> Vec<Transaction> {
    reports.iter().map(|report| transaction(&report.call, report)).collect()
}

/// The transaction is mined whatever this read says; the watcher brings the same news a moment later.
async fn after_move(state: &ApiState) {
    if let Err(error) = state.core.refresh_maker(state.core.account.maker()).await {
        tracing::debug!(%error, "cannot read the balance; the watcher reads it again");
    }
    state.core.wake.all();
}
