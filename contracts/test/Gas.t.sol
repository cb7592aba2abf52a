// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { MarketFixture } from "./MarketFixture.sol";

/// @dev Writes snapshots/gas.json under `bin/gas`: whole transactions with cold storage, in a Market that has been used
/// before (its burn bucket is not empty).
contract GasTest is MarketFixture {
    string private constant GROUP = "gas";

    function setUp() public override {
        super.setUp();
        Trade memory t = goodTrade();
        t.bid.salt = 99;
        resign(t);
        bytes32 id = settle(t);
        VM.prank(provider);
        market.activate(id);
        VM.prank(buyer);
        market.close(id);
    }

    function test_gas_of_money() public {
        token.approve(address(market), 1 ether);
        market.deposit(1 ether);
        record("deposit");
        market.withdraw(0.5 ether);
        record("withdraw");
        market.flushBurn();
        record("flushBurn");
    }

    function test_gas_of_a_closed_lease() public {
        bytes32 id = openedLease();
        record("settle");
        VM.prank(provider);
        market.activate(id);
        record("activate");
        VM.warp(START + HOLD + 100);
        claim(id);
        record("claim");
        VM.prank(buyer);
        market.topUp(id, 100);
        record("topUp");
        VM.prank(buyer);
        market.close(id);
        record("close");
    }

    function test_gas_of_a_claim_of_two() public {
        bytes32[] memory ids = new bytes32[](2);
        ids[0] = activeLease();
        Trade memory t = goodTrade();
        t.bid.salt = 2;
        resign(t);
        ids[1] = settle(t);
        VM.prank(provider);
        market.activate(ids[1]);
        VM.warp(START + HOLD + 100);
        market.claim(ids);
        record("claim of two");
    }

    function test_gas_of_the_other_ends() public {
        Trade memory t = goodTrade();
        VM.prank(buyer);
        market.cancel(t.bid);
        record("cancel");
        t.bid.salt = 2;
        resign(t);
        bytes32 id = settle(t);
        VM.prank(provider);
        market.abort(id);
        record("abort");
    }

    function test_gas_of_reject() public {
        bytes32 id = activeLease();
        VM.warp(START + HOLD + 100);
        VM.prank(buyer);
        market.reject(id);
        record("reject");
    }

    function test_gas_of_providerClose() public {
        bytes32 id = activeLease();
        VM.warp(START + HOLD + 100);
        VM.prank(provider);
        market.providerClose(id);
        record("providerClose");
    }

    function test_gas_of_finish() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION + HOLD);
        market.finish(id);
        record("finish");
    }

    function record(string memory name) private {
        VM.snapshotGasLastCall(GROUP, name);
    }
}
