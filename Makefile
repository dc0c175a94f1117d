# A convenience: README.md gives the same as two lines of pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
STUBS := scripts/generate_envoy_stubs.py

.PHONY: help setup demo test unit e2e check format bench docs build lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with the `hauberk` command (seconds when nothing changed)

# The stamp is older than any file that decides what is installed exactly when that file has changed since.
$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hauberk needs Python 3.11 or newer; set PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "python3 cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python $(STUBS)
	@touch $(STAMP)

demo: setup ## a mesh with the demo shop, live in this terminal
	@$(BIN)/hauberk demo

test: setup check unit e2e docs ## everything CI runs

unit: setup ## fast tests: no root, no processes
	$(BIN)/python -m pytest tests/unit -n auto --dist worksteal

e2e: setup ## tests with real namespaces, real Envoys and real certificates
	$(BIN)/python -m pytest tests/e2e

check: setup ## format, lint, types, layers
	$(BIN)/python $(STUBS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## rewrite the files as `check` wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## measure, and print ratios against the same machine without a mesh
	$(BIN)/python -m bench

docs: setup ## build the documentation; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

build: setup ## wheel and sdist
	$(BIN)/python -m build --no-isolation

# With the oldest Python that is supported (make lock PYTHON=python3.11): what it can install, the newer ones can too.
LOCK := --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock: setup ## compile requirements*.txt anew from pyproject.toml and requirements-dev.in
	$(BIN)/pip-compile $(LOCK) --output-file requirements.txt pyproject.toml
	$(BIN)/pip-compile $(LOCK) --output-file requirements-dev.txt requirements-dev.in

clean: ## forget what was built
	rm -rf $(VENV) build dist docs/_build typings src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
