// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

/// @title Who takes part: three makers who trade all ways, two operators, a relayer, and a stranger who wishes them ill
/// @dev The draws are a hash chain from one seed, so that a history is one number.
abstract contract Cast is MarketFixture {
    /// @dev A trade, signed by whoever; a zero signer stands for a signature that is of nobody.
    struct Signed {
        Trade trade;
        address bidSigner;
        address acceptSigner;
    }

    uint256 internal constant MAKERS = 3;
    uint256 internal constant OPERATORS = 2;
    uint256 internal constant ACTORS = 7;
    uint256 internal constant RELAYER = 5;
    uint256 internal constant STRANGER = 6;
    uint256 internal constant WALLET = 20_000 ether;
    uint256 internal constant KEPT = 8;
    /// @dev What each actor has in the Market at the start.
    uint256 internal constant START_FREE = 1000 ether;

    /// @dev The constants of the Market under test.
    IMarket.Params internal params = defaultParams();
    address[] internal actors;
    mapping(address actor => uint256) internal keyOf;
    /// @dev The last trades, signed once and for all: to be replayed.
    mapping(uint256 slot => Signed) internal kept;
    uint256 internal trades;
    bytes32[] internal ids;
    uint256 private state;

    function assemble() internal {
        for (uint256 i = 0; i < ACTORS; i++) {
            uint256 key = 0xac7000 + i;
            address actor = VM.addr(key);
            actors.push(actor);
            keyOf[actor] = key;
        }
    }

    // ----------------------------------------------------------------------------------------------------- draws

    function reseed(uint256 seed) internal {
        state = uint256(keccak256(abi.encode(seed, state)));
    }

    /// @dev One of 0..n-1.
    function draw(uint256 n) internal returns (uint256 drawn) {
        uint256 s = state;
        assembly ("memory-safe") {
            mstore(0, s)
            s := keccak256(0, 32)
        }
        state = s;
        return (s >> 16) % n;
    }

    function anyone() internal returns (address) {
        return actors[draw(ACTORS)];
    }

    function anyMaker() internal returns (address) {
        return actors[draw(MAKERS)];
    }

    /// @dev Mostly `wanted`, or one of its operators, or whoever.
    function mostly(address wanted) internal returns (address) {
        uint256 die = draw(10);
        if (die < 7) return wanted;
        address other = anyone();
        if (die < 9 && !market.isOperator(wanted, other)) return wanted;
        return other;
    }

    /// @dev Mostly one of the last leases, as the others have ended; seldom one that never was.
    function anyLease() internal returns (bytes32) {
        if (ids.length == 0 || draw(24) == 0) return bytes32(draw(1000));
        uint256 recent = ids.length < 5 || draw(8) == 0 ? ids.length : 1 + draw(5);
        return ids[ids.length - 1 - draw(recent)];
    }

    // ---------------------------------------------------------------------------------------------------- trades

    /// @dev A trade between two makers that mostly settles now, unsigned.
    function anyTrade() internal returns (Signed memory s) {
        Trade memory t = s.trade;
        uint256 first = draw(MAKERS);
        t.bid.buyer = actors[first];
        t.bid.settler = draw(3) == 0 ? actors[RELAYER] : t.bid.buyer;
        t.bid.spec = keccak256("spec");
        t.bid.epoch = epochOf(t.bid.buyer);
        t.bid.salt = uint64(++trades);
        t.bid.validUntil = uint64(block.timestamp + draw(3) * 300);
        t.accept.settleBy = uint64(block.timestamp + draw(2) * 300);
        t.accept.provider = actors[(first + 1 + draw(MAKERS - 1)) % MAKERS];
        t.bid.maxRate = t.accept.rate = anyRate();
        t.bid.minBondSeconds = uint32(draw(3) * 600);
        t.accept.bondSeconds = t.bid.minBondSeconds + uint32(draw(2) * draw(1000));
        t.bid.duration = uint32(300 + draw(2) * draw(10_000));
        t.accept.maxDuration = t.bid.duration + uint32(draw(20_000));
        t.accept.activateWithin = uint32(draw(4) * 600);
        t.accept.burn = draw(4) == 0;
        s.bidSigner = mostly(t.bid.buyer);
        s.acceptSigner = mostly(t.accept.provider);
    }

    /// @dev Signs as `bidSigner` and `acceptSigner`; what nobody signed is cut short.
    function seal(Signed memory s) internal view {
        Trade memory t = s.trade;
        if (t.accept.bid == 0) t.accept.bid = market.bidDigest(t.bid);
        t.bidSignature = signAs(s.bidSigner, market.bidDigest(t.bid));
        t.acceptSignature = signAs(s.acceptSigner, market.acceptDigest(t.accept));
    }

    function signAs(address signer, bytes32 digest) private view returns (bytes memory) {
        return signer == address(0) ? bytes(hex"1b") : sign(keyOf[signer], digest);
    }

    function epochOf(address maker) internal view returns (uint32 epoch) {
        (, epoch,) = market.account(maker);
    }

    /// @dev From less than a fee's smallest unit to what empties an account.
    function anyRate() private returns (uint64) {
        uint256 die = draw(8);
        if (die == 0) return uint64(1 + draw(300));
        if (die == 1) return uint64(1 + draw(1e12));
        if (die == 2) return uint64(1 + draw(0.2 ether));
        return uint64(1 + draw(RATE));
    }

    // ------------------------------------------------------------------------------------------------------ time

    /// @dev To an edge of one of the leases, or by some seconds, or by days.
    function passTime() internal {
        uint256 die = draw(24);
        if (die == 0) return VM.warp(block.timestamp + draw(40 days));
        if (die < 10 || ids.length == 0) return VM.warp(block.timestamp + draw(draw(2) == 0 ? 60 : 1500));
        IMarket.LeaseView memory v = market.lease(ids[ids.length - 1 - draw(ids.length < 5 ? ids.length : 5)]);
        uint256 edge = edgeOf(v) + draw(3) - 1;
        if (edge >= block.timestamp) VM.warp(edge);
        else VM.warp(block.timestamp + draw(100));
    }

    function edgeOf(IMarket.LeaseView memory v) private returns (uint256) {
        if (v.state == IMarket.LeaseState.Opened) return v.activateBy;
        uint256 die = draw(6);
        if (die == 0) return v.fundedUntil;
        if (die == 1) return v.fundedUntil + params.hold;
        if (die == 2) return v.fundedUntil - params.notice;
        return v.paidUntil + params.hold + (die == 3 ? 0 : draw(300));
    }
}
