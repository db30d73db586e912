"""Spark in this process, without a metastore: a fresh set of tables for the session, in a directory of its own.

`make test-spark` runs these tests in an environment of their own, because pyspark and the other tests want different
versions of pandas.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

import harness  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

# The code of the whole example's statements does not fit into what Java reserves for its quick compiler.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=1g"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session that dbt finds and uses. Small data: plans are made once, Java compiles quickly."""
    folder = tmp_path_factory.mktemp("spark")
    os.environ.setdefault("JAVA_HOME", str(ROOT / "scripts" / "java"))
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.catalogImplementation", "in-memory")
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .config("spark.driver.memory", "3g")
        .config("spark.driver.extraJavaOptions", f"{JAVA_OPTIONS} -Djava.io.tmpdir={folder}")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Workshop]:
    with harness.workshop(tmp_path_factory.mktemp("warehouses")) as shop:
        yield shop
