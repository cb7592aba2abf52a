// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { Twins } from "./Twins.sol";

/// @title Random histories, steered towards the edges: mostly sensible calls, each now and then with something wrong
abstract contract Histories is Twins {
    /// @notice One call, or some time.
    function step(uint256 seed) public {
        reseed(seed);
        uint256 die = draw(24);
        if (die < 6) trade();
        else if (die < 7) again();
        else if (die < 8) cancel();
        else if (die < 10) accountCall();
        else if (die < 16) leaseCall();
        else if (die < 18) claimCall();
        else if (die < 21) edgeCall();
        else passTime();
        sameBooks();
    }

    // ---------------------------------------------------------------------------------------------------- orders

    function trade() private {
        Signed memory s = anyTrade();
        uint256 faults = draw(2) * (1 + draw(2));
        for (uint256 i = 0; i < faults; i++) {
            if (draw(2) == 0) spoilBid(s);
            else spoilAccept(s);
        }
        seal(s);
        keep(s);
        if (draw(16) == 0) return;
        if (!bothSettle(mostly(s.trade.bid.settler), s)) return;
        // Half of all leases start in the second in which they were opened.
        bytes32 id = s.trade.accept.bid;
        if (draw(2) == 0) bothOn(id, s.trade.accept.provider, abi.encodeCall(IMarket.activate, (id)));
    }

    /// @dev A trade of before: settled, cancelled, void, late, or never tried.
    function again() private {
        if (trades == 0) return;
        Signed memory s = kept[draw(trades < KEPT ? trades : KEPT)];
        bothSettle(mostly(s.trade.bid.settler), s);
    }

    function keep(Signed memory s) private {
        kept[(trades - 1) % KEPT] = s;
    }

    function cancel() private {
        if (trades == 0) return;
        IMarket.Bid memory bid = kept[draw(trades < KEPT ? trades : KEPT)].trade.bid;
        if (draw(2) == 0) bid.salt += 1e6;
        bothCancel(mostly(bid.buyer), bid);
    }

    function spoilBid(Signed memory s) private {
        IMarket.Bid memory bid = s.trade.bid;
        uint256 die = draw(10);
        if (die == 0) bid.validUntil = uint64(block.timestamp - 1);
        else if (die == 1) bid.epoch = bid.epoch > 0 && draw(2) == 0 ? bid.epoch - 1 : bid.epoch + 1;
        else if (die == 2) bid.minBondSeconds = s.trade.accept.bondSeconds + 1;
        else if (die == 3) bid.duration = 299;
        else if (die == 4) bid.minPoints = draw(2) == 0 ? 1e15 : pointsOfHalf(s.trade.accept.provider);
        else if (die == 5) s.bidSigner = draw(4) == 0 ? address(0) : anyone();
        else if (die == 6) bid.settler = anyone();
        else if (die == 7) bid.buyer = anyone();
        else if (die == 8) s.trade.accept.bid = keccak256("another");
        else bid.maxRate = s.trade.accept.rate / 2;
    }

    function spoilAccept(Signed memory s) private {
        IMarket.Accept memory accept = s.trade.accept;
        IMarket.Bid memory bid = s.trade.bid;
        uint256 die = draw(12);
        if (die == 0) accept.settleBy = uint64(block.timestamp - 1);
        else if (die == 1) accept.settleBy = uint64(block.timestamp + 300 + draw(2));
        else if (die == 2) accept.provider = bid.buyer;
        else if (die == 3) accept.rate = 0;
        else if (die == 4) accept.bondSeconds = uint32(86_400 + draw(2));
        else if (die == 5) accept.maxDuration = bid.duration - uint32(draw(2));
        else if (die == 6) accept.maxDuration = uint32(366 days + draw(2));
        else if (die == 7) accept.activateWithin = uint32(1800 + draw(2));
        else if (die == 8) s.acceptSigner = draw(4) == 0 ? address(0) : anyone();
        else if (die == 9) accept.provider = anyone();
        else if (die == 10) escrowOf(bid, accept, freeOf(bid.buyer));
        else bondOf(bid, accept, freeOf(accept.provider));
    }

    /// @dev An escrow of all that there is, or a little more.
    function escrowOf(IMarket.Bid memory bid, IMarket.Accept memory accept, uint256 free) private {
        uint256 rate = free / bid.duration + draw(2);
        if (rate > type(uint64).max) return;
        (bid.maxRate, accept.rate, accept.bondSeconds, bid.minBondSeconds) = (uint64(rate), uint64(rate), 0, 0);
    }

    /// @dev A bond of all that there is, or a little more.
    function bondOf(IMarket.Bid memory bid, IMarket.Accept memory accept, uint256 free) private {
        uint256 rate = free / 86_400 + draw(2);
        if (rate > type(uint64).max) return;
        (bid.maxRate, accept.rate, accept.bondSeconds, bid.duration) = (uint64(rate), uint64(rate), 86_400, 300);
    }

    function pointsOfHalf(address maker) private view returns (uint64) {
        return uint64(pointsOf(maker) / 2);
    }

    // -------------------------------------------------------------------------------------------------- accounts

    function accountCall() private {
        uint256 die = draw(12);
        address maker = anyMaker();
        if (die < 2) both(maker, abi.encodeCall(IMarket.withdraw, (draw(3) * draw(1 ether))));
        else if (die == 2) both(anyone(), abi.encodeCall(IMarket.withdraw, (freeOf(maker) + 1)));
        else if (die == 3) both(anyone(), abi.encodeCall(IMarket.deposit, (draw(4) * 1 ether)));
        else if (die == 4) both(maker, abi.encodeCall(IMarket.depositFor, (anyone(), draw(4) * 1 ether)));
        else if (die == 5) both(maker, abi.encodeCall(IMarket.depositFor, (address(0), 1)));
        else if (die == 6) both(maker, abi.encodeCall(IMarket.setOperator, (address(0), true)));
        else if (die == 7) both(maker, abi.encodeCall(IMarket.bumpEpoch, ()));
        else if (die < 10) both(anyone(), abi.encodeCall(IMarket.flushBurn, ()));
        else both(maker, abi.encodeCall(IMarket.setOperator, (anyone(), draw(3) != 0)));
        refill(maker);
    }

    /// @dev A maker who is poor gets a deposit, or a history would run dry.
    function refill(address maker) private {
        if (freeOf(maker) > 100 ether || token.balanceOf(maker) < 1000 ether) return;
        both(maker, abi.encodeCall(IMarket.deposit, (500 ether)));
    }

    // ---------------------------------------------------------------------------------------------------- leases

    function leaseCall() private {
        bytes32 id = anyLease();
        IMarket.LeaseView memory v = market.lease(id);
        // A lease that was only opened has two ways to go, an ended one none: those calls are the likely ones.
        uint256 die = v.state == IMarket.LeaseState.Opened ? draw(16) : 5 + draw(9);
        if (die < 4) bothOn(id, mostly(v.provider), abi.encodeCall(IMarket.activate, (id)));
        else if (die < 6) bothOn(id, draw(3) == 0 ? v.provider : anyone(), abi.encodeCall(IMarket.abort, (id)));
        else if (die < 9) bothOn(id, mostly(v.buyer), abi.encodeCall(IMarket.topUp, (id, topUpOf(v))));
        else if (die == 9) bothOn(id, mostly(v.buyer), abi.encodeCall(IMarket.close, (id)));
        else if (die == 10) bothOn(id, mostly(v.buyer), abi.encodeCall(IMarket.reject, (id)));
        else if (die == 11) bothOn(id, mostly(v.provider), abi.encodeCall(IMarket.providerClose, (id)));
        else bothOn(id, anyone(), abi.encodeCall(IMarket.finish, (id)));
    }

    /// @dev A call whose verdict changes with the second, in the second before, in that second, or after it.
    function edgeCall() private {
        if (ids.length == 0) return;
        bytes32 id = ids[ids.length - 1 - draw(ids.length < 5 ? ids.length : 5)];
        IMarket.LeaseView memory v = market.lease(id);
        bool opened = v.state == IMarket.LeaseState.Opened;
        if (!opened && v.state != IMarket.LeaseState.Active) return passTime();
        uint256 die = opened ? draw(2) : 2 + draw(5);
        uint256 edge =
            opened ? v.activateBy : die < 4 ? v.fundedUntil : uint256(die < 6 ? v.fundedUntil : v.paidUntil) + HOLD;
        edge += draw(3);
        if (edge > block.timestamp) VM.warp(edge - 1);
        if (die == 0) bothOn(id, v.provider, abi.encodeCall(IMarket.activate, (id)));
        else if (die == 1) bothOn(id, anyone(), abi.encodeCall(IMarket.abort, (id)));
        else if (die == 2) bothOn(id, v.buyer, abi.encodeCall(IMarket.topUp, (id, 1)));
        else if (die == 3) bothOn(id, v.provider, abi.encodeCall(IMarket.providerClose, (id)));
        else if (die == 4) bothOn(id, v.buyer, abi.encodeCall(IMarket.reject, (id)));
        else if (die == 5) bothOn(id, anyone(), abi.encodeCall(IMarket.finish, (id)));
        else bothOn(id, anyone(), abi.encodeCall(IMarket.claim, (one(id))));
    }

    /// @dev Nothing, some seconds, all that is left, or one more.
    function topUpOf(IMarket.LeaseView memory v) private returns (uint32) {
        uint256 die = draw(6);
        if (die == 0 || v.state != IMarket.LeaseState.Active) return 0;
        if (die == 1) return v.maxEnd - v.fundedUntil + uint32(draw(2));
        if (die == 2) return type(uint32).max;
        return uint32(1 + draw(2000));
    }

    /// @dev A list with duplicates and ids of nobody.
    function claimCall() private {
        bytes32[] memory list = new bytes32[](draw(6));
        for (uint256 i = 0; i < list.length; i++) {
            list[i] = anyLease();
        }
        both(anyone(), abi.encodeCall(IMarket.claim, (list)));
        for (uint256 i = 0; i < list.length; i++) {
            same(list[i]);
        }
    }
}
