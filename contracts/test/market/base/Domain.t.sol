// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { Market } from "../../../src/market/Market.sol";
import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { MarketFixture } from "../MarketFixture.sol";

contract DomainTest is MarketFixture {
    function test_separator_is_of_all_five_fields() public view {
        assertEq(market.domainSeparator(), separator(block.chainid, address(market), SALT), "separator");
    }

    function test_eip712Domain_tells_the_fields() public view {
        (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        ) = market.eip712Domain();
        assertEq(uint8(fields), 0x1f, "fields");
        assertEq(keccak256(bytes(name)), keccak256("Sublet"), "name");
        assertEq(keccak256(bytes(version)), keccak256("1"), "version");
        assertEq(chainId, block.chainid, "chainId");
        assertEq(verifyingContract, address(market), "verifyingContract");
        assertEq(salt, SALT, "salt");
        assertEq(extensions.length, 0, "extensions");
    }

    function test_the_separator_follows_a_fork() public {
        bytes32 before = market.domainSeparator();
        VM.chainId(77);
        assertEq(market.domainSeparator(), separator(77, address(market), SALT), "of the fork");
        assertTrue(market.domainSeparator() != before, "differs");
    }

    function test_signatures_of_another_deployment_do_not_count() public {
        Market twin = deploy(token, defaultParams(), keccak256("another deployment"));
        assertTrue(twin.domainSeparator() != market.domainSeparator(), "separators differ");
        Trade memory t = goodTrade();
        bytes32 id = twin.bidDigest(t.bid);
        VM.expectRevert(abi.encodeWithSelector(IMarket.WrongBid.selector, t.accept.bid, id));
        twin.quote(t.bid, t.accept);
    }

    function test_signatures_of_before_a_fork_do_not_count() public {
        Trade memory t = goodTrade();
        VM.chainId(77);
        refuseTrade(t, abi.encodeWithSelector(IMarket.WrongBid.selector, t.accept.bid, market.bidDigest(t.bid)));
    }

    function separator(uint256 chainId, address verifyingContract, bytes32 salt) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
                ),
                keccak256("Sublet"),
                keccak256("1"),
                chainId,
                verifyingContract,
                salt
            )
        );
    }
}
