# Everything a clone needs, from python3 (3.11 or newer), make and a network.
# Each step leaves a stamp and runs again only when what it read has changed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
BUILD := src/gpucloud_web/static/build
WEB_SOURCES := $(shell find web -type f 2>/dev/null)
STAMPS := $(VENV)/stamps

# The development set contains the runtime set: whoever has it, or is about to, uses it alone.
RUNTIME_GOALS := help run assets clean
PACKAGES := $(STAMPS)/$(if $(wildcard $(STAMPS)/dev)$(filter-out $(RUNTIME_GOALS),$(MAKECMDGOALS)),dev,runtime)
# Parallel steps keep their output together where this make can do that.
TOGETHER := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

# Six programs start from one source tree; also where Python is told to write no bytecode itself.
COMPILE_SOURCE = $(BIN)/python -m compileall -q src

.PHONY: help run test check campaign bench unit lint types imports screenshots docs assets packages lock clean

help: ## Say what each target does
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

run: $(STAMPS)/editable $(BUILD)/manifest.json ## Run the whole product here, with simulated payments and GPUs
	@$(COMPILE_SOURCE)
	@exec $(BIN)/gpucloud up

test: $(STAMPS)/dev $(STAMPS)/editable $(BUILD)/manifest.json ## Run every test against real parts; installs those parts when root
	@.ci/system-parts
	@$(COMPILE_SOURCE)
	$(BIN)/pytest tests/unit tests/integration

check: $(STAMPS)/dev $(STAMPS)/editable $(BUILD)/manifest.json ## Lint, types, architecture and unit tests (what a commit must pass)
	@$(MAKE) --no-print-directory --keep-going -j2 $(TOGETHER) types lint imports unit

campaign: $(STAMPS)/dev $(STAMPS)/editable $(BUILD)/manifest.json ## Kill, race and cut lines many times over; takes long
	@.ci/system-parts
	CAMPAIGN_ROUNDS=20 $(BIN)/pytest tests/integration/test_kill_steps.py tests/integration/test_races_launch.py \
		tests/integration/test_races_waitlist.py \
		tests/integration/test_database_trouble.py
	WALKS=5000 $(BIN)/pytest tests/integration/test_walk.py
	$(BIN)/gpucloud simulate --seeds 2000 --jobs 2 --tenants 6 --pause-hours 0.5 --rough 2

bench: $(STAMPS)/dev $(STAMPS)/editable ## Measure what must stay fast
	@for file in benchmarks/bench_*.py; do $(BIN)/python "$$file" || exit 1; done

unit: $(STAMPS)/dev $(STAMPS)/editable ## Run the unit tests alone
	$(BIN)/pytest -q -n auto --dist worksteal tests/unit

lint: $(STAMPS)/dev ## Run ruff: rules and format
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet

types: $(STAMPS)/dev $(STAMPS)/editable ## Run mypy, strictly
	$(BIN)/mypy

imports: $(STAMPS)/dev $(STAMPS)/editable ## Hold the architecture's contracts
	$(BIN)/lint-imports --no-cache

screenshots: $(STAMPS)/dev $(STAMPS)/editable $(BUILD)/manifest.json ## Picture every screen, wide and narrow, light and dark
	PYTHONPATH=tests $(BIN)/python tests/screenshots.py docs/screenshots $(ONLY)

docs: $(STAMPS)/dev $(STAMPS)/editable ## Print the reference pages from the tables
	$(BIN)/python -m gpucloud_adapters.reference docs/reference

assets: $(BUILD)/manifest.json ## Bundle what the browser gets

packages: $(STAMPS)/dev $(STAMPS)/editable ## Install the development packages

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate $(UPGRADE)

lock: $(STAMPS)/uv $(BIN)/npm ## Write the lock files anew (UPGRADE=--upgrade takes newer versions)
	$(LOCK) requirements/bootstrap.in --output-file requirements/bootstrap.txt
	$(LOCK) pyproject.toml --extra server --extra embedded --extra checkout \
		--output-file requirements/runtime.txt
	$(LOCK) pyproject.toml --extra dev --output-file requirements/dev.txt
	$(BIN)/npm install --package-lock-only

clean: ## Remove what was built here; the product's own data stays
	rm -rf $(VENV) node_modules $(BUILD) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# ---- what the targets stand on -----------------------------------------------------------------

$(STAMPS)/venv:
	@.ci/make-venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/uv: requirements/bootstrap.txt $(STAMPS)/venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(STAMPS)/runtime: requirements/runtime.txt $(STAMPS)/uv
	@echo "Installing the runtime packages"
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode $<
	@touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/uv
	@echo "Installing the development packages"
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode $<
	@touch $@

# A sync removes what the lock does not name, this project among it; so it is put back after one.
$(STAMPS)/editable: pyproject.toml $(PACKAGES)
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

node_modules/.package-lock.json: package-lock.json .npmrc $(PACKAGES)
	@echo "Installing the browser's packages"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm ci --silent
	@touch $@

$(BUILD)/manifest.json: $(WEB_SOURCES) node_modules/.package-lock.json
	@$(BIN)/node web/build.mjs
	@touch $@
