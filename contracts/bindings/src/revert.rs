//! The bytes of a revert, as the name of the failing rule and one line for people.

use alloy::primitives::U256;
use alloy::primitives::utils::format_ether;
use alloy::sol_types::{Panic, Revert, SolError, SolInterface};

use crate::CloudToken::CloudTokenErrors;
use crate::Market::MarketErrors;
use crate::lease_state;

/// Longest reason of a contract that is shown, in characters: whoever answers for the chain chooses it.
const MAX_REASON_CHARS: usize = 300;

/// Why a contract refused a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {text}")]
pub struct MarketRevert {
    /// The error's name in `IMarket.sol` (or in the token), stable.
    pub name: &'static str,
    /// One line with the values.
    pub text: String,
}

/// Decodes revert data of the Market, of the token behind it, and Solidity's own `Error` and `Panic`. `None` for data
/// that neither contract can have produced, and for an empty revert.
pub fn decode_revert(data: &[u8]) -> Option<MarketRevert> {
    if let Ok(error) = MarketErrors::abi_decode(data) {
        let name = MarketErrors::name_by_selector(error.selector())?;
        return Some(MarketRevert { name, text: market_text(error) });
    }
    if let Ok(error) = CloudTokenErrors::abi_decode(data) {
        let name = CloudTokenErrors::name_by_selector(error.selector())?;
        return Some(MarketRevert { name, text: token_text(&error) });
    }
    if let Ok(Revert { reason }) = Revert::abi_decode(data) {
        return Some(MarketRevert { name: "Error", text: plain(&reason) });
    }
    let panic = Panic::abi_decode(data).ok()?;
    Some(MarketRevert { name: "Panic", text: panic.to_string() })
}

/// A contract's or an RPC's own words on one line of bearable length, fit for a terminal.
fn plain(text: &str) -> String {
    text.chars().take(MAX_REASON_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Base units as CTK, without trailing zeros.
fn ctk(amount: U256) -> String {
    let text = format_ether(amount);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    format!("{short} CTK")
}

fn state(value: u8) -> String {
    lease_state(value).map_or_else(|unknown| unknown.to_string(), |state| state.to_string())
}

/// Splits by area, in the order of `IMarket.sol`.
fn market_text(error: MarketErrors) -> String {
    use MarketErrors as E;
    match error {
        E::FeeOutOfRange(e) => format!("fee of {} bps: choose {} to {}", e.feeBps, e.min, e.max),
        E::HoldOutOfRange(e) => format!("hold of {} s: choose {} to {}", e.hold, e.min, e.max),
        E::NoticeOutOfRange(e) => format!("notice of {} s: choose at most {}", e.notice, e.max),
        E::HalfLifeOutOfRange(e) => {
            format!("half-life of {} days: choose {} to {}", e.halfLifeDays, e.min, e.max)
        }
        E::TokenWithoutCode(e) => format!("no contract lives at {}: deploy the token first", e.token),
        E::ZeroAmount(_) => "the amount is zero".to_owned(),
        E::ZeroAddress(_) => "the zero address can be neither maker nor operator".to_owned(),
        E::InsufficientFree(e) => {
            format!("{} has {} free, {} needed: deposit first", e.maker, ctk(e.free), ctk(e.needed))
        }
        E::NothingToFlush(_) => "nothing waits to be burned".to_owned(),
        E::ReentrancyGuardReentrantCall(_) => "the token called back".to_owned(),
        E::SafeCastOverflowedUintDowncast(e) => {
            format!("{} does not fit into {} bits", e.value, e.bits)
        }
        E::SafeERC20FailedOperation(e) => format!("the token {} refused the transfer", e.token),
        other => order_text(other),
    }
}

fn order_text(error: MarketErrors) -> String {
    use MarketErrors as E;
    match error {
        E::NotSettler(e) => format!("{} is not the bid's settler {} or its operator", e.caller, e.settler),
        E::WrongBid(e) => format!("the accept is for bid {}, this bid is {}", e.accepted, e.bid),
        E::LeaseExists(e) => {
            format!("bid {} was used before, its lease is {}: sign a new bid", e.id, state(e.state))
        }
        E::BidExpired(e) => format!("the bid was valid until {}, it is {}", e.validUntil, e.nowSeconds),
        E::AcceptExpired(e) => {
            format!("the accept was to be settled by {}, it is {}: ask again", e.settleBy, e.nowSeconds)
        }
        E::AcceptTooLong(e) => {
            format!("the accept runs until {}, {} is the latest allowed now", e.settleBy, e.latest)
        }
        E::SameParty(e) => format!("{} is buyer and provider", e.maker),
        E::EpochMismatch(e) => {
            format!("the bid is of epoch {}, the buyer's is {}: sign again", e.bidEpoch, e.accountEpoch)
        }
        E::RateZero(_) => "the accept's rate is zero".to_owned(),
        E::RateTooHigh(e) => {
            format!("the rate {} is above the bid's {} (base units per second)", e.rate, e.maxRate)
        }
        other => terms_text(other),
    }
}

fn terms_text(error: MarketErrors) -> String {
    use MarketErrors as E;
    match error {
        E::BondTooShort(e) => {
            format!("a bond of {} s, the bid wants {} s", e.bondSeconds, e.minBondSeconds)
        }
        E::BondTooLong(e) => format!("a bond of {} s, at most {} s are allowed", e.bondSeconds, e.max),
        E::DurationTooShort(e) => {
            format!("a duration of {} s, at least {} s are needed", e.duration, e.min)
        }
        E::DurationTooLong(e) => {
            format!("a duration of {} s, the accept allows {} s", e.duration, e.maxDuration)
        }
        E::MaxDurationTooLong(e) => {
            format!("a longest duration of {} s, at most {} s are allowed", e.maxDuration, e.max)
        }
        E::ActivateWithinTooLong(e) => {
            format!("{} s to activate, at most {} s are allowed", e.activateWithin, e.max)
        }
        E::PointsTooLow(e) => format!("the provider has {} points, the bid wants {}", e.points, e.minPoints),
        E::BuyerFunds(e) => format!(
            "buyer {} has {} free, the lease locks {}: deposit first",
            e.buyer,
            ctk(e.free),
            ctk(e.needed)
        ),
        E::ProviderFunds(e) => format!(
            "provider {} has {} free, the bond is {}: deposit first",
            e.provider,
            ctk(e.free),
            ctk(e.needed)
        ),
        E::BidSignatureInvalid(e) => {
            format!("the bid is signed by {}, who cannot sign for buyer {}", signer(e.signer), e.buyer)
        }
        E::AcceptSignatureInvalid(e) => format!(
            "the accept is signed by {}, who cannot sign for provider {}",
            signer(e.signer),
            e.provider
        ),
        other => lease_text(other),
    }
}

fn signer(address: alloy::primitives::Address) -> String {
    if address.is_zero() { "nobody (malformed signature)".to_owned() } else { address.to_string() }
}

fn lease_text(error: MarketErrors) -> String {
    use MarketErrors as E;
    match error {
        E::WrongState(e) => {
            format!("lease {} is {}, the call needs it {}", e.id, state(e.state), state(e.needed))
        }
        E::NotBuyer(e) => format!("{} is not the buyer {} or its operator", e.caller, e.buyer),
        E::NotProvider(e) => format!("{} is not the provider {} or its operator", e.caller, e.provider),
        E::ActivationLate(e) => {
            format!("activation was possible until {}, it is {}", e.activateBy, e.nowSeconds)
        }
        E::AbortEarly(e) => {
            format!("only the provider may abort until {}, it is {}", e.activateBy, e.nowSeconds)
        }
        E::LeaseOver(e) => format!("the lease was funded until {}, it is {}", e.fundedUntil, e.nowSeconds),
        E::ZeroSeconds(_) => "a top-up of zero seconds".to_owned(),
        E::TopUpTooLong(e) => {
            format!("funded until {} would be beyond the lease's end {}", e.fundedUntil, e.maxEnd)
        }
        E::RejectLate(e) => format!("reject was possible before {}, it is {}", e.deadline, e.nowSeconds),
        E::FinishEarly(e) => format!("finish is possible from {}, it is {}", e.earliest, e.nowSeconds),
        E::NothingToClaim(_) => "no lease has seconds to pay yet".to_owned(),
        // The areas above have taken all others; a new error of the ABI lands here until it has its line.
        other => format!("{other:?}"),
    }
}

fn token_text(error: &CloudTokenErrors) -> String {
    use CloudTokenErrors as E;
    match error {
        E::ERC20InsufficientBalance(e) => {
            format!("{} has {} in its wallet, {} needed", e.sender, ctk(e.balance), ctk(e.needed))
        }
        E::ERC20InsufficientAllowance(e) => {
            format!("{} may move {}, {} needed: approve first", e.spender, ctk(e.allowance), ctk(e.needed))
        }
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256};
    use alloy::sol_types::Panic;

    use super::*;
    use crate::{CloudToken, Market};

    /// Every error of the Market, with all values zero.
    fn all_market_errors() -> impl Iterator<Item = Vec<u8>> {
        MarketErrors::selectors().map(|selector| [selector.as_slice(), &[0; 32 * 4]].concat())
    }

    #[test]
    fn every_error_of_the_market_has_its_own_line() {
        let mut seen = 0;
        for data in all_market_errors() {
            let revert = decode_revert(&data).unwrap();
            assert!(!revert.text.contains('{'), "{} has only its debug form: {}", revert.name, revert.text);
            assert!(!revert.text.contains('\n'), "{}", revert.name);
            seen += 1;
        }
        assert!(seen > 40, "only {seen} errors");
    }

    #[test]
    fn the_values_are_in_the_line() {
        let error = Market::BuyerFunds {
            buyer: Address::repeat_byte(7),
            free: U256::from(1_500_000_000_000_000_000_u64),
            needed: U256::from(2_000_000_000_000_000_000_u64),
        };
        let revert = decode_revert(&error.abi_encode()).unwrap();
        assert_eq!(revert.name, "BuyerFunds");
        assert!(revert.text.contains("has 1.5 CTK free, the lease locks 2 CTK"), "{}", revert.text);
    }

    #[test]
    fn states_are_words() {
        let error = Market::WrongState { id: B256::ZERO, state: 1, needed: 2 };
        let revert = decode_revert(&error.abi_encode()).unwrap();
        assert!(revert.text.ends_with("is opened, the call needs it active"), "{}", revert.text);
    }

    #[test]
    fn errors_of_the_token_come_through() {
        let error = CloudToken::ERC20InsufficientAllowance {
            spender: Address::ZERO,
            allowance: U256::ZERO,
            needed: U256::from(10).pow(U256::from(18)),
        };
        let revert = decode_revert(&error.abi_encode()).unwrap();
        assert_eq!(revert.name, "ERC20InsufficientAllowance");
        assert!(revert.text.ends_with("0 CTK, 1 CTK needed: approve first"), "{}", revert.text);
    }

    #[test]
    fn plain_reverts_and_panics_have_names() {
        let revert = decode_revert(&Revert::from("no").abi_encode()).unwrap();
        assert_eq!((revert.name, revert.text.as_str()), ("Error", "no"));
        let long = format!("two\nlines, \u{1b}[31mred{}", "x".repeat(1_000));
        let revert = decode_revert(&Revert::from(long.as_str()).abi_encode()).unwrap();
        assert!(revert.text.starts_with("two lines,  [31mredx"), "{}", revert.text);
        assert_eq!(revert.text.len(), MAX_REASON_CHARS);
        let panic = Panic { code: U256::from(0x11) };
        assert_eq!(decode_revert(&panic.abi_encode()).unwrap().name, "Panic");
    }

    #[test]
    fn foreign_data_is_none() {
        assert_eq!(decode_revert(&[]), None);
        assert_eq!(decode_revert(&[1, 2, 3, 4, 5]), None);
    }
}
