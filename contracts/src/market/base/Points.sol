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
        AccountView memory v = _view(maker);
        return (v.free, v.epoch, v.points);
    }

    /// @inheritdoc IMarket
    function accounts(address[] calldata makers) external view returns (AccountView[] memory views) {
        views = new AccountView[](makers.length);
        for (uint256 i = 0; i < makers.length; i++) {
            views[i] = _view(makers[i]);
        }
    }

    function _view(address maker) private view returns (AccountView memory) {
        Account a = _makers[maker].account;
        return AccountView(a.free(), a.epoch(), _decayed(a));
    }

    /// @dev The account's points today.
    function _decayed(Account a) internal view returns (uint64) {
        uint64 points = a.points();
        if (points == 0) return 0;
        uint256 elapsedDays = block.timestamp / 1 days - a.day();
        if (elapsedDays == 0) return points;
        return (points * Decay.pow(DAILY_FACTOR, elapsedDays) / Decay.ONE).toUint64();
    }

    /// @dev The account after decay, plus `fee`, minus `bondLost` (base units, whole points of each), as of today.
    function _scored(Account a, uint256 fee, uint256 bondLost) internal view returns (Account) {
        uint256 points = _decayed(a) + fee / BASE_UNITS_PER_POINT;
        uint256 cut = bondLost / BASE_UNITS_PER_POINT;
        if (points > type(uint64).max) points = type(uint64).max;
        // forge-lint: disable-next-line(unsafe-typecast)
        uint64 left = points > cut ? uint64(points - cut) : 0;
        return a.withPoints(left, (block.timestamp / 1 days).toUint32());
    }
}
