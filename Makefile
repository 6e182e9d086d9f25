# `make test` and `make demo` need no other step before them: each sets up what is missing.
# DOCKER=off keeps them from installing a Docker engine; PYTHON=… chooses the interpreter.

PY := .venv/bin/python
CLI := .venv/bin/kernel-env
READY := .venv/.ready
UV := $(PY) -m uv
COMPILE := $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --only-binary :all: --python-version 3.11 --custom-compile-command "make lock"
COMPILE_IMAGE = $(COMPILE) $(UPGRADE) --python-platform linux
# What the images below contain stays as it is, and is left out of the lock file.
above = $(foreach image,$(1),-c images/$(image)/requirements.lock $$(sed -n 's/^\([a-z0-9.-]*\)==.*/--no-emit-package \1/p' images/$(image)/requirements.lock))
# A folder or page with torch's wheels without CUDA, which are not in the default index.
CPU_WHEELS ?= $(PIP_FIND_LINKS)

DEFAULT_TESTS := -m "not frameworks and not llm and not slow and not semantics and not torch"
# Three processes for two cores: a test waits for a third of its time, for containers and time limits.
PARALLEL := -n 3 --dist loadfile

.PHONY: help demo test gpu-check docs bench leaderboards lint format lock clean test-next test-matrix test-frameworks test-slow test-semantics fuzz
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(READY)  ## run the solution of one task in a sealed container
	@$(CLI) setup
	@$(CLI) run adult-income --agent baseline

test: $(READY)  ## run all that CI runs
	@$(CLI) setup
	@$(PY) tests/install_browser.py
	@$(MAKE) --no-print-directory lint
	$(PY) -m pytest $(DEFAULT_TESTS) $(PARALLEL) --no-loadscope-reorder || \
	  { echo "make test: running what failed again, by itself"; \
	    $(PY) -m pytest $(DEFAULT_TESTS) --last-failed --last-failed-no-failures none; }
	@$(PY) tests/next_release.py

test-next: $(READY)  ## run the tests of kernels with the next release's Python
	$(PY) tests/next_release.py

test-matrix: $(READY)  ## run them with the oldest and newest versions on every Python
	$(PY) tests/version_matrix.py $(PYTHONS)

test-frameworks: $(READY)  ## run the tests of adapters, each with its framework; FRAMEWORKS=… names some
	$(PY) tests/frameworks/run.py $(FRAMEWORKS)

gpu-check:  ## check what holds on a machine with a GPU; PYTHON=… has torch, and nothing is built
	@$(or $(PYTHON),$(wildcard $(PY)),python3) tests/gpu_check.py

test-slow: $(READY)  ## run the tests that `make test` leaves out: repeats in more places
	@$(CLI) setup
	$(PY) -m pytest -m "not frameworks and not llm and not semantics and not torch and slow" $(PARALLEL)

test-semantics: $(READY)  ## run programs of cells in every mode, beside plain Jupyter
	$(PY) -m pytest -m semantics tests/kernel/semantics

SECONDS ?= 3600
fuzz: $(READY)  ## send random input to each parser of foreign bytes, each for SECONDS=…
	KERNEL_ENV_FUZZ_SECONDS=$(SECONDS) $(PY) -m pytest tests/fuzz -n 2

docs: $(READY)  ## build the documentation in docs/_build/html
	$(PY) -m sphinx -E -W --keep-going -q -b html docs docs/_build/html

bench: $(READY)  ## measure what an action costs on this machine
	@$(CLI) bench

leaderboards: $(READY)  ## run the reference pipelines again
	@$(CLI) tasks population $(notdir $(patsubst %/task.toml,%,$(wildcard tasks/*/task.toml))) --write

lint: $(READY)  ## check format, rules, types, layers, words
	$(PY) -m ruff format --check
	$(PY) -m ruff check
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) tests/check_source.py

format: $(READY)  ## format the source
	$(PY) -m ruff format
	$(PY) -m ruff check --fix

lock: $(READY)  ## write the lock files; UPGRADE=--upgrade takes the newest versions
	@printf 'hatchling\neditables\n' | $(COMPILE) $(UPGRADE) --no-strip-extras --universal --fork-strategy fewest --extra local --group pyproject.toml:dev --group pyproject.toml:docs pyproject.toml - -o requirements.lock
	@for benchmark in dsbench mlagentbench mlagentbench-torch mle-bench mle-dojo; do $(COMPILE_IMAGE) kernel_env/tasks/environments/$$benchmark.in -o kernel_env/tasks/environments/$$benchmark.lock || exit 1; done
	@$(COMPILE_IMAGE) images/base/requirements.in -o images/base/requirements.lock
	@$(COMPILE_IMAGE) $(call above,base) images/tabular/requirements.in -o images/tabular/requirements.lock
	@$(COMPILE_IMAGE) $(call above,base) pyproject.toml tests/support/images/tests/requirements.in -o tests/support/images/tests/requirements.lock
	@$(COMPILE_IMAGE) $(call above,base tabular) images/torch/requirements-cuda.in -o images/torch/requirements-cuda.lock
	@UV_FIND_LINKS="$(CPU_WHEELS)" $(COMPILE_IMAGE) $(call above,base tabular) images/torch/requirements.in -o images/torch/requirements.lock

clean:  ## remove what these commands created in this folder; images stay
	rm -rf .venv .matrix .frameworks .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist docs/_build

$(READY): pyproject.toml requirements.lock setup.sh
	@./setup.sh
	@touch $@
