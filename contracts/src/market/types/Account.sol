// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title One maker in one word, so that each call reads and writes it once
/// @dev free 96 | epoch 32 | points 64 | day 32, from the lowest bit. All zero for a maker who was never here.
/// free: base units that are not locked. epoch: bids of other epochs are void. points: as of `day`.
/// day: days since 1970 at the last write of the points.
type Account is uint256;

using AccountLibrary for Account global;

/// @title The fields of an Account
library AccountLibrary {
    uint256 private constant EPOCH_SHIFT = 96;
    uint256 private constant POINTS_SHIFT = 128;
    uint256 private constant DAY_SHIFT = 192;
    uint256 private constant FREE_MASK = type(uint96).max;
    uint256 private constant EPOCH_MASK = uint256(type(uint32).max) << EPOCH_SHIFT;
    uint256 private constant POINTS_AND_DAY_MASK = uint256(type(uint96).max) << POINTS_SHIFT;

    // Cutting a word into its fields is what the casts below are for.
    // forge-lint: disable-start(unsafe-typecast)

    /// @notice Base units that are not locked.
    function free(Account a) internal pure returns (uint96) {
        return uint96(Account.unwrap(a));
    }

    /// @notice The epoch that bids must carry.
    function epoch(Account a) internal pure returns (uint32) {
        return uint32(Account.unwrap(a) >> EPOCH_SHIFT);
    }

    /// @notice Points as of the day of their last write.
    function points(Account a) internal pure returns (uint64) {
        return uint64(Account.unwrap(a) >> POINTS_SHIFT);
    }

    /// @notice Days since 1970 at the last write of the points.
    function day(Account a) internal pure returns (uint32) {
        return uint32(Account.unwrap(a) >> DAY_SHIFT);
    }

    // forge-lint: disable-end(unsafe-typecast)

    /// @notice The account with another free balance.
    function withFree(Account a, uint96 free_) internal pure returns (Account) {
        return Account.wrap((Account.unwrap(a) & ~FREE_MASK) | free_);
    }

    /// @notice The account with another epoch.
    function withEpoch(Account a, uint32 epoch_) internal pure returns (Account) {
        return Account.wrap((Account.unwrap(a) & ~EPOCH_MASK) | (uint256(epoch_) << EPOCH_SHIFT));
    }

    /// @notice The account with other points, as of `day_`.
    function withPoints(Account a, uint64 points_, uint32 day_) internal pure returns (Account) {
        uint256 rest = Account.unwrap(a) & ~POINTS_AND_DAY_MASK;
        return Account.wrap(rest | (uint256(points_) << POINTS_SHIFT) | (uint256(day_) << DAY_SHIFT));
    }
}
