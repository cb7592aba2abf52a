// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";
import { CallbackToken, SilentToken, TaxedToken } from "../Tokens.sol";

/// @dev Markets of tokens that are not as they should be: the books still say what the tokens say.
contract OddTokensTest is MarketFixture {
    /// @dev In the middle of each call that moves tokens, the token tries each of them: no one of the 25 goes through.
    function test_a_token_that_calls_back_is_kept_out_of_what_moves_tokens() public {
        CallbackToken hooked = new CallbackToken();
        marketOf(hooked);
        bytes32[2] memory ids = [activeBurnLease(), bytes32(0)];
        VM.warp(START + HOLD + 100);
        claim(ids[0]);
        bytes32 guard =
            keccak256(abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
        bytes[5] memory calls = [
            abi.encodeCall(IMarket.deposit, (1 ether)),
            abi.encodeCall(IMarket.depositFor, (buyer, 1 ether)),
            abi.encodeCall(IMarket.depositWithPermit, (1 ether, START, 27, bytes32(0), bytes32(0))),
            abi.encodeCall(IMarket.withdraw, (1 ether)),
            abi.encodeCall(IMarket.flushBurn, ())
        ];
        for (uint256 i = 0; i < 25; i++) {
            hooked.arm(calls[i % 5]);
            (bool ok, bytes memory said) = address(market).call(calls[i / 5]);
            assertTrue(!ok && keccak256(said) == guard, string.concat("let in: ", VM.toString(i)));
        }
        assertBooks(hooked, ids);
    }

    /// @dev The guard is on what moves tokens. All else is open to the token, as to anybody, and finds true books.
    function test_a_token_that_calls_back_may_claim_close_and_name_operators() public {
        CallbackToken hooked = new CallbackToken();
        marketOf(hooked);
        VM.prank(buyer);
        market.setOperator(address(hooked), true);
        bytes32[2] memory ids = [activeLease(), anotherLease()];
        uint256 claimed = 0;
        for (uint256 i = 0; i < 2; i++) {
            VM.warp(START + HOLD + 100 * (i + 1));
            bool paysIn = i == 0;

            moveWhile(hooked, paysIn, abi.encodeCall(IMarket.claim, (one(ids[i]))));
            claimed += 100 * (i + 1) * NET_RATE;
            assertEq(freeOf(provider), DEPOSIT + claimed - BOND * (2 - i), "claimed");
            assertBooks(hooked, ids);

            address key = paysIn ? operator : stranger;
            moveWhile(hooked, paysIn, abi.encodeCall(IMarket.setOperator, (key, true)));
            assertTrue(market.isOperator(address(hooked), key), "its own operator");
            assertBooks(hooked, ids);

            moveWhile(hooked, paysIn, abi.encodeCall(IMarket.close, (ids[i])));
            assertEq(uint256(market.lease(ids[i]).state), uint256(IMarket.LeaseState.Ended), "closed");
            // Beyond the claim, a close pays the hold and the notice.
            claimed += uint256(HOLD + NOTICE) * NET_RATE;
            assertBooks(hooked, ids);
        }
    }

    /// @dev Fees stay where they are, and in nobody's way.
    function test_a_token_without_burn_keeps_the_bucket_and_pays_out() public {
        SilentToken silent = new SilentToken();
        marketOf(IERC20(address(silent)));
        bytes32[2] memory ids = [activeBurnLease(), bytes32(0)];
        VM.warp(START + HOLD + 100);
        claim(ids[0]);
        (bool ok,) = address(market).call(abi.encodeCall(IMarket.flushBurn, ()));
        assertTrue(!ok, "burned what cannot be burned");
        assertEq(feesInBucket(), uint256(FEE_RATE) * 100, "fees");
        assertEq(payoutsInBucket(), uint256(NET_RATE) * 100, "payouts");
        assertEq(silent.balanceOf(DEAD), 0, "dead");
        uint256 free = freeOf(buyer);
        VM.prank(buyer);
        market.withdraw(free);
        assertEq(silent.balanceOf(buyer), free, "paid out");
        assertBooks(IERC20(address(silent)), ids);
    }

    /// @dev Who takes out bears the tax.
    function test_a_taxed_withdrawal_takes_no_more_than_its_amount() public {
        TaxedToken taxed = new TaxedToken();
        marketOf(taxed);
        bytes32[2] memory ids = [activeLease(), bytes32(0)];
        uint256 free = freeOf(buyer);
        VM.prank(buyer);
        market.withdraw(100 ether);
        assertEq(taxed.balanceOf(buyer), 90 ether, "wallet");
        assertEq(freeOf(buyer), free - 100 ether, "free");
        assertBooks(taxed, ids);
    }

    function marketOf(IERC20 odd) private {
        market = deploy(odd, defaultParams(), SALT);
        // Some of them return nothing.
        (bool ok,) = address(odd).call(abi.encodeCall(IERC20.approve, (address(market), type(uint256).max)));
        assertTrue(ok, "approved");
        market.depositFor(buyer, DEPOSIT);
        market.depositFor(provider, DEPOSIT);
        market.deposit(DEPOSIT);
    }

    /// @dev A deposit or a withdrawal, in the middle of which the token makes the call.
    function moveWhile(CallbackToken hooked, bool paysIn, bytes memory call) private {
        uint256 free = freeOf(address(this));
        hooked.arm(call);
        if (paysIn) market.deposit(1 ether);
        else market.withdraw(1 ether);
        assertEq(freeOf(address(this)), paysIn ? free + 1 ether : free - 1 ether, "moved once");
    }

    function anotherLease() private returns (bytes32 id) {
        Trade memory t = goodTrade();
        t.bid.salt = 2;
        resign(t);
        id = settle(t);
        VM.prank(provider);
        market.activate(id);
    }

    function assertBooks(IERC20 odd, bytes32[2] memory ids) private view {
        uint256 owed = freeOf(buyer) + freeOf(provider) + freeOf(address(this)) + feesInBucket() + payoutsInBucket();
        assertEq(odd.balanceOf(address(market)), owed + lockedBy(ids[0]) + lockedBy(ids[1]), "tokens");
    }
}
