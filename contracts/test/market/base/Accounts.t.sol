// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { SafeERC20, IERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { IERC20Errors } from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import { Market } from "../../../src/market/Market.sol";
import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";
import { CallbackToken, PickyToken, SilentToken, TaxedToken } from "../Tokens.sol";

contract AccountsTest is MarketFixture {
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    function test_deposit_credits_the_caller() public {
        token.approve(address(market), 5 ether);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.Deposited(address(this), address(this), 5 ether);
        market.deposit(5 ether);
        assertEq(freeOf(address(this)), 5 ether, "free");
    }

    function test_depositFor_credits_the_maker() public {
        token.approve(address(market), 5 ether);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.Deposited(stranger, address(this), 5 ether);
        market.depositFor(stranger, 5 ether);
        assertEq(freeOf(stranger), 5 ether, "free");
    }

    function test_depositFor_the_zero_address_is_refused() public {
        VM.expectRevert(abi.encodeWithSelector(IMarket.ZeroAddress.selector));
        market.depositFor(address(0), 1);
    }

    function test_deposit_of_nothing_is_refused() public {
        VM.expectRevert(abi.encodeWithSelector(IMarket.ZeroAmount.selector));
        market.deposit(0);
    }

    function test_deposit_without_approval_shows_the_token_error() public {
        VM.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 0, 1 ether)
        );
        market.deposit(1 ether);
    }

    function test_deposit_credits_what_arrived() public {
        TaxedToken taxed = new TaxedToken();
        Market other = deploy(taxed, defaultParams(), SALT);
        taxed.approve(address(other), 10 ether);
        other.deposit(10 ether);
        (uint96 free,,) = other.account(address(this));
        assertEq(free, 9 ether, "free");
    }

    function test_deposit_beyond_96_bits_is_refused() public {
        CallbackToken huge = new CallbackToken();
        Market other = deploy(huge, defaultParams(), SALT);
        huge.approve(address(other), type(uint256).max);
        other.deposit(1);
        huge.mint(address(this), type(uint96).max);
        VM.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 96, uint256(1) << 96));
        other.deposit(type(uint96).max);
    }

    function test_depositWithPermit_needs_no_approval() public {
        (uint8 v, bytes32 r, bytes32 s) = permit(5 ether);
        VM.prank(stranger);
        market.depositWithPermit(5 ether, START, v, r, s);
        assertEq(freeOf(stranger), 5 ether, "free");
    }

    function test_depositWithPermit_survives_a_permit_sent_before() public {
        (uint8 v, bytes32 r, bytes32 s) = permit(5 ether);
        token.permit(stranger, address(market), 5 ether, START, v, r, s);
        VM.prank(stranger);
        market.depositWithPermit(5 ether, START, v, r, s);
        assertEq(freeOf(stranger), 5 ether, "free");
    }

    function test_depositWithPermit_with_a_bad_permit_moves_nothing() public {
        (uint8 v, bytes32 r, bytes32 s) = permit(5 ether);
        VM.prank(stranger);
        VM.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 0, 6 ether)
        );
        market.depositWithPermit(6 ether, START, v, r, s);
    }

    function test_withdraw_pays_the_caller() public {
        VM.prank(buyer);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.Withdrawn(buyer, 400 ether);
        market.withdraw(400 ether);
        assertEq(token.balanceOf(buyer), 400 ether, "wallet");
        assertEq(freeOf(buyer), 600 ether, "free");
    }

    function test_withdraw_of_all_leaves_nothing() public {
        VM.prank(buyer);
        market.withdraw(DEPOSIT);
        assertEq(freeOf(buyer), 0, "free");
    }

    function test_withdraw_of_more_than_free_is_refused() public {
        openedLease();
        uint256 free = DEPOSIT - ESCROW;
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(IMarket.InsufficientFree.selector, buyer, free, free + 1));
        market.withdraw(free + 1);
    }

    function test_withdraw_of_nothing_is_refused() public {
        VM.expectRevert(abi.encodeWithSelector(IMarket.ZeroAmount.selector));
        market.withdraw(0);
    }

    function test_an_operator_cannot_withdraw() public {
        VM.prank(buyer);
        market.setOperator(operator, true);
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSelector(IMarket.InsufficientFree.selector, operator, 0, 1));
        market.withdraw(1);
    }

    function test_operators_come_and_go() public {
        VM.startPrank(buyer);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.OperatorSet(buyer, operator, true);
        market.setOperator(operator, true);
        assertTrue(market.isOperator(buyer, operator), "approved");
        assertTrue(!market.isOperator(operator, buyer), "not the other way");
        assertTrue(!market.isOperator(provider, operator), "not of others");
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.OperatorSet(buyer, operator, false);
        market.setOperator(operator, false);
        assertTrue(!market.isOperator(buyer, operator), "revoked");
        VM.stopPrank();
    }

    function test_the_zero_address_cannot_be_an_operator() public {
        VM.expectRevert(abi.encodeWithSelector(IMarket.ZeroAddress.selector));
        market.setOperator(address(0), true);
    }

    function test_bumpEpoch_counts() public {
        VM.startPrank(buyer);
        VM.expectEmit(true, true, true, true, address(market));
        emit IMarket.EpochBumped(buyer, 1);
        market.bumpEpoch();
        market.bumpEpoch();
        VM.stopPrank();
        (uint96 free, uint32 epoch,) = market.account(buyer);
        assertEq(epoch, 2, "epoch");
        assertEq(free, DEPOSIT, "the balance stays");
    }

    function test_a_token_that_returns_nothing_works() public {
        SilentToken silent = new SilentToken();
        Market other = deploy(IERC20(address(silent)), defaultParams(), SALT);
        silent.approve(address(other), 10 ether);
        other.deposit(10 ether);
        other.withdraw(4 ether);
        (uint96 free,,) = other.account(address(this));
        assertEq(free, 6 ether, "free");
        assertEq(silent.balanceOf(address(other)), 6 ether, "tokens");
    }

    /// @dev Nobody's refusal stands in another's way, and who is refused keeps the balance.
    function test_a_token_that_refuses_a_payee_harms_nobody_else() public {
        PickyToken picky = new PickyToken();
        Market other = deploy(picky, defaultParams(), SALT);
        picky.approve(address(other), 20 ether);
        other.depositFor(buyer, 10 ether);
        other.depositFor(provider, 10 ether);
        picky.dislike(buyer, true);
        VM.prank(buyer);
        VM.expectRevert(abi.encodeWithSelector(PickyToken.Disliked.selector, buyer));
        other.withdraw(1 ether);
        VM.prank(provider);
        other.withdraw(10 ether);
        (uint96 free,,) = other.account(buyer);
        assertEq(free, 10 ether, "the balance stays");
        picky.dislike(buyer, false);
        VM.prank(buyer);
        other.withdraw(10 ether);
        assertEq(picky.balanceOf(buyer), 10 ether, "paid later");
    }

    function test_a_transfer_that_fails_without_a_revert_takes_no_balance() public {
        PickyToken picky = new PickyToken();
        Market other = deploy(picky, defaultParams(), SALT);
        picky.approve(address(other), 10 ether);
        other.deposit(10 ether);
        picky.mute(true);
        VM.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(picky)));
        other.withdraw(1 ether);
        (uint96 free,,) = other.account(address(this));
        assertEq(free, 10 ether, "free");
    }

    function permit(uint256 amount) private returns (uint8 v, bytes32 r, bytes32 s) {
        token.transfer(stranger, 10 ether);
        bytes32 structHash = keccak256(abi.encode(PERMIT_TYPEHASH, stranger, address(market), amount, 0, START));
        return VM.sign(STRANGER_KEY, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
    }
}
