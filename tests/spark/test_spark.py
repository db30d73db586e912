"""The whole DAG on Spark: it builds with its tests, its marts are DuckDB's, and no plan multiplies facts.

Marts are compared row by row: texts, counts and nulls exactly, floats to 1e-9. `-s` prints the largest difference of
each mart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from test_example_world import GRAINS

# A rollback is due in the example: here that is a warning, where a scheduled build stops.
VARS = {"analysis": {"due_rollback": "warn"}}
SCHEMA = "default_evalhouse"
SMALL_TABLE = 1000


def dbt(folder: Path, *words: str) -> harness.DbtResult:
    options = ["--vars", json.dumps(VARS), "--profile", "evalhouse", "--target", "spark"]
    options += ["--project-dir", str(harness.ROOT), "--profiles-dir", str(harness.ROOT)]
    options += ["--log-level", "none", "--log-level-file", "none", "--no-version-check"]
    places = {"DBT_TARGET_PATH": str(folder), "DBT_LOG_PATH": str(folder / "logs")}
    outcome = harness._invoke([*words, *options], places)
    assert outcome.success, outcome.error
    return outcome


@pytest.fixture(scope="module")
def built(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dbt build` of the example on Spark, seeds and tests included; dbt's target folder."""
    folder = tmp_path_factory.mktemp("dbt")
    started = time.monotonic()
    outcome = dbt(folder, "build")
    assert set(outcome.statuses.values()) <= {"success", "pass", "warn", "no-op"}
    print(f"{len(outcome.statuses)} nodes built in {time.monotonic() - started:.0f} s")
    return folder


@pytest.fixture(scope="module")
def on_duckdb(workshop: harness.Workshop) -> Iterator[harness.Warehouse]:
    warehouse = harness.Warehouse("duckdb", workshop)
    warehouse.dbt("build", vars=VARS)
    yield warehouse
    warehouse.close()


def read(spark: SparkSession, name: str) -> pd.DataFrame:
    """A table as the other engines' harness would return it: timestamps are UTC and have no zone."""
    table = spark.table(f"{SCHEMA}.{name}")
    columns = [
        f"cast({field} as timestamp_ntz) as {field}" if kind == "timestamp" else field for field, kind in table.dtypes
    ]
    return harness._to_pandas(table.selectExpr(*columns).toArrow())


def largest_difference(found: pd.DataFrame, expected: pd.DataFrame, grain: list[str]) -> float:
    """The largest relative difference of two numbers; everything that is no float has to be equal."""
    found, expected = found.set_index(grain).sort_index(), expected.set_index(grain).sort_index()
    pd.testing.assert_index_equal(found.index, expected.index, exact=False)
    assert set(found.columns) == set(expected.columns)
    largest = 0.0
    for name in expected.columns:
        mine, theirs = found[name], expected[name]
        different = mine.isna() != theirs.isna()
        assert not different.any(), f"{name} is null on one engine only:\n{mine[different]}\n{theirs[different]}"
        both = mine.notna()
        mine, theirs = mine[both], theirs[both]
        if not pd.api.types.is_float_dtype(theirs):
            different = mine != theirs
            assert not different.any(), f"{name} differs:\n{mine[different]}\n{theirs[different]}"
            continue
        # What is left of a number that should be zero has no digits to compare.
        distance = (mine - theirs).abs().where(lambda gap: gap > 1e-12, 0)
        relative = (distance / theirs.abs().clip(lower=1e-300)).where(mine != theirs, 0)
        if len(relative):
            assert relative.max() <= 1e-9, f"{name} differs:\n{mine[relative > 1e-9]}\n{theirs[relative > 1e-9]}"
            largest = max(largest, relative.max())
    return largest


@pytest.mark.parametrize("name", GRAINS)
def test_mart_is_that_of_duckdb(built: Path, spark: SparkSession, on_duckdb: harness.Warehouse, name: str) -> None:
    expected = on_duckdb.mart(name)
    assert len(expected)
    largest = largest_difference(read(spark, name), expected, GRAINS[name])
    print(f"{name}: {len(expected)} rows, largest relative difference {largest:.1e}")


# Plans.


def nodes(plan: Any) -> Iterator[Any]:
    """A physical plan's nodes, children after their parents."""
    yield plan
    children = plan.children()
    for position in range(children.size()):
        yield from nodes(children.apply(position))


def physical_plan(spark: SparkSession, query: str) -> Any:
    return spark.sql(query)._jdf.queryExecution().sparkPlan()


def is_one_row(plan: Any) -> bool:
    """An aggregate without keys, whatever is done to its row."""
    while plan.children().size() == 1:
        if "Aggregate" in plan.nodeName():
            return plan.groupingExpressions().isEmpty()
        plan = plan.children().apply(0)
    return False


def large_tables(spark: SparkSession, plan: Any, sizes: dict[str, int]) -> set[str]:
    """The tables of a plan that have more rows than a small one."""
    found = set()
    for node in nodes(plan):
        if node.nodeName().startswith("Scan ") or "FileScan" in node.simpleString(1000):
            name = node.nodeName().split(" ")[-1].removeprefix("spark_catalog.")
            # What a select without a table reads.
            if name == "OneRowRelation":
                continue
            if name not in sizes:
                sizes[name] = spark.table(name).count()
            if sizes[name] > SMALL_TABLE:
                found.add(name)
    return found


def test_no_plan_multiplies_facts(built: Path, spark: SparkSession) -> None:
    """A pair without a key to join by is compared row by row: fine with one row or a small table, not between facts."""
    sizes: dict[str, int] = {}
    complaints, plans = [], 0
    for path in sorted((built / "compiled" / "evalhouse" / "models").rglob("*.sql")):
        plans += 1
        for node in nodes(physical_plan(spark, path.read_text(encoding="utf-8"))):
            if node.nodeName() not in ("CartesianProduct", "BroadcastNestedLoopJoin"):
                continue
            sides = [node.children().apply(0), node.children().apply(1)]
            large = [large_tables(spark, side, sizes) for side in sides if not is_one_row(side)]
            if len(large) == 2 and all(large):
                complaints.append(f"{path.stem}: {node.nodeName()} of {large[0]} and {large[1]}")
    assert plans > 100
    assert not complaints, "\n".join(complaints)


def test_plan_of_facts_without_a_key_is_noticed(built: Path, spark: SparkSession) -> None:
    """The check above sees what it is there to see."""
    plan = physical_plan(spark, "select 1 from raw.exposures as a join raw.outcomes as b on a.unit_id < b.unit_id")
    (join,) = [node for node in nodes(plan) if node.nodeName() in ("CartesianProduct", "BroadcastNestedLoopJoin")]
    assert all(large_tables(spark, join.children().apply(side), {}) for side in (0, 1))
    plan = physical_plan(spark, "select 1 from raw.exposures cross join (select max(value) from raw.outcomes) as b")
    (join,) = [node for node in nodes(plan) if node.nodeName() in ("CartesianProduct", "BroadcastNestedLoopJoin")]
    assert any(is_one_row(join.children().apply(side)) for side in (0, 1))


def test_recent_days_are_read_from_their_partitions(built: Path, spark: SparkSession) -> None:
    dates = [row[0] for row in spark.sql(f"select distinct activity_date from {SCHEMA}.int_unit_days").collect()]
    recent = sorted(dates)[-3]
    everything = spark.sql(f"select * from {SCHEMA}.int_unit_days").inputFiles()
    files = spark.sql(f"select * from {SCHEMA}.int_unit_days where activity_date >= date '{recent}'").inputFiles()
    assert 0 < len(files) < len(everything) / 2
    assert {name.split("activity_date=")[1][:10] for name in files} == {str(date) for date in sorted(dates)[-3:]}


def test_incremental_run_replaces_partitions(built: Path, spark: SparkSession) -> None:
    """A unit does more: the day is written again, no day before it, and only that unit has other rows."""
    grain = ["experiment_id", "activity_date", "unit_id"]
    days = f"{SCHEMA}.int_unit_days"
    event = spark.sql(
        f"""
        select outcomes.*
        from raw.outcomes
        inner join {days} as days
            on outcomes.unit_id = days.unit_id and cast(outcomes.occurred_at as date) = days.activity_date
        where outcomes.event_name = 'task_complete'
        order by outcomes.occurred_at desc, outcomes.outcome_id
        limit 1
        """
    ).toPandas()
    date = event["occurred_at"].iloc[0].date()
    before, files_before = read(spark, "int_unit_days"), set(spark.sql(f"select * from {days}").inputFiles())
    mine = event["unit_id"].iloc[0]
    # All that the unit did on the day once more: tasks_per_user counts the task.
    same = spark.table("raw.outcomes").where(f"unit_id = '{mine}' and cast(occurred_at as date) = date '{date}'")
    more = same.toPandas().assign(outcome_id=lambda rows: "again " + rows["outcome_id"])
    spark.createDataFrame(more, same.schema).write.insertInto("raw.outcomes")
    spark.catalog.refreshTable("raw.outcomes")
    dbt(built, "run", "--select", "int_outcomes", "int_watermarks", "int_source_days", "int_unit_days")
    spark.catalog.refreshTable(days)
    after, files_after = read(spark, "int_unit_days"), set(spark.sql(f"select * from {days}").inputFiles())

    def day_of(name: str) -> str:
        return name.split("activity_date=")[1][:10]

    replaced = {day_of(name) for name in files_before - files_after}
    assert str(date) in replaced
    assert min(replaced) == str(date)
    other = [rows[~rows.unit_id.isin(["", mine])] for rows in (after, before)]
    assert largest_difference(*other, grain) == 0
    of_unit = [rows[rows.unit_id == mine].set_index(grain).sort_index() for rows in (after, before)]
    assert not of_unit[0].equals(of_unit[1])


def test_a_run_replaces_recent_days_of_turns(built: Path, spark: SparkSession) -> None:
    """Without news every row is what it was, and what is written again is the newest days."""
    grains = {
        "int_traces": ["trace_id"],
        "int_session_turns": ["trace_id"],
        "int_turn_pairs": ["trace_id"],
        "int_turn_signals": ["trace_id"],
        "int_unit_turn_days": ["turn_date", "model_version", "unit_id"],
        "int_unit_rate_sums": ["turn_date", "model_version", "dimension_name", "dimension_value"],
        "int_failure_overlaps": ["turn_date", "model_version", "dimension_name", "dimension_value", "days_between"],
        "int_latency_ranks": ["slice_number", "metric_value"],
        "int_latency_quantiles": ["turn_date", "model_version", "dimension_name", "dimension_value", "measure"],
    }

    def state(name: str) -> tuple[pd.DataFrame, set[str]]:
        rows = read(spark, name)
        return rows[rows["definition_hash"].isna()], set(spark.table(f"{SCHEMA}.{name}").inputFiles())

    before = {name: state(name) for name in grains}
    dbt(built, "run", "--select", "int_turn_events", "int_turn_sums", "int_latency_slices", *grains)
    for name, grain in grains.items():
        spark.catalog.refreshTable(f"{SCHEMA}.{name}")
        rows, files = state(name)
        if name == "int_unit_turn_days":
            # The slices of the example, too.
            grain = [column for column in rows if not column.endswith("__weight") and rows[column].notna().any()]
        assert len(rows) > 0
        assert largest_difference(rows, before[name][0], grain) <= 1e-9, name
        assert 0 < len(files & before[name][1]) < len(files), name
