# Needs Python 3.10 or newer with venv, and git. Each environment is made here, and made again when pyproject.toml changes.

PYTHON ?= python3
# feed2toot does not run on Python 3.12 or newer.
WILD_PYTHON ?= $(shell python3.11 -c "" 2>/dev/null && echo python3.11 || echo $(PYTHON))

BIN := .venv/bin
DEMO := examples/wild/feediverse_scenario.py:scenario
PIP := -m pip --disable-pip-version-check --quiet install

.PHONY: help demo test test-real conformance versions kills lint bench bench-smoke wild clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/.demo ## Check a real program from the package index, which is known to be broken
	@mkdir -p build
	@echo "Checking feediverse 0.4.1, unmodified: every crash, every restart"
	@status=0; \
	$(BIN)/collector-testkit check $(DEMO) --confirm --json build/feediverse.json || status=$$?; \
	case $$status in \
	1) ;; \
	*) echo "make demo: the check ended with exit code $$status, expected 1 (broken)" >&2; exit 1 ;; \
	esac
	@echo; echo "The shortest of these with a crash, as a timeline:"
	@$(BIN)/collector-testkit replay $(DEMO) 't0!5 t0'
	@echo; echo "The kit found real bugs in feediverse 0.4.1. The whole report: build/feediverse.json"

test: .venv/.dev ## Run the tests
	$(BIN)/python -m pytest -n auto

test-real: .venv/.dev ## Publish to a real RabbitMQ; installed and started if none answers (takes root, and apt)
	$(BIN)/python tests/real/rabbitmq.py $(BIN)/python -m pytest tests/real

conformance: .venv/.dev ## Hold what is simulated against real processes, and renew the figures in docs/why-believe-it.md
	$(BIN)/python tests/conformance/figures.py

versions: ## Run what leans on other packages with the oldest and newest of them, on Python 3.10 and 3.13
	$(PYTHON) tests/versions.py

kills: .venv/.dev ## Kill a saving process 2,000 times and look at its state each time
	COLLECTOR_KILLS=2000 $(BIN)/python -m pytest tests/quality/test_real_kills.py

lint: .venv/.dev ## Check style, types and the layers of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict -p collector_testkit -p stateful_mixin
	$(BIN)/lint-imports

bench: .venv-bench/.bench ## Measure everything and print the tables
	.venv-bench/bin/python benchmarks/run.py

bench-smoke: .venv/.dev ## Run every benchmark once, small
	$(BIN)/python benchmarks/run.py --smoke

wild: .venv-wild/.wild ## Check real collectors, and confirm each finding with real processes (best on Python 3.11)
	.venv-wild/bin/python examples/wild/confirm.py
	.venv-wild/bin/python -m pytest tests/wild

clean: ## Remove all environments, caches and reports
	rm -rf .venv .venv-bench .venv-versions .venv-wild build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache collector-report.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- environments: a stamp is newer than what it was made from ------------------------------------------

define make-venv
@$(1) -c "" 2>/dev/null || { echo "make: no interpreter '$(1)'; say which: make PYTHON=/path/to/python3" >&2; exit 1; }
@$(1) -c "import sys; sys.exit(sys.version_info < (3, 10))" || { echo "make: $$($(1) -V 2>&1) is too old; expected 3.10 or newer; say which: make PYTHON=/path/to/python3" >&2; exit 1; }
@$(1) -c "import ensurepip, venv" 2>/dev/null || { echo "make: '$(1)' cannot make an environment; install its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
@echo "Making $(2) with $$($(1) -V)"
@$(1) -m venv $(2)
@touch $@
endef

.venv/.made:
	$(call make-venv,$(PYTHON),.venv)

.venv-bench/.made:
	$(call make-venv,$(PYTHON),.venv-bench)

.venv-wild/.made:
	$(call make-venv,$(WILD_PYTHON),.venv-wild)

.venv/.dev: pyproject.toml .venv/.made
	@echo "Installing into .venv (again when pyproject.toml changes)"
	@$(BIN)/python $(PIP) --editable ".[dev]"
	@touch $@

.venv/.demo: pyproject.toml .venv/.made
	@echo "Installing into .venv (again when pyproject.toml changes)"
	@$(BIN)/python $(PIP) --editable ".[demo,testing]"
	@touch $@

.venv-bench/.bench: pyproject.toml .venv-bench/.made
	@echo "Installing into .venv-bench (again when pyproject.toml changes)"
	@.venv-bench/bin/python $(PIP) --editable ".[bench,testing]"
	@touch $@

.venv-wild/.wild: pyproject.toml examples/wild/requirements-wild.txt .venv-wild/.made
	@echo "Installing into .venv-wild (again when pyproject.toml changes)"
	@.venv-wild/bin/python $(PIP) --requirement examples/wild/requirements-wild.txt --editable ".[testing]"
	@touch $@
