# The same words on a laptop and in CI. They need nothing but Python 3.11 or later.

PYTHON ?=
PORT ?= 8000
BIN := .venv/bin
export PYTHON

.PHONY: help demo test check bench bench-peers soak setup serves

help: ## list these words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

demo: serves ## serve the model that comes with motet; PORT=8001 for another port
	@$(BIN)/motet serve --port $(PORT)

# Each file in one process: what its tests share is made once. Threads that wait take no core.
test: setup ## run everything that needs no GPU
	OMP_WAIT_POLICY=passive $(BIN)/pytest -m "not soak" --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: setup ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: serves ## measure the demo under load, the scheduler, kernels and the engine: five minutes
	@$(BIN)/python -m motet.bench.quick
	@$(BIN)/python -m motet.bench.step
	@$(BIN)/python -m motet.bench.waiting
	@$(BIN)/python -m motet.bench.kernels --short
	@$(BIN)/python -m motet.bench.engine --short

bench-peers: setup ## measure motet beside transformers and PEFT: eight minutes
	@$(BIN)/python -m motet.bench.peers

soak: setup ## run the tests that take minutes
	$(BIN)/pytest -m soak --timeout 3600

setup: serves ## only make .venv, with everything these words need
	@.ci/setup develop

serves:
	@.ci/setup serve
