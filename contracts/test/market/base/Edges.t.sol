// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

/// @dev The edges of a life that are no single call's: same seconds, split claims, lists, and what the bounds allow.
contract EdgesTest is MarketFixture {
    // -------------------------------------------------------------------------------------------- same seconds

    function test_a_whole_life_in_one_second_costs_the_notice() public {
        bytes32 id = activeLease();
        VM.expectRevert(abi.encodeWithSelector(IMarket.NothingToClaim.selector));
        claim(id);
        VM.startPrank(buyer);
        market.topUp(id, MAX_DURATION - DURATION);
        market.close(id);
        VM.stopPrank();
        assertEq(freeOf(buyer), DEPOSIT - uint256(RATE) * NOTICE, "buyer");
        assertEq(freeOf(provider), DEPOSIT + uint256(NET_RATE) * NOTICE, "provider");
        assertEnded(id, IMarket.EndReason.Closed, START + NOTICE);
    }

    function test_a_provider_who_closes_in_the_second_of_activation_loses_the_bond() public {
        bytes32 id = activeLease();
        VM.prank(provider);
        market.providerClose(id);
        assertEq(freeOf(buyer), DEPOSIT + BOND, "buyer");
        assertEq(freeOf(provider), DEPOSIT - BOND, "provider");
        assertEnded(id, IMarket.EndReason.ProviderClosed, START);
    }

    function test_no_time_to_activate_is_this_second() public {
        bytes32 id = openedWithin(0, 1);
        VM.prank(stranger);
        VM.expectRevert(abi.encodeWithSelector(IMarket.AbortEarly.selector, START, START));
        market.abort(id);
        VM.prank(provider);
        market.activate(id);

        id = openedWithin(0, 2);
        VM.warp(START + 1);
        VM.prank(provider);
        VM.expectRevert(abi.encodeWithSelector(IMarket.ActivationLate.selector, START, START + 1));
        market.activate(id);
        VM.prank(stranger);
        market.abort(id);
        assertEq(uint256(market.lease(id).reason), uint256(IMarket.EndReason.Aborted), "reason");
    }

    /// @dev At the deadline both ways are open to the provider; the first call counts.
    function test_abort_and_activate_at_the_deadline() public {
        bytes32 id = openedWithin(ACTIVATE_WITHIN, 1);
        VM.warp(START + ACTIVATE_WITHIN);
        VM.startPrank(provider);
        market.activate(id);
        VM.expectRevert(wrongState(id, IMarket.LeaseState.Active, IMarket.LeaseState.Opened));
        market.abort(id);
        VM.stopPrank();
    }

    /// @dev In the second in which reject is no longer possible, finish is.
    function test_reject_ends_where_finish_begins() public {
        bytes32 id = activeLease();
        uint256 edge = uint256(START) + DURATION + HOLD;
        VM.warp(edge - 1);
        VM.expectRevert(abi.encodeWithSelector(IMarket.FinishEarly.selector, edge, edge - 1));
        market.finish(id);
        VM.warp(edge);
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.RejectLate.selector, edge, edge));
        market.reject(id);
        market.finish(id);
    }

    /// @dev A close once the funds are a hold old is a finish by another name.
    function test_close_and_finish_pay_the_same() public {
        bytes32 closed = openedWithin(0, 1);
        bytes32 finished = openedWithin(0, 2);
        VM.startPrank(provider);
        market.activate(closed);
        market.activate(finished);
        VM.stopPrank();
        VM.warp(START + DURATION + HOLD);
        uint256 before = freeOf(provider);
        VM.prank(buyer);
        market.close(closed);
        uint256 byClose = freeOf(provider) - before;
        market.finish(finished);
        assertEq(freeOf(provider) - before - byClose, byClose, "provider");
        assertEq(freeOf(buyer), DEPOSIT - 2 * ESCROW, "buyer");
    }

    /// @dev The buyer pays for the last second, and what follows is another's word.
    function test_a_top_up_moves_the_edges_with_it() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION - 1);
        VM.prank(buyer);
        market.topUp(id, 10);
        VM.warp(START + DURATION + 9);
        VM.prank(provider);
        market.providerClose(id);
        assertEnded(id, IMarket.EndReason.ProviderClosed, START + DURATION + 9 - HOLD);
    }

    // --------------------------------------------------------------------------------------------------- claims

    /// @dev Two leases alike, one claimed in parts of any length, one at once, at a rate whose fee is rounded.
    /// forge-config: default.fuzz.runs = 64
    /// forge-config: deep.fuzz.runs = 10000
    function testFuzz_any_split_of_a_claim_pays_the_same(uint256 seed, uint64 rate) public {
        rate = uint64(bound(rate, 1, RATE));
        bytes32 parts = openedAt(rate, 1);
        bytes32 whole = openedAt(rate, 2);
        VM.startPrank(provider);
        market.activate(parts);
        market.activate(whole);
        VM.stopPrank();
        uint256 before = freeOf(provider);
        uint256 moment = START + HOLD;
        uint256 until = moment + bound(seed >> 128, 1, DURATION);
        while (moment < until) {
            seed = uint256(keccak256(abi.encode(seed)));
            moment = moment + bound(seed, 1, 1000);
            if (moment > until) moment = until;
            VM.warp(moment);
            claim(parts);
        }
        uint256 net = freeOf(provider) - before;
        uint256 fees = feesInBucket();
        claim(whole);
        assertEq(freeOf(provider) - before - net, net, "net");
        assertEq(feesInBucket() - fees, fees, "fees");
        assertEq(net + fees, rate * (until - START - HOLD), "the rate by the seconds");
    }

    /// @dev Everybody's leases in one list, some twice: each provider gets its own, once; the caller gets nothing.
    function test_a_claim_of_others_leases_pays_each_provider_once() public {
        fund(operator, DEPOSIT);
        bytes32 first = activeLease();
        Trade memory t = goodTrade();
        (t.bid.salt, t.accept.provider) = (2, operator);
        resign(t);
        t.acceptSignature = sign(OPERATOR_KEY, market.acceptDigest(t.accept));
        bytes32 second = settle(t);
        VM.prank(operator);
        market.activate(second);
        VM.warp(START + HOLD + 10);
        bytes32[] memory ids = new bytes32[](5);
        (ids[0], ids[1], ids[2], ids[3], ids[4]) = (second, first, second, first, bytes32(0));
        VM.prank(stranger);
        market.claim(ids);
        assertEq(freeOf(provider), DEPOSIT - BOND + uint256(NET_RATE) * 10, "provider");
        assertEq(freeOf(operator), DEPOSIT - BOND + uint256(NET_RATE) * 10, "the other provider");
        assertEq(freeOf(stranger), 0, "caller");
        assertEq(feesInBucket(), uint256(FEE_RATE) * 20, "fees");
    }

    // -------------------------------------------------------------------------------------- cancelled and void

    /// @dev Whichever of the two is first in a block counts.
    function test_cancel_and_settle_in_one_second() public {
        Trade memory t = goodTrade();
        bytes32 id = settle(t);
        VM.startPrank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.LeaseExists.selector, id, IMarket.LeaseState.Opened));
        market.cancel(t.bid);
        t.bid.salt = 2;
        resign(t);
        market.cancel(t.bid);
        VM.stopPrank();
        refuseTrade(t, abi.encodeWithSelector(IMarket.LeaseExists.selector, t.accept.bid, IMarket.LeaseState.Ended));
    }

    /// @dev A bid that is late, of another epoch, or was never signed can be cancelled all the same, and no claim,
    /// activation or end makes anything of it.
    function test_a_cancelled_id_stays_dead() public {
        Trade memory t = goodTrade();
        VM.warp(START + 30 days);
        VM.startPrank(buyer);
        market.bumpEpoch();
        market.cancel(t.bid);
        VM.stopPrank();
        bytes32 id = t.accept.bid;
        VM.expectRevert(abi.encodeWithSelector(IMarket.NothingToClaim.selector));
        claim(id);
        VM.startPrank(provider);
        VM.expectRevert(wrongState(id, IMarket.LeaseState.Ended, IMarket.LeaseState.Opened));
        market.activate(id);
        VM.expectRevert(wrongState(id, IMarket.LeaseState.Ended, IMarket.LeaseState.Opened));
        market.abort(id);
        VM.stopPrank();
        assertEnded(id, IMarket.EndReason.Cancelled, START + 30 days);
    }

    /// @dev Bumping the epoch voids bids, not leases, and not the buyer's accepts as a provider.
    function test_an_epoch_bump_leaves_leases_and_accepts_alone() public {
        bytes32 id = activeLease();
        VM.prank(buyer);
        market.bumpEpoch();
        VM.prank(buyer);
        market.topUp(id, 1);
        Trade memory t = goodTrade();
        (t.bid.buyer, t.bid.settler, t.accept.provider, t.bid.salt) = (provider, provider, buyer, 2);
        t.accept.bid = market.bidDigest(t.bid);
        t.bidSignature = sign(PROVIDER_KEY, t.accept.bid);
        t.acceptSignature = sign(BUYER_KEY, market.acceptDigest(t.accept));
        settle(t);
    }

    /// @dev The last second of a bid and of an accept, and the longest hold of an accept, at once.
    function test_everything_in_its_last_second() public {
        Trade memory t = goodTrade();
        t.bid.validUntil = START + 300;
        resign(t);
        VM.warp(START + 300);
        bytes32 id = settle(t);
        VM.warp(START + 300 + ACTIVATE_WITHIN);
        VM.prank(provider);
        market.activate(id);
        VM.warp(START + 300 + ACTIVATE_WITHIN + DURATION - 1);
        VM.prank(buyer);
        market.topUp(id, 1);
        VM.warp(START + 300 + ACTIVATE_WITHIN + DURATION + HOLD);
        VM.prank(buyer);
        market.reject(id);
        // One second was still within the hold.
        assertEq(freeOf(provider), DEPOSIT + uint256(NET_RATE) * DURATION - RATE, "provider");
    }

    function openedWithin(uint32 activateWithin, uint64 salt) private returns (bytes32) {
        Trade memory t = goodTrade();
        (t.bid.salt, t.accept.activateWithin) = (salt, activateWithin);
        resign(t);
        return settle(t);
    }

    function openedAt(uint64 rate, uint64 salt) private returns (bytes32) {
        Trade memory t = goodTrade();
        (t.bid.salt, t.accept.rate) = (salt, rate);
        resign(t);
        return settle(t);
    }
}
