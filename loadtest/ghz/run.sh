#!/usr/bin/env bash
# Runs ghz against the gateway, each configuration against a fresh one, and
# checks at a sink that every event that was answered has arrived.
#
#   loadtest/ghz/run.sh                                      # all
#   loadtest/ghz/run.sh loadtest/ghz/configs/2-*.json        # some
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/ghz/bin"
ghz=$(loadtest/ghz/install.sh "$(cd "$target/ghz/bin" && pwd)")
cargo build --release --bin stashgate --example loadtest
exec "$target/release/examples/loadtest" ghz run --ghz "$ghz" \
    --gateway "$target/release/stashgate" --results loadtest/results/ghz "$@"
