// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../interfaces/IMarket.sol";

/// @title The flags byte of a lease
/// @notice Bits 0-1 state, bit 2 burn, bits 3-5 reason. Zero means that there is no lease.
library LeaseFlags {
    uint8 private constant STATE_MASK = 0x03;
    uint8 private constant BURN_BIT = 0x04;
    uint8 private constant REASON_SHIFT = 3;

    /// @notice The flags of a lease that settle has just opened.
    function opened(bool burn_) internal pure returns (uint8) {
        return uint8(IMarket.LeaseState.Opened) | (burn_ ? BURN_BIT : 0);
    }

    /// @notice The same lease once it is active.
    function activated(uint8 flags) internal pure returns (uint8) {
        return (flags & ~STATE_MASK) | uint8(IMarket.LeaseState.Active);
    }

    /// @notice The same lease, or a bid without one (flags 0), once it has ended.
    function ended(uint8 flags, IMarket.EndReason reason_) internal pure returns (uint8) {
        return (flags & BURN_BIT) | uint8(IMarket.LeaseState.Ended) | (uint8(reason_) << REASON_SHIFT);
    }

    /// @notice The state in the flags.
    function state(uint8 flags) internal pure returns (IMarket.LeaseState) {
        return IMarket.LeaseState(flags & STATE_MASK);
    }

    /// @notice The reason in the flags; None before the end.
    function reason(uint8 flags) internal pure returns (IMarket.EndReason) {
        return IMarket.EndReason(flags >> REASON_SHIFT);
    }

    /// @notice Whether the provider's pay is burned.
    function burn(uint8 flags) internal pure returns (bool) {
        return flags & BURN_BIT != 0;
    }
}
