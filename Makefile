# Verbs only, and each only calls tools: what is longer than a line is a Rust program.

TARGET := $(or $(CARGO_TARGET_DIR),target)
TEST_SERVERS := $(TARGET)/debug/test-servers
FOREIGN_CLIENTS := $(TARGET)/foreign-clients
TEST_RUNNER := $(if $(shell cargo nextest --version 2>/dev/null),cargo nextest run --workspace,cargo test --workspace --no-fail-fast)

.DEFAULT_GOAL := help
.PHONY: help run up down check test conformance bench fix migrate image foreign-clients

help: # (this list)
	@echo "make VERB, where VERB is:"
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST)

run: ## start everything in one process on embedded storage; nothing to install
	cargo run --bin tripline -- up

up: ## start RabbitMQ, PostgreSQL, Redis and the four services with Docker Compose
	docker compose up --build --detach --wait

down: ## stop what `make up` started; the data stays
	docker compose down

check: ## formatting, lints, documentation, licences and the rules of the repository
	cargo fmt --all --check
	cargo deny --version 2>/dev/null || cargo install --locked --debug cargo-deny@0.20.2
	cargo deny check bans licenses sources
	cargo clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps
	cargo test --test layers --test tidy
	cargo test --workspace --doc

test: ## install the test servers where missing, start private ones, run every test, stop them
	cargo build --workspace --bins --tests
	$(TEST_SERVERS) install
	@$(MAKE) --no-print-directory foreign-clients
	@$(TEST_SERVERS) run -- $(TEST_RUNNER)

conformance: test ## run every test and write docs/conformance.md from what they say (needs cargo-nextest)
	cargo run --bin conformance-page -- $(TARGET)/nextest/default/junit.xml

foreign-clients: $(FOREIGN_CLIENTS)/installed

# Clients that nobody here wrote, from PyPI and npm: the tests speak to tripline with them.
$(FOREIGN_CLIENTS)/installed: tests/foreign/requirements.txt tests/foreign/package.json
	python3 -m venv --clear $(FOREIGN_CLIENTS)
	$(FOREIGN_CLIENTS)/bin/pip install --quiet --requirement tests/foreign/requirements.txt
	cp tests/foreign/package.json $(FOREIGN_CLIENTS)/
	PATH="$(abspath $(FOREIGN_CLIENTS))/bin:$$PATH" npm install --prefix $(FOREIGN_CLIENTS) --no-audit --no-fund --loglevel error
	touch $@

bench: ## measure speed and cost, embedded and on RabbitMQ, PostgreSQL and Redis
	cargo build --bin test-servers
	cargo build --release --bin tripline
	$(TEST_SERVERS) install
	@$(TEST_SERVERS) run --durable -- $(TARGET)/release/tripline bench --suite

fix: ## format, and mend what the lints can mend by themselves
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

migrate: ## bring the database of the settings in force up to date, and print a first key
	cargo run --bin tripline -- migrate

image: ## build the container image, one for every role
	docker build --file deploy/docker/Dockerfile --tag tripline:latest .
