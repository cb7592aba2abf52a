//! The local API of a node as programs beside it see it: its shapes ([`types`]), its client ([`client`]), and
//! how the client makes sure whom it talks to ([`hello`]). The handlers are the node's own.

mod amount;
pub mod client;
pub mod hello;
pub mod types;
