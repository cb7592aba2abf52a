// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../src/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

/// @title Random but sensible histories of two makers who trade both ways
/// @dev A call may be refused by a named rule; anything else that fails is a bug.
contract MarketHandler is MarketFixture {
    bytes4 private constant PANIC = 0x4e487b71;

    bytes32[] public ids;
    mapping(bytes32 id => IMarket.LeaseView) private lastSeen;
    /// @notice Calls that went through, of which a history should have some.
    uint256 public done;
    /// @notice Base units burned so far, through the token or to 0x…dEaD.
    uint256 public flushed;
    /// @notice Base units that left the supply.
    uint256 public burnedFees;
    uint64 private salt;

    constructor() {
        setUp();
    }

    /// @notice How many leases were ever opened.
    function count() external view returns (uint256) {
        return ids.length;
    }

    /// @notice Σ free balances.
    function totalFree() external view returns (uint256) {
        return freeOf(buyer) + freeOf(provider);
    }

    /// @notice Σ points.
    function totalPoints() external view returns (uint256) {
        return pointsOf(buyer) + pointsOf(provider);
    }

    /// @notice Escrow and bonds of all leases.
    function totalLocked() external view returns (uint256 locked) {
        for (uint256 i = 0; i < ids.length; i++) {
            locked += lockedBy(ids[i]);
        }
    }

    /// @notice What the Market has.
    function balance() external view returns (uint256) {
        return token.balanceOf(address(market));
    }

    /// @notice What waits to be burned.
    function bucket() external view returns (uint256 payouts, uint256 fees) {
        return market.burnBucket();
    }

    /// @notice One lease as the Market shows it.
    function view_(uint256 index) external view returns (IMarket.LeaseView memory) {
        return market.lease(ids[index]);
    }

    /// @notice Settles a random trade.
    function open(uint256 seed, bool swap) external {
        Trade memory t = goodTrade();
        t.bid.salt = ++salt;
        t.bid.validUntil = uint64(block.timestamp);
        t.accept.settleBy = uint64(block.timestamp);
        t.bid.maxRate = t.accept.rate = uint64(bound(seed, 1, RATE));
        t.bid.minBondSeconds = t.accept.bondSeconds = uint32(bound(seed >> 64, 0, 3600));
        t.bid.duration = uint32(bound(seed >> 96, 300, 20_000));
        t.accept.maxDuration = uint32(bound(seed >> 128, t.bid.duration, 40_000));
        t.accept.activateWithin = uint32(bound(seed >> 160, 0, 1800));
        t.accept.burn = seed >> 192 & 3 == 0;
        if (swap) (t.bid.buyer, t.bid.settler, t.accept.provider) = (provider, provider, buyer);
        t.accept.bid = market.bidDigest(t.bid);
        t.bidSignature = sign(swap ? PROVIDER_KEY : BUYER_KEY, t.accept.bid);
        t.acceptSignature = sign(swap ? BUYER_KEY : PROVIDER_KEY, market.acceptDigest(t.accept));
        bytes memory call = abi.encodeCall(IMarket.settle, (t.bid, t.bidSignature, t.accept, t.acceptSignature));
        if (attempt(t.bid.settler, call)) ids.push(t.accept.bid);
    }

    /// @notice One of the transitions on one of the leases, by whoever may do it.
    function act(uint256 seed, uint256 kind) external {
        if (ids.length == 0) return;
        // Mostly one of the last, as the others have ended.
        uint256 recent = ids.length < 4 ? ids.length : 4;
        bytes32 id = ids[ids.length - 1 - seed % recent];
        IMarket.LeaseView memory v = market.lease(id);
        kind = bound(kind, 0, 9);
        if (kind <= 1) attempt(v.provider, abi.encodeCall(IMarket.activate, (id)));
        if (kind == 2) attempt(v.provider, abi.encodeCall(IMarket.abort, (id)));
        if (kind == 3) attempt(v.buyer, abi.encodeCall(IMarket.topUp, (id, uint32(bound(seed >> 8, 1, 5000)))));
        if (kind <= 5) attempt(stranger, abi.encodeCall(IMarket.claim, (ids)));
        if (kind == 6) attempt(v.buyer, abi.encodeCall(IMarket.close, (id)));
        if (kind == 7) attempt(v.buyer, abi.encodeCall(IMarket.reject, (id)));
        if (kind == 8) attempt(v.provider, abi.encodeCall(IMarket.providerClose, (id)));
        if (kind == 9) attempt(stranger, abi.encodeCall(IMarket.finish, (id)));
        checkSteps();
    }

    /// @notice Time passes: seconds to hours, seldom days.
    function wait(uint256 secs) external {
        VM.warp(block.timestamp + bound(secs, 0, secs % 16 == 0 ? 10 days : 2000));
    }

    /// @notice Deposits and withdrawals.
    function move(uint256 seed) external {
        address maker = seed & 1 == 0 ? buyer : provider;
        uint256 amount = bound(seed >> 2, 1, 10 ether);
        if (seed & 2 == 0) fund(maker, amount);
        else attempt(maker, abi.encodeCall(IMarket.withdraw, (amount)));
    }

    /// @notice Burns what was collected.
    function flush() external {
        (uint256 payouts, uint256 fees) = market.burnBucket();
        if (attempt(stranger, abi.encodeCall(IMarket.flushBurn, ()))) {
            flushed += payouts + fees;
            burnedFees += fees;
        }
    }

    function attempt(address caller, bytes memory call) private returns (bool ok) {
        VM.prank(caller);
        bytes memory reason;
        (ok, reason) = address(market).call(call);
        if (ok) done++;
        else assertTrue(reason.length >= 4 && bytes4(reason) != PANIC, "refused without a named rule");
    }

    /// @dev Leases only ever move forward.
    function checkSteps() private {
        for (uint256 i = 0; i < ids.length; i++) {
            IMarket.LeaseView memory v = market.lease(ids[i]);
            IMarket.LeaseView memory last = lastSeen[ids[i]];
            assertTrue(v.state >= last.state, "a state went back");
            if (last.state == IMarket.LeaseState.Ended) {
                assertEq(keccak256(abi.encode(v)), keccak256(abi.encode(last)), "an ended lease changed");
            }
            if (last.state == IMarket.LeaseState.Active) assertTrue(v.paidUntil >= last.paidUntil, "paid back");
            lastSeen[ids[i]] = v;
        }
    }
}
