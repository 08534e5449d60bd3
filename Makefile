# Everything a developer runs. No target needs root; .ci/setup is the only place that does.
# A fresh machine needs make and Python 3.11 or newer: each target makes .venv from the lock when it has to.

PYTHON ?= python3
FOREIGN_PYTHON ?= $(shell command -v python3.11 || command -v python3)
WORKERS ?= 2
ARGS ?=

BIN := .venv/bin
READY := .venv/.ready
FOREIGN := .foreign/license-manager
UV := .lock-tool

.DEFAULT_GOAL := help
.PHONY: help venv gate test check format lint types imports bench foreign serve prove docs toxiproxy lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo 'ARGS="..." is passed on, as in: make gate ARGS="--depth smoke"'

$(READY): requirements/dev.txt pyproject.toml hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Python 3.11 or newer is needed; name one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

venv: $(READY) ## .venv, with everything that is locked

gate: $(READY) ## judge the reference server: exit 0 when every promise held
	$(BIN)/licensing-harness gate $(ARGS) -- -n $(WORKERS)

test: $(READY) ## our own tests
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: lint types imports docs test ## format, lint, types, import contracts, docs, tests

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

format: $(READY) ## let ruff rewrite what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY) ## build the documentation, warnings as errors
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

bench: $(READY) ## measure, and write .licensing/bench.json
	$(BIN)/python -m benchmarks $(ARGS)

serve: $(READY) ## run the reference server until interrupted
	$(BIN)/licensing-harness serve $(ARGS)

prove: $(READY) ## plant every defect and show that it is found
	$(BIN)/licensing-harness prove $(ARGS)

foreign: $(READY) ## judge license-manager-backend 3.0.12: exits with an error, for it over-books (needs PostgreSQL)
	@$(BIN)/python examples/license_manager/run.py --ready
	@$(MAKE) --no-print-directory $(FOREIGN)/.ready
	$(BIN)/python examples/license_manager/run.py

# The lock is complete, so no dependency is looked for; that also keeps out psycopg2, which needs a compiler.
$(FOREIGN)/.ready: requirements/foreign.txt
	$(FOREIGN_PYTHON) -m venv $(FOREIGN)
	$(FOREIGN)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

toxiproxy: ## Toxiproxy's server as ~/go/bin/toxiproxy-server (needs Go)
	.ci/toxiproxy

lock: ## compile requirements/*.txt again
	$(PYTHON) -m venv $(UV)
	$(UV)/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(UV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --all-extras --group dev --upgrade pyproject.toml -o requirements/dev.txt
	$(UV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --override requirements/foreign-overrides.in --upgrade requirements/foreign.in -o requirements/foreign.txt

clean: ## remove what was built; .licensing stays
	rm -rf .venv .foreign $(UV) build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
