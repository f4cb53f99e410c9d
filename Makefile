# Everything stays in ./.venv and ./out. Needs Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := out/demo
.DEFAULT_GOAL := help
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: help demo test check format bench docs clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

# One environment for all targets, made anew when what it is made from changes.
$(VENV)/.made: pyproject.toml constraints.txt
	@echo "Making the environment in ./$(VENV) (once, about two minutes) ..."
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("segpipe needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,check]'
	@touch $@

demo: $(VENV)/.made ## Find every nucleus on a real slide that ships with the repository
	@$(BIN)/segpipe run examples/cmu-1-small-region.svs --out $(DEMO)

test: $(VENV)/.made ## Run the tests (under five minutes on two cores)
	@$(BIN)/python -m pytest

check: $(VENV)/.made ## Static checks: ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.made ## Let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.made ## Benchmarks: ratios against work done in the same process
	@$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only -s -n 0

docs: $(VENV)/.made ## Write the facts of the code into the docs
	@$(BIN)/python docs/render.py
	@$(BIN)/python docs/render_augmentation.py

clean: ## Remove what make made
	rm -rf $(VENV) out
