//! The committed bytecode in an EVM of this process.

use alloy::{
    primitives::{Address, B256, Bytes, Log, TxKind, U256},
    sol_types::{SolCall, SolConstructor, SolEvent},
};
use revm::{
    Context, ExecuteCommitEvm as _, ExecuteEvm as _, MainBuilder as _, MainContext as _,
    context::{BlockEnv, CfgEnv, TxEnv},
    context_interface::result::ExecutionResult,
    database::{CacheDB, EmptyDB},
    handler::{MainnetContext, MainnetEvm},
    primitives::hardfork::SpecId,
};
use sublet_contracts::{CloudToken, Market};
use sublet_market::{Domain, lease::Params};

const CHAIN_ID: u64 = 31_337;
const GAS: u64 = 16_000_000;
pub(crate) const DEPLOYER: Address = Address::repeat_byte(0xd0);

/// What a call came to: output and logs, or the bytes of the revert.
pub(crate) type Outcome = Result<(Bytes, Vec<Log>), Bytes>;

/// A chain with a token and a Market.
pub(crate) struct Chain {
    evm: MainnetEvm<MainnetContext<CacheDB<EmptyDB>>>,
    pub(crate) token: Address,
    pub(crate) market: Address,
    pub(crate) domain: Domain,
    pub(crate) now: u64,
}

impl Chain {
    pub(crate) fn new(params: &Params, now: u64) -> Self {
        let mut cfg = CfgEnv::new_with_spec(SpecId::CANCUN);
        cfg.chain_id = CHAIN_ID;
        cfg.disable_nonce_check = true;
        let evm = Context::mainnet().with_db(CacheDB::<EmptyDB>::default()).with_cfg(cfg).build_mainnet();
        let salt = B256::repeat_byte(7);
        let none = Address::ZERO;
        let domain = Domain { chain_id: CHAIN_ID, market: none, salt };
        let mut chain = Self { evm, token: none, market: none, domain, now };
        chain.set_time(now);
        chain.token = chain.create(CloudToken::BYTECODE.clone());
        let arguments = Market::constructorCall { token_: chain.token, params_: params.into(), salt };
        chain.market = chain.create([Market::BYTECODE.as_ref(), &arguments.abi_encode()].concat().into());
        chain.domain.market = chain.market;
        let approve = CloudToken::approveCall { spender: chain.market, value: U256::MAX };
        chain.send_to(DEPLOYER, chain.token, approve.abi_encode()).expect("an approval");
        chain
    }

    pub(crate) fn set_time(&mut self, now: u64) {
        self.now = now;
        self.evm.set_block(BlockEnv { timestamp: U256::from(now), ..BlockEnv::default() });
    }

    /// Credits a maker from the deployer's supply.
    pub(crate) fn fund(&mut self, maker: Address, amount: u128) {
        let call = Market::depositForCall { maker, amount: U256::from(amount) };
        self.send(DEPLOYER, &call).expect("a deposit");
    }

    /// A transaction to the Market.
    pub(crate) fn send(&mut self, from: Address, call: &impl SolCall) -> Outcome {
        self.send_to(from, self.market, call.abi_encode())
    }

    /// A view of the Market; panics if it reverts.
    pub(crate) fn read<C: SolCall>(&mut self, call: &C) -> C::Return {
        let output = self.look(call).expect("a view");
        C::abi_decode_returns(&output).expect("the ABI's types")
    }

    /// A view of the Market that may revert.
    pub(crate) fn look(&mut self, call: &impl SolCall) -> Result<Bytes, Bytes> {
        let tx = transaction(DEPLOYER, TxKind::Call(self.market), call.abi_encode().into());
        let done = self.evm.transact(tx).expect("a valid transaction");
        outcome(done.result).map(|(output, _)| output)
    }

    fn send_to(&mut self, from: Address, to: Address, data: Vec<u8>) -> Outcome {
        let tx = transaction(from, TxKind::Call(to), data.into());
        outcome(self.evm.transact_commit(tx).expect("a valid transaction"))
    }

    fn create(&mut self, code: Bytes) -> Address {
        let tx = transaction(DEPLOYER, TxKind::Create, code);
        match self.evm.transact_commit(tx).expect("a valid transaction") {
            result @ ExecutionResult::Success { .. } => result.created_address().expect("a contract"),
            other => panic!("the deployment failed: {other:?}"),
        }
    }
}

fn transaction(from: Address, kind: TxKind, data: Bytes) -> TxEnv {
    TxEnv { caller: from, kind, data, gas_limit: GAS, chain_id: Some(CHAIN_ID), ..TxEnv::default() }
}

fn outcome(result: ExecutionResult) -> Outcome {
    match result {
        ExecutionResult::Success { logs, output, .. } => Ok((output.into_data(), logs)),
        ExecutionResult::Revert { output, .. } => Err(output),
        ExecutionResult::Halt { reason, .. } => panic!("the EVM halted: {reason:?}"),
    }
}

/// The one log of this kind.
pub(crate) fn only<E: SolEvent>(logs: &[Log]) -> E {
    let found: Vec<_> = logs.iter().filter_map(|log| E::decode_log(log).ok()).collect();
    assert_eq!(found.len(), 1, "logs of {}", E::SIGNATURE);
    found.into_iter().next().map(|log| log.data).expect("counted")
}
