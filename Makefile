# Everything a newcomer or a build machine runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test check conformance format bench protos docs crds \
	images cluster-tools cluster-check cluster cluster-load cluster-down test-cluster clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := -p dapr_common -p dapr_sidecar -p dapr_cli -p dapr_sentry -p dapr_injector -p dapr_operator \
	-p dapr_placement -p dapr_testing -p dapr_dashboard
# Tests wait for other programs much of their time: one process more than there are cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
INPUTS := pyproject.toml constraints.txt tools/environment.py

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' Makefile

$(VENV)/.product: $(INPUTS)
	@$(PYTHON) tools/environment.py $(VENV) all

$(VENV)/.everything: $(INPUTS)
	@$(PYTHON) tools/environment.py $(VENV) all,test,dev

setup: $(VENV)/.everything ## create .venv with the product, the tests' and the checks' packages

demo: $(VENV)/.product ## run the example: two services, their sidecars, no Docker, no Redis
	@$(BIN)/python examples/01-order-processing/demo.py

test: $(VENV)/.everything ## the whole test suite; servers that cannot be had are skipped by name
	@$(BIN)/python tools/programs.py
	@$(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

check: $(VENV)/.everything ## format, lint, strict types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy $(PACKAGES)
	@$(BIN)/lint-imports --no-logo | tail -n 12

format: $(VENV)/.everything ## rewrite the sources as `make check` wants them
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.everything ## benchmarks against the naive server; PEER=path adds another daprd
	@$(BIN)/python tools/programs.py
	@$(BIN)/python -m benchmarks $(if $(PEER),--peer $(PEER)) $(BENCH)

conformance: $(VENV)/.everything ## play the conformance kit: KIT=path/to/conformance
	@$(BIN)/python tools/programs.py
	@$(BIN)/python tools/conformance.py $(KIT)

protos: $(VENV)/.everything ## generate common/dapr_common/wire from proto/
	@$(BIN)/python tools/protos.py

docs: $(VENV)/.everything ## generate docs/components, docs/monitoring and the catalogue of component settings
	@$(BIN)/python tools/component_docs.py
	@$(BIN)/python tools/component_catalogue.py
	@$(BIN)/python tools/monitoring.py

crds: $(VENV)/.everything ## generate crds/ and charts/dapr/crds from common/dapr_common/kube/schema
	@$(BIN)/python tools/crds.py

images: $(VENV)/.everything ## build the container images: PROGRAMS="sentry sidecar", TAG, REGISTRY
	@$(BIN)/python -m tools.images $(PROGRAMS)

cluster-tools: $(VENV)/.everything ## build Kubernetes, CoreDNS and Helm for a local cluster, once
	@PYTHONPATH=tests $(BIN)/python -m cluster tools

cluster-check: $(VENV)/.everything ## say why no cluster can be had here, if so
	@PYTHONPATH=tests $(BIN)/python -m cluster check

cluster: $(VENV)/.everything ## a cluster for tests: that of KUBECONFIG, kind, or a local one
	@PYTHONPATH=tests $(BIN)/python -m cluster up

cluster-load: $(VENV)/.everything ## bring the images into the cluster
	@PYTHONPATH=tests $(BIN)/python -m cluster load

cluster-down: $(VENV)/.everything ## end that cluster
	@PYTHONPATH=tests $(BIN)/python -m cluster down

test-cluster: cluster-tools images cluster ## end to end: the chart with our images on that cluster
	@$(BIN)/python -m tools.images tests/cluster/redis
	@PYTHONPATH=tests $(BIN)/python -m cluster load
	@TEST_CLUSTER=1 $(BIN)/python -m pytest -o faulthandler_timeout=900 $(or $(TESTS),tests/cluster)

clean: ## remove what the other targets made
	@rm -rf $(VENV) .venv-conformance .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
