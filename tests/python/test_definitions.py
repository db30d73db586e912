"""A changed definition or date: the next run gives what a full refresh gives, never numbers of two definitions.

Each metric has one thing changed, so that a row that is wrong says what was not noticed. Only marts are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import pandas as pd
import pytest
from test_daily import BUY, CHECK_KEY, DAY, KEY, START, VISIT, Stream, assert_same, metric, variables

MARTS = {
    "experiment_results": KEY,
    "experiment_results_daily": [*KEY, "as_of_date"],
    "guardrail_checks": CHECK_KEY,
}
HARM = {"direction": "decrease", "role": "guardrail"}
BEFORE = [
    metric("harmed", "proportion", fact="outcomes", where="event_name = 'harm'", **HARM),
    metric("with_value", "mean", **BUY),
    metric("with_window", "mean", **BUY, window_hours=72),
    metric("with_delay", "proportion", fact="outcomes", where="event_name = 'buy'"),
    metric("with_cap", "mean", **BUY, cap={"kind": "absolute", "value": 25}),
    metric("with_percentile", "mean", **BUY, cap={"kind": "percentile", "value": 0.9}),
    metric("with_denominator", "ratio", **BUY, denominator={**VISIT, "aggregate": "count"}),
    metric("with_aggregate", "mean", **BUY),
    metric("with_history", "mean", **BUY, cuped=True, cuped_days=4),
    metric("with_quantile", "quantile", **BUY, quantile=0.5, quantile_of="events"),
    metric("with_steps", "funnel", fact="outcomes", steps=[{"where": "event_name = 'visit'"}, {"where": "value > 1"}]),
    metric("unchanged", "participation", **VISIT),
    metric("removed", "mean", **VISIT, value="session_id", aggregate="count_distinct"),
]
CHANGES: dict[str, dict[str, Any]] = {
    "harmed": {"where": "event_name in ('harm', 'buy')"},
    "with_value": {"value": "2 * value + 1"},
    "with_window": {"window_hours": 24},
    "with_delay": {"delay_hours": 20},
    "with_cap": {"cap": {"kind": "absolute", "value": 8}},
    "with_percentile": {"cap": {"kind": "percentile", "value": 0.7}},
    "with_denominator": {"denominator": {**BUY, "aggregate": "count"}},
    "with_aggregate": {"aggregate": "max"},
    "with_history": {"cuped_days": 2},
    "with_quantile": {"quantile": 0.8},
    "with_steps": {"steps": [{"where": "event_name = 'visit'"}, {"where": "value > 9"}]},
}
AFTER = [
    *({**item, **CHANGES.get(item["name"], {})} for item in BEFORE if item["name"] != "removed"),
    metric("added", "mean", **VISIT, aggregate="count"),
]
INPUTS = ["exposures", "experiments", "outcomes"]
CONFIGURATIONS = {
    "before": variables(
        BEFORE, inputs=INPUTS, facts=[], dimensions=[], protected_dimensions=[], analysis={"lookback_days": 4}
    ),
    "after": variables(AFTER, inputs=INPUTS, facts=[], dimensions=[], analysis={"lookback_days": 3}),
}


def dates(**of_first: pd.Timestamp) -> pd.DataFrame:
    """The registry: the first experiment's dates as given, the second's unknown."""
    columns = ["experiment_id", "started_at", "ended_at"]
    rows = pd.DataFrame([{"experiment_id": "first", **of_first}, {"experiment_id": "second"}], columns=columns)
    return rows.assign(started_at=pd.to_datetime(rows["started_at"]), ended_at=pd.to_datetime(rows["ended_at"]))


@pytest.fixture(scope="module")
def changes(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> dict[str, dict[str, Any]]:
    """The marts after each change, of a warehouse that lives through them all and of one built from nothing."""
    stream = Stream(seed=20240307)
    for _ in range(6):
        stream.arrive()
    grown, fresh = warehouse_factory(engine), warehouse_factory(engine)
    found: dict[str, dict[str, Any]] = {}

    def step(name: str, configuration: str, registry: pd.DataFrame) -> None:
        stream.arrive()
        for warehouse, command in ((grown, "run"), (fresh, "run --full-refresh")):
            stream.load(warehouse)
            warehouse.load("experiments", registry, types={"started_at": "timestamp", "ended_at": "timestamp"})
            warehouse.dbt(command, vars=CONFIGURATIONS[configuration], select=[f"+{mart}" for mart in MARTS])
        found[name] = {
            "grown": {mart: grown.mart(mart) for mart in MARTS},
            "fresh": {mart: fresh.mart(mart) for mart in MARTS},
        }

    began = START + 2 * DAY
    step("first_run", "before", dates(started_at=began))
    step("definitions", "after", dates(started_at=began))
    step("ends_and_starts_earlier", "after", dates(started_at=START + DAY, ended_at=stream.clock - 3 * DAY))
    step("ends_later_and_starts_later", "after", dates(started_at=began + DAY, ended_at=stream.clock - DAY))
    grown.close()
    fresh.close()
    return found


@pytest.mark.parametrize("step", ["first_run", "definitions", "ends_and_starts_earlier", "ends_later_and_starts_later"])
def test_a_change_leaves_nothing_of_what_was(changes: dict[str, dict[str, Any]], step: str) -> None:
    for mart, key in MARTS.items():
        grown, fresh = changes[step]["grown"][mart], changes[step]["fresh"][mart]
        assert len(fresh) > 0
        assert_same(grown, fresh, key)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_each_change_of_a_definition_changes_its_numbers(changes: dict[str, dict[str, Any]], name: str) -> None:
    """Otherwise the comparison says nothing of it."""

    def first_days(step: str) -> pd.DataFrame:
        daily = changes[step]["fresh"]["experiment_results_daily"]
        rows = daily[(daily["metric_name"] == name) & (daily["dimension_name"] == "all")]
        numbers = ["units_control", "value_control", "value_treatment"]
        return rows.set_index([*KEY, "as_of_date"])[numbers].sort_index()

    before, after = first_days("first_run"), first_days("definitions")
    both = before.index.intersection(after.index)
    assert len(both) > 3
    assert not before.loc[both].equals(after.loc[both])


def test_each_change_of_a_date_changes_numbers(changes: dict[str, dict[str, Any]]) -> None:
    units = [
        int(found["fresh"]["experiment_results"].query("experiment_id == 'first'")["units_control"].max())
        for name, found in changes.items()
        if name != "first_run"
    ]
    assert len(set(units)) == 3, units
