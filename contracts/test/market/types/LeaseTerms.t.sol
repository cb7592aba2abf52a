// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { LeaseTerms, LeaseTermsLibrary } from "../../../src/market/types/LeaseTerms.sol";
import { Base } from "../Base.sol";

contract LeaseTermsTest is Base {
    function testFuzz_fields_keep_to_themselves(address buyer, uint64 rate, uint32 maxDuration, uint32 start)
        public
        pure
    {
        LeaseTerms t = LeaseTermsLibrary.opened(buyer, rate, maxDuration);
        check(t, buyer, rate, maxDuration);
        start = uint32(bound(start, 0, type(uint32).max - maxDuration));
        check(t.activated(start), buyer, rate, maxDuration + start);
    }

    function check(LeaseTerms t, address buyer, uint64 rate, uint32 maxEnd) private pure {
        assertEq(t.buyer(), buyer, "buyer");
        assertEq(t.rate(), rate, "rate");
        assertEq(t.maxEnd(), maxEnd, "maxEnd");
    }
}
