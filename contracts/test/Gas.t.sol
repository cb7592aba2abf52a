// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { MarketFixture } from "./MarketFixture.sol";

/// @dev Writes snapshots/gas.json under `bin/test --gas`: whole transactions with cold storage, in a Market that has been
/// used before (its burn bucket is not empty), by makers who have traded before.
contract GasTest is MarketFixture {
    string private constant GROUP = "gas";

    function setUp() public override {
        super.setUp();
        bytes32 id = anotherLease(99);
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
        record("flush_burn");
    }

    function test_gas_of_a_life() public {
        bytes32 id = openedLease();
        uint256 life = record("settle_first");
        VM.prank(provider);
        market.activate(id);
        life += record("activate");
        VM.warp(START + HOLD + 100);
        claim(id);
        life += record("claim_one");
        VM.prank(buyer);
        market.close(id);
        life += record("close");
        VM.snapshotValue(GROUP, "life", life);
    }

    function test_gas_of_each_further_claim() public {
        bytes32[] memory ids = new bytes32[](3);
        for (uint256 i = 0; i < ids.length; i++) {
            ids[i] = anotherLease(uint64(2 + i));
        }
        VM.warp(START + HOLD + 100);
        claim(ids[0]);
        uint256 first = VM.lastCallGas().gasTotalUsed;
        VM.warp(START + HOLD + 200);
        market.claim(ids);
        VM.snapshotValue(GROUP, "claim_next", (VM.lastCallGas().gasTotalUsed - first + 1) / 2);
    }

    function test_gas_of_topUp() public {
        bytes32 id = activeLease();
        VM.prank(buyer);
        market.topUp(id, 100);
        record("top_up");
    }

    function test_gas_of_the_ends_before_activation() public {
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
        record("provider_close");
    }

    function test_gas_of_finish() public {
        bytes32 id = activeLease();
        VM.warp(START + DURATION + HOLD);
        market.finish(id);
        record("finish");
    }

    /// @dev A lease between the same two, active since now.
    function anotherLease(uint64 salt) private returns (bytes32 id) {
        Trade memory t = goodTrade();
        t.bid.salt = salt;
        resign(t);
        id = settle(t);
        VM.prank(provider);
        market.activate(id);
    }

    function record(string memory name) private returns (uint256) {
        return VM.snapshotGasLastCall(GROUP, name);
    }
}
