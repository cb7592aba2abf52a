// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

/// @dev The five ways in which a lease ends, and what each side has afterwards.
contract LeasesEndTest is MarketFixture {
    // ------------------------------------------------------------------------------------------------- abort

    function test_the_provider_aborts_at_any_time() public {
        bytes32 id = openedLease();
        VM.warp(START + 5);
        VM.prank(provider);
        expectEnd(id, IMarket.EndReason.Aborted, START + 5, [uint256(0), 0, 0, ESCROW, 0, BOND]);
        market.abort(id);
        assertEq(freeOf(buyer), DEPOSIT + BOND, "buyer");
        assertEq(freeOf(provider), DEPOSIT - BOND, "provider");
        assertEnded(id, IMarket.EndReason.Aborted, START + 5);
        assertEq(market.lease(id).maxDuration, MAX_DURATION, "maxDuration");
        assertEq(market.lease(id).maxEnd, 0, "maxEnd");
    }

    function test_anyone_aborts_after_the_deadline() public {
        bytes32 id = openedLease();
        VM.warp(START + ACTIVATE_WITHIN);
        VM.prank(stranger);
        VM.expectRevert(
            abi.encodeWithSelector(IMarket.AbortEarly.selector, START + ACTIVATE_WITHIN, START + ACTIVATE_WITHIN)
        );
        market.abort(id);
        VM.warp(START + ACTIVATE_WITHIN + 1);
        VM.prank(stranger);
        market.abort(id);
        assertEnded(id, IMarket.EndReason.Aborted, START + ACTIVATE_WITHIN + 1);
    }

    function test_the_buyer_cannot_abort_early() public {
        bytes32 id = openedLease();
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.AbortEarly.selector, START + ACTIVATE_WITHIN, START));
        market.abort(id);
    }

    function test_an_active_lease_cannot_be_aborted() public {
        bytes32 id = activeLease();
        VM.prank(provider);
        VM.expectRevert(wrongState(id, IMarket.LeaseState.Active, IMarket.LeaseState.Opened));
        market.abort(id);
    }

    // ------------------------------------------------------------------------------------------------- close

    function test_close_pays_the_notice_and_refunds_the_rest() public {
        bytes32 id = activeLease();
        VM.warp(START + 1000);
        uint256 paid = 1000 + NOTICE;
        VM.prank(buyer);
        expectEnd(
            id,
            IMarket.EndReason.Closed,
            START + paid,
            [NET_RATE * paid, FEE_RATE * paid, 0, RATE * (DURATION - paid), BOND, 0]
        );
        market.close(id);
        assertEq(freeOf(buyer), DEPOSIT - RATE * paid, "buyer");
        assertEq(freeOf(provider), DEPOSIT + NET_RATE * paid, "provider");
        assertEq(feesInBucket(), FEE_RATE * paid, "fees");
        assertEnded(id, IMarket.EndReason.Closed, START + paid);
    }

    function test_close_after_claims_pays_what_is_left() public {
        bytes32 id = activeLease();
        VM.warp(START + 1000);
        claim(id);
        VM.prank(buyer);
        market.close(id);
        assertEq(freeOf(provider), DEPOSIT + uint256(NET_RATE) * (1000 + NOTICE), "provider");
        assertEnded(id, IMarket.EndReason.Closed, START + 1000 + NOTICE);
    }

    function test_close_bills_no_more_than_the_funds() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION - NOTICE + 1);
        VM.prank(buyer);
        market.close(id);
        assertEq(freeOf(buyer), DEPOSIT - ESCROW, "nothing to refund");
        assertEnded(id, IMarket.EndReason.Closed, START + DURATION);
    }

    function test_close_is_possible_long_after_the_funds_ended() public {
        bytes32 id = activeLease();
        VM.warp(START + 30 days);
        VM.prank(buyer);
        market.close(id);
        assertEq(freeOf(provider), DEPOSIT + uint256(NET_RATE) * DURATION, "provider");
        assertEnded(id, IMarket.EndReason.Closed, START + DURATION);
    }

    function test_close_in_the_second_of_activation() public {
        bytes32 id = activeLease();
        VM.prank(buyer);
        market.close(id);
        assertEq(freeOf(buyer), DEPOSIT - uint256(RATE) * NOTICE, "the notice is paid");
    }

    function test_only_the_buyer_and_its_operator_close() public {
        bytes32 id = activeLease();
        VM.prank(provider);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotBuyer.selector, provider, buyer));
        market.close(id);
        VM.prank(buyer);
        market.setOperator(operator, true);
        VM.prank(operator);
        market.close(id);
    }

    // ------------------------------------------------------------------------------------------------ reject

    function test_reject_burns_the_hold_and_as_much_of_the_bond() public {
        bytes32 id = activeLease();
        VM.warp(START + 1000);
        // Paid: what is hold old. Burned: hold and notice, and the whole bond (600 s are less than 660 s).
        uint256 burned = RATE * uint256(HOLD + NOTICE) + BOND;
        VM.prank(buyer);
        expectEnd(
            id,
            IMarket.EndReason.Rejected,
            START + 1000 + NOTICE,
            [NET_RATE * uint256(400), FEE_RATE * uint256(400), burned, RATE * uint256(DURATION - 1060), 0, 0]
        );
        market.reject(id);
        assertEq(freeOf(buyer), DEPOSIT - uint256(RATE) * 1060, "buyer");
        assertEq(freeOf(provider), DEPOSIT - BOND + uint256(NET_RATE) * 400, "provider");
        assertEq(feesInBucket(), uint256(FEE_RATE) * 400 + burned, "bucket");
        assertEnded(id, IMarket.EndReason.Rejected, START + 1000 + NOTICE);
    }

    function test_reject_at_once_burns_the_notice() public {
        bytes32 id = activeLease();
        VM.prank(buyer);
        market.reject(id);
        uint256 burned = uint256(RATE) * NOTICE;
        assertEq(freeOf(buyer), DEPOSIT - burned, "buyer");
        assertEq(freeOf(provider), DEPOSIT - burned, "the bond loses as much");
        assertEq(feesInBucket(), 2 * burned, "bucket");
        assertEnded(id, IMarket.EndReason.Rejected, START + NOTICE);
    }

    function test_reject_inside_the_hold_pays_nothing() public {
        bytes32 id = activeLease();
        VM.warp(START + HOLD);
        VM.prank(buyer);
        market.reject(id);
        assertEq(freeOf(provider), DEPOSIT - BOND, "provider");
        assertEnded(id, IMarket.EndReason.Rejected, START + HOLD + NOTICE);
    }

    function test_reject_takes_back_nothing_that_was_claimed() public {
        bytes32 id = activeLease();
        VM.warp(START + 1000);
        claim(id);
        VM.prank(buyer);
        market.reject(id);
        assertEq(freeOf(provider), DEPOSIT - BOND + uint256(NET_RATE) * 400, "provider");
        assertEnded(id, IMarket.EndReason.Rejected, START + 1000 + NOTICE);
    }

    function test_reject_after_the_funds_ended() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION + HOLD - 1);
        VM.prank(buyer);
        market.reject(id);
        // One second was still within the hold.
        assertEq(freeOf(provider), DEPOSIT + uint256(NET_RATE) * (DURATION - 1) - RATE, "provider");
        assertEq(feesInBucket(), uint256(FEE_RATE) * (DURATION - 1) + 2 * uint256(RATE), "bucket");
        assertEnded(id, IMarket.EndReason.Rejected, START + DURATION);
    }

    function test_reject_after_the_hold_is_refused() public {
        bytes32 id = activeLease();
        uint256 deadline = uint256(START) + DURATION + HOLD;
        VM.warp(deadline);
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.RejectLate.selector, deadline, deadline));
        market.reject(id);
    }

    function test_only_the_buyer_and_its_operator_reject() public {
        bytes32 id = activeLease();
        VM.prank(stranger);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotBuyer.selector, stranger, buyer));
        market.reject(id);
        VM.prank(buyer);
        market.setOperator(operator, true);
        VM.prank(operator);
        market.reject(id);
    }

    // ----------------------------------------------------------------------------------------- providerClose

    function test_providerClose_pays_what_is_hold_old_and_forfeits_the_bond() public {
        bytes32 id = activeLease();
        VM.warp(START + 1000);
        VM.prank(provider);
        expectEnd(
            id,
            IMarket.EndReason.ProviderClosed,
            START + 400,
            [NET_RATE * uint256(400), FEE_RATE * uint256(400), 0, RATE * uint256(DURATION - 400), 0, BOND]
        );
        market.providerClose(id);
        assertEq(freeOf(buyer), DEPOSIT - uint256(RATE) * 400 + BOND, "buyer");
        assertEq(freeOf(provider), DEPOSIT - BOND + uint256(NET_RATE) * 400, "provider");
        assertEnded(id, IMarket.EndReason.ProviderClosed, START + 400);
    }

    function test_providerClose_in_the_last_second_and_not_after() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION);
        VM.startPrank(provider);
        VM.expectRevert(abi.encodeWithSelector(IMarket.LeaseOver.selector, START + DURATION, START + DURATION));
        market.providerClose(id);
        VM.warp(START + DURATION - 1);
        market.providerClose(id);
        VM.stopPrank();
        assertEnded(id, IMarket.EndReason.ProviderClosed, START + DURATION - 1 - HOLD);
    }

    function test_only_the_provider_and_its_operator_close_early() public {
        bytes32 id = activeLease();
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotProvider.selector, buyer, provider));
        market.providerClose(id);
        VM.prank(provider);
        market.setOperator(operator, true);
        VM.prank(operator);
        market.providerClose(id);
    }

    // ------------------------------------------------------------------------------------------------ finish

    function test_anyone_finishes_a_hold_after_the_funds_ended() public {
        bytes32 id = activeLease();
        uint256 earliest = uint256(START) + DURATION + HOLD;
        VM.warp(earliest - 1);
        VM.prank(stranger);
        VM.expectRevert(abi.encodeWithSelector(IMarket.FinishEarly.selector, earliest, earliest - 1));
        market.finish(id);
        VM.warp(earliest);
        VM.prank(stranger);
        expectEnd(
            id,
            IMarket.EndReason.Finished,
            START + DURATION,
            [NET_RATE * uint256(DURATION), FEE_RATE * uint256(DURATION), 0, 0, BOND, 0]
        );
        market.finish(id);
        assertEq(freeOf(buyer), DEPOSIT - ESCROW, "buyer");
        assertEq(freeOf(provider), DEPOSIT + uint256(NET_RATE) * DURATION, "provider");
        assertEnded(id, IMarket.EndReason.Finished, START + DURATION);
    }

    function test_finish_after_all_was_claimed_frees_the_bond() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION + HOLD);
        claim(id);
        market.finish(id);
        assertEq(freeOf(provider), DEPOSIT + uint256(NET_RATE) * DURATION, "provider");
        assertEnded(id, IMarket.EndReason.Finished, START + DURATION);
    }

    function test_an_end_with_the_burn_flag_returns_only_the_bond() public {
        bytes32 id = activeBurnLease();
        VM.warp(START + DURATION + HOLD);
        market.finish(id);
        assertEq(freeOf(provider), DEPOSIT, "provider");
        assertEq(payoutsInBucket(), uint256(NET_RATE) * DURATION, "payouts");
        assertEnded(id, IMarket.EndReason.Finished, START + DURATION);
    }

    // ------------------------------------------------------------------------------------------------ states

    function test_an_opened_lease_has_no_ends_but_abort() public {
        bytes32 id = openedLease();
        refuseEnds(id, wrongState(id, IMarket.LeaseState.Opened, IMarket.LeaseState.Active));
    }

    function test_an_ended_lease_stays_ended() public {
        bytes32 id = activeLease();
        VM.prank(buyer);
        market.close(id);
        refuseEnds(id, wrongState(id, IMarket.LeaseState.Ended, IMarket.LeaseState.Active));
        refuseStarts(id, wrongState(id, IMarket.LeaseState.Ended, IMarket.LeaseState.Opened));
        VM.expectRevert(abi.encodeWithSelector(IMarket.NothingToClaim.selector));
        claim(id);
    }

    function test_an_unknown_lease_refuses_everything() public {
        bytes32 id = keccak256("unknown");
        refuseEnds(id, wrongState(id, IMarket.LeaseState.None, IMarket.LeaseState.Active));
        refuseStarts(id, wrongState(id, IMarket.LeaseState.None, IMarket.LeaseState.Opened));
    }

    function refuseStarts(bytes32 id, bytes memory data) private {
        VM.expectRevert(data);
        market.activate(id);
        VM.expectRevert(data);
        market.abort(id);
    }

    function refuseEnds(bytes32 id, bytes memory data) private {
        VM.expectRevert(data);
        market.topUp(id, 1);
        VM.expectRevert(data);
        market.close(id);
        VM.expectRevert(data);
        market.reject(id);
        VM.expectRevert(data);
        market.providerClose(id);
        VM.expectRevert(data);
        market.finish(id);
    }

    /// @dev `flows` in the order of the event: pay, fee, burned, refunded, bond to the provider, bond to the buyer.
    function expectEnd(bytes32 id, IMarket.EndReason reason, uint256 endedAt, uint256[6] memory flows) private {
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.LeaseEnded(
            id, provider, reason, uint32(endedAt), flows[0], flows[1], flows[2], flows[3], flows[4], flows[5]
        );
    }
}
