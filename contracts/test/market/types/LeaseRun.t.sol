// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { LeaseRun, LeaseRunLibrary } from "../../../src/market/types/LeaseRun.sol";
import { Base } from "../Base.sol";

contract LeaseRunTest is Base {
    struct Fields {
        address provider;
        uint32 paidUntil;
        uint32 fundedUntil;
        uint24 bondSeconds;
        bool burn;
    }

    function testFuzz_a_whole_life(Fields memory f, uint32 start, uint32 until, uint256 seed) public pure {
        IMarket.EndReason reason = IMarket.EndReason(bound(seed, 1, 6));
        start = uint32(bound(start, 0, type(uint32).max - f.fundedUntil));
        LeaseRun r = LeaseRunLibrary.opened(f.provider, f.paidUntil, f.fundedUntil, f.bondSeconds, f.burn);
        check(r, f, IMarket.LeaseState.Opened, IMarket.EndReason.None);

        (f.paidUntil, f.fundedUntil) = (start, start + f.fundedUntil);
        r = r.activated(start);
        check(r, f, IMarket.LeaseState.Active, IMarket.EndReason.None);

        f.fundedUntil = until;
        r = r.funded(until);
        check(r, f, IMarket.LeaseState.Active, IMarket.EndReason.None);

        f.paidUntil = until;
        r = r.paid(until);
        check(r, f, IMarket.LeaseState.Active, IMarket.EndReason.None);

        (f.paidUntil, f.fundedUntil) = (start, start);
        check(r.ended(start, reason), f, IMarket.LeaseState.Ended, reason);
    }

    function test_a_bid_that_never_was_a_lease() public pure {
        Fields memory f;
        LeaseRun r = LeaseRun.wrap(0);
        check(r, f, IMarket.LeaseState.None, IMarket.EndReason.None);
        r = r.ended(0, IMarket.EndReason.Cancelled);
        check(r, f, IMarket.LeaseState.Ended, IMarket.EndReason.Cancelled);
        assertTrue(LeaseRun.unwrap(r) != 0, "the slot is used");
    }

    function check(LeaseRun r, Fields memory f, IMarket.LeaseState state, IMarket.EndReason reason) private pure {
        assertEq(r.provider(), f.provider, "provider");
        assertEq(r.paidUntil(), f.paidUntil, "paidUntil");
        assertEq(r.fundedUntil(), f.fundedUntil, "fundedUntil");
        assertEq(r.bondSeconds(), f.bondSeconds, "bondSeconds");
        assertTrue(r.burn() == f.burn, "burn");
        assertEq(uint256(r.state()), uint256(state), "state");
        assertEq(uint256(r.reason()), uint256(reason), "reason");
    }
}
