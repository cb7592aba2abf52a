// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { PointsModel } from "./PointsModel.sol";

/// @title The Market once more, as plainly as the table of docs/contracts.md says it
/// @dev Nothing is packed, nothing is shared with src but the words of IMarket. No tokens: whoever deposits is assumed
/// to have them. No signatures: who signed is told, zero for a signature that is of nobody. Each lease holds its money
/// in two purses, from which every payment is taken, so that what is paid twice runs dry.
contract ReferenceMarket is PointsModel {
    struct Maker {
        uint256 free;
        uint256 epoch;
        mapping(address key => bool) operators;
    }

    struct Lease {
        IMarket.LeaseState state;
        IMarket.EndReason reason;
        address buyer;
        address provider;
        uint256 rate;
        uint256 bondSeconds;
        bool burn;
        uint256 activateBy;
        uint256 duration;
        uint256 maxDuration;
        uint256 paidUntil;
        uint256 fundedUntil;
        uint256 maxEnd;
        /// Base units that it holds.
        uint256 escrow;
        uint256 bond;
    }

    uint256 private immutable FEE_BPS;
    uint256 private immutable HOLD;
    uint256 private immutable NOTICE;

    mapping(address maker => Maker) private makers;
    mapping(bytes32 id => Lease) private leases;
    /// @notice What waits to be burned, in base units.
    uint256 public payouts;
    uint256 public fees;

    constructor(IMarket.Params memory p) PointsModel(p.halfLifeDays) {
        (FEE_BPS, HOLD, NOTICE) = (p.feeBps, p.hold, p.notice);
    }

    // -------------------------------------------------------------------------------------------------- accounts

    function deposit(uint256 amount) external {
        receiveFor(msg.sender, amount);
    }

    function depositFor(address maker, uint256 amount) external {
        if (maker == address(0)) revert IMarket.ZeroAddress();
        receiveFor(maker, amount);
    }

    function withdraw(uint256 amount) external {
        if (amount == 0) revert IMarket.ZeroAmount();
        take(msg.sender, amount);
    }

    function setOperator(address key, bool approved) external {
        if (key == address(0)) revert IMarket.ZeroAddress();
        makers[msg.sender].operators[key] = approved;
    }

    function bumpEpoch() external {
        makers[msg.sender].epoch += 1;
    }

    function flushBurn() external {
        if (payouts + fees == 0) revert IMarket.NothingToFlush();
        (payouts, fees) = (0, 0);
    }

    // ---------------------------------------------------------------------------------------------------- orders

    /// @notice Settles bid and accept; the id and who signed what are told.
    function settle(
        bytes32 id,
        IMarket.Bid calldata bid,
        address bidSigner,
        IMarket.Accept calldata accept,
        address acceptSigner
    ) external {
        if (!mayActFor(msg.sender, bid.settler)) {
            revert IMarket.NotSettler(msg.sender, bid.settler);
        }
        if (accept.bid != id) revert IMarket.WrongBid(accept.bid, id);
        if (leases[id].state != IMarket.LeaseState.None) revert IMarket.LeaseExists(id, leases[id].state);
        checkTimes(bid, accept);
        checkTerms(bid, accept);
        checkMeans(bid, accept);
        if (bidSigner == address(0) || !mayActFor(bidSigner, bid.buyer)) {
            revert IMarket.BidSignatureInvalid(bidSigner, bid.buyer);
        }
        if (acceptSigner == address(0) || !mayActFor(acceptSigner, accept.provider)) {
            revert IMarket.AcceptSignatureInvalid(acceptSigner, accept.provider);
        }
        Lease storage l = leases[id];
        l.state = IMarket.LeaseState.Opened;
        (l.buyer, l.provider) = (bid.buyer, accept.provider);
        (l.rate, l.bondSeconds, l.burn) = (accept.rate, accept.bondSeconds, accept.burn);
        (l.activateBy, l.duration, l.maxDuration) =
        (block.timestamp + accept.activateWithin, bid.duration, accept.maxDuration);
        l.escrow = l.rate * l.duration;
        l.bond = l.rate * l.bondSeconds;
        take(l.buyer, l.escrow);
        take(l.provider, l.bond);
    }

    function cancel(bytes32 id, IMarket.Bid calldata bid) external {
        if (!mayActFor(msg.sender, bid.buyer)) revert IMarket.NotBuyer(msg.sender, bid.buyer);
        Lease storage l = leases[id];
        if (l.state != IMarket.LeaseState.None) revert IMarket.LeaseExists(id, l.state);
        l.state = IMarket.LeaseState.Ended;
        l.reason = IMarket.EndReason.Cancelled;
        l.paidUntil = l.fundedUntil = block.timestamp;
    }

    // ---------------------------------------------------------------------------------------------------- leases

    function activate(bytes32 id) external {
        Lease storage l = inState(id, IMarket.LeaseState.Opened);
        onlyProvider(l);
        if (block.timestamp > l.activateBy) {
            revert IMarket.ActivationLate(uint32(l.activateBy), block.timestamp);
        }
        l.state = IMarket.LeaseState.Active;
        l.paidUntil = block.timestamp;
        l.fundedUntil = block.timestamp + l.duration;
        l.maxEnd = block.timestamp + l.maxDuration;
        (l.activateBy, l.duration, l.maxDuration) = (0, 0, 0);
    }

    function abort(bytes32 id) external {
        Lease storage l = inState(id, IMarket.LeaseState.Opened);
        if (block.timestamp <= l.activateBy && !mayActFor(msg.sender, l.provider)) {
            revert IMarket.AbortEarly(uint32(l.activateBy), block.timestamp);
        }
        score(l.provider, 0, l.bond);
        giveEscrow(l, l.buyer, l.escrow);
        giveBond(l, l.buyer, l.bond);
        (l.activateBy, l.duration) = (0, 0);
        end(l, IMarket.EndReason.Aborted, block.timestamp);
    }

    function topUp(bytes32 id, uint32 secs) external {
        Lease storage l = inState(id, IMarket.LeaseState.Active);
        onlyBuyer(l);
        if (block.timestamp >= l.fundedUntil) revert IMarket.LeaseOver(uint32(l.fundedUntil), block.timestamp);
        if (secs == 0) revert IMarket.ZeroSeconds();
        if (l.fundedUntil + secs > l.maxEnd) revert IMarket.TopUpTooLong(l.fundedUntil + secs, uint32(l.maxEnd));
        take(l.buyer, l.rate * secs);
        l.escrow += l.rate * secs;
        l.fundedUntil += secs;
    }

    function claim(bytes32[] calldata ids) external {
        bool any = false;
        for (uint256 i = 0; i < ids.length; i++) {
            Lease storage l = leases[ids[i]];
            if (l.state != IMarket.LeaseState.Active || beyondDispute(l) == l.paidUntil) continue;
            pay(l, beyondDispute(l));
            any = true;
        }
        if (!any) revert IMarket.NothingToClaim();
    }

    function close(bytes32 id) external {
        Lease storage l = inState(id, IMarket.LeaseState.Active);
        onlyBuyer(l);
        pay(l, billedUntil(l));
        giveEscrow(l, l.buyer, l.escrow);
        giveBond(l, l.provider, l.bond);
        end(l, IMarket.EndReason.Closed, l.paidUntil);
    }

    function reject(bytes32 id) external {
        Lease storage l = inState(id, IMarket.LeaseState.Active);
        onlyBuyer(l);
        if (block.timestamp >= l.fundedUntil + HOLD) {
            revert IMarket.RejectLate(l.fundedUntil + HOLD, block.timestamp);
        }
        uint256 endedAt = billedUntil(l);
        pay(l, beyondDispute(l));
        uint256 burned = l.rate * (endedAt - l.paidUntil);
        uint256 burnedBond = burned < l.bond ? burned : l.bond;
        score(l.provider, 0, burnedBond);
        l.escrow -= burned;
        l.bond -= burnedBond;
        fees += burned + burnedBond;
        giveEscrow(l, l.buyer, l.escrow);
        giveBond(l, l.provider, l.bond);
        end(l, IMarket.EndReason.Rejected, endedAt);
    }

    function providerClose(bytes32 id) external {
        Lease storage l = inState(id, IMarket.LeaseState.Active);
        onlyProvider(l);
        if (block.timestamp >= l.fundedUntil) revert IMarket.LeaseOver(uint32(l.fundedUntil), block.timestamp);
        pay(l, beyondDispute(l));
        score(l.provider, 0, l.bond);
        giveEscrow(l, l.buyer, l.escrow);
        giveBond(l, l.buyer, l.bond);
        end(l, IMarket.EndReason.ProviderClosed, l.paidUntil);
    }

    function finish(bytes32 id) external {
        Lease storage l = inState(id, IMarket.LeaseState.Active);
        if (block.timestamp < l.fundedUntil + HOLD) {
            revert IMarket.FinishEarly(l.fundedUntil + HOLD, block.timestamp);
        }
        pay(l, l.fundedUntil);
        giveBond(l, l.provider, l.bond);
        end(l, IMarket.EndReason.Finished, l.fundedUntil);
    }

    // ----------------------------------------------------------------------------------------------------- views

    function account(address maker) external view returns (uint256 free, uint256 epoch) {
        return (makers[maker].free, makers[maker].epoch);
    }

    function isOperator(address maker, address key) external view returns (bool) {
        return makers[maker].operators[key];
    }

    /// @notice Escrow and bond that a lease holds.
    function heldBy(bytes32 id) external view returns (uint256) {
        return leases[id].escrow + leases[id].bond;
    }

    function lease(bytes32 id) external view returns (IMarket.LeaseView memory v) {
        Lease storage l = leases[id];
        (v.state, v.reason, v.buyer, v.provider) = (l.state, l.reason, l.buyer, l.provider);
        (v.rate, v.bondSeconds, v.burn) = (uint64(l.rate), uint24(l.bondSeconds), l.burn);
        (v.paidUntil, v.fundedUntil, v.maxEnd) = (uint32(l.paidUntil), uint32(l.fundedUntil), uint32(l.maxEnd));
        (v.activateBy, v.duration, v.maxDuration) = (uint32(l.activateBy), uint32(l.duration), uint32(l.maxDuration));
    }

    // ----------------------------------------------------------------------------------------------------- rules

    function checkTimes(IMarket.Bid calldata bid, IMarket.Accept calldata accept) private view {
        if (block.timestamp > bid.validUntil) revert IMarket.BidExpired(bid.validUntil, block.timestamp);
        if (block.timestamp > accept.settleBy) revert IMarket.AcceptExpired(accept.settleBy, block.timestamp);
        if (accept.settleBy > block.timestamp + 300) {
            revert IMarket.AcceptTooLong(accept.settleBy, block.timestamp + 300);
        }
        if (bid.buyer == accept.provider) revert IMarket.SameParty(bid.buyer);
        uint256 epoch = makers[bid.buyer].epoch;
        if (bid.epoch != epoch) revert IMarket.EpochMismatch(bid.epoch, uint32(epoch));
    }

    function checkTerms(IMarket.Bid calldata bid, IMarket.Accept calldata accept) private pure {
        if (accept.rate == 0) revert IMarket.RateZero();
        if (accept.rate > bid.maxRate) revert IMarket.RateTooHigh(accept.rate, bid.maxRate);
        if (accept.bondSeconds < bid.minBondSeconds) {
            revert IMarket.BondTooShort(accept.bondSeconds, bid.minBondSeconds);
        }
        if (accept.bondSeconds > 1 days) revert IMarket.BondTooLong(accept.bondSeconds, 1 days);
        if (bid.duration < 300) revert IMarket.DurationTooShort(bid.duration, 300);
        if (bid.duration > accept.maxDuration) revert IMarket.DurationTooLong(bid.duration, accept.maxDuration);
        if (accept.maxDuration > 366 days) revert IMarket.MaxDurationTooLong(accept.maxDuration, 366 days);
        if (accept.activateWithin > 1800) revert IMarket.ActivateWithinTooLong(accept.activateWithin, 1800);
    }

    function checkMeans(IMarket.Bid calldata bid, IMarket.Accept calldata accept) private view {
        (uint256 points,,) = pointsOfModel(accept.provider);
        if (points < bid.minPoints * POINT) revert IMarket.PointsTooLow(uint64(points / POINT), bid.minPoints);
        uint256 escrow = uint256(accept.rate) * bid.duration;
        uint256 bond = uint256(accept.rate) * accept.bondSeconds;
        uint256 free = makers[bid.buyer].free;
        if (free < escrow) revert IMarket.BuyerFunds(bid.buyer, free, escrow);
        free = makers[accept.provider].free;
        if (free < bond) revert IMarket.ProviderFunds(accept.provider, free, bond);
    }

    function inState(bytes32 id, IMarket.LeaseState needed) private view returns (Lease storage l) {
        l = leases[id];
        if (l.state != needed) revert IMarket.WrongState(id, l.state, needed);
    }

    function onlyBuyer(Lease storage l) private view {
        if (!mayActFor(msg.sender, l.buyer)) revert IMarket.NotBuyer(msg.sender, l.buyer);
    }

    function onlyProvider(Lease storage l) private view {
        if (!mayActFor(msg.sender, l.provider)) revert IMarket.NotProvider(msg.sender, l.provider);
    }

    function mayActFor(address key, address maker) private view returns (bool) {
        return key == maker || makers[maker].operators[key];
    }

    // ----------------------------------------------------------------------------------------------------- money

    function beyondDispute(Lease storage l) private view returns (uint256) {
        return min(max(l.paidUntil, block.timestamp - HOLD), l.fundedUntil);
    }

    function billedUntil(Lease storage l) private view returns (uint256) {
        return max(l.paidUntil, min(block.timestamp + NOTICE, l.fundedUntil));
    }

    /// @dev Pays all seconds up to `until`.
    function pay(Lease storage l, uint256 until) private {
        uint256 secs = until - l.paidUntil;
        uint256 feeOfASecond = l.rate * FEE_BPS / 10_000;
        if (l.rate * FEE_BPS % 10_000 != 0) feeOfASecond += 1;
        uint256 fee = feeOfASecond * secs;
        uint256 net = (l.rate - feeOfASecond) * secs;
        l.escrow -= fee + net;
        fees += fee;
        if (l.burn) payouts += net;
        else makers[l.provider].free += net;
        score(l.provider, fee, 0);
        l.paidUntil = until;
    }

    function giveEscrow(Lease storage l, address maker, uint256 amount) private {
        l.escrow -= amount;
        makers[maker].free += amount;
    }

    function giveBond(Lease storage l, address maker, uint256 amount) private {
        l.bond -= amount;
        makers[maker].free += amount;
    }

    function end(Lease storage l, IMarket.EndReason reason, uint256 endedAt) private {
        require(l.escrow == 0 && l.bond == 0, "an ended lease holds money");
        l.state = IMarket.LeaseState.Ended;
        l.reason = reason;
        l.paidUntil = l.fundedUntil = endedAt;
    }

    function take(address maker, uint256 amount) private {
        uint256 free = makers[maker].free;
        if (free < amount) revert IMarket.InsufficientFree(maker, free, amount);
        makers[maker].free = free - amount;
    }

    function receiveFor(address maker, uint256 amount) private {
        if (amount == 0) revert IMarket.ZeroAmount();
        makers[maker].free += amount;
    }

    function min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function max(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }
}
