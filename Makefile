# Two commands matter: `make demo` and `make test`. Both set up what they need, once.
# A Linux machine without GPU saves gigabytes with PIP_EXTRA_INDEX_URL set to PyTorch's CPU wheels.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Processes that test side by side; each wants a core and up to 4 GB. ARGS="-n 0" tests in one.
WORKERS ?= 2

# After set-up nothing may look outside this machine.
OFFLINE := HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
PYTEST := $(OFFLINE) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-all soak gpu lint format types clean distclean lock
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 found; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps say that the locked versions are in place; editing a lock renews them.
$(VENV)/run.stamp: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV) (once, 2-5 minutes) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -W ignore -c "import umap"  # compiles for half a minute the first time, then is cached
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock -c requirements.lock
	@touch $@

demo: $(VENV)/run.stamp  ## set up, measure 16 384 tokens of the embedded model, predict 49 152 more, cluster them
	$(OFFLINE) $(BIN)/spectro pipeline chain.draws=per_shard $(ARGS)
	$(OFFLINE) $(BIN)/spectro upsample runs/demo runs/demo-upsampled tokens.num_probe_sequences=64
	$(OFFLINE) $(BIN)/spectro report runs/demo-upsampled

test: lint types  ## set up, then all checks and every test that is not marked slow
	$(PYTEST) -m "not slow" $(ARGS)

test-all: lint types  ## every test, before a release; records durations and when all passed
	$(PYTEST) --full --write-durations $(ARGS)

soak: $(VENV)/dev.stamp  ## kill everything a hundred times over one run; about half an hour
	$(OFFLINE) $(BIN)/python -m tests.chaos.soak $(ARGS)

gpu: $(VENV)/dev.stamp  ## check and measure this machine's GPU in ten minutes at most; writes a file of rates for plans
	$(OFFLINE) $(BIN)/python -m benchmarks.gpu --out benchmarks/results --rates benchmarks/rates $(ARGS)

lint: $(VENV)/dev.stamp  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp  ## mypy --strict
	$(BIN)/mypy

format: $(VENV)/dev.stamp  ## let ruff repair and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/dev.stamp  ## write both locks anew from pyproject.toml's bounds
	bash .ci/lock "$(PYTHON)"

clean:  ## remove the demo's run and all caches
	rm -rf runs/demo runs/demo-upsampled .pytest_cache .mypy_cache .ruff_cache build *.egg-info
	find spectro jobs tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## also remove the environment
	rm -rf $(VENV)
