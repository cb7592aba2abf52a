// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title Exponential decay in fixed point
/// @notice Whole powers of a factor in 0..1, all rounded down, so that Rust can repeat them bit by bit.
library Decay {
    /// @notice The factor 1 in fixed point: 18 decimals.
    uint256 internal constant ONE = 1e18;

    /// @notice `base`^`exponent` by squaring, each product rounded down. Monotone in `base`.
    function pow(uint256 base, uint256 exponent) internal pure returns (uint256 result) {
        result = ONE;
        while (exponent != 0) {
            // Each product is rounded down on its own: that is the definition, which Rust repeats.
            // slither-disable-next-line divide-before-multiply
            if (exponent & 1 != 0) result = result * base / ONE;
            base = base * base / ONE;
            exponent >>= 1;
        }
    }

    /// @notice The largest factor that is down to one half after `halfLife` steps, by bisection.
    function factor(uint256 halfLife) internal pure returns (uint256 low) {
        uint256 high = ONE;
        while (low < high) {
            uint256 middle = (low + high + 1) / 2;
            if (pow(middle, halfLife) <= ONE / 2) low = middle;
            else high = middle - 1;
        }
    }
}
