# Two commands do everything on a fresh machine: `make demo` and `make test`.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
DEMO_EXIT ?=
PYTEST_ARGS ?=
# Workers of pytest; the tests of a file stay together, and files begin in their order.
WORKERS ?= 2

.PHONY: help setup demo demo-s3 test check lint types imports config bench docs constraints clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.complete ## Make the virtual environment and install everything into it

$(VENV)/.complete: pyproject.toml constraints.txt .ci/setup
	@.ci/setup $(VENV)

demo: setup ## Run both example projects from raw data to served models, and stay up (DEMO_EXIT=1: end by itself)
	@$(BIN)/mlops demo $(if $(DEMO_EXIT),--exit)

demo-s3: setup ## The same with every byte of the store on a real S3 server, started for it
	@$(BIN)/mlops demo --s3 $(if $(DEMO_EXIT),--exit)

test: setup ## All tests, with real Spark and real Triton
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: lint types imports config test ## Exactly what CI runs

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: setup
	@$(BIN)/mypy

imports: setup
	@$(BIN)/lint-imports

config: setup
	@$(BIN)/mlops check

bench: setup ## Measure the figures in docs/benchmarks.md again
	@$(BIN)/python -m benchmarks

docs: setup ## Write the generated reference pages again
	@$(BIN)/mlops schema --format markdown > docs/reference/configuration.md
	@$(BIN)/mlops schema > docs/reference/schema.json

constraints: ## Pin every version again
	@.ci/pin

clean: ## Remove the environment and all local state
	@rm -rf $(VENV) .mlops
