//! What `sol!` makes of the committed ABI files. Docs and style of this code are the macro's, not ours.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

alloy::sol!(
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    Market,
    "../abi/Market.json"
);

alloy::sol!(
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    CloudToken,
    "../abi/CloudToken.json"
);
