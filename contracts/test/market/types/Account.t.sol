// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { Account } from "../../../src/market/types/Account.sol";
import { Base } from "../Base.sol";

contract AccountTest is Base {
    struct Fields {
        uint96 free;
        uint32 epoch;
        uint64 points;
        uint32 day;
    }

    function testFuzz_fields_keep_to_themselves(Fields memory f, Fields memory g) public pure {
        Account a = Account.wrap(0).withFree(f.free).withEpoch(f.epoch).withPoints(f.points, f.day);
        check(a, f);
        check(a.withFree(g.free), Fields(g.free, f.epoch, f.points, f.day));
        check(a.withEpoch(g.epoch), Fields(f.free, g.epoch, f.points, f.day));
        check(a.withPoints(g.points, g.day), Fields(f.free, f.epoch, g.points, g.day));
    }

    function check(Account a, Fields memory f) private pure {
        assertEq(a.free(), f.free, "free");
        assertEq(a.epoch(), f.epoch, "epoch");
        assertEq(a.points(), f.points, "points");
        assertEq(a.day(), f.day, "day");
    }
}
