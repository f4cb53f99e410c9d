# Everything stays in ./.venv and ./out. Needs Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := out/demo
MOMENTS := 52
CRASHES := tests/crash
SIDES := --sides 4096,8192,16384
.DEFAULT_GOAL := help
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: help demo test check format bench crash-test budget-test fuzz hostile nightly cluster-test deploy-test docs clean

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

test: $(VENV)/.made ## Run the tests (about five minutes on two cores)
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

crash-test: $(VENV)/.made ## Kill processes at MOMENTS random moments, break disks (an hour)
	@$(BIN)/python -m pytest $(CRASHES) -n 0 --moments $(MOMENTS)

budget-test: $(VENV)/.made ## Peak memory on slides of 4k, 8k and 16k pixels a side (minutes)
	@$(BIN)/python -m pytest tests/budgets -m slow -n 0 -s $(SIDES)

fuzz: $(VENV)/.made ## Damage 2000 slides and read them (two minutes)
	@$(BIN)/python tests/fuzz/mutate.py --files 2000 --bombs

hostile: fuzz ## The same, and what a run listens at and whom it calls
	@$(BIN)/python -m pytest -m slow tests/security -n 0

nightly: $(VENV)/.made ## Time a run over 10,000 finished slides
	@$(BIN)/python tests/benchmarks/nightly.py

cluster-test: $(VENV)/.made ## TLS, and hosts in network namespaces, one unplugged (minutes)
	@$(BIN)/python -m pytest -n 0 -m "slow or not slow" tests/tasks/test_growing.py tests/flows/test_slides_at_once.py tests/cluster tests/cluster/several_hosts.py

deploy-test: $(VENV)/.made ## Start real services, check images and manifests (minutes)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c deploy/images/constraints-pools.txt -e '.[deploy]'
	@$(BIN)/python -m pytest -n 0 -m slow tests/deploy

docs: $(VENV)/.made ## Write the facts of the code into the docs
	@$(BIN)/python docs/render.py
	@$(BIN)/python docs/render_augmentation.py
	@$(BIN)/python docs/render_gating.py
	@$(BIN)/python docs/compare_networks.py page

clean: ## Remove what make made
	rm -rf $(VENV) out
