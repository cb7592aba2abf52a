// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title The half of a lease that only activation changes, in one word
/// @dev buyer 160 | rate 64 | maxEnd 32, from the lowest bit. rate: base units per second. maxEnd: maxDuration in seconds
/// until the lease is activated; then the second beyond which no top-up goes.
type LeaseTerms is uint256;

using LeaseTermsLibrary for LeaseTerms global;

/// @title The fields of LeaseTerms
library LeaseTermsLibrary {
    uint256 private constant RATE_SHIFT = 160;
    uint256 private constant MAX_END_SHIFT = 224;

    /// @notice The terms of a lease that is being opened.
    function opened(address buyer_, uint64 rate_, uint32 maxDuration) internal pure returns (LeaseTerms) {
        return
            LeaseTerms.wrap(uint160(buyer_) | (uint256(rate_) << RATE_SHIFT) | (uint256(maxDuration) << MAX_END_SHIFT));
    }

    /// @notice The terms once the lease was activated at `start`. Reverts where maxEnd would not fit.
    function activated(LeaseTerms t, uint32 start) internal pure returns (LeaseTerms) {
        return opened(buyer(t), rate(t), maxEnd(t) + start);
    }

    // Cutting a word into its fields is what the casts below are for.
    // forge-lint: disable-start(unsafe-typecast)

    /// @notice Who pays.
    function buyer(LeaseTerms t) internal pure returns (address) {
        return address(uint160(LeaseTerms.unwrap(t)));
    }

    /// @notice Base units per second.
    function rate(LeaseTerms t) internal pure returns (uint64) {
        return uint64(LeaseTerms.unwrap(t) >> RATE_SHIFT);
    }

    /// @notice Opened: maxDuration in seconds. Then: the second beyond which no top-up goes.
    function maxEnd(LeaseTerms t) internal pure returns (uint32) {
        return uint32(LeaseTerms.unwrap(t) >> MAX_END_SHIFT);
    }

    // forge-lint: disable-end(unsafe-typecast)
}
