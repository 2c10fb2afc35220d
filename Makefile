# One command for each thing: demo, test, check, versions, bench, chaos. Each sets up what it needs by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
export UV_PROJECT_ENVIRONMENT := $(VENV)
unexport PYTHONDONTWRITEBYTECODE  # compiled once, every later start is faster

.PHONY: demo test check versions bench chaos docs wheel clean format
.DEFAULT_GOAL := help

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(VENV)/.base ## Set everything up and run the month-end close on sample data
	@$(BIN)/stateward demo $(DEMO) || [ $$? = 3 ]  # 3: it waits for people, as it is meant to without a terminal

test: $(VENV)/.dev ## Set everything up and pass the tests
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/.dev ## Lint, types, layers, lock, docs, all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(UV) lock --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet --site-dir site
	$(BIN)/python -m pytest

versions: $(VENV)/.dev ## Test the lowest and the newest versions that are supported
	@.ci/versions lowest
	@.ci/versions newest

bench: $(VENV)/.dev ## Measure, as ratios side by side in one run
	$(BIN)/python -m benchmarks

chaos: $(VENV)/.dev ## Kill a thousand workers at random points, and count what was doubled or lost
	$(BIN)/python tests/attacks/chaos.py $(CHAOS)

docs: $(VENV)/.dev ## Build the documentation into site/
	$(BIN)/mkdocs build --strict --site-dir site

wheel: $(VENV)/.dev ## Build the wheel into dist/
	$(BIN)/python -m build --installer uv --outdir dist

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

clean: ## Remove what was made
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest dist site .pytest_cache .ruff_cache .langgraph_api

$(VENV)/.base: $(UV) pyproject.toml uv.lock
	$(UV) sync --locked --inexact --quiet
	@touch $@

$(VENV)/.dev: $(UV) pyproject.toml uv.lock
	$(UV) sync --locked --inexact --quiet --all-extras --group dev
	@touch $@ $(VENV)/.base

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
