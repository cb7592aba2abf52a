//! The enums of `IMarket.sol`, which the ABI, and so the generated structs and events, carry as `u8`.

use std::fmt;

/// A number that is no variant: the deployed Market is of another version than these bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} is no {name} known here: use the release that belongs to the deployed Market")]
pub struct UnknownVariant {
    /// The enum's name.
    pub name: &'static str,
    /// The number that came from the chain.
    pub value: u8,
}

macro_rules! chain_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $value:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $value,)+
        }

        impl $name {
            /// The stable snake_case name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl TryFrom<u8> for $name {
            type Error = UnknownVariant;

            fn try_from(value: u8) -> Result<Self, UnknownVariant> {
                match value {
                    $($value => Ok(Self::$variant),)+
                    _ => Err(UnknownVariant { name: stringify!($name), value }),
                }
            }
        }
    };
}

chain_enum! {
    /// Where a lease is in its life.
    LeaseState {
        /// No lease has this id.
        None = 0 "none",
        /// Escrow and bond are locked; the provider has until `activateBy`.
        Opened = 1 "opened",
        /// Billing runs.
        Active = 2 "active",
        /// Over; the id is used up.
        Ended = 3 "ended",
    }
}

chain_enum! {
    /// How a lease, or a bid that never became one, ended.
    EndReason {
        /// It has not.
        None = 0 "none",
        /// The buyer cancelled the bid before it was settled.
        Cancelled = 1 "cancelled",
        /// Never activated: escrow and bond went to the buyer.
        Aborted = 2 "aborted",
        /// Closed by the buyer.
        Closed = 3 "closed",
        /// Rejected by the buyer: the last accrual was burned.
        Rejected = 4 "rejected",
        /// Closed early by the provider: the bond went to the buyer.
        ProviderClosed = 5 "provider_closed",
        /// The funds ended.
        Finished = 6 "finished",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_go_both_ways() {
        for value in 0..=6 {
            let reason = EndReason::try_from(value).unwrap();
            assert_eq!(reason as u8, value);
        }
        assert_eq!(LeaseState::try_from(2), Ok(LeaseState::Active));
        assert_eq!(EndReason::ProviderClosed.to_string(), "provider_closed");
    }

    #[test]
    fn an_unknown_number_is_named() {
        let error = LeaseState::try_from(4).unwrap_err();
        assert_eq!(error, UnknownVariant { name: "LeaseState", value: 4 });
    }
}
