// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../interfaces/IMarket.sol";

/// @title The half of a lease that moves, in one word
/// @dev provider 160 | paidUntil 32 | fundedUntil 32 | bondSeconds 24 | flags 8, from the lowest bit.
/// paidUntil: activateBy until the lease is activated; then the second up to which the provider was paid.
/// fundedUntil: duration in seconds until the lease is activated; then the second up to which the escrow pays.
/// flags: bits 0-1 state, bit 2 burn, bits 3-5 reason. Never zero again once written, so that an id is used once.
type LeaseRun is uint256;

using LeaseRunLibrary for LeaseRun global;

/// @title The fields of a LeaseRun, and its steps
library LeaseRunLibrary {
    uint256 private constant PAID_SHIFT = 160;
    uint256 private constant FUNDED_SHIFT = 192;
    uint256 private constant BOND_SHIFT = 224;
    uint256 private constant STATE_SHIFT = 248;
    uint256 private constant BURN_BIT = 2 ** 250;
    uint256 private constant REASON_SHIFT = 251;

    uint256 private constant STATE_BITS = 0x03;
    uint256 private constant TIMES_MASK = uint256(type(uint64).max) << PAID_SHIFT;
    uint256 private constant STATE_MASK = STATE_BITS << STATE_SHIFT;

    /// @notice A lease that is being opened.
    function opened(address provider_, uint32 activateBy, uint32 duration, uint24 bondSeconds_, bool burn_)
        internal
        pure
        returns (LeaseRun)
    {
        uint256 word = uint160(provider_) | (uint256(bondSeconds_) << BOND_SHIFT);
        if (burn_) word |= BURN_BIT;
        return withState(withTimes(LeaseRun.wrap(word), activateBy, duration), IMarket.LeaseState.Opened);
    }

    /// @notice The lease, active since `start`. Reverts where its end would not fit.
    function activated(LeaseRun r, uint32 start) internal pure returns (LeaseRun) {
        return withState(withTimes(r, start, start + fundedUntil(r)), IMarket.LeaseState.Active);
    }

    /// @notice The lease, paid up to `until`.
    function paid(LeaseRun r, uint32 until) internal pure returns (LeaseRun) {
        return withTimes(r, until, fundedUntil(r));
    }

    /// @notice The lease, funded up to `until`.
    function funded(LeaseRun r, uint32 until) internal pure returns (LeaseRun) {
        return withTimes(r, paidUntil(r), until);
    }

    /// @notice The lease, or a bid that never became one (zero), over at `endedAt`.
    function ended(LeaseRun r, uint32 endedAt, IMarket.EndReason reason_) internal pure returns (LeaseRun) {
        uint256 word = LeaseRun.unwrap(withState(withTimes(r, endedAt, endedAt), IMarket.LeaseState.Ended));
        return LeaseRun.wrap(word | (uint256(reason_) << REASON_SHIFT));
    }

    /// @notice Whether the provider's pay is burned.
    function burn(LeaseRun r) internal pure returns (bool) {
        return LeaseRun.unwrap(r) & BURN_BIT != 0;
    }

    /// @notice Where the lease is in its life; None for zero.
    function state(LeaseRun r) internal pure returns (IMarket.LeaseState) {
        return IMarket.LeaseState((LeaseRun.unwrap(r) >> STATE_SHIFT) & STATE_BITS);
    }

    /// @notice How it ended; None before that.
    function reason(LeaseRun r) internal pure returns (IMarket.EndReason) {
        return IMarket.EndReason(LeaseRun.unwrap(r) >> REASON_SHIFT);
    }

    // Cutting a word into its fields is what the casts below are for.
    // forge-lint: disable-start(unsafe-typecast)

    /// @notice Who provides.
    function provider(LeaseRun r) internal pure returns (address) {
        return address(uint160(LeaseRun.unwrap(r)));
    }

    /// @notice Opened: activateBy. Then: the second up to which the provider was paid.
    function paidUntil(LeaseRun r) internal pure returns (uint32) {
        return uint32(LeaseRun.unwrap(r) >> PAID_SHIFT);
    }

    /// @notice Opened: duration in seconds. Then: the second up to which the escrow pays.
    function fundedUntil(LeaseRun r) internal pure returns (uint32) {
        return uint32(LeaseRun.unwrap(r) >> FUNDED_SHIFT);
    }

    /// @notice The bond, in seconds of the rate.
    function bondSeconds(LeaseRun r) internal pure returns (uint24) {
        return uint24(LeaseRun.unwrap(r) >> BOND_SHIFT);
    }

    // forge-lint: disable-end(unsafe-typecast)

    function withTimes(LeaseRun r, uint32 paid_, uint32 funded_) private pure returns (LeaseRun) {
        uint256 rest = LeaseRun.unwrap(r) & ~TIMES_MASK;
        return LeaseRun.wrap(rest | (uint256(paid_) << PAID_SHIFT) | (uint256(funded_) << FUNDED_SHIFT));
    }

    function withState(LeaseRun r, IMarket.LeaseState state_) private pure returns (LeaseRun) {
        return LeaseRun.wrap((LeaseRun.unwrap(r) & ~STATE_MASK) | (uint256(state_) << STATE_SHIFT));
    }
}
