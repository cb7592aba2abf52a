// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import { Market } from "../../../src/market/Market.sol";
import { Account } from "../../../src/market/types/Account.sol";
import { LeaseRun } from "../../../src/market/types/LeaseRun.sol";
import { LeaseTerms } from "../../../src/market/types/LeaseTerms.sol";

/// @title A Market whose storage can be set, so that one call can start from any state
contract SymbolicMarket is Market {
    constructor(IERC20 token_, Params memory params_, bytes32 salt) Market(token_, params_, salt) { }

    function setAccount(address maker, Account account_) external {
        _makers[maker].account = account_;
    }

    function setOperatorOf(address maker, address key, bool approved) external {
        _makers[maker].operators[key] = approved;
    }

    function setLease(bytes32 id, LeaseTerms terms, LeaseRun run) external {
        _leases[id].terms = terms;
        _leases[id].run = run;
    }

    /// @dev As stored: reading the decayed points would draw the clock into each check.
    function freeOf(address maker) external view returns (uint256) {
        return _makers[maker].account.free();
    }

    /// @dev All of a maker but its operators.
    function accountOf(address maker) external view returns (Account) {
        return _makers[maker].account;
    }

    /// @dev The two words of a lease, which are all of it.
    function words(bytes32 id) external view returns (LeaseTerms terms, LeaseRun run) {
        return (_leases[id].terms, _leases[id].run);
    }
}
