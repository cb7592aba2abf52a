# A development chain: Foundry's anvil, from npm at the version that contracts/package-lock.json pins.
FROM node:22-slim AS npm
WORKDIR /contracts
COPY contracts/package.json contracts/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund --silent

FROM debian:bookworm-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends curl tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /chain chain && install -d -o chain -g chain /chain
COPY --from=npm /contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil /usr/local/bin/
USER chain
WORKDIR /chain
# A block a second, for everybody in the network. What has happened is written every ten seconds and at the end.
ENTRYPOINT ["tini", "--", "anvil", "--host", "0.0.0.0", "--block-time", "1", "--accounts", "1", "--silent"]
CMD ["--state", "/chain/state.json", "--state-interval", "10"]
