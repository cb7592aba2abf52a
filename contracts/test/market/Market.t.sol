// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "./MarketFixture.sol";

/// @dev settle and cancel; the rules are in base/Orders.t.sol.
contract MarketTest is MarketFixture {
    function test_settle_opens_a_lease() public {
        Trade memory t = goodTrade();
        bytes32 id = market.bidDigest(t.bid);
        VM.prank(buyer);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.LeaseOpened(
            id,
            buyer,
            provider,
            t.accept.offer,
            t.bid.node,
            t.accept.node,
            RATE,
            DURATION,
            MAX_DURATION,
            BOND_SECONDS,
            START + ACTIVATE_WITHIN,
            false
        );
        assertEq(market.settle(t.bid, t.bidSignature, t.accept, t.acceptSignature), id, "id");
        assertEq(freeOf(buyer), DEPOSIT - ESCROW, "buyer");
        assertEq(freeOf(provider), DEPOSIT - BOND, "provider");
        assertConserved(id);
    }

    function test_an_opened_lease_shows_its_promises() public {
        IMarket.LeaseView memory v = market.lease(openedLease());
        assertEq(uint256(v.state), uint256(IMarket.LeaseState.Opened), "state");
        assertEq(uint256(v.reason), 0, "reason");
        assertEq(v.buyer, buyer, "buyer");
        assertEq(v.provider, provider, "provider");
        assertEq(v.rate, RATE, "rate");
        assertEq(v.bondSeconds, BOND_SECONDS, "bondSeconds");
        assertEq(v.activateBy, START + ACTIVATE_WITHIN, "activateBy");
        assertEq(v.duration, DURATION, "duration");
        assertEq(v.maxDuration, MAX_DURATION, "maxDuration");
        assertEq(uint256(v.maxEnd) + v.paidUntil + v.fundedUntil, 0, "fields of an active lease");
    }

    function test_a_lease_that_is_not_there_is_all_zero() public view {
        assertEq(keccak256(abi.encode(market.lease(keccak256("none")))), keccak256(new bytes(13 * 32)), "zero");
    }

    function test_only_the_settler_settles() public {
        Trade memory t = goodTrade();
        VM.prank(stranger);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotSettler.selector, stranger, buyer));
        market.settle(t.bid, t.bidSignature, t.accept, t.acceptSignature);
        VM.prank(provider);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotSettler.selector, provider, buyer));
        market.settle(t.bid, t.bidSignature, t.accept, t.acceptSignature);
    }

    function test_a_named_settler_settles_in_place_of_the_buyer() public {
        Trade memory t = goodTrade();
        t.bid.settler = stranger;
        resign(t);
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotSettler.selector, buyer, stranger));
        market.settle(t.bid, t.bidSignature, t.accept, t.acceptSignature);
        settle(t);
        assertEq(freeOf(buyer), DEPOSIT - ESCROW, "the buyer pays");
    }

    function test_an_operator_of_the_settler_settles() public {
        VM.prank(buyer);
        market.setOperator(operator, true);
        Trade memory t = goodTrade();
        VM.prank(operator);
        market.settle(t.bid, t.bidSignature, t.accept, t.acceptSignature);
    }

    function test_a_bid_opens_one_lease() public {
        Trade memory t = goodTrade();
        bytes32 id = settle(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.LeaseExists.selector, id, IMarket.LeaseState.Opened));
        VM.prank(provider);
        market.activate(id);
        refuseTrade(t, abi.encodeWithSelector(IMarket.LeaseExists.selector, id, IMarket.LeaseState.Active));
        VM.prank(buyer);
        market.close(id);
        refuseTrade(t, abi.encodeWithSelector(IMarket.LeaseExists.selector, id, IMarket.LeaseState.Ended));
    }

    function test_a_second_accept_of_the_same_bid_is_refused() public {
        Trade memory t = goodTrade();
        bytes32 id = settle(t);
        t.accept.rate -= 1;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.LeaseExists.selector, id, IMarket.LeaseState.Opened));
    }

    // ------------------------------------------------------------------------------------------------ cancel

    function test_a_cancelled_bid_cannot_be_settled() public {
        Trade memory t = goodTrade();
        VM.prank(buyer);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.BidCancelled(t.accept.bid, buyer);
        market.cancel(t.bid);
        refuseTrade(t, abi.encodeWithSelector(IMarket.LeaseExists.selector, t.accept.bid, IMarket.LeaseState.Ended));
        IMarket.LeaseView memory v = market.lease(t.accept.bid);
        assertEq(uint256(v.reason), uint256(IMarket.EndReason.Cancelled), "reason");
    }

    function test_a_settled_bid_cannot_be_cancelled() public {
        Trade memory t = goodTrade();
        bytes32 id = settle(t);
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.LeaseExists.selector, id, IMarket.LeaseState.Opened));
        market.cancel(t.bid);
    }

    function test_a_bid_is_cancelled_once() public {
        Trade memory t = goodTrade();
        VM.startPrank(buyer);
        market.cancel(t.bid);
        VM.expectRevert(abi.encodeWithSelector(IMarket.LeaseExists.selector, t.accept.bid, IMarket.LeaseState.Ended));
        market.cancel(t.bid);
        VM.stopPrank();
    }

    function test_only_the_buyer_and_its_operator_cancel() public {
        Trade memory t = goodTrade();
        VM.prank(provider);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotBuyer.selector, provider, buyer));
        market.cancel(t.bid);
        VM.prank(buyer);
        market.setOperator(operator, true);
        VM.prank(operator);
        market.cancel(t.bid);
    }

    // --------------------------------------------------------------------------------- changes of signed fields

    /// @dev A bid with any one field changed is another bid than the accept's.
    function testFuzz_a_changed_bid_is_refused(uint256 field, uint256 seed) public {
        Trade memory t = goodTrade();
        field = bound(field, 0, 10);
        changeWord(field, seed, abi.encode(t.bid), 11);
        t.bid = abi.decode(changed, (IMarket.Bid));
        bytes memory reason = abi.encodeWithSelector(IMarket.WrongBid.selector, t.accept.bid, market.bidDigest(t.bid));
        refuseTrade(t, reason);
    }

    /// @dev A bid with any one field changed, and an accept to match, lacks the buyer's signature (or breaks a rule).
    function testFuzz_a_changed_bid_lacks_a_signature(uint256 field, uint256 seed) public {
        Trade memory t = goodTrade();
        bytes memory signature = t.bidSignature;
        changeWord(bound(field, 0, 10), seed, abi.encode(t.bid), 11);
        t.bid = abi.decode(changed, (IMarket.Bid));
        resign(t);
        t.bidSignature = signature;
        assertRefused(t);
    }

    /// @dev An accept with any one field changed lacks the provider's signature (or breaks a rule).
    function testFuzz_a_changed_accept_is_refused(uint256 field, uint256 seed) public {
        Trade memory t = goodTrade();
        changeWord(bound(field, 0, 9), seed, abi.encode(t.accept), 10);
        t.accept = abi.decode(changed, (IMarket.Accept));
        assertRefused(t);
    }

    bytes private changed;

    /// @dev Flips bits in the lowest bytes of one word of an encoded struct, never beyond the width of its type.
    function changeWord(uint256 field, uint256 seed, bytes memory encoded, uint256 words) private {
        assertEq(encoded.length, words * 32, "words");
        uint256 position = field * 32 + 31;
        // All types are at least 32 bits wide, but for the accept's `burn`.
        bool isBool = words == 10 && field == 8;
        uint256 bytesToFlip = isBool ? 1 : bound(seed, 1, 4);
        for (uint256 i = 0; i < bytesToFlip; i++) {
            uint8 mask = isBool ? 1 : uint8(bound(seed >> (8 * (i + 1)), 1, 255));
            encoded[position - i] = bytes1(uint8(encoded[position - i]) ^ mask);
        }
        changed = encoded;
    }

    /// @dev Settling `t` reverts with one of the Market's named errors.
    function assertRefused(Trade memory t) private {
        VM.prank(t.bid.settler);
        (bool ok, bytes memory reason) =
            address(market).call(abi.encodeCall(market.settle, (t.bid, t.bidSignature, t.accept, t.acceptSignature)));
        assertTrue(!ok, "settled");
        bytes4 selector = bytes4(reason);
        assertTrue(isRule(selector), VM.toString(uint32(selector)));
        assertEq(freeOf(buyer) + freeOf(provider), 2 * DEPOSIT, "nothing moved");
    }

    function isRule(bytes4 s) private pure returns (bool) {
        return isRuleOfTime(s) || s == IMarket.WrongBid.selector || s == IMarket.EpochMismatch.selector
            || s == IMarket.RateTooHigh.selector || s == IMarket.BondTooShort.selector
            || s == IMarket.BondTooLong.selector || s == IMarket.DurationTooShort.selector
            || s == IMarket.DurationTooLong.selector || s == IMarket.MaxDurationTooLong.selector
            || s == IMarket.ActivateWithinTooLong.selector || s == IMarket.PointsTooLow.selector
            || s == IMarket.BuyerFunds.selector || s == IMarket.ProviderFunds.selector
            || s == IMarket.BidSignatureInvalid.selector || s == IMarket.AcceptSignatureInvalid.selector;
    }

    function isRuleOfTime(bytes4 s) private pure returns (bool) {
        return
            s == IMarket.BidExpired.selector || s == IMarket.AcceptExpired.selector
                || s == IMarket.AcceptTooLong.selector;
    }
}
