// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../src/interfaces/IMarket.sol";
import { Base } from "../Base.sol";
import { MarketHandler } from "./MarketHandler.sol";

/// @dev What must hold after every call of every history.
contract ConservationTest is Base {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    uint256 private constant BASE_UNITS_PER_POINT = 1e9;

    MarketHandler private handler;

    function setUp() public {
        handler = new MarketHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(handler);
        targets[0].selectors = new bytes4[](7);
        targets[0].selectors[0] = MarketHandler.open.selector;
        targets[0].selectors[1] = MarketHandler.act.selector;
        targets[0].selectors[2] = MarketHandler.act.selector;
        targets[0].selectors[3] = MarketHandler.wait.selector;
        targets[0].selectors[4] = MarketHandler.wait.selector;
        targets[0].selectors[5] = MarketHandler.move.selector;
        targets[0].selectors[6] = MarketHandler.flush.selector;
    }

    /// @dev Every token belongs to someone: free, locked, or to be burned.
    function invariant_tokens_are_conserved() public view {
        (uint256 payouts, uint256 fees) = handler.bucket();
        assertEq(handler.balance(), handler.totalFree() + handler.totalLocked() + payouts + fees, "tokens");
    }

    /// @dev Points are never more than the fees that were burned for them.
    function invariant_points_were_paid_for() public view {
        (, uint256 fees) = handler.bucket();
        assertTrue(handler.totalPoints() * BASE_UNITS_PER_POINT <= fees + handler.burnedFees(), "points");
    }

    function invariant_times_are_in_order() public view {
        for (uint256 i = 0; i < handler.count(); i++) {
            IMarket.LeaseView memory v = handler.view_(i);
            if (v.state != IMarket.LeaseState.Active) continue;
            assertTrue(v.paidUntil <= v.fundedUntil && v.fundedUntil <= v.maxEnd, "times");
            assertTrue(v.paidUntil <= block.timestamp, "paid ahead");
        }
    }

    /// @dev The same by plain fuzzing, so that a failing history is one number.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_a_history_conserves(uint256 seed) public {
        for (uint256 step = 0; step < 40; step++) {
            uint256 random = uint256(keccak256(abi.encode(seed, step)));
            uint256 kind = random % 8;
            if (kind < 2) handler.open(random >> 8, random & 8 == 0);
            else if (kind < 5) handler.act(random >> 8, random >> 16);
            else if (kind < 6) handler.move(random >> 8);
            else if (kind < 7) handler.wait(random >> 8);
            else if (random & 256 == 0) handler.flush();
            invariant_tokens_are_conserved();
        }
        invariant_points_were_paid_for();
        invariant_times_are_in_order();
        assertTrue(handler.done() > 0, "nothing ever went through");
    }
}
