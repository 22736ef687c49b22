# What a developer types: `make help` lists it. Everything runs in .venv, installed from lock files with their hashes, and
# installed again only when they or pyproject.toml change: `make demo` takes what klsearch runs with, the others add the
# developers' tools.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LEAN := $(VENV)/lean
INSTALLED := $(VENV)/installed
CUDA := $(VENV)/cuda
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# A process for each core, but no more than memory allows: each holds TensorFlow and what the tests compile, over 1 GB.
IN_PARALLEL := --numprocesses logical --maxprocesses 4 --dist worksteal

.PHONY: help demo test quick faults gpu bench lint format lock

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile

demo: $(LEAN) ## search the digits study and say where its report is
	$(BIN)/klsearch run digits

test: $(INSTALLED) ## all tests; those that need a browser are named and left out where there is no Chromium
	$(BIN)/python -m pytest $(IN_PARALLEL)

quick: $(INSTALLED) ## the tests that take no second each, of every room: under 90 seconds on two cores
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "not slow and not faults"

faults: $(INSTALLED) ## kill processes and stop servers in the middle of studies, for over half an hour
	$(BIN)/python -m pytest -m faults --override-ini faulthandler_timeout=0

gpu: $(CUDA) ## the tests that need an NVIDIA card; it is an error if TensorFlow sees none
	KLSEARCH_REQUIRE_CARD=1 $(BIN)/python -m pytest -m gpu

bench: $(INSTALLED) ## klsearch beside loops of plain Keras and Keras Tuner, and what a thousand trials cost: half an hour
	$(BIN)/python -m tests.benchmarks

lint: $(INSTALLED) ## rules, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED) ## put the code into the form that lint asks for
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

COMPILE := build/lock/bin/uv pip compile pyproject.toml --quiet --universal --fork-strategy fewest --upgrade \
  --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

# All but gpu, whose libraries take gigabytes: `make test` needs none of them, so they have a lock of their own.
EXTRAS := --extra postgres --extra dask --extra parquet --extra dashboard

lock: ## write the lock files again, from pyproject.toml, with the newest releases
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet uv
	$(COMPILE) $(EXTRAS) --group dev --output-file requirements-dev.lock
	$(COMPILE) --group build --constraint requirements-dev.lock --output-file requirements.lock
	$(COMPILE) --extra gpu --constraint requirements-dev.lock --output-file requirements-gpu.lock
	@rm -rf build/lock

$(LEAN): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "klsearch needs Python 3.11, 3.12 or 3.13, for which TensorFlow is built; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." \
	    "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing what klsearch runs with into $(VENV): 2.6 GB, about two minutes. This happens once."
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --require-hashes --requirement requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(INSTALLED): $(LEAN) requirements-dev.lock
	@echo "Adding the developers' tools to $(VENV): 0.6 GB, about a minute. This happens once."
	$(PIP) --require-hashes --requirement requirements-dev.lock
	@touch $@

$(CUDA): $(INSTALLED) requirements-gpu.lock
	@echo "Adding CUDA's libraries to $(VENV): gigabytes to download. This happens once."
	$(PIP) --require-hashes --requirement requirements-gpu.lock
	@touch $@
