"""Results over time: every day as if it were the last, whatever the order in which the rows arrived.

A day of experiment_results_daily must be what experiment_results says when the data end with that day, and an
incremental run what a full refresh gives. The numbers of a single run are checked elsewhere (test_golden.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
import yaml
from statsmodels.stats.multitest import multipletests

START = pd.Timestamp("2024-03-01")
DAY = pd.Timedelta(days=1)
FOREVER = pd.Timestamp("2100-01-01")
INPUTS = ["exposures", "experiments", "experiment_variations", "experiment_phases", "outcomes"]
KEY = ["experiment_id", "metric_name", "variation_id", "dimension_name", "dimension_value"]
CHECK_KEY = ["experiment_id", "variation_id", "metric_name", "slice_name", "slice_value"]
# What several hypotheses are judged by together differs by design: days by the always-valid test.
JUDGED = ["p_value_adjusted", "verdict"]
# Columns that only days have.
PLANNED = ("information_fraction", "planned_look", "group_sequential_")
# What a quantile's histogram gives to half a percent; everything of a quantile that follows from it.
OF_QUANTILE_VALUES = ["value_control", "value_treatment"]

EXPOSURE_TYPES = {"exposed_at": "timestamp", "cluster_id": "text", "country": "text", "language": "text"}
OUTCOME_TYPES = {"occurred_at": "timestamp", "value": "double precision", "session_id": "text"}
REGISTRY_TYPES = {"started_at": "timestamp", "ended_at": "timestamp", "alpha": "double precision"}

BUY = {"fact": "outcomes", "where": "event_name = 'buy'", "value": "value"}
VISIT = {"fact": "outcomes", "where": "event_name = 'visit'"}
DISTINCT = {"aggregate": "count_distinct"}
BILLS = {"fact": "bills", "value": "amount"}
FACTS = [{"name": "bills", "relation": "raw.bills", "unit_column": "customer", "time_column": "paid_at"}]


def metric(name: str, kind: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **keys}


METRICS = [
    metric("bought", "proportion", fact="outcomes", where="event_name = 'buy'", role="goal"),
    metric("bought_2d", "proportion", fact="outcomes", where="event_name = 'buy'", window_hours=48),
    metric("bought_later", "proportion", fact="outcomes", where="event_name = 'buy'", delay_hours=30),
    metric(
        "harmed", "proportion", fact="outcomes", where="event_name = 'harm'", direction="decrease", role="guardrail"
    ),
    metric("spend", "mean", **BUY, role="goal"),
    metric("spend_3d", "mean", **BUY, window_hours=72),
    metric("spend_top", "mean", **BUY, aggregate="max"),
    metric("spend_known", "mean", **BUY, missing="exclude"),
    metric("spend_cuped", "mean", **BUY, cuped=True, cuped_days=4),
    metric("spend_known_cuped", "mean", **BUY, cuped=True, cuped_days=4, missing="exclude"),
    metric("spend_limited", "mean", **BUY, cap={"kind": "absolute", "value": 25}, cuped=True),
    metric("spend_trimmed", "mean", **BUY, cap={"kind": "percentile", "value": 0.9}, cuped=True),
    metric("visits", "mean", **VISIT, aggregate="count"),
    metric("sessions", "mean", **VISIT, value="session_id", aggregate="count_distinct"),
    metric("sessions_2d", "mean", **VISIT, value="session_id", aggregate="count_distinct", window_hours=48),
    metric("billed", "mean", **BILLS),
    metric("spend_per_visit", "ratio", **BUY, denominator={**VISIT, "aggregate": "count"}, cuped=True),
    metric(
        "visits_per_session",
        "ratio",
        **VISIT,
        aggregate="count",
        denominator={"value": "session_id", "aggregate": "count_distinct"},
    ),
    metric("spend_per_bill", "ratio", **BUY, denominator={**BILLS, "aggregate": "count"}, window_hours=96),
    metric("median_spend", "quantile", **BUY, quantile=0.5, missing="exclude"),
    metric("p80_order", "quantile", **BUY, quantile=0.8, quantile_of="events"),
    metric("p80_order_3d", "quantile", **BUY, quantile=0.8, quantile_of="events", window_hours=72),
    metric("returned", "retention", **VISIT, delay_hours=48, window_hours=36),
    metric("active_days", "participation", **VISIT),
    metric("active_days_4d", "participation", **VISIT, window_hours=96),
    metric(
        "checkout",
        "funnel",
        fact="outcomes",
        steps=[{"where": "event_name = 'visit'"}, {"where": "event_name = 'buy'"}],
    ),
    metric(
        "quick_checkout",
        "funnel",
        fact="outcomes",
        steps=[
            {"where": "event_name = 'visit'", "window_hours": 40},
            {"where": "event_name = 'buy'", "window_hours": 20},
        ],
    ),
]
GUARDRAILS = [
    {"metric": "harmed", "margin_absolute": 0.05, "action": "rollback"},
    {"metric": "visits", "margin_relative": 0.2, "action": "pause"},
]


def variables(metrics: list[dict[str, Any]] = METRICS, **extra: Any) -> dict[str, Any]:
    known = {item["name"] for item in metrics}
    return {
        "inputs": INPUTS,
        "facts": FACTS,
        "dimensions": ["country"],
        "protected_dimensions": ["language"],
        "metrics": metrics,
        "guardrails": [item for item in GUARDRAILS if item["metric"] in known],
        **extra,
    }


def selected(mart_selection: str = "+experiment_results_daily +guardrail_checks") -> list[str]:
    return mart_selection.split()


# Comparing marts.


def differences(
    left: pd.DataFrame, right: pd.DataFrame, key: list[str], rtol: float = 1e-9, atol: float = 1e-12
) -> list[str]:
    """What differs, as sentences: rows by their key, whole numbers and texts exactly, floats to a tolerance."""
    if sorted(left.columns) != sorted(right.columns):
        return [f"columns: {sorted(left.columns)} and {sorted(right.columns)}"]
    assert not left.duplicated(key).any() and not right.duplicated(key).any()
    left, right = left.set_index(key).sort_index(), right.set_index(key).sort_index()
    complaints = [f"only left: {name}" for name in left.index.difference(right.index)]
    complaints += [f"only right: {name}" for name in right.index.difference(left.index)]
    both = left.index.intersection(right.index)
    left, right = left.loc[both], right.loc[both]
    for column in left.columns:
        ours, theirs = left[column], right[column]
        if pd.api.types.is_float_dtype(ours) or pd.api.types.is_float_dtype(theirs):
            ours, theirs = ours.astype("float64").to_numpy(), theirs.astype("float64").to_numpy()
            wrong = ~np.isclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True)
        else:
            ours = ours.astype(object).where(ours.notna(), None).to_numpy()
            theirs = theirs.astype(object).where(theirs.notna(), None).to_numpy()
            wrong = np.array([mine != other for mine, other in zip(ours, theirs, strict=True)], dtype=bool)
        complaints += [
            f"{column} of {both[place]}: {ours[place]!r} and {theirs[place]!r}" for place in np.flatnonzero(wrong)
        ]
    return complaints


def assert_same(left: pd.DataFrame, right: pd.DataFrame, key: list[str], **tolerance: float) -> None:
    complaints = differences(left, right, key, **tolerance)
    assert not complaints, f"{len(complaints)} differences\n" + "\n".join(complaints[:40])


def of_day(daily: pd.DataFrame, day: int) -> pd.DataFrame:
    columns = ["as_of_date", *daily.columns[daily.columns.str.startswith(PLANNED)]]
    return daily[daily["as_of_date"] == START + day * DAY].drop(columns=columns).reset_index(drop=True)


# 1. A day is what the results are when the data end with it.

DAYS = 9
LAST_DAYS = (2, 6)


class World:
    """Random exposures and events of every kind, with the dirt that raw data have; times are days after START."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.exposures: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] = []
        self.bills: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.variations: list[dict[str, Any]] = []
        self.phases: list[dict[str, Any]] = []

    def at(self, days: float) -> pd.Timestamp:
        return START + pd.Timedelta(microseconds=round(days * 86_400_000_000))

    def register(self, experiment: str, weights: dict[str, float], **extra: Any) -> None:
        self.experiments.append({"experiment_id": experiment, "control_variation_id": next(iter(weights)), **extra})
        self.variations += [
            {"experiment_id": experiment, "variation_id": name, "expected_weight": weight}
            for name, weight in weights.items()
        ]

    def phase(self, experiment: str, day: float, weights: dict[str, float]) -> None:
        self.phases += [
            {"experiment_id": experiment, "phase_started_at": self.at(day), "variation_id": name, "expected_weight": w}
            for name, w in weights.items()
        ]

    def expose(self, experiment: str, variation: str, unit: str, day: float, **extra: Any) -> None:
        row = {"experiment_id": experiment, "variation_id": variation, "unit_id": unit, "exposed_at": self.at(day)}
        self.exposures.append({**row, "cluster_id": None, "country": None, "language": "en", **extra})

    def event(self, unit: str, name: str, day: float, value: float | None = None, session: str | None = None) -> None:
        row = {"outcome_id": f"o{len(self.outcomes)}", "unit_id": unit, "event_name": name, "value": value}
        self.outcomes.append({**row, "occurred_at": self.at(day), "session_id": session})

    def live(self, unit: str, taste: float, until: float) -> None:
        """Everything that a unit does, from before the first exposure of anyone until the end."""
        for day in np.sort(self.rng.uniform(-5, until, self.rng.poisson(0.5 * (until + 5)))):
            session = f"{unit}.{int(day * self.rng.choice([1, 2]))}"
            self.event(unit, "visit", day, session=None if self.rng.random() < 0.1 else session)
            if self.rng.random() < 0.25 * taste:
                # Repeated prices, so that quantiles meet ties; a negative one is a refund.
                value = float(np.round(self.rng.lognormal(2, 1), self.rng.integers(0, 3)))
                self.event(unit, "buy", day + self.rng.uniform(0, 0.7), -value if self.rng.random() < 0.03 else value)
            if self.rng.random() < 0.02 * taste:
                self.event(unit, "harm", day)
            if self.rng.random() < 0.2:
                self.bills.append({"customer": unit, "paid_at": self.at(day + 0.3), "amount": self.rng.normal(20, 5)})

    def load(self, warehouse: harness.Warehouse, before: pd.Timestamp = FOREVER) -> None:
        """Writes the raw tables, their rows in random order, up to a time, its moment included."""
        for table, rows, time, types in (
            ("exposures", self.exposures, "exposed_at", EXPOSURE_TYPES),
            ("outcomes", self.outcomes, "occurred_at", OUTCOME_TYPES),
            ("bills", self.bills, "paid_at", {"paid_at": "timestamp", "amount": "double precision"}),
        ):
            frame = pd.DataFrame([row for row in rows if row[time] <= before], columns=list(rows[0]))
            warehouse.load(table, frame.sample(frac=1, random_state=len(frame)), types=types)
        columns = ["experiment_id", "control_variation_id", "started_at", "ended_at", "alpha"]
        warehouse.load("experiments", pd.DataFrame(self.experiments, columns=columns), types=REGISTRY_TYPES)
        columns = ["experiment_id", "variation_id", "expected_weight"]
        warehouse.load("experiment_variations", pd.DataFrame(self.variations, columns=columns))
        columns = ["experiment_id", "phase_started_at", "variation_id", "expected_weight"]
        warehouse.load(
            "experiment_phases",
            pd.DataFrame(self.phases, columns=columns),
            types={"phase_started_at": "timestamp", "expected_weight": "double precision"},
        )


def random_world(seed: int = 20240301) -> World:
    world = World(seed)
    rng = world.rng
    world.register("plain", {"control": 1, "treatment": 1}, started_at=START - DAY)
    world.register("ended", {"off": 1, "on": 1}, started_at=START, ended_at=world.at(4.6), alpha=0.1)
    world.register("ramped", {"control": 1, "treatment": 1})
    world.phase("ramped", 0, {"control": 0.9, "treatment": 0.1})
    world.phase("ramped", 2.5, {"control": 0.7, "treatment": 0.3})
    world.phase("ramped", 5, {"control": 0.5, "treatment": 0.5})
    world.register("three", {"control": 2, "blue": 1, "green": 1})
    for number in range(420):
        unit = f"u{number}"
        country = rng.choice(["de", "fr"], p=[0.7, 0.3])
        who = {"country": None if rng.random() < 0.05 else country, "language": rng.choice(["en", "es"])}
        for experiment in ("plain", "ended", "ramped", "three", "villages"):
            if rng.random() < 0.35:
                continue
            day = rng.uniform(0, 5 if experiment == "ended" else DAYS - 1)
            extra = dict(who)
            if experiment == "ramped":
                on = rng.random() < (0.1 if day < 2.5 else 0.3 if day < 5 else 0.5)
                arm, other = ("treatment", "control") if on else ("control", "treatment")
            elif experiment == "ended":
                arm, other = rng.permutation(["off", "on"])
            elif experiment == "three":
                arm, other = rng.choice(["control", "control", "blue", "green"]), "green"
            else:
                arm, other = rng.permutation(["control", "treatment"])
            if experiment == "villages":
                # A few belong nowhere and are left out.
                extra["cluster_id"] = None if number % 40 == 7 else f"v{number % 53}"
            world.expose(experiment, arm, unit, day, **extra)
            for _ in range(rng.poisson(0.7)):
                world.expose(experiment, arm, unit, rng.uniform(day, DAYS - 0.1), **extra)
            if rng.random() < 0.05 and other != arm:
                world.expose(experiment, other, unit, rng.uniform(day, DAYS - 0.1), **extra)
        world.live(unit, taste=rng.gamma(2, 0.5), until=DAYS - 0.5)
    world.expose("plain", "unheard_of", "u0", 0.5)
    world.exposures += rng.choice(world.exposures, 100).tolist()
    # The same event twice.
    world.outcomes += rng.choice(world.outcomes, 200).tolist()
    # Both facts deliver until the end of every day: maturity is measured against their newest row.
    for day in range(-4, DAYS + 1):
        world.event("nobody", "visit", day)
        world.bills.append({"customer": "nobody", "paid_at": world.at(day), "amount": 1.0})
    return world


@pytest.fixture(scope="module")
def as_of(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> dict[str, Any]:
    """Results and days of the first days alone, of all days, of all days up to `as_of`, and of all days once more."""
    warehouse = warehouse_factory(engine)
    world = random_world()
    everything = {"vars": variables(), "select": selected("+experiment_results +experiment_results_daily")}
    found: dict[str, Any] = {}

    def run(name: Any, **changes: Any) -> None:
        warehouse.dbt("run", **{**everything, **changes})
        found[name] = warehouse.mart("experiment_results"), warehouse.mart("experiment_results_daily")

    world.load(warehouse, before=world.at(LAST_DAYS[0] + 1))
    run(LAST_DAYS[0])
    world.load(warehouse)
    run("all")
    run(LAST_DAYS[1], vars=variables(analysis={"as_of": str(world.at(LAST_DAYS[1] + 1))}))
    run("again")
    warehouse.close()
    return found


def without_quantiles(mart: pd.DataFrame) -> pd.DataFrame:
    return mart[mart["metric_type"] != "quantile"]


@pytest.mark.parametrize("day", LAST_DAYS)
def test_a_day_is_what_results_are_when_data_end_with_it(as_of: dict[str, Any], day: int) -> None:
    results, _ = as_of[day]
    daily = of_day(as_of["all"][1], day)
    looked_at = set(daily["experiment_id"])
    # Nothing changes any more in an experiment that has ended: its last days are not repeated.
    results = results[results["experiment_id"].isin(looked_at)]
    assert looked_at >= {"plain", "ramped", "three", "villages"}
    ours = without_quantiles(daily).drop(columns=JUDGED)
    assert_same(ours, without_quantiles(results).drop(columns=JUDGED), KEY)
    assert (ours["status"] == "ok").sum() > 100


@pytest.mark.parametrize("day", LAST_DAYS)
def test_quantiles_of_a_day_are_right_to_half_a_percent(as_of: dict[str, Any], day: int) -> None:
    results, _ = as_of[day]
    daily = of_day(as_of["all"][1], day)
    both = daily[daily["metric_type"] == "quantile"].merge(results, on=KEY, suffixes=("", "_exact"))
    assert len(both) == (daily["metric_type"] == "quantile").sum()
    assert (both["units_control"] == both["units_control_exact"]).all()
    assert (both["units_treatment"] == both["units_treatment_exact"]).all()
    assert (both["status"] == both["status_exact"]).mean() > 0.95
    known = both[both["status"].eq("ok") & both["status_exact"].eq("ok")]
    assert len(known) > 8
    for name in OF_QUANTILE_VALUES:
        np.testing.assert_allclose(known[name], known[f"{name}_exact"], rtol=5e-3)


@pytest.mark.parametrize("day", LAST_DAYS)
def test_published_days_do_not_change(as_of: dict[str, Any], day: int) -> None:
    _, earlier = as_of[day]
    _, daily = as_of["all"]
    later = daily[daily["as_of_date"] <= START + day * DAY]
    assert earlier["as_of_date"].max() == START + day * DAY
    assert_same(later, earlier, [*KEY, "as_of_date"])


@pytest.mark.parametrize("day", LAST_DAYS)
def test_looks_are_judged_by_the_always_valid_p_value(as_of: dict[str, Any], day: int) -> None:
    rows = of_day(as_of["all"][1], day)
    rows = rows[rows["status"] == "ok"].copy()
    slices = rows["dimension_name"] != "all"
    rows["family"] = np.where(slices, rows["dimension_name"], rows["metric_role"])
    # Declared slices are judged together where the metric matters; what is secondary is exploration.
    rows.loc[(rows["dimension_name"] == "language") & (rows["metric_role"] != "secondary"), "family"] = "protected"
    methods = {"goal": "holm", "protected": "holm"}
    tested = 0
    for (_, family), group in rows.groupby(["experiment_id", "family"]):
        p = group["sequential_p_value"]
        known = p.notna()
        expected = pd.Series(np.nan, index=p.index)
        if known.any():
            adjusted = p[known] if family == "guardrail" else None
            if adjusted is None:
                adjusted = multipletests(p[known], method=methods.get(family, "fdr_bh"))[1]
            expected[known] = adjusted
        np.testing.assert_allclose(group["p_value_adjusted"], expected, rtol=1e-9)
        tested += known.sum()
    assert tested > 50
    assert rows.loc[rows["sequential_p_value"].isna(), "status_reason"].notna().all()


def test_the_end_of_the_data_may_move_back_and_forth(as_of: dict[str, Any]) -> None:
    for before, after in zip(as_of["all"], as_of["again"], strict=True):
        key = [name for name in [*KEY, "as_of_date"] if name in before]
        assert_same(before, after, key)


# 2. An incremental run gives what a full refresh gives, whatever arrives in which order.

LOOKBACK_DAYS = 3
FEW_METRICS = [
    metric(
        "harmed", "proportion", fact="outcomes", where="event_name = 'harm'", direction="decrease", role="guardrail"
    ),
    metric("spend_cuped", "mean", **BUY, cuped=True, cuped_days=4),
    metric("spend_trimmed", "mean", **BUY, cap={"kind": "percentile", "value": 0.9}),
    metric("sessions_2d", "mean", **VISIT, value="session_id", aggregate="count_distinct", window_hours=48),
    metric("active_days", "participation", **VISIT),
    metric("p80_order", "quantile", **BUY, quantile=0.8, quantile_of="events"),
    # Of events that no other metric counts.
    metric(
        "solved",
        "funnel",
        fact="outcomes",
        steps=[{"where": "event_name = 'ask'"}, {"where": "event_name = 'solve'", "window_hours": 48}],
    ),
]
# Another condition, one metric more, one less, and another lookback.
OTHER_METRICS = [
    {**FEW_METRICS[0], "where": "event_name in ('harm', 'buy')"},
    *FEW_METRICS[2:],
    metric("sessions", "mean", **VISIT, value="session_id", aggregate="count_distinct"),
]
FEW = {"dimensions": [], "facts": [], "analysis": {"lookback_days": LOOKBACK_DAYS}}


class Stream:
    """Raw tables that grow, are corrected and lose rows, never further back than the lookback."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.clock = START
        self.number = 0
        self.tables: dict[str, list[dict[str, Any]]] = {"exposures": [], "outcomes": []}
        self.held_back: list[tuple[str, dict[str, Any]]] = []
        self.ended_at = None
        self.log: set[str] = set()

    def _time(self, table: str) -> str:
        return "exposed_at" if table == "exposures" else "occurred_at"

    def _moment(self, since: pd.Timestamp) -> pd.Timestamp:
        return (since + self.rng.uniform(0, 1) * (self.clock - since)).floor("us")

    def _exposure(self, at: pd.Timestamp, unit: str | None = None) -> dict[str, Any]:
        self.number += unit is None
        who = unit or f"u{self.number}"
        # Which arm a unit is in follows from its name; a few are shown the other one.
        arm = (sum(map(ord, who)) + (self.rng.random() < 0.03)) % 2
        known = {"experiment_id": self.rng.choice(["first", "second"]), "variation_id": ["control", "treatment"][arm]}
        return {**known, "unit_id": who, "exposed_at": at, "language": "es" if who.endswith("3") else "en"}

    def _outcome(self, at: pd.Timestamp) -> dict[str, Any]:
        name = self.rng.choice(["buy", "visit", "harm", "ask", "solve"], p=[0.2, 0.35, 0.05, 0.2, 0.2])
        # Some are not exposed yet: their events become history.
        unit = f"u{self.rng.integers(max(1, self.number - 150), self.number + 20)}"
        value = float(np.round(self.rng.lognormal(2, 1), 1)) if name == "buy" else None
        row = {"outcome_id": f"o{self.rng.integers(1 << 60)}", "unit_id": unit, "event_name": name, "occurred_at": at}
        return {**row, "value": value, "session_id": f"s{self.rng.integers(3)}"}

    def arrive(self) -> None:
        since = self.clock
        reach = since.normalize() - LOOKBACK_DAYS * DAY
        self.clock += pd.Timedelta(hours=float(self.rng.uniform(8, 40)))
        rng = self.rng
        # Corrections first: what is new or late is not corrected in the same arrival.
        for table, rows in self.tables.items():
            time = self._time(table)
            young = [place for place, row in enumerate(rows) if row[time] >= reach]
            gone = set()
            for place in rng.permutation(young)[: len(young) // 15]:
                row = dict(rows[place])
                kind = rng.choice(["delete", "move", "change", "copy"])
                if kind == "delete":
                    gone.add(place)
                elif kind == "move":
                    row[time] = self._moment(reach)
                elif table == "exposures":
                    row["variation_id"] = "control"
                elif row["value"] is not None:
                    row["value"] += 1.5
                if kind == "copy":
                    rows.append(row)
                else:
                    rows[place] = row
                self.log.add(f"{table} {kind}")
            if table == "outcomes" and rng.random() < 0.2:
                day = (since - DAY).normalize()
                gone |= {place for place in young if day <= rows[place][time] < day + DAY}
                self.log.add("a day vanishes")
            self.tables[table] = [row for place, row in enumerate(rows) if place not in gone]
        for _ in range(rng.poisson(35)):
            unit = f"u{rng.integers(1, self.number + 1)}" if self.number and rng.random() < 0.2 else None
            self._keep("exposures", self._exposure(self._moment(since), unit))
        for _ in range(rng.poisson(260)):
            self._keep("outcomes", self._outcome(self._moment(since)))
        # The last moment of the data is always there.
        self.tables["outcomes"].append(self._outcome(self.clock))
        late = [item for item in self.held_back if item[1][self._time(item[0])] >= reach]
        for table, row in late:
            if rng.random() < 0.6:
                self.tables[table].append(row)
                self.log.add(f"late {table}")
        self.held_back = [item for item in late if item[1] not in self.tables[item[0]]]

    def _keep(self, table: str, row: dict[str, Any]) -> None:
        if self.rng.random() < 0.15:
            self.held_back.append((table, row))
        else:
            self.tables[table] += [row] * (2 if self.rng.random() < 0.05 else 1)

    def load(self, warehouse: harness.Warehouse) -> None:
        for table, types in (("exposures", {"exposed_at": "timestamp"}), ("outcomes", OUTCOME_TYPES)):
            frame = pd.DataFrame(self.tables[table])
            warehouse.load(table, frame.sample(frac=1, random_state=self.number), types=types)
        registry = pd.DataFrame({"experiment_id": ["first", "second"], "ended_at": [self.ended_at, None]})
        warehouse.load("experiments", registry, types={"ended_at": "timestamp"})


MARTS = {
    "int_unit_days": ["experiment_id", "unit_id", "activity_date"],
    "int_unit_baselines": ["experiment_id", "unit_id"],
    "experiment_results_daily": [*KEY, "as_of_date"],
    "guardrail_checks": CHECK_KEY,
}


def state(warehouse: harness.Warehouse) -> dict[str, pd.DataFrame]:
    found = {name: warehouse.mart(name) for name in MARTS}
    # Rows without a unit only mark the days that were read.
    found["marks"] = found["int_unit_days"].query("unit_id == ''")
    for name in ("int_unit_days", "int_unit_baselines"):
        found[name] = found[name].query("unit_id != ''")
    # Of the data that were read: an old row that is loaded again is looked at by a full refresh only.
    del found["guardrail_checks"]["data_state"]
    return found


def assert_same_state(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> None:
    for name, key in MARTS.items():
        assert len(left[name]) > 0
        assert_same(left[name], right[name], key)


@pytest.fixture(scope="module")
def arrivals(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> list[dict[str, Any]]:
    """Pairs of states, of an incremental warehouse and of a fresh one over the same rows, and what had happened.

    Nothing below int_arm_days keeps anything from run to run, so that most arrivals need to build no more than that.
    """
    inputs = ["exposures", "experiments", "outcomes"]
    before = variables(FEW_METRICS, **FEW, inputs=inputs)
    after = variables(OTHER_METRICS, **{**FEW, "analysis": {"lookback_days": 1}}, inputs=inputs)
    # Thirty take two minutes and more: EVALHOUSE_ARRIVALS=30 before a release.
    total = int(os.environ.get("EVALHOUSE_ARRIVALS", 8))
    stream = Stream(seed=20240302)
    grown = warehouse_factory(engine)
    pairs: list[dict[str, Any]] = []

    def compare(name: str, configuration: dict[str, Any]) -> None:
        fresh = warehouse_factory(engine)
        stream.load(fresh)
        for warehouse in (grown, fresh):
            warehouse.dbt("run", vars=configuration, select=selected())
        pairs.append({"name": name, "grown": state(grown), "fresh": state(fresh), "log": set(stream.log)})
        fresh.close()

    for number in range(1, total + 1):
        stream.arrive()
        stream.load(grown)
        if number in (total // 2, total):
            compare(f"after {number} arrivals", before)
        else:
            grown.dbt("run", vars=before, select=["+int_arm_days"])
    stream.ended_at = stream.clock - 5 * DAY
    stream.load(grown)
    compare("after a change of definitions", after)
    grown.close()
    return pairs


@pytest.mark.parametrize("place", range(3), ids=["halfway", "all_arrivals", "other_definitions"])
def test_incremental_is_full_refresh(arrivals: list[dict[str, Any]], place: int) -> None:
    pair = arrivals[place]
    assert_same_state(pair["grown"], pair["fresh"])


def test_every_kind_of_arrival_took_place(arrivals: list[dict[str, Any]]) -> None:
    corrections = {f"{table} {kind}" for table in ("exposures", "outcomes") for kind in ("delete", "move", "change")}
    assert arrivals[-1]["log"] >= {*corrections, "outcomes copy", "late exposures", "late outcomes"}
    first, _, last = (pair["grown"] for pair in arrivals)
    # The comparison says something: there is evidence, it changes, and the definitions did change it.
    assert len(first["int_unit_days"]) > 150
    assert (first["experiment_results_daily"]["status"] == "ok").sum() > 10
    assert set(last["experiment_results_daily"]["metric_name"]) == {item["name"] for item in OTHER_METRICS}
    assert set(last["marks"].groupby("experiment_id")["definition_hash"].nunique()) == {1}


# 3. A project that has its models built as tables, all of them.


def test_a_project_may_force_tables(tmp_path: Path, warehouse_factory: Callable[..., harness.Warehouse]) -> None:
    """What a project says about a folder of models must not turn the increments into a table of the newest days."""
    package = tmp_path / "package"
    package.mkdir()
    for name in ("dbt_project.yml", "models", "macros", "tests"):
        (package / name).symlink_to(harness.ROOT / name)
    project = tmp_path / "shop"
    project.mkdir()
    (project / "packages.yml").write_text(yaml.safe_dump({"packages": [{"local": str(package)}]}))
    (project / "dbt_project.yml").write_text(
        yaml.safe_dump(
            {
                "name": "shop",
                "version": "1.0.0",
                "config-version": 2,
                "profile": "evalhouse",
                "models": {"evalhouse": {"+materialized": "table"}},
            }
        )
    )
    inputs = ["exposures", "experiments", "outcomes"]
    configuration = variables(FEW_METRICS[:2], **FEW, inputs=inputs)
    stream = Stream(seed=5)
    forced = warehouse_factory("duckdb", project_dir=project)
    forced.dbt("deps")
    for _ in range(7):
        stream.arrive()
    stream.load(forced)
    forced.dbt("run", vars=configuration, select=["+int_arm_days"])
    for _ in range(2):
        stream.arrive()
    stream.load(forced)
    forced.dbt("run", vars=configuration, select=selected())
    plain = warehouse_factory("duckdb")
    stream.load(plain)
    plain.dbt("run", vars=configuration, select=selected())
    assert_same_state(state(forced), state(plain))
    forced.close()
    plain.close()


# 4. Numbers at the edge.


def edge_world() -> World:
    world = World(7)
    rng = world.rng
    for number in range(600):
        arm = ("control", "treatment")[number % 2]
        day = rng.uniform(0, 4)
        for experiment in ("offset", "constant", "refunded", "emptied"):
            unit = f"{experiment}{number}"
            world.expose(experiment, arm, unit, day)
            if experiment == "offset":
                # Paid up to two days after exposure: until then the unit is a zero.
                world.event(unit, "buy", day + rng.uniform(0, 2), 1e9 + rng.normal(0, 1) + number % 2)
            elif experiment == "constant":
                world.event(unit, "buy", day, 0.1 if arm == "control" else 0.3)
            elif experiment == "refunded":
                price = float(np.round(rng.lognormal(2, 1), 2))
                world.event(unit, "buy", day, price)
                world.event(unit, "buy", day + rng.uniform(0, 1.5), -price)
            elif arm == "treatment":
                world.expose(experiment, "control", unit, 5 + rng.uniform(0, 1))
            else:
                world.event(unit, "buy", day + rng.uniform(0, 1), 5.0 + number)
    # Bills stop after three days, everything else goes on.
    for number in range(100):
        world.bills.append({"customer": f"offset{number}", "paid_at": world.at(rng.uniform(0, 3)), "amount": 1.0})
    world.event("nobody", "visit", 8.5)
    return world


EDGE_METRICS = [
    metric("spend", "mean", **BUY),
    metric("spend_known", "mean", **BUY, missing="exclude"),
    metric("billed", "mean", **BILLS),
]


@pytest.fixture(scope="module")
def edges(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> dict[str, Any]:
    warehouse = warehouse_factory(engine)
    world = edge_world()
    world.load(warehouse)
    configuration = variables(EDGE_METRICS, dimensions=[], protected_dimensions=[], inputs=["exposures", "outcomes"])
    warehouse.dbt("run", vars=configuration, select=["+experiment_results_daily"])
    daily = warehouse.mart("experiment_results_daily")
    warehouse.close()
    return {"world": world, "daily": daily}


def values_of(world: World, experiment: str, day: int) -> pd.DataFrame:
    """Arm and total of every unit of an experiment at the end of a day, from the rows themselves."""
    end = world.at(day + 1)
    exposures = pd.DataFrame(world.exposures)
    exposures = exposures[(exposures["experiment_id"] == experiment) & (exposures["exposed_at"] < end)]
    units = exposures.sort_values("exposed_at").groupby("unit_id")
    arms = units["variation_id"].first()[units["variation_id"].nunique() == 1]
    events = pd.DataFrame(world.outcomes)
    events = events[(events["event_name"] == "buy") & (events["occurred_at"] < end)]
    totals = events.groupby("unit_id")["value"].sum()
    return pd.DataFrame({"arm": arms, "value": totals.reindex(arms.index).fillna(0.0)})


def world_date(day: int) -> pd.Timestamp:
    return START + day * DAY


def rows_of(edges: dict[str, Any], experiment: str, name: str) -> pd.DataFrame:
    daily = edges["daily"]
    rows = daily[(daily["experiment_id"] == experiment) & (daily["metric_name"] == name)]
    return rows.set_index("as_of_date").sort_index()


@pytest.mark.parametrize("name", ["spend", "spend_known"])
def test_large_means_keep_their_variance(edges: dict[str, Any], name: str) -> None:
    rows = rows_of(edges, "offset", name)
    for day in range(8):
        units = values_of(edges["world"], "offset", day)
        if name == "spend_known":
            units = units[units["value"] > 0]
        control = units.loc[units["arm"] == "control", "value"].to_numpy(np.longdouble)
        treatment = units.loc[units["arm"] == "treatment", "value"].to_numpy(np.longdouble)
        row = rows.loc[world_date(day)]
        assert row["status"] == "ok"
        assert (row["units_control"], row["units_treatment"]) == (len(control), len(treatment))
        variance = float(control.var(ddof=1) / len(control) + treatment.var(ddof=1) / len(treatment))
        assert row["se_absolute"] ** 2 == pytest.approx(variance, rel=1e-6)
        assert row["effect_absolute"] == pytest.approx(float(treatment.mean() - control.mean()), rel=1e-6, abs=1e-6)


def test_a_constant_is_refused_every_day(edges: dict[str, Any]) -> None:
    rows = rows_of(edges, "constant", "spend")
    assert len(rows) == 8
    assert set(rows["status_reason"]) == {"zero_variance"}
    assert set(rows["status"]) == {"refused"}


def test_what_is_given_back_leaves_nothing(edges: dict[str, Any]) -> None:
    rows = rows_of(edges, "refunded", "spend")
    assert (rows.loc[: world_date(3), "status"] == "ok").all()
    given_back = rows.loc[world_date(6) :]
    assert set(given_back["status_reason"]) == {"zero_variance"}
    assert (given_back[["value_control", "value_treatment"]] == 0).all(axis=None)


def test_an_arm_that_empties(edges: dict[str, Any]) -> None:
    rows = rows_of(edges, "emptied", "spend")
    assert rows.loc[world_date(4), "units_treatment"] == 300
    assert rows.loc[world_date(4), "status"] == "ok"
    assert set(rows.loc[world_date(6) :, "status_reason"]) == {"no_units_in_treatment"}
    assert set(rows.loc[world_date(6) :, "units_treatment"]) == {0}
    for day in range(8):
        units = values_of(edges["world"], "emptied", day)
        values = units.loc[units["arm"] == "control", "value"]
        row = rows.loc[world_date(day)]
        assert row["units_control"] == len(values)
        if row["status"] == "ok":
            assert row["value_control"] == pytest.approx(values.mean(), rel=1e-9)


def test_days_after_the_end_of_a_source_are_missing(edges: dict[str, Any]) -> None:
    billed = rows_of(edges, "offset", "billed")
    assert set(billed.loc[: world_date(2), "status"]) == {"ok"}
    stopped = billed.loc[world_date(3) :]
    assert len(stopped) == 5
    assert set(stopped["status"]) == {"missing"}
    assert set(stopped["status_reason"]) == {"source_not_complete"}
    assert set(stopped["verdict"]) == {"not_computed"}
    assert stopped[["p_value_adjusted", "p_value", "sequential_p_value"]].isna().all(axis=None)


@pytest.mark.parametrize("stopped", ["outcomes", "exposures"])
def test_a_source_that_comes_back_brings_its_days(
    engine: str, stopped: str, warehouse_factory: Callable[..., harness.Warehouse]
) -> None:
    """One source stands still for longer than the lookback while runs go on, and then delivers all that it owes."""
    start = pd.Timestamp("2024-05-06")
    units = pd.DataFrame({"unit_id": [f"u{number}" for number in range(240)]})
    units["exposed_at"] = start + pd.to_timedelta(np.arange(240) / 20, "D")
    units["experiment_id"] = "stalled"
    units["variation_id"] = np.where(np.arange(240) % 2 == 0, "control", "treatment")
    events = units[["unit_id"]].assign(
        outcome_id=[f"o{number}" for number in range(240)],
        event_name="fault",
        occurred_at=units["exposed_at"] + pd.Timedelta(minutes=5),
    )
    metric = {"name": "faults", "fact": "outcomes", "type": "proportion", "where": "event_name = 'fault'"}
    configuration = {"inputs": ["exposures", "outcomes"], "metrics": [{**metric, "direction": "decrease"}]}
    tables = {"exposures": (units, "exposed_at"), "outcomes": (events, "occurred_at")}
    warehouse = warehouse_factory(engine)
    for day, day_of_stopped in ((3, 3), (8, 3), (12, 12)):
        for table, (frame, time) in tables.items():
            until = day_of_stopped if table == stopped else day
            warehouse.load(table, frame[frame[time] < start + pd.Timedelta(days=until)])
        warehouse.dbt("run", vars=configuration, select=["+int_arm_days"])
    rows = warehouse.mart("int_unit_days").query("unit_id != ''")
    warehouse.close()
    assert len(rows) == 240
    assert (rows.filter(like="total_").iloc[:, 0] == 1).sum() >= 239


@pytest.mark.parametrize("counted", ["visit", "solve"])
def test_a_funnel_is_completed_by_an_event_that_nothing_else_counts(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse], counted: str
) -> None:
    """Its unit has no row of that day among the totals, be it the only fact that the funnel reads or not."""
    start = pd.Timestamp("2024-03-01")
    units = pd.DataFrame({"unit_id": [f"u{number}" for number in range(60)]})
    units["experiment_id"], units["exposed_at"] = "first", start + pd.Timedelta(hours=1)
    units["variation_id"] = ["control", "treatment"] * 30
    events = pd.DataFrame(
        [(f"a{number}", f"u{number}", "ask", start + pd.Timedelta(days=1)) for number in range(60)]
        + [(f"s{number}", f"u{number}", "solve", start + pd.Timedelta(days=9, hours=2)) for number in range(0, 60, 3)]
        + [(f"v{day}", "u59", "visit", start + pd.Timedelta(days=day, hours=3)) for day in range(12)],
        columns=["outcome_id", "unit_id", "event_name", "occurred_at"],
    )
    steps = [{"where": "event_name = 'ask'"}, {"where": "event_name = 'solve'"}]
    metrics = [metric("solved", "funnel", fact="outcomes", steps=steps)]
    if counted == "visit":
        metrics.append(metric("visits", "mean", **VISIT))
    configuration = {"inputs": ["exposures", "outcomes"], "metrics": metrics}
    grown, fresh = warehouse_factory(engine), warehouse_factory(engine)
    for warehouse, days in ((grown, (9, 12)), (fresh, (12,))):
        for day in days:
            warehouse.load("exposures", units)
            warehouse.load("outcomes", events[events["occurred_at"] < start + pd.Timedelta(days=day)])
            warehouse.dbt("run", vars=configuration, select=["+experiment_results_daily"])
    assert_same(grown.mart("experiment_results_daily"), fresh.mart("experiment_results_daily"), [*KEY, "as_of_date"])
    solved = fresh.mart("experiment_results_daily").query("metric_name == 'solved'")
    assert solved["value_treatment"].max() > 0.3
    grown.close()
    fresh.close()


@pytest.mark.parametrize("has_successor", [False, True])
def test_a_unit_whose_old_exposure_is_taken_back_counts_once(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse], has_successor: bool
) -> None:
    """From beyond the lookback: what is stored of the day of its former exposure is not found again, or not even missed
    where another unit came late on that day."""
    start = pd.Timestamp("2024-03-01")
    known = {"experiment_id": "first", "variation_id": "control"}
    exposures = pd.DataFrame(
        [{**known, "unit_id": f"u{number}", "exposed_at": start + pd.Timedelta(days=5)} for number in range(20)]
        + [{**known, "unit_id": unit, "exposed_at": start + pd.Timedelta(days=20)} for unit in ("u0", "u20")]
    )
    exposures.loc[exposures["unit_id"].isin([f"u{number}" for number in range(1, 20, 2)]), "variation_id"] = "treatment"
    events = pd.DataFrame(
        [(f"v{day}.{number}", f"u{number}", day) for day in range(22) for number in range(21)],
        columns=["outcome_id", "unit_id", "day"],
    )
    events["event_name"], events["occurred_at"] = "visit", start + pd.to_timedelta(events.pop("day"), unit="D")
    configuration = {
        "inputs": ["exposures", "outcomes"],
        "metrics": [
            metric("visits", "mean", **VISIT, cuped=True, cuped_days=4),
            metric("visits_3d", "mean", **VISIT, window_hours=72),
        ],
    }
    corrected = exposures[(exposures["unit_id"] != "u0") | (exposures["exposed_at"] > start + 6 * DAY)]
    if has_successor:
        corrected = pd.concat([corrected, exposures.iloc[[0]].assign(unit_id="u21")])
    warehouse = warehouse_factory(engine)
    warehouse.load("outcomes", events)
    for rows in (exposures, corrected):
        warehouse.load("exposures", rows)
        warehouse.dbt("run", vars=configuration, select=["+experiment_results"])
    results = warehouse.mart("experiment_results").query("dimension_name == 'all'")
    assert set(results.query("metric_name == 'visits_3d'")["value_control"].round(9)) == {4}
    result = results.query("metric_name == 'visits'")
    assert list(zip(result["units_control"], result["units_treatment"], strict=True)) == [(11, 10)]
    warehouse.close()


@pytest.mark.parametrize("shift", ["later", "earlier"])
def test_a_unit_whose_old_entry_moves_counts_once(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse], shift: str
) -> None:
    """Both days lie before the lookback: the results are those of a full refresh."""
    start = pd.Timestamp("2024-03-01")
    exposures = pd.DataFrame({"experiment_id": "first", "unit_id": [f"u{number}" for number in range(20)]})
    exposures["variation_id"] = ["control", "treatment"] * 10
    exposures["exposed_at"] = start + pd.Timedelta(days=5)
    moved = exposures.copy()
    moved.loc[0, "exposed_at"] = start + pd.Timedelta(days=8 if shift == "later" else 2)
    events = pd.DataFrame(
        [(f"v{day}.{number}", f"u{number}", day) for day in range(22) for number in range(20)],
        columns=["outcome_id", "unit_id", "day"],
    )
    events["event_name"], events["occurred_at"] = "visit", start + pd.to_timedelta(events.pop("day"), unit="D")
    configuration = {
        "inputs": ["exposures", "outcomes"],
        "metrics": [metric("visits", "mean", **VISIT, cuped=True, cuped_days=4)],
    }
    warehouse = warehouse_factory(engine)
    warehouse.load("outcomes", events)
    results = []
    for rows, command in ((exposures, "run"), (moved, "run"), (moved, "run --full-refresh")):
        warehouse.load("exposures", rows)
        warehouse.dbt(command, vars=configuration, select=["+experiment_results", "+experiment_results_daily"])
        results.append({name: warehouse.mart(name) for name in ("experiment_results", "experiment_results_daily")})
    _, grown, fresh = results
    assert_same(grown["experiment_results"], fresh["experiment_results"], KEY)
    assert_same(grown["experiment_results_daily"], fresh["experiment_results_daily"], [*KEY, "as_of_date"])
    assert len(grown["experiment_results"]) > 0
    warehouse.close()


def old_units_and_visits() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Twenty units that entered sixteen days before the newest data, one of them a day before, with a visit a day."""
    start = pd.Timestamp("2024-03-01")
    exposures = pd.DataFrame({"experiment_id": "first", "unit_id": [f"u{number}" for number in range(20)]})
    exposures["variation_id"], exposures["country"] = ["control", "treatment"] * 10, "fr"
    exposures["exposed_at"] = start + pd.Timedelta(days=5, hours=12)
    exposures.loc[19, "exposed_at"] = start + pd.Timedelta(days=20)
    events = pd.DataFrame(
        [(f"v{day}.{number}", f"u{number}", day) for day in range(25) for number in range(28)],
        columns=["outcome_id", "unit_id", "day"],
    )
    events["event_name"], events["occurred_at"] = "visit", start + pd.to_timedelta(events.pop("day"), unit="D")
    return exposures, events


def test_what_comes_late_makes_no_other_unit_of_one(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse]
) -> None:
    """An earlier exposure of the same day, from another country and from beyond the lookback: every kind of metric goes
    on to count the unit as it entered."""
    exposures, events = old_units_and_visits()
    late = exposures.iloc[[0]].assign(exposed_at=pd.Timestamp("2024-03-06T06:00:00"), country="de")
    capped = metric("visits_capped", "mean", **VISIT, cap={"kind": "percentile", "value": 0.9})
    configuration = {
        "inputs": ["exposures", "outcomes"],
        "dimensions": ["country"],
        "metrics": [metric("visits", "mean", **VISIT), capped],
    }
    warehouse = warehouse_factory(engine)
    warehouse.load("outcomes", events)
    for rows in (exposures, pd.concat([exposures, late])):
        warehouse.load("exposures", rows)
        warehouse.dbt("run", vars=configuration, select=["+experiment_results", "+experiment_results_daily"])
    for name in ("experiment_results", "experiment_results_daily"):
        slices = warehouse.mart(name).query("dimension_name == 'country'")
        assert set(slices["metric_name"]) == {"visits", "visits_capped"}
        assert set(slices["dimension_value"]) == {"fr"}
        assert set(slices["units_control"]) == {10}
    warehouse.close()


@pytest.mark.parametrize(("days", "hours"), [(5, 6), (8, 0)], ids=["before_the_first", "after_the_first"])
def test_a_second_variation_that_comes_late_is_noticed(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse], days: int, hours: int
) -> None:
    """From beyond the lookback: what the unit has done since it left is taken back, for every kind of metric."""
    exposures, events = old_units_and_visits()
    at = pd.Timestamp("2024-03-01") + pd.Timedelta(days=days, hours=hours)
    late = pd.concat([exposures, exposures.iloc[[0]].assign(exposed_at=at, variation_id="treatment")])
    capped = metric("visits_capped", "mean", **VISIT, cap={"kind": "percentile", "value": 0.99})
    configuration = {"inputs": ["exposures", "outcomes"], "metrics": [metric("visits", "mean", **VISIT), capped]}
    warehouse, marts = warehouse_factory(engine), []
    for rows, until, command in ((exposures, 22, "run"), (late, 22, "run"), (late, 25, "run"), (late, 25, "fresh")):
        warehouse.load("exposures", rows)
        warehouse.load("outcomes", events[events["occurred_at"] < pd.Timestamp("2024-03-01") + until * DAY])
        warehouse.dbt(
            "run" if command == "run" else "run --full-refresh",
            vars=configuration,
            select=["+experiment_results", "+experiment_results_daily"],
        )
        marts.append({name: warehouse.mart(name) for name in ("experiment_results", "experiment_results_daily")})
    _, _, grown, fresh = marts
    assert_same(grown["experiment_results"], fresh["experiment_results"], KEY)
    assert_same(grown["experiment_results_daily"], fresh["experiment_results_daily"], [*KEY, "as_of_date"])
    assert set(fresh["experiment_results"]["units_control"]) == {9}
    warehouse.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"dimensions": ["country"]}), ({"cuped_days": 3}, {"cuped_days": 4})],
    ids=["dimension", "days_before"],
)
def test_a_unit_that_a_rebuild_lets_in_has_its_days(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse], before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Late units count once all is read again for another reason, and then with everything they did."""
    exposures, events = old_units_and_visits()
    late = pd.concat([exposures] + [exposures.iloc[[0]].assign(unit_id=f"u{number}") for number in range(20, 28)])
    warehouse, marts = warehouse_factory(engine), []
    warehouse.load("outcomes", events)
    runs = (
        (exposures, before, "run"),
        (late, before, "run"),
        (late, after, "run"),
        (late, after, "run --full-refresh"),
    )
    for rows, change, command in runs:
        cuped = {"cuped": True, "cuped_days": change["cuped_days"]} if "cuped_days" in change else {}
        configuration = {
            "inputs": ["exposures", "outcomes"],
            "dimensions": change.get("dimensions", []),
            "metrics": [metric("visits", "mean", **VISIT, **cuped)],
        }
        warehouse.load("exposures", rows)
        warehouse.dbt(command, vars=configuration, select=["+experiment_results"])
        marts.append(warehouse.mart("experiment_results"))
    assert set(marts[1]["units_control"]) == {10}
    assert set(marts[2]["units_control"]) == {18}
    assert_same(marts[2], marts[3], KEY)
    warehouse.close()


def test_only_a_day_that_says_something_else_is_replaced(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse]
) -> None:
    """A stored number that no run would make shows whether its day was written again."""
    start = pd.Timestamp("2024-03-01")
    exposures = pd.DataFrame({"experiment_id": "first", "unit_id": [f"u{number}" for number in range(20)]})
    exposures["variation_id"], exposures["exposed_at"] = ["control", "treatment"] * 10, start
    events = pd.DataFrame(
        [(f"v{day}.{number}", f"u{number}", day, 1.0) for day in range(10) for number in range(20)],
        columns=["outcome_id", "unit_id", "day", "value"],
    )
    events["event_name"], events["occurred_at"] = "buy", start + pd.to_timedelta(events.pop("day"), unit="D")
    corrected = events.copy()
    corrected.loc[corrected["outcome_id"] == "v7.3", "value"] = 5.0
    configuration = {
        "inputs": ["exposures", "outcomes"],
        "metrics": [metric("spent", "mean", **BUY)],
        "analysis": {"lookback_days": 4},
    }
    warehouse = warehouse_factory(engine)
    warehouse.load("exposures", exposures)
    days = f"{warehouse.mart_schema}.int_unit_days"

    def run(rows: pd.DataFrame) -> dict[int, float]:
        """What the stored days of everybody come to, by day."""
        warehouse.load("outcomes", rows)
        warehouse.dbt("run", vars=configuration, select=["+experiment_results"])
        totals = warehouse.sql(f"select activity_date, sum(total_1) as total from {days} group by activity_date")
        return {
            (pd.Timestamp(row.activity_date) - start).days: row.total for row in totals.itertuples() if row.total > 0
        }

    assert run(events) == dict.fromkeys(range(10), 20.0)
    warehouse.execute(f"update {days} set total_1 = 100 where unit_id = 'u0'")
    wrong = dict.fromkeys(range(10), 119.0)
    assert run(events.sample(frac=1, random_state=1)) == wrong
    # The correction is of day 7: days before it stay as they are, though the lookback goes back to day 5.
    assert run(corrected) == {**wrong, 7: 24.0, 8: 20.0, 9: 20.0}
    warehouse.close()


def _small_world(days: int = 20) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Exposures of forty units on the first day, and an event with a value of each of them on every day."""
    start = pd.Timestamp("2024-03-01")
    exposures = pd.DataFrame({"experiment_id": "first", "unit_id": [f"u{number}" for number in range(40)]})
    exposures["variation_id"], exposures["exposed_at"] = ["control", "treatment"] * 20, start
    events = pd.DataFrame(
        [(f"v{day}.{number}", f"u{number}", day, number % 7 + day % 3) for day in range(days) for number in range(40)],
        columns=["outcome_id", "unit_id", "day", "value"],
    )
    events["event_name"], events["value"] = "buy", events["value"].astype(float)
    events["occurred_at"] = start + pd.to_timedelta(events.pop("day"), unit="D") + pd.Timedelta(hours=1)
    events["session_id"] = "s"
    return exposures, events


def _what_happens(case: str) -> list[tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]]:
    """Raw rows and configuration of one run after the other."""
    exposures, events = _small_world()
    start, early = exposures["exposed_at"].iloc[0], events["occurred_at"] < exposures["exposed_at"].iloc[0] + 18 * DAY
    again = pd.concat([exposures.assign(exposed_at=start + day * DAY) for day in range(20)])
    seen = again["exposed_at"] < start + 18 * DAY
    other = exposures.head(1).assign(variation_id="treatment", exposed_at=start + 17 * DAY)
    if case == "an_arm_empties":
        rolled_out = exposures[exposures["variation_id"] == "control"].assign(
            variation_id="treatment", exposed_at=start + 18 * DAY
        )
        return [(exposures, events[early], {}), (pd.concat([exposures, rolled_out]), events, {})]
    if case == "second_variation_on_a_day_without_entries":
        return [(again[seen], events[early], {}), (pd.concat([again, other]), events, {})]
    if case == "second_variation_is_taken_back":
        return [(pd.concat([again[seen], other]), events[early], {}), (again, events, {})]
    if case == "as_of_goes_far_back":
        back = {"as_of": "2024-03-11 16:00:00"}
        return [(exposures, events, {}), (exposures, events, back), (exposures, events, {})]
    if case == "a_source_that_stands_still_is_corrected":
        ended = events[events["occurred_at"] < start + 10 * DAY]
        corrected = ended.copy()
        corrected.loc[corrected["outcome_id"] == "v9.3", "value"] = 99.0
        return [(again, ended, {}), (again, corrected, {})]
    if case == "a_text_goes_missing":
        missing = events.copy()
        missing.loc[missing["outcome_id"] == "v18.3", "session_id"] = None
        return [(exposures, events, {}), (exposures, missing, {})]
    if case == "a_unit_without_a_cluster_sees_another_variation":
        clusters = {unit: None if unit == "u0" else f"c{number}" for number, unit in enumerate(exposures["unit_id"])}
        clustered, elsewhere = (rows.assign(cluster_id=rows["unit_id"].map(clusters)) for rows in (again, other))
        return [(clustered[seen], events[early], {}), (pd.concat([clustered, elsewhere]), events, {})]
    if case == "large_values_come_after_the_units":
        large = events["value"] + 1e9 * ~events.duplicated("unit_id")
        return [(exposures, events.head(0), {}), (exposures, events.assign(value=large), {})]
    raise ValueError(case)


@pytest.mark.parametrize(
    "case",
    [
        "an_arm_empties",
        "second_variation_on_a_day_without_entries",
        "second_variation_is_taken_back",
        "as_of_goes_far_back",
        "a_source_that_stands_still_is_corrected",
        "a_text_goes_missing",
        "a_unit_without_a_cluster_sees_another_variation",
        "large_values_come_after_the_units",
    ],
)
def test_what_a_run_has_to_notice(engine: str, warehouse_factory: Callable[..., harness.Warehouse], case: str) -> None:
    """Afterwards the results are those of a full refresh, and no day that was published has lost its values."""
    metrics = [
        metric("spent", "mean", **BUY, cuped=True, cuped_days=4),
        metric("spent_in_window", "mean", **BUY, window_hours=50),
        metric("sessions", "mean", fact="outcomes", where="event_name = 'buy'", value="session_id", **DISTINCT),
    ]
    warehouse = warehouse_factory(engine)
    select = ["+experiment_results", "+experiment_results_daily"]
    steps = _what_happens(case)
    for exposures, events, analysis in steps:
        warehouse.load("exposures", exposures)
        warehouse.load("outcomes", events, types=OUTCOME_TYPES)
        configuration = {
            "inputs": ["exposures", "outcomes"],
            "metrics": metrics,
            "analysis": {"lookback_days": 3, **analysis},
        }
        warehouse.dbt("run", vars=configuration, select=select)
    grown = {name: warehouse.mart(name) for name in ("experiment_results", "experiment_results_daily")}
    warehouse.dbt("run --full-refresh", vars=configuration, select=select)
    assert_same(grown["experiment_results"], warehouse.mart("experiment_results"), KEY)
    assert_same(grown["experiment_results_daily"], warehouse.mart("experiment_results_daily"), [*KEY, "as_of_date"])
    daily = grown["experiment_results_daily"].query("metric_name == 'spent' and status == 'ok'")
    assert len(daily) > 5
    assert (daily[["value_control", "value_treatment"]] > 0).all(axis=None)
    warehouse.close()


@pytest.mark.parametrize("stored_as", ["timestamp", "timestamptz", "text"])
def test_a_run_reads_new_days_however_the_raw_table_has_the_time(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse], stored_as: str
) -> None:
    """Older rows are skipped by the raw column where that is a time already. Infinity is none, and nothing is lost."""
    exposures, events = _small_world()
    early = events["occurred_at"] < exposures["exposed_at"].iloc[0] + 18 * DAY
    metrics = [metric("spent", "mean", **BUY, cuped=True, cuped_days=4)]
    conversions = {"timestamptz": "occurred_at at time zone 'UTC'", "text": "cast(occurred_at as text)"}
    warehouse = warehouse_factory(engine)
    warehouse.load("exposures", exposures)
    for command, rows in (("run", events[early]), ("run", events), ("run --full-refresh", events)):
        warehouse.load("outcomes", rows, types=OUTCOME_TYPES)
        warehouse.execute(
            """insert into raw.outcomes (outcome_id, unit_id, event_name, occurred_at, value)
            values ('never', 'u1', 'buy', 'infinity', 1), ('long_ago', 'u1', 'buy', '-infinity', 1)"""
        )
        if stored_as in conversions:
            warehouse.execute(
                f"alter table raw.outcomes alter column occurred_at type {stored_as} using {conversions[stored_as]}"
            )
        warehouse.dbt(
            command, vars={"inputs": ["exposures", "outcomes"], "metrics": metrics}, select=["+experiment_results"]
        )
        kept = warehouse.mart("int_outcomes").query("outcome_id != ''")
        assert sorted(kept["outcome_id"]) == sorted(rows["outcome_id"])
        results = warehouse.mart("experiment_results")
        if command == "run":
            grown = results
    assert_same(grown, results, KEY)
    warehouse.close()


def test_what_is_taken_back_cancels(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> None:
    """Prices and refunds of a unit: what a day ends is the number that the day before began with, to the last digit, or
    a value of many digits would stay in a bin of the histogram for ever."""
    exposures, events = _small_world(days=60)
    # Three days with prices, three on which they are given back, for each unit.
    prices = np.round(np.random.default_rng(5).lognormal(2, 1, (10, 1, 3, 40)), 2)
    events["value"] = np.concatenate([prices, -prices], axis=1).ravel()
    warehouse = warehouse_factory(engine)
    warehouse.load("exposures", exposures)
    warehouse.load("outcomes", events, types=OUTCOME_TYPES)
    metrics = [metric("middle", "quantile", **BUY, quantile=0.5)]
    warehouse.dbt(
        "run",
        vars={"inputs": ["exposures", "outcomes"], "metrics": metrics},
        select=["+int_quantile_changes"],
    )
    bins = warehouse.sql(
        f"""select unit_id, value_bin, sum(sign) as n from {warehouse.mart_schema}.int_quantile_changes
        where dimension_name = 'all' group by unit_id, value_bin"""
    )
    assert len(bins) > 40
    assert bins["n"].isin([0, 1]).all()
    warehouse.close()
