// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import { Accounts } from "./base/Accounts.sol";
import { Domain } from "./base/Domain.sol";
import { Leases } from "./base/Leases.sol";
import { Orders } from "./base/Orders.sol";
import { Parameters } from "./base/Parameters.sol";
import { IMarket } from "./interfaces/IMarket.sol";
import { OrderHash } from "./libraries/OrderHash.sol";
import { Account } from "./types/Account.sol";
import { LeaseRun, LeaseRunLibrary } from "./types/LeaseRun.sol";
import { LeaseTermsLibrary } from "./types/LeaseTerms.sol";

/// @title The Sublet market
/// @notice Immutable: no owner, no proxy, no pause. See IMarket for the calls.
contract Market is Orders, Leases {
    using OrderHash for Bid;
    using SafeCast for uint256;

    /// @param token_ the token to trade in; its `burn(uint256)` takes the fees
    /// @param params_ the constants of this deployment
    /// @param salt a random number that sets this deployment's signatures apart
    constructor(IERC20 token_, Params memory params_, bytes32 salt) Parameters(token_, params_) Domain(salt) { }

    /// @inheritdoc IMarket
    function settle(
        Bid calldata bid,
        bytes calldata bidSignature,
        Accept calldata accept,
        bytes calldata acceptSignature
    ) external returns (bytes32 id) {
        if (!_speaksFor(msg.sender, bid.settler)) revert NotSettler(msg.sender, bid.settler);
        Maker storage buyerSlot = _makers[bid.buyer];
        Maker storage providerSlot = _makers[accept.provider];
        Account buyer = buyerSlot.account;
        Account provider = providerSlot.account;
        id = _check(bid, accept, buyer, provider);
        _checkSignatures(id, bid, bidSignature, accept, acceptSignature);
        (uint256 escrow, uint256 bond) = _amounts(bid, accept);
        // The rules have made sure that both are covered.
        buyerSlot.account = buyer.withFree((buyer.free() - escrow).toUint96());
        providerSlot.account = provider.withFree((provider.free() - bond).toUint96());
        _open(id, bid, accept);
    }

    /// @inheritdoc IMarket
    function cancel(Bid calldata bid) external {
        if (!_speaksFor(msg.sender, bid.buyer)) revert NotBuyer(msg.sender, bid.buyer);
        bytes32 id = _digest(bid.hash());
        LeaseState state = _state(id);
        if (state != LeaseState.None) revert LeaseExists(id, state);
        _leases[id].run = LeaseRun.wrap(0).ended(_now(), EndReason.Cancelled);
        emit BidCancelled(id, bid.buyer);
    }

    /// @inheritdoc IMarket
    function quote(Bid calldata bid, Accept calldata accept)
        external
        view
        returns (bytes32 id, uint256 escrow, uint256 bond)
    {
        id = _check(bid, accept, _makers[bid.buyer].account, _makers[accept.provider].account);
        (escrow, bond) = _amounts(bid, accept);
    }

    /// @dev All that can be checked without caller and signatures.
    function _check(Bid calldata bid, Accept calldata accept, Account buyer, Account provider)
        private
        view
        returns (bytes32 id)
    {
        id = _digest(bid.hash());
        if (accept.bid != id) revert WrongBid(accept.bid, id);
        LeaseState state = _state(id);
        if (state != LeaseState.None) revert LeaseExists(id, state);
        _checkRules(bid, accept, buyer, provider);
    }

    function _open(bytes32 id, Bid calldata bid, Accept calldata accept) private {
        uint32 activateBy = _now() + accept.activateWithin;
        _leases[id].terms = LeaseTermsLibrary.opened(bid.buyer, accept.rate, accept.maxDuration);
        _leases[id].run = LeaseRunLibrary.opened(
            accept.provider, activateBy, bid.duration, uint256(accept.bondSeconds).toUint24(), accept.burn
        );
        emit LeaseOpened(
            id,
            bid.buyer,
            accept.provider,
            accept.offer,
            bid.node,
            accept.node,
            accept.rate,
            bid.duration,
            accept.maxDuration,
            accept.bondSeconds,
            activateBy,
            accept.burn
        );
    }
}
