//! The table of the places where a node is killed, and what the trade around it is.

/// How the trade goes, apart from the crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Bid, machine, pay is claimed, the buyer closes.
    Close,
    /// Bid, machine, the funds run out, the provider finishes.
    Finish,
    /// The buyer's node dies with an accept in its hands and stays away until it has lapsed.
    Unsettled,
    /// Nobody sells at the bid's price: it expires.
    Unsold,
    /// The provider's node dies before the machine is there and stays away until the deadline has passed.
    ProviderAway,
    /// Both nodes die before the machine is there; the provider's is back first, after the deadline.
    BothAway,
    /// Bid with a budget for more time, the funds come to their end, the buyer's node buys more.
    TopUp,
    /// Bid, machine, the buyer rejects it.
    Reject,
    /// Bid, machine, the provider's operator gives the lease up.
    ProviderCloses,
    /// The machine is gone, and so is the image that another could be made of: the provider's node gives the lease up.
    GivenUp,
    /// The RPC hangs for longer than `max_offline`; the provider's node dies on pausing the machine.
    Offline,
    /// Bid, machine, the end, and a new lease for its disk.
    Revived,
    /// The machine stands still, and the buyer's node leaves it.
    Left,
    /// The same, where the buyer wants another machine.
    Rebid,
}

impl Flow {
    /// What must come of it.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Close => "closed, paid for what was metered",
            Self::Finish => "finished, paid in full",
            Self::Unsettled | Self::Unsold => "never settled, nothing locked",
            Self::ProviderAway | Self::BothAway => "aborted, escrow and bond to the buyer",
            Self::TopUp => "topped up once, closed, paid for what was metered",
            Self::Reject => "rejected, the last seconds burned",
            Self::ProviderCloses | Self::GivenUp => {
                "given up by the provider, the rest and the bond to the buyer"
            }
            Self::Offline => "the machine comes back with the next block; closed, paid for what was metered",
            Self::Revived => "the new machine has the old disk; both leases closed",
            Self::Left => "closed by the buyer's node, with the reason; nothing is left of the machine",
            Self::Rebid => "closed by the buyer's node; one bid takes its place, however often it starts",
        }
    }
}

/// Whose node is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The one that sells.
    Provider,
    /// The one that buys.
    Buyer,
}

/// One crash.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The place, as `sublet_adapter::failpoint` names it.
    pub failpoint: &'static str,
    /// Whose node.
    pub who: Who,
    /// The trade.
    pub flow: Flow,
    /// Part of the short run.
    pub short: bool,
}

const fn case(who: Who, flow: Flow, failpoint: &'static str) -> Case {
    Case { failpoint, who, flow, short: false }
}

const fn short(case: Case) -> Case {
    Case { short: true, ..case }
}

use Flow::{
    BothAway, Close, Finish, GivenUp, Left, Offline, ProviderAway, ProviderCloses, Rebid, Reject, Revived,
    TopUp, Unsettled, Unsold,
};
use Who::{Buyer, Provider};

/// Every place between two side effects that a trade comes by.
pub const CASES: &[Case] = &[
    case(Provider, Close, "provider.offer.numbered"),
    case(Provider, Close, "provider.offer.published"),
    case(Buyer, Close, "buyer.post.gossiped"),
    case(Buyer, Close, "buyer.post.stored"),
    case(Buyer, Close, "buyer.seek.before"),
    case(Provider, Close, "provider.ask.signed"),
    case(Provider, Close, "provider.ask.promised"),
    case(Buyer, Close, "buyer.seek.accepted"),
    case(Buyer, Close, "buyer.seek.after"),
    case(Buyer, Close, "buyer.settle.before"),
    case(Buyer, Close, "sender.settle.signed"),
    short(case(Buyer, Close, "sender.settle.sent")),
    case(Buyer, Close, "sender.settle.mined"),
    case(Buyer, Close, "buyer.settle.after"),
    case(Buyer, Close, "follower.noted"),
    case(Buyer, Close, "follower.moved"),
    case(Provider, Close, "follower.noted"),
    case(Provider, Close, "follower.moved"),
    case(Buyer, Close, "buyer.note_leased.before"),
    case(Buyer, Close, "buyer.note_leased.after"),
    case(Provider, Close, "provider.note_leased.before"),
    case(Provider, Close, "provider.note_leased.after"),
    case(Provider, Close, "provider.provision.before"),
    case(Provider, Close, "hypervisor.folder"),
    short(case(Provider, Close, "hypervisor.spawned")),
    case(Provider, Close, "hypervisor.booted"),
    case(Provider, Close, "provider.provision.made"),
    case(Provider, Close, "provider.provision.after"),
    case(Provider, Close, "provider.activate.before"),
    case(Provider, Close, "sender.activate.signed"),
    short(case(Provider, Close, "sender.activate.sent")),
    case(Provider, Close, "sender.activate.mined"),
    case(Provider, Close, "provider.activate.after"),
    case(Buyer, Close, "buyer.fetch_access.before"),
    case(Buyer, Close, "buyer.fetch_access.after"),
    case(Provider, Close, "provider.claim.before"),
    case(Provider, Close, "sender.claim.signed"),
    case(Provider, Close, "sender.claim.sent"),
    case(Provider, Close, "sender.claim.mined"),
    case(Provider, Close, "provider.claim.after"),
    case(Buyer, Close, "sender.close.signed"),
    case(Buyer, Close, "sender.close.sent"),
    case(Buyer, Close, "sender.close.mined"),
    case(Provider, Close, "provider.remove.before"),
    case(Provider, Close, "provider.remove.noted"),
    case(Provider, Close, "hypervisor.ended"),
    case(Provider, Close, "provider.remove.after"),
    case(Provider, Close, "provider.conclude.before"),
    case(Provider, Close, "provider.conclude.half"),
    case(Provider, Close, "provider.conclude.after"),
    case(Buyer, Close, "buyer.conclude.before"),
    case(Buyer, Close, "buyer.conclude.half"),
    case(Buyer, Close, "buyer.conclude.after"),
    case(Provider, Finish, "provider.finish.before"),
    case(Provider, Finish, "sender.finish.signed"),
    case(Provider, Finish, "sender.finish.sent"),
    case(Provider, Finish, "sender.finish.mined"),
    short(case(Provider, Finish, "provider.finish.after")),
    case(Provider, Unsettled, "provider.lapse.before"),
    case(Provider, Unsettled, "provider.lapse.after"),
    case(Provider, Unsettled, "provider.retire.before"),
    case(Provider, Unsettled, "provider.retire.after"),
    case(Buyer, Unsettled, "buyer.seek_again.before"),
    case(Buyer, Unsettled, "buyer.seek_again.after"),
    case(Buyer, Unsold, "buyer.expire.before"),
    case(Buyer, Unsold, "buyer.expire.after"),
    case(Buyer, ProviderAway, "buyer.abort.before"),
    case(Buyer, ProviderAway, "sender.abort.signed"),
    case(Buyer, ProviderAway, "sender.abort.sent"),
    case(Buyer, ProviderAway, "sender.abort.mined"),
    case(Buyer, ProviderAway, "buyer.abort.after"),
    case(Provider, BothAway, "provider.abort.before"),
    case(Provider, BothAway, "provider.abort.after"),
    case(Buyer, TopUp, "buyer.top_up.before"),
    case(Buyer, TopUp, "sender.topUp.signed"),
    case(Buyer, TopUp, "sender.topUp.sent"),
    case(Buyer, TopUp, "sender.topUp.mined"),
    case(Buyer, TopUp, "buyer.top_up.after"),
    case(Buyer, Reject, "sender.reject.signed"),
    case(Buyer, Reject, "sender.reject.sent"),
    case(Buyer, Reject, "sender.reject.mined"),
    case(Provider, ProviderCloses, "sender.providerClose.signed"),
    case(Provider, ProviderCloses, "sender.providerClose.sent"),
    case(Provider, ProviderCloses, "sender.providerClose.mined"),
    case(Provider, GivenUp, "provider.give_up.before"),
    case(Provider, GivenUp, "provider.give_up.after"),
    case(Provider, Offline, "provider.pause.before"),
    case(Provider, Offline, "provider.pause.stopped"),
    case(Provider, Offline, "provider.pause.after"),
    case(Provider, Revived, "hypervisor.disk.taken"),
    case(Buyer, Left, "buyer.leave.before"),
    case(Buyer, Left, "buyer.leave.after"),
    case(Buyer, Left, "buyer.end.before"),
    case(Buyer, Left, "buyer.end.after"),
    case(Buyer, Rebid, "buyer.post.gossiped"),
    case(Buyer, Rebid, "buyer.post.stored"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_case_is_there_twice_and_both_parties_have_short_ones() {
        let distinct: BTreeSet<_> =
            CASES.iter().map(|c| (c.failpoint, c.who == Buyer, c.flow.expected())).collect();
        assert_eq!(distinct.len(), CASES.len());
        assert!(CASES.iter().filter(|c| c.short).count() >= 4);
        for who in [Provider, Buyer] {
            assert!(CASES.iter().any(|c| c.short && c.who == who), "no short case of {who:?}");
        }
    }
}
