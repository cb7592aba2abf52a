// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { LeaseRun } from "../../../src/market/types/LeaseRun.sol";
import { LeaseTerms } from "../../../src/market/types/LeaseTerms.sol";
import { SymbolicBase } from "./SymbolicBase.sol";

/// @title No call on a lease makes or loses a base unit
contract ConservationProof is SymbolicBase {
    /// @dev What the others take for granted of products, for all numbers.
    function check_products_distribute(uint256 factor, uint256 a, uint256 b) public view {
        unchecked {
            assert(product.times(factor, a) == product.times(a, factor));
            assert(product.times(factor, a + b) == product.times(factor, a) + product.times(factor, b));
            assert(a >> 64 != 0 || b >> 32 != 0 || product.times(a, b) < 2 ** 96);
        }
    }

    function check_claim_conserves(Start memory s) public {
        uint256 total = active(s);
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = ID;
        market.claim(ids);
        LeaseRun run = lease();
        unchecked {
            uint256 paid = run.paidUntil() - s.paidUntil;
            payIsWhole(s.rate, paid);
            spread(s.rate, paid, run.fundedUntil() - run.paidUntil());
            commute(s.rate, s.bondSeconds);
        }
        assertHolds(s, run, total);
    }

    function check_topUp_conserves(Start memory s, uint32 secs) public {
        uint256 total = active(s);
        VM.prank(BUYER);
        market.topUp(ID, secs);
        unchecked {
            spread(s.rate, s.fundedUntil - s.paidUntil, secs);
        }
        assertHolds(s, lease(), total);
    }

    function check_close_conserves(Start memory s) public {
        uint256 total = active(s);
        VM.prank(BUYER);
        market.close(ID);
        uint32 end = lease().paidUntil();
        assertOver(s, total, end, end);
    }

    function check_reject_conserves(Start memory s) public {
        uint256 total = active(s);
        VM.prank(BUYER);
        market.reject(ID);
        assertOver(s, total, settledUntil(s), lease().paidUntil());
    }

    function check_providerClose_conserves(Start memory s) public {
        uint256 total = active(s);
        VM.prank(PROVIDER);
        market.providerClose(ID);
        uint32 end = lease().paidUntil();
        assertOver(s, total, end, end);
    }

    function check_finish_conserves(Start memory s) public {
        uint256 total = active(s);
        market.finish(ID);
        assertOver(s, total, s.fundedUntil, s.fundedUntil);
    }

    function check_abort_conserves(Start memory s, address caller) public {
        uint256 total = opened(s);
        VM.prank(caller);
        market.abort(ID);
        commute(s.rate, s.fundedUntil);
        commute(s.rate, s.bondSeconds);
        assert(isOver() && loose() == total);
    }

    function check_activate_conserves(Start memory s) public {
        uint256 total = opened(s);
        VM.prank(PROVIDER);
        market.activate(ID);
        commute(s.rate, s.fundedUntil);
        assertHolds(s, lease(), total);
    }

    /// @dev The lease is active with its times in order, and nothing is missing.
    function assertHolds(Start memory s, LeaseRun run, uint256 total) private view {
        (LeaseTerms terms,) = market.words(ID);
        unchecked {
            uint256 has = loose() + held(s.rate, run.fundedUntil() - run.paidUntil(), s.bondSeconds);
            bool ordered = run.paidUntil() <= run.fundedUntil() && run.fundedUntil() <= terms.maxEnd();
            assert(ordered && run.paidUntil() <= s.moment && run.state() == IMarket.LeaseState.Active && has == total);
        }
    }

    /// @dev The lease holds nothing any more, and nothing is missing: it was paid to `paidTo`, burned to `burnedTo`.
    function assertOver(Start memory s, uint256 total, uint32 paidTo, uint32 burnedTo) private view {
        unchecked {
            payIsWhole(s.rate, paidTo - s.paidUntil);
            spread(s.rate, paidTo - s.paidUntil, burnedTo - paidTo);
            spread(s.rate, burnedTo - s.paidUntil, s.fundedUntil - burnedTo);
            commute(s.rate, s.bondSeconds);
            fits(s.rate, s.bondSeconds);
            fits(s.rate, burnedTo - paidTo);
            fits(s.rate, s.fundedUntil - burnedTo);
        }
        assert(isOver() && loose() == total);
    }

    function isOver() private view returns (bool) {
        LeaseRun run = lease();
        return run.state() == IMarket.LeaseState.Ended && run.paidUntil() == run.fundedUntil();
    }

    function lease() private view returns (LeaseRun run) {
        (, run) = market.words(ID);
    }

    /// @dev The second up to which pay is beyond dispute.
    function settledUntil(Start memory s) private pure returns (uint32) {
        uint32 old = s.moment > HOLD ? s.moment - HOLD : 0;
        if (old > s.fundedUntil) return s.fundedUntil;
        return old > s.paidUntil ? old : s.paidUntil;
    }
}
