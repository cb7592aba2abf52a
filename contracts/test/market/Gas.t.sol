// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { MarketFixture } from "./MarketFixture.sol";

/// @dev Writes snapshots/gas.json under `bin/test --gas`: whole transactions with cold storage, in a Market that has been
/// used before (its burn bucket is not empty), by makers who have traded before.
contract GasTest is MarketFixture {
    string private constant GROUP = "gas";

    /// @dev What the calls may cost at most, whatever the committed figures say: each change of those is a small one.
    uint256 private constant MOST_SETTLE = 112_000;
    uint256 private constant MOST_ACTIVATE = 37_000;
    uint256 private constant MOST_CLAIM = 46_000;
    uint256 private constant MOST_FURTHER_CLAIM = 13_000;
    uint256 private constant MOST_CLOSE = 51_000;
    uint256 private constant MOST_CLOSE_LATER = 54_000;
    uint256 private constant MOST_LIFE = 245_000;

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
        uint256 life = recordAtMost("settle_first", MOST_SETTLE);
        VM.prank(provider);
        market.activate(id);
        life += recordAtMost("activate", MOST_ACTIVATE);
        VM.warp(START + HOLD + 100);
        claim(id);
        life += recordAtMost("claim_one", MOST_CLAIM);
        VM.prank(buyer);
        market.close(id);
        life += recordAtMost("close", MOST_CLOSE);
        assertTrue(life <= MOST_LIFE, "a life costs too much");
        VM.snapshotValue(GROUP, "life", life);
    }

    /// @dev All above is of one day (UTC). Here each call comes on the day after the provider's points were last written,
    /// and has them decay: settle to look at them, the others to add to them.
    function test_gas_of_a_life_on_later_days() public {
        uint256 midnight = (START / 1 days + 2) * 1 days;
        VM.warp(midnight - HOLD - 1000);
        bytes32 id = settle(tradeOfNow());
        recordAtMost("settle_next_day", MOST_SETTLE);
        VM.prank(provider);
        market.activate(id);
        VM.warp(midnight - 900);
        claim(id);
        recordAtMost("claim_next_day", MOST_CLAIM);
        VM.warp(midnight);
        VM.prank(buyer);
        market.close(id);
        recordAtMost("close_next_day", MOST_CLOSE_LATER);
    }

    /// @dev A decay has a product or two for each binary digit of its days.
    function test_gas_of_a_close_after_a_year() public {
        VM.warp(START + 365 days);
        bytes32 id = settle(tradeOfNow());
        VM.prank(provider);
        market.activate(id);
        VM.warp(START + 365 days + HOLD + 100);
        VM.prank(buyer);
        market.close(id);
        recordAtMost("close_next_year", MOST_CLOSE_LATER);
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
        uint256 further = (VM.lastCallGas().gasTotalUsed - first + 1) / 2;
        assertTrue(further <= MOST_FURTHER_CLAIM, "a further claim costs too much");
        VM.snapshotValue(GROUP, "claim_next", further);
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

    /// @dev Between the same two, to be settled now.
    function tradeOfNow() private view returns (Trade memory t) {
        t = goodTrade();
        t.bid.validUntil = t.accept.settleBy = uint64(block.timestamp);
        resign(t);
    }

    function recordAtMost(string memory name, uint256 most) private returns (uint256 used) {
        used = record(name);
        assertTrue(used <= most, string.concat("costs too much: ", name));
    }

    function record(string memory name) private returns (uint256) {
        return VM.snapshotGasLastCall(GROUP, name);
    }
}
