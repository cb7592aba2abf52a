//! From the plain types of `sublet-market` to the structs of the ABI.

use sublet_market::{Accept, Bid, lease::Params};

use crate::IMarket;

impl From<&Bid> for IMarket::Bid {
    fn from(bid: &Bid) -> Self {
        Self {
            buyer: bid.buyer,
            settler: bid.settler,
            spec: bid.spec,
            node: bid.node,
            maxRate: bid.max_rate,
            minBondSeconds: bid.min_bond_seconds,
            minPoints: bid.min_points,
            duration: bid.duration,
            validUntil: bid.valid_until,
            epoch: bid.epoch,
            salt: bid.salt,
        }
    }
}

impl From<&Accept> for IMarket::Accept {
    fn from(accept: &Accept) -> Self {
        Self {
            bid: accept.bid,
            offer: accept.offer,
            provider: accept.provider,
            node: accept.node,
            rate: accept.rate,
            bondSeconds: accept.bond_seconds,
            activateWithin: accept.activate_within,
            maxDuration: accept.max_duration,
            burn: accept.burn,
            settleBy: accept.settle_by,
        }
    }
}

impl From<&Params> for IMarket::Params {
    fn from(params: &Params) -> Self {
        Self {
            feeBps: params.fee_bps,
            hold: params.hold,
            notice: params.notice,
            halfLifeDays: params.half_life_days,
        }
    }
}

impl From<&IMarket::Params> for Params {
    fn from(params: &IMarket::Params) -> Self {
        Self {
            fee_bps: params.feeBps,
            hold: params.hold,
            notice: params.notice,
            half_life_days: params.halfLifeDays,
        }
    }
}
