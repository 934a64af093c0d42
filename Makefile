# Every target is one or two plain commands. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test lint bench soak tools fetch

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: ## build, start both services on SQLite, walk the tour, stay up
	@echo "Building Countersign. The first build compiles some 300 crates and takes a few minutes; later ones take seconds."
	cargo run --locked -- dev --tour

test: tools fetch ## every test, on SQLite and on PostgreSQL
	cargo test --locked --workspace --all-targets
	cargo test --locked --workspace --doc

lint: fetch ## rustfmt, clippy, rustdoc and the source test; warnings are errors
	cargo fmt --all -- --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	cargo test --locked --test flows tidy::

bench: ## the benchmark tables: rows against floors of the same run, token issue beside floods (four minutes after a release build)
	cargo build --locked --release -p countersign -p bench
	target/release/bench

KILLS ?= 200
DATABASE ?= sqlite
soak: tools ## KILLS=200 kills under load on DATABASE=sqlite (or postgres), audited; prints what was seen (some 20 minutes)
	cargo build --locked --release --bin countersign
	COUNTERSIGN_BINARY=$(CURDIR)/target/release/countersign COUNTERSIGN_SOAK_KILLS=$(KILLS) \
	  cargo test --locked --test flows soak::kills_at_random_moments_under_load_lose_and_double_nothing::on_$(DATABASE) -- --nocapture

tools: ## install what the tests need (PostgreSQL server)
	.ci/tools

fetch: ## download every crate of the lock file, also those of other platforms, which the source test looks at
	cargo fetch --locked
