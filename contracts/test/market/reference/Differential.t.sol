// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { Base } from "../Base.sol";
import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { Decay } from "../../../src/market/libraries/Decay.sol";
import { Histories } from "./Histories.sol";
import { PointsModel } from "./PointsModel.sol";

/// @dev The Market and ReferenceMarket.sol, told the same, say and hold the same.
contract DifferentialTest is Histories {
    uint256 private constant STEPS = 32;
    uint256 private constant LONG = 2500;

    /// forge-config: default.fuzz.runs = 32
    /// forge-config: deep.fuzz.runs = 10000
    function testFuzz_a_history_is_that_of_the_reference(uint256 seed) public {
        for (uint256 i = 0; i < STEPS; i++) {
            // A call of its own, so that its memory is given back.
            this.step(uint256(keccak256(abi.encode(seed, i))));
        }
        sameLeases();
    }

    /// @dev One long history, the same each time, in which everything happens: no comparison above is an empty one.
    function test_a_long_history_has_every_transition_and_every_refusal() public {
        for (uint256 i = 0; i < LONG; i++) {
            this.step(i);
            if (i % 500 == 0) sameLeases();
        }
        sameLeases();
        assertTransitions();
        bytes4[36] memory errors = refusals();
        for (uint256 i = 0; i < errors.length; i++) {
            assertTrue(refused[errors[i]] > 0, string.concat("no refusal ", VM.toString(i)));
        }
    }

    function assertTransitions() private view {
        bytes4[16] memory calls = [
            IMarket.deposit.selector,
            IMarket.depositFor.selector,
            IMarket.withdraw.selector,
            IMarket.setOperator.selector,
            IMarket.bumpEpoch.selector,
            IMarket.flushBurn.selector,
            IMarket.settle.selector,
            IMarket.cancel.selector,
            IMarket.activate.selector,
            IMarket.abort.selector,
            IMarket.topUp.selector,
            IMarket.claim.selector,
            IMarket.close.selector,
            IMarket.reject.selector,
            IMarket.providerClose.selector,
            IMarket.finish.selector
        ];
        for (uint256 i = 0; i < calls.length; i++) {
            assertTrue(done[calls[i]] > 0, string.concat("never went through: call ", VM.toString(i)));
        }
        for (uint256 i = 1; i <= uint256(type(IMarket.EndReason).max); i++) {
            assertTrue(ended[IMarket.EndReason(i)] > 0, string.concat("no end ", VM.toString(i)));
        }
    }

    /// @dev All errors of IMarket but those of the deployment.
    function refusals() private pure returns (bytes4[36] memory) {
        return [
            IMarket.ZeroAmount.selector,
            IMarket.ZeroAddress.selector,
            IMarket.InsufficientFree.selector,
            IMarket.NothingToFlush.selector,
            IMarket.NotSettler.selector,
            IMarket.WrongBid.selector,
            IMarket.LeaseExists.selector,
            IMarket.BidExpired.selector,
            IMarket.AcceptExpired.selector,
            IMarket.AcceptTooLong.selector,
            IMarket.SameParty.selector,
            IMarket.EpochMismatch.selector,
            IMarket.RateZero.selector,
            IMarket.RateTooHigh.selector,
            IMarket.BondTooShort.selector,
            IMarket.BondTooLong.selector,
            IMarket.DurationTooShort.selector,
            IMarket.DurationTooLong.selector,
            IMarket.MaxDurationTooLong.selector,
            IMarket.ActivateWithinTooLong.selector,
            IMarket.PointsTooLow.selector,
            IMarket.BuyerFunds.selector,
            IMarket.ProviderFunds.selector,
            IMarket.BidSignatureInvalid.selector,
            IMarket.AcceptSignatureInvalid.selector,
            IMarket.WrongState.selector,
            IMarket.NotBuyer.selector,
            IMarket.NotProvider.selector,
            IMarket.ActivationLate.selector,
            IMarket.AbortEarly.selector,
            IMarket.LeaseOver.selector,
            IMarket.ZeroSeconds.selector,
            IMarket.TopUpTooLong.selector,
            IMarket.RejectLate.selector,
            IMarket.FinishEarly.selector,
            IMarket.NothingToClaim.selector
        ];
    }
}

/// @dev The one error bound of PointsModel that does not follow from counting.
contract DecayErrorTest is Base {
    /// forge-config: default.fuzz.runs = 32
    /// forge-config: deep.fuzz.runs = 10000
    function testFuzz_the_daily_factor_is_within_its_error(uint256 halfLife, uint256 elapsed) public {
        halfLife = bound(halfLife, 7, 365);
        elapsed = bound(elapsed, 1, 20 * halfLife);
        uint256 got = Decay.pow(Decay.factor(halfLife), elapsed) * 1e18;
        uint256 real = new Remains(halfLife).after_(elapsed);
        uint256 off = 2 * elapsed * 1e18;
        assertTrue(got <= real + off && real <= got + off, VM.toString(got));
    }
}

/// @dev The model's factor, to be asked.
contract Remains is PointsModel {
    constructor(uint256 halfLifeDays) PointsModel(halfLifeDays) { }

    function after_(uint256 elapsed) external view returns (uint256) {
        return remains(elapsed);
    }
}
