// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../src/interfaces/IMarket.sol";
import { Base } from "../Base.sol";
import { Exits } from "./Exits.sol";

/// @dev What must hold after every call of every history. What must hold for each call alone, the handler checks.
contract ConservationTest is Base {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Exits private handler;

    function setUp() public {
        handler = new Exits();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[7] memory calls = selectors();
        targets = new FuzzSelector[](1);
        targets[0].addr = address(handler);
        targets[0].selectors = new bytes4[](10);
        for (uint256 i = 0; i < 7; i++) {
            targets[0].selectors[i] = calls[i];
        }
        // More of what moves leases on.
        targets[0].selectors[7] = handler.act.selector;
        targets[0].selectors[8] = handler.wait.selector;
        targets[0].selectors[9] = handler.collect.selector;
    }

    /// @dev One function, as each invariant is a campaign of its own.
    function invariant_every_token_is_someones_and_nobody_gains_by_the_work_for_others() public view {
        handler.assertConserved();
        handler.assertNoGain();
    }

    /// @dev At the end of each history.
    function afterInvariant() public {
        handler.assertBooks();
        handler.everybodyCanLeave();
        handler.assertBooks();
        handler.assertConserved();
    }

    /// @dev One long history, the same each time: none of the checks is an empty one.
    function test_a_long_history_has_every_end() public {
        bytes4[7] memory calls = selectors();
        uint256[3][3] memory left;
        for (uint256 i = 0; i < 800; i++) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            (bool ok, bytes memory why) = address(handler).call(abi.encodeWithSelector(calls[seed % 7], seed));
            // As it was said inside.
            assembly ("memory-safe") {
                if iszero(ok) { revert(add(why, 32), mload(why)) }
            }
            handler.assertConserved();
            if (i % 50 == 0) add(left, handler.everybodyCanLeave());
        }
        handler.assertNoGain();
        afterInvariant();
        for (uint256 i = 1; i <= uint256(type(IMarket.EndReason).max); i++) {
            assertTrue(handler.ends(IMarket.EndReason(i)) > 0, string.concat("no end ", VM.toString(i)));
        }
        assertTrue(handler.repelled() > 0 && handler.flushed() > 0 && handler.withdrawn() > 0, "nothing happened");
        for (uint256 i = 0; i < 9; i++) {
            assertTrue(left[i / 3][i % 3] > 0, string.concat("nobody left: side, stage ", VM.toString(i)));
        }
    }

    function add(uint256[3][3] memory sums, uint256[3][3] memory more) private pure {
        for (uint256 i = 0; i < 9; i++) {
            sums[i / 3][i % 3] += more[i / 3][i % 3];
        }
    }

    function selectors() private view returns (bytes4[7] memory) {
        return [
            handler.open.selector,
            handler.again.selector,
            handler.act.selector,
            handler.attack.selector,
            handler.collect.selector,
            handler.bank.selector,
            handler.wait.selector
        ];
    }
}
