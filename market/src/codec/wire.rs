//! Mirrors of the messages in types that `bincode` can derive for. Converting back runs each type's own validation.

use std::convert::Infallible;

use bincode::{Decode, Encode};

use super::CodecError;
use crate::message::OrderMessage;
use crate::signature::Signed;
use crate::trade::{AccessState, TradeRequest, TradeResponse};
use crate::{manifest, orders, resources, trade};

type Word = [u8; 32];
type Account = [u8; 20];
type Signature = [u8; 65];

/// Defines the mirror of a plain struct and both conversions, field by field.
macro_rules! wire_struct {
    ($name:ident => $original:ty { $($field:ident: $kind:ty),+ $(,)? }) => {
        #[derive(Encode, Decode)]
        pub(super) struct $name { $($field: $kind),+ }

        impl From<$original> for $name {
            fn from(original: $original) -> Self {
                Self { $($field: original.$field.into()),+ }
            }
        }

        impl TryFrom<$name> for $original {
            type Error = CodecError;

            fn try_from(wire: $name) -> Result<Self, CodecError> {
                Ok(Self { $($field: wire.$field.try_into().map_err(CodecError::from)?),+ })
            }
        }
    };
}

wire_struct!(Resources => resources::Resources {
    vcpus: u32, memory_mib: u32, disk_gib: u32, gpus: u32, disk_iops: u32, net_mbps: u32,
});
wire_struct!(Offer => orders::Offer {
    provider: Account, node: Word, unit: Resources, units: u32, price_per_second: u64, bond_seconds: u32,
    min_duration: u32, max_duration: u32, activate_within: u32, burn: bool, traits: Vec<String>, series: u64,
    seq: u64, valid_until: u64,
});
wire_struct!(Spec => orders::Spec { unit: Resources, units: u32, traits: Vec<String>, manifest: Word });
wire_struct!(Bid => orders::Bid {
    buyer: Account, settler: Account, spec: Word, node: Word, max_rate: u64, min_bond_seconds: u32, min_points: u64,
    duration: u32, valid_until: u64, epoch: u32, salt: u64,
});
wire_struct!(Accept => orders::Accept {
    bid: Word, offer: Word, provider: Account, node: Word, rate: u64, bond_seconds: u32, activate_within: u32,
    max_duration: u32, burn: bool, settle_by: u64,
});
wire_struct!(Decline => trade::Decline { code: String, detail: String });
wire_struct!(Access => trade::Access { user: String, host: String, port: u16, host_key: String });

#[derive(Encode, Decode)]
pub(super) struct Manifest {
    salt: Word,
    image: String,
    ssh_authorized_keys: Vec<String>,
    disk_of: Option<Word>,
}

impl From<manifest::Manifest> for Manifest {
    fn from(manifest: manifest::Manifest) -> Self {
        let manifest::Manifest { salt, image, ssh_authorized_keys, disk_of } = manifest;
        Self { salt: salt.into(), image, ssh_authorized_keys, disk_of: disk_of.map(Into::into) }
    }
}

impl TryFrom<Manifest> for manifest::Manifest {
    type Error = CodecError;

    fn try_from(wire: Manifest) -> Result<Self, CodecError> {
        let Manifest { salt, image, ssh_authorized_keys, disk_of } = wire;
        Ok(Self { salt: salt.into(), image, ssh_authorized_keys, disk_of: disk_of.map(Into::into) })
    }
}

/// A signed order, and its signer where that is not the maker.
#[derive(Encode, Decode)]
pub(super) struct SignedOrder<T> {
    order: T,
    signature: Signature,
    operator: Option<Account>,
}

impl<T: From<O>, O> From<Signed<O>> for SignedOrder<T> {
    fn from(signed: Signed<O>) -> Self {
        let Signed { order, signature, operator } = signed;
        Self { order: order.into(), signature: signature.into(), operator: operator.map(Into::into) }
    }
}

impl<T, O: orders::Order + TryFrom<T, Error = CodecError>> TryFrom<SignedOrder<T>> for Signed<O> {
    type Error = CodecError;

    fn try_from(wire: SignedOrder<T>) -> Result<Self, CodecError> {
        let (order, signature) = (O::try_from(wire.order)?, wire.signature.try_into()?);
        let operator = wire.operator.map(Into::into);
        if operator == Some(order.maker()) {
            // The maker signs without being named twice.
            return Err(CodecError::NotCanonical);
        }
        Ok(Self { order, signature, operator })
    }
}

type SignedOffer = SignedOrder<Offer>;
type SignedBid = SignedOrder<Bid>;
type SignedAccept = SignedOrder<Accept>;

#[derive(Encode, Decode)]
pub(super) enum Order {
    Offer(SignedOffer),
    Bid(SignedBid, Spec),
}

impl From<OrderMessage> for Order {
    fn from(message: OrderMessage) -> Self {
        match message {
            OrderMessage::Offer(offer) => Self::Offer(offer.into()),
            OrderMessage::Bid { bid, spec } => Self::Bid(bid.into(), spec.into()),
        }
    }
}

impl TryFrom<Order> for OrderMessage {
    type Error = CodecError;

    fn try_from(wire: Order) -> Result<Self, CodecError> {
        Ok(match wire {
            Order::Offer(offer) => Self::Offer(offer.try_into()?),
            Order::Bid(bid, spec) => Self::Bid { bid: bid.try_into()?, spec: spec.try_into()? },
        })
    }
}

#[derive(Encode, Decode)]
pub(super) enum Request {
    Ask(SignedBid, Spec, Word, Vec<u8>),
    Access(Word),
    Quote(Word, SignedOffer, u64),
    Console(Word),
}

impl From<TradeRequest> for Request {
    fn from(request: TradeRequest) -> Self {
        match request {
            TradeRequest::Ask { bid, spec, offer, manifest } => {
                Self::Ask(bid.into(), spec.into(), offer.into(), manifest)
            }
            TradeRequest::Access { lease } => Self::Access(lease.into()),
            TradeRequest::Console { lease } => Self::Console(lease.into()),
            TradeRequest::Quote { bid, offer, rate } => Self::Quote(bid.into(), offer.into(), rate),
        }
    }
}

impl TryFrom<Request> for TradeRequest {
    type Error = CodecError;

    fn try_from(wire: Request) -> Result<Self, CodecError> {
        Ok(match wire {
            Request::Ask(bid, spec, offer, manifest) => {
                Self::Ask { bid: bid.try_into()?, spec: spec.try_into()?, offer: offer.into(), manifest }
            }
            Request::Access(lease) => Self::Access { lease: lease.into() },
            Request::Console(lease) => Self::Console { lease: lease.into() },
            Request::Quote(bid, offer, rate) => {
                Self::Quote { bid: bid.into(), offer: offer.try_into()?, rate }
            }
        })
    }
}

#[derive(Encode, Decode)]
pub(super) enum Response {
    Accept(SignedAccept),
    Declined(Decline),
    Pending(String),
    Ready(Access),
    Gone(String),
    Noted,
    Console(Vec<String>),
}

impl From<TradeResponse> for Response {
    fn from(response: TradeResponse) -> Self {
        match response {
            TradeResponse::Accept(accept) => Self::Accept(accept.into()),
            TradeResponse::Declined(decline) => Self::Declined(decline.into()),
            TradeResponse::Access(AccessState::Pending { state }) => Self::Pending(state),
            TradeResponse::Access(AccessState::Ready(access)) => Self::Ready(access.into()),
            TradeResponse::Access(AccessState::Gone { reason }) => Self::Gone(reason),
            TradeResponse::Noted => Self::Noted,
            TradeResponse::Console(lines) => Self::Console(lines),
        }
    }
}

impl TryFrom<Response> for TradeResponse {
    type Error = CodecError;

    fn try_from(wire: Response) -> Result<Self, CodecError> {
        Ok(match wire {
            Response::Accept(accept) => Self::Accept(accept.try_into()?),
            Response::Declined(decline) => Self::Declined(decline.try_into()?),
            Response::Pending(state) => Self::Access(AccessState::Pending { state }),
            Response::Ready(access) => Self::Access(AccessState::Ready(access.try_into()?)),
            Response::Gone(reason) => Self::Access(AccessState::Gone { reason }),
            Response::Noted => Self::Noted,
            Response::Console(lines) => Self::Console(lines),
        })
    }
}

impl From<Infallible> for CodecError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
