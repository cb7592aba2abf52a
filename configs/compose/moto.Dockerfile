# An EC2 to try the aws adapter against: the strict server of the tests, and the aws command line.
FROM debian:bookworm-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        ca-certificates curl python3 python3-venv socat tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /moto moto
WORKDIR /moto
COPY tests/moto/requirements.txt ./
RUN python3 -m venv /moto/env && /moto/env/bin/pip install --quiet --no-cache-dir --no-deps --requirement requirements.txt
COPY tests/moto/strict_ec2.py ./
COPY --chmod=755 configs/compose/moto-serve /usr/local/bin/
ENV PATH=/moto/env/bin:$PATH
USER moto
ENTRYPOINT ["tini", "--", "moto-serve"]
