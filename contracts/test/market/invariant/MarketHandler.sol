// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { PointsModel } from "../reference/PointsModel.sol";
import { Ledger } from "./Ledger.sol";

/// @title Random but sensible histories of seven who trade, act for others, settle for others, and attack
/// @dev A call may be refused by a named rule; anything else that fails is a bug. What an attack may achieve is in
/// Attacks.sol.
abstract contract MarketHandler is Ledger {
    bytes4 private constant PANIC = 0x4e487b71;
    bytes4 private constant REQUIRE = 0x08c379a0;
    /// @dev All that the makers, operators and others may be, but the stranger.
    uint256 private constant FRIENDS = ACTORS - 1;

    /// @notice Calls that went through, of which a history should have some.
    uint256 public done;

    constructor(IMarket.Params memory params_) PointsModel(params_.halfLifeDays) {
        params = params_;
        VM.warp(START);
        assemble();
        token = deployToken();
        market = deploy(token, params_, SALT);
        for (uint256 i = 0; i < ACTORS; i++) {
            token.transfer(actors[i], WALLET);
            VM.prank(actors[i]);
            token.approve(address(market), type(uint256).max);
            attempt(actors[i], abi.encodeCall(IMarket.deposit, (START_FREE)));
        }
        for (uint256 i = 0; i < MAKERS; i++) {
            attempt(actors[i], abi.encodeCall(IMarket.setOperator, (actors[MAKERS + i % OPERATORS], true)));
        }
    }

    /// @notice Settles a random trade, and mostly starts its lease.
    function open(uint256 seed) external {
        reseed(seed);
        Signed memory s = anyTrade();
        if (draw(4) == 0) s.trade.bid.settler = anyone();
        seal(s);
        kept[(trades - 1) % KEPT] = s;
        if (draw(8) == 0 || !trySettle(mostly(s.trade.bid.settler), s)) return;
        bytes32 id = s.trade.accept.bid;
        if (draw(3) != 0) attempt(s.trade.accept.provider, abi.encodeCall(IMarket.activate, (id)));
    }

    /// @notice Settles or cancels a trade of before once more.
    function again(uint256 seed) external {
        reseed(seed);
        if (trades == 0) return;
        Signed memory s = kept[draw(trades < KEPT ? trades : KEPT)];
        if (draw(8) == 0) attempt(s.trade.bid.buyer, abi.encodeCall(IMarket.bumpEpoch, ()));
        if (draw(4) == 0) attempt(mostly(s.trade.bid.buyer), abi.encodeCall(IMarket.cancel, (s.trade.bid)));
        else trySettle(mostly(s.trade.bid.settler), s);
    }

    /// @notice One of the transitions on one of the leases, mostly by who may make it.
    function act(uint256 seed) external {
        reseed(seed);
        bytes32 id = anyLease();
        IMarket.LeaseView memory v = market.lease(id);
        bool opened = v.state == IMarket.LeaseState.Opened;
        uint256 die = opened ? draw(4) : 3 + draw(9);
        address caller = mostly(die < 3 || die == 10 ? v.provider : die < 9 ? v.buyer : anyone());
        uint256 before = freeOf(caller);
        bool ok = attempt(caller, transition(die, id, v));
        // Who is no party of the lease has nothing of it.
        if (ok && caller != v.buyer && caller != v.provider) assertEq(freeOf(caller), before, "an operator gained");
    }

    function transition(uint256 die, bytes32 id, IMarket.LeaseView memory v) private returns (bytes memory) {
        if (die < 2) return abi.encodeCall(IMarket.activate, (id));
        if (die < 4) return abi.encodeCall(IMarket.abort, (id));
        if (die < 6) return abi.encodeCall(IMarket.topUp, (id, uint32(1 + draw(2000))));
        if (die == 6) {
            bool room = v.state == IMarket.LeaseState.Active;
            return abi.encodeCall(IMarket.topUp, (id, room ? v.maxEnd - v.fundedUntil : 1));
        }
        if (die == 7) return abi.encodeCall(IMarket.close, (id));
        if (die == 8) return abi.encodeCall(IMarket.reject, (id));
        if (die == 10) return abi.encodeCall(IMarket.providerClose, (id));
        return abi.encodeCall(IMarket.finish, (id));
    }

    /// @notice Claims a list with duplicates and ids of nobody.
    function collect(uint256 seed) external {
        reseed(seed);
        bytes32[] memory list = new bytes32[](1 + draw(5));
        for (uint256 i = 0; i < list.length; i++) {
            list[i] = anyLease();
        }
        attempt(anyone(), abi.encodeCall(IMarket.claim, (list)));
    }

    /// @notice Deposits, withdrawals, epochs, operators, and the burning of what was collected.
    function bank(uint256 seed) external {
        reseed(seed);
        uint256 die = draw(10);
        address maker = anyMaker();
        if (die < 3) attempt(maker, abi.encodeCall(IMarket.deposit, (1 + draw(100 ether))));
        else if (die < 5) attempt(anyone(), abi.encodeCall(IMarket.withdraw, (1 + draw(10 ether))));
        else if (die == 5) attempt(anyone(), abi.encodeCall(IMarket.depositFor, (maker, 1 + draw(1 ether))));
        else if (die == 6) attempt(maker, abi.encodeCall(IMarket.bumpEpoch, ()));
        else if (die < 9) attempt(maker, abi.encodeCall(IMarket.setOperator, (actors[draw(FRIENDS)], draw(2) == 0)));
        else attempt(anyone(), abi.encodeCall(IMarket.flushBurn, ()));
    }

    /// @notice Time passes: to an edge of a lease, by seconds, or by days.
    function wait(uint256 seed) external {
        reseed(seed);
        passTime();
    }

    /// @dev Whatever settles was signed by who could, and called by who could.
    function trySettle(address caller, Signed memory s) internal returns (bool ok) {
        Trade memory t = s.trade;
        ok = attempt(caller, abi.encodeCall(IMarket.settle, (t.bid, t.bidSignature, t.accept, t.acceptSignature)));
        if (!ok) return false;
        ids.push(t.accept.bid);
        assertTrue(speaksFor(caller, t.bid.settler), "settled by another");
        assertTrue(speaksFor(s.bidSigner, t.bid.buyer), "a bid signed by another");
        assertTrue(speaksFor(s.acceptSigner, t.accept.provider), "an accept signed by another");
        assertEq(t.bid.epoch, epochOf(t.bid.buyer), "a bid of another epoch");
        assertTrue(block.timestamp <= t.bid.validUntil && block.timestamp <= t.accept.settleBy, "settled late");
    }

    function speaksFor(address key, address maker) private view returns (bool) {
        return key == maker || market.isOperator(maker, key);
    }

    /// @dev Calls the Market and books what it says.
    function attempt(address caller, bytes memory call) internal returns (bool ok) {
        VM.recordLogs();
        VM.prank(caller);
        bytes memory reason;
        (ok, reason) = address(market).call(call);
        if (ok) {
            done++;
            enter();
        } else {
            bytes4 named = bytes4(reason);
            assertTrue(reason.length >= 4 && named != PANIC && named != REQUIRE, "refused without a named rule");
        }
    }
}
