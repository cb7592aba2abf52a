// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IERC20Errors } from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

/// @dev What an operator can do for both of its makers, what it cannot, and what a relayer needs.
contract OperatorsTest is MarketFixture {
    function setUp() public override {
        super.setUp();
        approve(buyer, operator, true);
        approve(provider, operator, true);
    }

    /// @dev Every call of IMarket by an operator of both sides: what moves, moves between its makers and the bucket.
    function test_an_operator_moves_nothing_out() public {
        bytes32 closed = settleAs(operator, 1);
        bytes32 rejected = settleAs(operator, 2);
        bytes32 left = settleAs(operator, 3);
        bytes32 finished = settleAs(operator, 4);
        bytes32 aborted = settleAs(operator, 5);
        Trade memory t = goodTrade();
        t.bid.salt = 6;
        VM.startPrank(operator);
        market.cancel(t.bid);
        market.activate(closed);
        market.activate(rejected);
        market.activate(left);
        market.activate(finished);
        market.abort(aborted);
        market.topUp(closed, 60);
        VM.warp(START + HOLD + 100);
        market.claim(one(closed));
        market.close(closed);
        market.reject(rejected);
        market.providerClose(left);
        VM.warp(START + DURATION + HOLD);
        market.finish(finished);
        market.flushBurn();
        VM.stopPrank();

        assertEq(freeOf(operator), 0, "free");
        assertEq(token.balanceOf(operator), 0, "wallet");
        assertEq(pointsOf(operator), 0, "points");
        assertEq(freeOf(buyer) + freeOf(provider), token.balanceOf(address(market)), "all is the makers'");
    }

    /// @dev The calls that pay out or change an account act on the caller's own, whoever approved it.
    function test_an_operator_has_only_its_own_account() public {
        VM.startPrank(operator);
        VM.expectRevert(abi.encodeWithSelector(IMarket.InsufficientFree.selector, operator, 0, 1));
        market.withdraw(1);
        VM.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, operator, 0, 1));
        token.transfer(stranger, 1);
        market.bumpEpoch();
        market.setOperator(stranger, true);
        VM.stopPrank();
        (, uint32 epoch,) = market.account(buyer);
        assertEq(epoch, 0, "the maker's epoch");
        assertTrue(!market.isOperator(buyer, stranger) && !market.isOperator(provider, stranger), "named for the maker");
        // An operator of an operator is nobody to the maker.
        bytes32 id = activeLease();
        VM.prank(stranger);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotBuyer.selector, stranger, buyer));
        market.close(id);
    }

    function test_what_an_operator_deposits_is_its_own_or_the_makers() public {
        token.transfer(operator, 3 ether);
        VM.startPrank(operator);
        token.approve(address(market), 3 ether);
        market.deposit(1 ether);
        market.depositFor(buyer, 2 ether);
        market.withdraw(1 ether);
        VM.stopPrank();
        assertEq(token.balanceOf(operator), 1 ether, "back");
        assertEq(freeOf(buyer), DEPOSIT + 2 ether, "given");
    }

    /// @dev Even where the Market may take all of it: deposits are the caller's own, and nothing else takes tokens in.
    function test_a_makers_wallet_is_out_of_an_operators_reach() public {
        token.transfer(buyer, 5 ether);
        VM.prank(buyer);
        token.approve(address(market), type(uint256).max);
        bytes memory poor =
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 0, 1);
        VM.startPrank(operator);
        VM.expectRevert(poor);
        market.deposit(1);
        VM.expectRevert(poor);
        market.depositFor(operator, 1);
        VM.expectRevert(poor);
        market.depositFor(buyer, 1);
        VM.expectRevert(poor);
        market.depositWithPermit(1, block.timestamp, 27, 0, 0);
        VM.stopPrank();
        // A trade that takes more than is free is refused, and not drawn from the wallet.
        Trade memory t = goodTrade();
        t.bid.maxRate = t.accept.rate = uint64(DEPOSIT / DURATION + 1);
        (t.bid.minBondSeconds, t.accept.bondSeconds) = (0, 0);
        t.accept.bid = market.bidDigest(t.bid);
        t.bidSignature = sign(OPERATOR_KEY, t.accept.bid);
        t.acceptSignature = sign(PROVIDER_KEY, market.acceptDigest(t.accept));
        uint256 needed = uint256(t.accept.rate) * DURATION;
        refuseTrade(t, abi.encodeWithSelector(IMarket.BuyerFunds.selector, buyer, DEPOSIT, needed));
        assertEq(token.balanceOf(buyer), 5 ether, "wallet");
    }

    /// @dev What docs/contracts.md warns of: no call pays an operator, but a trade of its own with its maker can, and a
    /// bond of all that is free, then an abort, is the quickest. Who is approved is trusted with the free balance.
    function test_an_operator_that_trades_with_its_maker_can_have_all_that_is_free() public {
        fund(operator, 10 ether);
        Trade memory t = goodTrade();
        (t.bid.buyer, t.bid.settler) = (operator, operator);
        (t.bid.duration, t.accept.bondSeconds) = (300, 86_400);
        t.bid.maxRate = t.accept.rate = uint64(DEPOSIT / 86_400);
        t.accept.bid = market.bidDigest(t.bid);
        t.bidSignature = sign(OPERATOR_KEY, t.accept.bid);
        t.acceptSignature = sign(OPERATOR_KEY, market.acceptDigest(t.accept));
        bytes32 id = settle(t);
        VM.prank(operator);
        market.abort(id);
        assertTrue(freeOf(provider) < 86_400, "all of the provider's");
        assertEq(freeOf(operator) + freeOf(provider), 10 ether + DEPOSIT, "is the operator's");
    }

    // ------------------------------------------------------------------------------------------------ revoked

    /// @dev Signed while it was approved, tried in the second in which it was revoked.
    function test_orders_of_a_revoked_operator_are_void_at_once() public {
        Trade memory t = goodTrade();
        t.bidSignature = sign(OPERATOR_KEY, t.accept.bid);
        approve(buyer, operator, false);
        refuseSettle(t, abi.encodeWithSelector(IMarket.BidSignatureInvalid.selector, operator, buyer));

        t = goodTrade();
        t.acceptSignature = sign(OPERATOR_KEY, market.acceptDigest(t.accept));
        approve(provider, operator, false);
        refuseSettle(t, abi.encodeWithSelector(IMarket.AcceptSignatureInvalid.selector, operator, provider));
    }

    function test_a_revoked_operator_may_call_nothing() public {
        Trade memory t = goodTrade();
        bytes32 opened = settleAs(operator, 2);
        bytes32 active = activeLease();
        approve(buyer, operator, false);
        approve(provider, operator, false);
        bytes memory notBuyer = abi.encodeWithSelector(IMarket.NotBuyer.selector, operator, buyer);
        bytes memory notProvider = abi.encodeWithSelector(IMarket.NotProvider.selector, operator, provider);
        t.bid.salt = 3;
        resign(t);
        VM.startPrank(operator);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotSettler.selector, operator, buyer));
        market.settle(t.bid, t.bidSignature, t.accept, t.acceptSignature);
        VM.expectRevert(notBuyer);
        market.cancel(t.bid);
        VM.expectRevert(notBuyer);
        market.topUp(active, 1);
        VM.expectRevert(notBuyer);
        market.close(active);
        VM.expectRevert(notBuyer);
        market.reject(active);
        VM.expectRevert(notProvider);
        market.providerClose(active);
        VM.expectRevert(notProvider);
        market.activate(opened);
        VM.expectRevert(abi.encodeWithSelector(IMarket.AbortEarly.selector, START + ACTIVATE_WITHIN, START));
        market.abort(opened);
        VM.stopPrank();
    }

    /// @dev What it did while it was approved stands.
    function test_a_lease_outlives_its_operator() public {
        bytes32 id = settleAs(operator, 2);
        approve(buyer, operator, false);
        VM.prank(provider);
        market.activate(id);
        VM.prank(buyer);
        market.close(id);
    }

    // ------------------------------------------------------------------------------------------------ relayers

    /// @dev A relayer holds the buyer's signature and no more: it cannot settle without a provider, nor change a word,
    /// nor have anything of it; and it may settle once.
    function test_a_relayer_with_only_the_buyers_signature() public {
        Trade memory t = goodTrade();
        t.bid.settler = stranger;
        resign(t);
        bytes memory honest = t.acceptSignature;
        t.acceptSignature = t.bidSignature;
        VM.prank(stranger);
        (bool ok,) =
            address(market).call(abi.encodeCall(IMarket.settle, (t.bid, t.bidSignature, t.accept, t.acceptSignature)));
        assertTrue(!ok, "settled without a provider");

        // Its own accept, as a provider who has no funds for a bond, and as one who needs none.
        t.accept.provider = stranger;
        t.acceptSignature = sign(STRANGER_KEY, market.acceptDigest(t.accept));
        refuseSettle(t, abi.encodeWithSelector(IMarket.ProviderFunds.selector, stranger, 0, BOND));
        t.accept.bondSeconds = 0;
        t.acceptSignature = sign(STRANGER_KEY, market.acceptDigest(t.accept));
        refuseSettle(t, abi.encodeWithSelector(IMarket.BondTooShort.selector, 0, BOND_SECONDS));

        (t.accept.provider, t.accept.bondSeconds, t.acceptSignature) = (provider, BOND_SECONDS, honest);
        bytes32 id = settle(t);
        assertEq(freeOf(stranger) + token.balanceOf(stranger), 0, "the relayer has nothing of it");
        refuseSettle(t, abi.encodeWithSelector(IMarket.LeaseExists.selector, id, IMarket.LeaseState.Opened));
        VM.prank(provider);
        market.activate(id);
        VM.prank(stranger);
        VM.expectRevert(abi.encodeWithSelector(IMarket.NotBuyer.selector, stranger, buyer));
        market.close(id);
    }

    /// @dev The buyer keeps the last word: it can withdraw the bid from a relayer in three ways.
    function test_a_buyer_takes_a_bid_back_from_its_relayer() public {
        Trade memory t = goodTrade();
        t.bid.settler = stranger;
        resign(t);
        VM.prank(buyer);
        market.cancel(t.bid);
        refuseSettle(t, abi.encodeWithSelector(IMarket.LeaseExists.selector, t.accept.bid, IMarket.LeaseState.Ended));
        t.bid.salt = 2;
        resign(t);
        VM.prank(buyer);
        market.withdraw(DEPOSIT);
        refuseSettle(t, abi.encodeWithSelector(IMarket.BuyerFunds.selector, buyer, 0, ESCROW));
        fund(buyer, DEPOSIT);
        VM.prank(buyer);
        market.bumpEpoch();
        refuseSettle(t, abi.encodeWithSelector(IMarket.EpochMismatch.selector, 0, 1));
    }

    function approve(address maker, address key, bool yes) private {
        VM.prank(maker);
        market.setOperator(key, yes);
    }

    /// @dev Signed for both sides by the operator, and settled by `caller`.
    function settleAs(address caller, uint64 salt) private returns (bytes32) {
        Trade memory t = goodTrade();
        t.bid.salt = salt;
        t.accept.bid = market.bidDigest(t.bid);
        t.bidSignature = sign(OPERATOR_KEY, t.accept.bid);
        t.acceptSignature = sign(OPERATOR_KEY, market.acceptDigest(t.accept));
        VM.prank(caller);
        return market.settle(t.bid, t.bidSignature, t.accept, t.acceptSignature);
    }
}
