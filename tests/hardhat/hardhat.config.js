// A chain that behaves as a public one does for the nodes: blocks by the clock, any number of transactions in each.
module.exports = {
  solidity: '0.8.37',
  networks: {
    hardhat: {
      chainId: 31337,
      // The lowest level that the contracts' bytecode needs.
      hardfork: 'cancun',
      mining: { auto: false, interval: Number(process.env.BLOCK_MS ?? 1000) },
      accounts: { count: 1 },
    },
  },
};
