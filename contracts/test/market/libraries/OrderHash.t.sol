// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { Market } from "../../../src/market/Market.sol";
import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { OrderHash } from "../../../src/market/libraries/OrderHash.sol";
import { MarketFixture } from "../MarketFixture.sol";

/// @dev The fixed vector that the Rust crate `sublet-market` computes: both sides must find the same numbers.
contract OrderHashTest is MarketFixture {
    string private json;

    function setUp() public override {
        json = VM.readFile("../market/testdata/eip712.json");
        VM.warp(START);
        VM.chainId(number(".domain.chainId"));
        token = deployToken();
        market = deployAt(VM.parseJsonAddress(json, ".domain.verifyingContract"));
        buyer = VM.parseJsonAddress(json, ".bid.buyer");
        provider = VM.parseJsonAddress(json, ".accept.provider");
    }

    function test_type_hashes() public view {
        assertEq(OrderHash.BID_TYPEHASH, word(".typeHashes.bid"), "bid");
        assertEq(OrderHash.ACCEPT_TYPEHASH, word(".typeHashes.accept"), "accept");
    }

    function test_domain() public view {
        assertEq(market.domainSeparator(), word(".domain.separator"), "separator");
    }

    function test_digests() public view {
        Trade memory t = vectorTrade();
        assertEq(market.bidDigest(t.bid), word(".bid.digest"), "bid");
        assertEq(market.acceptDigest(t.accept), word(".accept.digest"), "accept");
    }

    function test_signatures() public view {
        uint256 buyerKey = uint256(word(".buyer.privateKey"));
        uint256 providerKey = uint256(word(".provider.privateKey"));
        assertEq(VM.addr(buyerKey), buyer, "buyer");
        assertEq(VM.addr(providerKey), provider, "provider");
        Trade memory t = vectorTrade();
        assertEq(keccak256(sign(buyerKey, word(".bid.digest"))), keccak256(t.bidSignature), "bid");
        assertEq(keccak256(sign(providerKey, word(".accept.digest"))), keccak256(t.acceptSignature), "accept");
    }

    function test_what_rust_signed_settles() public {
        fund(buyer, 1 ether);
        fund(provider, 1 ether);
        Trade memory t = vectorTrade();
        assertEq(settle(t), word(".bid.digest"), "id");
        assertEq(market.lease(word(".bid.digest")).rate, t.accept.rate, "rate");
    }

    /// @dev Runs the constructor at an address of our choice, as the digests depend on it.
    function deployAt(address target) private returns (Market) {
        bytes memory arguments = abi.encode(token, defaultParams(), word(".domain.salt"));
        VM.etch(target, abi.encodePacked(marketCreation(), arguments));
        (bool ok, bytes memory runtime) = target.call("");
        assertTrue(ok, "constructor");
        VM.etch(target, runtime);
        return Market(target);
    }

    function vectorTrade() private view returns (Trade memory t) {
        t.bid = IMarket.Bid({
            buyer: buyer,
            settler: VM.parseJsonAddress(json, ".bid.settler"),
            spec: word(".bid.spec"),
            node: word(".bid.node"),
            maxRate: uint64(number(".bid.maxRate")),
            minBondSeconds: uint32(number(".bid.minBondSeconds")),
            minPoints: uint64(number(".bid.minPoints")),
            duration: uint32(number(".bid.duration")),
            validUntil: uint64(number(".bid.validUntil")),
            epoch: uint32(number(".bid.epoch")),
            salt: uint64(number(".bid.salt"))
        });
        t.accept = IMarket.Accept({
            bid: word(".accept.bid"),
            offer: word(".accept.offer"),
            provider: provider,
            node: word(".accept.node"),
            rate: uint64(number(".accept.rate")),
            bondSeconds: uint32(number(".accept.bondSeconds")),
            activateWithin: uint32(number(".accept.activateWithin")),
            maxDuration: uint32(number(".accept.maxDuration")),
            burn: VM.parseJsonBool(json, ".accept.burn"),
            settleBy: uint64(number(".accept.settleBy"))
        });
        t.bidSignature = VM.parseJsonBytes(json, ".bid.signature");
        t.acceptSignature = VM.parseJsonBytes(json, ".accept.signature");
    }

    function word(string memory path) private view returns (bytes32) {
        return VM.parseJsonBytes32(json, path);
    }

    function number(string memory path) private view returns (uint256) {
        return VM.parseJsonUint(json, path);
    }
}
