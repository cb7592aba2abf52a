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

    /// @dev One slot; base units.
    struct Bucket {
        uint128 payouts;
        uint128 fees;
    }

    /// @dev Where pay with the burn flag goes: the supply stays, as the provider's gesture can be seen there.
    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;

    Bucket private _bucket;

    /// @inheritdoc IMarket
    function burnBucket() external view returns (uint128 payouts, uint128 fees) {
        return (_bucket.payouts, _bucket.fees);
    }

    /// @inheritdoc IMarket
    function flushBurn() external nonReentrant {
        Bucket memory bucket = _bucket;
        if (bucket.payouts == 0 && bucket.fees == 0) revert NothingToFlush();
        delete _bucket;
        emit BurnFlushed(bucket.payouts, bucket.fees);
        if (bucket.payouts != 0) token.safeTransfer(DEAD, bucket.payouts);
        if (bucket.fees != 0) ERC20Burnable(address(token)).burn(bucket.fees);
    }

    /// @dev Adds to the bucket.
    function _collect(uint256 payouts, uint256 fees) internal {
        if (payouts != 0) _bucket.payouts = (_bucket.payouts + payouts).toUint128();
        if (fees != 0) _bucket.fees = (_bucket.fees + fees).toUint128();
    }
}
