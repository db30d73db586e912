"""Cloud engines: every statement of the package, compiled by the engine's own dbt adapter and read in its dialect.

Nothing here is run on those engines. docs/engines.md says what was run where, and which gaps are known.
"""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import dialect_rules
import harness
import pytest

ROOT = harness.ROOT
CLOUD_PYTHON = ROOT / ".venv-clouds" / "bin" / "python"
CLOUDS = ("snowflake", "bigquery", "databricks", "redshift")
CONFIGURATIONS = ("example", "everything", "bare")

# What an engine is known not to take, by the models in which it stands (docs/engines.md, "Known gaps"). A gap that has
# closed has to leave this list.
KNOWN: dict[tuple[str, str], set[str]] = {
    ("redshift", "sorted aggregates of different orders"): {"int_metric_bounds", "int_unit_looks"},
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """By engine and configuration: whether `dbt compile` succeeded, its errors and the statements by node."""
    assert CLOUD_PYTHON.exists(), "the adapters of the cloud engines are not installed: make .venv-clouds/.installed"
    folder = tmp_path_factory.mktemp("clouds")
    command = [CLOUD_PYTHON, Path(__file__).with_name("compile_clouds.py"), "--folder", folder]
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        (engine, configuration): json.loads((folder / f"{engine}-{configuration}" / "answer.json").read_text())
        for engine in CLOUDS
        for configuration in CONFIGURATIONS
    }


@cache
def findings(engine: str, sql: str) -> tuple[str, ...]:
    return tuple(dialect_rules.findings(engine, sql))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("engine", CLOUDS)
def test_compiles_without_a_connection(
    compiled: dict[tuple[str, str], dict[str, Any]], engine: str, configuration: str
) -> None:
    answer = compiled[engine, configuration]
    assert answer["success"] and not answer["errors"], "\n".join(answer["errors"])
    names = {name.split("/")[1] for name in answer["compiled"]}
    # An ephemeral model is part of its readers' statements.
    ephemeral = "materialized='ephemeral'"
    models = {path.stem for path in (ROOT / "models").rglob("*.sql") if ephemeral not in path.read_text()}
    if configuration != "bare":
        # Only where an input is missing are models switched off.
        assert models <= names, sorted(models - names)
    assert "experiment_results" in names


@pytest.mark.parametrize("engine", CLOUDS)
def test_statements_are_of_the_dialect(compiled: dict[tuple[str, str], dict[str, Any]], engine: str) -> None:
    found: dict[str, set[str]] = {}
    for configuration in CONFIGURATIONS:
        for name, sql in compiled[engine, configuration]["compiled"].items():
            for finding in findings(engine, sql):
                found.setdefault(finding, set()).add(name.split("/")[1])
    known = {finding: models for (where, finding), models in KNOWN.items() if where == engine}
    assert found == known, "\n".join(f"{finding}: {sorted(models)}" for finding, models in found.items())


@pytest.mark.parametrize("engine", CLOUDS)
def test_a_second_run_is_incremental_where_the_engine_can(
    compiled: dict[tuple[str, str], dict[str, Any]], engine: str
) -> None:
    """In the configuration whose tables stand already. BigQuery has no way to replace rows by a key of two columns."""
    first = compiled[engine, "example"]["compiled"]["model/int_unit_days"]
    second = compiled[engine, "everything"]["compiled"]["model/int_unit_days"]
    own_rows = "int_unit_days"
    assert own_rows not in first
    assert (own_rows in second) is (engine != "bigquery")


@pytest.mark.parametrize("engine", CLOUDS)
def test_contracts_name_types_of_the_engine(compiled: dict[tuple[str, str], dict[str, Any]], engine: str) -> None:
    named = compiled[engine, "example"]["contract_types"]
    plain = {re.sub(r"\(.*\)", "", name).replace(" ", "_") for name in named}
    assert plain <= set(dialect_rules.TYPES[engine].split()), named
    assert any(name in plain for name in ("double", "double_precision", "float64")), named


# The rules themselves: each must find what it is there for, and leave the standard form alone.
BROKEN = [
    ("snowflake", "select string_agg(a, ',') as b from t", "the function string_agg"),
    ("bigquery", "select median(a) as b from t", "the function median"),
    ("redshift", "select covar_samp(a, b) as c from t", "the function covar_samp"),
    ("databricks", "select string_to_array(a) as b from t", "the function string_to_array"),
    ("bigquery", "select cast(a as double precision) as b from t", "a cast to double_precision"),
    ("bigquery", "select cast(a as text) as b from t", "a cast to text"),
    ("bigquery", "select cast(a as decimal(38, 0)) as b from t", "a decimal of 38 digits"),
    ("snowflake", "select a::float as b from t", "a cast by ::"),
    ("bigquery", "select 1 as within", "the reserved word within as a name"),
    ("redshift", "select 1 as tag", "the reserved word tag as a name"),
    ("snowflake", "select 1 as increment", "the reserved word increment as a name"),
    ("redshift", "with a as materialized (select 1 as b) select b from a", "a hint to materialize a CTE"),
    ("snowflake", "select count(*) filter (where a > 1) as b from t", "a filter on an aggregate"),
    ("redshift", "select a is distinct from b as c from t", "is distinct from"),
    ("snowflake", "select distinct on (a) a, b from t", "distinct on"),
    ("snowflake", "select a from t union select a from u", "a union without all, which engines spell differently"),
    ("snowflake", "select a from t except select a from u", "a set operation other than a union"),
    ("bigquery", "select 1 as a where 1 = 0", "a where without a from"),
    ("redshift", "select sum(a) over w as b from t window w as (partition by c)", "a named window"),
    ("redshift", "select sum(a) over (order by b) as c from t", "a window aggregate that is ordered and has no frame"),
    ("redshift", "select lag(a, 1, 0) over (order by b) as c from t", "a default of lag or lead"),
    ("snowflake", "select a, count(*) from t group by a, grouping sets ((c), ())", "grouping sets beside other keys"),
    ("snowflake", "select a from (values (1)) as t (a)", "a list of values as a table"),
    (
        "redshift",
        "select percentile_cont(0.5) within group (order by a) as c, "
        "percentile_cont(0.5) within group (order by b) as d from t",
        "sorted aggregates of different orders",
    ),
]
SOUND = [
    "select a, row_number() over (partition by b order by c) as d from t",
    "select sum(a) over (order by b rows between unbounded preceding and current row) as c from t",
    "select a from t union all select a from u",
    "with a as (select 1 as b) select cast(b as bigint) as c from a where b = 1",
    "select a, b, count(*) as c from t group by grouping sets ((a, b), (a))",
]


@pytest.mark.parametrize(("engine", "sql", "finding"), BROKEN)
def test_a_rule_finds_what_it_is_for(engine: str, sql: str, finding: str) -> None:
    assert finding in dialect_rules.findings(engine, sql)


@pytest.mark.parametrize("sql", SOUND)
@pytest.mark.parametrize("engine", CLOUDS)
def test_rules_leave_standard_sql_alone(engine: str, sql: str) -> None:
    assert dialect_rules.findings(engine, sql) == []


def test_what_does_not_parse_is_found() -> None:
    assert dialect_rules.findings("bigquery", "select 'it''s' as a")[0].startswith("does not parse")


# docs/engines.md


def section(title: str) -> str:
    text = (ROOT / "docs" / "engines.md").read_text()
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(table: str) -> list[str]:
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [row.strip("|").split("|")[0].strip().strip("`") for row in rows]


def test_the_table_of_primitives_lists_what_is_dispatched() -> None:
    sources = sorted((ROOT / "macros" / "portability").glob("*.sql"))
    dispatched = [
        name for path in sources for name in re.findall(r"adapter\.dispatch\('(\w+)', 'evalhouse'\)", path.read_text())
    ]
    assert dispatched == [path.stem for path in sources]
    assert first_cells(section("Primitives")) == dispatched


def test_every_engine_has_a_row_that_says_what_was_run() -> None:
    engines = ["DuckDB", "Postgres", "Spark", "Snowflake", "BigQuery", "Databricks", "Redshift"]
    assert first_cells(section("What was run where")) == engines
