// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import { IMarket } from "../interfaces/IMarket.sol";
import { Account } from "../types/Account.sol";
import { LeaseRun } from "../types/LeaseRun.sol";
import { LeaseTerms } from "../types/LeaseTerms.sol";
import { Burn } from "./Burn.sol";
import { Points } from "./Points.sol";

/// @title Leases: how money moves from the escrow, second by second, until each lease has ended
/// @dev An active lease holds exactly `rate * (fundedUntil - paidUntil)` and its bond. Every end splits those seconds
/// in three: paid, then burned, then refunded.
abstract contract Leases is Points, Burn {
    using SafeCast for uint256;

    /// @dev Two slots.
    struct Lease {
        LeaseTerms terms;
        LeaseRun run;
    }

    /// @dev Base units of one payment or end; see LeaseEnded.
    struct Flows {
        uint256 net;
        uint256 fee;
        uint256 burned;
        uint256 refunded;
        uint256 bondToProvider;
        uint256 bondToBuyer;
    }

    mapping(bytes32 id => Lease) internal _leases;

    /// @inheritdoc IMarket
    function activate(bytes32 id) external {
        (Lease storage stored, LeaseTerms terms, LeaseRun run) = _load(id, LeaseState.Opened);
        _onlyProvider(run);
        uint32 start = _now();
        if (start > run.paidUntil()) revert ActivationLate(run.paidUntil(), start);
        (terms, run) = (terms.activated(start), run.activated(start));
        stored.terms = terms;
        stored.run = run;
        emit LeaseActivated(id, start, run.fundedUntil(), terms.maxEnd());
    }

    /// @inheritdoc IMarket
    function abort(bytes32 id) external {
        (Lease storage stored, LeaseTerms terms, LeaseRun run) = _load(id, LeaseState.Opened);
        uint32 moment = _now();
        if (moment <= run.paidUntil() && !_speaksFor(msg.sender, run.provider())) {
            revert AbortEarly(run.paidUntil(), moment);
        }
        // As if it had started now: all of its seconds are refunded.
        run = run.activated(moment);
        _end(stored, id, terms, run, EndReason.Aborted, moment, moment);
    }

    /// @inheritdoc IMarket
    function topUp(bytes32 id, uint32 secs) external {
        (Lease storage stored, LeaseTerms terms, LeaseRun run) = _load(id, LeaseState.Active);
        _onlyBuyer(terms);
        if (block.timestamp >= run.fundedUntil()) revert LeaseOver(run.fundedUntil(), block.timestamp);
        if (secs == 0) revert ZeroSeconds();
        uint256 end = uint256(run.fundedUntil()) + secs;
        if (end > terms.maxEnd()) revert TopUpTooLong(end, terms.maxEnd());
        uint32 until = end.toUint32();
        uint256 amount = _times(terms.rate(), secs);
        _debit(terms.buyer(), amount);
        stored.run = run.funded(until);
        emit LeaseToppedUp(id, until, amount);
    }

    /// @inheritdoc IMarket
    function claim(bytes32[] calldata ids) external {
        bool paid = false;
        for (uint256 i = 0; i < ids.length; i++) {
            if (_claim(ids[i])) paid = true;
        }
        if (!paid) revert NothingToClaim();
    }

    /// @inheritdoc IMarket
    function close(bytes32 id) external {
        (Lease storage stored, LeaseTerms terms, LeaseRun run) = _load(id, LeaseState.Active);
        _onlyBuyer(terms);
        uint32 end = _noticedEnd(run);
        _end(stored, id, terms, run, EndReason.Closed, end, end);
    }

    /// @inheritdoc IMarket
    function reject(bytes32 id) external {
        (Lease storage stored, LeaseTerms terms, LeaseRun run) = _load(id, LeaseState.Active);
        _onlyBuyer(terms);
        uint256 deadline = uint256(run.fundedUntil()) + HOLD;
        if (block.timestamp >= deadline) revert RejectLate(deadline, block.timestamp);
        _end(stored, id, terms, run, EndReason.Rejected, _settledUntil(run), _noticedEnd(run));
    }

    /// @inheritdoc IMarket
    function providerClose(bytes32 id) external {
        (Lease storage stored, LeaseTerms terms, LeaseRun run) = _load(id, LeaseState.Active);
        _onlyProvider(run);
        if (block.timestamp >= run.fundedUntil()) revert LeaseOver(run.fundedUntil(), block.timestamp);
        uint32 end = _settledUntil(run);
        _end(stored, id, terms, run, EndReason.ProviderClosed, end, end);
    }

    /// @inheritdoc IMarket
    function finish(bytes32 id) external {
        (Lease storage stored, LeaseTerms terms, LeaseRun run) = _load(id, LeaseState.Active);
        uint256 earliest = uint256(run.fundedUntil()) + HOLD;
        if (block.timestamp < earliest) revert FinishEarly(earliest, block.timestamp);
        _end(stored, id, terms, run, EndReason.Finished, run.fundedUntil(), run.fundedUntil());
    }

    /// @inheritdoc IMarket
    function lease(bytes32 id) external view returns (LeaseView memory) {
        return _view(_leases[id]);
    }

    /// @inheritdoc IMarket
    function leases(bytes32[] calldata ids) external view returns (LeaseView[] memory views) {
        views = new LeaseView[](ids.length);
        for (uint256 i = 0; i < ids.length; i++) {
            views[i] = _view(_leases[ids[i]]);
        }
    }

    function _view(Lease storage stored) private view returns (LeaseView memory v) {
        LeaseTerms terms = stored.terms;
        LeaseRun run = stored.run;
        v.state = run.state();
        v.reason = run.reason();
        v.buyer = terms.buyer();
        v.provider = run.provider();
        v.rate = terms.rate();
        v.bondSeconds = run.bondSeconds();
        v.burn = run.burn();
        if (v.state == LeaseState.Opened) {
            (v.activateBy, v.duration, v.maxDuration) = (run.paidUntil(), run.fundedUntil(), terms.maxEnd());
        } else {
            (v.paidUntil, v.fundedUntil) = (run.paidUntil(), run.fundedUntil());
            if (v.reason == EndReason.Aborted) v.maxDuration = terms.maxEnd();
            else v.maxEnd = terms.maxEnd();
        }
    }

    /// @dev The state of an id.
    function _state(bytes32 id) internal view returns (LeaseState) {
        return _leases[id].run.state();
    }

    /// @dev Pays what is due; false if nothing is.
    function _claim(bytes32 id) private returns (bool) {
        Lease storage stored = _leases[id];
        LeaseRun run = stored.run;
        if (run.state() != LeaseState.Active) return false;
        uint32 until = _settledUntil(run);
        if (until == run.paidUntil()) return false;
        (uint256 net, uint256 fee) = _pay(stored.terms.rate(), until - run.paidUntil());
        stored.run = run.paid(until);
        _creditProvider(run, net, fee, 0, 0);
        _collect(run.burn() ? net : 0, fee);
        emit LeaseClaimed(id, run.provider(), until, net, fee);
        return true;
    }

    /// @dev Ends a lease: pays paidUntil..payUntil, burns payUntil..endedAt and as much of the bond, refunds
    /// endedAt..fundedUntil. The bond's rest is the buyer's if the provider broke its word, else the provider's.
    function _end(
        Lease storage stored,
        bytes32 id,
        LeaseTerms terms,
        LeaseRun run,
        EndReason reason,
        uint32 payUntil,
        uint32 endedAt
    ) private {
        uint256 rate = terms.rate();
        uint256 bond = _times(rate, run.bondSeconds());
        // All zero until the branches below say otherwise.
        // slither-disable-next-line uninitialized-local
        Flows memory flows;
        (flows.net, flows.fee) = _pay(rate, payUntil - run.paidUntil());
        flows.refunded = _times(rate, run.fundedUntil() - endedAt);
        uint256 burnedEscrow = _times(rate, endedAt - payUntil);
        if (reason == EndReason.Aborted || reason == EndReason.ProviderClosed) {
            flows.bondToBuyer = bond;
        } else {
            uint256 burnedBond = bond < burnedEscrow ? bond : burnedEscrow;
            flows.burned = burnedEscrow + burnedBond;
            flows.bondToProvider = bond - burnedBond;
        }

        stored.run = run.ended(endedAt, reason);
        uint256 toBuyer = flows.refunded + flows.bondToBuyer;
        if (toBuyer != 0) _credit(terms.buyer(), toBuyer);
        _creditProvider(run, flows.net, flows.fee, flows.bondToProvider, bond - flows.bondToProvider);
        _collect(run.burn() ? flows.net : 0, flows.fee + flows.burned);
        emit LeaseEnded(
            id,
            run.provider(),
            reason,
            endedAt,
            flows.net,
            flows.fee,
            flows.burned,
            flows.refunded,
            flows.bondToProvider,
            flows.bondToBuyer
        );
    }

    /// @dev Books what a provider gets from one payment, and its points.
    function _creditProvider(LeaseRun run, uint256 net, uint256 fee, uint256 bondBack, uint256 bondLost) private {
        Maker storage m = _makers[run.provider()];
        Account a = _scored(m.account, fee, bondLost);
        uint256 free = a.free() + (run.burn() ? 0 : net) + bondBack;
        m.account = a.withFree(free.toUint96());
    }

    /// @dev A lease that must be in the state `needed`: where it is stored, and both of its slots.
    function _load(bytes32 id, LeaseState needed)
        private
        view
        returns (Lease storage stored, LeaseTerms terms, LeaseRun run)
    {
        stored = _leases[id];
        run = stored.run;
        LeaseState state = run.state();
        if (state != needed) revert WrongState(id, state, needed);
        terms = stored.terms;
    }

    function _onlyBuyer(LeaseTerms terms) private view {
        if (!_speaksFor(msg.sender, terms.buyer())) revert NotBuyer(msg.sender, terms.buyer());
    }

    function _onlyProvider(LeaseRun run) private view {
        if (!_speaksFor(msg.sender, run.provider())) revert NotProvider(msg.sender, run.provider());
    }

    /// @dev Pay and fee of `secs` seconds.
    function _pay(uint256 rate, uint256 secs) private view returns (uint256 net, uint256 fee) {
        uint256 feePerSecond = _feePerSecond(rate);
        return (_times(rate - feePerSecond, secs), _times(feePerSecond, secs));
    }

    /// @dev Unchecked: a rate has 64 bits, seconds have 32. What is subtracted or added stays checked.
    function _times(uint256 rate, uint256 secs) private pure returns (uint256) {
        unchecked {
            return rate * secs;
        }
    }

    /// @dev The second up to which pay is beyond dispute: `hold` old, within paidUntil..fundedUntil.
    function _settledUntil(LeaseRun run) private view returns (uint32) {
        uint32 moment = _now();
        uint32 old = moment > HOLD ? moment - HOLD : 0;
        if (old > run.fundedUntil()) return run.fundedUntil();
        return old > run.paidUntil() ? old : run.paidUntil();
    }

    /// @dev The second up to which a close bills: `notice` from now, within paidUntil..fundedUntil. (paidUntil is
    /// never after now or fundedUntil.)
    function _noticedEnd(LeaseRun run) private view returns (uint32) {
        uint32 end = _now() + NOTICE;
        return end < run.fundedUntil() ? end : run.fundedUntil();
    }
}
