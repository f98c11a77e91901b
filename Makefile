# `make demo` and `make test` need Python 3.11 or newer and nothing else: everything goes into .venv
# in this folder. `make PYTHON=python3.12 setup` chooses an interpreter.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# What the lints and type checks read.
CODE   := gateway kernels tests loadtest examples deploy docs
TYPED  := gateway kernels tests
# For two cores: tests of servers wait for nearly half of their time.
TESTERS ?= 3

.DEFAULT_GOAL := help
# Hundreds of processes of a test run import the same sources.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup demo test lint types format conformance bench constraints clean

help:  ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

setup: $(STAMP)  ## make .venv with everything in it; nothing to do when it is there

$(STAMP): pyproject.toml constraints.txt
	@echo "setup: checking $$(command -v $(PYTHON) || echo '$(PYTHON)')"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "setup: expected Python 3.11 or newer, got $$($(PYTHON) --version 2>&1);" \
	       "name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "setup: making $(VENV)"; $(PYTHON) -m venv $(VENV); } || { \
	  rm -rf $(VENV); \
	  echo "setup: Python could not make $(VENV); on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: installing the pinned packages into $(VENV) (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' || { \
	  echo "setup: pip could not install everything; its last lines say what was missing." >&2; \
	  echo "setup: without a network, point pip at local packages: PIP_FIND_LINKS=FOLDER" >&2; exit 1; }
	@touch $@
	@echo "setup: done"

demo: setup  ## serve the bundled model, send every row, check the answers, print one table
	$(BIN)/penstock demo $(DEMO)

test: lint types  ## format, lints, types and tests
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

lint: setup  ## formatting and lints, changing nothing
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

types: setup  ## static types
	$(BIN)/mypy $(TYPED)

format: setup  ## format, and fix what can be fixed
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

conformance: setup  ## run uvicorn's published HTTP tests on our connection class
	$(BIN)/python -m tests.conformance

bench: setup  ## measure everything and render loadtest/RESULTS.md
	$(BIN)/python -m loadtest

constraints: setup  ## pin the versions that are installed now
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/python -m pip freeze --all --exclude pip --exclude-editable --disable-pip-version-check; } > constraints.new
	@mv constraints.new constraints.txt
	@touch $(STAMP)
	@echo "constraints: $$(grep -c == constraints.txt) packages pinned"

clean:  ## remove .venv, caches and what builds leave
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find gateway kernels tests loadtest examples -name __pycache__ -type d -prune -exec rm -rf {} +
