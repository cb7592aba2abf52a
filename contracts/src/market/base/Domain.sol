// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { MessageHashUtils } from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import { IMarket } from "../interfaces/IMarket.sol";

/// @title The EIP-712 domain with all five fields
/// @dev The salt is what sets two dev chains apart that have the same chain id and the same addresses.
abstract contract Domain is IMarket {
    string private constant NAME = "Sublet";
    string private constant VERSION = "1";
    /// @dev ERC-5267: all five fields are used.
    bytes1 private constant FIELDS = 0x1f;
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)");

    bytes32 private immutable SALT;
    uint256 private immutable CACHED_CHAIN_ID;
    bytes32 private immutable CACHED_SEPARATOR;

    constructor(bytes32 salt) {
        SALT = salt;
        CACHED_CHAIN_ID = block.chainid;
        CACHED_SEPARATOR = _buildSeparator(salt);
    }

    /// @inheritdoc IMarket
    function domainSeparator() external view returns (bytes32) {
        return _separator();
    }

    /// @inheritdoc IMarket
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        return (FIELDS, NAME, VERSION, block.chainid, address(this), SALT, new uint256[](0));
    }

    /// @dev The digest to sign for a struct.
    function _digest(bytes32 hashStruct) internal view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(_separator(), hashStruct);
    }

    function _separator() private view returns (bytes32) {
        // After a fork with a new chain id, signatures must not count on both sides.
        return block.chainid == CACHED_CHAIN_ID ? CACHED_SEPARATOR : _buildSeparator(SALT);
    }

    function _buildSeparator(bytes32 salt) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256(bytes(NAME)), keccak256(bytes(VERSION)), block.chainid, address(this), salt
            )
        );
    }
}
