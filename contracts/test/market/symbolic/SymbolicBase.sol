// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { CloudToken } from "../../../src/market/CloudToken.sol";
import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { Account } from "../../../src/market/types/Account.sol";
import { LeaseRun } from "../../../src/market/types/LeaseRun.sol";
import { LeaseTerms } from "../../../src/market/types/LeaseTerms.sol";
import { Base } from "../Base.sol";
import { SymbolicMarket } from "./SymbolicMarket.sol";

/// @dev The cheatcodes that only a proof needs. `assume` drops the paths that do not satisfy the condition.
interface Prover {
    function assume(bool condition) external pure;
    function store(address target, bytes32 slot, bytes32 value) external;
}

/// @dev A product that no optimizer looks into, so that both orders of it stay two terms for the solver.
contract Product {
    function times(uint256 a, uint256 b) external pure returns (uint256) {
        unchecked {
            return a * b;
        }
    }
}

/// @title Any reachable state of one lease and its two makers
/// @dev halmos runs each `check_` function with all arguments symbolic: a check is a proof for all their values. Each
/// begins in a state that has the invariants below (test/market/invariant checks them on histories) and makes one call,
/// so that it is one step of an induction over all histories.
///
/// Assumed of every state, and shown by the checks or by settle's rules to hold after each call:
/// - buyer and provider differ (SameParty); rate > 0; bondSeconds <= 86,400 (BondTooLong)
/// - Opened: 300 <= duration <= maxDuration <= 366 days; activateBy at most 1800 s ahead
/// - Active: paidUntil <= fundedUntil <= maxEnd; paidUntil <= now
/// - now leaves room for a lease's times in uint32 (until the year 2104)
/// Left out: points are zero at the start, for decay is a loop over days that a prover cannot follow.
abstract contract SymbolicBase is Base {
    Prover internal constant PROVER = Prover(address(VM));
    bytes32 internal constant ID = keccak256("lease");
    uint32 internal constant HOLD = 600;
    uint32 internal constant NOTICE = 60;
    uint32 internal constant MAX_DURATION = 366 days;
    uint32 internal constant LATEST = type(uint32).max - MAX_DURATION - HOLD;
    address internal constant BUYER = address(0xb0b);
    address internal constant PROVIDER = address(0x9a0);

    /// @dev The arguments of a check: halmos makes each member a symbol.
    struct Start {
        uint64 rate;
        uint32 paidUntil;
        uint32 fundedUntil;
        uint32 maxEnd;
        uint24 bondSeconds;
        bool burn;
        uint32 moment;
        uint96 buyerFree;
        uint96 providerFree;
        uint96 payouts;
        uint96 fees;
    }

    /// @dev Where Burn keeps what waits to be burned (abi/storage-layout.json).
    bytes32 private constant BUCKET_SLOT = bytes32(uint256(1));

    CloudToken internal token;
    Product internal product;
    SymbolicMarket internal market;

    function setUp() public virtual {
        token = new CloudToken();
        product = new Product();
        IMarket.Params memory params = IMarket.Params({ feeBps: 100, hold: HOLD, notice: NOTICE, halfLifeDays: 90 });
        market = new SymbolicMarket(token, params, keccak256("salt"));
    }

    /// @dev An active lease, now.
    function active(Start memory s) internal returns (uint256 total) {
        PROVER.assume(s.paidUntil <= s.fundedUntil && s.fundedUntil <= s.maxEnd && s.paidUntil <= s.moment);
        total = store(s, IMarket.LeaseState.Active, s.fundedUntil - s.paidUntil);
    }

    /// @dev A lease that waits for its provider, now: paidUntil is activateBy, fundedUntil the duration.
    function opened(Start memory s) internal returns (uint256 total) {
        PROVER.assume(s.fundedUntil >= 300 && s.fundedUntil <= s.maxEnd && s.maxEnd <= MAX_DURATION);
        PROVER.assume(s.paidUntil <= s.moment + 1800);
        total = store(s, IMarket.LeaseState.Opened, s.fundedUntil);
    }

    function store(Start memory s, IMarket.LeaseState state, uint32 escrowSeconds) private returns (uint256 total) {
        PROVER.assume(s.rate > 0 && s.bondSeconds <= 86_400 && s.moment <= LATEST);
        VM.warp(s.moment);
        LeaseTerms terms = LeaseTerms.wrap(uint160(BUYER) | (uint256(s.rate) << 160) | (uint256(s.maxEnd) << 224));
        uint256 flags = uint256(state) | (s.burn ? 4 : 0);
        LeaseRun run = LeaseRun.wrap(
            uint160(PROVIDER) | (uint256(s.paidUntil) << 160) | (uint256(s.fundedUntil) << 192)
                | (uint256(s.bondSeconds) << 224) | (flags << 248)
        );
        market.setLease(ID, terms, run);
        market.setAccount(BUYER, Account.wrap(s.buyerFree));
        market.setAccount(PROVIDER, Account.wrap(s.providerFree));
        fillBucket(s.payouts, s.fees);
        unchecked {
            total =
                uint256(s.buyerFree) + s.providerFree + s.payouts + s.fees + held(s.rate, escrowSeconds, s.bondSeconds);
        }
    }

    function fillBucket(uint96 payouts, uint96 fees) internal {
        PROVER.store(address(market), BUCKET_SLOT, bytes32(payouts | (uint256(fees) << 128)));
    }

    /// @dev What a lease holds. Without overflow checks, which would only add paths: 64 times 32 bits.
    function held(uint256 rate, uint256 escrowSeconds, uint256 bondSeconds) internal pure returns (uint256) {
        unchecked {
            return rate * escrowSeconds + rate * bondSeconds;
        }
    }

    /// @dev `factor * (a + b) == factor * a + factor * b`, and the order does not matter. The solver takes products for an
    /// unknown function and is told these instances of what check_products_distribute proves of all.
    function spread(uint256 factor, uint256 a, uint256 b) internal view {
        unchecked {
            commute(factor, a);
            commute(factor, b);
            commute(factor, a + b);
            PROVER.assume(product.times(factor, a + b) == product.times(factor, a) + product.times(factor, b));
        }
    }

    function commute(uint256 a, uint256 b) internal view {
        PROVER.assume(product.times(a, b) == product.times(b, a));
    }

    /// @dev 64 times 32 bits are 96: check_products_distribute proves that too. Without it the solver has to think of
    /// sums that wrap around, and gives up on the ends that burn.
    function fits(uint256 rate, uint256 secs) internal view {
        if (rate >> 64 == 0 && secs >> 32 == 0) PROVER.assume(product.times(rate, secs) < 2 ** 96);
    }

    /// @dev The fee of one second, as the Market has it.
    function feePerSecond(uint256 rate) internal pure returns (uint256) {
        unchecked {
            return (rate * 100 + 9999) / 10_000;
        }
    }

    /// @dev What two parts of a second's pay make: nothing is lost between provider and fee.
    function payIsWhole(uint256 rate, uint256 secs) internal view {
        unchecked {
            uint256 fee = feePerSecond(rate);
            spread(secs, rate - fee, fee);
            fits(rate - fee, secs);
            fits(fee, secs);
        }
    }

    /// @dev All that is free or waits to be burned.
    function loose() internal view returns (uint256) {
        (uint256 payouts, uint256 fees) = market.burnBucket();
        unchecked {
            return market.freeOf(BUYER) + market.freeOf(PROVIDER) + payouts + fees;
        }
    }
}
