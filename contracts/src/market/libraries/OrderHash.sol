// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../interfaces/IMarket.sol";

/// @title EIP-712 hashStruct of the two orders that the chain sees
library OrderHash {
    /// @notice typeHash of Bid.
    bytes32 internal constant BID_TYPEHASH = keccak256(
        "Bid(address buyer,address settler,bytes32 spec,bytes32 node,uint64 maxRate,uint32 minBondSeconds,uint64 minPoints,uint32 duration,uint64 validUntil,uint32 epoch,uint64 salt)"
    );

    /// @notice typeHash of Accept.
    bytes32 internal constant ACCEPT_TYPEHASH = keccak256(
        "Accept(bytes32 bid,bytes32 offer,address provider,bytes32 node,uint64 rate,uint32 bondSeconds,uint32 activateWithin,uint32 maxDuration,bool burn,uint64 settleBy)"
    );

    /// @notice hashStruct(bid). All members are static, so the ABI encoding is the EIP-712 encoding.
    function hash(IMarket.Bid calldata bid) internal pure returns (bytes32) {
        return keccak256(abi.encode(BID_TYPEHASH, bid));
    }

    /// @notice hashStruct(accept).
    function hash(IMarket.Accept calldata accept) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACCEPT_TYPEHASH, accept));
    }
}
