// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { Attacks } from "./Attacks.sol";
import { MarketHandler } from "./MarketHandler.sol";

/// @title Whatever happened, each side gets out alone, with what is on the chain, and nothing stays behind
contract Exits is Attacks {
    enum Side {
        Buyers,
        Providers,
        Stranger
    }

    enum Stage {
        Opened,
        Active,
        OutOfFunds
    }

    constructor(IMarket.Params memory params_) MarketHandler(params_) { }

    /// @notice Ends all leases in three ways, each from the same moment: by the buyers, by the providers, by a stranger.
    /// @return left how often each side left a lease of each stage; a counter would go back in time with the rest
    function everybodyCanLeave() external returns (uint256[3][3] memory left) {
        for (uint256 i = 0; i <= uint256(type(Side).max); i++) {
            uint256 moment = VM.snapshotState();
            for (uint256 j = 0; j < ids.length; j++) {
                IMarket.LeaseView memory v = market.lease(ids[j]);
                if (v.state == IMarket.LeaseState.Ended) continue;
                left[i][uint256(stageOf(v))]++;
                getOut(ids[j], v, Side(i));
            }
            assertDrained();
            assertTrue(VM.revertToState(moment), "no way back");
        }
    }

    /// @notice No lease has changed but by an event of its own, an ended one never again; and the sum is that of all.
    function assertBooks() external view {
        uint256 all = 0;
        for (uint256 i = 0; i < ids.length; i++) {
            Book storage b = books[ids[i]];
            assertEq(keccak256(abi.encode(market.lease(ids[i]))), b.lastView, "a lease changed unseen");
            all += b.held;
        }
        assertEq(all, held, "the sum");
    }

    /// @dev With no call of the other side; time may pass.
    function getOut(bytes32 id, IMarket.LeaseView memory v, Side side) private {
        address caller = side == Side.Buyers ? v.buyer : side == Side.Providers ? v.provider : actors[STRANGER];
        uint256 over = uint256(v.fundedUntil) + params.hold;
        bytes memory call;
        if (v.state == IMarket.LeaseState.Opened) {
            if (side != Side.Providers) waitFor(uint256(v.activateBy) + 1);
            call = abi.encodeCall(IMarket.abort, (id));
        } else if (side == Side.Buyers) {
            call = abi.encodeCall(IMarket.close, (id));
        } else if (side == Side.Providers && block.timestamp < v.fundedUntil) {
            call = abi.encodeCall(IMarket.providerClose, (id));
        } else {
            waitFor(over);
            call = abi.encodeCall(IMarket.finish, (id));
        }
        assertTrue(attempt(caller, call), "locked in");
    }

    function stageOf(IMarket.LeaseView memory v) private view returns (Stage) {
        if (v.state == IMarket.LeaseState.Opened) return Stage.Opened;
        return block.timestamp < v.fundedUntil ? Stage.Active : Stage.OutOfFunds;
    }

    function waitFor(uint256 moment) private {
        if (moment > block.timestamp) VM.warp(moment);
    }

    /// @dev Everybody takes all of it out, the rest is burned, and the Market is empty.
    function assertDrained() private {
        assertEq(held, 0, "something is still locked");
        for (uint256 i = 0; i < ACTORS; i++) {
            uint256 free = freeOf(actors[i]);
            if (free == 0) continue;
            assertTrue(attempt(actors[i], abi.encodeCall(IMarket.withdraw, (free))), "locked in");
        }
        if (payoutsInBucket() + feesInBucket() != 0) {
            assertTrue(attempt(actors[STRANGER], abi.encodeCall(IMarket.flushBurn, ())), "not burned");
        }
        assertEq(token.balanceOf(address(market)), 0, "something stays behind");
    }

    // ----------------------------------------------------------------------------------------------------- views

    /// @notice Every token belongs to someone: free, locked, or to be burned; and points were paid for.
    function assertConserved() external view {
        uint256 owed = held + payoutsInBucket() + feesInBucket();
        uint256 allPoints = 0;
        IMarket.AccountView[] memory accounts = market.accounts(actors);
        for (uint256 i = 0; i < ACTORS; i++) {
            owed += accounts[i].free;
            (, uint256 low, uint256 high) = pointsOfModel(actors[i]);
            allPoints += accounts[i].points;
            uint256 points = accounts[i].points * POINT;
            assertTrue(low <= points && points <= high, "points are out of their bounds");
        }
        assertTrue(allPoints * FEE_OF_A_POINT <= feesCharged, "points that nobody paid for");
        assertEq(token.balanceOf(address(market)), owed, "tokens");
        assertEq(deposited, owed + withdrawn + flushed, "what came in is there, went out, or was burned");
    }

    /// @notice Who only acts for others has no more than at the start.
    function assertNoGain() external view {
        for (uint256 i = MAKERS; i < ACTORS; i++) {
            assertTrue(worthOf(i) <= WALLET + START_FREE, "gained by the work for others");
        }
    }
}
