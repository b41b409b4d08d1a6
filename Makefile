# Tapewright's commands for people and for CI. `make help` lists them.
#
# VENV=DIR puts the environment elsewhere; PYTHON=python3.12 picks the interpreter;
# ARGS="--venue coinbase" goes to `make run` and `make bench`; TESTS=tests/core to `make test`;
# TORCH_INDEX=https://download.pytorch.org/whl/cpu takes torch from there (without CUDA: smaller).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV ?= .venv
PYTHON ?=
ARGS ?=
TESTS ?= tests
BENCH ?= blend ledger sim
TORCH_INDEX ?=
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input install -c constraints.txt
PINS := pyproject.toml constraints.txt
SAY := printf '\033[1m==> %s\033[0m\n'
FIT := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))

.PHONY: help setup run test lint bench fuzz warm clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.everything ## Install everything: screen, engine, agents, tools

run: warm ## Install what trading needs, compile once, run: make run ARGS="--venue coinbase"
	@exec $(BIN)/tapewright run $(ARGS)

test: $(VENV)/.everything ## Run all tests: make test TESTS=tests/core
	@$(SAY) "Tests"
	@$(PY) -m pytest -n 2 $(TESTS)

lint: $(VENV)/.everything ## Check format, lint, types, imports and spelling
	@$(SAY) "Format"
	@$(BIN)/ruff format --check .
	@$(SAY) "Lint"
	@$(BIN)/ruff check .
	@$(SAY) "Types"
	@$(BIN)/mypy
	@$(SAY) "Imports"
	@$(BIN)/lint-imports
	@$(SAY) "Spelling"
	@$(BIN)/codespell

bench: $(VENV)/.everything ## Run benchmarks: make bench BENCH=feed ARGS=CAPTURE
	@for name in $(BENCH); do $(SAY) "bench/bench_$$name.py"; $(PY) bench/bench_$$name.py $(ARGS); done

fuzz: $(VENV)/.everything ## Hunt for faults in the feeds: make fuzz ARGS="faults --runs 500"
	@$(PY) bench/fuzz.py $(or $(ARGS),faults --runs 20)

warm: $(VENV)/.base ## Compile the kernels (once; later calls find them cached)
	@$(BIN)/tapewright warm

clean: ## Remove the environment and what tools left here; state and ledgers stay
	rm -rf $(VENV) build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are newer than the pins they were made from, so a change of pins installs again.
$(PY):
	@for name in $(PYTHON) python3.12 python3.11 python3; do \
	  if "$$name" -c '$(FIT)' 2>/dev/null; then \
	    $(SAY) "New environment in $(VENV): $$("$$name" --version)"; \
	    exec "$$name" -m venv $(VENV); \
	  fi; \
	done; \
	echo 'make: needs Python 3.11 or 3.12 with venv; install one, or say make PYTHON=...' >&2; \
	exit 2

$(VENV)/.base: $(PINS) | $(PY)
	@$(SAY) "Installing what trading needs (once)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.everything: $(PINS) | $(PY)
	@$(SAY) "Installing torch (once; large)"
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "torch==2.13.*"
	@$(SAY) "Installing everything else (once)"
	@$(PIP) -e ".[agents,anchors,dev]"
	@touch $@ $(VENV)/.base
