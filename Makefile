# The same words on a laptop and in CI. `make test` needs nothing but Python 3.11 or later.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
CLIENTS := $(VENV)/clients/ready
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: setup test check bench soak

setup: $(READY) $(CLIENTS)

# A recent pip for dependency groups; then torch alone: nothing
# else may decide which build of it is installed.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) --constraint constraints.txt torch
	$(PIP) --constraint constraints.txt --editable . --group dev
	touch $@

# Stock clients of other versions than ours, for tests of the contract.
$(CLIENTS): $(READY)
	rm -rf $(@D)
	$(PIP) --target $(@D) --group clients
	touch $@

test: $(READY) $(CLIENTS)
	$(BIN)/pytest -m "not soak"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

soak: $(READY)
	$(BIN)/pytest -m soak --timeout 3600

bench: $(READY)
	$(BIN)/python -m motet.bench.quick
