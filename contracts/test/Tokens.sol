// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import { IMarket } from "../src/interfaces/IMarket.sol";

/// @title A token that keeps a tenth of each transfer
contract TaxedToken is ERC20("Taxed", "TAX") {
    constructor() {
        _mint(msg.sender, 1_000_000 ether);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (from != address(0) && to != address(0)) {
            super._update(from, address(0), amount / 10);
            amount -= amount / 10;
        }
        super._update(from, to, amount);
    }
}

/// @title A token that calls the Market back in the middle of a transfer
contract CallbackToken is ERC20("Callback", "CB") {
    bytes private _call;

    constructor() {
        _mint(msg.sender, 1_000_000 ether);
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function arm(bytes calldata call_) external {
        _call = call_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        bytes memory armed = _call;
        if (armed.length == 0) return;
        delete _call;
        (bool ok, bytes memory reason) = msg.sender.call(armed);
        if (ok) return;
        assembly ("memory-safe") {
            revert(add(reason, 32), mload(reason))
        }
    }
}
