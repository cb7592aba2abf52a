// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import { CloudToken } from "../../src/market/CloudToken.sol";
import { Market } from "../../src/market/Market.sol";
import { IMarket } from "../../src/market/interfaces/IMarket.sol";
import { Base } from "./Base.sol";

/// @title The contracts as they are deployed: the committed bytecode, which is what users get
/// @dev With SUBLET_FROM_SOURCE what the test's own build made of the sources (coverage needs that).
abstract contract Released is Base {
    function deployToken() internal returns (CloudToken) {
        if (fromSource()) return new CloudToken();
        return CloudToken(create(released("CloudToken")));
    }

    function deploy(IERC20 token_, IMarket.Params memory params_, bytes32 salt) internal returns (Market) {
        if (fromSource()) return new Market(token_, params_, salt);
        return Market(create(abi.encodePacked(marketCreation(), abi.encode(token_, params_, salt))));
    }

    /// @dev Without the constructor's arguments.
    function marketCreation() internal view returns (bytes memory) {
        return fromSource() ? type(Market).creationCode : released("Market");
    }

    function fromSource() private view returns (bool) {
        return VM.envOr("SUBLET_FROM_SOURCE", false);
    }

    function released(string memory name) private view returns (bytes memory) {
        return VM.parseJsonBytes(VM.readFile(string.concat("abi/", name, ".json")), ".bytecode");
    }

    /// @dev Reverts as the constructor does.
    function create(bytes memory creation) private returns (address created) {
        assembly ("memory-safe") {
            created := create(0, add(creation, 32), mload(creation))
            if iszero(created) {
                returndatacopy(creation, 0, returndatasize())
                revert(creation, returndatasize())
            }
        }
    }
}
