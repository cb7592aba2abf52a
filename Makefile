# Everything a newcomer and CI need. `make demo` and `make test` install what is missing, and say what and why.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One target directory outside the clone: a fresh clone reuses the compiled dependencies.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sublet
export CARGO_TARGET_DIR ?= $(CACHE)/target
export SUBLET_IMAGES ?= $(CACHE)/images
BIN := $(CARGO_TARGET_DIR)/debug
# Optimised, and without the cloud's SDKs, which have no part in what is measured.
MEASURE_WITH := cargo run --release --locked --package sublet-tests --no-default-features

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

.PHONY: tools
tools: ## Install what is missing: qemu, anvil and the Solidity toolchain, tools for the guest image
	@scripts/install-tools

.PHONY: guest
guest: tools ## Build the guest image from Debian packages
	@guest/build.sh $(SUBLET_IMAGES)/debian-guest

.PHONY: build
build: ## Build the binary and the harness
	cargo build --locked --workspace

# The demo needs neither the cloud's SDKs nor the tests: half the time of the first build. FULL=1: with what `build` has made.
.PHONY: demo-build
demo-build:
	cargo build --locked $(if $(FULL),--workspace,--package sublet --package sublet-tests --no-default-features --bin sublet --bin demo)

.PHONY: demo
demo: tools guest demo-build ## The story of one trade, told while it happens (KEEP=1 leaves the network up)
	@$(BIN)/demo $(if $(KEEP),--keep)

.PHONY: experiments
experiments: tools guest build ## The three reference experiments (ADAPTER=aws: on a strict EC2 server)
	@$(BIN)/experiments --adapter $(or $(ADAPTER),hypervisor)

.PHONY: compose-test
compose-test: build ## Trades between containers: one on QEMU, one on EC2 (installs docker if there is none)
	@scripts/docker-up && $(BIN)/compose_test

.PHONY: chaos
chaos: tools guest build ## Trades under crashes, a failing RPC, reorganisations, faults of the host; a good hour (PART=rpc: one part)
	@$(BIN)/chaos $(if $(FAULT),--part host --fault $(FAULT),$(if $(PART),--part $(PART))) $(if $(ONLY),--only $(ONLY))

.PHONY: bench
bench: ## What the book, the checks of orders and the network cost: reports/bench.json, 15 minutes (QUICK=1: fewer)
	@$(MEASURE_WITH) --bin bench -- $(if $(QUICK),--quick)

.PHONY: scale
scale: ## What one peer needs at 1,000 to 100,000 peers, as docs/scale.md says it (MEASURE=1: measures first, 15 minutes)
	@$(if $(MEASURE),$(MEASURE_WITH) --bin scale -- --measure,cargo run --quiet --locked --package sublet-tests --bin scale)

.PHONY: fuzz
fuzz: ## Strangers' bytes into everything that reads them (TIME=60 s for each; TARGET=a,b: these; KEEP=1: keep finds)
	@cargo run --quiet --locked --package sublet-fuzz --bin campaign -- --time $(or $(TIME),60) \
	  $(if $(TARGET),--target $(TARGET)) $(if $(KEEP),--keep)

.PHONY: fuzz-corpus
fuzz-corpus: ## Make the committed corpora anew, after a change of an envelope
	@cargo run --quiet --locked --package sublet-fuzz --bin corpus

.PHONY: test
test: ## Everything that CI runs
	@scripts/run-all

.PHONY: lint
lint: ## Format, lints, dependency policy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@scripts/check-dependencies

.PHONY: contracts-test
contracts-test: ## Format, build, ABI and tests of the contracts
	@contracts/bin/test

.PHONY: contracts-prove
contracts-prove: tools ## Long fuzzing, proofs, static analysis, coverage of the contracts (half an hour at most)
	@contracts/bin/prove

.PHONY: docs
docs: ## The API documentation of all crates, without warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
