// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { Decay } from "../../../src/market/libraries/Decay.sol";
import { Base } from "../Base.sol";

contract DecayTest is Base {
    uint256 private constant ONE = Decay.ONE;

    function test_pow_of_small_exponents() public pure {
        assertEq(Decay.pow(ONE / 3, 0), ONE, "x^0");
        assertEq(Decay.pow(ONE / 3, 1), ONE / 3, "x^1");
        assertEq(Decay.pow(ONE / 2, 3), ONE / 8, "x^3");
        assertEq(Decay.pow(ONE, 1_000_000), ONE, "1^n");
        assertEq(Decay.pow(0, 5), 0, "0^n");
    }

    function test_factor_of_a_day_is_a_half() public pure {
        assertEq(Decay.factor(1), ONE / 2, "half");
    }

    /// @dev 2^(-1/90) = 0.992327946...; the Rust crate `sublet-market` tests the same digits.
    function test_factor_of_the_default() public pure {
        assertEq(Decay.factor(90), 992_327_946_262_943_481, "factor");
    }

    function test_factor_is_the_largest() public pure {
        for (uint256 halfLife = 7; halfLife <= 365; halfLife += 13) {
            uint256 got = Decay.factor(halfLife);
            assertTrue(Decay.pow(got, halfLife) <= ONE / 2, "at most a half");
            assertTrue(Decay.pow(got + 1, halfLife) > ONE / 2, "the largest");
        }
    }

    function testFuzz_pow_shrinks(uint256 base, uint256 exponent) public pure {
        base = bound(base, 0, ONE);
        exponent = bound(exponent, 0, 40_000);
        assertTrue(Decay.pow(base, exponent + 1) <= Decay.pow(base, exponent), "monotone in the exponent");
        if (base > 0) assertTrue(Decay.pow(base - 1, exponent) <= Decay.pow(base, exponent), "monotone in the base");
    }
}
