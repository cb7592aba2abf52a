//! The book as a whole: what two nodes compare to see whether they know the same orders.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{ApiError, ApiState, types::BookDigest};

pub(super) async fn digest(State(state): State<ApiState>) -> Result<Json<BookDigest>, ApiError> {
    let shared = Arc::clone(state.core.shared_book());
    // A full book takes some tens of milliseconds.
    let book =
        tokio::task::spawn_blocking(move || shared.digest()).await.map_err(|e| ApiError::internal(&e))?;
    Ok(Json(BookDigest { digest: book.digest, orders: book.orders }))
}
