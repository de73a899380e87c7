# autotrader: `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/pytest
export UV_PYTHON_DOWNLOADS := never
# .venv is ours: bytecode in it spares every later process the compiling.
unexport PYTHONDONTWRITEBYTECODE
# Monitoring runs in Docker where there is Docker Compose, unless NATIVE is set.
native = $(if $(or $(NATIVE),$(if $(shell docker compose version 2>/dev/null || true),,yes)),--native)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

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

.PHONY: restart
restart: install ## Stop and start the platform, or one process: make restart [SERVICE=api]
	@$(BIN)/autotrader restart $(if $(SERVICE),--service $(SERVICE)) $(ARGS)

.PHONY: logs
logs: install ## What processes say: make logs [SERVICE=api] [SINCE=2h] [LEVEL=ERROR] [FOLLOW=1]
	@$(BIN)/autotrader logs $(if $(SERVICE),--service $(SERVICE)) $(if $(SINCE),--since $(SINCE)) \
	  $(if $(LEVEL),--level $(LEVEL)) $(if $(FOLLOW),--follow) $(ARGS)

.PHONY: scale
scale: install ## Containers of a service: make scale SERVICE=airflow-worker REPLICAS=3
	@$(BIN)/autotrader scale $(if $(SERVICE),--service $(SERVICE)) $(if $(REPLICAS),--replicas $(REPLICAS)) $(ARGS)

.PHONY: prod-check
prod-check: install ## All that production stands on, in ten stages: make prod-check [ARGS='--only lake']
	@scripts/production-check.sh $(ARGS)

.PHONY: metrics-api
metrics-api: install ## What the API counts and measures
	@$(BIN)/autotrader diag metrics --subject api $(ARGS)

.PHONY: metrics-worker
metrics-worker: install ## Jobs, queues and pipelines in figures
	@$(BIN)/autotrader diag metrics --subject worker $(ARGS)

.PHONY: alerts-list
alerts-list: install ## Alerts that are not resolved, each with its runbook
	@$(BIN)/autotrader alerts list $(ARGS)

.PHONY: diag-full
diag-full: install ## All that helps to find a fault, in one file without secrets
	@$(BIN)/autotrader diag full $(ARGS)

.PHONY: diag-errors
diag-errors: install ## Errors of the last day by kind, with counts: make diag-errors [SINCE=2h]
	@$(BIN)/autotrader diag errors $(if $(SINCE),--since $(SINCE)) $(ARGS)

.PHONY: diag-performance
diag-performance: install ## Where time and memory go: latencies, queries, processes, tasks
	@$(BIN)/autotrader diag performance $(ARGS)

.PHONY: backup
backup: install ## One backup set of databases, lake, archive and models
	@$(BIN)/autotrader backup $(ARGS)

.PHONY: restore
restore: install ## Bring a set back: make restore ARGS='--reason WHY [--set ID]'
	@$(BIN)/autotrader restore $(ARGS)

.PHONY: infra-check
infra-check: install ## Terraform: format, tests, checkov, apply to a local AWS
	@scripts/infra-check.sh $(ARGS)

.PHONY: images
images: install ## Build the container images: make images ARGS=--dry-run
	@scripts/build-images.sh $(ARGS)

.PHONY: monitoring-setup
monitoring-setup: install ## Check what monitoring needs, and write its configuration
	@scripts/setup-monitoring.sh $(ARGS)

.PHONY: monitoring-start
monitoring-start: install ## Start Prometheus, Grafana, Alertmanager and exporters in Docker
	@scripts/monitoring.sh start

.PHONY: monitoring-native
monitoring-native: install ## Start Prometheus and Alertmanager from installed binaries
	@scripts/monitoring.sh start --native

.PHONY: monitoring-status
monitoring-status: install ## What of monitoring is up, which targets answer, which alerts fire
	@scripts/monitoring.sh status $(native)

.PHONY: monitoring-stop
monitoring-stop: install ## Stop what watches; NATIVE=1 means binaries where Docker is there, too
	@scripts/monitoring.sh stop $(native)

.PHONY: docs
docs: install ## The documentation as a site, in build/docs/site
	@scripts/docs.sh $(ARGS)

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
