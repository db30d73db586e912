"""Inputs at the edges, and what every row of results owes its reader whatever the input.

Many experiments share one warehouse, so that each engine needs few runs. Values of single units are checked in
int_unit_metrics, results in experiment_results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
from scipy import stats

START = pd.Timestamp("2024-03-01 00:00:00")
HOUR = pd.Timedelta(hours=1)
SECOND = pd.Timedelta(seconds=1)

RESULT_NUMBERS = [
    "value_control",
    "value_treatment",
    "effect_absolute",
    "se_absolute",
    "ci_lower_absolute",
    "ci_upper_absolute",
    "effect_relative",
    "ci_lower_relative",
    "ci_upper_relative",
    "p_value",
    "p_value_adjusted",
    "sequential_ci_lower_absolute",
    "sequential_ci_upper_absolute",
    "sequential_p_value",
    "mde_absolute",
]
ALWAYS = [name for name in RESULT_NUMBERS if "relative" not in name and "sequential" not in name]
ARMS = ("control", "treatment")
KEY = ["experiment_id", "metric_name", "variation_id", "dimension_name", "dimension_value"]
EXPOSURE_TYPES = {"exposed_at": "timestamp", "cluster_id": "text", "exposure_kind": "text"}
OUTCOME_TYPES = {
    "outcome_id": "text",
    "unit_id": "text",
    "event_name": "text",
    "occurred_at": "timestamp",
    "value": "double precision",
    "session_id": "text",
    "loaded_at": "timestamp",
}


def check_results(mart: pd.DataFrame, alpha: float = 0.05, alphas: dict[str, float] | None = None) -> pd.DataFrame:
    """The promises of experiment_results: reasons for what is null, and one story from p, interval and verdict."""
    mart = mart.copy()
    level = mart["experiment_id"].map(alphas or {}).fillna(alpha).astype(float)
    assert not mart.duplicated(KEY).any()
    assert (
        mart[[*KEY, "status", "verdict", "adjustment", "units_control", "units_treatment", "as_of_at"]]
        .notna()
        .all(axis=None)
    )
    assert set(mart["status"]) <= {"ok", "insufficient", "refused", "missing"}
    is_ok = mart["status"] == "ok"
    incomplete = mart[RESULT_NUMBERS].isna().any(axis=1)
    silent = mart[incomplete & mart["status_reason"].isna()]
    assert silent.empty, silent[[*KEY, "status"]]
    assert mart.loc[~is_ok, "status_reason"].notna().all()
    assert (mart["verdict"].eq("not_computed") == ~is_ok).all()
    unjudged = [name for name in RESULT_NUMBERS if name.startswith(("p_", "ci_", "sequential_"))]
    assert mart.loc[~is_ok, unjudged].isna().all(axis=None)
    ok = mart[is_ok]
    level = level[is_ok]
    # A reason where everything was computed would be noise.
    assert ok.loc[ok["status_reason"].notna(), RESULT_NUMBERS].isna().any(axis=1).all()
    assert ok[ALWAYS].notna().all(axis=None), ok.loc[ok[ALWAYS].isna().any(axis=1), KEY]
    assert np.isfinite(ok[ALWAYS].astype(float)).all(axis=None)
    for name in ("p_value", "p_value_adjusted", "sequential_p_value"):
        assert ok[name].dropna().between(0, 1).all()
    assert (ok["p_value_adjusted"] >= ok["p_value"]).all()
    assert (ok["ci_lower_absolute"] <= ok["effect_absolute"]).all()
    assert (ok["ci_upper_absolute"] >= ok["effect_absolute"]).all()
    excludes = (ok["ci_lower_absolute"] > 0) | (ok["ci_upper_absolute"] < 0)
    # A bound that an exact test puts at zero belongs to the side that the test says.
    touches = (ok["ci_lower_absolute"] == 0) | (ok["ci_upper_absolute"] == 0)
    wrong = ok[(excludes != (ok["p_value"] < level)) & ~(touches & (ok["adjustment"] == "exact"))]
    assert wrong.empty, wrong[[*KEY, "p_value", "ci_lower_absolute", "ci_upper_absolute"]]
    related = ok[ok["ci_lower_relative"].notna() & ok["ci_upper_relative"].notna()]
    excludes = (related["ci_lower_relative"] > 0) | (related["ci_upper_relative"] < 0)
    touches = (related["ci_lower_relative"] == 0) | (related["ci_upper_relative"] == 0)
    wrong = related[
        (excludes != (related["p_value"] < level[related.index])) & ~(touches & (related["adjustment"] == "exact"))
    ]
    assert wrong.empty, wrong[[*KEY, "p_value", "ci_lower_relative", "ci_upper_relative"]]
    sequential = ok[ok["sequential_ci_lower_absolute"].notna()]
    excludes = (sequential["sequential_ci_lower_absolute"] > 0) | (sequential["sequential_ci_upper_absolute"] < 0)
    assert (excludes == (sequential["sequential_p_value"] < level[sequential.index])).all()
    decided = ok["verdict"].isin(["better", "worse"])
    assert (decided == ((ok["p_value_adjusted"] < level) & (ok["effect_absolute"] != 0))).all()
    return mart.replace({np.nan: None})


class World:
    """Collects exposures and events; times are hours after START."""

    def __init__(self) -> None:
        self.exposures: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.variations: list[dict[str, Any]] = []
        self.phases: list[dict[str, Any]] = []

    def expose(self, experiment: str, variation: str, unit: str, at: float = 0, **extra: Any) -> str:
        """Exposes a unit, whose id becomes <experiment>.<unit>, and returns the id."""
        name = f"{experiment}.{unit}"
        row = {"experiment_id": experiment, "variation_id": variation, "unit_id": name, "exposed_at": START + at * HOUR}
        self.exposures.append({"cluster_id": None, "exposure_kind": None, **row, **extra})
        return name

    def event(self, unit: str, name: str, at: float = 1, value: float | None = None, **extra: Any) -> None:
        row = {"outcome_id": f"o{len(self.outcomes)}", "unit_id": unit, "event_name": name, "value": value}
        row |= {"occurred_at": START + pd.Timedelta(seconds=round(at * 3600)), "session_id": None, "loaded_at": None}
        self.outcomes.append({**row, **extra})

    def arm(
        self, experiment: str, variation: str, values: Iterable[float | None], event: str = "buy", **extra: Any
    ) -> None:
        """One unit per value; None is a unit without an event."""
        for number, value in enumerate(values):
            unit = self.expose(experiment, variation, f"{variation}{number}", **extra)
            if value is not None:
                self.event(unit, event, value=float(value))

    def load(self, warehouse: harness.Warehouse) -> None:
        warehouse.load("exposures", pd.DataFrame(self.exposures), types=EXPOSURE_TYPES)
        warehouse.load("outcomes", pd.DataFrame(self.outcomes), types=OUTCOME_TYPES)
        columns = ["experiment_id", "control_variation_id", "started_at", "ended_at", "stage", "alpha"]
        kinds = {"started_at": "timestamp", "ended_at": "timestamp", "stage": "text", "alpha": "double precision"}
        warehouse.load("experiments", pd.DataFrame(self.experiments, columns=columns), types=kinds)
        columns = ["experiment_id", "variation_id", "is_control", "expected_weight"]
        kinds = {"is_control": "boolean", "expected_weight": "double precision"}
        warehouse.load("experiment_variations", pd.DataFrame(self.variations, columns=columns), types=kinds)
        columns = ["experiment_id", "phase_started_at", "variation_id", "expected_weight"]
        warehouse.load("experiment_phases", pd.DataFrame(self.phases, columns=columns))

    def register(self, experiment: str, arms: Iterable[str], **extra: Any) -> None:
        arms = list(arms)
        self.experiments.append({"experiment_id": experiment, "control_variation_id": arms[0], **extra})
        self.variations += [
            {"experiment_id": experiment, "variation_id": arm, "is_control": arm == arms[0], "expected_weight": 1.0}
            for arm in arms
        ]


BUY = {"fact": "outcomes", "where": "event_name = 'buy'", "value": "value"}
VISIT = {"fact": "outcomes", "where": "event_name = 'visit'"}
METRICS: list[dict[str, Any]] = [
    {"name": "spend", "type": "mean", **BUY},
    {"name": "spend_known", "type": "mean", **BUY, "missing": "exclude"},
    {"name": "spend_3h", "type": "mean", **BUY, "window_hours": 3},
    {"name": "spend_top", "type": "mean", **BUY, "aggregate": "max"},
    {"name": "spend_capped", "type": "mean", **BUY, "cap": {"kind": "absolute", "value": 10}},
    {"name": "spend_trimmed", "type": "mean", **BUY, "cap": {"kind": "percentile", "value": 0.9}},
    {"name": "spend_cuped", "type": "mean", **BUY, "cuped": True, "cuped_days": 2},
    {
        "name": "harmed",
        "type": "proportion",
        "fact": "outcomes",
        "where": "event_name = 'harm'",
        "direction": "decrease",
    },
    {"name": "sessions", "type": "mean", **VISIT, "value": "session_id", "aggregate": "count_distinct"},
    {"name": "visits", "type": "mean", **VISIT, "aggregate": "count"},
    {"name": "active_days", "type": "participation", **VISIT, "window_hours": 72},
    {"name": "returned", "type": "retention", **VISIT, "delay_hours": 24, "window_hours": 24},
    {"name": "spend_per_visit", "type": "ratio", **BUY, "denominator": {**VISIT, "aggregate": "count"}},
    {"name": "spend_per_tick", "type": "ratio", **BUY, "denominator": {"fact": "ticks", "value": "amount"}},
    {"name": "median_spend", "type": "quantile", **BUY, "quantile": 0.5, "missing": "exclude"},
    {"name": "p80_order", "type": "quantile", **BUY, "quantile": 0.8, "quantile_of": "events"},
    {
        "name": "checkout",
        "type": "funnel",
        "fact": "outcomes",
        "steps": [
            {"where": "event_name = 'view'", "window_hours": 2},
            {"where": "event_name = 'cart'", "window_hours": 1},
            {"where": "event_name = 'buy'"},
        ],
    },
    {
        "name": "tripled",
        "type": "funnel",
        "fact": "outcomes",
        "steps": [{"where": "event_name = 'view'"}] * 3,
    },
]
FACTS = [{"name": "ticks", "relation": "raw.ticks", "unit_column": "who", "time_column": "moment"}]
ALL_INPUTS = ["exposures", "experiments", "experiment_variations", "experiment_phases", "outcomes"]


def variables(**extra: Any) -> dict[str, Any]:
    return {"inputs": ALL_INPUTS, "facts": FACTS, "metrics": METRICS, **extra}


def _hand_made(world: World) -> dict[tuple[str, str], float | None]:
    """Single units of experiment `hand`, and the values that they must have."""
    expected: dict[tuple[str, str], float | None] = {}

    def unit(name: str, **values: float | None) -> str:
        known = world.expose("hand", "treatment" if len(expected) % 2 else "control", name)
        expected.update({(known, metric): value for metric, value in values.items()})
        return known

    who = unit("window", spend_3h=7.0, spend=23.0, spend_top=8.0, spend_known=23.0)
    for at, value in ((-1 / 3600, 100), (0, 3), (3, 4), (3 + 1 / 3600, 8), (20, 8)):
        world.event(who, "buy", at, value)
    who = unit(
        "never", spend=0.0, spend_known=None, spend_top=0.0, sessions=0.0, visits=0.0, active_days=0.0, returned=0
    )
    who = unit("null_value", spend=0.0, spend_known=None)
    world.event(who, "buy", 1, None)
    for name, at, value in (
        ("at_24h", 24, 1.0),
        ("at_48h", 48, 1.0),
        ("before", 24 - 1 / 3600, 0.0),
        ("late", 48 + 1 / 3600, 0.0),
    ):
        world.event(unit(f"returned_{name}", returned=value), "visit", at)
    who = unit("visitor", sessions=2.0, visits=4.0, active_days=2 / 3)
    for at, session in ((0, "a"), (1, "a"), (30, "b"), (31, None)):
        world.event(who, "visit", at, session_id=session)
    world.event(unit("third_day_end", active_days=1 / 3), "visit", 72 - 1 / 3600)
    who = unit("before", spend_cuped=5.0, spend=5.0)
    for at in (-48, -1 / 3600):
        world.event(who, "buy", at, 2.0)
    world.event(who, "buy", -48 - 1 / 3600, 1000.0)
    world.event(who, "buy", 0, 5.0)
    who = unit("corrected", spend=4.0)
    for value, hours in ((9.0, 1), (4.0, 3), (6.0, 2)):
        world.event(who, "buy", 1, value, outcome_id="same", loaded_at=START + hours * HOUR)
    who = unit("not_a_number", spend=2.0)
    world.event(who, "buy", 1, float("inf"))
    world.event(who, "buy", 1, 2.0)
    funnels = {
        "in_order": ([("view", 0), ("cart", 1), ("buy", 9)], 1),
        "at_the_ends": ([("view", 2), ("cart", 3), ("buy", 3)], 1),
        "same_moment": ([("buy", 1), ("cart", 1), ("view", 1)], 1),
        "wrong_order": ([("buy", 0.1), ("cart", 0.2), ("view", 0.3)], 0),
        "late_first": ([("view", 2 + 1 / 3600), ("cart", 2.5), ("buy", 3)], 0),
        "late_second": ([("view", 0), ("cart", 1 + 1 / 3600), ("buy", 3)], 0),
        "second_try": ([("view", 0), ("view", 1.5), ("cart", 2), ("buy", 3)], 1),
        "no_last": ([("view", 0), ("cart", 0.5)], 0),
        "skipped": ([("view", 0), ("buy", 0.5)], 0),
        "before_exposure": ([("view", -0.1), ("cart", 0.1), ("buy", 0.2)], 0),
        "cart_between": ([("cart", 0.1), ("view", 0.2), ("cart", 0.3), ("buy", 0.3)], 1),
        "buy_then_again": ([("buy", 0), ("view", 0.2), ("cart", 0.3), ("buy", 5)], 1),
    }
    for name, (events, reached) in funnels.items():
        who = unit(f"funnel_{name}", checkout=float(reached))
        for event, at in events:
            world.event(who, event, at, 1.0)
    for views in (2, 3):
        who = unit(f"views_{views}", tripled=float(views == 3))
        for _ in range(views):
            world.event(who, "view", 1)
    who = unit("ticks", spend_per_tick=2.0, spend_per_tick__d=1.0)
    world.event(who, "buy", 1, 2.0)
    unit("no_ticks", spend_per_tick=0.0, spend_per_tick__d=0.0)
    # Exposed on the last day: what needs more time to be seen is not known yet; the rest is.
    late = world.expose("hand", "control", "immature", at=24 * 9 - 2)
    world.event(late, "buy", 24 * 9 - 1, 3.0)
    expected.update(
        {(late, "spend"): 3.0, (late, "spend_3h"): None, (late, "returned"): None, (late, "active_days"): None}
    )
    return expected


def build_world() -> tuple[World, dict[tuple[str, str], float | None]]:
    rng = np.random.default_rng(20240301)
    world = World()
    expected = _hand_made(world)

    def noise(size: int, mean: float = 10.0, sd: float = 2.0) -> np.ndarray:
        return rng.normal(mean, sd, size)

    # The last event of all: the data's now, nine days in.
    world.event("nobody", "visit", 24 * 9)

    world.arm("from_nothing", "control", [None] * 10_000)
    world.arm("from_nothing", "treatment", [1.0] * 300 + [None] * 9_700, event="harm")
    world.arm("twelvefold", "control", [1.0] * 10 + [None] * 1_990, event="harm")
    world.arm("twelvefold", "treatment", [1.0] * 120 + [None] * 1_880, event="harm")
    world.arm("lone_unit", "control", [1.0])
    world.arm("one_each", "control", [1.0])
    world.arm("one_each", "treatment", [2.0])
    world.arm("one_sided", "treatment", noise(50))
    world.register("one_sided", ["control", "treatment"])
    world.arm("never_shown", "control", noise(50))
    world.arm("never_shown", "treatment", noise(50))
    world.register("never_shown", ["control", "treatment", "shelved"])
    world.register("nobody_yet", ["control", "treatment"])
    world.arm("constant", "control", [5.0] * 200)
    world.arm("constant", "treatment", [5.0] * 200)
    world.arm("constant_shift", "control", [0.1] * 300)
    world.arm("constant_shift", "treatment", [0.3] * 300)
    world.arm("constant_control", "control", [5.0] * 200)
    world.arm("constant_control", "treatment", noise(200, 6))
    world.arm("all_null", "control", [None] * 200)
    world.arm("all_null", "treatment", [None] * 200)
    world.arm("negative", "control", noise(200, -10))
    world.arm("negative", "treatment", noise(200, -8))
    world.arm("around_zero", "control", noise(200, 0))
    world.arm("around_zero", "treatment", noise(200, 1))
    world.arm("offset", "control", 1e9 + noise(500, 0, 1))
    world.arm("offset", "treatment", 1e9 + noise(500, 0.3, 1))
    # One unit spoils the mean of all; the caps are there for it.
    world.arm("outlier", "control", noise(200, 5))
    world.arm("outlier", "treatment", [*noise(199, 6), 1e15])
    # Nothing in control, something in treatment, no 0/1 metric: the control value is zero, not what rounding leaves.
    world.arm("untouched", "control", [None] * 300)
    world.arm("untouched", "treatment", [0.1, 0.7, 0.3] * 100)
    for variation, sold in (("control", 1.0), ("treatment", 2.0)):
        for number in range(150):
            # Money is a constant times visits: every unit has the same ratio.
            who = world.expose("fixed_price", variation, f"{variation}{number}")
            for _ in range(1 + number % 5):
                world.event(who, "visit")
                world.event(who, "buy", 1, 0.1 * sold)
    for variation in ("control", "treatment"):
        for number, amount in enumerate(noise(150)):
            # Everybody repeats what they did before: the covariate explains everything.
            who = world.expose("creatures_of_habit", variation, f"{variation}{number}")
            world.event(who, "buy", -1, amount)
            world.event(who, "buy", 1, amount)
    # Who counts as exposed.
    world.register("who_counts", ["control", "treatment"], started_at=START - HOUR, ended_at=START + 48 * HOUR)
    world.arm("who_counts", "control", noise(30))
    world.arm("who_counts", "treatment", noise(30))
    for variation in ("control", "treatment"):
        world.expose("who_counts", variation, "both")
    world.expose("who_counts", "surprise", "unknown_variation")
    world.expose("who_counts", "control", "early", at=-2)
    world.expose("who_counts", "control", "late", at=48 + 1 / 3600)
    world.expose("who_counts", "treatment", "shadow", exposure_kind="shadow")
    world.expose("who_counts", "treatment", "held_out", exposure_kind="holdout")
    world.expose("who_counts", "treatment", "odd_kind", exposure_kind="dreamt")
    world.expose("who_counts", "treatment", "served", at=48, exposure_kind="SERVED")
    world.register("held_back", ["holdout", "everyone"], stage="holdout")
    world.arm("held_back", "holdout", noise(40), exposure_kind="holdout")
    world.arm("held_back", "everyone", noise(40), exposure_kind="served")
    # Clusters that hold both arms; some units have none.
    for number, amount in enumerate(noise(400)):
        cluster = f"c{number // 10}"
        who = world.expose("villages", "treatment" if number % 2 else "control", f"u{number}", cluster_id=cluster)
        shift = stats.norm.ppf((hash_of(cluster) + 0.5) / 997)
        for _ in range(1 + number % 3):
            world.event(who, "visit")
            world.event(who, "buy", 1, amount + 3 * shift)
    world.expose("villages", "control", "homeless")
    # A ramp 1% -> 10% -> 50% while the base rate falls: treatment is two points worse in every phase.
    world.register("ramp", ["control", "treatment"])
    for phase, (share, base) in enumerate([(0.01, 0.30), (0.10, 0.27), (0.50, 0.22)]):
        for variation, part in (("control", 1 - share), ("treatment", share)):
            world.phases.append(
                {
                    "experiment_id": "ramp",
                    "phase_started_at": START + 48 * phase * HOUR,
                    "variation_id": variation,
                    "expected_weight": part,
                }
            )
            units = round(6_000 * part)
            harmed = round(units * (base + (0.02 if variation == "treatment" else 0)))
            for number in range(units):
                who = world.expose("ramp", variation, f"{phase}{variation}{number}", at=48 * phase)
                if number < harmed:
                    world.event(who, "harm", 48 * phase + 1)
    return world, expected


def hash_of(text: str) -> int:
    return sum(ord(letter) * 31**position for position, letter in enumerate(text)) % 997


def ticks() -> pd.DataFrame:
    rows = [("hand.ticks", START + HOUR, 1.0), ("hand.ticks", START - HOUR, 50.0), ("hand.no_ticks", START + HOUR, 0.0)]
    rows.append(("nobody", START + 24 * 9 * HOUR, 0.0))
    return pd.DataFrame(rows, columns=["who", "moment", "amount"])


class Edges:
    def __init__(self, warehouse: harness.Warehouse) -> None:
        self.warehouse = warehouse
        world, self.expected = build_world()
        world.load(warehouse)
        warehouse.load("ticks", ticks())
        warehouse.dbt("run", vars=variables())
        self.mart = warehouse.mart("experiment_results")
        self.units = warehouse.mart("int_unit_metrics").set_index(["experiment_id", "unit_id"])
        self.world = world

    def row(self, experiment: str, metric: str, variation: str | None = None) -> dict[str, Any]:
        mart = self.mart
        chosen = mart[(mart["experiment_id"] == experiment) & (mart["metric_name"] == metric)]
        if variation:
            chosen = chosen[chosen["variation_id"] == variation]
        assert len(chosen) == 1, (experiment, metric)
        return {name: None if pd.isna(value) else value for name, value in chosen.iloc[0].items()}

    def spends(self, experiment: str) -> tuple[np.ndarray, np.ndarray]:
        """What the units of an experiment without odd units spent, from the raw rows."""
        spent = {row["unit_id"]: row["value"] for row in self.world.outcomes if row["event_name"] == "buy"}
        rows = [row for row in self.world.exposures if row["experiment_id"] == experiment]
        arms = [[spent.get(row["unit_id"], 0.0) for row in rows if row["variation_id"] == arm] for arm in ARMS]
        return np.array(arms[0]), np.array(arms[1])


@pytest.fixture(scope="module")
def edges(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> Edges:
    return Edges(warehouse_factory(engine))


def test_every_row_keeps_its_promises(edges: Edges) -> None:
    check_results(edges.mart)
    # A row for every metric and every variation that isn't control; an experiment of one arm has no comparison.
    compared = edges.mart.groupby("experiment_id").size()
    assert (compared == len(METRICS) * compared.index.map({"never_shown": 2}).fillna(1).astype(int)).all()
    exposed = {row["experiment_id"] for row in edges.world.exposures}
    assert set(compared.index) == exposed - {"lone_unit"} | {"nobody_yet"}


def test_values_of_single_units(edges: Edges) -> None:
    """Windows, delays, funnels, sessions, days, corrections: the raw rows of these units are in `_hand_made`."""
    wrong = {}
    for (unit, metric), wanted in edges.expected.items():
        column = metric if "__" in metric else f"{metric}__y"
        actual = edges.units.loc[("hand", unit), column]
        if not (pd.isna(actual) if wanted is None else actual == pytest.approx(wanted, rel=1e-12)):
            wrong[unit, metric] = (actual, wanted)
    assert not wrong


def test_maturity_is_judged_per_metric(edges: Edges) -> None:
    """The unit of the last day counts only where nothing has to ripen."""
    units = {
        name: edges.row("hand", name)["units_control"] for name in ("spend", "spend_3h", "returned", "active_days")
    }
    assert units == {name: units["spend"] - (name != "spend") for name in units}


def test_covariate_is_strictly_before_exposure(edges: Edges) -> None:
    covariates = edges.units.loc[("hand", "hand.before")]
    assert covariates["spend_cuped__x"] == 4.0


@pytest.mark.parametrize(
    "experiment", ["never_shown", "constant_control", "negative", "around_zero", "offset", "creatures_of_habit"]
)
def test_means_are_welch(edges: Edges, experiment: str) -> None:
    row = edges.row(experiment, "spend", "treatment")
    control, treatment = edges.spends(experiment)
    # Differences from a common point are exact in doubles: the reference doesn't lose what it is there to check.
    point = np.round(control[0])
    control, treatment = control - point, treatment - point
    welch = stats.ttest_ind(treatment, control, equal_var=False)
    interval = welch.confidence_interval()
    assert row["effect_absolute"] == pytest.approx(treatment.mean() - control.mean(), rel=1e-9)
    variance = control.var(ddof=1) / len(control) + treatment.var(ddof=1) / len(treatment)
    assert row["se_absolute"] == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert row["p_value"] == pytest.approx(welch.pvalue, rel=1e-7)
    assert row["ci_lower_absolute"] == pytest.approx(interval.low, rel=1e-7)
    assert row["ci_upper_absolute"] == pytest.approx(interval.high, rel=1e-7)


def test_signs_of_relative_effects(edges: Edges) -> None:
    """Up is up, also from a negative control mean; and no ratio to a mean that may be zero."""
    row = edges.row("negative", "spend")
    assert (row["effect_absolute"] > 0, row["effect_relative"] > 0, row["verdict"]) == (True, True, "better")
    assert row["effect_relative"] == pytest.approx(row["effect_absolute"] / abs(row["value_control"]), rel=1e-12)
    assert 0 < row["ci_lower_relative"] < row["effect_relative"] < row["ci_upper_relative"]
    row = edges.row("around_zero", "spend")
    assert (row["status"], row["verdict"]) == ("ok", "better")
    assert row["effect_relative"] is None and row["status_reason"] == "control_not_separated_from_zero"
    row = edges.row("untouched", "spend")
    assert (row["status"], row["verdict"], row["value_control"]) == ("ok", "better", 0.0)
    assert row["effect_relative"] is None and row["status_reason"] == "control_not_separated_from_zero"


@pytest.mark.parametrize(
    ("experiment", "events", "units"), [("from_nothing", (0, 300), 10_000), ("twelvefold", (10, 120), 2_000)]
)
def test_rare_events(edges: Edges, experiment: str, events: tuple[int, int], units: int) -> None:
    row = edges.row(experiment, "harmed")
    table = [[count, units - count] for count in events]
    assert row["adjustment"] == "exact"
    assert row["p_value"] == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-7)
    assert row["effect_absolute"] == pytest.approx((events[1] - events[0]) / units, rel=1e-12)
    assert 0 < row["ci_lower_absolute"] < row["effect_absolute"] < row["ci_upper_absolute"]
    assert row["verdict"] == "worse"
    if events[0]:
        assert row["effect_relative"] == pytest.approx(events[1] / events[0] - 1)
        assert 0 < row["ci_lower_relative"] < row["effect_relative"] < row["ci_upper_relative"]
    else:
        assert row["effect_relative"] is None and row["status_reason"] == "control_not_separated_from_zero"


@pytest.mark.parametrize(
    ("experiment", "metric", "variation", "status", "reason"),
    [
        ("one_each", "spend", "treatment", "insufficient", "fewer_than_two_units"),
        ("one_sided", "spend", "treatment", "insufficient", "no_units_in_control"),
        ("never_shown", "spend", "shelved", "insufficient", "no_units_in_treatment"),
        ("nobody_yet", "spend", "treatment", "insufficient", "no_units_in_either_arm"),
        ("all_null", "spend_known", "treatment", "insufficient", "no_units_in_either_arm"),
        ("all_null", "spend", "treatment", "refused", "zero_variance"),
        ("constant", "spend", "treatment", "refused", "zero_variance"),
        ("constant_shift", "spend", "treatment", "refused", "zero_variance"),
        ("fixed_price", "spend_per_visit", "treatment", "refused", "zero_variance"),
        ("creatures_of_habit", "spend_cuped", "treatment", "refused", "zero_variance"),
        ("negative", "spend_per_visit", "treatment", "refused", "denominator_is_zero"),
        ("hand", "spend_per_tick", "treatment", "refused", "denominator_is_zero"),
        ("hand", "p80_order", "treatment", "insufficient", "too_few_units_for_quantile"),
    ],
)
def test_what_has_no_answer_says_why(
    edges: Edges, experiment: str, metric: str, variation: str, status: str, reason: str
) -> None:
    row = edges.row(experiment, metric, variation)
    assert (row["status"], row["status_reason"], row["verdict"]) == (status, reason, "not_computed")


def test_caps(edges: Edges) -> None:
    for experiment in ("negative", "around_zero", "constant_control", "outlier"):
        control, treatment = edges.spends(experiment)
        both = np.concatenate([control, treatment])
        limits = {"spend_capped": (-10, 10), "spend_trimmed": (min(np.quantile(both, 0.1), 0), np.quantile(both, 0.9))}
        for metric, (lower, upper) in limits.items():
            row = edges.row(experiment, metric)
            arms = [np.clip(arm, lower, upper) for arm in (control, treatment)]
            error = np.sqrt(sum(arm.var(ddof=1) / len(arm) for arm in arms))
            effect = arms[1].mean() - arms[0].mean()
            assert row["effect_absolute"] == pytest.approx(effect, rel=1e-9), (experiment, metric)
            assert row["value_control"] == pytest.approx(arms[0].mean(), rel=1e-9), (experiment, metric)
            assert row["se_absolute"] == pytest.approx(error, rel=1e-9), (experiment, metric)


def test_who_counts_as_exposed(edges: Edges) -> None:
    row = edges.row("who_counts", "spend")
    assert (row["units_control"], row["units_treatment"]) == (30, 31)
    row = edges.row("held_back", "spend")
    assert (row["control_variation_id"], row["units_control"], row["units_treatment"]) == ("holdout", 40, 40)
    quality = edges.warehouse.mart("input_quality").set_index(["input_name", "rule"])
    rules = (
        "shadow",
        "held_out",
        "unknown_exposure_kind",
        "unknown_variation",
        "outside_experiment",
        "several_variations",
    )
    dropped = {rule: quality.loc[("exposures", rule), "rows_dropped"] for rule in rules}
    assert dropped == dict.fromkeys(rules, 1) | {"outside_experiment": 2, "several_variations": 2}


def test_clusters_carry_both_arms(edges: Edges) -> None:
    """Mean and ratio against the sandwich over clusters; quantiles have an answer too."""
    units = edges.units.loc["villages"]
    # `homeless` has no village.
    assert len(units) == 400
    y, d = units["spend_per_visit__y"].to_numpy(), units["spend_per_visit__d"].to_numpy()
    is_treated = (units["variation_id"] == "treatment").to_numpy()
    for metric, below in (("spend", np.ones(len(y))), ("spend_per_visit", d)):
        row = edges.row("villages", metric)
        values, influence = [], np.zeros(len(y))
        for arm, sign in ((~is_treated, -1), (is_treated, 1)):
            value = y[arm].sum() / below[arm].sum()
            values.append(value)
            influence[arm] = sign * (y[arm] - value * below[arm]) / below[arm].sum()
        sums = pd.Series(influence).groupby(units["cluster_id"].to_numpy()).sum()
        clusters, n = len(sums), len(y)
        error = np.sqrt(clusters / (clusters - 1) * (n - 1) / (n - 2) * (sums**2).sum())
        p_value = 2 * stats.t.sf(abs(values[1] - values[0]) / error, clusters - 1)
        assert row["adjustment"] == "clustered"
        assert row["effect_absolute"] == pytest.approx(values[1] - values[0], rel=1e-9)
        assert row["se_absolute"] == pytest.approx(error, rel=1e-9)
        assert row["p_value"] == pytest.approx(p_value, rel=1e-7)
    row = edges.row("villages", "median_spend")
    assert (row["status"], row["adjustment"]) == ("ok", "clustered")
    assert row["value_control"] == pytest.approx(np.median(y[~is_treated]), rel=1e-12)


def test_a_ramp_is_compared_within_phases(edges: Edges) -> None:
    """Pooled, the treatment that harms looks like a benefit: most of its units came when the base rate was low."""
    row = edges.row("ramp", "harmed")
    units = edges.units.loc["ramp"]
    by_phase = units.groupby(["phase_number", "variation_id"])["harmed__y"].agg(["mean", "size"])
    pooled = units.groupby("variation_id")["harmed__y"].mean()
    assert pooled["treatment"] < pooled["control"] - 0.02
    weights, effects, variances = [], [], []
    for phase in (1, 2, 3):
        (a, n_a), (b, n_b) = (by_phase.loc[(phase, arm)] for arm in ARMS)
        weights.append(n_a * n_b / (n_a + n_b))
        effects.append(b - a)
        variances.append(a * (1 - a) / n_a + b * (1 - b) / n_b)
    weights = np.array(weights) / sum(weights)
    assert row["effect_absolute"] == pytest.approx(weights @ effects, rel=1e-9)
    assert row["se_absolute"] == pytest.approx(np.sqrt(weights**2 @ variances), rel=1e-9)
    assert row["effect_absolute"] == pytest.approx(0.02, abs=0.001)
    assert (row["adjustment"], row["verdict"]) == ("stratified", "worse")


def test_the_same_rows_in_other_clothes(
    engine: str, edges: Edges, warehouse_factory: Callable[..., harness.Warehouse]
) -> None:
    """Shuffled, with times as text or with a zone: the results are the same."""
    warehouse = warehouse_factory(engine)
    edges.world.load(warehouse)
    exposures = pd.DataFrame(edges.world.exposures).sample(frac=1, random_state=1)
    exposures["exposed_at"] = exposures["exposed_at"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    warehouse.load("exposures", exposures, types={**EXPOSURE_TYPES, "exposed_at": "timestamptz"})
    outcomes = pd.DataFrame(edges.world.outcomes).sample(frac=1, random_state=2)
    outcomes["occurred_at"] = outcomes["occurred_at"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    warehouse.load("outcomes", outcomes, types={**OUTCOME_TYPES, "occurred_at": "text"})
    warehouse.load("ticks", ticks().sample(frac=1, random_state=3))
    warehouse.dbt("run", vars=variables(), select="+experiment_results")
    frames = [
        item.sort_values(KEY).reset_index(drop=True) for item in (warehouse.mart("experiment_results"), edges.mart)
    ]
    warehouse.close()
    # Sums in another order differ in their last digits, and a p-value by as much as its statistic.
    pd.testing.assert_frame_equal(*frames, rtol=1e-7, atol=1e-12)


SMALL = [
    {"name": "total", "type": "mean", "fact": "outcomes", "value": "value"},
    {"name": "typical", "type": "quantile", "fact": "outcomes", "value": "value", "quantile": 0.5},
    {"name": "anything", "type": "proportion", "fact": "outcomes"},
    {
        "name": "onwards",
        "type": "funnel",
        "fact": "outcomes",
        "steps": [{"where": "value > 1"}, {"where": "value > 2"}],
    },
    {"name": "average", "type": "ratio", "fact": "outcomes", "value": "value", "denominator": {"aggregate": "count"}},
]
SMALL_WORLD = {"inputs": ["exposures", "outcomes"], "metrics": SMALL, "analysis": {"as_of": "2024-03-04"}}


def test_whole_number_keys_and_as_of(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> None:
    """Ids that are numbers, days as times, whole values; what came after as_of has not happened."""
    warehouse = warehouse_factory(engine)
    rng = np.random.default_rng(7)
    units = pd.DataFrame({"experiment_id": 7, "unit_id": np.arange(300), "variation_id": np.arange(300) % 2})
    units["exposed_at"] = np.where(units["unit_id"] < 240, START, START + 96 * HOUR)
    events = pd.DataFrame({"outcome_id": np.arange(1_000), "unit_id": rng.integers(0, 300, 1_000), "event_name": "use"})
    events["occurred_at"] = START + rng.integers(0, 7, 1_000) * 24 * HOUR
    events["value"] = rng.integers(0, 9, 1_000)
    warehouse.load("exposures", units, types={"exposed_at": "date"})
    warehouse.load("outcomes", events, types={"occurred_at": "date"})
    warehouse.dbt("run", vars=SMALL_WORLD)
    mart = check_results(warehouse.mart("experiment_results")).set_index("metric_name")
    warehouse.close()
    seen = events[events["occurred_at"] <= START + 72 * HOUR]
    totals = seen.groupby("unit_id")["value"].sum().reindex(range(240), fill_value=0)
    row = mart.loc["total"]
    assert (row["experiment_id"], row["control_variation_id"], row["variation_id"]) == ("7", "0", "1")
    assert (row["units_control"], row["units_treatment"]) == (120, 120)
    assert row["as_of_at"] == pd.Timestamp("2024-03-04")
    welch = stats.ttest_ind(totals[totals.index % 2 == 1], totals[totals.index % 2 == 0], equal_var=False)
    assert row["p_value"] == pytest.approx(welch.pvalue, rel=1e-7)
    assert mart.loc["typical", "value_control"] == totals[totals.index % 2 == 0].median()


def test_empty_tables(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> None:
    warehouse = warehouse_factory(engine)
    exposures = pd.DataFrame(columns=["experiment_id", "variation_id", "unit_id", *EXPOSURE_TYPES])
    warehouse.load("exposures", exposures, types={name: EXPOSURE_TYPES.get(name, "text") for name in exposures})
    warehouse.load("outcomes", pd.DataFrame(columns=list(OUTCOME_TYPES)), types=OUTCOME_TYPES)
    warehouse.dbt("run", vars=SMALL_WORLD)
    assert warehouse.mart("experiment_results").empty
    world = World()
    world.arm("quiet", "control", [None] * 20)
    world.arm("quiet", "treatment", [None] * 20)
    warehouse.load("exposures", pd.DataFrame(world.exposures), types=EXPOSURE_TYPES)
    warehouse.dbt("run", vars=SMALL_WORLD, select="+experiment_results")
    mart = check_results(warehouse.mart("experiment_results"))
    warehouse.close()
    assert set(zip(mart["metric_name"], mart["status"], mart["status_reason"], strict=True)) == {
        (metric["name"], "missing", "source_has_no_rows") for metric in SMALL
    }


def test_exposures_alone(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> None:
    """Without metrics there are no results, but the experiment and its health are there."""
    warehouse = warehouse_factory(engine)
    world = World()
    world.arm("quiet", "control", [None] * 900)
    world.arm("quiet", "treatment", [None] * 1_100)
    warehouse.load("exposures", pd.DataFrame(world.exposures), types=EXPOSURE_TYPES)
    warehouse.dbt("run", vars={"inputs": ["exposures"]})
    assert warehouse.mart("experiment_results").empty
    assert warehouse.mart("dim_experiments")["units_exposed"].tolist() == [2_000]
    health = warehouse.mart("experiment_health").set_index(["check_name", "scope"])
    warehouse.close()
    assert health.loc[("srm", "all"), "p_value"] == pytest.approx(stats.chisquare([900, 1_100]).pvalue, rel=1e-7)
    assert health.loc[("srm", "all"), "status"] == "fail"


def test_many_metrics_of_many_experiments(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> None:
    """Sixty metrics of forty small experiments with slices: every row is there and has a status."""
    warehouse = warehouse_factory(engine)
    rng = np.random.default_rng(60)
    world = World()
    for number in range(40):
        for unit in range(12):
            who = world.expose(f"e{number}", ARMS[unit % 2], f"u{unit}", at=unit, plan=("free", "paid")[unit // 2 % 2])
            for _ in range(rng.integers(0, 6)):
                name = ("buy", "visit", "view", "cart", "harm")[rng.integers(5)]
                world.event(who, name, unit + rng.uniform(-24, 48), rng.normal(10, 5), session_id=str(rng.integers(4)))
    warehouse.load("exposures", pd.DataFrame(world.exposures), types=EXPOSURE_TYPES)
    warehouse.load("outcomes", pd.DataFrame(world.outcomes), types=OUTCOME_TYPES)
    usable = [metric for metric in METRICS if metric["name"] != "spend_per_tick"]
    metrics = [{**usable[i % len(usable)], "name": f"m{i}"} for i in range(60)]
    for number, metric in enumerate(metrics):
        metric["role"] = ("goal", "secondary", "guardrail")[number % 3]
    settings = {"inputs": ["exposures", "outcomes"], "dimensions": ["plan"], "metrics": metrics}
    warehouse.dbt("run", vars=settings)
    mart = warehouse.mart("experiment_results")
    warehouse.close()
    assert len(mart) == 60 * 40 * 3
    check_results(mart)
    assert (mart["status"] == "ok").mean() > 0.3
