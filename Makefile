# `make test` and `make demo` need no other step before them: each sets up what is missing.
# DOCKER=off keeps them from installing a Docker engine; PYTHON=… chooses the interpreter.

PY := .venv/bin/python
CLI := .venv/bin/kernel-env
READY := .venv/.ready
COMPILE := $(PY) -m uv pip compile --quiet --generate-hashes --no-emit-index-url --only-binary :all: --python-version 3.11 --custom-compile-command "make lock"

.PHONY: help demo test bench leaderboards lint format lock clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(READY)  ## one task's solution, played in a sealed container
	@$(CLI) setup
	@$(CLI) run adult-income --agent baseline

test: $(READY)  ## all that CI runs
	@$(CLI) setup
	@$(MAKE) --no-print-directory lint
	$(PY) -m pytest -m "not llm" -n 2 --dist loadfile

bench: $(READY)  ## what an action costs on this machine
	@$(CLI) bench

leaderboards: $(READY)  ## run the reference populations again
	@$(CLI) tasks population $(notdir $(patsubst %/task.toml,%,$(wildcard tasks/*/task.toml))) --write

lint: $(READY)  ## format, rules, types, layers
	$(PY) -m ruff format --check
	$(PY) -m ruff check
	$(PY) -m mypy
	.venv/bin/lint-imports

format: $(READY)  ## rewrite the source in the one format
	$(PY) -m ruff format
	$(PY) -m ruff check --fix

lock: $(READY)  ## remake the locks; UPGRADE=--upgrade takes the newest versions
	@$(PY) -m uv --version >/dev/null 2>&1 || $(PY) -m pip install --quiet uv
	@printf 'hatchling\neditables\n' | $(COMPILE) $(UPGRADE) --universal --fork-strategy fewest --extra local --group pyproject.toml:dev pyproject.toml - -o requirements.lock
	@$(COMPILE) $(UPGRADE) --python-platform linux images/base/requirements.in -o images/base/requirements.lock
	@$(COMPILE) $(UPGRADE) --python-platform linux -c images/base/requirements.lock $$(sed -n 's/^\([a-z0-9.-]*\)==.*/--no-emit-package \1/p' images/base/requirements.lock) images/tabular/requirements.in -o images/tabular/requirements.lock

clean:  ## remove what these commands made in this folder; images stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist

$(READY): pyproject.toml requirements.lock setup.sh
	@./setup.sh
	@touch $@
