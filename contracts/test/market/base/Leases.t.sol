// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

/// @dev From settle to the last claim; the ends are in LeasesEnd.t.sol.
contract LeasesTest is MarketFixture {
    // ---------------------------------------------------------------------------------------------- activate

    function test_activate_starts_the_clock() public {
        bytes32 id = openedLease();
        VM.warp(START + 100);
        VM.prank(provider);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.LeaseActivated(id, START + 100, START + 100 + DURATION, START + 100 + MAX_DURATION);
        market.activate(id);

        IMarket.LeaseView memory v = market.lease(id);
        assertEq(uint256(v.state), uint256(IMarket.LeaseState.Active), "state");
        assertEq(v.paidUntil, START + 100, "paidUntil");
        assertEq(v.fundedUntil, START + 100 + DURATION, "fundedUntil");
        assertEq(v.maxEnd, START + 100 + MAX_DURATION, "maxEnd");
        assertEq(v.buyer, buyer, "buyer");
        assertEq(v.bondSeconds, BOND_SECONDS, "bondSeconds");
        assertEq(uint256(v.activateBy) + v.duration + v.maxDuration, 0, "fields of an opened lease");
        assertConserved(id);
    }

    function test_activate_at_the_deadline() public {
        bytes32 id = openedLease();
        VM.warp(START + ACTIVATE_WITHIN);
        VM.prank(provider);
        market.activate(id);
    }

    function test_activate_after_the_deadline_is_refused() public {
        bytes32 id = openedLease();
        VM.warp(START + ACTIVATE_WITHIN + 1);
        VM.prank(provider);
        VM.expectRevert(
            abi.encodeWithSelector(
                IMarket.ActivationLate.selector, START + ACTIVATE_WITHIN, START + ACTIVATE_WITHIN + 1
            )
        );
        market.activate(id);
    }

    function test_only_the_provider_and_its_operator_activate() public {
        bytes32 id = openedLease();
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotProvider.selector, buyer, provider));
        market.activate(id);
        VM.prank(provider);
        market.setOperator(operator, true);
        VM.prank(operator);
        market.activate(id);
    }

    function test_activate_twice_is_refused() public {
        bytes32 id = activeLease();
        VM.prank(provider);
        VM.expectRevert(wrongState(id, IMarket.LeaseState.Active, IMarket.LeaseState.Opened));
        market.activate(id);
    }

    // ------------------------------------------------------------------------------------------------- topUp

    function test_topUp_moves_the_end_of_the_funds() public {
        bytes32 id = activeLease();
        VM.warp(START + 10);
        VM.prank(buyer);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.LeaseToppedUp(id, START + DURATION + 100, uint256(RATE) * 100);
        market.topUp(id, 100);
        assertEq(market.lease(id).fundedUntil, START + DURATION + 100, "fundedUntil");
        assertEq(freeOf(buyer), DEPOSIT - ESCROW - uint256(RATE) * 100, "buyer");
        assertConserved(id);
    }

    function test_topUp_in_the_last_second() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION - 1);
        VM.prank(buyer);
        market.topUp(id, 1);
        VM.warp(START + DURATION);
        VM.prank(buyer);
        market.topUp(id, 1);
    }

    function test_topUp_after_the_funds_ended_is_refused() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION);
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.LeaseOver.selector, START + DURATION, START + DURATION));
        market.topUp(id, 1);
    }

    function test_topUp_to_the_longest_duration_and_not_beyond() public {
        bytes32 id = activeLease();
        uint32 rest = MAX_DURATION - DURATION;
        VM.startPrank(buyer);
        VM.expectRevert(
            abi.encodeWithSelector(IMarket.TopUpTooLong.selector, START + MAX_DURATION + 1, START + MAX_DURATION)
        );
        market.topUp(id, rest + 1);
        VM.expectRevert(
            abi.encodeWithSelector(
                IMarket.TopUpTooLong.selector, uint256(START) + DURATION + type(uint32).max, START + MAX_DURATION
            )
        );
        market.topUp(id, type(uint32).max);
        market.topUp(id, rest);
        VM.stopPrank();
        assertConserved(id);
    }

    function test_topUp_of_nothing_is_refused() public {
        bytes32 id = activeLease();
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.ZeroSeconds.selector));
        market.topUp(id, 0);
    }

    function test_topUp_without_funds_is_refused() public {
        bytes32 id = activeLease();
        VM.startPrank(buyer);
        market.withdraw(DEPOSIT - ESCROW);
        VM.expectRevert(abi.encodeWithSelector(IMarket.InsufficientFree.selector, buyer, 0, RATE));
        market.topUp(id, 1);
        VM.stopPrank();
    }

    function test_only_the_buyer_and_its_operator_top_up() public {
        bytes32 id = activeLease();
        VM.prank(provider);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotBuyer.selector, provider, buyer));
        market.topUp(id, 1);
        VM.prank(buyer);
        market.setOperator(operator, true);
        VM.prank(operator);
        market.topUp(id, 1);
        assertEq(freeOf(buyer), DEPOSIT - ESCROW - RATE, "the buyer pays");
    }

    function test_topUp_before_activation_is_refused() public {
        bytes32 id = openedLease();
        VM.prank(buyer);
        VM.expectRevert(wrongState(id, IMarket.LeaseState.Opened, IMarket.LeaseState.Active));
        market.topUp(id, 1);
    }

    // ------------------------------------------------------------------------------------------------- claim

    function test_claim_pays_what_is_hold_old() public {
        bytes32 id = activeLease();
        VM.warp(START + HOLD + 100);
        VM.prank(stranger);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.LeaseClaimed(id, provider, START + 100, uint256(NET_RATE) * 100, uint256(FEE_RATE) * 100);
        claim(id);
        assertEq(freeOf(provider), DEPOSIT - BOND + uint256(NET_RATE) * 100, "provider");
        assertEq(feesInBucket(), uint256(FEE_RATE) * 100, "fees");
        assertEq(market.lease(id).paidUntil, START + 100, "paidUntil");
        assertConserved(id);
    }

    function test_claim_inside_the_hold_finds_nothing() public {
        bytes32 id = activeLease();
        VM.warp(START + HOLD);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NothingToClaim.selector));
        claim(id);
        VM.warp(START + HOLD + 1);
        claim(id);
    }

    function test_claim_twice_in_a_second_finds_nothing() public {
        bytes32 id = activeLease();
        VM.warp(START + HOLD + 100);
        claim(id);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NothingToClaim.selector));
        claim(id);
    }

    function test_claim_ends_with_the_funds() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION + HOLD + 1000);
        claim(id);
        assertEq(market.lease(id).paidUntil, START + DURATION, "paidUntil");
        assertEq(freeOf(provider), DEPOSIT - BOND + uint256(NET_RATE) * DURATION, "provider");
        VM.expectRevert(abi.encodeWithSelector(IMarket.NothingToClaim.selector));
        claim(id);
    }

    function test_claims_in_parts_pay_the_same() public {
        bytes32 id = activeLease();
        for (uint256 second = 1; second <= 50; second++) {
            VM.warp(START + HOLD + second);
            claim(id);
        }
        assertEq(freeOf(provider), DEPOSIT - BOND + uint256(NET_RATE) * 50, "provider");
        assertConserved(id);
    }

    function test_claim_of_many_skips_those_with_nothing_due() public {
        bytes32 active = activeLease();
        Trade memory t = goodTrade();
        t.bid.salt = 2;
        resign(t);
        bytes32 opened = settle(t);
        VM.warp(START + HOLD + 10);
        bytes32[] memory ids = new bytes32[](4);
        (ids[0], ids[1], ids[2], ids[3]) = (opened, keccak256("unknown"), active, active);
        market.claim(ids);
        assertEq(freeOf(provider), DEPOSIT - 2 * BOND + uint256(NET_RATE) * 10, "provider");
    }

    function test_claim_of_none_finds_nothing() public {
        VM.expectRevert(abi.encodeWithSelector(IMarket.NothingToClaim.selector));
        market.claim(new bytes32[](0));
    }

    function test_claim_with_the_burn_flag_goes_to_the_bucket() public {
        bytes32 id = activeBurnLease();
        VM.warp(START + HOLD + 100);
        claim(id);
        assertEq(freeOf(provider), DEPOSIT - BOND, "provider");
        assertEq(payoutsInBucket(), uint256(NET_RATE) * 100, "payouts");
        assertEq(feesInBucket(), uint256(FEE_RATE) * 100, "fees");
        assertConserved(id);
    }

    function test_a_fee_is_at_least_one_base_unit() public {
        Trade memory t = goodTrade();
        t.accept.rate = 1;
        resign(t);
        bytes32 id = settle(t);
        VM.prank(provider);
        market.activate(id);
        VM.warp(START + HOLD + 100);
        claim(id);
        assertEq(feesInBucket(), 100, "all of it is fee");
        assertEq(freeOf(provider), DEPOSIT - BOND_SECONDS, "nothing is left");
    }

    // ------------------------------------------------------------------------------------------------- views

    function test_many_leases_in_one_call_are_as_each_alone() public {
        bytes32[] memory ids = new bytes32[](3);
        ids[0] = activeLease();
        ids[1] = keccak256("unknown");
        ids[2] = ids[0];
        IMarket.LeaseView[] memory views = market.leases(ids);
        assertEq(views.length, 3, "length");
        for (uint256 i = 0; i < ids.length; i++) {
            assertEq(keccak256(abi.encode(views[i])), keccak256(abi.encode(market.lease(ids[i]))), "view");
        }
        assertEq(uint256(views[1].state), uint256(IMarket.LeaseState.None), "unknown");
        assertEq(market.leases(new bytes32[](0)).length, 0, "none");
    }
}
