# A Sublet node: the binary, QEMU to sell machines with, an ssh client to log in to them, and the guest image.
#
#   docker build -t sublet .                                    compiles the binary (--build-arg PROFILE=dev: sooner done, slower)
#   docker build -t sublet --target prebuilt .                  takes build/prebuilt/sublet, made on Debian 12 or for its libraries
#   docker run --rm sublet --version                            arguments are those of `sublet`
#
# Its home is in /var/lib/sublet, which wants a volume; docker-compose.yml shows how.

FROM rust:1-slim-bookworm AS builder
ARG PROFILE=release
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    cargo build --locked --package sublet --profile "$PROFILE" --target-dir /target \
    && install -D "/target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")/sublet" /out/sublet \
    && strip --strip-debug /out/sublet

FROM debian:bookworm-slim AS guest
COPY guest /guest
RUN apt-get update -qq && /guest/build.sh --install /images/debian-guest

FROM debian:bookworm-slim AS base
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        ca-certificates curl openssh-client qemu-system-x86 qemu-utils tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /var/lib/sublet sublet \
    && install -d -o sublet -g sublet /var/lib/sublet /deployment
COPY --from=guest /images /usr/share/sublet/images
COPY --chmod=755 configs/compose/sublet-node /usr/local/bin/
ENV SUBLET_HOME=/var/lib/sublet/home
WORKDIR /var/lib/sublet
USER sublet
# Peers, by TCP and QUIC.
EXPOSE 4001/tcp 4001/udp
# The machines are processes beside the node: what is left of them when the node is gone needs somebody to wait for it.
ENTRYPOINT ["tini", "--", "sublet"]
CMD ["node", "run"]

FROM base AS prebuilt
COPY --chmod=755 build/prebuilt/sublet /usr/local/bin/
RUN sublet --version

FROM base AS runtime
COPY --from=builder --chmod=755 /out/sublet /usr/local/bin/
RUN sublet --version
