"""Checks of experiment_health that take time into account, each shown to fire and to stay quiet.

Many experiments share one warehouse, so that each engine needs few runs. What is expected is computed with numpy and
scipy from the raw rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

START = pd.Timestamp("2024-03-04 00:00:00")
DAY = pd.Timedelta(days=1)
DAYS = 20
AS_OF = START + DAYS * DAY
METRICS = [
    {
        "name": "failure",
        "fact": "outcomes",
        "type": "proportion",
        "where": "event_name = 'failure'",
        "direction": "decrease",
        "role": "goal",
    },
    {
        "name": "spend",
        "fact": "outcomes",
        "type": "mean",
        "value": "value",
        "where": "event_name = 'spend'",
        "role": "goal",
    },
    {
        "name": "price",
        "fact": "outcomes",
        "type": "ratio",
        "value": "value",
        "where": "event_name = 'spend'",
        "denominator": {"value": "1", "where": "event_name = 'spend'"},
        "role": "guardrail",
    },
    {
        "name": "median_spend",
        "fact": "outcomes",
        "type": "quantile",
        "value": "value",
        "where": "event_name = 'spend'",
        "quantile": 0.5,
        "role": "guardrail",
    },
]
INPUTS = ["exposures", "outcomes", "experiment_phases"]
VARIABLES = {"inputs": INPUTS, "metrics": METRICS, "analysis": {"as_of": f"{AS_OF:%Y-%m-%d %H:%M:%S}"}}


class World:
    """Raw rows of many experiments, kept as frames."""

    def __init__(self) -> None:
        self.exposures: list[pd.DataFrame] = []
        self.outcomes: list[pd.DataFrame] = []
        self.phases: list[dict[str, Any]] = []
        self.random = np.random.default_rng(20240304)

    def expose(self, experiment: str, arms: np.ndarray, days: np.ndarray, units: np.ndarray | None = None) -> Any:
        """Exposes one unit per entry, at some time of its day, and returns the ids."""
        names = np.array([f"{experiment}.{number}" for number in range(len(arms))]) if units is None else units
        seconds = self.random.integers(0, 86_399, len(arms))
        exposed_at = START + pd.to_timedelta(days, unit="D") + pd.to_timedelta(seconds, unit="s")
        frame = {"experiment_id": experiment, "variation_id": arms, "unit_id": names, "exposed_at": exposed_at}
        self.exposures.append(pd.DataFrame({**frame, "day": days}))
        return names

    def events(self, units: np.ndarray, name: str, at: Any, values: np.ndarray | float = 1.0) -> None:
        self.outcomes.append(pd.DataFrame({"unit_id": units, "event_name": name, "occurred_at": at, "value": values}))

    def split(self, experiment: str, units_by_day: dict[int, dict[str, int]]) -> None:
        """So many units by day and arm."""
        days, arms = [], []
        for day, counts in units_by_day.items():
            for arm, count in counts.items():
                days += [day] * count
                arms += [arm] * count
        self.expose(experiment, np.array(arms), np.array(days))

    def frame(self, experiment: str) -> pd.DataFrame:
        return next(frame for frame in self.exposures if frame["experiment_id"].iloc[0] == experiment)

    def load(self, warehouse: harness.Warehouse) -> None:
        exposures = pd.concat(self.exposures, ignore_index=True).drop(columns="day")
        if "cluster_id" not in exposures:
            exposures["cluster_id"] = None
        warehouse.load("exposures", exposures, types={"cluster_id": "text"})
        outcomes = pd.concat(self.outcomes, ignore_index=True)
        outcomes.insert(0, "outcome_id", [f"o{number}" for number in range(len(outcomes))])
        warehouse.load("outcomes", outcomes)
        warehouse.load("experiment_phases", pd.DataFrame(self.phases))


RAMP = ((0, 0.01, 0.30), (4, 0.10, 0.27), (8, 0.50, 0.22))  # first day, share of the treatment, base rate
RAMP_UNITS = 12_000


def add_ramp(world: World, experiment: str, declared: bool) -> None:
    """1% -> 10% -> 50% while the failure rate falls by itself; the treatment fails one point more often."""
    arms, days, failed, spent = [], [], [], []
    for first_day, share, base in RAMP:
        treated = np.arange(RAMP_UNITS) < RAMP_UNITS * share
        arms.append(np.where(treated, "treatment", "control"))
        days.append(first_day + world.random.integers(0, 4, RAMP_UNITS))
        # Rates are met exactly, so that luck plays no part in what is expected.
        rank = np.where(treated, np.arange(RAMP_UNITS), np.arange(RAMP_UNITS) - RAMP_UNITS * share)
        failed.append(rank < np.where(treated, (base + 0.01) * RAMP_UNITS * share, base * RAMP_UNITS * (1 - share)))
        # Spending has no ramp of its own: throwing phases together does no harm there.
        spent.append(world.random.random(RAMP_UNITS) < 0.05)
        if declared:
            row = {"experiment_id": experiment, "phase_started_at": START + first_day * DAY}
            world.phases.append({**row, "variation_id": "control", "expected_weight": 1 - share})
            world.phases.append({**row, "variation_id": "treatment", "expected_weight": share})
    units = world.expose(experiment, np.concatenate(arms), np.concatenate(days))
    for name, happened in (("failure", np.concatenate(failed)), ("spend", np.concatenate(spent))):
        values = np.round(world.random.lognormal(1, 0.5, happened.sum()), 3)
        world.events(units[happened], name, AS_OF - DAY, values)


def add_trend(world: World, experiment: str, effect: Callable[[np.ndarray], np.ndarray]) -> None:
    """Everybody is exposed on the first day and spends every day; the treatment adds what `effect` says for a day.

    Each unit has a level of its own and good and bad spells, so that its days are far from independent.
    """
    n = 600
    arms = np.where(np.arange(n) % 2 == 0, "control", "treatment")
    units = world.expose(experiment, arms, np.zeros(n, int))
    level = world.random.normal(0, 1, n)
    spell = np.zeros(n)
    for day in range(1, DAYS):
        spell = 0.7 * spell + world.random.normal(0, 0.5, n)
        values = 10 + level + spell + np.where(arms == "treatment", effect(np.array(day)), 0)
        world.events(units, "spend", START + day * DAY + pd.Timedelta(hours=12), np.round(values, 4))


def build_world() -> World:
    world = World()
    random = world.random
    add_ramp(world, "ramp_declared", declared=True)
    add_ramp(world, "ramp_found", declared=False)
    world.split("steady", {day: {"control": 200 + 3 * day, "treatment": 190 + 4 * day} for day in range(DAYS)})
    # A canary with few units a day: rare arms must not look like changes.
    canary = {day: {"control": 297, "treatment": int(random.poisson(3))} for day in range(DAYS)}
    world.split("canary", canary)
    world.split(
        "arm_stopped",
        {day: {"a": 100, "b": 103, **({"c": 98} if day < 6 else {})} for day in range(12)},
    )
    # Sample ratio: right on average, wrong from the start, wrong but too small to tell.
    world.split("lopsided", {day: {"control": 120, "treatment": 80} for day in range(10)})
    world.split("tiny", {0: {"control": 5, "treatment": 3}})
    world.split("ten_days", {day: {"control": 30, "treatment": 30} for day in range(10, DAYS)})
    world.split("seven_days", {day: {"control": 30, "treatment": 30} for day in range(13, DAYS)})
    world.split("five_days", {day: {"control": 30, "treatment": 30} for day in range(15, DAYS)})
    # A ramp by villages: whole clusters, so that days differ without any change of plan.
    world.split(
        "villages",
        {day: {"control": 60 if day % 2 else 140, "treatment": 140 if day % 2 else 60} for day in range(8)},
    )
    frame = world.frame("villages")
    frame["cluster_id"] = [f"{day}.{arm}" for day, arm in zip(frame["day"], frame["variation_id"], strict=True)]
    # Layers on the same people: one by itself, one that copies the first's assignment, one that came later.
    people = np.array([f"person{number}" for number in range(4_000)])
    first = random.permutation(np.repeat(["control", "treatment"], 2_000))
    copied = np.where(random.random(4_000) < 0.2, first, random.permutation(first))
    entry = random.integers(0, 5, 4_000)
    world.expose("layer_one", first, entry, people)
    world.expose("layer_two", random.permutation(first)[:3_000], entry[:3_000], people[:3_000])
    world.expose("layer_copied", copied[:2_500], entry[:2_500], people[:2_500])
    world.expose("layer_later", copied[:2_000], entry[:2_000] + 10, people[:2_000])
    world.expose("layer_small", copied[:12], entry[:12], people[:12])
    add_trend(world, "wears_off", lambda day: 1.5 * np.exp(-day / 3))
    add_trend(world, "lasts", lambda day: 0.5 + 0 * day)
    add_trend(world, "halves", lambda day: 1.5 - 0.07 * day)
    add_trend(world, "builds_up", lambda day: 0.06 * day)
    add_trend(world, "turns", lambda day: 0.8 - 0.12 * day)
    add_trend(world, "nothing", lambda day: 0 * day)
    return world


class Built:
    def __init__(self, warehouse: harness.Warehouse, world: World) -> None:
        self.warehouse, self.world = warehouse, world
        self.health = warehouse.mart("experiment_health").set_index(["experiment_id", "check_name", "scope"])
        self.results = warehouse.mart("experiment_results").query("dimension_name == 'all'")
        self.results = self.results.set_index(["experiment_id", "metric_name", "variation_id"])
        outcomes = pd.concat(world.outcomes, ignore_index=True)
        self.totals = outcomes.groupby(["unit_id", "event_name"])["value"].agg(["sum", "count"]).unstack("event_name")

    def check(self, experiment: str, check: str, scope: str = "all") -> pd.Series:
        return self.health.loc[(experiment, check, scope)]

    def values(self, experiment: str, event: str, kind: str = "sum") -> pd.DataFrame:
        """Exposed units with what they did in all."""
        frame = self.world.frame(experiment).copy()
        frame["y"] = frame["unit_id"].map(self.totals[(kind, event)]).fillna(0).to_numpy(float)
        frame["phase"] = np.searchsorted([4, 8], frame["day"], side="right")
        return frame


@pytest.fixture(scope="module")
def built(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> Built:
    world = build_world()
    warehouse = warehouse_factory(engine)
    world.load(warehouse)
    warehouse.dbt("run", vars=VARIABLES, select="+experiment_health +dim_experiments")
    return Built(warehouse, world)


# Phases and ramps.


def test_phases_are_found_where_the_split_changes(built: Built) -> None:
    dim = built.warehouse.mart("dim_experiments").set_index("experiment_id")["phase_source"]
    assert dim["ramp_declared"] == "declared"
    assert set(dim[dim == "detected"].index) == {"ramp_found", "arm_stopped"}
    phases = built.warehouse.mart("int_phases").set_index("experiment_id")
    starts = phases.loc["ramp_found"].sort_values("phase_number")["first_exposed_at"].dt.floor("D")
    assert list((starts - START) // DAY) == [0, 4, 8]
    starts = phases.loc["arm_stopped"].sort_values("phase_number")["first_exposed_at"].dt.floor("D")
    assert list((starts - START) // DAY) == [0, 6]


@pytest.mark.parametrize("experiment", ["ramp_declared", "ramp_found"])
def test_a_ramp_never_reads_as_a_benefit(built: Built, experiment: str) -> None:
    frame = built.values(experiment, "failure", "count")
    means = frame.groupby("variation_id")["y"].mean()
    pooled = means["treatment"] - means["control"]
    by_phase = frame.groupby(["phase", "variation_id"])["y"].agg(["mean", "size"]).unstack()
    effects = by_phase[("mean", "treatment")] - by_phase[("mean", "control")]
    sizes = by_phase["size"]
    information = sizes["control"] * sizes["treatment"] / (sizes["control"] + sizes["treatment"])
    weights = information / information.sum()
    shares = by_phase["mean"]
    variances = (shares * (1 - shares) / sizes).sum(axis=1)
    stratified, se = (weights * effects).sum(), np.sqrt((weights**2 * variances).sum())
    assert pooled < -0.02 and stratified > 0
    check = built.check(experiment, "ramp_reversal", "failure")
    assert check["status"] == "fail"
    assert check["statistic"] == pytest.approx((pooled - stratified) / se, rel=1e-9)
    result = built.results.loc[(experiment, "failure", "treatment")]
    assert result["effect_absolute"] == pytest.approx(stratified, rel=1e-9)
    assert result["adjustment"] == "stratified"
    assert result["verdict"] != "better"
    # Nothing to turn where the metric does not move with the ramp.
    assert built.check(experiment, "ramp_reversal", "spend")["status"] in ("pass", "warn")
    assert abs(built.check(experiment, "ramp_reversal", "spend")["statistic"]) < 2
    assert built.check(experiment, "ramp_reversal", "median_spend")["status"] == "warn"


def test_ratios_are_pooled_by_their_denominators(built: Built) -> None:
    estimates = built.warehouse.mart("int_ramp_estimates").set_index(["experiment_id", "metric_name"])
    sums, counts = built.values("ramp_found", "spend"), built.values("ramp_found", "spend", "count")
    ratio = sums.groupby("variation_id")["y"].sum() / counts.groupby("variation_id")["y"].sum()
    row = estimates.loc[("ramp_found", "price")]
    assert row["pooled_effect"] == pytest.approx(ratio["treatment"] - ratio["control"], rel=1e-9)
    result = built.results.loc[("ramp_found", "price", "treatment")]
    assert row["stratified_effect"] == pytest.approx(result["effect_absolute"], rel=1e-9)
    assert row["standard_error"] == pytest.approx(result["se_absolute"], rel=1e-9)


def test_last_phase_against_the_first(built: Built) -> None:
    frame = built.values("ramp_declared", "spend")
    arms = {key: part["y"] for key, part in frame.groupby(["phase", "variation_id"])}
    parts = [arms[(phase, arm)] for phase in (0, 2) for arm in ("control", "treatment")]
    variances = np.array([part.var() / len(part) for part in parts])
    means = [part.mean() for part in parts]
    t = (means[3] - means[2] - means[1] + means[0]) / np.sqrt(variances.sum())
    freedom = variances.sum() ** 2 / (variances**2 / np.array([len(part) - 1 for part in parts])).sum()
    check = built.check("ramp_declared", "phase_contrast", "spend")
    assert check["statistic"] == pytest.approx(t, rel=1e-8)
    assert check["p_value"] == pytest.approx(2 * stats.t.sf(abs(t), freedom), rel=1e-7)
    assert check["status"] == "pass"
    assert built.check("ramp_declared", "phase_contrast", "median_spend")["status"] == "insufficient"


def test_only_experiments_with_phases_are_checked_for_them(built: Built) -> None:
    checks = built.health.reset_index()
    ramps = checks[checks["check_name"].isin(["ramp_reversal", "phase_contrast"])]
    assert set(ramps["experiment_id"]) == {"ramp_declared", "ramp_found", "arm_stopped"}


def test_an_undeclared_ramp_fails_its_sample_ratio_and_says_why(built: Built) -> None:
    declared, found = (built.check(name, "srm") for name in ("ramp_declared", "ramp_found"))
    assert declared["status"] == "pass" and "declare" not in declared["detail"]
    assert found["status"] == "fail"
    assert "first changed on 2024-03-08" in found["detail"] and "experiment_phases" in found["detail"]
    assert "changed" not in built.check("steady", "srm")["detail"]


def test_a_phase_does_not_move_when_days_are_added(engine: str, warehouse_factory: Callable[..., Any]) -> None:
    world = World()
    add_ramp(world, "ramp", declared=False)
    world.split("noisy", {day: {"control": 50, "treatment": 50 + 30 * (day % 2)} for day in range(DAYS)})
    row = {"experiment_id": "x", "phase_started_at": START, "variation_id": "control", "expected_weight": 1.0}
    world.phases.append(row)
    everything = world.exposures
    warehouse = warehouse_factory(engine)
    published: dict[str, int] = {}
    for days in (3, 5, 9, 12):
        world.exposures = [frame[frame["day"] < days] for frame in everything]
        world.load(warehouse)
        warehouse.dbt("run", vars=VARIABLES, select="+int_exposed_units")
        units = warehouse.mart("int_exposed_units").set_index("unit_id")["phase_number"].to_dict()
        assert published.items() <= units.items()
        published = units
    assert set(published.values()) == {1, 2, 3}
    warehouse.close()


# Sample ratio at every look.


def ln_e_value(counts: np.ndarray, shares: np.ndarray, concentration: float = 500) -> float:
    """Probability of the sequence under a Dirichlet prior around the plan, over that under the plan."""
    prior = concentration * shares
    beta = special.gammaln(prior + counts).sum() - special.gammaln(concentration + counts.sum())
    return float(beta - special.gammaln(prior).sum() + special.gammaln(concentration) - (counts * np.log(shares)).sum())


def test_sample_ratio_at_every_look(built: Built) -> None:
    half = np.array([0.5, 0.5])
    for experiment in ("lopsided", "steady", "canary", "ramp_declared"):
        frame = built.world.frame(experiment)
        counts = frame.groupby(["day", "variation_id"]).size().unstack(fill_value=0).sort_index()
        path = []
        for day in counts.index:
            until = counts.loc[:day]
            if experiment == "ramp_declared":
                phases = np.searchsorted([4, 8], until.index, side="right")
                path.append(
                    sum(
                        ln_e_value(until[phases == phase].sum().to_numpy(), np.array([1 - share, share]))
                        for phase, (_, share, _) in enumerate(RAMP)
                        if (phases == phase).any()
                    )
                )
            else:
                path.append(ln_e_value(until.sum().to_numpy(), half))
        check = built.check(experiment, "srm_sequential")
        assert check["statistic"] == pytest.approx(max(path), rel=1e-9, abs=1e-8)
        assert check["p_value"] == pytest.approx(min(1, max(np.exp(-max(path)), 1e-300)), rel=1e-7)
        crossed = [day for day, value in zip(counts.index, path, strict=True) if value > np.log(1_000)]
        assert check["status"] == ("fail" if crossed else "pass")
        row = built.warehouse.mart("int_health_srm_sequential").set_index("experiment_id").loc[experiment]
        if crossed:
            newest = frame.loc[frame["day"] == crossed[0], "exposed_at"].max()
            assert row["crossed_at"] == newest
            assert f"{newest:%Y-%m-%d}" in check["detail"]
        else:
            assert pd.isna(row["crossed_at"])
    assert built.check("lopsided", "srm_sequential")["status"] == "fail"
    assert built.check("steady", "srm_sequential")["status"] == "pass"
    assert built.check("canary", "srm_sequential")["status"] == "fail"
    assert built.check("ramp_declared", "srm_sequential")["status"] == "pass"
    assert built.check("tiny", "srm_sequential")["status"] == "insufficient"


# Weekdays.


@pytest.mark.parametrize(
    ("experiment", "status", "days"),
    [("five_days", "warn", 4), ("seven_days", "warn", 6), ("ten_days", "warn", 9), ("steady", "pass", 19)],
)
def test_weekdays(built: Built, experiment: str, status: str, days: int) -> None:
    """The first exposure is some time after midnight: the last of the days is not complete."""
    check = built.check(experiment, "weekday_coverage")
    assert check["status"] == status
    assert check["detail"].startswith(f"{days} complete days")
    seen = np.bincount(np.arange(days) % 7, minlength=7)
    assert check["statistic"] == pytest.approx(seen.min() / seen.max())


# Experiments on the same people.


def test_experiments_that_share_units(built: Built) -> None:
    checks = built.health.xs("concurrent_experiments", level="check_name")
    one = checks.loc["layer_one"]
    # One came when the others were over.
    assert set(one.index) == {"layer_two", "layer_copied", "layer_small"}
    assert "layer_later" not in checks.index.get_level_values("experiment_id")
    assert "steady" not in checks.index.get_level_values("experiment_id")
    assert one["statistic"].to_dict() == pytest.approx({"layer_two": 0.75, "layer_copied": 0.625, "layer_small": 0.003})
    assert checks.loc[("layer_copied", "layer_one"), "statistic"] == pytest.approx(1)
    assert one["status"].to_dict() == {"layer_two": "pass", "layer_copied": "fail", "layer_small": "insufficient"}
    merged = built.world.frame("layer_one").merge(built.world.frame("layer_copied"), on="unit_id")
    table = pd.crosstab(merged["variation_id_x"], merged["variation_id_y"])
    p_value = stats.chi2_contingency(table, correction=False).pvalue
    assert one.loc["layer_copied", "p_value"] == pytest.approx(p_value, rel=1e-7)
    assert checks.loc[("layer_copied", "layer_one"), "p_value"] == pytest.approx(p_value, rel=1e-7)
    assert one.loc["layer_copied", "threshold"] == pytest.approx(0.001 / 3)


# Effects that change with the days since exposure.


@pytest.mark.parametrize(
    ("experiment", "status", "word"),
    [
        ("wears_off", "warn", "novelty"),
        ("lasts", "pass", "no trend"),
        ("nothing", "pass", "no trend"),
        ("halves", "pass", "persists"),
        ("builds_up", "pass", "primacy"),
        ("turns", "warn", "reversal"),
    ],
)
def test_novelty(built: Built, experiment: str, status: str, word: str) -> None:
    check = built.check(experiment, "novelty", "spend")
    assert check["status"] == status, check["detail"]
    assert word in check["detail"]
    days = np.arange(1, 10)  # half of the 19 complete days
    events = pd.concat(built.world.outcomes)
    events = events[events["unit_id"].str.startswith(f"{experiment}.")]
    daily = events.assign(day=(events["occurred_at"] - START) // DAY).pivot(
        index="unit_id", columns="day", values="value"
    )
    slopes = daily[days].apply(lambda row: np.polyfit(days, row.to_numpy(float), 1)[0], axis=1)
    arm = built.world.frame(experiment).set_index("unit_id")["variation_id"]
    test = stats.ttest_ind(slopes[arm == "treatment"], slopes[arm == "control"], equal_var=False)
    assert check["statistic"] == pytest.approx(test.statistic, rel=1e-7)
    assert check["p_value"] == pytest.approx(max(test.pvalue, 1e-300), rel=1e-6)


def test_novelty_needs_days_and_independent_units(built: Built) -> None:
    assert built.check("five_days", "novelty", "spend")["status"] == "insufficient"
    assert "clusters" in built.check("villages", "novelty", "spend")["detail"]
    assert ("lasts", "novelty", "price") not in built.health.index  # a ratio has no daily value of its own


def test_checks_are_of_the_contract(built: Built) -> None:
    assert not built.health.index.duplicated().any()
    assert set(built.health["status"]) <= {"pass", "warn", "fail", "insufficient"}
    computed = built.health[built.health["status"] != "insufficient"]
    known = computed.index.get_level_values("check_name") != "ramp_reversal"
    assert computed.loc[known, "statistic"].notna().all()
    assert built.health["detail"].notna().all()
