// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { CloudToken } from "../../../src/market/CloudToken.sol";
import { Market } from "../../../src/market/Market.sol";
import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

/// @dev A Market that gives points away, as nobody could burn enough fees to come near the limit.
contract GenerousMarket is Market {
    constructor(CloudToken token_, Params memory p, bytes32 salt) Market(token_, p, salt) { }

    function grant(address maker, uint64 points) external {
        _makers[maker].account = _makers[maker].account.withPoints(points, uint32(block.timestamp / 1 days));
    }
}

contract PointsTest is MarketFixture {
    uint256 private constant FEE_POINTS = FEE_RATE / BASE_UNITS_PER_POINT;

    function test_points_are_the_fee_that_was_burned() public {
        bytes32 id = activeLease();
        VM.warp(START + HOLD + 100);
        claim(id);
        assertEq(pointsOf(provider), feesInBucket() / BASE_UNITS_PER_POINT, "points");
        assertEq(pointsOf(buyer), 0, "none for the buyer");
    }

    function test_points_halve_in_the_half_life() public {
        uint256 earned = earn();
        VM.warp(START + 90 days + DURATION + HOLD);
        assertWithin(pointsOf(provider), earned / 2, 2);
        VM.warp(START + 180 days + DURATION + HOLD);
        assertWithin(pointsOf(provider), earned / 4, 2);
        VM.warp(START + 180 * 90 days);
        assertEq(pointsOf(provider), 0, "all gone");
    }

    /// @dev START is 8:00 in the morning (UTC).
    function test_points_decay_at_midnight() public {
        uint256 earned = earn();
        uint256 midnight = (block.timestamp / 1 days + 1) * 1 days;
        VM.warp(midnight - 1);
        assertEq(pointsOf(provider), earned, "the same day");
        VM.warp(midnight);
        uint256 next = pointsOf(provider);
        // 2^(-1/90) is 0.99233.
        assertTrue(next < earned * 9924 / 10_000 && next > earned * 9923 / 10_000, "the next day");
    }

    function test_new_points_add_to_the_decayed() public {
        earn();
        VM.warp(START + 90 days);
        uint256 decayed = pointsOf(provider);
        Trade memory t = goodTrade();
        t.bid.salt = 2;
        t.bid.validUntil = t.accept.settleBy = START + 90 days;
        resign(t);
        bytes32 id = settle(t);
        VM.prank(provider);
        market.activate(id);
        VM.warp(START + 90 days + HOLD + 1);
        claim(id);
        assertEq(pointsOf(provider), decayed + FEE_POINTS, "points");
    }

    function test_an_abort_costs_the_bond() public {
        uint256 earned = earn();
        Trade memory t = goodTrade();
        t.bid.salt = 2;
        t.bid.validUntil = t.accept.settleBy = uint64(block.timestamp);
        t.accept.bondSeconds = 1;
        t.bid.minBondSeconds = 0;
        // A bond of a tenth of the points.
        t.bid.maxRate = t.accept.rate = uint64(earned / 10 * BASE_UNITS_PER_POINT);
        resign(t);
        bytes32 id = settle(t);
        VM.prank(provider);
        market.abort(id);
        assertEq(pointsOf(provider), earned - earned / 10, "points");
    }

    function test_a_providerClose_costs_the_bond_down_to_zero() public {
        earn();
        bytes32 id = secondLease();
        VM.prank(provider);
        market.providerClose(id);
        assertEq(pointsOf(provider), 0, "the bond was worth more");
    }

    function test_a_reject_costs_the_burned_part_of_the_bond() public {
        bytes32 id = activeLease();
        // Paid 3000 s, burned 600 s: far more in points than was earned, so the floor counts.
        VM.warp(START + DURATION);
        VM.prank(buyer);
        market.reject(id);
        assertEq(pointsOf(provider), 0, "floored");
    }

    function test_a_reject_leaves_points_above_the_cut() public {
        uint256 earned = earn();
        Trade memory t = goodTrade();
        t.bid.salt = 2;
        t.bid.validUntil = t.accept.settleBy = uint64(block.timestamp);
        t.accept.bondSeconds = 1;
        t.bid.minBondSeconds = 0;
        t.accept.rate = 3e9;
        resign(t);
        bytes32 id = settle(t);
        VM.prank(provider);
        market.activate(id);
        VM.prank(buyer);
        market.reject(id);
        assertEq(pointsOf(provider), earned - 3, "a bond of three points");
    }

    function test_points_stop_at_64_bits() public {
        GenerousMarket generous = new GenerousMarket(token, defaultParams(), SALT);
        market = generous;
        fund(buyer, DEPOSIT);
        fund(provider, DEPOSIT);
        bytes32 id = activeLease();
        generous.grant(provider, type(uint64).max - 1);
        VM.warp(START + HOLD + 100);
        claim(id);
        assertEq(pointsOf(provider), type(uint64).max, "points");
    }

    function test_enough_points_let_a_bid_pass() public {
        uint256 earned = earn();
        Trade memory t = goodTrade();
        t.bid.salt = 2;
        t.bid.validUntil = t.accept.settleBy = uint64(block.timestamp);
        t.bid.minPoints = uint64(earned + 1);
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.PointsTooLow.selector, earned, earned + 1));
        t.bid.minPoints = uint64(earned);
        resign(t);
        settle(t);
    }

    function test_deposits_and_withdrawals_leave_points_alone() public {
        uint256 earned = earn();
        VM.warp(START + 90 days + DURATION + HOLD);
        fund(provider, 1 ether);
        VM.prank(provider);
        market.withdraw(1 ether);
        assertWithin(pointsOf(provider), earned / 2, 2);
    }

    /// @dev A whole lease, finished in the day of START; returns the points.
    function earn() private returns (uint256 earned) {
        bytes32 id = activeLease();
        VM.warp(START + DURATION + HOLD);
        market.finish(id);
        earned = FEE_POINTS * DURATION;
        assertEq(pointsOf(provider), earned, "earned");
    }

    function secondLease() private returns (bytes32 id) {
        Trade memory t = goodTrade();
        t.bid.salt = 2;
        t.bid.validUntil = t.accept.settleBy = uint64(block.timestamp);
        resign(t);
        id = settle(t);
        VM.prank(provider);
        market.activate(id);
    }

    function assertWithin(uint256 got, uint256 wanted, uint256 delta) private pure {
        assertTrue(got <= wanted + delta && wanted <= got + delta, VM.toString(got));
    }

    function test_many_accounts_in_one_call_are_as_each_alone() public {
        earn();
        VM.warp(block.timestamp + 10 days);
        VM.prank(buyer);
        market.bumpEpoch();
        address[] memory makers = new address[](3);
        (makers[0], makers[1], makers[2]) = (provider, buyer, stranger);
        IMarket.AccountView[] memory views = market.accounts(makers);
        assertEq(views.length, 3, "length");
        for (uint256 i = 0; i < makers.length; i++) {
            (uint96 free, uint32 epoch, uint64 points) = market.account(makers[i]);
            assertEq(views[i].free, free, "free");
            assertEq(views[i].epoch, epoch, "epoch");
            assertEq(views[i].points, points, "points");
        }
        assertTrue(views[0].points > 0 && views[1].epoch == 1 && views[2].free == 0, "each its own");
    }
}
