# Two commands: `make run` and `make test`. Everything else serves whoever changes the code.
#
# PYTHON: the interpreter that .venv is made of, 3.11 or later.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench chaos parity lock docs clean

help:
	@echo "make run     start chatledger: API, chat page, PostgreSQL, NATS and Gemma 3 270M"
	@echo "make test    run the whole test suite"
	@echo "make lint    formatting, types, and the direction of imports"
	@echo "make bench   measure speed and memory"
	@echo "make chaos   kill everything, again and again, and check the books"
	@echo "make parity  compare numbers and tokens with transformers (makes its own environment)"
	@echo "make docs    write docs/events.md and docs/settings.md, and take the README's pictures"

# The stamps say which lock file an environment was installed from.
$(VENV)/.run: requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh scripts/install.sh run

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@PYTHON="$(PYTHON)" sh scripts/install.sh dev

run: $(VENV)/.run
	@exec $(BIN)/chatledger start

test: $(VENV)/.dev
	@sh scripts/chromium.sh
	$(BIN)/pytest

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.service

# Hours, if you like: CHAOS_ROUNDS=1000 are 5,000 kills. FAULT_SEED repeats a run.
chaos: $(VENV)/.dev
	CHAOS_ROUNDS=$${CHAOS_ROUNDS:-60} $(BIN)/pytest -s -o faulthandler_timeout=0 tests/faults/test_many_faults.py

# Our graphs beside transformers', which gets an environment of its own (.venv-export, 1.5 GB).
parity: $(VENV)/.dev
	$(BIN)/python -m tests.parity

# The pages that are made from the code, then the README's pictures, of a service that is started
# for them on free ports.
docs: $(VENV)/.dev
	@sh scripts/chromium.sh
	$(BIN)/python -m tools.event_docs
	$(BIN)/python -m tools.settings_docs
	$(BIN)/python -m tools.screenshots

# Needs uv (https://docs.astral.sh/uv/) and a package index.
lock:
	uv pip compile pyproject.toml --extra build --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --extra build --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-annotate --no-header --quiet --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
