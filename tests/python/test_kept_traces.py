"""What is kept of traces from run to run: an incremental run gives what a full refresh does, however rows arrive."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

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
EVENTS = ["copy", "thumbs_up", "thumbs_down", "regenerate", "stop", "escalation", "human_override", "page_view"]
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
        "metrics": [{"name": "turns", **turns}, {"name": "rephrased", **turns, "where": "is_rephrased"}],
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
            "value": 1.0,
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
        late_from = max(since["traces"], START)
        for _ in range(4):
            named = f"s{self.number}" if self.rng.random() < 0.5 else None
            self.session(late_from + self.rng.random() * (began - late_from), began, f"u{self.rng.integers(30)}", named)
        recent = [row for row in self.traces.values() if row["started_at"] >= since["traces"]]
        if recent and self.rng.random() < 0.8:
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
            warehouse.load(name, shuffled, types=types)


def state(warehouse: harness.Warehouse) -> dict[str, pd.DataFrame]:
    found = {name: warehouse.mart(name) for name in MARTS}
    for name in KEPT:
        rows = warehouse.mart(name)
        found[name] = rows[rows["definition_hash"].isna()]
    return found


def assert_same(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> None:
    for name, key in {**KEPT, **MARTS}.items():
        one, other = (
            frames[name].drop(columns="data_state", errors="ignore").sort_values(key).reset_index(drop=True)
            for frames in (left, right)
        )
        assert len(other) > 0, name
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
        # Some runs are cut short; a later one makes up for it.
        cut_short = log.rng.random() < 0.25
        select = ["+int_turn_pairs", "+int_unit_turn_days"] if cut_short else SELECTION
        grown.dbt("run", vars=configuration(), select=select)
        if number % 4 == 0:
            if cut_short:
                grown.dbt("run", vars=configuration(), select=SELECTION)
            assert_as_fresh(grown, log, warehouse_factory)
    grown.close()
