// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketHandler } from "./MarketHandler.sol";

/// @title The stranger, who is nobody's operator, tries everything on everything
abstract contract Attacks is MarketHandler {
    /// @notice Attacks that the Market refused.
    uint256 public repelled;

    /// @notice One attack: nobody may lose by it, and the stranger may not gain.
    function attack(uint256 seed) external {
        reseed(seed);
        uint256 worth = worthOf(STRANGER);
        IMarket.AccountView[] memory before = market.accounts(actors);
        bool ok = draw(3) == 0 ? attackOrders() : attackLease();
        if (!ok) repelled++;
        IMarket.AccountView[] memory afterwards = market.accounts(actors);
        for (uint256 i = 0; i < ACTORS; i++) {
            assertTrue(afterwards[i].free >= before[i].free, "the stranger took a balance");
            assertEq(afterwards[i].epoch, before[i].epoch, "the stranger bumped an epoch");
            assertTrue(!market.isOperator(actors[i], actors[STRANGER]), "the stranger is an operator");
        }
        assertTrue(worthOf(STRANGER) <= worth, "the stranger gained");
    }

    /// @notice Free balance and wallet of an actor.
    function worthOf(uint256 index) public view returns (uint256) {
        return freeOf(actors[index]) + token.balanceOf(actors[index]);
    }

    function attackLease() private returns (bool ok) {
        address stranger_ = actors[STRANGER];
        bytes32 id = anyLease();
        IMarket.LeaseView memory v = market.lease(id);
        uint256 die = draw(8);
        if (die == 0) return refused(abi.encodeCall(IMarket.activate, (id)));
        if (die == 1) return refused(abi.encodeCall(IMarket.topUp, (id, 1)));
        if (die == 2) return refused(abi.encodeCall(IMarket.close, (id)));
        if (die == 3) return refused(abi.encodeCall(IMarket.reject, (id)));
        if (die == 4) return refused(abi.encodeCall(IMarket.providerClose, (id)));
        if (die == 5) {
            ok = attempt(stranger_, abi.encodeCall(IMarket.abort, (id)));
            bool late = v.state == IMarket.LeaseState.Opened && block.timestamp > v.activateBy;
            assertTrue(!ok || late, "the stranger aborted early");
        } else if (die == 6) {
            ok = attempt(stranger_, abi.encodeCall(IMarket.finish, (id)));
            bool over = v.state == IMarket.LeaseState.Active && block.timestamp >= uint256(v.fundedUntil) + params.hold;
            assertTrue(!ok || over, "the stranger finished early");
        } else {
            ok = attempt(stranger_, abi.encodeCall(IMarket.claim, (one(id))));
        }
    }

    /// @dev Trades of others: replayed as they are, cancelled, or bent to name the stranger.
    function attackOrders() private returns (bool) {
        if (trades == 0) return false;
        Signed memory s = kept[draw(trades < KEPT ? trades : KEPT)];
        Trade memory t = s.trade;
        address stranger_ = actors[STRANGER];
        uint256 die = draw(6);
        if (die == 0) return refused(abi.encodeCall(IMarket.cancel, (t.bid)));
        if (die == 1) return refused(abi.encodeCall(IMarket.withdraw, (freeOf(stranger_) + 1)));
        if (die == 2) {
            // What was signed for somebody else to settle.
            if (t.bid.settler == stranger_) return false;
            return refused(settleCall(t));
        }
        // A bid of now, settled by the stranger, with a signature that is not its buyer's; or an accept likewise.
        (bytes32 agreed, uint64 settleBy) = (market.bidDigest(t.bid), t.accept.settleBy);
        t.bid.settler = stranger_;
        t.bid.epoch = epochOf(t.bid.buyer);
        t.bid.validUntil = t.accept.settleBy = uint64(block.timestamp);
        t.accept.bid = market.bidDigest(t.bid);
        // One that names the stranger and ends in this very second is as it was agreed on: it may settle that.
        if (die == 4 && t.accept.bid == agreed && t.accept.settleBy == settleBy) return false;
        bytes memory honest = t.bidSignature;
        bytes memory acceptOf = t.acceptSignature;
        (s.bidSigner, s.acceptSigner) = (die == 3 ? stranger_ : t.bid.buyer, stranger_);
        seal(s);
        if (die == 4) (t.bidSignature, t.acceptSignature) = (honest, acceptOf);
        return refused(settleCall(t));
    }

    function settleCall(Trade memory t) private pure returns (bytes memory) {
        return abi.encodeCall(IMarket.settle, (t.bid, t.bidSignature, t.accept, t.acceptSignature));
    }

    function refused(bytes memory call) private returns (bool) {
        assertTrue(!attempt(actors[STRANGER], call), "the stranger got through");
        return false;
    }
}
