// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IERC20Permit } from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import { SafeERC20, IERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import { IMarket } from "../interfaces/IMarket.sol";
import { Account } from "../types/Account.sol";
import { Parameters } from "./Parameters.sol";

/// @title Makers: free balances, epochs and operators
/// @dev With flushBurn, deposit and withdraw are the only calls that touch the token, and all of them are guarded.
abstract contract Accounts is Parameters, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    struct Maker {
        Account account;
        mapping(address key => bool) operators;
    }

    mapping(address maker => Maker) internal _makers;

    /// @inheritdoc IMarket
    function deposit(uint256 amount) external nonReentrant {
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IMarket
    function depositFor(address maker, uint256 amount) external nonReentrant {
        if (maker == address(0)) revert ZeroAddress();
        _deposit(maker, amount);
    }

    /// @inheritdoc IMarket
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external nonReentrant {
        // Anyone may send the permit ahead of this call; then it fails here, but the allowance is there.
        try IERC20Permit(address(token)).permit(msg.sender, address(this), amount, deadline, v, r, s) { } catch { }
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IMarket
    function withdraw(uint256 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        _debit(msg.sender, amount);
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IMarket
    function setOperator(address key, bool approved) external {
        if (key == address(0)) revert ZeroAddress();
        _makers[msg.sender].operators[key] = approved;
        emit OperatorSet(msg.sender, key, approved);
    }

    /// @inheritdoc IMarket
    function bumpEpoch() external {
        Maker storage m = _makers[msg.sender];
        uint32 epoch = m.account.epoch() + 1;
        m.account = m.account.withEpoch(epoch);
        emit EpochBumped(msg.sender, epoch);
    }

    /// @inheritdoc IMarket
    function isOperator(address maker, address key) external view returns (bool) {
        return _makers[maker].operators[key];
    }

    /// @dev Whether `key` may act for `maker`: it is the maker or its operator.
    function _speaksFor(address key, address maker) internal view returns (bool) {
        return key == maker || _makers[maker].operators[key];
    }

    /// @dev Locks `amount` of the maker's free balance.
    function _debit(address maker, uint256 amount) internal {
        Maker storage m = _makers[maker];
        Account a = m.account;
        uint256 free = a.free();
        if (free < amount) revert InsufficientFree(maker, free, amount);
        m.account = a.withFree((free - amount).toUint96());
    }

    /// @dev Frees `amount` for the maker.
    function _credit(address maker, uint256 amount) internal {
        Maker storage m = _makers[maker];
        Account a = m.account;
        m.account = a.withFree((a.free() + amount).toUint96());
    }

    function _deposit(address maker, uint256 amount) private {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 arrived = token.balanceOf(address(this)) - before;
        if (arrived == 0) revert ZeroAmount();
        _credit(maker, arrived);
        emit Deposited(maker, msg.sender, arrived);
    }
}
