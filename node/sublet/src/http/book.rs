//! The book as a whole: what two nodes compare to see whether they know the same orders.

use axum::{Json, extract::State};

use sublet_api::types::BookDigest;

use super::ApiState;

pub(super) async fn digest(State(state): State<ApiState>) -> Json<BookDigest> {
    let book = state.core.market.book();
    Json(BookDigest { digest: book.digest(), offers: book.offer_count(), bids: book.bid_count() })
}
