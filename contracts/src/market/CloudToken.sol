// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import { ERC20Burnable } from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import { ERC20Permit } from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title CloudToken (CTK), the token that the Market trades in
/// @notice ERC-20 with 18 decimals, ERC-2612 permit and burn. The whole supply exists from the start; it only shrinks.
contract CloudToken is ERC20, ERC20Burnable, ERC20Permit {
    /// @notice 1,000,000 CTK, in base units (10^-18 CTK).
    uint256 public constant INITIAL_SUPPLY = 1_000_000 ether;

    /// @notice Gives the whole supply to the deployer.
    constructor() ERC20("CloudToken", "CTK") ERC20Permit("CloudToken") {
        _mint(msg.sender, INITIAL_SUPPLY);
    }
}
