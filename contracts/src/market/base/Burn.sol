// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { ERC20Burnable } from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import { SafeERC20, IERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import { IMarket } from "../interfaces/IMarket.sol";
import { Parameters } from "./Parameters.sol";

/// @title What is to be burned, collected until someone pays the gas for it
abstract contract Burn is Parameters, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev Where pay with the burn flag goes: the supply stays, as the provider's gesture can be seen there.
    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;

    /// @dev payouts 128 | fees 128, from the lowest bit; base units. A word, so that each call reads and writes it once.
    uint256 private _bucket;

    /// @inheritdoc IMarket
    function burnBucket() external view returns (uint128 payouts, uint128 fees) {
        return _unpack(_bucket);
    }

    /// @inheritdoc IMarket
    function flushBurn() external nonReentrant {
        (uint256 payouts, uint256 fees) = _unpack(_bucket);
        if (payouts == 0 && fees == 0) revert NothingToFlush();
        delete _bucket;
        emit BurnFlushed(payouts, fees);
        if (payouts != 0) token.safeTransfer(DEAD, payouts);
        if (fees != 0) ERC20Burnable(address(token)).burn(fees);
    }

    /// @dev Adds to the bucket.
    function _collect(uint256 morePayouts, uint256 moreFees) internal {
        if (morePayouts == 0 && moreFees == 0) return;
        (uint128 payouts, uint128 fees) = _unpack(_bucket);
        if (morePayouts != 0) payouts = (payouts + morePayouts).toUint128();
        if (moreFees != 0) fees = (fees + moreFees).toUint128();
        _bucket = payouts | (uint256(fees) << 128);
    }

    function _unpack(uint256 bucket) private pure returns (uint128 payouts, uint128 fees) {
        // Cutting a word into its fields is what the casts are for.
        // forge-lint: disable-next-line(unsafe-typecast)
        return (uint128(bucket), uint128(bucket >> 128));
    }
}
