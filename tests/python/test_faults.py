"""Runs that are killed, runs that overlap: nothing is torn, doubled or lost, and the next run ends as a full refresh.

The data grow, are late, corrected and deleted between runs (test_daily.Stream). dbt runs in a process of its own here,
because it is killed. Before a release: EVALHOUSE_KILLS=20 EVALHOUSE_OVERLAPS=10, a quarter of an hour per engine, and
EVALHOUSE_FAULTS_LOG=<file> for one line per trial (docs/faults.md has a record).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import harness
import numpy as np
import pandas as pd
import psycopg2.extras
import pytest
from test_daily import FEW, FEW_METRICS, Stream, variables

KILLS = int(os.environ.get("EVALHOUSE_KILLS", 1))
OVERLAPS = int(os.environ.get("EVALHOUSE_OVERLAPS", 1))
LOG = os.environ.get("EVALHOUSE_FAULTS_LOG")
RUN: dict[str, Any] = {
    "vars": variables(FEW_METRICS, **FEW, inputs=["exposures", "experiments", "outcomes"]),
    "select": [
        "+due_actions",
        "dim_experiments",
        "+experiment_subgroups",
        "+experiment_tradeoffs",
        "+experiment_results_daily",
        "+experiment_health",
        "+input_quality",
        "drift_permutations",
    ],
}
MARTS = sorted(path.stem for path in (harness.ROOT / "models" / "marts").glob("*/*.sql"))
# What scripts/group_sequential.py and scripts/drift.py would have stored, and nothing but they can bring back.
STORED = {
    "group_sequential_boundaries": "values ('obrien_fleming', 0.05, 2, 1, 0.5, 2.96, 0.003, 0.003)",
    "drift_permutations": "values "
    "('inputs', 'text', date '2024-03-01', 'mmd', 0.1, 0.25, 999, false, 50, 50, 9, 9, true, 'of the data', 1)",
}
DOUBLES = """
    select count(*) as n
    from (
        select experiment_id, unit_id, activity_date
        from {}.int_unit_days
        group by experiment_id, unit_id, activity_date
        having count(*) > 1
    ) as doubles
"""
OVERLAP_SECONDS = float(os.environ.get("EVALHOUSE_OVERLAP_SECONDS", 12))
# Why a model failed, or the whole command.
ERROR = re.compile(r"Error in model (\w+) .*\n\s*(.*)|(IO Error: Could not set lock)")
REFUSAL = {"duckdb": "Could not set lock", "postgres": "evalhouse: another dbt run is"}
STARTED = re.compile(r"(\d+) of (\d+) START .*?(\w+) \.*\s")


def record(*cells: Any) -> None:
    if LOG:
        with open(LOG, "a") as file:
            print("|", " | ".join(map(str, cells)), "|", file=file)


def names(found: Iterable[str]) -> str:
    return ", ".join(sorted(found)) or "none"


def fresh_marts(warehouse: harness.Warehouse) -> dict[str, pd.DataFrame]:
    found = relations(warehouse)
    return {name: warehouse.mart(name) for name in MARTS if name in found}


def relations(warehouse: harness.Warehouse) -> set[str]:
    query = "select table_name as name from information_schema.tables where table_schema = '{}'"
    return set(warehouse.sql(query.format(warehouse.mart_schema))["name"])


def leftovers(warehouse: harness.Warehouse) -> set[str]:
    return {name for name in relations(warehouse) if "__dbt_" in name}


def differs(left: pd.DataFrame, right: pd.DataFrame) -> str | None:
    """What differs first: rows in any order, floats to 1e-9, all else exactly."""
    if list(left.columns) != list(right.columns):
        return f"columns {list(left.columns)} and {list(right.columns)}"
    if len(left) != len(right):
        return f"{len(left)} and {len(right)} rows"
    floats = [name for name in left if pd.api.types.is_float_dtype(left[name])]
    exact = [name for name in left if name not in floats]

    def ordered(frame: pd.DataFrame) -> pd.DataFrame:
        texts = frame[exact].astype(object).where(frame[exact].notna(), "").astype(str)
        order = texts.assign(_place=range(len(frame))).sort_values([*exact, "_place"])["_place"]
        return frame.iloc[order].reset_index(drop=True)

    left, right = ordered(left), ordered(right)
    for name in left:
        ours, theirs = left[name], right[name]
        if name in floats:
            wrong = ~np.isclose(ours.astype(float), theirs.astype(float), rtol=1e-9, atol=1e-12, equal_nan=True)
        else:
            wrong = ~((ours == theirs).fillna(False).astype(bool) | (ours.isna() & theirs.isna())).to_numpy()
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            return f"{name}: {ours[place]!r} and {theirs[place]!r} in {left.loc[place, exact[:5]].to_dict()}"
    return None


def differences(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> dict[str, str]:
    found = {name: "is in one of them" for name in left.keys() ^ right.keys()}
    for name in left.keys() & right.keys():
        complaint = differs(left[name], right[name])
        if complaint:
            found[name] = complaint
    return found


class Pair:
    """A warehouse that things happen to, and another that is built anew from the same rows."""

    def __init__(self, engine: str, factory: Callable[..., harness.Warehouse], seed: int) -> None:
        self.engine = engine
        self.rng = np.random.default_rng(seed)
        self.stream = Stream(seed)
        for _ in range(5):
            self.stream.arrive()
        self.grown, self.fresh = factory(engine), factory(engine)
        for warehouse in (self.grown, self.fresh):
            self.stream.load(warehouse)
            warehouse.dbt("run", **RUN)
            for table, rows in STORED.items():
                warehouse.execute(f"insert into {warehouse.mart_schema}.{table} {rows}")
        self.old = fresh_marts(self.fresh)

    def expected(self) -> dict[str, pd.DataFrame]:
        """All marts of the present rows, by a full refresh."""
        self.stream.load(self.fresh)
        self.fresh.dbt("run --full-refresh", **RUN)
        self.old = fresh_marts(self.fresh)
        return self.old

    def run_again(self) -> dict[str, pd.DataFrame]:
        self.grown.dbt("run", **RUN)
        return fresh_marts(self.grown)


@pytest.fixture(scope="module")
def pair(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> Iterator[Pair]:
    made = Pair(engine, warehouse_factory, seed=20240305)
    yield made
    made.grown.close()
    made.fresh.close()


def kill_during(process: subprocess.Popen[str], model: int, seconds: float) -> str:
    """Kills dbt that many seconds after it has started its n-th model; says which that was."""
    assert process.stdout is not None
    name = ""
    for line in process.stdout:
        started = STARTED.search(line)
        if started and int(started[1]) >= model:
            name = f"{started[1]} of {started[2]}, {started[3]}"
            time.sleep(seconds)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    return name


def wait_for_backends(warehouse: harness.Warehouse) -> None:
    """A server notices only at the end of a statement that its client is gone."""
    query = "select count(*) as n from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    while warehouse.engine == "postgres" and warehouse.sql(query)["n"][0]:
        time.sleep(0.1)


def test_a_killed_run_leaves_nothing_half_built(pair: Pair, engine: str) -> None:
    models = len(relations(pair.grown))
    faults: list[str] = []
    for trial in range(1, KILLS + 1):
        old = pair.old
        pair.stream.arrive()
        pair.stream.load(pair.grown)
        process = pair.grown.start_dbt("run", **RUN)
        # Every other one early on, where the rows of units are stored.
        last = models if trial % 2 else models // 2
        model = kill_during(process, int(pair.rng.integers(1, last)), float(pair.rng.uniform(0, 0.4)))
        wait_for_backends(pair.grown)
        killed, half_built = fresh_marts(pair.grown), leftovers(pair.grown)
        new = pair.expected()
        is_old = {name for name in killed if differs(killed[name], old[name]) is None}
        is_new = {name for name in killed if differs(killed[name], new[name]) is None}
        torn = set(old) - is_old - is_new
        wrong = differences(pair.run_again(), new)
        kept = leftovers(pair.grown)
        counts = f"{len(is_new - is_old)} new, {len(is_old - is_new)} old, {len(is_old & is_new)} alike"
        record("kill", engine, trial, model, counts, names(torn), names(half_built), names(wrong), names(kept))
        faults += [f"trial {trial}: torn {name}" for name in torn]
        faults += [f"trial {trial}: {name}: {complaint}" for name, complaint in wrong.items()]
        faults += [f"trial {trial}: {name} is left over" for name in kept]
    assert not faults, "\n".join(faults)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def test_a_second_run_is_refused(pair: Pair, engine: str) -> None:
    """Two runs at once; on a server with new rows between their starts."""
    faults: list[str] = []
    for trial in range(1, OVERLAPS + 1):
        pair.stream.arrive()
        pair.stream.load(pair.grown)
        first = pair.grown.start_dbt("run", **RUN)
        # At once, and somewhere into the first one.
        delay = float(pair.rng.uniform(0, OVERLAP_SECONDS)) if trial % 3 else 0.0
        time.sleep(delay)
        if engine == "postgres":
            pair.stream.arrive()
            replace_rows(pair.grown, pair.stream.tables)
        second = pair.grown.start_dbt("run", **RUN)
        ends = [finish(first), finish(second)]
        codes = [code for code, _ in ends]
        errors = {" ".join(found) for _, text in ends for found in ERROR.findall(text)}
        doubles = int(pair.grown.sql(DOUBLES.format(pair.grown.mart_schema))["n"][0])
        found, new = fresh_marts(pair.grown), pair.expected()
        at_once = differences(found, new)
        wrong = differences(pair.run_again(), new)
        record("overlap", engine, trial, f"{delay:.1f} s", codes, doubles, names(at_once), names(wrong), names(errors))
        if 0 not in codes:
            faults.append(f"trial {trial}: both runs failed: {errors}")
        if any(codes) and not any(REFUSAL[engine] in error for error in errors):
            faults.append(f"trial {trial}: no clear message: {errors}")
        if doubles:
            faults.append(f"trial {trial}: {doubles} rows are stored more than once")
        if not any(codes):
            faults += [f"trial {trial}: at once, {name}: {complaint}" for name, complaint in at_once.items()]
        faults += [f"trial {trial}: {name}: {complaint}" for name, complaint in wrong.items()]
    assert not faults, "\n".join(faults)


def replace_rows(warehouse: harness.Warehouse, tables: dict[str, list[dict[str, Any]]]) -> None:
    """New contents of tables that a run may be reading, as a loader puts them there: in one transaction."""
    with contextlib.closing(psycopg2.connect(warehouse.dsn)) as connection, connection, connection.cursor() as cursor:
        for name, found in tables.items():
            cursor.execute(f"delete from raw.{name}")
            # As the other loader does, to the microsecond.
            rows = [{key: _floor(value) for key, value in row.items()} for row in found]
            columns = ", ".join(rows[0])
            template = "(" + ", ".join(f"%({column})s" for column in rows[0]) + ")"
            psycopg2.extras.execute_values(
                cursor, f"insert into raw.{name} ({columns}) values %s", rows, template, page_size=1000
            )


def _floor(value: Any) -> Any:
    return value.floor("us").to_pydatetime() if isinstance(value, pd.Timestamp) else value


def test_mixed_relations_are_noticed(pair: Pair) -> None:
    """One late row changes neither the newest row nor the time up to which data were read."""
    warehouse, variables = pair.grown, RUN["vars"]
    pair.stream.load(warehouse)
    warehouse.dbt("run", **RUN)
    before = warehouse.mart("dim_experiments")
    late = {**pair.stream.tables["outcomes"][-1], "outcome_id": "late"}
    late["occurred_at"] = late["occurred_at"] - pd.Timedelta(hours=1)
    pair.stream.tables["outcomes"].append(late)
    pair.stream.load(warehouse)
    # As far as a run might have come.
    warehouse.dbt("run", vars=variables, select=["+int_experiments", "dim_experiments"])
    after = warehouse.mart("dim_experiments")
    assert set(before["as_of_at"]) == set(after["as_of_at"])
    assert not set(before["data_state"]) & set(after["data_state"])
    of_marts = {"vars": variables, "select": "marts_are_of_one_run"}
    warehouse.dbt("run", vars=variables, select="due_actions")
    assert warehouse.dbt("test", **of_marts).statuses == {"marts_are_of_one_run": "warn"}
    due = warehouse.mart("due_actions")
    mixed = due[due["cause"] == "mixed_relations"]
    assert set(mixed["experiment_id"]) == {"first", "second"}
    assert set(mixed["action"]) == {"run_again"}
    warehouse.dbt("run", **RUN)
    assert "mixed_relations" not in set(warehouse.mart("due_actions")["cause"])
    assert warehouse.dbt("test", **of_marts).statuses == {"marts_are_of_one_run": "pass"}


def test_rows_later_than_the_lookback_are_counted(engine: str, warehouse_factory: Callable[..., Any]) -> None:
    """They are in no result by day, whether or not the source tells when rows were loaded, until a full refresh.

    Another definition makes units anew: of all exposures that there are, and of the outcomes that are kept.
    """
    warehouse = warehouse_factory(engine)
    stream = Stream(seed=20240308)
    for _ in range(8):
        stream.arrive()
    definitions = {**RUN["vars"], "metrics": [{**RUN["vars"]["metrics"][0], "window_hours": 30}]}
    entered = f"select count(*) from {warehouse.mart_schema}.int_unit_baselines where unit_id = 'late'"

    def late(command: str = "run", variables: dict[str, Any] = RUN["vars"]) -> dict[str, int]:
        stream.load(warehouse)
        warehouse.dbt(command, vars=variables, select=["+input_quality", "+int_unit_days"])
        rows = warehouse.mart("input_quality").query("rule == 'later_than_lookback'")
        return dict(zip(rows["input_name"], rows["rows_dropped"], strict=True))

    def add(table: str, time: str, days_ago: float, **changes: Any) -> None:
        row = {**stream.tables[table][-1], time: stream.clock - pd.Timedelta(days=days_ago), **changes}
        stream.tables[table].append(row)

    assert late() == {"exposures": 0, "outcomes": 0}
    for number, days_ago in enumerate((1.0, 2.0, 4.5, 6.0, 6.0)):
        add("outcomes", "occurred_at", days_ago, outcome_id=f"late {number}")
    add("exposures", "exposed_at", 1.5, unit_id="late, in time")
    add("exposures", "exposed_at", 5.0, unit_id="late")
    add("exposures", "exposed_at", 5.0, unit_id="late")
    assert late() == {"exposures": 1, "outcomes": 3}
    stream.arrive()
    assert late() == {"exposures": 1, "outcomes": 3}
    assert warehouse.sql(entered).iloc[0, 0] == 0
    # Nobody has read another day of an experiment that is new.
    for number in range(3):
        add("exposures", "exposed_at", 6.0, unit_id=f"old {number}", experiment_id="third")
    assert late() == {"exposures": 1, "outcomes": 3}
    assert late(variables=definitions) == {"exposures": 0, "outcomes": 3}
    assert warehouse.sql(entered).iloc[0, 0] == 1
    assert late("run --full-refresh") == {"exposures": 0, "outcomes": 0}
    warehouse.close()


# What the gate goes by, one at a time.


@contextlib.contextmanager
def statement_of_a_run(warehouse: harness.Warehouse, statement: str) -> Iterator[None]:
    """A session in a transaction, which has just done what a run does, and is then gone."""
    with contextlib.closing(psycopg2.connect(warehouse.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        yield


def of_dbt(node: str, schema: str) -> str:
    return f'/* {{"app": "dbt", "node_id": "{node}"}} */ create table "evalhouse"."{schema}"."made" as select 1 as one'


def pass_gate(warehouse: harness.Warehouse) -> harness.DbtResult:
    return warehouse.dbt("run", vars=RUN["vars"], select="run_gate", with_gate=True, expect_success=None)


@pytest.mark.parametrize(
    ("node", "schema", "is_refused"),
    [
        ("model.evalhouse.int_outcomes", "public_evalhouse", True),
        ("model.evalhouse.int_outcomes", "other_evalhouse", False),
        ("model.shop.int_outcomes", "public_evalhouse", False),
        ("test.evalhouse.grain_is_unique", "public_evalhouse", False),
    ],
)
def test_the_gate_knows_another_run_of_ours(gate: harness.Warehouse, node: str, schema: str, is_refused: bool) -> None:
    gate._activate()
    gate.execute(f'create schema if not exists "{schema}"')
    with statement_of_a_run(gate, of_dbt(node, schema)):
        outcome = pass_gate(gate)
    assert outcome.success is not is_refused, outcome.error
    assert ("another dbt run is building int_outcomes in schema public_evalhouse" in outcome.error) is is_refused


def test_the_gate_lets_one_run_in_at_a_time(gate: harness.Warehouse) -> None:
    gate._activate()
    lock = "select pg_advisory_xact_lock(hashtext('evalhouse.run_gate.public_evalhouse'))"
    with statement_of_a_run(gate, lock):
        outcome = pass_gate(gate)
    assert "another dbt run is starting in schema public_evalhouse" in outcome.error
    assert pass_gate(gate).success


@pytest.fixture(scope="module")
def gate(warehouse_factory: Callable[..., harness.Warehouse]) -> Iterator[harness.Warehouse]:
    made = warehouse_factory("postgres")
    yield made
    made.close()
