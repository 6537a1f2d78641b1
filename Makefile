# What a developer types. Needs make, git and Python 3.11 or newer with its venv module; everything else is installed here.

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= conf/quickstart.yaml
PLUGINS ?= plugins
QUICK ?=
ENGINES ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pixiu-py/engines

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := pixiu_py plugins tests benchmarks scripts

.DEFAULT_GOAL := help
.PHONY: help run test lint types format unit test-engines docs bench bench-peers clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed  ## start the gateway on conf/quickstart.yaml, with plugins/; CONFIG=... for another file
	@$(BIN)/python scripts/hint.py $(CONFIG)
	@exec $(BIN)/pixiu-py gateway start -c $(CONFIG) --plugins-dir $(PLUGINS)

test: lint types unit  ## all that CI runs: lint, types, tests

lint: $(VENV)/.tested  ## style and layout of the sources
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(VENV)/.tested  ## strict type check
	$(BIN)/mypy

unit: $(VENV)/.tested  ## the tests only; ARGS=... goes to pytest
	@bash scripts/services.sh
	$(BIN)/python -m pytest -n auto $(ARGS)

format: $(VENV)/.tested  ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

docs: $(VENV)/.installed  ## generate the tables of docs/ anew
	$(BIN)/python -m pixiu_py.config.tables docs

test-engines: $(VENV)/.tested  ## real vLLM, LMCache and llama-server: installs them (4 GB, once) into ENGINES, and tests
	$(BIN)/python scripts/engines/install.py $(ENGINES)
	PIXIU_ENGINES=$(ENGINES) $(BIN)/python -m pytest tests/engines $(ARGS)

bench: $(VENV)/.tested  ## speed of the gateway itself; QUICK=1 for a short run
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

bench-peers: $(VENV)/.tested  ## the same beside other gateways that are installed
	$(BIN)/python -m benchmarks --peers $(if $(QUICK),--quick)

clean:  ## remove everything that was made here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: an install runs again only when what is to be installed has changed.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.tested: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.installed
