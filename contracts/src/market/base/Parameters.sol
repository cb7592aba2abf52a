// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import { IMarket } from "../interfaces/IMarket.sol";

/// @title The constants of a deployment, checked once
abstract contract Parameters is IMarket {
    uint16 private constant MIN_FEE_BPS = 10;
    uint16 private constant MAX_FEE_BPS = 500;
    uint32 private constant MIN_HOLD = 60;
    uint32 private constant MAX_HOLD = 3600;
    uint32 private constant MAX_NOTICE = 600;
    uint16 private constant MIN_HALF_LIFE_DAYS = 7;
    uint16 private constant MAX_HALF_LIFE_DAYS = 365;
    uint256 private constant BPS = 10_000;

    /// @inheritdoc IMarket
    IERC20 public immutable token;

    uint16 internal immutable FEE_BPS;
    uint32 internal immutable HOLD;
    uint32 internal immutable NOTICE;
    uint16 internal immutable HALF_LIFE_DAYS;

    constructor(IERC20 token_, Params memory p) {
        if (address(token_).code.length == 0) revert TokenWithoutCode(address(token_));
        if (p.feeBps < MIN_FEE_BPS || p.feeBps > MAX_FEE_BPS) {
            revert FeeOutOfRange(p.feeBps, MIN_FEE_BPS, MAX_FEE_BPS);
        }
        if (p.hold < MIN_HOLD || p.hold > MAX_HOLD) revert HoldOutOfRange(p.hold, MIN_HOLD, MAX_HOLD);
        uint32 maxNotice = p.hold < MAX_NOTICE ? p.hold : MAX_NOTICE;
        if (p.notice > maxNotice) revert NoticeOutOfRange(p.notice, maxNotice);
        if (p.halfLifeDays < MIN_HALF_LIFE_DAYS || p.halfLifeDays > MAX_HALF_LIFE_DAYS) {
            revert HalfLifeOutOfRange(p.halfLifeDays, MIN_HALF_LIFE_DAYS, MAX_HALF_LIFE_DAYS);
        }
        token = token_;
        FEE_BPS = p.feeBps;
        HOLD = p.hold;
        NOTICE = p.notice;
        HALF_LIFE_DAYS = p.halfLifeDays;
    }

    /// @inheritdoc IMarket
    function params() external view returns (Params memory) {
        return Params({ feeBps: FEE_BPS, hold: HOLD, notice: NOTICE, halfLifeDays: HALF_LIFE_DAYS });
    }

    /// @dev The burned part of `rate`, base units per second, rounded up: never more than the rate.
    function _feePerSecond(uint256 rate) internal view returns (uint256) {
        // A rate has 64 bits and FEE_BPS 16.
        unchecked {
            return (rate * FEE_BPS + BPS - 1) / BPS;
        }
    }

    /// @dev Chain time in the width that leases store; good until 2106.
    function _now() internal view returns (uint32) {
        return SafeCast.toUint32(block.timestamp);
    }
}
