// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IMarket } from "../../../src/market/interfaces/IMarket.sol";
import { Cast } from "./Cast.sol";
import { ReferenceMarket } from "./ReferenceMarket.sol";

/// @title The Market and its reference side by side: each call is made on both, and both must be the same afterwards
abstract contract Twins is Cast {
    error Differ(bytes call, bytes said, bytes modelSaid);

    ReferenceMarket internal model;
    /// @notice How often a call went through, by its selector in IMarket.
    mapping(bytes4 call => uint256) public done;
    /// @notice How often a call was refused, by the error.
    mapping(bytes4 error => uint256) public refused;
    /// @notice How often a lease came to its end, by the reason.
    mapping(IMarket.EndReason reason => uint256) public ended;

    function setUp() public virtual override {
        VM.warp(START);
        assemble();
        token = deployToken();
        market = deploy(token, defaultParams(), SALT);
        model = new ReferenceMarket(defaultParams());
        for (uint256 i = 0; i < ACTORS; i++) {
            token.transfer(actors[i], WALLET);
            VM.prank(actors[i]);
            token.approve(address(market), type(uint256).max);
            both(actors[i], abi.encodeCall(IMarket.deposit, (START_FREE)));
        }
        both(actors[0], abi.encodeCall(IMarket.setOperator, (actors[MAKERS], true)));
        both(actors[1], abi.encodeCall(IMarket.setOperator, (actors[MAKERS], true)));
        both(actors[2], abi.encodeCall(IMarket.setOperator, (actors[MAKERS + 1], true)));
    }

    /// @dev The same call on both, where both know it by the same name.
    function both(address caller, bytes memory call) internal returns (bool) {
        return both(caller, call, call);
    }

    /// @dev `call` on the Market and `twin` on the reference: one verdict, and one reason down to its values.
    function both(address caller, bytes memory call, bytes memory twin) internal returns (bool ok) {
        bytes memory said;
        VM.prank(caller);
        (ok, said) = address(market).call(call);
        VM.prank(caller);
        (bool modelOk, bytes memory modelSaid) = address(model).call(twin);
        if (ok != modelOk) revert Differ(call, said, modelSaid);
        if (ok) {
            done[bytes4(call)]++;
            return true;
        }
        bytes4 reason = bytes4(said);
        // Points may differ by a few, as PointsModel says.
        bool agrees = reason == IMarket.PointsTooLow.selector
            ? bytes4(modelSaid) == reason
            : keccak256(said) == keccak256(modelSaid);
        if (!agrees || said.length < 4) revert Differ(call, said, modelSaid);
        refused[reason]++;
    }

    function bothSettle(address caller, Signed memory s) internal returns (bool ok) {
        Trade memory t = s.trade;
        if (isCloseCall(t.accept.provider, t.bid.minPoints)) return false;
        bytes32 id = market.bidDigest(t.bid);
        ok = both(
            caller,
            abi.encodeCall(IMarket.settle, (t.bid, t.bidSignature, t.accept, t.acceptSignature)),
            abi.encodeCall(ReferenceMarket.settle, (id, t.bid, s.bidSigner, t.accept, s.acceptSigner))
        );
        if (ok) ids.push(id);
        same(id);
    }

    function bothCancel(address caller, IMarket.Bid memory bid) internal {
        bytes32 id = market.bidDigest(bid);
        bool ok = both(caller, abi.encodeCall(IMarket.cancel, (bid)), abi.encodeCall(ReferenceMarket.cancel, (id, bid)));
        if (ok) ended[IMarket.EndReason.Cancelled]++;
        same(id);
    }

    /// @dev One of the calls that end a lease or move it on.
    function bothOn(bytes32 id, address caller, bytes memory call) internal {
        bool ok = both(caller, call);
        if (same(id) == IMarket.LeaseState.Ended && ok) ended[market.lease(id).reason]++;
    }

    /// @dev Whether the contract's points and the model's may fall on different sides of `least`.
    function isCloseCall(address maker, uint256 least) private view returns (bool) {
        (, uint256 low, uint256 high) = model.pointsOfModel(maker);
        least *= 1e18;
        return least != 0 && low <= least && least <= high + 1e18;
    }

    // --------------------------------------------------------------------------------------------------- compare

    /// @dev A lease is the same in both, and holds the same money.
    function same(bytes32 id) internal view returns (IMarket.LeaseState) {
        IMarket.LeaseView memory v = market.lease(id);
        assertEq(keccak256(abi.encode(v)), keccak256(abi.encode(model.lease(id))), "a lease");
        assertEq(lockedBy(id), model.heldBy(id), "what a lease holds");
        return v.state;
    }

    /// @dev All accounts, the bucket and the tokens.
    function sameBooks() internal view {
        IMarket.AccountView[] memory accounts = market.accounts(actors);
        for (uint256 i = 0; i < ACTORS; i++) {
            (uint256 free, uint256 epoch) = model.account(actors[i]);
            assertEq(accounts[i].free, free, "free");
            assertEq(accounts[i].epoch, epoch, "epoch");
            (, uint256 low, uint256 high) = model.pointsOfModel(actors[i]);
            uint256 points = uint256(accounts[i].points) * 1e18;
            assertTrue(low <= points && points <= high, "points are out of their bounds");
        }
        assertEq(payoutsInBucket(), model.payouts(), "payouts");
        assertEq(feesInBucket(), model.fees(), "fees");
    }

    /// @dev All leases, and that the Market has a token for each base unit in the books.
    function sameLeases() internal view {
        uint256 owed = payoutsInBucket() + feesInBucket();
        for (uint256 i = 0; i < ids.length; i++) {
            same(ids[i]);
            owed += model.heldBy(ids[i]);
        }
        for (uint256 i = 0; i < ACTORS; i++) {
            owed += freeOf(actors[i]);
        }
        assertEq(token.balanceOf(address(market)), owed, "tokens");
    }
}
