// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { Base } from "../Base.sol";
import { Exits } from "./Exits.sol";

/// @dev What forge takes for a target of its random calls.
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}

/// @dev The calls of a history, and what must hold after each of them; what must hold for each call alone, the handler
/// checks.
abstract contract Calls is Base {
    Exits internal handler;

    function selectors() internal view returns (bytes4[7] memory) {
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

    /// @dev One call of a history that is a chain of hashes.
    function step(uint256 seed) internal {
        bytes4[7] memory calls = selectors();
        (bool ok, bytes memory why) = address(handler).call(abi.encodeWithSelector(calls[seed % 7], seed));
        // As it was said inside.
        assembly ("memory-safe") {
            if iszero(ok) { revert(add(why, 32), mload(why)) }
        }
        handler.assertConserved();
    }

    /// @dev At the end of each history.
    function assertEnd() internal {
        handler.assertNoGain();
        handler.assertBooks();
        handler.everybodyCanLeave();
        handler.assertBooks();
        handler.assertConserved();
    }
}

/// @dev With the default parameters: long histories.
contract ConservationTest is Calls {
    function setUp() public {
        handler = new Exits(IMarket.Params({ feeBps: 100, hold: 600, notice: 60, halfLifeDays: 90 }));
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

    function afterInvariant() public {
        assertEnd();
    }

    /// @dev One long history, the same each time: none of the checks is an empty one.
    function test_a_long_history_has_every_end() public {
        uint256[3][3] memory left;
        for (uint256 i = 0; i < 800; i++) {
            step(uint256(keccak256(abi.encode(i))));
            if (i % 50 == 0) add(left, handler.everybodyCanLeave());
        }
        assertEnd();
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
}

/// @dev A history whose first number chooses the parameters, any that the constructor takes.
contract AnyParameters is Calls {
    function play(uint256 seed) external {
        seed = uint256(keccak256(abi.encode(seed)));
        if (begun()) step(seed);
        else handler = new Exits(paramsOf(seed));
    }

    function check() external view {
        if (!begun()) return;
        handler.assertConserved();
        handler.assertNoGain();
    }

    function end() external {
        if (begun()) assertEnd();
    }

    function begun() private view returns (bool) {
        return address(handler) != address(0);
    }

    /// @dev Within the bounds of Parameters.sol, and often at one of them.
    function paramsOf(uint256 seed) private pure returns (IMarket.Params memory p) {
        p.feeBps = uint16(edgy(seed, 10, 500));
        p.hold = uint32(edgy(seed >> 32, 60, 3600));
        p.notice = uint32(edgy(seed >> 64, 0, p.hold < 600 ? p.hold : 600));
        p.halfLifeDays = uint16(edgy(seed >> 96, 7, 365));
    }

    function edgy(uint256 seed, uint256 min, uint256 max) private pure returns (uint256) {
        uint256 die = seed % 8;
        return die == 0 ? min : die == 1 ? max : bound(uint32(seed >> 3), min, max);
    }
}

contract AnyParametersTest is Base {
    AnyParameters private histories;

    function setUp() public {
        histories = new AnyParameters();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(histories);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(histories);
        targets[0].selectors = new bytes4[](1);
        targets[0].selectors[0] = histories.play.selector;
    }

    function invariant_every_token_is_someones_whatever_the_parameters() public view {
        histories.check();
    }

    function afterInvariant() public {
        histories.end();
    }
}
