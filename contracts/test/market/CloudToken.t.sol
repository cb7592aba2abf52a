// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { CloudToken } from "../../src/market/CloudToken.sol";
import { Released } from "./Released.sol";

contract CloudTokenTest is Released {
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    CloudToken private token;

    function setUp() public {
        token = deployToken();
    }

    function test_names_and_supply() public view {
        assertEq(keccak256(bytes(token.name())), keccak256("CloudToken"), "name");
        assertEq(keccak256(bytes(token.symbol())), keccak256("CTK"), "symbol");
        assertEq(token.decimals(), 18, "decimals");
        assertEq(token.totalSupply(), 1_000_000 * 10 ** 18, "supply");
        assertEq(token.balanceOf(address(this)), token.totalSupply(), "all to the deployer");
    }

    function test_burn_shrinks_the_supply() public {
        token.burn(1 ether);
        assertEq(token.totalSupply(), token.INITIAL_SUPPLY() - 1 ether, "supply");
    }

    function test_permit_allows() public {
        uint256 key = 0xa11ce;
        address owner = VM.addr(key);
        bytes32 structHash =
            keccak256(abi.encode(PERMIT_TYPEHASH, owner, address(this), 5 ether, 0, block.timestamp + 1));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, digest);
        token.permit(owner, address(this), 5 ether, block.timestamp + 1, v, r, s);
        assertEq(token.allowance(owner, address(this)), 5 ether, "allowance");
    }
}
