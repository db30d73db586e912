"""The benchmark as an instrument: its data are what they are said to be, its plan by hand is right, and a difference
between two results does not go unseen. What it measures is not tested here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import scripts_runner

import _bench_data as data  # isort: skip - found once scripts_runner has said where
import _bench_job as job  # isort: skip
import _bench_run as run  # isort: skip
import _bench_suites as suites  # isort: skip

ROOT = scripts_runner.SCRIPTS.parent
SCALE = 0.001


def generated(threads: int = 2, **options: object) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": threads})
    data.generate(connection, options.pop("scale", SCALE), **options)
    return connection


@pytest.fixture(scope="module")
def raw() -> Iterator[duckdb.DuckDBPyConnection]:
    with generated() as connection:
        yield connection


def one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple:
    return connection.execute(query).fetchone()


def fingerprint(connection: duckdb.DuckDBPyConnection, query: str) -> tuple:
    return one(connection, f"select count(*), bit_xor(hash(t)), sum(hash(t) % 1000003) from ({query}) as t")


@pytest.mark.parametrize("table", data.TABLES)
def test_the_same_rows_for_any_number_of_threads(raw: duckdb.DuckDBPyConnection, table: str) -> None:
    with generated(threads=1) as other:
        assert fingerprint(raw, f"from raw.{table}") == fingerprint(other, f"from raw.{table}")


def test_scale_1_is_five_million_units_and_their_rows(raw: duckdb.DuckDBPyConnection) -> None:
    counts = {table: one(raw, f"select count(*) from raw.{table}")[0] / SCALE for table in data.TABLES}
    assert counts["exposures"] == pytest.approx(26e6, rel=0.02)
    assert counts["outcomes"] == pytest.approx(50.5e6, rel=0.01)
    assert counts["traces"] == pytest.approx(20e6, rel=0.01)
    assert one(raw, "select count(distinct outcome_id) from raw.outcomes")[0] / SCALE == pytest.approx(50e6, rel=1e-3)
    spans = {"exposures": ("exposed_at", 0), "outcomes": ("occurred_at", -28), "traces": ("started_at", 0)}
    for table, (column, first) in spans.items():
        low, high, days = one(
            raw, f"select min({column}), max({column}), count(distinct {column}::date) from raw.{table}"
        )
        assert (str(low.date()), str(high.date())) == (data.day(first), data.day(27))
        assert days == 28 - first


def test_empty_tables_have_the_same_columns(raw: duckdb.DuckDBPyConnection) -> None:
    with generated(scale=0) as empty:
        for table in data.TABLES:
            assert one(empty, f"select count(*) from raw.{table}") == (0,)
            columns = f"select column_name, column_type from (describe raw.{table})"
            assert empty.execute(columns).fetchall() == raw.execute(columns).fetchall()


def test_splits_are_even_but_for_the_fifth_and_some_units_see_both_arms() -> None:
    with generated(scale=0.01, tables=("exposures",)) as connection:
        rows = connection.execute(
            """
            select experiment_id, avg((variation_id = 'control')::int), avg((arms > 1)::int)
            from (
                select experiment_id, unit_id, arg_min(variation_id, exposed_at) as variation_id,
                    count(distinct variation_id) as arms
                from raw.exposures group by all
            )
            group by all
            """
        ).fetchall()
    assert len(rows) == 5
    for experiment, control, both in rows:
        # 40,000 units: a standard error is a quarter of a point.
        assert control == pytest.approx(0.52 if experiment == "experiment_5" else 0.5, abs=0.01)
        # One in four has a second exposure, of which 4 in 1,000 are in the other arm.
        assert 0.0005 < both < 0.0015


def test_the_first_experiment_and_no_other_moves_values(raw: duckdb.DuckDBPyConnection) -> None:
    for macro in data.MACROS:
        raw.execute(macro)
    # What is left of a value without what it was drawn from.
    rows = raw.execute(
        """
        with first_arms as (
            select unit_id, arg_min(variation_id, exposed_at) as variation_id
            from raw.exposures where experiment_id = 'experiment_1' group by all
        ),

        remainders as (
            select
                ln(value) - 3 - 0.6 * normal(substr(unit_id, 6)::bigint, 16)
                - 0.7 * normal(substr(outcome_id, 7)::bigint, 13) as remainder,
                occurred_at >= timestamp '2024-03-01' and coalesce(variation_id = 'treatment', false) as is_treated
            from raw.outcomes left join first_arms using (unit_id)
        )

        select is_treated, count(*), median(remainder) from remainders group by all order by all
        """
    ).fetchall()
    (_, others, without), (_, treated, lift) = rows
    assert others > treated > 5_000
    assert without == pytest.approx(0, abs=1e-4)
    assert lift == pytest.approx(0.02, abs=1e-4)


def test_traces_drift_in_the_second_half_where_they_are_said_to(raw: duckdb.DuckDBPyConnection) -> None:
    def halves(value: str) -> tuple[float, float]:
        late = f"started_at >= '{data.day(14)}'"
        query = f"avg({value}) filter (where not {late}), avg({value}) filter (where {late})"
        return one(raw, f"select {query} from raw.traces")

    before, after = halves("ln(latency_ms)")
    assert after - before == pytest.approx(np.log(1.15), abs=0.04)
    assert halves("(model_version = 'v3')::int") == (pytest.approx(0.02, abs=0.01), pytest.approx(0.35, abs=0.02))
    assert halves("(country = 'US')::int") == (pytest.approx(0.42, abs=0.02), pytest.approx(0.34, abs=0.02))
    assert halves("(device = 'mobile')::int") == (pytest.approx(0.52, abs=0.02), pytest.approx(0.52, abs=0.02))
    sessions = "select session_id from raw.traces group by all having count(*) <> 4 or count(distinct unit_id) > 1"
    assert raw.execute(sessions).fetchall() == []


def test_a_longer_history_begins_with_the_shorter_one(raw: duckdb.DuckDBPyConnection) -> None:
    with generated(days=60, tables=("outcomes",)) as longer:
        days = one(longer, "select count(distinct occurred_at::date) from raw.outcomes")
        same = fingerprint(longer, f"from raw.outcomes where occurred_at < '{data.day(28)}'")
    assert days == (88,)
    assert same == fingerprint(raw, "from raw.outcomes")


def test_more_experiments_are_the_five_at_other_hours(raw: duckdb.DuckDBPyConnection) -> None:
    with generated(experiments=20, tables=("exposures",)) as more:
        five = "regexp_extract(experiment_id, '[0-9]+')::int <= 5"
        assert fingerprint(more, f"from raw.exposures where {five}") == fingerprint(raw, "from raw.exposures")
        assert one(more, "select count(distinct experiment_id), count(*) from raw.exposures") == (
            20,
            4 * one(raw, "select count(*) from raw.exposures")[0],
        )
        moved, last = one(
            more,
            """
            select avg((copy.exposed_at <> base.exposed_at)::int), max(copy.exposed_at)
            from (select unit_id, min(exposed_at) as exposed_at from raw.exposures
                where experiment_id = 'experiment_1' group by all) as base
            join (select unit_id, min(exposed_at) as exposed_at from raw.exposures
                where experiment_id = 'experiment_16' group by all) as copy using (unit_id)
            """,
        )
    assert moved > 0.95
    assert str(last.date()) <= data.day(27)
    with pytest.raises(ValueError, match="groups of 5"), duckdb.connect() as connection:
        data.generate(connection, SCALE, experiments=7)


def test_a_day_that_is_held_back_comes_with_late_and_corrected_rows() -> None:
    columns = "unit_id, event_name, occurred_at, value, outcome_id"
    with generated(days=29, tables=("outcomes",)) as whole, generated(days=28, hold_back=True) as parts:
        cut = data.day(28)
        for table, column in (("exposures", "exposed_at"), ("outcomes", "occurred_at"), ("traces", "started_at")):
            assert one(parts, f"select count(*) from raw.{table} where {column} >= '{cut}'") == (0,)
            assert one(parts, f"select count(*) from held_back.{table} where {column} >= '{cut}'")[0] > 0
        late, corrected = one(
            parts,
            f"""
            select
                count(*) filter (where other.outcome_id is null),
                count(*) filter (where other.outcome_id is not null)
            from (select distinct outcome_id from held_back.outcomes where occurred_at < '{cut}') as mine
            left join (select distinct outcome_id from raw.outcomes) as other using (outcome_id)
            """,
        )
        assert late > 0 and corrected > 0
        before = one(parts, "select count(*) from raw.outcomes")[0]
        added = data.add_held_back_day(parts)
        assert one(parts, "select count(*) from raw.outcomes")[0] == before + added["outcomes"]
        assert parts.execute("from duckdb_tables() where schema_name = 'held_back'").fetchall() == []
        # The first version of each outcome: what there is without anything held back.
        first = f"""
            select {columns} from raw.outcomes
            qualify rank() over (partition by outcome_id order by loaded_at) = 1
        """
        assert fingerprint(parts, first) == fingerprint(whole, f"select {columns} from raw.outcomes")
        changed = one(
            parts,
            """
            select count(distinct outcome_id), min(ratio), max(ratio) from (
                select outcome_id, max(value) / min(value) as ratio, max(loaded_at) - min(loaded_at) as delay
                from raw.outcomes group by all having delay > interval 1 hour
            )
            """,
        )
        assert changed == (corrected, pytest.approx(1.5, abs=0.01), pytest.approx(1.5, abs=0.01))


def test_the_plan_by_hand_finds_what_pandas_finds(raw: duckdb.DuckDBPyConnection) -> None:
    plan = raw.execute((ROOT / "bench" / "reference_contract.sql").read_text()).df()
    plan = plan.set_index(["experiment_id", "variation_id"])
    exposures = raw.sql("from raw.exposures").df()
    outcomes = raw.sql("from raw.outcomes").df().drop_duplicates("outcome_id")
    units = exposures.groupby(["experiment_id", "unit_id"], as_index=False).agg(
        exposed_at=("exposed_at", "min"), variation_id=("variation_id", "min"), arms=("variation_id", "nunique")
    )
    units = units[units.arms == 1]
    assert len(units) < exposures.groupby(["experiment_id", "unit_id"]).ngroups
    events = units.merge(outcomes, on="unit_id")
    events = events[events.occurred_at >= events.exposed_at - pd.Timedelta(days=28)]
    side = np.where(events.occurred_at >= events.exposed_at, "y", "x")
    for name, (event, _, value) in job.MEANS.items():
        events[name] = (events.event_name == event) * (events[value] if value else 1.0)
    sums = events.assign(side=side).pivot_table(
        index=["experiment_id", "unit_id"], columns="side", values=list(job.MEANS), aggfunc="sum"
    )
    sums.columns = [f"{part}_{name}" for name, part in sums.columns]
    table = units.merge(sums.reset_index(), how="left", on=["experiment_id", "unit_id"]).fillna(0.0)
    for experiment, rows in table.groupby("experiment_id"):
        arms = {arm: plan.loc[(experiment, arm)].to_dict() for arm in ("control", "treatment")}
        treated = (rows.variation_id == "treatment").to_numpy()
        assert (arms["treatment"]["units"], arms["control"]["units"]) == (treated.sum(), (~treated).sum())
        for name in job.MEANS:
            x, y = rows[f"x_{name}"].to_numpy(), rows[f"y_{name}"].to_numpy()
            adjusted = y - np.cov(x, y)[0, 1] / np.var(x, ddof=1) * x
            expected = adjusted[treated].mean() - adjusted[~treated].mean()
            assert job.expected_effect(name, arms["control"], arms["treatment"]) == pytest.approx(expected, rel=1e-9)
        for name, (above, below) in job.RATIOS.items():
            groups = [rows[treated], rows[~treated]]
            first, second = (group[f"y_{above}"].sum() / group[f"y_{below}"].sum() for group in groups)
            found = job.expected_effect(name, arms["control"], arms["treatment"])
            assert found == pytest.approx(first - second, rel=1e-9)
            product = {"regenerations_per_message": "repeats_messages", "revenue_per_click": "revenue_clicks"}[name]
            expected = (rows[f"y_{above}"] * rows[f"y_{below}"])[treated].sum()
            assert arms["treatment"][product] == pytest.approx(expected, rel=1e-9)


ROWS = "from (values ('a', 1, 1.5::double), ('b', null, null), ('b', null, 3)) as rows (name, number, value)"


@pytest.mark.parametrize(
    ("other", "gap", "lost"),
    [
        ("select * from one order by value desc", 0, 0),
        ("select * replace (value + 3e-7 as value) from one", 2e-7, 0),
        ("select * replace (coalesce(value, 0) as value) from one", np.inf, 0),
        ("select * replace ('infinity'::double as value) from one", np.inf, 0),
        ("select * replace (case when number = 1 then 2 else number end as number) from one", 0, 2),
        ("select * from one where name = 'a'", 0, 2),
        ("select * from one union all from one", np.inf, 3),
    ],
)
def test_differences_of_two_tables_are_seen(other: str, gap: float, lost: int) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"create table one as {ROWS}; create table other as {other}")
        found = job.largest_difference(connection, "one", "other")
        assert found == (pytest.approx(gap, rel=0.25), lost)


def test_effects_that_differ_or_are_missing_stop_the_benchmark(tmp_path: Path) -> None:
    database = tmp_path / "compared.duckdb"
    names = [*job.MEANS, *job.RATIOS]
    with generated(tables=("exposures", "outcomes")) as connection:
        connection.execute(f"attach '{database}' as kept")
        plan = (ROOT / "bench" / "reference_contract.sql").read_text()
        connection.execute(f"create table kept.reference as {plan}")
        arms = connection.sql("from kept.reference").df().set_index(["experiment_id", "variation_id"])
        rows = []
        for experiment in sorted(set(arms.index.get_level_values(0))):
            control, treatment = (arms.loc[(experiment, arm)].to_dict() for arm in ("control", "treatment"))
            for name in names:
                effect = job.expected_effect(name, control, treatment)
                rows.append((experiment, name, control["units"], treatment["units"], effect))
        columns = ["experiment_id", "metric_name", "units_control", "units_treatment", "effect_absolute"]
        connection.register("effects", pd.DataFrame(rows, columns=columns))
        connection.execute(f"create schema kept.{run.SCHEMA}")
        connection.execute(
            f"create table kept.{run.SCHEMA}.experiment_results as"
            " select *, 0.1::double as se_absolute, 'all' as dimension_name, 'ok' as status from effects"
        )
        connection.execute("detach kept")
    peer = [{"experiment_id": e, "metric_name": m, "effect": effect} for e, m, _, _, effect in rows]
    assert job.compare(database, 5, peer) == {"effects": 50, "reference": 0.0, "peer": 0.0}

    def change(statement: str) -> None:
        with duckdb.connect(str(database)) as connection:
            connection.execute(f"begin; update {run.SCHEMA}.experiment_results set {statement}; commit")

    with pytest.raises(run.Failed, match="the peer"):
        job.compare(database, 5, [*peer[:-1], {**peer[-1], "effect": peer[-1]["effect"] + 0.01}])
    change("effect_absolute = effect_absolute + 1e-5 where metric_name = 'clicks' and experiment_id = 'experiment_3'")
    with pytest.raises(run.Failed, match="the reference"):
        job.compare(database, 5)
    change("units_control = units_control - 1 where metric_name = 'clicks' and experiment_id = 'experiment_4'")
    with pytest.raises(run.Failed, match="units of clicks in experiment_4"):
        job.compare(database, 5)
    change("status = 'refused' where metric_name = 'revenue' and experiment_id = 'experiment_1'")
    with pytest.raises(run.Failed, match="49 effects"):
        job.compare(database, 5)


def test_a_process_is_measured_with_what_it_started(tmp_path: Path) -> None:
    work = "import time; x = bytearray(400_000_000); t = time.process_time()\nwhile time.process_time() < t + 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])\nprint('done')"
    usage, output = run.measure([sys.executable, "-c", code])
    assert output == "done\n"
    assert usage["cpu"] > 0.3 and usage["wall"] > 0.3 and usage["memory_mb"] > 400
    spilled = f"import time; open(r'{tmp_path}/file', 'wb').write(bytes(5_000_000)); time.sleep(0.5)"
    assert run.measure([sys.executable, "-c", spilled], spill=tmp_path)[0]["spill_mb"] == 5
    with pytest.raises(run.Failed, match="exit code 3") as caught:
        run.measure([sys.executable, "-c", "raise SystemExit(3)"])
    assert caught.value.usage["cpu"] > 0


def test_what_other_programs_take_is_told_from_our_own_work() -> None:
    own = run.Bystanders()
    burn = "import time; t = time.process_time()\nwhile time.process_time() < t + 0.5: pass"
    run.measure([sys.executable, "-c", burn])
    mine = own.share()
    others = run.Bystanders()
    with subprocess.Popen(
        [sys.executable, "-c", f"{burn}\nimport sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as busy:
        time.sleep(1.5)
        # Not waited for yet: somebody else's.
        theirs = others.share()
        busy.stdin.close()
    if sys.platform == "linux":
        assert 0 <= mine <= 1 and 0.5 / (1.5 * 2 * os.cpu_count()) < theirs <= 1


def test_settings_reach_the_profile_and_the_command_line_goes_first(tmp_path: Path) -> None:
    engine = suites.engine(tmp_path, {"memory_limit": "2GB", "threads": None}, "memory", memory_limit="4GB", threads=1)
    assert (engine.settings["memory_limit"], engine.settings["threads"]) == ("2GB", 1)
    assert engine.settings["TimeZone"] == "UTC"
    assert "memory_limit: 2GB" in (tmp_path / "memory" / "profiles.yml").read_text()


def test_data_that_were_kept_serve_again_if_they_are_of_the_same_making(tmp_path: Path) -> None:
    engine = run.Engine(tmp_path)
    path, rows = engine.generate("made", "--scale", "0.0001", "--tables", "exposures")
    with duckdb.connect(str(path)) as connection:
        assert one(connection, "select count(*) from raw.exposures") == (rows["exposures"],)
        connection.execute("create table mark (x int)")
    assert engine.generate("made", "--scale", "0.0001", "--tables", "exposures") == (path, rows)
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("from mark").fetchall() == []
    _, other = engine.generate("made", "--scale", "0.0002", "--tables", "exposures")
    assert other["exposures"] > 1.5 * rows["exposures"]
    with duckdb.connect(str(path), read_only=True) as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("from mark")


def test_models_that_were_not_built_are_named(tmp_path: Path) -> None:
    kinds = {"a": "table", "b": "table", "c": "ephemeral", "d": "view"}
    nodes = {
        f"model.evalhouse.{name}": {"name": name, "resource_type": "model", "config": {"materialized": kind}}
        for name, kind in kinds.items()
    }
    nodes["test.evalhouse.t"] = {"name": "t", "resource_type": "test", "config": {"materialized": "test"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    assert run.unfinished(tmp_path) == ["a", "b", "d"]
    results = [{"unique_id": "model.evalhouse.a", "status": "success"}]
    results += [{"unique_id": "model.evalhouse.b", "status": "error"}]
    (tmp_path / "run_results.json").write_text(json.dumps({"results": results}))
    assert run.unfinished(tmp_path) == ["b", "d"]


def test_noise_is_not_a_ratio() -> None:
    fixed, run_ = {"wall": 5.0}, {"wall": 8.0}
    assert suites.share(run_, fixed, 2.0) == 1.5
    assert suites.share(fixed, run_, 2.0) is None
    assert suites.share(run_, fixed, -2.0) is None


@pytest.mark.parametrize(("value", "is_met"), [(1.5, True), (1.51, False), (None, False)])
def test_a_target_is_met_or_not(value: float | None, is_met: bool) -> None:
    assert suites.Line("full", "job", {}, value, 1.5).is_met is is_met
    assert suites.Line("full", "job", {}, value).is_met is None
