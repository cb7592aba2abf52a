//! The enums of `IMarket.sol`, which the ABI, and so the generated structs and events, carry as `u8`.

use sublet_market::{EndReason, LeaseState};

/// A number that is no variant: the deployed Market is of another version than these bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} is no {name} known here: use the release that belongs to the deployed Market")]
pub struct UnknownVariant {
    /// The enum's name.
    pub name: &'static str,
    /// The number that came from the chain.
    pub value: u8,
}

/// Where a lease is in its life.
///
/// # Errors
/// [`UnknownVariant`].
pub fn lease_state(value: u8) -> Result<LeaseState, UnknownVariant> {
    Ok(match value {
        0 => LeaseState::None,
        1 => LeaseState::Opened,
        2 => LeaseState::Active,
        3 => LeaseState::Ended,
        _ => return Err(UnknownVariant { name: "LeaseState", value }),
    })
}

/// How a lease, or a bid that never became one, ended; `None` while it has not.
///
/// # Errors
/// [`UnknownVariant`].
pub fn end_reason(value: u8) -> Result<Option<EndReason>, UnknownVariant> {
    Ok(Some(match value {
        0 => return Ok(None),
        1 => EndReason::Cancelled,
        2 => EndReason::Aborted,
        3 => EndReason::Closed,
        4 => EndReason::Rejected,
        5 => EndReason::ProviderClosed,
        6 => EndReason::Finished,
        _ => return Err(UnknownVariant { name: "EndReason", value }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_contract_has_its_variant() {
        let reasons: Vec<_> = (1..=6).map(|value| end_reason(value).unwrap().unwrap()).collect();
        assert_eq!(reasons, EndReason::ALL);
        assert_eq!(end_reason(0), Ok(None));
        assert_eq!(lease_state(2), Ok(LeaseState::Active));
    }

    #[test]
    fn an_unknown_number_is_named() {
        assert_eq!(lease_state(4), Err(UnknownVariant { name: "LeaseState", value: 4 }));
        assert_eq!(end_reason(7), Err(UnknownVariant { name: "EndReason", value: 7 }));
    }
}
