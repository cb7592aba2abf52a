// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import { IMarket } from "../interfaces/IMarket.sol";
import { OrderHash } from "../libraries/OrderHash.sol";
import { Account } from "../types/Account.sol";
import { Domain } from "./Domain.sol";
import { Points } from "./Points.sol";

/// @title Orders: their digests, their signatures, and the rules by which two of them make a lease
abstract contract Orders is Points, Domain {
    using OrderHash for Bid;
    using OrderHash for Accept;

    /// @dev A held accept blocks the provider's capacity, so it must be short.
    uint256 private constant MAX_SETTLE_WITHIN = 300;
    /// @dev The escrow of a buyer whose provider never comes back is stuck for this long at most.
    uint32 private constant MAX_ACTIVATE_WITHIN = 1800;
    /// @dev Shorter leases would cost more gas than they are worth.
    uint32 private constant MIN_DURATION = 300;
    /// @dev Keeps `rate * seconds` inside uint96 (64 + 25 bits) and times inside uint32.
    uint32 private constant MAX_DURATION = 366 days;
    /// @dev A day of the rate; fits the uint24 of a lease.
    uint32 private constant MAX_BOND_SECONDS = 86_400;

    /// @inheritdoc IMarket
    function bidDigest(Bid calldata bid) external view returns (bytes32) {
        return _digest(bid.hash());
    }

    /// @inheritdoc IMarket
    function acceptDigest(Accept calldata accept) external view returns (bytes32) {
        return _digest(accept.hash());
    }

    /// @dev Every rule but those of the caller, the slot and the signatures. The order is part of the interface:
    /// the Rust side names the same first failure.
    function _checkRules(Bid calldata bid, Accept calldata accept, Account buyer, Account provider) internal view {
        _checkTimes(bid, accept);
        if (bid.buyer == accept.provider) revert SameParty(bid.buyer);
        if (bid.epoch != buyer.epoch()) revert EpochMismatch(bid.epoch, buyer.epoch());
        _checkTerms(bid, accept);
        uint64 points = _decayed(provider);
        if (points < bid.minPoints) revert PointsTooLow(points, bid.minPoints);
        (uint256 escrow, uint256 bond) = _amounts(bid, accept);
        if (buyer.free() < escrow) revert BuyerFunds(bid.buyer, buyer.free(), escrow);
        if (provider.free() < bond) revert ProviderFunds(accept.provider, provider.free(), bond);
    }

    /// @dev Base units that the two sides lock.
    function _amounts(Bid calldata bid, Accept calldata accept) internal pure returns (uint256 escrow, uint256 bond) {
        uint256 rate = accept.rate;
        return (rate * bid.duration, rate * accept.bondSeconds);
    }

    /// @dev Both signatures, by the makers or their operators.
    function _checkSignatures(
        bytes32 id,
        Bid calldata bid,
        bytes calldata bidSignature,
        Accept calldata accept,
        bytes calldata acceptSignature
    ) internal view {
        address signer = _recover(id, bidSignature);
        if (!_signsFor(signer, bid.buyer)) revert BidSignatureInvalid(signer, bid.buyer);
        signer = _recover(_digest(accept.hash()), acceptSignature);
        if (!_signsFor(signer, accept.provider)) revert AcceptSignatureInvalid(signer, accept.provider);
    }

    function _checkTimes(Bid calldata bid, Accept calldata accept) private view {
        if (block.timestamp > bid.validUntil) revert BidExpired(bid.validUntil, block.timestamp);
        if (block.timestamp > accept.settleBy) revert AcceptExpired(accept.settleBy, block.timestamp);
        uint256 latest = block.timestamp + MAX_SETTLE_WITHIN;
        if (accept.settleBy > latest) revert AcceptTooLong(accept.settleBy, latest);
    }

    function _checkTerms(Bid calldata bid, Accept calldata accept) private pure {
        if (accept.rate == 0) revert RateZero();
        if (accept.rate > bid.maxRate) revert RateTooHigh(accept.rate, bid.maxRate);
        if (accept.bondSeconds < bid.minBondSeconds) revert BondTooShort(accept.bondSeconds, bid.minBondSeconds);
        if (accept.bondSeconds > MAX_BOND_SECONDS) revert BondTooLong(accept.bondSeconds, MAX_BOND_SECONDS);
        if (bid.duration < MIN_DURATION) revert DurationTooShort(bid.duration, MIN_DURATION);
        if (bid.duration > accept.maxDuration) revert DurationTooLong(bid.duration, accept.maxDuration);
        if (accept.maxDuration > MAX_DURATION) revert MaxDurationTooLong(accept.maxDuration, MAX_DURATION);
        if (accept.activateWithin > MAX_ACTIVATE_WITHIN) {
            revert ActivateWithinTooLong(accept.activateWithin, MAX_ACTIVATE_WITHIN);
        }
    }

    function _signsFor(address signer, address maker) private view returns (bool) {
        return signer != address(0) && _speaksFor(signer, maker);
    }

    /// @dev Zero for anything but 65 bytes r, s, v with v 27 or 28, or 64 bytes r, vs (ERC-2098), with s in the lower
    /// half (EIP-2). No call to the maker (ERC-1271): contract wallets approve an operator, and an account with
    /// delegated code (EIP-7702) signs as before.
    function _recover(bytes32 digest, bytes calldata signature) private pure returns (address signer) {
        // What else the library says is why the signer is zero, which is all that counts here.
        if (signature.length == 64) {
            // slither-disable-next-line unused-return
            (signer,,) = ECDSA.tryRecover(digest, bytes32(signature[:32]), bytes32(signature[32:]));
        } else {
            // slither-disable-next-line unused-return
            (signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        }
    }
}
