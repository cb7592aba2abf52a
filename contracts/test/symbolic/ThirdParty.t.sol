// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../src/interfaces/IMarket.sol";
import { Account } from "../../src/types/Account.sol";
import { LeaseRun } from "../../src/types/LeaseRun.sol";
import { SymbolicBase } from "./SymbolicBase.sol";

/// @title What somebody can do who is neither buyer nor provider, nor the operator of one
/// @dev Nobody is an operator at the start of each check, so `caller` speaks for itself only.
contract ThirdPartyProof is SymbolicBase {
    struct Signature {
        bytes32 r;
        bytes32 s;
        uint8 v;
    }

    /// @dev Calls that only a party may make: none of them goes through.
    function check_party_calls_revert(Start memory s, address caller, uint32 secs, uint256 kind) public {
        active(s);
        bytes memory call = abi.encodeCall(IMarket.topUp, (ID, secs));
        if (kind == 1) call = abi.encodeCall(IMarket.close, (ID));
        if (kind == 2) call = abi.encodeCall(IMarket.reject, (ID));
        if (kind == 3) call = abi.encodeCall(IMarket.providerClose, (ID));
        assert(!attempt(caller, call));
    }

    /// @dev Nobody but the provider starts the billing.
    function check_activate_reverts(Start memory s, address caller) public {
        opened(s);
        assert(!attempt(caller, abi.encodeCall(IMarket.activate, (ID))));
    }

    /// @dev An abort waits for activateBy and takes nothing from the buyer.
    function check_abort_is_late_and_for_the_buyer(Start memory s, address caller) public {
        opened(s);
        if (!attempt(caller, abi.encodeCall(IMarket.abort, (ID)))) return;
        assert(s.moment > s.paidUntil);
        assert(market.freeOf(BUYER) >= s.buyerFree && market.freeOf(PROVIDER) == s.providerFree);
    }

    /// @dev A claim pays the provider seconds that are older than the hold; the buyer's free balance stays.
    function check_claim_pays_settled_seconds(Start memory s, address caller) public {
        active(s);
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = ID;
        if (!attempt(caller, abi.encodeCall(IMarket.claim, (ids)))) return;
        (, LeaseRun run) = market.words(ID);
        assert(run.paidUntil() <= s.fundedUntil && uint256(run.paidUntil()) + HOLD <= s.moment);
        assert(market.freeOf(BUYER) == s.buyerFree && market.freeOf(PROVIDER) >= s.providerFree);
    }

    /// @dev A lease is finished by others once its last second is beyond dispute; the buyer's free balance stays.
    function check_finish_waits_for_the_hold(Start memory s, address caller) public {
        active(s);
        if (!attempt(caller, abi.encodeCall(IMarket.finish, (ID)))) return;
        assert(s.moment >= uint256(s.fundedUntil) + HOLD);
        assert(market.freeOf(BUYER) == s.buyerFree && market.freeOf(PROVIDER) >= s.providerFree);
    }

    /// @dev Everything that has no lease in it: a maker's money is moved by the maker alone, and grows by deposits.
    function check_accounts_move_only_their_own(Start memory s, address caller, address key, uint256 amount, uint8 kind)
        public
    {
        active(s);
        PROVER.assume(caller != address(market) && caller != address(this));
        token.transfer(caller, 1 ether);
        VM.prank(caller);
        token.approve(address(market), type(uint256).max);
        bytes memory call = abi.encodeCall(IMarket.deposit, (amount));
        if (kind == 1) call = abi.encodeCall(IMarket.depositFor, (key, amount));
        if (kind == 2) call = abi.encodeCall(IMarket.withdraw, (amount));
        if (kind == 3) call = abi.encodeCall(IMarket.setOperator, (key, amount == 1));
        if (kind == 4) call = abi.encodeCall(IMarket.bumpEpoch, ());
        if (!attempt(caller, call)) return;
        uint256 gift = kind == 1 && key == BUYER ? amount : 0;
        assert(market.freeOf(BUYER) == s.buyerFree + gift);
        assert(!market.isOperator(BUYER, caller) && !market.isOperator(BUYER, key));
    }

    /// @dev Without the signatures of both there is no lease, and only the settler opens it. Both have the money.
    function check_settle_needs_both_signatures(
        IMarket.Bid calldata bid,
        IMarket.Accept calldata accept,
        Signature calldata b,
        Signature calldata a,
        address caller
    ) public {
        market.setAccount(bid.buyer, Account.wrap(type(uint96).max));
        market.setAccount(accept.provider, Account.wrap(type(uint96).max));
        bytes memory bidSignature = abi.encodePacked(b.r, b.s, b.v);
        bytes memory acceptSignature = abi.encodePacked(a.r, a.s, a.v);
        VM.prank(caller);
        // Paths that revert are dropped: what follows holds of all settles that go through.
        market.settle(bid, bidSignature, accept, acceptSignature);
        assert(caller == bid.settler);
        assert(ecrecover(market.bidDigest(bid), b.v, b.r, b.s) == bid.buyer);
        assert(ecrecover(market.acceptDigest(accept), a.v, a.r, a.s) == accept.provider);
    }

    function attempt(address caller, bytes memory call) private returns (bool ok) {
        PROVER.assume(caller != BUYER && caller != PROVIDER);
        VM.prank(caller);
        (ok,) = address(market).call(call);
    }
}
