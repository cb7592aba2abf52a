// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title Points as real numbers, and how far from them the Market's whole numbers may be
/// @dev A real number has 18 decimals here, the factor of a day 36. The Market may differ from it by the sum of:
///  - a point too few for each decay, and one for each fee that is no whole number of points: both are rounded down;
///  - a point too many for each lost bond that is no whole number of points: what is taken off is rounded down;
///  - either way, 2 * 10^-18 of the points for each day of decay: the Market's daily factor has 18 decimals, and so has
///    each product on the way to its power.
/// A floor at zero moves two numbers closer, never apart. This model's own rounding, below 10^-15 of a point, is lost in
/// the first two: a part of a point is at least 10^-9 away from the next.
abstract contract PointsModel {
    struct Score {
        /// Points, with 18 decimals, as of `day`.
        uint256 amount;
        uint256 day;
        /// By how much the Market may be above or below that, with 18 decimals.
        uint256 above;
        uint256 below;
    }

    uint256 internal constant POINT = 1e18;
    uint256 internal constant FEE_OF_A_POINT = 1e9;
    /// @dev Error of the Market's power of the daily factor, in 10^-18 for each day; `Differential.t.sol` tries it.
    uint256 internal constant ERROR_OF_A_DAY = 2;
    uint256 private constant ONE = 1e36;

    uint256 private immutable HALF_LIFE;
    uint256 private immutable FACTOR_OF_A_DAY;

    mapping(address maker => Score) private scores;

    constructor(uint256 halfLifeDays) {
        HALF_LIFE = halfLifeDays;
        FACTOR_OF_A_DAY = rootOfHalf(halfLifeDays);
    }

    /// @notice The model's points of `maker` today and the bounds of the Market's, all with 18 decimals.
    function pointsOfModel(address maker) public view returns (uint256 amount, uint256 least, uint256 most) {
        Score memory s = aged(scores[maker]);
        return (s.amount, s.amount > s.below ? s.amount - s.below : 0, s.amount + s.above);
    }

    /// @notice Books a payment's fee and a lost bond, in base units.
    function score(address maker, uint256 fee, uint256 bondLost) internal {
        Score memory s = aged(scores[maker]);
        s.amount += fee * POINT / FEE_OF_A_POINT;
        if (fee % FEE_OF_A_POINT != 0) s.below += POINT;
        uint256 cut = bondLost * POINT / FEE_OF_A_POINT;
        if (bondLost % FEE_OF_A_POINT != 0) s.above += POINT;
        s.amount = s.amount > cut ? s.amount - cut : 0;
        scores[maker] = s;
    }

    /// @notice What is left of 1 after `elapsed` days, with 36 decimals.
    function remains(uint256 elapsed) internal view returns (uint256) {
        return power(FACTOR_OF_A_DAY, elapsed % HALF_LIFE) >> (elapsed / HALF_LIFE);
    }

    function aged(Score memory s) private view returns (Score memory) {
        uint256 elapsed = block.timestamp / 1 days - s.day;
        s.day += elapsed;
        if (elapsed == 0 || s.amount + s.above == 0) return s;
        uint256 off = (s.amount + s.above) * ERROR_OF_A_DAY * elapsed / 1e18 + 1;
        s.amount = s.amount * remains(elapsed) / ONE;
        s.above += off;
        s.below += POINT + off;
        return s;
    }

    /// @dev 2^(-1/n) by bisection, with 36 decimals.
    function rootOfHalf(uint256 n) private pure returns (uint256 low) {
        uint256 high = ONE;
        while (low + 1 < high) {
            uint256 middle = (low + high) / 2;
            if (power(middle, n) <= ONE / 2) low = middle;
            else high = middle;
        }
    }

    /// @dev factor^n, 36 decimals each.
    function power(uint256 factor, uint256 n) private pure returns (uint256) {
        if (n == 0) return ONE;
        uint256 half = power(factor, n / 2);
        uint256 even = half * half / ONE;
        return n % 2 == 0 ? even : even * factor / ONE;
    }
}
