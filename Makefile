# `make run` and `make test` are all a newcomer needs; each sets up what it lacks.
PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait rather than compute.
TESTS_AT_ONCE ?= 4
# pytest exits with 5 where nothing was selected: TESTS may hold no test that runs alone, or none but those.
NO_TESTS := [ $$? -eq 5 ]

.PHONY: help run test check lint chaos slack setup bench lock clean

help:  ## Show what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: setup  ## Run the whole service on http://localhost:8000
	@exec $(BIN)/python -m local

test: setup  ## Run all tests, or those in TESTS
	$(BIN)/pytest -n $(TESTS_AT_ONCE) -m "not alone" $(TESTS) || $(NO_TESTS)
	$(BIN)/pytest -m alone $(TESTS) || $(NO_TESTS)

check: lint test  ## Lint, types, tests

lint: setup  ## Lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

chaos: setup  ## Break everything, 20 times over, and prove that nothing was lost (takes half an hour)
	$(BIN)/python -m tests.chaos
	$(BIN)/python -m tests.chaos.recovery
	$(BIN)/python -m tests.chaos.live

slack: setup  ## Live messages against a Slack that keeps them (npm's emulate; needs Node)
	npm install --silent --no-save --no-package-lock --prefix var/emulate emulate@0.11.0
	$(BIN)/pytest tests/emulated/slack.py

bench: setup  ## Measure what the README and docs claim
	$(BIN)/python -m benchmarks

setup: $(VENV)/.complete  ## Make the virtual environment from the hashed requirements

$(VENV)/.complete: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Opwatch needs Python 3.11 or newer; try: make PYTHON=python3.13 ...")'
	@echo "Setting up $(VENV) (once; about a minute) ..."
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-dev.txt
	@touch $@

lock:  ## Write the requirements anew (needs uv), with EXTRAS if any
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" $(EXTRAS:%=--extra %) pyproject.toml -o requirements.txt
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" --group dev -c requirements.txt -o requirements-dev.txt

clean:  ## Remove the environment and what make run keeps
	rm -rf $(VENV) var
