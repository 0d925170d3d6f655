# Everything that is done with this repository. Python 3.11 and make are all that has to be there.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# without compiled imports every start of a Flow takes 2.5 s longer
unexport PYTHONDONTWRITEBYTECODE
export JINA_OPTOUT_TELEMETRY ?= 1
export JINA_DEFAULT_HOST ?= 127.0.0.1

bin := .venv/bin
ready := .venv/.installed
peers := .venv/.peers
requirements := requirements.txt .github/requirements-test.txt .github/requirements-cicd.txt
benchmarks := $(patsubst benchmarks/%.py,%,$(filter-out benchmarks/_%,$(wildcard benchmarks/*.py)))

.PHONY: help install demo test test-unit test-integration test-e2e lint type format lock bench clean

help:
	@echo "usage: make TARGET"
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/  \1	\2/p' Makefile | expand -t 20

install: $(ready) ## make .venv with all that is locked, and this project in it

$(ready): $(requirements) pyproject.toml
	@python=; for name in $(PYTHON) python3.11 python3.12 python3 python; do \
	  if "$$name" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; \
	  then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "make: Python 3.11 or 3.12 with the venv module is needed, and none of python3.11, python3.12," \
	    "python3 and python is one; name yours with 'make PYTHON=/path/to/python3.11'" >&2; exit 1; fi; \
	echo "installing into .venv with $$("$$python" --version), which takes a minute or two"; \
	[ -x $(bin)/python ] || "$$python" -m venv .venv
	@$(bin)/python -m pip install -qq --disable-pip-version-check $(requirements:%=-r %)
	@$(bin)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(ready) ## tune on Fashion-MNIST through a real Flow, on a laptop CPU
	@$(bin)/python -m demo.fashion_mnist

test: test-unit test-integration test-e2e ## unit, then integration, then e2e

test-unit: $(ready) ## the library alone, in seconds
	@echo "== unit tests"; $(bin)/python -m pytest -q -n auto --dist loadfile tests/unit

test-integration: $(ready) ## a real Flow on loopback
	@echo "== integration tests"; $(bin)/python -m pytest -q tests/integration

test-e2e: $(ready) ## the image, built and run; needs a docker engine, and says so where there is none
	@echo "== end-to-end tests"; docker version >/dev/null 2>&1 || \
	  echo "!! NO DOCKER ENGINE ANSWERS: the image is NOT tested; start one, or set DOCKER_HOST" >&2; \
	$(bin)/python -m pytest -q tests/e2e

lint: $(ready) ## style (Black, ruff) and the floors of the house (import-linter)
	@$(bin)/black --quiet --check --diff .
	@$(bin)/ruff check --quiet .
	@said=$$($(bin)/lint-imports --no-logo) || { echo "$$said"; exit 1; }; tail -1 <<<"$$said"

type: $(ready) ## mypy, strict
	@$(bin)/mypy

format: $(ready) ## let Black and ruff rewrite the code
	@$(bin)/ruff check --quiet --fix --exit-zero . && $(bin)/black --quiet .

# what was locked stays locked; 'make lock LOCK=--upgrade' takes the newest of everything
lock: $(ready) ## compile the requirements files from pyproject.toml
	@export UV_CUSTOM_COMPILE_COMMAND="make lock"; \
	compile="$(bin)/uv pip compile pyproject.toml --quiet --python-version 3.11 --no-emit-index-url $(LOCK)"; \
	$$compile --extra serve --extra text --extra tables --extra postgresql --extra metric-learning --extra curves --extra s3 --extra onnx -o requirements.txt >/dev/null; \
	runs=$$(sed -nE 's/^([a-z0-9-]+)==.*/--no-emit-package \1/p' requirements.txt); \
	for group in test cicd bench; do \
	  $${compile/pyproject.toml/--group $$group} -c requirements.txt $$runs \
	    -o .github/requirements-$$group.txt >/dev/null; \
	  sed -i.all '/^$$/,$$d' .github/requirements-$$group.txt; rm .github/requirements-$$group.txt.all; done

$(peers): .github/requirements-bench.txt $(ready)
	@$(bin)/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

bench: $(peers) ## run benchmarks/NAME.py: make bench NAME=...
	@[ -f "benchmarks/$(NAME).py" ] || { echo "make: bench needs NAME=, one of: $(benchmarks)" >&2; exit 2; }
	@$(bin)/python -m benchmarks.$(NAME)

clean: ## remove .venv, caches and workspaces
	@rm -rf .venv build dist workspace *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
