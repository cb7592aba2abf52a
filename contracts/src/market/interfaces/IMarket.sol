// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title The Sublet market: escrow, leases and reputation
/// @notice Two signatures (a buyer's Bid, a provider's Accept) become a lease that is paid by the second.
/// @dev Amounts are base units of the token (10^-18 CTK); a rate is base units per second; times are Unix seconds of
/// chain time; points are 10^9 base units of burned fee. "Operators" of a maker may do what the maker may, except
/// withdraw, name operators, or bump the epoch. Deadlines called until/by include their last second.
interface IMarket {
    // ------------------------------------------------------------------------------------------------- types

    /// @notice Where a lease is in its life.
    enum LeaseState {
        None,
        Opened,
        Active,
        Ended
    }

    /// @notice How a lease, or a bid that never became one, ended.
    enum EndReason {
        None,
        Cancelled,
        Aborted,
        Closed,
        Rejected,
        ProviderClosed,
        Finished
    }

    /// @notice The constants of one deployment.
    struct Params {
        /// Part of each payment that is burned, in 1/10,000: 10 to 500.
        uint16 feeBps;
        /// Seconds that accrued pay waits before it can be claimed: 60 to 3600.
        uint32 hold;
        /// Seconds that a buyer's close bills beyond now: 0 to 600, at most hold.
        uint32 notice;
        /// Days in which points halve: 7 to 365.
        uint16 halfLifeDays;
    }

    /// @notice A buyer's signed request. Its EIP-712 digest is the lease's id.
    struct Bid {
        /// Who pays; the signer, or the signer's maker if an operator signed.
        address buyer;
        /// Who may call settle.
        address settler;
        /// hashStruct of the Spec; the chain knows a spec only by this hash.
        bytes32 spec;
        /// ed25519 key of the buyer's node.
        bytes32 node;
        /// Highest rate, in base units per second.
        uint64 maxRate;
        /// Smallest bond, in seconds of the rate.
        uint32 minBondSeconds;
        /// Fewest points that the provider must have.
        uint64 minPoints;
        /// Seconds that are paid for in advance.
        uint32 duration;
        /// Last second in which the bid may be settled.
        uint64 validUntil;
        /// The buyer's epoch; bumping it voids all earlier bids.
        uint32 epoch;
        /// Makes otherwise equal bids different.
        uint64 salt;
    }

    /// @notice A provider's signed, short-lived commitment to one bid at one rate.
    struct Accept {
        /// Digest of the bid.
        bytes32 bid;
        /// Digest of the offer that the accept stands on; zero if none.
        bytes32 offer;
        /// Who is paid; the signer, or the signer's maker if an operator signed.
        address provider;
        /// ed25519 key of the provider's node.
        bytes32 node;
        /// Price, in base units per second.
        uint64 rate;
        /// The bond, in seconds of the rate.
        uint32 bondSeconds;
        /// Seconds from settle in which the provider must activate.
        uint32 activateWithin;
        /// Longest life from activation with all top-ups, in seconds.
        uint32 maxDuration;
        /// Whether the provider's pay is burned instead of paid out.
        bool burn;
        /// Last second in which the accept may be settled.
        uint64 settleBy;
    }

    /// @notice A maker's account as views return it.
    struct AccountView {
        /// Base units that are not locked.
        uint96 free;
        /// The epoch that the maker's bids must carry.
        uint32 epoch;
        /// Reputation, decayed to now.
        uint64 points;
    }

    /// @notice A lease as views return it. Fields that the state does not have are zero.
    struct LeaseView {
        LeaseState state;
        /// Set once the state is Ended.
        EndReason reason;
        address buyer;
        address provider;
        /// Base units per second.
        uint64 rate;
        /// The second beyond which no top-up goes (Active and Ended after activation).
        uint32 maxEnd;
        /// The second up to which the provider was paid (Active, Ended).
        uint32 paidUntil;
        /// The second up to which the escrow pays (Active, Ended).
        uint32 fundedUntil;
        /// The bond, in seconds of the rate.
        uint24 bondSeconds;
        /// Whether the provider's pay is burned.
        bool burn;
        /// Last second for activate (Opened).
        uint32 activateBy;
        /// Seconds that were paid for in advance (Opened).
        uint32 duration;
        /// Longest life from activation, in seconds (Opened, Aborted).
        uint32 maxDuration;
    }

    // ------------------------------------------------------------------------------------------------ events

    /// @notice `amount` base units arrived from `from` for `maker`.
    event Deposited(address indexed maker, address indexed from, uint256 amount);

    /// @notice `maker` took `amount` base units out.
    event Withdrawn(address indexed maker, uint256 amount);

    /// @notice `maker` approved or revoked the operator `key`.
    event OperatorSet(address indexed maker, address indexed key, bool approved);

    /// @notice All bids of `buyer` with a lower epoch than `epoch` are void.
    event EpochBumped(address indexed buyer, uint32 epoch);

    /// @notice The bid with digest `id` can never become a lease.
    event BidCancelled(bytes32 indexed id, address indexed buyer);

    /// @notice A lease was opened: `rate * duration` of the buyer and `rate * bondSeconds` of the provider are locked.
    event LeaseOpened(
        bytes32 indexed id,
        address indexed buyer,
        address indexed provider,
        bytes32 offer,
        bytes32 buyerNode,
        bytes32 providerNode,
        uint64 rate,
        uint32 duration,
        uint32 maxDuration,
        uint32 bondSeconds,
        uint32 activateBy,
        bool burn
    );

    /// @notice Billing started.
    event LeaseActivated(bytes32 indexed id, uint32 startedAt, uint32 fundedUntil, uint32 maxEnd);

    /// @notice The buyer locked another `amount`; the lease is funded until `fundedUntil`.
    event LeaseToppedUp(bytes32 indexed id, uint32 fundedUntil, uint256 amount);

    /// @notice The provider was paid up to `paidUntil`: `net` to it (or to the payouts to burn), `fee` to be burned.
    /// The provider's points have grown by the fee.
    event LeaseClaimed(bytes32 indexed id, address provider, uint32 paidUntil, uint256 net, uint256 fee);

    /// @notice A lease ended. The six amounts add up to all that it held: escrow and bond.
    /// @param endedAt the second up to which the buyer was charged, be it paid or burned; for an abort, the abort's time
    /// @param paidToProvider the last payment without the fee (to the payouts to burn if the lease has the burn flag)
    /// @param fee the last payment's fee, to be burned
    /// @param burned escrow and bond that are burned
    /// @param refunded escrow that went back to the buyer
    /// @param bondToProvider bond that went back to the provider
    /// @param bondToBuyer bond that went to the buyer
    event LeaseEnded(
        bytes32 indexed id,
        address provider,
        EndReason reason,
        uint32 endedAt,
        uint256 paidToProvider,
        uint256 fee,
        uint256 burned,
        uint256 refunded,
        uint256 bondToProvider,
        uint256 bondToBuyer
    );

    /// @notice `payouts` went to 0x…dEaD and `fees` were burned through the token.
    event BurnFlushed(uint256 payouts, uint256 fees);

    // ------------------------------------------------------------------------------------- errors: deployment

    /// @notice feeBps is outside its bounds.
    error FeeOutOfRange(uint16 feeBps, uint16 min, uint16 max);

    /// @notice hold (seconds) is outside its bounds.
    error HoldOutOfRange(uint32 hold, uint32 min, uint32 max);

    /// @notice notice (seconds) is above its bound: the smaller of 600 and hold.
    error NoticeOutOfRange(uint32 notice, uint32 max);

    /// @notice halfLifeDays is outside its bounds.
    error HalfLifeOutOfRange(uint16 halfLifeDays, uint16 min, uint16 max);

    /// @notice No contract lives at the token's address.
    error TokenWithoutCode(address token);

    // --------------------------------------------------------------------------------------- errors: accounts

    /// @notice The amount is zero, or nothing arrived.
    error ZeroAmount();

    /// @notice A maker or an operator cannot be the zero address.
    error ZeroAddress();

    /// @notice `maker` has `free` base units in the Market and would need `needed`.
    error InsufficientFree(address maker, uint256 free, uint256 needed);

    /// @notice There is nothing to burn.
    error NothingToFlush();

    // ----------------------------------------------------------------------------------------- errors: orders

    /// @notice Only the bid's settler (or its operator) may settle.
    error NotSettler(address caller, address settler);

    /// @notice The accept names another bid.
    error WrongBid(bytes32 accepted, bytes32 bid);

    /// @notice The bid was settled or cancelled before.
    error LeaseExists(bytes32 id, LeaseState state);

    /// @notice The bid's last second has passed.
    error BidExpired(uint64 validUntil, uint256 nowSeconds);

    /// @notice The accept's last second has passed.
    error AcceptExpired(uint64 settleBy, uint256 nowSeconds);

    /// @notice The accept holds capacity for longer than an accept may.
    error AcceptTooLong(uint64 settleBy, uint256 latest);

    /// @notice Buyer and provider are the same.
    error SameParty(address maker);

    /// @notice The bid was signed for another epoch.
    error EpochMismatch(uint32 bidEpoch, uint32 accountEpoch);

    /// @notice The rate is zero.
    error RateZero();

    /// @notice The rate is above the bid's limit (base units per second).
    error RateTooHigh(uint64 rate, uint64 maxRate);

    /// @notice The bond is smaller than the bid wants (seconds of the rate).
    error BondTooShort(uint32 bondSeconds, uint32 minBondSeconds);

    /// @notice The bond is larger than a bond may be (seconds of the rate).
    error BondTooLong(uint32 bondSeconds, uint32 max);

    /// @notice The bid's duration is below the Market's minimum (seconds).
    error DurationTooShort(uint32 duration, uint32 min);

    /// @notice The bid's duration is above the accept's maxDuration (seconds).
    error DurationTooLong(uint32 duration, uint32 maxDuration);

    /// @notice The accept's maxDuration is above the Market's maximum (seconds).
    error MaxDurationTooLong(uint32 maxDuration, uint32 max);

    /// @notice The accept's activateWithin is above the Market's maximum (seconds).
    error ActivateWithinTooLong(uint32 activateWithin, uint32 max);

    /// @notice The provider has fewer points than the bid wants.
    error PointsTooLow(uint64 points, uint64 minPoints);

    /// @notice The buyer's free balance does not cover the escrow (base units).
    error BuyerFunds(address buyer, uint256 free, uint256 needed);

    /// @notice The provider's free balance does not cover the bond (base units).
    error ProviderFunds(address provider, uint256 free, uint256 needed);

    /// @notice The bid's signature is of `signer` (zero if malformed: length, v or high s), who cannot sign for `buyer`.
    error BidSignatureInvalid(address signer, address buyer);

    /// @notice As BidSignatureInvalid, for the accept and its provider.
    error AcceptSignatureInvalid(address signer, address provider);

    // ----------------------------------------------------------------------------------------- errors: leases

    /// @notice The lease is not in the state that the call needs.
    error WrongState(bytes32 id, LeaseState state, LeaseState needed);

    /// @notice The caller is neither the buyer nor its operator.
    error NotBuyer(address caller, address buyer);

    /// @notice The caller is neither the provider nor its operator.
    error NotProvider(address caller, address provider);

    /// @notice The last second for activate has passed.
    error ActivationLate(uint32 activateBy, uint256 nowSeconds);

    /// @notice Only the provider may abort before activateBy has passed.
    error AbortEarly(uint32 activateBy, uint256 nowSeconds);

    /// @notice The lease's funds have ended.
    error LeaseOver(uint32 fundedUntil, uint256 nowSeconds);

    /// @notice A top-up of zero seconds.
    error ZeroSeconds();

    /// @notice The top-up would go beyond maxEnd.
    error TopUpTooLong(uint256 fundedUntil, uint32 maxEnd);

    /// @notice The last second for reject has passed: it must come before `deadline`.
    error RejectLate(uint256 deadline, uint256 nowSeconds);

    /// @notice The lease can be finished from `earliest` on.
    error FinishEarly(uint256 earliest, uint256 nowSeconds);

    /// @notice Not one of the leases has a second to pay.
    error NothingToClaim();

    // --------------------------------------------------------------------------------------- calls: accounts

    /// @notice Moves `amount` base units of the caller into the Market; what arrives is credited.
    function deposit(uint256 amount) external;

    /// @notice As deposit, but credits `maker`.
    function depositFor(address maker, uint256 amount) external;

    /// @notice As deposit, with an ERC-2612 permit instead of an earlier approval.
    /// @dev A permit that fails is ignored if the allowance suffices: someone may have sent it before.
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Pays out `amount` base units of the caller's free balance. Never for operators.
    function withdraw(uint256 amount) external;

    /// @notice Approves or revokes `key` as the caller's operator.
    function setOperator(address key, bool approved) external;

    /// @notice Voids all bids that the caller has signed so far.
    function bumpEpoch() external;

    /// @notice Burns what has been collected: payouts with the burn flag to 0x…dEaD, fees through the token's burn.
    function flushBurn() external;

    // ----------------------------------------------------------------------------------------- calls: leases

    /// @notice Opens a lease from a bid and an accept. Caller: the bid's settler or its operator.
    /// @param bidSignature of the buyer or its operator over the bid's digest: 65 bytes r, s, v or 64 bytes r, vs
    /// @param acceptSignature of the provider or its operator over the accept's digest, likewise
    /// @return id the lease's id, which is the bid's digest
    function settle(
        Bid calldata bid,
        bytes calldata bidSignature,
        Accept calldata accept,
        bytes calldata acceptSignature
    ) external returns (bytes32 id);

    /// @notice Makes sure that `bid` never becomes a lease. Caller: buyer.
    function cancel(Bid calldata bid) external;

    /// @notice Starts billing. Caller: provider, while now <= activateBy.
    function activate(bytes32 id) external;

    /// @notice Ends a lease that was not activated; escrow and bond go to the buyer, the bond comes off the points.
    /// Caller: the provider at any time, anyone once activateBy has passed.
    function abort(bytes32 id) external;

    /// @notice Funds `secs` more seconds. Caller: buyer, while now < fundedUntil, up to maxEnd.
    function topUp(bytes32 id, uint32 secs) external;

    /// @notice Pays all seconds that are older than hold. Caller: anyone.
    /// @dev Leases with nothing to pay are skipped; it reverts only if that is all of them.
    function claim(bytes32[] calldata ids) external;

    /// @notice Ends a lease; pays up to now + notice, refunds the rest. Caller: buyer.
    function close(bytes32 id) external;

    /// @notice Ends a lease without a working machine; burns the pay of the last hold (and notice), and as much of the
    /// bond. Caller: buyer, while now < fundedUntil + hold.
    function reject(bytes32 id) external;

    /// @notice Ends a lease early; pays only what is hold old, the rest and the bond go to the buyer.
    /// Caller: provider, while now < fundedUntil.
    function providerClose(bytes32 id) external;

    /// @notice Ends a lease whose funds ended at least hold ago. Caller: anyone.
    function finish(bytes32 id) external;

    // ------------------------------------------------------------------------------------------------- views

    /// @notice What the Market knows of a maker.
    /// @return free base units that are not locked
    /// @return epoch the epoch that its bids must carry
    /// @return points its reputation, decayed to now
    function account(address maker) external view returns (uint96 free, uint32 epoch, uint64 points);

    /// @notice As account, for many makers, in their order.
    function accounts(address[] calldata makers) external view returns (AccountView[] memory);

    /// @notice One lease; state None if there is none.
    function lease(bytes32 id) external view returns (LeaseView memory);

    /// @notice As lease, for many ids, in their order.
    function leases(bytes32[] calldata ids) external view returns (LeaseView[] memory);

    /// @notice Whether `key` is an operator of `maker`.
    function isOperator(address maker, address key) external view returns (bool);

    /// @notice What settle would do, for any caller and without signatures; reverts with the first failing rule.
    /// @return id the lease's id
    /// @return escrow base units that the buyer would lock
    /// @return bond base units that the provider would lock
    function quote(Bid calldata bid, Accept calldata accept)
        external
        view
        returns (bytes32 id, uint256 escrow, uint256 bond);

    /// @notice The EIP-712 digest that a buyer signs; also the lease's id.
    function bidDigest(Bid calldata bid) external view returns (bytes32);

    /// @notice The EIP-712 digest that a provider signs.
    function acceptDigest(Accept calldata accept) external view returns (bytes32);

    /// @notice The EIP-712 domain separator, with the deployment's salt.
    function domainSeparator() external view returns (bytes32);

    /// @notice The EIP-712 domain by ERC-5267.
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
        );

    /// @notice The constants of this deployment.
    function params() external view returns (Params memory);

    /// @notice The token that the Market trades in.
    function token() external view returns (IERC20);

    /// @notice What waits for flushBurn, in base units.
    /// @return payouts pay of leases with the burn flag
    /// @return fees fees and burned escrow and bonds
    function burnBucket() external view returns (uint128 payouts, uint128 fees);
}
