// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

contract BurnTest is MarketFixture {
    function test_fees_leave_the_supply() public {
        bytes32 id = activeLease();
        VM.warp(START + HOLD + 100);
        claim(id);
        uint256 fees = uint256(FEE_RATE) * 100;
        uint256 supply = token.totalSupply();
        VM.prank(stranger);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.BurnFlushed(0, fees);
        market.flushBurn();
        assertEq(token.totalSupply(), supply - fees, "supply");
        assertEq(token.balanceOf(DEAD), 0, "dead");
        assertEq(feesInBucket(), 0, "bucket");
        assertConserved(id);
    }

    function test_payouts_with_the_burn_flag_go_where_all_can_see_them() public {
        bytes32 id = activeBurnLease();
        VM.warp(START + HOLD + 100);
        claim(id);
        uint256 payouts = uint256(NET_RATE) * 100;
        uint256 fees = uint256(FEE_RATE) * 100;
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.BurnFlushed(payouts, fees);
        market.flushBurn();
        assertEq(token.balanceOf(DEAD), payouts, "dead");
        assertEq(payoutsInBucket(), 0, "bucket");
        assertConserved(id);
    }

    function test_an_empty_bucket_is_refused() public {
        VM.expectRevert(abi.encodeWithSelector(IMarket.NothingToFlush.selector));
        market.flushBurn();
    }
}
