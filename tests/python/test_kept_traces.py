"""What is kept of traces from run to run: an incremental run gives what a full refresh does, however rows arrive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import harness
import numpy as np
import pandas as pd
import pytest

START = pd.Timestamp("2024-03-04 00:00:00")
SECOND = pd.Timedelta(seconds=1)
DAY = pd.Timedelta(days=1)
LOOKBACK = 3
TRACE_TYPES = {"session_id": "text", "input_text": "text", "latency_ms": "double precision", "loaded_at": "timestamp"}
OUTCOME_TYPES = {"session_id": "text", "trace_id": "text", "value": "double precision", "loaded_at": "timestamp"}
TEXTS = [
    "how do I pay my invoice by card",
    "How do I  pay my invoice by card",
    "how do I pay my invoices by card",
    "where is my order",
    "thanks",
    None,
]
EVENTS = ["rating", "copy", "thumbs_up", "thumbs_down", "regenerate", "stop", "escalation", "human_override"]
EVENTS += ["page_view"]
MARTS = {
    "turns": ["trace_id"],
    "sessions": ["session_id"],
    "implicit_signals_daily": ["signal_date", "model_version", "dimension_name", "dimension_value", "signal_name"],
    "trace_quality_daily": ["trace_date", "model_version", "dimension_name", "dimension_value"],
    "failure_modes": ["failure_date", "model_version", "failure_mode", "dimension_name", "dimension_value"],
    "failure_cases": ["trace_id"],
    "experiment_results": ["metric_name", "variation_id", "dimension_name", "dimension_value"],
}
# Rows with a definition are marks: what a run knows about the days it has replaced.
KEPT = {
    "int_traces": ["trace_id"],
    "int_turn_pairs": ["trace_id"],
    "int_session_turns": ["trace_id"],
    "int_turn_signals": ["trace_id"],
    "int_unit_turn_days": ["turn_date", "model_version", "country", "unit_id"],
    "int_latency_ranks": ["slice_number", "metric_value"],
    "int_failure_overlaps": ["turn_date", "model_version", "dimension_name", "dimension_value", "days_between"],
}
SELECTION = [f"+{name}" for name in MARTS] + ["input_quality"]
EXPOSURES = pd.DataFrame({"unit_id": [f"u{number}" for number in range(30)]}).assign(
    experiment_id="e", variation_id=["control", "treatment"] * 15, exposed_at=START + DAY
)


def configuration(**keys: Any) -> dict[str, Any]:
    turns = {"fact": "turns", "type": "mean", "aggregate": "count"}
    return {
        "inputs": ["exposures", "outcomes", "traces"],
        "metrics": [
            {"name": "turns", **turns},
            {"name": "rephrased", **turns, "where": "is_rephrased"},
            {"name": "copied", **turns, "where": "is_copied"},
            {"name": "sessions", **turns, "fact": "sessions"},
        ],
        "dimensions": ["country"],
        "analysis": {"lookback_days": LOOKBACK},
        **keys,
    }


class Log:
    """Traces and outcomes of thirty units that grow from arrival to arrival."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.clock = START
        self.traces: dict[str, dict[str, Any]] = {}
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.number = 0
        self.log: list[str] = []

    def reaches_from(self, rows: dict[str, dict[str, Any]], time: str) -> pd.Timestamp:
        newest = max((row[time] for row in rows.values()), default=START)
        return newest.floor("D") - LOOKBACK * DAY

    def session(self, start: pd.Timestamp, end: pd.Timestamp, unit: str, session_id: str | None) -> None:
        clock = start
        for _ in range(self.rng.integers(1, 5)):
            if clock >= end:
                return
            self.number += 1
            latency = float(self.rng.integers(1, 40)) * 500
            self.traces[f"t{self.number}"] = {
                "trace_id": f"t{self.number}",
                "unit_id": unit if self.rng.random() < 0.95 else f"u{self.rng.integers(30)}",
                "session_id": session_id,
                "started_at": clock,
                "latency_ms": latency if self.rng.random() < 0.9 else None,
                "output_chars": float(self.rng.choice([0, 40, 900], p=[0.1, 0.5, 0.4])),
                "input_text": self.rng.choice(TEXTS),
                "status": self.rng.choice(["ok", "error", "timeout"], p=[0.8, 0.1, 0.1]),
                "model_version": f"m{self.rng.integers(2)}",
                "country": self.rng.choice(["DE", "FR"]),
                "loaded_at": self.clock,
            }
            gap = float(self.rng.choice([5, 60, 119, 200, 299, 301, 1700, 1900, 9000, 70_000]))
            clock += (latency / 1000 + gap) * SECOND

    def event(self, trace: dict[str, Any], at: pd.Timestamp) -> None:
        self.number += 1
        kind = self.rng.random()
        self.outcomes[f"o{self.number}"] = {
            "outcome_id": f"o{self.number}",
            "unit_id": trace["unit_id"],
            "event_name": str(self.rng.choice(EVENTS)),
            "occurred_at": at,
            "trace_id": trace["trace_id"] if kind < 0.4 else None,
            "session_id": trace["session_id"] if 0.3 < kind < 0.7 else "unlogged" if kind > 0.95 else None,
            "value": float(self.rng.integers(1, 6)),
            "loaded_at": self.clock,
        }

    def arrive(self) -> None:
        since = {
            "traces": self.reaches_from(self.traces, "started_at"),
            "outcomes": self.reaches_from(self.outcomes, "occurred_at"),
        }
        began, self.clock = self.clock, self.clock + float(self.rng.uniform(0.3, 1.6)) * DAY
        span = self.clock - began
        if self.rng.random() < 0.9:
            for _ in range(25):
                named = f"s{self.number}" if self.rng.random() < 0.5 else None
                self.session(began + self.rng.random() * span, self.clock, f"u{self.rng.integers(30)}", named)
            self.log.append("traces")
        old = [row for row in self.traces.values() if row["session_id"]]
        for _ in range(3):
            row = old[self.rng.integers(len(old))] if old else None
            if row:
                # Somebody goes on with a conversation of long ago.
                self.session(began + self.rng.random() * span, self.clock, row["unit_id"], row["session_id"])
        if self.rng.random() < 0.2:
            # A session that events have named before.
            self.session(began + self.rng.random() * span, self.clock, f"u{self.rng.integers(30)}", "unlogged")
        late_from = max(since["traces"], START)
        for _ in range(4):
            named = f"s{self.number}" if self.rng.random() < 0.5 else None
            self.session(late_from + self.rng.random() * (began - late_from), began, f"u{self.rng.integers(30)}", named)
        recent = [row for row in self.traces.values() if row["started_at"] >= since["traces"]]
        if recent and (self.rng.random() < 0.8 or not self.outcomes):
            for _ in range(40):
                trace = recent[self.rng.integers(len(recent))]
                at = trace["started_at"] + float(self.rng.choice([-30, 0, 3, 40, 1000, 2500, 30_000, 90_000])) * SECOND
                if since["outcomes"] <= at < self.clock:
                    self.event(trace, at)
            self.log.append("outcomes")
        for row in recent:
            chance = self.rng.random()
            if chance < 0.02:
                del self.traces[row["trace_id"]]
            elif chance < 0.08:
                changes = [
                    {"input_text": self.rng.choice(TEXTS)},
                    {"status": "error"},
                    {"latency_ms": 777.0},
                    {"unit_id": f"u{self.rng.integers(30)}"},
                    {"session_id": None},
                    {"country": "FR"},
                    {"started_at": max(since["traces"], row["started_at"] - 40_000 * SECOND)},
                ]
                row.update(changes[self.rng.integers(len(changes))], loaded_at=self.clock)
        for row in list(self.outcomes.values()):
            if row["occurred_at"] >= since["outcomes"] and self.rng.random() < 0.05:
                row.update(event_name=str(self.rng.choice(EVENTS)), loaded_at=self.clock)

    def load(self, warehouse: harness.Warehouse) -> None:
        warehouse.load("exposures", EXPOSURES)
        for name, rows, types in (
            ("traces", self.traces, TRACE_TYPES),
            ("outcomes", self.outcomes, OUTCOME_TYPES),
        ):
            shuffled = pd.DataFrame(list(rows.values())).sample(frac=1, random_state=self.number)
            warehouse.load(name, shuffled, types={key: kind for key, kind in types.items() if key in shuffled})


def state(warehouse: harness.Warehouse) -> dict[str, pd.DataFrame]:
    found = {name: warehouse.mart(name) for name in MARTS}
    for name in KEPT:
        rows = warehouse.mart(name)
        found[name] = rows[rows["definition_hash"].isna()]
    return found


def assert_same(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> None:
    for name, key in {**KEPT, **MARTS}.items():
        # A column that is no longer wanted stays, and is empty.
        assert set(left[name].columns) >= set(right[name].columns), name
        if name == "int_unit_turn_days" and "status" in right[name]:
            key = [*key, "status"]
        one, other = (
            frames[name].drop(columns="data_state", errors="ignore").sort_values(key).reset_index(drop=True)
            for frames in (left, right)
        )
        assert len(other) > 0, name
        one = one[list(other.columns)]
        pd.testing.assert_frame_equal(one, other, check_dtype=False, rtol=1e-9, atol=1e-9, obj=name)


def assert_as_fresh(
    grown: harness.Warehouse, log: Log, warehouse_factory: Callable[..., harness.Warehouse], **keys: Any
) -> None:
    fresh = warehouse_factory(grown.engine)
    log.load(fresh)
    fresh.dbt("run", vars=configuration(**keys), select=SELECTION)
    assert_same(state(grown), state(fresh))
    fresh.close()


@pytest.mark.parametrize("seed", range(int(os.environ.get("EVALHOUSE_TRACE_LOGS", 1))))
def test_incremental_is_full_refresh(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse], seed: int
) -> None:
    log = Log(seed)
    grown = warehouse_factory(engine)
    for number in range(1, 9):
        log.arrive()
        if number == 1:
            # Something of everything before the first run.
            log.arrive()
        log.load(grown)
        # Some runs are cut short, or leave a model out; a later one makes up for it.
        fate = log.rng.random()
        if fate < 0.2:
            grown.dbt("run", vars=configuration(), select=["+int_turn_pairs", "+int_unit_turn_days"])
        elif fate < 0.45 and number > 1:
            # What comes after the model may fail, since it does not fit together.
            left_out = log.rng.choice(list(KEPT))
            grown.dbt(f"run --exclude {left_out}", vars=configuration(), select=SELECTION, expect_success=None)
        else:
            grown.dbt("run", vars=configuration(), select=SELECTION)
        if number % 4 == 0:
            if fate < 0.45:
                grown.dbt("run", vars=configuration(), select=SELECTION)
            assert_as_fresh(grown, log, warehouse_factory)
    grown.close()


def world(seed: int = 20240304, arrivals: int = 6) -> Log:
    log = Log(seed)
    for _ in range(arrivals):
        log.arrive()
    return log


def without(log: Log, name: str, condition: Callable[[dict[str, Any]], bool]) -> None:
    rows = getattr(log, name)
    setattr(log, name, {key: row for key, row in rows.items() if not condition(row)})


@pytest.mark.parametrize(
    "case",
    [
        "as_of_goes_back_and_forth",
        "windows_are_others",
        "a_pause_ends_a_session_sooner",
        "the_lookback_grows",
        "texts_are_logged_at_last",
        "a_day_loses_its_turns",
        "outcomes_come_back",
        "texts_are_compared_otherwise",
        "another_table",
        "dimensions_are_others",
        "a_dimension_goes",
        "traces_are_read_anew_alone",
    ],
)
def test_what_a_run_has_to_notice(engine: str, warehouse_factory: Callable[..., harness.Warehouse], case: str) -> None:
    """Afterwards every table is what a first run would have made of it."""
    log, grown = world(), warehouse_factory(engine)
    newest = max(row["started_at"] for row in log.traces.values()).floor("D")
    before: dict[str, Any] = {}
    after: list[dict[str, Any]] = [{}]

    def later() -> None:
        pass

    if case == "as_of_goes_back_and_forth":
        after = [{"analysis": {"lookback_days": LOOKBACK, "as_of": str(START + 2.6 * DAY)}}, {}]
    elif case == "windows_are_others":
        after = [{"signals": {"abandonment_minutes": 4, "follow_up_window_seconds": 86400}}]
    elif case == "a_pause_ends_a_session_sooner":
        after = [{"signals": {"session_gap_minutes": 4}}]
    elif case == "the_lookback_grows":
        before = {"analysis": {"lookback_days": 0}}
        after = [{"analysis": {"lookback_days": 4}}]

        def later() -> None:
            for row in log.traces.values():
                if row["started_at"] >= newest - 3 * DAY:
                    row.update(status="timeout", latency_ms=5.0)
    elif case == "texts_are_logged_at_last":
        texts = {key: row.pop("input_text") for key, row in log.traces.items()}

        def later() -> None:
            for key, row in log.traces.items():
                row["input_text"] = texts[key]
    elif case == "a_day_loses_its_turns":

        def later() -> None:
            without(log, "traces", lambda row: row["started_at"].floor("D") == newest - DAY)
    elif case == "outcomes_come_back":
        outcomes = log.outcomes
        stopped = max(row["occurred_at"] for row in outcomes.values()) - 3 * DAY
        without(log, "outcomes", lambda row: row["occurred_at"] > stopped)

        def later() -> None:
            log.outcomes = outcomes
    elif case == "texts_are_compared_otherwise":
        before = {"signals": {"rephrase_weights": "raw.weights"}}
        after = [before]
        grown.load("weights", pd.DataFrame({"name": ["threshold"], "value": [0.99999]}))

        def later() -> None:
            grown.load("weights", pd.DataFrame({"name": ["threshold"], "value": [0.00001]}))
    elif case == "another_table":
        after = [{"source_tables": {"traces": "other_traces"}}]

        def later() -> None:
            without(log, "traces", lambda row: row["started_at"] < newest - 4 * DAY)
    elif case == "dimensions_are_others":
        after = [{"dimensions": ["country", "status"]}]
    elif case == "a_dimension_goes":
        before, after = {"dimensions": ["country", "channel"]}, [{"dimensions": ["country"]}]
        for row in log.traces.values():
            row["channel"] = row["model_version"]
    elif case == "traces_are_read_anew_alone":

        def later() -> None:
            row = min(log.traces.values(), key=lambda row: row["started_at"])
            row.update(status="error", latency_ms=5.0)

    log.load(grown)
    grown.dbt("run", vars=configuration(**before), select=SELECTION)
    told = state(grown)
    later()
    fresh = warehouse_factory(engine)
    for warehouse in (grown, fresh):
        log.load(warehouse)
        if case == "texts_are_compared_otherwise":
            warehouse.load("weights", pd.DataFrame({"name": ["threshold"], "value": [0.00001]}))
        if case == "another_table":
            warehouse.execute("create table raw.other_traces as select * from raw.traces")
    if case == "traces_are_read_anew_alone":
        grown.dbt("run --full-refresh", vars=configuration(), select=["stg_traces", "int_traces"])
    for keys in after:
        grown.dbt("run", vars=configuration(**keys), select=SELECTION)
        if keys.get("analysis", {}).get("as_of"):
            assert len(grown.mart("turns")) < len(told["turns"])
    fresh.dbt("run", vars=configuration(**after[-1]), select=SELECTION)
    assert_same(state(grown), state(fresh))
    if case != "as_of_goes_back_and_forth":
        with pytest.raises(AssertionError):
            assert_same(told, state(fresh))
    fresh.close()
    grown.close()


def test_a_column_of_another_type_asks_for_a_full_refresh(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse]
) -> None:
    log, warehouse = world(), warehouse_factory(engine)
    scored = {"name": "score", "fact": "turns", "type": "mean", "value": "score"}
    keys = configuration(metrics=[scored])
    for kind, command, succeeds in (
        ("bigint", "run", True),
        ("double precision", "run", False),
        ("double precision", "run --full-refresh", True),
    ):
        log.load(warehouse)
        warehouse.execute(f"alter table raw.traces add column score {kind}")
        warehouse.execute("update raw.traces set score = 2")
        outcome = warehouse.dbt(command, vars=keys, select=SELECTION, expect_success=succeeds)
        refusal = "column score of input traces is of type double"
        assert (refusal in outcome.error and "run once with --full-refresh" in outcome.error) is not succeeds
    warehouse.close()


def test_what_comes_later_than_the_lookback_is_counted(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse]
) -> None:
    log, warehouse = world(), warehouse_factory(engine)
    late = {key: row for key, row in log.traces.items() if row["started_at"].floor("D") == START}
    without(log, "traces", lambda row: row["trace_id"] in late)
    assert len(late) > 5
    for command, missing in (("run", 0), ("run", len(late)), ("run --full-refresh", 0)):
        log.load(warehouse)
        warehouse.dbt(command, vars=configuration(), select=SELECTION)
        quality = warehouse.mart("input_quality").set_index(["input_name", "rule"])
        assert quality.loc[("traces", "later_than_lookback"), "rows_dropped"] == missing
        assert quality.loc[("traces", "duplicate"), "rows_dropped"] == 0
        assert len(warehouse.mart("turns")) == len(log.traces) - missing
        log.traces.update(late)
    warehouse.close()


def test_turns_are_readable_from_a_file_of_another_name(
    tmp_path: Path, warehouse_factory: Callable[..., harness.Warehouse]
) -> None:
    """`turns` is a view, and a view of DuckDB remembers the name of its file unless told not to."""
    log, warehouse = world(), warehouse_factory("duckdb")
    log.load(warehouse)
    warehouse.dbt("run", vars=configuration(), select=["+turns"])
    turns, schema = warehouse.mart("turns"), warehouse.mart_schema
    warehouse.disconnect()
    shutil.copyfile(warehouse.path, tmp_path / "copy.duckdb")
    with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as connection:
        assert len(connection.sql(f"select * from {schema}.turns").df()) == len(turns) > 0
    with duckdb.connect() as connection:
        connection.execute(f"attach '{tmp_path / 'copy.duckdb'}' as elsewhere (read_only)")
        assert connection.sql(f"select count(*) from elsewhere.{schema}.turns").fetchone() == (len(turns),)
    warehouse.close()


def test_a_late_turn_tells_of_the_day_before_the_lookback(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse]
) -> None:
    """The first turn of a day within the lookback ends the silence after a turn of the day before."""
    midnight = START + 4 * DAY
    turns = [("u0", midnight - 300 * SECOND), *((f"u{number}", midnight - 600 * SECOND) for number in range(1, 30))]
    turns += [("u1", midnight + LOOKBACK * DAY + 3600 * SECOND)]
    traces = pd.DataFrame(turns, columns=["unit_id", "started_at"])
    traces["trace_id"] = [f"t{number}" for number in range(len(traces))]
    late = pd.DataFrame({"trace_id": ["late"], "unit_id": ["u0"], "started_at": [midnight + 60 * SECOND]})
    abandoned = {"name": "abandoned", "fact": "turns", "type": "mean", "aggregate": "count", "where": "is_abandoned"}
    keys = {"metrics": [abandoned], "dimensions": [], "inputs": ["exposures", "traces"]}
    select = ["+experiment_results", "+implicit_signals_daily"]
    warehouse = warehouse_factory(engine)
    warehouse.load("exposures", EXPOSURES)
    found = []
    for command, rows in (("run", traces), ("run", pd.concat([traces, late])), ("run --full-refresh", None)):
        if rows is not None:
            warehouse.load("traces", rows)
        warehouse.dbt(command, vars=configuration(**keys), select=select)
        results = warehouse.mart("experiment_results").query("dimension_name == 'all'")
        signals = warehouse.mart("implicit_signals_daily").query("signal_name == 'abandonment'")
        signals = signals[pd.to_datetime(signals["signal_date"]) == midnight - DAY]
        found.append((results["value_control"].tolist(), signals["turns_with_signal"].tolist()))
    first, grown, fresh = found
    assert grown == fresh != first
    # The late turn is left as well, but a day later.
    assert first == ([1.0], [30]) and fresh == ([1.0], [29])
    warehouse.close()
