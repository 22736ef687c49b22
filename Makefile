# What a developer types: `make help` lists it. Everything runs in .venv, installed from requirements.lock with its
# hashes, and installed again only when that file or pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
# A process for each core, but no more than memory allows: each holds TensorFlow and what the tests compile, over 1 GB.
IN_PARALLEL := --numprocesses logical --maxprocesses 4 --dist worksteal

.PHONY: help demo test quick faults bench lint format lock

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile

demo: $(INSTALLED) ## search the digits study and say where its report is
	$(BIN)/klsearch run digits

test: $(INSTALLED) ## all tests; those that need a browser are named and left out where there is no Chromium
	$(BIN)/python -m pytest $(IN_PARALLEL)

quick: $(INSTALLED) ## the tests that take no second each, of every room: under 90 seconds on two cores
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "not slow and not faults"

faults: $(INSTALLED) ## kill processes and stop servers in the middle of studies, which takes about ten minutes
	$(BIN)/python -m pytest -m faults

bench: $(INSTALLED) ## klsearch beside loops of plain Keras and Keras Tuner, and what a thousand trials cost: half an hour
	$(BIN)/python -m tests.benchmarks

lint: $(INSTALLED) ## rules, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED) ## put the code into the form that lint asks for
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## write requirements.lock again, from pyproject.toml, with the newest releases
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet uv
	build/lock/bin/uv pip compile pyproject.toml --quiet --universal --fork-strategy fewest --all-extras --group dev \
	  --upgrade --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock
	@rm -rf build/lock

$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "klsearch needs Python 3.11, 3.12 or 3.13, for which TensorFlow is built; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." \
	    "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(VENV): 3 GB, about three minutes. This happens once."
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
