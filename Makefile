# stashgate. `make` shows what there is.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo run test lint bench doc loadtest ghz

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a million events through a gateway, with Logstash "upgraded" in the middle
	$(CARGO) run --release -- demo

run: ## run the gateway with the defaults (docs/configuration.md)
	$(CARGO) run --release -- run

# The tests need Rust and a C compiler. Those of the examples in Python, Go and
# Node.js, and of ghz, also use pip, npm and go: they install pinned versions
# into target/ when they first run, and are skipped, with a message, where the
# language or the network is missing.
test: ## run all tests
	$(CARGO) test

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
