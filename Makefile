# The commands of every day. `make` alone lists them.
#
# Everything is built with one optimised profile into one folder outside the source
# tree, so a second clone, the tests, the demo and the binary share their dependencies.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/impactiq-target
export CARGO_INCREMENTAL = 0
# Property tests draw from a fixed seed: a red gate is then the fault of the change.
export PROPTEST_RNG_SEED ?= 20261124

CARGO ?= cargo
PREFIX ?= $(HOME)/.local
IMPACTIQ = $(CARGO_TARGET_DIR)/release/impactiq

.DEFAULT_GOAL := help
# What the dashboard is built from; with none of it newer than the build, nothing is done.
DASHBOARD_SOURCES = $(shell find dashboard/src dashboard/public -type f 2>/dev/null) \
  $(addprefix dashboard/,index.html package.json package-lock.json svelte.config.js tsconfig.json vite.config.ts)

.PHONY: help need-cargo need-node dashboard dashboard-if-node build demo test test-backends lint tidy docs bench mutate ci install clean-demo

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

need-cargo:
	@command -v $(CARGO) >/dev/null 2>&1 || { \
	  echo "make: cargo, the build tool of Rust, is not on this machine." >&2; \
	  echo "hint: install it with  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2; \
	  echo "      open a new terminal, and run make again" >&2; \
	  exit 2; }
	@sh .ci/own-crates.sh

need-node:
	@command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || { \
	  echo "make: node and npm, which build the dashboard, are not on this machine." >&2; \
	  echo "hint: install Node.js 20.19 or newer (https://nodejs.org), and run make again;" >&2; \
	  echo "      without it everything but the dashboard's pages works" >&2; \
	  exit 2; }
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' || { \
	  echo "make: the dashboard needs Node.js 20.19 or newer; this is $$(node --version)." >&2; \
	  echo "hint: https://nodejs.org has newer ones" >&2; \
	  exit 2; }

dashboard: dashboard/dist/index.html ## build the dashboard's pages, if anything in them changed

dashboard/node_modules/.package-lock.json: dashboard/package-lock.json | need-node
	cd dashboard && npm ci --no-audit --no-fund
	@touch $@

dashboard/dist/index.html: $(DASHBOARD_SOURCES) dashboard/node_modules/.package-lock.json | need-node
	cd dashboard && npm run --silent build
	@# The build carries new file names; the crate that embeds them must be compiled again.
	@[ ! -f crates/impactiq-serve/src/assets.rs ] || touch crates/impactiq-serve/src/assets.rs

# The server is useful without its pages, so a machine without Node.js still builds it.
dashboard-if-node:
	@if $(MAKE) --silent need-node 2>/dev/null; then \
	  $(MAKE) --silent dashboard || echo "the dashboard could not be built (above): the server is built without its pages"; \
	else echo "no Node.js 20.19 or newer here: the server is built without the dashboard's pages"; fi

build: need-cargo dashboard-if-node ## build the impactiq binary
	$(CARGO) build --release --locked -p impactiq-cli
	@echo "built $(IMPACTIQ)"

demo: need-cargo dashboard-if-node ## the five-minute tour on a real and a generated trial, into demo-output/
	@[ -x "$(IMPACTIQ)" ] || echo "building the binary first: up to 25 minutes on two cores, seconds from then on"
	$(CARGO) build --release --locked -p impactiq-cli
	"$(IMPACTIQ)" demo --output demo-output --overwrite

test: need-cargo ## every test, the doc tests, the house rules and the golden outputs
	$(CARGO) test --release --locked --workspace --no-fail-fast
	$(CARGO) xtask tidy
	$(CARGO) xtask codegen --check
	$(CARGO) xtask golden --check
	@sh .ci/not-run.sh

test-backends: need-cargo ## LightGBM and XGBoost as base learners: build, test, train with them
	.ci/backends

lint: need-cargo ## formatter, clippy without warnings, house rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	$(CARGO) xtask tidy

tidy: need-cargo ## the house rules alone
	$(CARGO) xtask tidy

docs: need-cargo ## rewrite docs/reference from the binary, and the API pages
	$(CARGO) xtask codegen
	$(CARGO) doc --release --locked --workspace --no-deps

bench: need-cargo ## measure against the peers (downloads them from PyPI into the target folder)
	$(CARGO) xtask bench boosting
	$(CARGO) xtask bench metrics

mutate: need-cargo ## plant sign flips; the tests must notice each of them
	$(CARGO) xtask mutate

ci: ## what the gate runs, step by step, with minutes
	.ci/run

install: build ## copy the binary to PREFIX/bin (default ~/.local/bin)
	install -d "$(PREFIX)/bin"
	install -m 755 "$(IMPACTIQ)" "$(PREFIX)/bin/impactiq"
	@echo "installed $(PREFIX)/bin/impactiq"

clean-demo: ## remove demo-output/
	rm -rf demo-output
