// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

/// @dev The rules, in the order in which they are checked, then the signatures.
contract OrdersTest is MarketFixture {
    uint256 private constant CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    function test_quote_tells_what_is_locked() public view {
        Trade memory t = goodTrade();
        (bytes32 id, uint256 escrow, uint256 bond) = market.quote(t.bid, t.accept);
        assertEq(id, market.bidDigest(t.bid), "id");
        assertEq(escrow, ESCROW, "escrow");
        assertEq(bond, BOND, "bond");
    }

    function test_an_accept_of_another_bid_is_refused() public {
        Trade memory t = goodTrade();
        t.accept.bid = keccak256("another");
        refuseTrade(t, abi.encodeWithSelector(IMarket.WrongBid.selector, t.accept.bid, market.bidDigest(t.bid)));
    }

    function test_a_bid_counts_in_its_last_second_and_not_after() public {
        Trade memory t = goodTrade();
        t.bid.validUntil = START + 10;
        resign(t);
        VM.warp(START + 10);
        market.quote(t.bid, t.accept);
        VM.warp(START + 11);
        refuseTrade(t, abi.encodeWithSelector(IMarket.BidExpired.selector, START + 10, START + 11));
    }

    function test_an_accept_counts_in_its_last_second_and_not_after() public {
        Trade memory t = goodTrade();
        VM.warp(START + 300);
        market.quote(t.bid, t.accept);
        VM.warp(START + 301);
        refuseTrade(t, abi.encodeWithSelector(IMarket.AcceptExpired.selector, START + 300, START + 301));
    }

    function test_an_accept_that_holds_too_long_is_refused() public {
        Trade memory t = goodTrade();
        t.accept.settleBy = START + 301;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.AcceptTooLong.selector, START + 301, START + 300));
    }

    function test_a_maker_cannot_trade_with_itself() public {
        Trade memory t = goodTrade();
        t.accept.provider = buyer;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.SameParty.selector, buyer));
    }

    function test_a_bid_of_an_earlier_epoch_is_refused() public {
        Trade memory t = goodTrade();
        VM.prank(buyer);
        market.bumpEpoch();
        refuseTrade(t, abi.encodeWithSelector(IMarket.EpochMismatch.selector, 0, 1));
        t.bid.epoch = 1;
        resign(t);
        settle(t);
    }

    function test_a_bid_of_a_later_epoch_is_refused() public {
        Trade memory t = goodTrade();
        t.bid.epoch = 1;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.EpochMismatch.selector, 1, 0));
    }

    function test_a_rate_of_zero_is_refused() public {
        Trade memory t = goodTrade();
        t.accept.rate = 0;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.RateZero.selector));
    }

    function test_a_rate_above_the_bid_is_refused() public {
        Trade memory t = goodTrade();
        t.accept.rate = RATE + 1;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.RateTooHigh.selector, RATE + 1, RATE));
    }

    function test_a_rate_below_the_bid_is_what_counts() public {
        Trade memory t = goodTrade();
        t.accept.rate = RATE / 2;
        resign(t);
        settle(t);
        assertEq(freeOf(buyer), DEPOSIT - ESCROW / 2, "escrow at the accept's rate");
    }

    function test_a_bond_shorter_than_the_bid_wants_is_refused() public {
        Trade memory t = goodTrade();
        t.accept.bondSeconds = BOND_SECONDS - 1;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.BondTooShort.selector, BOND_SECONDS - 1, BOND_SECONDS));
    }

    function test_a_bond_of_more_than_a_day_is_refused() public {
        Trade memory t = goodTrade();
        t.accept.bondSeconds = 86_401;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.BondTooLong.selector, 86_401, 86_400));
        t.accept.bondSeconds = 86_400;
        resign(t);
        settle(t);
    }

    function test_no_bond_is_fine_where_the_bid_wants_none() public {
        Trade memory t = goodTrade();
        t.bid.minBondSeconds = 0;
        t.accept.bondSeconds = 0;
        resign(t);
        settle(t);
        assertEq(freeOf(provider), DEPOSIT, "nothing locked");
    }

    function test_a_duration_below_the_minimum_is_refused() public {
        Trade memory t = goodTrade();
        t.bid.duration = 299;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.DurationTooShort.selector, 299, 300));
        t.bid.duration = 300;
        resign(t);
        settle(t);
    }

    function test_a_duration_above_the_accept_is_refused() public {
        Trade memory t = goodTrade();
        t.accept.maxDuration = DURATION - 1;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.DurationTooLong.selector, DURATION, DURATION - 1));
    }

    function test_a_longest_duration_above_the_maximum_is_refused() public {
        Trade memory t = goodTrade();
        t.accept.maxDuration = 366 days + 1;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.MaxDurationTooLong.selector, 366 days + 1, 366 days));
        t.accept.maxDuration = 366 days;
        resign(t);
        settle(t);
    }

    function test_a_late_activation_is_refused() public {
        Trade memory t = goodTrade();
        t.accept.activateWithin = 1801;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.ActivateWithinTooLong.selector, 1801, 1800));
    }

    function test_too_few_points_are_refused() public {
        Trade memory t = goodTrade();
        t.bid.minPoints = 1;
        resign(t);
        refuseTrade(t, abi.encodeWithSelector(IMarket.PointsTooLow.selector, 0, 1));
    }

    function test_a_buyer_without_funds_is_refused() public {
        Trade memory t = goodTrade();
        VM.prank(buyer);
        market.withdraw(DEPOSIT - ESCROW + 1);
        refuseTrade(t, abi.encodeWithSelector(IMarket.BuyerFunds.selector, buyer, ESCROW - 1, ESCROW));
        fund(buyer, 1);
        settle(t);
        assertEq(freeOf(buyer), 0, "all is locked");
    }

    function test_a_provider_without_funds_is_refused() public {
        Trade memory t = goodTrade();
        VM.prank(provider);
        market.withdraw(DEPOSIT - BOND + 1);
        refuseTrade(t, abi.encodeWithSelector(IMarket.ProviderFunds.selector, provider, BOND - 1, BOND));
    }

    // -------------------------------------------------------------------------------------------- signatures

    function test_a_bid_signed_by_a_stranger_is_refused() public {
        Trade memory t = goodTrade();
        t.bidSignature = sign(STRANGER_KEY, t.accept.bid);
        refuseSettle(t, abi.encodeWithSelector(IMarket.BidSignatureInvalid.selector, stranger, buyer));
    }

    function test_an_accept_signed_by_a_stranger_is_refused() public {
        Trade memory t = goodTrade();
        t.acceptSignature = sign(STRANGER_KEY, market.acceptDigest(t.accept));
        refuseSettle(t, abi.encodeWithSelector(IMarket.AcceptSignatureInvalid.selector, stranger, provider));
    }

    function test_operators_sign_for_their_makers_while_they_are_approved() public {
        VM.prank(buyer);
        market.setOperator(operator, true);
        VM.prank(provider);
        market.setOperator(stranger, true);
        Trade memory t = goodTrade();
        t.bidSignature = sign(OPERATOR_KEY, t.accept.bid);
        t.acceptSignature = sign(STRANGER_KEY, market.acceptDigest(t.accept));

        VM.prank(buyer);
        market.setOperator(operator, false);
        refuseSettle(t, abi.encodeWithSelector(IMarket.BidSignatureInvalid.selector, operator, buyer));
        VM.prank(buyer);
        market.setOperator(operator, true);
        VM.prank(provider);
        market.setOperator(stranger, false);
        refuseSettle(t, abi.encodeWithSelector(IMarket.AcceptSignatureInvalid.selector, stranger, provider));
        VM.prank(provider);
        market.setOperator(stranger, true);
        settle(t);
    }

    function test_malformed_signatures_are_of_nobody() public {
        Trade memory t = goodTrade();
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(BUYER_KEY, t.accept.bid);
        refuseBidSignature(t, "");
        refuseBidSignature(t, abi.encodePacked(r, s, v, uint8(0)));
        refuseBidSignature(t, abi.encodePacked(r));
        refuseBidSignature(t, abi.encodePacked(r, s, v - 27));
        refuseBidSignature(t, abi.encodePacked(bytes32(0), s, v));
        // The same signature with the other s, which the curve would take.
        bytes32 highS = bytes32(CURVE_ORDER - uint256(s));
        refuseBidSignature(t, abi.encodePacked(r, highS, v == 27 ? uint8(28) : uint8(27)));
        // In the compact form the top bit is v, so of the high half only what is below it can be written.
        refuseBidSignature(t, abi.encodePacked(r, bytes32(CURVE_ORDER / 2 + 1)));
    }

    function test_compact_signatures_settle() public {
        Trade memory t = goodTrade();
        t.bidSignature = compact(t.bidSignature);
        t.acceptSignature = compact(t.acceptSignature);
        assertEq(t.bidSignature.length, 64, "ERC-2098");
        assertEq(uint256(market.lease(settle(t)).state), uint256(IMarket.LeaseState.Opened), "state");
    }

    function testFuzz_compact_signatures_are_as_good(uint64 salt) public {
        Trade memory t = goodTrade();
        t.bid.salt = salt;
        resign(t);
        t.bidSignature = compact(t.bidSignature);
        settle(t);
    }

    /// @dev EIP-7702: an account with delegated code is still its key's. Its code is never asked.
    function test_a_maker_with_delegated_code_signs_as_before() public {
        Trade memory t = goodTrade();
        VM.etch(buyer, abi.encodePacked(hex"ef0100", address(token)));
        VM.etch(provider, abi.encodePacked(hex"ef0100", address(market)));
        settle(t);
        VM.prank(provider);
        market.activate(t.accept.bid);
        VM.prank(buyer);
        market.close(t.accept.bid);
    }

    function test_a_malformed_accept_signature_is_of_nobody() public {
        Trade memory t = goodTrade();
        t.acceptSignature = "";
        refuseSettle(t, abi.encodeWithSelector(IMarket.AcceptSignatureInvalid.selector, address(0), provider));
    }

    /// @dev A recovery that fails gives the zero address, which must not count as that maker's signature.
    function test_nobody_is_not_the_zero_address() public {
        Trade memory t = goodTrade();
        t.bid.minBondSeconds = 0;
        (t.accept.provider, t.accept.bondSeconds) = (address(0), 0);
        resign(t);
        t.acceptSignature = "";
        refuseSettle(t, abi.encodeWithSelector(IMarket.AcceptSignatureInvalid.selector, address(0), address(0)));
    }

    function refuseBidSignature(Trade memory t, bytes memory signature) private {
        t.bidSignature = signature;
        refuseSettle(t, abi.encodeWithSelector(IMarket.BidSignatureInvalid.selector, address(0), buyer));
    }

    // ------------------------------------------------------------------------------------------------ digests

    function test_digests_are_those_of_the_type_strings() public view {
        Trade memory t = goodTrade();
        bytes32 bidHash = keccak256(
            abi.encode(
                keccak256(
                    "Bid(address buyer,address settler,bytes32 spec,bytes32 node,uint64 maxRate,uint32 minBondSeconds,uint64 minPoints,uint32 duration,uint64 validUntil,uint32 epoch,uint64 salt)"
                ),
                t.bid
            )
        );
        assertEq(market.bidDigest(t.bid), digest(bidHash), "bid");
        bytes32 acceptHash = keccak256(
            abi.encode(
                keccak256(
                    "Accept(bytes32 bid,bytes32 offer,address provider,bytes32 node,uint64 rate,uint32 bondSeconds,uint32 activateWithin,uint32 maxDuration,bool burn,uint64 settleBy)"
                ),
                t.accept
            )
        );
        assertEq(market.acceptDigest(t.accept), digest(acceptHash), "accept");
    }

    function digest(bytes32 hashStruct) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", market.domainSeparator(), hashStruct));
    }

    /// @dev ERC-2098: the parity of v in the top bit of s.
    function compact(bytes memory signature) private pure returns (bytes memory) {
        bytes32 r;
        uint256 s;
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
        }
        return abi.encodePacked(r, s | (uint256(uint8(signature[64])) - 27) << 255);
    }
}
