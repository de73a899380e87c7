# autotrader: `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/pytest
export UV_PYTHON_DOWNLOADS := never
# .venv is ours: bytecode in it spares every later process the compiling.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.venv/installed: requirements.lock pyproject.toml scripts/install.sh
	@scripts/install.sh
	@touch $@

.PHONY: install
install: .venv/installed ## Make .venv from the lock file

.PHONY: quickstart
quickstart: install ## From market data to a gated model, in a running Airflow
	@$(BIN)/autotrader quickstart $(ARGS)

.PHONY: status
status: install ## What runs, where to look, what was made
	@$(BIN)/autotrader status

.PHONY: down
down: install ## Stop everything that quickstart started
	@$(BIN)/autotrader down

.PHONY: clean
clean: install ## Stop, and delete local state; the trial ledger stays
	@$(BIN)/autotrader clean

.PHONY: test
test: install ## The whole suite, with the coverage floor
	@scripts/test.sh

.PHONY: unit
unit: install ## The unit tests alone, in less than a minute
	@$(PYTEST) tests/unit -m "not integration and not component" -n 2

.PHONY: check
check: install ## Lint, types, layers, shell, generated files
	@scripts/check.sh

.PHONY: format
format: install ## Format the code
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

.PHONY: bench
bench: install ## Run the benchmarks; one JSON line each
	@for file in benchmarks/[a-z]*.py; do [ "$$file" = benchmarks/timing.py ] || $(BIN)/python "$$file"; done

.PHONY: release
release: install ## Version bump, tag and notes: make release VERSION=0.2.0
	@scripts/release.sh "$(VERSION)"
