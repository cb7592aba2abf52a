// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "./MarketFixture.sol";

/// @dev The figures of docs/contracts.md, "Parameters and their economics": for the default parameters and a bond of
/// 600 s where a test says nothing else.
contract EconomicsTest is MarketFixture {
    uint32 private constant LONG = 100_000;
    /// @dev One token an hour.
    uint64 private constant TOKEN_AN_HOUR = uint64(1 ether) / 3600;

    // -------------------------------------------------------------------------------------------------- a point

    function test_an_hour_at_one_token_an_hour() public {
        bytes32 id = started(TOKEN_AN_HOUR, DURATION, BOND_SECONDS, 1);
        assertEq((DEPOSIT - freeOf(provider) + 5e14) / 1e15, 167, "600 s: 0.167 CTK, rounded");
        VM.warp(START + DURATION + HOLD);
        market.finish(id);
        assertEq(feesInBucket() / 1e12, 10_000, "0.01 CTK of fee");
        assertEq(pointsOf(provider), 10_000_000, "points");
    }

    /// @dev Whoever rents from itself has all of it back but the fee, and a point for each 10^9 base units of that; a
    /// lower fee only makes more rent go round.
    function test_a_token_burned_buys_a_billion_points_at_any_fee() public {
        roundOf(100, 100 ether);
        roundOf(500, 20 ether);
        roundOf(10, 1000 ether);
    }

    /// @dev Closed in the second of its activation.
    function test_the_quickest_round_makes_the_fee_of_the_notice() public {
        bytes32 id = started(RATE, 300, BOND_SECONDS, 1);
        assertEq(DEPOSIT - freeOf(buyer), uint256(RATE) * 300, "escrow in hand");
        close(id);
        assertEq(feesInBucket(), uint256(FEE_RATE) * 60, "60 s of fee");
        assertEq(freeOf(buyer) + freeOf(provider) + feesInBucket(), 2 * DEPOSIT, "nothing else is gone");
    }

    function test_without_a_notice_the_quickest_round_makes_nothing() public {
        renew(IMarket.Params({ feeBps: 100, hold: HOLD, notice: 0, halfLifeDays: 90 }));
        close(started(RATE, 300, BOND_SECONDS, 1));
        assertEq(feesInBucket() + pointsOf(provider), 0, "no fee, no points");
        assertEq(freeOf(buyer), DEPOSIT, "buyer");
    }

    function test_without_a_notice_a_reject_at_once_burns_nothing() public {
        renew(IMarket.Params({ feeBps: 100, hold: HOLD, notice: 0, halfLifeDays: 90 }));
        reject(started(RATE, DURATION, BOND_SECONDS, 1));
        assertEq(feesInBucket(), 0, "burned");
        bytes32 id = started(RATE, DURATION, BOND_SECONDS, 2);
        VM.warp(START + HOLD);
        reject(id);
        assertEq(feesInBucket(), 2 * uint256(RATE) * HOLD, "the hold, of escrow and bond, is the most");
    }

    function test_points_lose_77_hundredths_of_a_percent_a_day() public {
        uint256 earned = earn(DURATION);
        VM.warp(block.timestamp + 1 days);
        assertEq((earned - pointsOf(provider)) * 1e6 / earned, 7672, "0.77 %");
    }

    /// @dev At 1 %, a bond of 600 s takes the points of 60,000 s of rent at the same rate.
    function test_a_lost_bond_takes_the_points_of_a_hundred_times_its_seconds() public {
        uint256 earned = earn(61_000);
        bytes32 id = opened(RATE, DURATION, BOND_SECONDS, 2);
        VM.prank(provider);
        market.abort(id);
        assertEq(earned - pointsOf(provider), uint256(FEE_RATE) * 60_000 / BASE_UNITS_PER_POINT, "lost");
        assertEq(pointsOf(provider), uint256(FEE_RATE) * 1000 / BASE_UNITS_PER_POINT, "left");
    }

    // ------------------------------------------------------------------------------------------ a spiteful buyer

    /// @dev Against a close in the same second, which charges the buyer the same.
    function test_spite_destroys_1260_seconds_and_the_provider_is_out_1194() public {
        bytes32 rejected = started(RATE, DURATION, BOND_SECONDS, 1);
        bytes32 closed = started(RATE, DURATION, BOND_SECONDS, 2);
        VM.warp(START + 2000);
        uint256 buyerFree = freeOf(buyer);
        uint256 providerFree = freeOf(provider);
        reject(rejected);
        uint256 byReject = freeOf(provider) - providerFree;
        uint256 refund = freeOf(buyer) - buyerFree;
        assertEq(refund, uint256(RATE) * (DURATION - 2060), "up to the notice: 660 s of the escrow are burned");
        assertEq(feesInBucket() - uint256(FEE_RATE) * 1400, uint256(RATE) * 1260, "1,260 s are destroyed");
        // Of 2000 s of work and a bond.
        uint256 worked = uint256(NET_RATE) * 2000 + BOND;
        assertEq(uint256(NET_RATE) * 2000 - byReject, uint256(RATE) * 594, "594 s of pay");
        assertEq(worked - byReject, uint256(RATE) * 1194, "1,194 s of work and bond");
        close(closed);
        assertEq(freeOf(buyer) - buyerFree - refund, refund, "the buyer is charged the same");
        uint256 byClose = freeOf(provider) - providerFree - byReject;
        assertEq(byClose - byReject, uint256(RATE) * 12_534 / 10, "1,253.4 s more");
    }

    /// @dev Whatever the second, the rate and what is left: no more than a hold and a notice, and no more of the bond.
    /// forge-config: default.fuzz.runs = 64
    /// forge-config: deep.fuzz.runs = 10000
    function testFuzz_spite_destroys_no_more_than_that(uint256 seed) public {
        uint64 rate = uint64(bound(seed, 1, RATE));
        uint256 fee = (uint256(rate) + 99) / 100;
        uint32 bondSeconds = uint32(bound(seed >> 64, 0, 2000));
        bytes32 id = started(rate, DURATION, bondSeconds, 1);
        uint256 late = bound(seed >> 128, 0, DURATION + HOLD - 1);
        VM.warp(START + late);
        uint256 paid = late > HOLD ? late - HOLD : 0;
        reject(id);
        uint256 burned = feesInBucket() - fee * paid;
        assertTrue(
            burned <= uint256(rate) * (660 + (bondSeconds < 660 ? bondSeconds : 660)), "more than spite may burn"
        );
        uint256 bondLost = DEPOSIT + (rate - fee) * paid - freeOf(provider);
        assertTrue(2 * bondLost <= burned, "more of the bond than of the escrow");
    }

    function test_the_points_that_spite_takes_are_those_of_60000_seconds() public {
        uint256 earned = earn(61_000);
        bytes32 id = started(RATE, DURATION, BOND_SECONDS, 2);
        // Nothing is paid yet, and all of the bond is at stake.
        VM.warp(block.timestamp + HOLD);
        reject(id);
        assertEq(earned - pointsOf(provider), uint256(FEE_RATE) * 60_000 / BASE_UNITS_PER_POINT, "lost");
    }

    function test_the_least_that_spite_burns_is_the_notice_twice() public {
        reject(started(RATE, DURATION, BOND_SECONDS, 1));
        assertEq(freeOf(buyer), DEPOSIT - uint256(RATE) * 60, "60 s of the escrow");
        assertEq(freeOf(provider), DEPOSIT - uint256(RATE) * 60, "60 s of the bond");
        assertEq(feesInBucket(), uint256(RATE) * 120, "both burned");
    }

    /// @dev The whole bond of 600 s is at stake 540 s after activation, and no more of it is ever.
    function test_the_bond_at_stake_grows_for_540_seconds() public {
        bytes32 early = started(RATE, DURATION, BOND_SECONDS, 1);
        bytes32 late = started(RATE, DURATION, BOND_SECONDS, 2);
        uint256 before = freeOf(provider);
        VM.warp(START + 539);
        reject(early);
        assertEq(freeOf(provider) - before, RATE, "a second of the bond is left");
        VM.warp(START + 540);
        reject(late);
        assertEq(freeOf(provider) - before, RATE, "none of the other");
    }

    function test_what_is_older_than_the_hold_is_the_providers_claimed_or_not() public {
        bytes32 claimed = started(RATE, DURATION, BOND_SECONDS, 1);
        bytes32 unclaimed = started(RATE, DURATION, BOND_SECONDS, 2);
        uint256 before = freeOf(provider);
        VM.warp(START + 2000);
        claim(claimed);
        reject(claimed);
        uint256 got = freeOf(provider) - before;
        assertEq(got, uint256(NET_RATE) * 1400, "all but the hold");
        reject(unclaimed);
        assertEq(freeOf(provider) - before - got, got, "the same");
    }

    // --------------------------------------------------------------------------------------- a spiteful provider

    function test_a_provider_that_never_activates_loses_the_bond_and_as_many_points() public {
        uint256 earned = earn(61_000);
        uint256 providerFree = freeOf(provider);
        uint256 buyerFree = freeOf(buyer);
        Trade memory t = trade(RATE, DURATION, BOND_SECONDS, 2);
        t.accept.activateWithin = 1801;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.ActivateWithinTooLong.selector, 1801, 1800));
        t.accept.activateWithin = 1800;
        resign(t);
        bytes32 id = settle(t);
        VM.warp(block.timestamp + 1801);
        VM.prank(stranger);
        market.abort(id);
        assertEq(freeOf(buyer), buyerFree + BOND, "escrow and bond are the buyer's");
        assertEq(freeOf(provider), providerFree - BOND, "the provider's bond");
        assertEq(earned - pointsOf(provider), BOND / BASE_UNITS_PER_POINT, "as many points");
    }

    function test_a_provider_that_closes_loses_the_bond_points_and_594_seconds_of_pay() public {
        uint256 earned = earn(61_000);
        uint256 providerFree = freeOf(provider);
        uint256 buyerFree = freeOf(buyer);
        bytes32 id = started(RATE, DURATION, BOND_SECONDS, 2);
        VM.warp(block.timestamp + HOLD);
        VM.prank(provider);
        market.providerClose(id);
        assertEq(freeOf(buyer), buyerFree + BOND, "the bond, and nothing was paid for the hold");
        assertEq(freeOf(provider), providerFree - BOND, "no pay for 600 s of work, and no bond");
        assertEq(uint256(NET_RATE) * HOLD, uint256(RATE) * 594, "of pay");
        assertEq(earned - pointsOf(provider), BOND / BASE_UNITS_PER_POINT, "as many points");
    }

    /// @dev A machine that is dead from the start is noticed after `t` seconds, at most a hold.
    function test_a_dead_machine_costs_its_buyer_660_seconds_at_most() public {
        uint256 buyerFree = DEPOSIT;
        uint256 providerFree = DEPOSIT;
        uint256[3] memory noticedAfter = [uint256(1), 300, 600];
        for (uint64 i = 0; i < noticedAfter.length; i++) {
            uint256 dead = noticedAfter[i];
            bytes32 id = started(RATE, DURATION, BOND_SECONDS, i + 1);
            VM.warp(block.timestamp + dead);
            reject(id);
            assertEq(buyerFree - freeOf(buyer), uint256(RATE) * (dead + 60), "charged: the dead seconds and the notice");
            assertTrue(buyerFree - freeOf(buyer) <= uint256(RATE) * 660, "660 s");
            uint256 bondLost = dead + 60 < BOND_SECONDS ? dead + 60 : BOND_SECONDS;
            assertEq(providerFree - freeOf(provider), uint256(RATE) * bondLost, "no pay, and as much of the bond");
            (buyerFree, providerFree) = (freeOf(buyer), freeOf(provider));
        }
    }

    function test_a_buyer_that_looks_away_pays_for_what_is_older_than_the_hold() public {
        bytes32 id = started(RATE, DURATION, BOND_SECONDS, 1);
        VM.warp(START + HOLD + 1000);
        reject(id);
        assertEq(freeOf(provider), DEPOSIT - BOND + uint256(NET_RATE) * 1000, "paid for 1000 dead seconds");
        assertEq(freeOf(buyer), DEPOSIT - uint256(RATE) * (1000 + 660), "by the buyer");
    }

    /// @dev So a provider with more than that at stake does better to wait for the reject.
    function test_a_reject_takes_660_seconds_of_a_larger_bond_and_providerClose_all() public {
        bytes32 rejected = started(RATE, DURATION, 3600, 1);
        bytes32 closed = started(RATE, DURATION, 3600, 2);
        uint256 before = freeOf(provider);
        VM.warp(START + HOLD);
        reject(rejected);
        assertEq(freeOf(provider) - before, uint256(RATE) * (3600 - 660), "660 s are lost");
        before = freeOf(provider);
        VM.prank(provider);
        market.providerClose(closed);
        assertEq(freeOf(provider), before, "all of it");
    }

    // ----------------------------------------------------------------------------------------------------- steps

    /// @dev A Market with other parameters, in which both makers have their deposit.
    function renew(IMarket.Params memory p) private {
        market = deploy(token, p, SALT);
        fund(buyer, DEPOSIT);
        fund(provider, DEPOSIT);
    }

    /// @dev One token of fee, by as much rent as that takes.
    function roundOf(uint16 feeBps, uint256 rent) private {
        VM.warp(START);
        market = deploy(token, IMarket.Params({ feeBps: feeBps, hold: HOLD, notice: NOTICE, halfLifeDays: 90 }), SALT);
        fund(buyer, rent);
        fund(provider, DEPOSIT);
        bytes32 id = started(uint64(rent / LONG), LONG, BOND_SECONDS, 1);
        VM.warp(START + LONG + HOLD);
        market.finish(id);
        assertEq(feesInBucket(), 1 ether, "a token of fee");
        assertEq(freeOf(buyer) + freeOf(provider), rent + DEPOSIT - 1 ether, "all but the fee comes back");
        assertEq(pointsOf(provider), 1e9, "points");
    }

    /// @dev A whole lease of so many seconds; the points of it, today.
    function earn(uint32 secs) private returns (uint256 earned) {
        bytes32 id = started(RATE, secs, BOND_SECONDS, 1);
        VM.warp(block.timestamp + secs + HOLD);
        market.finish(id);
        earned = uint256(FEE_RATE) * secs / BASE_UNITS_PER_POINT;
        assertEq(pointsOf(provider), earned, "earned");
    }

    function trade(uint64 rate, uint32 duration, uint32 bondSeconds, uint64 salt)
        private
        view
        returns (Trade memory t)
    {
        t = goodTrade();
        (t.bid.salt, t.bid.duration, t.accept.maxDuration, t.bid.minBondSeconds) = (salt, duration, duration, 0);
        (t.bid.maxRate, t.accept.rate, t.accept.bondSeconds) = (rate, rate, bondSeconds);
        t.bid.validUntil = t.accept.settleBy = uint64(block.timestamp);
        resign(t);
    }

    function opened(uint64 rate, uint32 duration, uint32 bondSeconds, uint64 salt) private returns (bytes32) {
        return settle(trade(rate, duration, bondSeconds, salt));
    }

    /// @dev Active since now.
    function started(uint64 rate, uint32 duration, uint32 bondSeconds, uint64 salt) private returns (bytes32 id) {
        id = opened(rate, duration, bondSeconds, salt);
        VM.prank(provider);
        market.activate(id);
    }

    function reject(bytes32 id) private {
        VM.prank(buyer);
        market.reject(id);
    }

    function close(bytes32 id) private {
        VM.prank(buyer);
        market.close(id);
    }
}
