// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { Account } from "../../../src/market/types/Account.sol";
import { LeaseRun } from "../../../src/market/types/LeaseRun.sol";
import { LeaseTerms } from "../../../src/market/types/LeaseTerms.sol";
import { SymbolicBase } from "./SymbolicBase.sol";

/// @title What somebody can do who is neither buyer nor provider, nor the operator of one
/// @dev Nobody is an operator at the start of each check, so `caller` speaks for itself only. Compiled with the profile
/// `symbolic` (foundry.toml says why): with any other, a Market that writes to one certain address's account would pass.
contract ThirdPartyProof is SymbolicBase {
    /// @dev In the wallets, when a check begins.
    uint256 private constant MARKETS_TOKENS = 100_000 ether;
    uint256 private constant CALLERS_TOKENS = 1 ether;

    struct Signature {
        bytes32 r;
        bytes32 s;
        uint8 v;
    }

    /// @dev Somebody who has no part in a call, and any account of theirs.
    struct Bystander {
        address who;
        uint256 account;
    }

    /// @dev Anybody, who has tokens and a balance of its own and has approved the Market.
    struct Caller {
        address who;
        uint96 free;
        address key;
        uint256 amount;
        uint8 kind;
    }

    /// @dev What two makers and the bucket have before a settle.
    struct Funds {
        uint96 buyer;
        uint96 provider;
        uint96 payouts;
        uint96 fees;
    }

    /// @dev Calls that only a party may make: none of them goes through, whether the lease has begun or not.
    function check_party_calls_revert(Start memory s, address caller, uint32 secs, uint256 kind, bool begun) public {
        if (begun) active(s);
        else opened(s);
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

    /// @dev An abort waits for activateBy, and gives all that the lease held to the buyer.
    function check_abort_is_late_and_for_the_buyer(Start memory s, Caller memory c, Bystander memory other) public {
        opened(s);
        begin(c, other);
        if (!attempt(c.who, abi.encodeCall(IMarket.abort, (ID)))) return;
        assert(s.moment > s.paidUntil);
        commute(s.rate, s.fundedUntil);
        unchecked {
            uint256 all = product.times(s.rate, s.fundedUntil) + bondOf(s);
            assert(Account.unwrap(market.accountOf(BUYER)) == s.buyerFree + all);
        }
        assert(market.freeOf(PROVIDER) == s.providerFree);
        assertBucket(s.payouts, s.fees);
        assertOthers(c, other);
    }

    /// @dev A claim pays the provider seconds that are older than the hold, and nobody else; the buyer's account stays.
    function check_claim_pays_settled_seconds(Start memory s, Caller memory c, Bystander memory other) public {
        active(s);
        begin(c, other);
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = ID;
        if (!attempt(c.who, abi.encodeCall(IMarket.claim, (ids)))) return;
        (, LeaseRun run) = market.words(ID);
        uint32 until = run.paidUntil();
        assert(until > s.paidUntil && until <= s.fundedUntil && uint256(until) + HOLD <= s.moment);
        assertPaid(s, until - s.paidUntil, 0);
        assertOthers(c, other);
    }

    /// @dev A lease is finished by others once its last second is beyond dispute: all of it is the provider's, and the
    /// buyer's account stays.
    function check_finish_waits_for_the_hold(Start memory s, Caller memory c, Bystander memory other) public {
        active(s);
        begin(c, other);
        if (!attempt(c.who, abi.encodeCall(IMarket.finish, (ID)))) return;
        assert(s.moment >= uint256(s.fundedUntil) + HOLD);
        assertPaid(s, s.fundedUntil - s.paidUntil, bondOf(s));
        assertOthers(c, other);
    }

    /// @dev Everything that has no lease in it: a maker's money is moved by the maker alone, and grows by deposits.
    function check_accounts_move_only_their_own(Start memory s, Caller memory c, Bystander memory other) public {
        active(s);
        begin(c, other);
        PROVER.assume(c.kind < 5);
        bytes memory call = abi.encodeCall(IMarket.deposit, (c.amount));
        if (c.kind == 1) call = abi.encodeCall(IMarket.depositFor, (c.key, c.amount));
        if (c.kind == 2) call = abi.encodeCall(IMarket.withdraw, (c.amount));
        if (c.kind == 3) call = abi.encodeCall(IMarket.setOperator, (c.key, c.amount == 1));
        if (c.kind == 4) call = abi.encodeCall(IMarket.bumpEpoch, ());
        if (!attempt(c.who, call)) return;
        bool gift = c.kind == 1;
        assertUntouched(s, gift && c.key == BUYER ? c.amount : 0, gift && c.key == PROVIDER ? c.amount : 0, other);
        assertBucket(s.payouts, s.fees);
        uint256 mine = c.free;
        if (c.kind == 0 || (gift && c.key == c.who)) mine += c.amount;
        if (c.kind == 2) mine -= c.amount;
        assert(market.freeOf(c.who) == mine);
        assert(!market.isOperator(BUYER, c.who) && !market.isOperator(BUYER, c.key));
        assert(!market.isOperator(PROVIDER, c.who) && !market.isOperator(PROVIDER, c.key));
    }

    /// @dev A deposit with any permit, good or not, is the caller's.
    function check_a_permit_moves_only_its_own(
        Start memory s,
        Caller memory c,
        Bystander memory other,
        uint256 deadline,
        Signature memory p
    ) public {
        active(s);
        begin(c, other);
        if (!attempt(c.who, abi.encodeCall(IMarket.depositWithPermit, (c.amount, deadline, p.v, p.r, p.s)))) return;
        assertUntouched(s, 0, 0, other);
        assertBucket(s.payouts, s.fees);
        assert(market.freeOf(c.who) == c.free + c.amount);
    }

    /// @dev The bucket is emptied, and nothing else.
    function check_flushBurn_empties_only_the_bucket(Start memory s, Caller memory c, Bystander memory other) public {
        active(s);
        begin(c, other);
        if (!attempt(c.who, abi.encodeCall(IMarket.flushBurn, ()))) return;
        assertUntouched(s, 0, 0, other);
        assertBucket(0, 0);
        assert(market.freeOf(c.who) == c.free);
    }

    /// @dev Only its buyer cancels a bid, and that moves nothing.
    function check_cancel_moves_nothing(Start memory s, Caller memory c, Bystander memory other, IMarket.Bid memory bid)
        public
    {
        active(s);
        begin(c, other);
        if (!attempt(c.who, abi.encodeCall(IMarket.cancel, (bid)))) return;
        assert(bid.buyer == c.who && market.freeOf(c.who) == c.free);
        assertUntouched(s, 0, 0, other);
        assertBucket(s.payouts, s.fees);
    }

    /// @dev Without the signatures of both there is no lease, and only the settler opens it. Each locks what its
    /// side of the match says, and nobody else anything.
    function check_settle_needs_both_signatures(
        IMarket.Bid calldata bid,
        IMarket.Accept calldata accept,
        Signature calldata b,
        Signature calldata a,
        address caller,
        Funds calldata funds,
        Bystander calldata other
    ) public {
        PROVER.assume(other.who != bid.buyer && other.who != accept.provider);
        market.setAccount(other.who, Account.wrap(other.account));
        market.setAccount(bid.buyer, Account.wrap(funds.buyer));
        market.setAccount(accept.provider, Account.wrap(funds.provider));
        fillBucket(funds.payouts, funds.fees);
        bytes memory bidSignature = abi.encodePacked(b.r, b.s, b.v);
        bytes memory acceptSignature = abi.encodePacked(a.r, a.s, a.v);
        VM.prank(caller);
        // Paths that revert are dropped: what follows holds of all settles that go through.
        market.settle(bid, bidSignature, accept, acceptSignature);
        assert(caller == bid.settler);
        assert(ecrecover(market.bidDigest(bid), b.v, b.r, b.s) == bid.buyer);
        assert(ecrecover(market.acceptDigest(accept), a.v, a.r, a.s) == accept.provider);
        assert(Account.unwrap(market.accountOf(other.who)) == other.account);
        assertBucket(funds.payouts, funds.fees);
        commute(accept.rate, bid.duration);
        commute(accept.rate, accept.bondSeconds);
        unchecked {
            assert(market.freeOf(bid.buyer) == funds.buyer - product.times(accept.rate, bid.duration));
            assert(market.freeOf(accept.provider) == funds.provider - product.times(accept.rate, accept.bondSeconds));
        }
    }

    function begin(Caller memory c, Bystander memory other) private {
        PROVER.assume(c.who != address(market) && c.who != address(this) && c.who != BUYER && c.who != PROVIDER);
        PROVER.assume(other.who != c.who && other.who != c.key && other.who != BUYER && other.who != PROVIDER);
        market.setAccount(other.who, Account.wrap(other.account));
        market.setAccount(c.who, Account.wrap(c.free));
        token.transfer(address(market), MARKETS_TOKENS);
        token.transfer(c.who, CALLERS_TOKENS);
        VM.prank(c.who);
        token.approve(address(market), type(uint256).max);
    }

    /// @dev Balance, epoch and points of all who did not call, and the lease, are as they were but for gifts.
    function assertUntouched(Start memory s, uint256 toBuyer, uint256 toProvider, Bystander memory other) private view {
        assert(Account.unwrap(market.accountOf(BUYER)) == s.buyerFree + toBuyer);
        assert(Account.unwrap(market.accountOf(PROVIDER)) == s.providerFree + toProvider);
        assert(Account.unwrap(market.accountOf(other.who)) == other.account);
        (LeaseTerms terms, LeaseRun run) = market.words(ID);
        assert(terms.maxEnd() == s.maxEnd && terms.rate() == s.rate && run.state() == IMarket.LeaseState.Active);
        assert(run.paidUntil() == s.paidUntil && run.fundedUntil() == s.fundedUntil);
    }

    /// @dev `secs` seconds were paid, to the provider or with the burn flag to the bucket, and their fee is in the bucket.
    function assertPaid(Start memory s, uint32 secs, uint256 bond) private view {
        assert(Account.unwrap(market.accountOf(BUYER)) == s.buyerFree);
        unchecked {
            uint256 fee = feePerSecond(s.rate);
            uint256 net = product.times(s.rate - fee, secs);
            assert(market.freeOf(PROVIDER) == s.providerFree + (s.burn ? 0 : net) + bond);
            assertBucket(s.payouts + (s.burn ? net : 0), s.fees + product.times(fee, secs));
        }
    }

    /// @dev Who called and who has no part in the lease have what they had, in the Market and, with the Market, in tokens.
    function assertOthers(Caller memory c, Bystander memory other) private view {
        assert(Account.unwrap(market.accountOf(c.who)) == c.free);
        assert(Account.unwrap(market.accountOf(other.who)) == other.account);
        assert(token.balanceOf(c.who) == CALLERS_TOKENS && token.balanceOf(address(market)) == MARKETS_TOKENS);
    }

    function bondOf(Start memory s) private view returns (uint256) {
        commute(s.rate, s.bondSeconds);
        return product.times(s.rate, s.bondSeconds);
    }

    function assertBucket(uint256 payouts, uint256 fees) private view {
        (uint256 payouts_, uint256 fees_) = market.burnBucket();
        assert(payouts_ == payouts && fees_ == fees);
    }

    function attempt(address caller, bytes memory call) private returns (bool ok) {
        PROVER.assume(caller != BUYER && caller != PROVIDER);
        VM.prank(caller);
        (ok,) = address(market).call(call);
    }
}
