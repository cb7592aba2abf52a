// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import { Market } from "../../../src/market/Market.sol";
import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

contract ParametersTest is MarketFixture {
    function test_constants_are_kept() public view {
        IMarket.Params memory p = market.params();
        assertEq(p.feeBps, 100, "feeBps");
        assertEq(p.hold, HOLD, "hold");
        assertEq(p.notice, NOTICE, "notice");
        assertEq(p.halfLifeDays, 90, "halfLifeDays");
        assertEq(address(market.token()), address(token), "token");
    }

    function test_bounds_themselves_are_allowed() public {
        deploy(token, IMarket.Params({ feeBps: 10, hold: 60, notice: 0, halfLifeDays: 7 }), SALT);
        deploy(token, IMarket.Params({ feeBps: 500, hold: 3600, notice: 600, halfLifeDays: 365 }), SALT);
        deploy(token, IMarket.Params({ feeBps: 500, hold: 60, notice: 60, halfLifeDays: 365 }), SALT);
    }

    function test_a_fee_outside_is_refused() public {
        IMarket.Params memory p = defaultParams();
        p.feeBps = 9;
        refuse(p, abi.encodeWithSelector(IMarket.FeeOutOfRange.selector, 9, 10, 500));
        p.feeBps = 501;
        refuse(p, abi.encodeWithSelector(IMarket.FeeOutOfRange.selector, 501, 10, 500));
    }

    function test_a_hold_outside_is_refused() public {
        IMarket.Params memory p = defaultParams();
        p.hold = 59;
        refuse(p, abi.encodeWithSelector(IMarket.HoldOutOfRange.selector, 59, 60, 3600));
        p.hold = 3601;
        refuse(p, abi.encodeWithSelector(IMarket.HoldOutOfRange.selector, 3601, 60, 3600));
    }

    function test_a_notice_outside_is_refused() public {
        IMarket.Params memory p = defaultParams();
        p.hold = 3600;
        p.notice = 601;
        refuse(p, abi.encodeWithSelector(IMarket.NoticeOutOfRange.selector, 601, 600));
        p.hold = 100;
        p.notice = 101;
        refuse(p, abi.encodeWithSelector(IMarket.NoticeOutOfRange.selector, 101, 100));
    }

    function test_a_half_life_outside_is_refused() public {
        IMarket.Params memory p = defaultParams();
        p.halfLifeDays = 6;
        refuse(p, abi.encodeWithSelector(IMarket.HalfLifeOutOfRange.selector, 6, 7, 365));
        p.halfLifeDays = 366;
        refuse(p, abi.encodeWithSelector(IMarket.HalfLifeOutOfRange.selector, 366, 7, 365));
    }

    function test_a_token_without_code_is_refused() public {
        VM.expectRevert(abi.encodeWithSelector(IMarket.TokenWithoutCode.selector, stranger));
        deploy(IERC20(stranger), defaultParams(), SALT);
    }

    function refuse(IMarket.Params memory p, bytes memory data) private {
        VM.expectRevert(data);
        deploy(token, p, SALT);
    }
}
