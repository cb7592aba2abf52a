// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import { Decay } from "../libraries/Decay.sol";
import { IMarket } from "../interfaces/IMarket.sol";
import { Account } from "../types/Account.sol";
import { Accounts } from "./Accounts.sol";

/// @title Reputation: earned by burned fees, lost with the bond, halved by time
/// @dev A point is 10^9 base units of burned fee, so a faked point costs exactly that. Wash trading is priced, not
/// prevented.
abstract contract Points is Accounts {
    using SafeCast for uint256;

    uint256 private constant BASE_UNITS_PER_POINT = 1e9;

    /// @dev What remains of a point after a day, in Decay's fixed point.
    uint256 private immutable DAILY_FACTOR;

    constructor() {
        DAILY_FACTOR = Decay.factor(HALF_LIFE_DAYS);
    }

    /// @inheritdoc IMarket
    function account(address maker) external view returns (uint96 free, uint32 epoch, uint64 points) {
        Account a = _accounts[maker];
        return (a.free(), a.epoch(), _decayed(a));
    }

    /// @dev The account's points today.
    function _decayed(Account a) internal view returns (uint64) {
        uint64 points = a.points();
        uint256 elapsedDays = block.timestamp / 1 days - a.day();
        if (points == 0 || elapsedDays == 0) return points;
        return (points * Decay.pow(DAILY_FACTOR, elapsedDays) / Decay.ONE).toUint64();
    }

    /// @dev The account after decay, plus `fee`, minus `bondLost` (base units, whole points of each), as of today.
    function _scored(address provider, Account a, uint256 fee, uint256 bondLost) internal returns (Account) {
        uint256 points = _decayed(a) + fee / BASE_UNITS_PER_POINT;
        if (points > type(uint64).max) points = type(uint64).max;
        uint256 cut = bondLost / BASE_UNITS_PER_POINT;
        uint64 left = points > cut ? (points - cut).toUint64() : 0;
        emit PointsChanged(provider, left);
        return a.withPoints(left, (block.timestamp / 1 days).toUint32());
    }
}
