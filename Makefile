# The targets of the project; `make help` lists them.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help

export CAPN_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cluster-api-provider-nested
export CAPN_VERSION ?= v1.0.0
export CARGO_TARGET_DIR ?= $(CAPN_CACHE)/target
export CAPN_RELEASE_DIR ?= $(CAPN_CACHE)/release

# Sources of a clone that did not build last count as changed: cargo knows them by path within the clone and by time,
# and would take what another clone has built for theirs.
.PHONY: sources
sources:
	@last="$(CARGO_TARGET_DIR)/last-clone"; mkdir -p "$(CARGO_TARGET_DIR)"; [ "$$(cat "$$last" 2>/dev/null)" = "$(CURDIR)" ] || \
	  { find . -name target -prune -o -name '*.rs' -exec touch {} + && echo "$(CURDIR)" > "$$last"; }

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: sources ## Bring up a management cluster, a workload cluster and a VM worker on this machine
	@test/demo/up.sh

.PHONY: demo-down
demo-down: ## Remove the demo and leave the machine as it was
	@test/demo/down.sh

.PHONY: demo-kind
demo-kind: sources ## The same with Docker and kind: upstream images, the real KubeVirt
	@test/demo/kind.sh

.PHONY: build
build: sources ## Build the manager
	cargo build --locked --package capn-controllers --bin manager

.PHONY: docker-build
docker-build: ## Build the manager image with Docker
	@. hack/layout.sh && docker build --tag "$$CAPN_IMAGE:$(CAPN_VERSION)" .

.PHONY: test
test: sources ## Set up and pass every test
	@test/run.sh

.PHONY: test-unit
test-unit: sources ## Pass the unit and golden tests: no root, no cluster
	@test/run.sh unit

.PHONY: test-integration
test-integration: sources ## Pass the tests against etcd and kube-apiserver: no root, no nodes
	@test/run.sh integration

.PHONY: test-e2e
test-e2e: sources ## Pass the end-to-end tests on a lab of their own (root)
	@test/run.sh e2e

.PHONY: lint
lint: sources ## Check format, lints, licenses, the book and that generated files are fresh
	@hack/lint.sh

.PHONY: docs
docs: ## Check the book's links and build it into docs/book
	@hack/book.sh

.PHONY: generate
generate: sources ## Write CRDs, roles, the API reference and the list of reasons from the Rust types
	cargo run --quiet --package capn-api --bin crdgen config/crd
	cargo run --quiet --package capn-api --bin apidoc docs/reference.md
	cargo run --quiet --package capn-api --bin conditionsdoc docs/conditions.md
	cargo run --quiet --package capn-controllers --bin rbacgen config/rbac

.PHONY: release
release: sources ## Make the release layout and the manager image
	@hack/release.sh

.PHONY: bench-boot
bench-boot: sources ## Time a control plane's start against a bare start of etcd and kube-apiserver
	@test/bench/boot.sh

.PHONY: bench-many
bench-many: sources ## Time twenty control planes that start at once, and their deletion
	@test/bench/many.sh
