// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { Vm } from "../Base.sol";
import { Cast } from "../reference/Cast.sol";
import { PointsModel } from "../reference/PointsModel.sol";

/// @title Books that are kept from nothing but the Market's events, and what they must say at each entry
/// @dev For each lease: deposited = paid + fees + burned + refunded + bond given back + what it still holds.
abstract contract Ledger is Cast, PointsModel {
    struct Book {
        uint256 rate;
        uint256 feeRate;
        uint256 duration;
        uint256 bond;
        /// Opened, activated, ended: how often.
        uint256 opened;
        uint256 started;
        uint256 ended;
        uint256 startedAt;
        uint256 paidUntil;
        uint256 fundedUntil;
        /// Base units, from the events.
        uint256 deposited;
        uint256 net;
        uint256 fees;
        uint256 burned;
        uint256 refunded;
        uint256 bondBack;
        /// Base units, from the view.
        uint256 held;
        /// The view's hash after the last event of the lease.
        bytes32 lastView;
    }

    mapping(bytes32 id => Book) internal books;
    mapping(bytes32 id => bool) internal cancelled;
    /// @notice Escrow and bonds of all leases.
    uint256 public held;
    /// @notice Base units that came in, went out, and were burned, all by the events.
    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public flushed;
    /// @notice Base units of fees that were charged.
    uint256 public feesCharged;
    /// @notice How often each reason ended a lease.
    mapping(IMarket.EndReason reason => uint256) public ends;

    /// @dev Books all that the Market said in the call that was just made.
    function enter() internal {
        Vm.Log[] memory logs = VM.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            if (logs[i].emitter != address(market)) continue;
            bytes32 topic = logs[i].topics[0];
            bytes32 id = logs[i].topics.length > 1 ? logs[i].topics[1] : bytes32(0);
            if (topic == IMarket.Deposited.selector) deposited += abi.decode(logs[i].data, (uint256));
            else if (topic == IMarket.Withdrawn.selector) withdrawn += abi.decode(logs[i].data, (uint256));
            else if (topic == IMarket.BurnFlushed.selector) enterFlush(logs[i].data);
            else if (topic == IMarket.BidCancelled.selector) enterCancelled(id);
            else if (topic == IMarket.LeaseOpened.selector) enterOpened(id, logs[i].data);
            else if (topic == IMarket.LeaseActivated.selector) enterActivated(id, logs[i].data);
            else if (topic == IMarket.LeaseToppedUp.selector) enterToppedUp(id, logs[i].data);
            else if (topic == IMarket.LeaseClaimed.selector) enterClaimed(id, logs[i].data);
            else if (topic == IMarket.LeaseEnded.selector) enterEnded(id, logs[i].data);
        }
    }

    /// @dev A lease's book and its view must agree; what it holds is carried over to the sum.
    function balance(bytes32 id) internal {
        Book storage b = books[id];
        IMarket.LeaseView memory v = market.lease(id);
        uint256 locked = 0;
        if (v.state == IMarket.LeaseState.Opened) {
            locked = b.rate * v.duration + b.bond;
        } else if (v.state == IMarket.LeaseState.Active) {
            assertTrue(v.paidUntil == b.paidUntil && v.fundedUntil == b.fundedUntil, "the view's times");
            assertTrue(v.paidUntil <= v.fundedUntil && v.fundedUntil <= v.maxEnd, "times out of order");
            locked = b.rate * (v.fundedUntil - v.paidUntil) + b.bond;
        }
        uint256 out = b.net + b.fees + b.burned + b.refunded + b.bondBack;
        assertEq(b.deposited, out + locked, "a lease's books");
        held = held + locked - b.held;
        b.held = locked;
        b.lastView = keccak256(abi.encode(v));
    }

    function enterFlush(bytes memory data) private {
        (uint256 payouts, uint256 fees) = abi.decode(data, (uint256, uint256));
        flushed += payouts + fees;
    }

    function enterCancelled(bytes32 id) private {
        assertTrue(!cancelled[id] && books[id].opened == 0, "an id was used twice");
        cancelled[id] = true;
        ends[IMarket.EndReason.Cancelled]++;
    }

    function enterOpened(bytes32 id, bytes memory data) private {
        (,,, uint64 rate, uint32 duration,, uint32 bondSeconds,,) =
            abi.decode(data, (bytes32, bytes32, bytes32, uint64, uint32, uint32, uint32, uint32, bool));
        Book storage b = books[id];
        assertTrue(!cancelled[id] && b.opened == 0, "an id was used twice");
        b.opened = 1;
        (b.rate, b.feeRate, b.duration) = (rate, (uint256(rate) * params.feeBps + 9999) / 10_000, duration);
        b.bond = b.rate * bondSeconds;
        b.deposited = b.rate * duration + b.bond;
        balance(id);
    }

    function enterActivated(bytes32 id, bytes memory data) private {
        (uint32 startedAt, uint32 fundedUntil,) = abi.decode(data, (uint32, uint32, uint32));
        Book storage b = books[id];
        assertTrue(b.opened == 1 && b.started == 0 && b.ended == 0, "activated twice");
        assertEq(startedAt, block.timestamp, "billing starts now");
        assertEq(fundedUntil, startedAt + b.duration, "funded for the duration");
        b.started = 1;
        (b.startedAt, b.paidUntil, b.fundedUntil) = (startedAt, startedAt, fundedUntil);
        balance(id);
    }

    function enterToppedUp(bytes32 id, bytes memory data) private {
        (uint32 fundedUntil, uint256 amount) = abi.decode(data, (uint32, uint256));
        Book storage b = books[id];
        assertTrue(b.started == 1 && b.ended == 0, "a top-up of what does not run");
        assertEq(amount, b.rate * (fundedUntil - b.fundedUntil), "a top-up is the rate by its seconds");
        b.deposited += amount;
        b.fundedUntil = fundedUntil;
        balance(id);
    }

    /// @dev Claims go forward, are a hold old, and are exact whatever their number: the sum is the rate by the seconds.
    function enterClaimed(bytes32 id, bytes memory data) private {
        (address payee, uint32 paidUntil, uint256 net, uint256 fee) =
            abi.decode(data, (address, uint32, uint256, uint256));
        Book storage b = books[id];
        assertTrue(b.started == 1 && b.ended == 0, "a claim of what does not run");
        assertTrue(paidUntil > b.paidUntil && paidUntil <= b.fundedUntil, "a claim goes forward");
        assertTrue(paidUntil + params.hold <= block.timestamp, "a claim inside the hold");
        b.net += net;
        b.fees += fee;
        b.paidUntil = paidUntil;
        assertPaid(b);
        feesCharged += fee;
        score(payee, fee, 0);
        balance(id);
    }

    function enterEnded(bytes32 id, bytes memory data) private {
        (address payee, IMarket.EndReason reason, uint32 endedAt, uint256[6] memory flows) =
            abi.decode(data, (address, IMarket.EndReason, uint32, uint256[6]));
        Book storage b = books[id];
        assertTrue(b.opened == 1 && b.ended == 0, "ended twice");
        b.ended = 1;
        ends[reason]++;
        b.net += flows[0];
        b.fees += flows[1];
        b.burned = flows[2];
        b.refunded = flows[3];
        b.bondBack = flows[4] + flows[5];
        assertTrue(b.bondBack <= b.bond, "a bond was given back twice");
        if (reason == IMarket.EndReason.Aborted) {
            assertTrue(b.started == 0 && flows[0] + flows[1] + flows[2] == 0, "an abort pays nobody");
            assertEq(b.refunded, b.rate * b.duration, "an abort refunds all");
        } else {
            b.paidUntil += (flows[0] + flows[1]) / b.rate;
            assertPaid(b);
            uint256 burnedBond = b.bond - b.bondBack;
            assertEq(b.burned, b.rate * (endedAt - b.paidUntil) + burnedBond, "burned: the seconds and the bond");
            assertTrue(2 * burnedBond <= b.burned, "no more of the bond than of the escrow");
            assertEq(b.refunded, b.rate * (b.fundedUntil - endedAt), "refunded: the seconds");
        }
        feesCharged += flows[1];
        score(payee, flows[1], b.bond - flows[4]);
        balance(id);
        assertEq(b.held, 0, "an ended lease holds nothing");
    }

    function assertPaid(Book storage b) private view {
        uint256 secs = b.paidUntil - b.startedAt;
        assertEq(b.net + b.fees, b.rate * secs, "paid: the rate by the seconds");
        assertEq(b.fees, b.feeRate * secs, "fees: by the seconds");
    }
}
