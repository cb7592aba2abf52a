//! The network task's part in trades: requests of peers in, the engine's answers out.

use std::time::Instant;

use libp2p::{
    PeerId,
    request_response::{Event, Message, ResponseChannel},
};
use sublet_market::{Decline, DeclineCode, TradeRequest, TradeResponse};
use tokio::sync::oneshot;

use super::{MAX_REPLIES, Task};
use crate::{Inbound, InboundTrade, frame::Malformed, node_key};

const NO_ANSWER: &str = "the request queue was full, or no answer came in time: try again";

impl Task {
    pub(super) fn on_trade(&mut self, event: Event<Result<TradeRequest, Malformed>, TradeResponse>) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                match request {
                    Ok(request) => self.on_request(peer, request, channel),
                    Err(malformed) => {
                        tracing::debug!(%peer, %malformed, "invalid trade request");
                        let blame = self.gossip.fault(peer, "trade requests that no honest peer sends");
                        self.blame(blame);
                    }
                }
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.requests.answered(request_id, response);
            }
            Event::OutboundFailure { request_id, error, .. } => {
                self.requests.failed(&mut self.swarm, request_id, error);
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "an answer was not delivered")
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn on_request(&mut self, peer: PeerId, request: TradeRequest, channel: ResponseChannel<TradeResponse>) {
        self.state.trade.received += 1;
        let Some(node) = node_key(&peer) else {
            let text = "only nodes with an ed25519 key can trade";
            return self.on_reply(
                channel,
                Some(TradeResponse::Declined(Decline::new(DeclineCode::Malformed, text))),
            );
        };
        let too_many = !self.state.trade_rate.take(peer, Instant::now());
        let (reply, answer) = oneshot::channel();
        let trade = Inbound::Trade(Box::new(InboundTrade { node, request, reply }));
        if too_many || self.state.replies.len() >= MAX_REPLIES || self.inbound.try_send(trade).is_err() {
            return self.on_reply(channel, None);
        }
        let limit = self.state.reply_limit;
        self.state.replies.push(Box::pin(async move {
            (channel, tokio::time::timeout(limit, answer).await.ok().and_then(Result::ok))
        }));
    }

    /// Without a response of the engine the peer is told to try again.
    pub(super) fn on_reply(
        &mut self,
        channel: ResponseChannel<TradeResponse>,
        response: Option<TradeResponse>,
    ) {
        let counters = &mut self.state.trade;
        let response = if let Some(response) = response {
            counters.answered += 1;
            response
        } else {
            counters.shed += 1;
            TradeResponse::Declined(Decline::new(DeclineCode::Busy, NO_ANSWER))
        };
        // The peer may be gone.
        let _ = self.swarm.behaviour_mut().trade.send_response(channel, response);
    }
}
