# Everything a newcomer types. Each target works from nothing on a fresh Debian machine with Rust 1.95 or later, as root or with sudo.
# Variables: PROFILE=dev runs and builds unoptimised (target/debug); LISTEN, DEMO_LISTEN, DATA and CONFIG are for `make run`,
# TEST_THREADS for `make test`.

PROFILE ?= release
CONFIG ?= config
DATA ?= data
LISTEN ?=
DEMO_LISTEN ?= 127.0.0.1:9000
export CONFIG DATA LISTEN DEMO_LISTEN

ifeq ($(PROFILE),dev)
TARGET := target/debug
else
TARGET := target/$(PROFILE)
endif

# Tests wait more than they compute: for what times out, is started, killed or comes back.
TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
test seeds: export NEXTEST_TEST_THREADS := $(TEST_THREADS)

# What is promised so large that `make test` does the same with less (docs/endurance.md).
PROMISED := PORTCULLIS_HANDSHAKES=10000 PORTCULLIS_STREAMS=1000 PORTCULLIS_MEBIBYTES=1024 \
	PORTCULLIS_RESTART_REQUESTS=20000 PORTCULLIS_RESTART_SECONDS=20
LARGE := test(=websockets::no_handshake_is_lost_however_fast_the_backend_answers) \
	+ test(=streams::idle_websockets_of_a_revoked_caller_end_in_time_and_others_live_on) \
	+ test(=passing::what_streams_up_and_down_is_kept_nowhere_and_who_sends_waits_for_who_takes) \
	+ test(=restart::ten_restarts_under_load_cost_no_request) \
	+ test(=restart::a_request_that_was_begun_before_a_take_over_is_answered_after_it)

# Where what is no Debian package is put for `make bench`.
PEERS := $(or $(CARGO_TARGET_DIR),target)/bench-peers

.DEFAULT_GOAL := help
.PHONY: help run build test check cluster bench bench-quick bench-streams bench-cluster bench-postgres pgo soak endurance fuzz differential seeds

help: ## what there is to type
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## the gateway before a demo service, on http://127.0.0.1:8080, until Ctrl-C
	@scripts/install-deps run
	@scripts/run $(TARGET)/portcullis

build: ## the one binary, target/release/portcullis
	@scripts/install-deps build
	scripts/build $(PROFILE) --package gateway

test: ## every test, on SQLite and a private Postgres, on memory and a private Redis
	@scripts/install-deps build test
	scripts/with-services cargo nextest run --workspace --locked --no-fail-fast

seeds: ## every call that the five old systems document (docs/seeds.md), at one gateway and at three
	@scripts/install-deps build test
	scripts/with-services cargo nextest run --package gateway --test seeds --locked --no-fail-fast

check: ## format, lints, dependencies, docs, the rules of the house, and instructions of the hot path
	@scripts/install-deps build check instructions
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	scripts/check-supply-chain
	scripts/check-deploy
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	scripts/check-house-test
	scripts/check-house
	scripts/check-instructions

differential: ## the same hostile bytes to nginx, HAProxy and us: what arrived behind each
	@scripts/install-deps build differential
	scripts/build $(PROFILE) --package gateway
	scripts/differential $(TARGET)/portcullis

fuzz: ## every fuzz target for TIME seconds (60), beginning with the committed corpus
	@scripts/install-deps build fuzz
	scripts/fuzz $(TIME)

cluster: build ## three gateways on a private Postgres and Redis, until Ctrl-C
	@scripts/install-deps build test
	@scripts/with-services scripts/cluster $(TARGET)/portcullis

bench: ## what a request costs beside nginx, HAProxy, Envoy and bare Pingora, into bench/RESULTS.md
	@scripts/install-deps build bench
	@bench/peers/install $(PEERS)
	scripts/build release --package gateway --package bench
	scripts/build release --package gateway --features yardstick --example admit
	bench/run --peers $(PEERS)

bench-quick: ## the headline of `make bench`, in under three minutes once all is built, printed only
	@scripts/install-deps build bench
	@bench/peers/install $(PEERS)
	scripts/build release --package gateway --package bench
	bench/run --quick --peers $(PEERS)

bench-streams: ## the long form of the event streams of `make bench`: 10,000 beside a bare proxy, into bench/RESULTS.md
	@scripts/install-deps build bench
	scripts/build release --package gateway --package bench
	bench/streams

bench-cluster: ## calls to Redis, what they add, and how long a revocation takes, into bench/RESULTS.md
	@scripts/install-deps build test bench
	scripts/build release --package gateway --package bench
	scripts/with-services bench/cluster

bench-postgres: build ## look-ups, pages and lists over a million rows of everything, into bench/postgres.json
	@scripts/install-deps test
	scripts/with-services bench/load-postgres $(TARGET)/portcullis --json bench/postgres.json

pgo: ## counts anew what requests go through, into gateway/release.profdata, by which the release is optimised
	@scripts/install-deps build bench
	scripts/build release --package gateway --package bench
	scripts/pgo

endurance: ## five tests as large as what is promised: handshakes, WebSockets, a gibibyte, restarts
	@scripts/install-deps build test
	ulimit -S -n 4096 && $(PROMISED) scripts/with-services \
		cargo nextest run --package gateway --test door --locked --profile endurance -E '$(LARGE)'

soak: ## half an hour of everything at once; fails when memory or descriptors grow after five minutes
	@scripts/install-deps build bench
	scripts/build release --package gateway
	bench/soak
