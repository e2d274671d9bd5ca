# A newcomer needs only `make run` and `make test`; each installs what is missing.
PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
# Most tests wait more than they compute.
TESTS_AT_ONCE ?= 4
# pytest exits with 5 where nothing was selected: TESTS may hold no test that runs alone, or none but those.
NO_TESTS := [ $$? -eq 5 ]

.PHONY: help run test check lint docs gallery chaos slack setup bench lock clean

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: setup  ## Run the whole service on http://localhost:8000
	@exec $(BIN)/python -m local

test: setup  ## Run all tests, or those in TESTS
	$(BIN)/pytest -n $(TESTS_AT_ONCE) -m "not alone" $(TESTS) || $(NO_TESTS)
	$(BIN)/pytest -m alone $(TESTS) || $(NO_TESTS)

check: lint test  ## Lint, types, tests

lint: setup  ## Lint, types, and an audit of the GitHub Action
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet --persona=pedantic action.yml

docs: setup  ## Write the tables of docs/ that are made from the code
	$(BIN)/python -m docs.tables

gallery: setup  ## Draw the pictures of docs/gallery.md (needs Chromium and the font Noto Color Emoji)
	$(BIN)/python -m tests.support.gallery

chaos: setup  ## Inject every fault with 20 seeds, and prove that nothing was lost (takes half an hour)
	$(BIN)/python -m tests.chaos
	$(BIN)/python -m tests.chaos.recovery
	$(BIN)/python -m tests.chaos.live

slack: setup  ## Live messages against an emulated Slack that keeps its messages (npm's emulate; needs Node)
	npm install --silent --no-save --no-package-lock --prefix var/emulate emulate@0.11.0
	$(BIN)/pytest tests/emulated/slack.py

bench: setup  ## Run the benchmarks of docs/performance.md
	$(BIN)/python -m benchmarks

setup: $(VENV)/.complete  ## Make the virtual environment from the hashed requirements

$(VENV)/.complete: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Opwatch needs Python 3.11 or newer; try: make PYTHON=python3.13 ...")'
	@echo "Setting up $(VENV) (once; about a minute) ..."
	@if [ -L $(VENV) ]; then rm $(VENV); fi  # a link: what it leads to is somebody else's
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-dev.txt
	@touch $@

COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock"
lock:  ## Write the requirements again (needs uv)
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) --group dev -c requirements.txt -o requirements-dev.txt
	$(COMPILE) -c requirements-dev.txt examples/opwatch-apprise/pyproject.toml -o examples/opwatch-apprise/requirements.txt

clean:  ## Remove the environment and the data of make run
	rm -rf $(VENV) var
