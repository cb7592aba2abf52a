//! Books that are compared over links that stand still.

use sublet_tests::sync::through_stalls;

#[tokio::test]
async fn a_link_that_stands_still_holds_up_no_other_and_is_made_up_for() {
    through_stalls(2_000).await.unwrap();
}
