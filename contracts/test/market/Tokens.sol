// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import { IMarket } from "../../src/market/interfaces/IMarket.sol";

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

/// @title A token whose transfers return nothing, as some old ones do
contract SilentToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    constructor() {
        balanceOf[msg.sender] = 1_000_000 ether;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @title A token that pays to nobody whom it does not like, and can be told to fail without a revert
contract PickyToken is ERC20("Picky", "PKY") {
    error Disliked(address who);

    mapping(address => bool) private _disliked;
    bool private _mute;

    constructor() {
        _mint(msg.sender, 1_000_000 ether);
    }

    function dislike(address who, bool yes) external {
        _disliked[who] = yes;
    }

    function mute(bool yes) external {
        _mute = yes;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (_mute) return false;
        return super.transfer(to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (_disliked[to]) revert Disliked(to);
        super._update(from, to, amount);
    }
}
