// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { CloudToken } from "../../src/market/CloudToken.sol";
import { Market } from "../../src/market/Market.sol";
import { IMarket } from "../../src/market/interfaces/IMarket.sol";
import { Released } from "./Released.sol";

/// @title A Market with a funded buyer and provider, and a trade between them
abstract contract MarketFixture is Released {
    struct Trade {
        IMarket.Bid bid;
        IMarket.Accept accept;
        bytes bidSignature;
        bytes acceptSignature;
    }

    uint256 internal constant BUYER_KEY = 0xb0b;
    uint256 internal constant PROVIDER_KEY = 0x9a0;
    uint256 internal constant OPERATOR_KEY = 0x09e;
    uint256 internal constant STRANGER_KEY = 0x5a1;

    uint32 internal constant START = 1_800_000_000;
    uint32 internal constant HOLD = 600;
    uint32 internal constant NOTICE = 60;
    uint64 internal constant RATE = 0.001 ether;
    uint64 internal constant FEE_RATE = 0.00001 ether;
    uint64 internal constant NET_RATE = RATE - FEE_RATE;
    uint32 internal constant DURATION = 3600;
    uint32 internal constant MAX_DURATION = 7200;
    uint32 internal constant BOND_SECONDS = 600;
    uint32 internal constant ACTIVATE_WITHIN = 300;
    uint256 internal constant ESCROW = uint256(RATE) * DURATION;
    uint256 internal constant BOND = uint256(RATE) * BOND_SECONDS;
    uint256 internal constant DEPOSIT = 1000 ether;
    uint256 internal constant BASE_UNITS_PER_POINT = 1e9;
    bytes32 internal constant SALT = keccak256("a test's deployment");
    address internal constant DEAD = 0x000000000000000000000000000000000000dEaD;

    CloudToken internal token;
    Market internal market;
    address internal buyer;
    address internal provider;
    address internal operator;
    address internal stranger;

    function setUp() public virtual {
        VM.warp(START);
        token = newToken();
        market = deploy(token, defaultParams(), SALT);
        buyer = VM.addr(BUYER_KEY);
        provider = VM.addr(PROVIDER_KEY);
        operator = VM.addr(OPERATOR_KEY);
        stranger = VM.addr(STRANGER_KEY);
        fund(buyer, DEPOSIT);
        fund(provider, DEPOSIT);
    }

    function newToken() internal returns (CloudToken) {
        return deployToken();
    }

    function defaultParams() internal pure returns (IMarket.Params memory) {
        return IMarket.Params({ feeBps: 100, hold: HOLD, notice: NOTICE, halfLifeDays: 90 });
    }

    function fund(address maker, uint256 amount) internal {
        token.approve(address(market), amount);
        market.depositFor(maker, amount);
    }

    /// @dev A signed trade that settles.
    function goodTrade() internal view returns (Trade memory t) {
        t.bid = IMarket.Bid({
            buyer: buyer,
            settler: buyer,
            spec: keccak256("spec"),
            node: keccak256("buyer's node"),
            maxRate: RATE,
            minBondSeconds: BOND_SECONDS,
            minPoints: 0,
            duration: DURATION,
            validUntil: START + 600,
            epoch: 0,
            salt: 1
        });
        t.accept = IMarket.Accept({
            bid: 0,
            offer: keccak256("offer"),
            provider: provider,
            node: keccak256("provider's node"),
            rate: RATE,
            bondSeconds: BOND_SECONDS,
            activateWithin: ACTIVATE_WITHIN,
            maxDuration: MAX_DURATION,
            burn: false,
            settleBy: START + 300
        });
        resign(t);
    }

    /// @dev Ties the accept to the bid and signs both, after a change of either.
    function resign(Trade memory t) internal view {
        t.accept.bid = market.bidDigest(t.bid);
        t.bidSignature = sign(BUYER_KEY, t.accept.bid);
        t.acceptSignature = sign(PROVIDER_KEY, market.acceptDigest(t.accept));
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function settle(Trade memory t) internal returns (bytes32) {
        VM.prank(t.bid.settler);
        return market.settle(t.bid, t.bidSignature, t.accept, t.acceptSignature);
    }

    /// @dev Settling `t` and quoting it must both fail with `data`.
    function refuseTrade(Trade memory t, bytes memory data) internal {
        VM.expectRevert(data);
        market.quote(t.bid, t.accept);
        refuseSettle(t, data);
    }

    function refuseSettle(Trade memory t, bytes memory data) internal {
        VM.prank(t.bid.settler);
        VM.expectRevert(data);
        market.settle(t.bid, t.bidSignature, t.accept, t.acceptSignature);
    }

    function openedLease() internal returns (bytes32) {
        return settle(goodTrade());
    }

    /// @dev Active since now, START.
    function activeLease() internal returns (bytes32 id) {
        id = openedLease();
        VM.prank(provider);
        market.activate(id);
    }

    /// @dev As activeLease, with the burn flag.
    function activeBurnLease() internal returns (bytes32 id) {
        Trade memory t = goodTrade();
        t.accept.burn = true;
        resign(t);
        id = settle(t);
        VM.prank(provider);
        market.activate(id);
    }

    function claim(bytes32 id) internal {
        market.claim(one(id));
    }

    function one(bytes32 id) internal pure returns (bytes32[] memory ids) {
        ids = new bytes32[](1);
        ids[0] = id;
    }

    function freeOf(address maker) internal view returns (uint256 free) {
        (free,,) = market.account(maker);
    }

    function pointsOf(address maker) internal view returns (uint256 points) {
        (,, points) = market.account(maker);
    }

    function feesInBucket() internal view returns (uint256 fees) {
        (, fees) = market.burnBucket();
    }

    function payoutsInBucket() internal view returns (uint256 payouts) {
        (payouts,) = market.burnBucket();
    }

    /// @dev What a lease locks, escrow and bond.
    function lockedBy(bytes32 id) internal view returns (uint256) {
        IMarket.LeaseView memory v = market.lease(id);
        uint256 bond = uint256(v.rate) * v.bondSeconds;
        if (v.state == IMarket.LeaseState.Opened) return uint256(v.rate) * v.duration + bond;
        if (v.state == IMarket.LeaseState.Active) return uint256(v.rate) * (v.fundedUntil - v.paidUntil) + bond;
        return 0;
    }

    /// @dev Every token in the Market belongs to someone.
    function assertConserved(bytes32 id) internal view {
        uint256 owed = freeOf(buyer) + freeOf(provider) + lockedBy(id) + feesInBucket() + payoutsInBucket();
        assertEq(token.balanceOf(address(market)), owed, "tokens");
    }

    function assertEnded(bytes32 id, IMarket.EndReason reason, uint256 endedAt) internal view {
        IMarket.LeaseView memory v = market.lease(id);
        assertEq(uint256(v.state), uint256(IMarket.LeaseState.Ended), "state");
        assertEq(uint256(v.reason), uint256(reason), "reason");
        assertEq(v.paidUntil, endedAt, "paidUntil");
        assertEq(v.fundedUntil, endedAt, "fundedUntil");
        assertConserved(id);
    }

    /// @dev The error of a call that found the lease in another state.
    function wrongState(bytes32 id, IMarket.LeaseState state, IMarket.LeaseState needed)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(IMarket.WrongState.selector, id, state, needed);
    }
}
