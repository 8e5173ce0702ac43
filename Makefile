# The logic is in Python and in requirements/; this file only strings commands together.
PYTHON ?= python3
TOOLS  := .venv-tools
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
UV     := VIRTUAL_ENV=$(VENV) $(TOOLS)/bin/uv pip
CODE   := backend tests benchmarks examples

.DEFAULT_GOAL := help
.PHONY: help setup run test lint check bench faults chaos schemathesis soak plans lock clean

help: ## show what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything locked

$(READY): requirements/tools.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say make PYTHON=python3.x")'
	@test -x $(TOOLS)/bin/pip || $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@test -x $(BIN)/python || $(TOOLS)/bin/uv venv --quiet --python $(PYTHON) $(VENV)
	@$(UV) sync --quiet --compile-bytecode --require-hashes requirements/dev.txt
	@$(UV) install --quiet --no-deps --editable .
	@touch $(READY)

run: setup ## start the server with examples/hello.yaml and print each run
	@$(BIN)/python examples/hello.py

test: setup ## run the whole test suite
	@$(BIN)/python -m compileall -q backend tests # very many servers are started; none need compile it again
	@$(BIN)/python -m pytest -m "not soak" -n 4 --dist loadfile

faults: setup ## of the tests, those that kill, freeze and cut off real servers and their PostgreSQL
	@$(BIN)/python -m pytest -m fault

lint: setup ## check style, types and import rules
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check --quiet $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tests.committed

check: lint test ## everything that must be green before a change lands

bench: setup ## measure, and print ratios
	@$(BIN)/python -m benchmarks.next_fire
	@$(BIN)/python -m benchmarks.herd
	@$(BIN)/python -m benchmarks.api
	@$(BIN)/python -m benchmarks.api --database postgres

chaos: setup ## break three replicas and their PostgreSQL for ten minutes, and judge the ledger
	@$(BIN)/python -m tests.fault.chaos $(CHAOS)

schemathesis: setup ## send ten minutes of what the OpenAPI document allows and forbids; ARGS="postgres 60" for another database, or less
	@$(BIN)/python -m tests.acceptance.schemathesis_run $(or $(ARGS),sqlite 600)

soak: setup ## the long versions of property and crash tests; SOAK="--seeds 1000000" for more histories
	@$(BIN)/python -m pytest -m soak --timeout 3600 $(SOAK)

plans: setup ## what the databases do at 1,000,000 schedules and 10,000,000 runs; PLANS_RUNS=1000000 for fewer
	@PLANS_SCHEDULES=$(or $(PLANS_SCHEDULES),1000000) PLANS_RUNS=$(or $(PLANS_RUNS),10000000) $(BIN)/python -m pytest tests/plans -s --timeout 3600 $(PLANS)

lock: setup ## resolve the requirements files anew
	@$(TOOLS)/bin/uv pip compile --quiet --upgrade pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -o requirements/runtime.txt
	@$(TOOLS)/bin/uv pip compile --quiet --upgrade pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev --extra otel -c requirements/runtime.txt -o requirements/dev.txt

clean: ## remove what setup and run made, but not the data
	rm -rf $(VENV) $(TOOLS)
