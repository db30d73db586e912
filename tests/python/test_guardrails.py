"""Guardrails against an implementation of their own: first breach, limits, states, and what missing evidence does.

One warehouse per engine holds an experiment for every case. The reference below counts units and events with pandas and
finds the limits with scipy; nothing in it is taken from the package's SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import betaln

START = pd.Timestamp("2024-03-04")
DAYS = 28
ALPHA = 0.05
TUNING = 5000


@dataclass(frozen=True)
class Guardrail:
    event: str
    kind: str = "proportion"
    direction: str = "decrease"
    absolute: float | None = None
    relative: float | None = None
    action: str = "pause"
    fact: str = "outcomes"

    @property
    def margin(self) -> dict[str, float]:
        if self.relative is None:
            return {"margin_absolute": self.absolute}
        return {"margin_relative": self.relative}


GUARDRAILS = {
    "error_0": Guardrail("error", absolute=0.0, action="rollback"),
    "error_001": Guardrail("error", absolute=0.001),
    "error_005": Guardrail("error", absolute=0.005),
    "success": Guardrail("success", direction="increase", relative=0.1),
    "failure": Guardrail("failure", relative=0.5),
    "cost": Guardrail("cost", "mean", relative=0.1, action="rollback"),
    "value": Guardrail("value", "mean", "increase", relative=0.05),
    "stopped": Guardrail("error", absolute=0.01, action="rollback", fact="stopped"),
    "empty": Guardrail("error", absolute=0.01, action="rollback", fact="empty"),
}


def configuration(guardrails: dict[str, Guardrail], **more: Any) -> dict[str, Any]:
    metrics = []
    for name, guardrail in guardrails.items():
        metric = {
            "name": name, "type": guardrail.kind, "fact": guardrail.fact, "where": f"event_name = '{guardrail.event}'",
            "direction": guardrail.direction, "role": "guardrail",
        }  # fmt: skip
        metrics.append({**metric, "value": "value"} if guardrail.kind == "mean" else metric)
    facts = [
        {"name": name, "relation": f"raw.{name}", "unit_column": "unit_id", "time_column": "occurred_at"}
        for name in ("stopped", "empty")
        if any(guardrail.fact == name for guardrail in guardrails.values())
    ]
    rows = [{"metric": name, **item.margin, "action": item.action} for name, item in guardrails.items()]
    return {"metrics": metrics, "facts": facts, "guardrails": rows, **more}


class World:
    """Raw tables, built experiment by experiment."""

    def __init__(self) -> None:
        self.exposures: list[pd.DataFrame] = []
        self.events: list[pd.DataFrame] = []
        self._units = 0

    def expose(
        self, experiment: str, variation: str, units: int, days: tuple[float, float] = (0, DAYS), **columns: Any
    ) -> pd.DataFrame:
        """Units exposed evenly over the days."""
        share = (np.arange(units) + 0.5) / units
        frame = pd.DataFrame(
            {
                "experiment_id": experiment,
                "variation_id": variation,
                "unit_id": [f"u{self._units + number}" for number in range(units)],
                "exposed_at": START + pd.to_timedelta(days[0] + share * (days[1] - days[0]), "D").floor("ms"),
                **columns,
            }
        )
        self._units += units
        self.exposures.append(frame)
        return frame

    def happen(self, units: pd.DataFrame, event: str, count: int | None = None, values: Any = 1.0) -> None:
        """The event, a minute after exposure, for `count` of the units, evenly among them; without it for all."""
        chosen = units
        if count is not None:
            chosen = units.iloc[((np.arange(count) + 0.5) / max(count, 1) * len(units)).astype(int)]
        frame = chosen[["experiment_id", "unit_id"]].assign(
            event_name=event, occurred_at=chosen.exposed_at + pd.Timedelta(minutes=1), value=values
        )
        self.events.append(frame)

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return pd.concat(self.exposures, ignore_index=True), pd.concat(self.events, ignore_index=True)


def build_world() -> World:
    world = World()
    draw = np.random.default_rng(11)

    def arms(experiment: str, control: int, treatment: int, **more: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
        return world.expose(experiment, "control", control, **more), world.expose(
            experiment, "treatment", treatment, **more
        )

    def errors(frames: tuple[pd.DataFrame, pd.DataFrame], control: int, treatment: int, event: str = "error") -> None:
        for frame, count in zip(frames, (control, treatment), strict=True):
            if count:
                world.happen(frame, event, count)

    errors(arms("from_zero", 10_000, 10_000), 0, 300)
    errors(arms("from_ten", 10_000, 10_000), 10, 120)
    errors(arms("harmless", 10_000, 10_000), 40, 40)

    # Harm for a week, after which the control has as many.
    errors(arms("latched", 1_500, 1_500, days=(0, 7)), 10, 150)
    errors(arms("latched", 4_500, 4_500, days=(7, DAYS)), 480, 340)

    errors(arms("ended", 2_000, 2_000, days=(0, 10)), 0, 100)
    arms("small", 60, 60)
    arms("today", 500, 500, days=(DAYS, DAYS + 0.3))

    relative = arms("shares", 2_500, 2_000)
    errors(relative, 1_250, 850, "success")
    errors(relative, 250, 320, "failure")
    few = arms("few_shares", 900, 700)
    errors(few, 60, 10, "success")
    errors(few, 6, 70, "failure")

    money = arms("money", 1_500, 1_200)
    for frame, lift in zip(money, (1.0, 1.35), strict=True):
        world.happen(frame, "cost", values=lift * np.exp(0.5 * draw.standard_normal(len(frame))))
    for frame, shift in zip(money, (-2.0, -2.4), strict=True):
        world.happen(frame, "value", values=shift + draw.standard_normal(len(frame)))

    free = arms("free", 1_000, 1_000)
    world.happen(free[1], "cost", 300, draw.random(300))

    # All that the canary has seen is alike; most of the control's sum is in a few rows.
    canary = arms("canary", 6_000, 150)
    world.happen(canary[0], "value", values=np.where(draw.random(6_000) < 0.03, 30.0, 0.5))
    world.happen(canary[1], "value", values=0.5 + 0.001 * draw.random(150))

    for number in range(120):
        for frame, count in zip(
            (world.expose("clusters", arm, 10, cluster_id=f"c{number}") for arm in ("control", "treatment")),
            (1, 5),
            strict=True,
        ):
            world.happen(frame, "error", count)
    return world


# The reference.


def beta_binomial_bound(events: int, units: int, error: float, side: str) -> float:
    """The share beyond which the mixture's likelihood ratio exceeds 1 / error, at every number of units."""
    mixture = betaln(events + 0.5, units - events + 0.5) - betaln(0.5, 0.5)

    def excess(share: float) -> float:
        own = (events * np.log(share) if events else 0.0) + (
            (units - events) * np.log1p(-share) if events < units else 0.0
        )
        return mixture - own + np.log(error)

    observed, tiny = events / units, 1e-15
    if side == "upper":
        return 1.0 if events == units else brentq(excess, max(observed, tiny), 1 - tiny, xtol=1e-16, rtol=1e-14)
    return 0.0 if events == 0 else brentq(excess, tiny, min(observed, 1 - tiny), xtol=1e-16, rtol=1e-14)


def sequence(units: float, error: float) -> float:
    """Half width of the one-sided confidence sequence, in standard errors (methods: rho from twice the error)."""
    rho2 = (-2 * np.log(2 * error) + np.log(1 - 2 * np.log(2 * error))) / TUNING
    return np.sqrt(units) * np.sqrt(
        2 * (units * rho2 + 1) / (units**2 * rho2) * np.log(1 + np.sqrt(units * rho2 + 1) / (2 * error))
    )


@dataclass
class Look:
    lower: float | None
    upper: float | None
    harm: float | None = None
    margin: float | None = None


def look(guardrail: Guardrail, values: dict[str, np.ndarray], checks: int) -> Look:
    """The limits of harm less margin, from the values of the two arms' units."""
    a, b = values["control"], values["treatment"]
    if not len(a) or not len(b):
        return Look(None, None)
    sign = 1 if guardrail.direction == "decrease" else -1
    harm = sign * (b.mean() - a.mean())
    relative = guardrail.relative or 0.0
    margin = guardrail.absolute if guardrail.relative is None else relative * abs(a.mean())
    factor = sign + relative * (-1 if a.mean() < 0 else 1)
    least = min(a.sum(), len(a) - a.sum(), b.sum(), len(b) - b.sum())
    if guardrail.kind == "proportion" and (least < 30 or min(len(a), len(b)) < 100):

        def limit(side: str, error: float) -> float:
            worse, better = ("lower", "upper") if side == "lower" else ("upper", "lower")
            if sign == -1:
                worse, better = better, worse
            treated = beta_binomial_bound(int(b.sum()), len(b), error / 2, worse)
            control = beta_binomial_bound(int(a.sum()), len(a), error / 2, better)
            return sign * treated - factor * control - (guardrail.absolute or 0.0)

        return Look(limit("lower", ALPHA / checks), limit("upper", ALPHA), harm, margin)
    if min(len(a), len(b)) < 100:
        return Look(None, None, harm, margin)
    variances = [x.mean() * (1 - x.mean()) if guardrail.kind == "proportion" else x.var(ddof=1) for x in (a, b)]
    # An arm that is clearly smaller has at least the variance of the other.
    if len(a) < 0.9 * len(b):
        variances[0] = max(variances)
    if len(b) < 0.9 * len(a):
        variances[1] = max(variances)
    error = np.sqrt(factor**2 * variances[0] / len(a) + variances[1] / len(b))
    if error == 0:
        return Look(None, None, harm, margin)
    units = len(a) + len(b)
    contrast = harm - margin
    return Look(
        contrast - error * sequence(units, ALPHA / checks), contrast + error * sequence(units, ALPHA), harm, margin
    )


def reference(
    guardrail: Guardrail, exposures: pd.DataFrame, events: pd.DataFrame, checks: int, days: int = DAYS
) -> list[Look]:
    """A look at the end of every day."""
    events = events[events.event_name == guardrail.event]
    assert events.unit_id.is_unique, "the reference counts one event of a kind per unit"
    units = exposures.join(events.set_index("unit_id")[["occurred_at", "value"]], on="unit_id")
    total = np.ones(len(units)) if guardrail.kind == "proportion" else units.value.to_numpy()
    looks = []
    for day in range(1, days + 1):
        until = START + pd.Timedelta(days=day)
        values = np.where((units.occurred_at < until).to_numpy(), total, 0.0)
        seen = (units.exposed_at < until).to_numpy()
        arms = {arm: values[seen & (units.variation_id == arm).to_numpy()] for arm in ("control", "treatment")}
        looks.append(look(guardrail, arms, checks))
    return looks


def first_breach(looks: list[Look]) -> int | None:
    return next((day for day, item in enumerate(looks, 1) if item.lower is not None and item.lower > 0), None)


# The package.


@dataclass
class Checked:
    exposures: pd.DataFrame
    events: pd.DataFrame
    checks: pd.DataFrame
    due: pd.DataFrame

    def row(self, experiment: str, metric: str, slice_value: str = "all", variation: str = "treatment") -> pd.Series:
        rows = self.checks[
            (self.checks.experiment_id == experiment)
            & (self.checks.metric_name == metric)
            & (self.checks.slice_value == slice_value)
            & (self.checks.variation_id == variation)
        ]
        assert len(rows) == 1
        return rows.iloc[0]

    def of(self, experiment: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        return (
            self.exposures[self.exposures.experiment_id == experiment],
            self.events[self.events.experiment_id == experiment],
        )


def load(warehouse: harness.Warehouse, world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    exposures, events = world.tables()
    warehouse.load("exposures", exposures)
    # A row of nobody completes the last day.
    nobody = pd.DataFrame(
        {"unit_id": ["nobody"], "event_name": ["visit"], "occurred_at": [START + pd.Timedelta(days=DAYS + 0.5)]}
    )
    outcomes = pd.concat([events.drop(columns="experiment_id"), nobody], ignore_index=True)
    outcomes.insert(0, "outcome_id", [f"o{number}" for number in range(len(outcomes))])
    warehouse.load("outcomes", outcomes)
    return exposures, events


@pytest.fixture(scope="module")
def checked(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> Checked:
    warehouse = warehouse_factory(engine)
    exposures, events = load(warehouse, build_world())
    warehouse.load(
        "experiments",
        pd.DataFrame(
            {
                "experiment_id": ["ended"],
                "control_variation_id": ["control"],
                "started_at": [START],
                "ended_at": [START + pd.Timedelta(days=12)],
            }
        ),
    )
    stopped = events[events.occurred_at < START + pd.Timedelta(days=9)].drop(columns="experiment_id")
    warehouse.load("stopped", stopped)
    types = {"unit_id": "text", "event_name": "text", "occurred_at": "timestamp", "value": "double"}
    warehouse.load("empty", stopped.head(0), types=types)
    variables = configuration(GUARDRAILS, inputs=["exposures", "experiments", "outcomes"])
    warehouse.dbt("run", vars=variables, select="+due_actions")
    result = Checked(exposures, events, warehouse.mart("guardrail_checks"), warehouse.mart("due_actions"))
    warehouse.close()
    return result


def compare(row: pd.Series, looks: list[Look]) -> None:
    """A row of guardrail_checks against the reference."""
    last = looks[-1]
    assert last.lower is not None
    highest = max(item.lower for item in looks if item.lower is not None)
    tolerance = {"rel": 1e-7, "abs": 1e-11}
    assert row.effect == pytest.approx(last.harm, **tolerance)
    assert row.margin == pytest.approx(last.margin, **tolerance)
    assert row.bound == pytest.approx(last.margin + highest, **tolerance)
    assert row.upper_bound == pytest.approx(last.margin + last.upper, **tolerance)
    day = first_breach(looks)
    if day is None:
        assert pd.isna(row.first_breach_at)
        assert row.state == ("pass" if last.upper < 0 else "inconclusive")
    else:
        assert row.first_breach_at == START + pd.Timedelta(days=day)
        assert row.state == "breach"


NUMBERS = [
    *((experiment, metric) for experiment in ("from_zero", "from_ten", "harmless", "latched")
      for metric in ("error_0", "error_001", "error_005")),
    *((experiment, metric) for experiment in ("shares", "few_shares") for metric in ("success", "failure")),
    ("money", "cost"), ("money", "value"), ("free", "cost"), ("canary", "value"), ("small", "error_0"),
]  # fmt: skip


@pytest.mark.parametrize(("experiment", "metric"), NUMBERS)
def test_numbers_states_and_days_are_those_of_the_reference(checked: Checked, experiment: str, metric: str) -> None:
    looks = reference(GUARDRAILS[metric], *checked.of(experiment), checks=len(GUARDRAILS))
    compare(checked.row(experiment, metric), looks)


@pytest.mark.parametrize("experiment", ["from_zero", "from_ten"])
def test_harm_from_zero_or_nearly_is_a_breach_within_days(checked: Checked, experiment: str) -> None:
    days = [(checked.row(experiment, metric).first_breach_at - START).days for metric in ("error_0", "error_001")]
    assert days == sorted(days)
    assert days[0] <= 12
    row = checked.row(experiment, "error_0")
    assert (row.state, row.action, row.reason) == ("breach", "rollback", "harm_above_margin")
    assert row.bound > row.margin == 0


def test_the_states_have_their_action_and_reason(checked: Checked) -> None:
    rows = checked.checks
    assert set(rows.state) == {"pass", "breach", "inconclusive", "no_data"}
    actions = {metric: guardrail.action for metric, guardrail in GUARDRAILS.items()}
    breached = rows.state == "breach"
    assert (rows.action[breached] == rows.metric_name[breached].map(actions)).all()
    assert (rows.action[~breached] == "none").all()
    reasons = {"breach": "harm_above_margin", "pass": "harm_below_margin", "inconclusive": "margin_within_limits"}
    known = rows.state != "no_data"
    assert (rows.reason[known] == rows.state[known].map(reasons)).all()
    assert rows.reason.notna().all()
    assert rows[["bound", "effect", "margin"]][known].notna().all(axis=None)
    assert (rows.first_breach_at.notna() == breached).all()
    assert (rows.upper_bound < rows.margin)[rows.state == "pass"].all()


def test_a_pass_is_shown_not_assumed(checked: Checked) -> None:
    """As many errors in both arms: within half a percentage point, but nobody can say within nothing."""
    assert checked.row("harmless", "error_005").state == "pass"
    assert checked.row("harmless", "error_0").state == "inconclusive"
    assert checked.row("harmless", "error_001").state == "inconclusive"


@pytest.mark.parametrize(
    ("experiment", "metric", "reason"),
    [
        ("today", "error_0", "no_complete_day"),
        ("small", "cost", "fewer_than_100_units_for_sequential"),
        ("clusters", "error_0", "fewer_than_200_clusters_for_sequential"),
        ("harmless", "cost", "zero_variance"),
        ("harmless", "stopped", "source_not_complete"),
        ("harmless", "empty", "source_has_no_rows"),
        ("from_zero", "empty", "source_has_no_rows"),
    ],
)
def test_missing_evidence_never_passes(checked: Checked, experiment: str, metric: str, reason: str) -> None:
    row = checked.row(experiment, metric)
    assert (row.state, row.action, row.reason) == ("no_data", "none", reason)
    assert pd.isna(row.bound)
    assert pd.isna(row.upper_bound)
    assert pd.isna(row.first_breach_at)


def test_a_breach_outlives_its_cause(checked: Checked) -> None:
    looks = reference(GUARDRAILS["error_0"], *checked.of("latched"), checks=len(GUARDRAILS))
    assert first_breach(looks) <= 7
    assert looks[-1].lower < 0, "the case is not one: the harm still shows"
    row = checked.row("latched", "error_0")
    assert row.state == "breach"
    assert row.bound > 0


def test_a_breach_outlives_its_source(checked: Checked) -> None:
    """The source ended on the ninth day, with harm seen before."""
    looks = reference(GUARDRAILS["stopped"], *checked.of("latched"), checks=len(GUARDRAILS), days=9)
    row = checked.row("latched", "stopped")
    assert row.first_breach_at == START + pd.Timedelta(days=first_breach(looks))
    assert (row.state, row.action) == ("breach", "rollback")


def test_a_canary_of_like_values_is_not_taken_for_sure(checked: Checked) -> None:
    """By its own variance the canary would lie more than a thousand standard errors below the control."""
    row = checked.row("canary", "value")
    assert row.effect > 0.5
    assert row.state == "inconclusive"


def test_only_running_experiments_have_actions_due(checked: Checked) -> None:
    assert checked.row("ended", "error_0").state == "breach"
    keys = ["experiment_id", "variation_id", "metric_name", "slice_name", "slice_value", "action"]
    breached = checked.checks[(checked.checks.state == "breach") & (checked.checks.experiment_id != "ended")]
    expected = set(breached[keys].itertuples(index=False, name=None))
    due = checked.due[checked.due.cause == "guardrail"]
    assert set(due[keys].itertuples(index=False, name=None)) == expected
    assert len(due) == len(expected) > 5


# Protected slices.

SLICED = {
    "error_0": Guardrail("error", absolute=0.0, action="rollback"),
    "cost": Guardrail("cost", "mean", absolute=0.05),
}
VARIATIONS = ("treatment", "other")
SLICED_CHECKS = len(SLICED) * len(VARIATIONS) * (1 + 2)


@pytest.fixture(scope="module")
def sliced(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> Checked:
    world = World()
    draw = np.random.default_rng(12)
    for language, units in (("en", 2_000), ("sw", 600)):
        for variation in ("control", *VARIATIONS):
            frame = world.expose("sliced", variation, units, language=language)
            is_harmed = language == "sw" and variation == "treatment"
            world.happen(frame, "error", units // 20 + (45 if is_harmed else 0))
            world.happen(frame, "cost", values=np.exp(0.4 * draw.standard_normal(units)))
    warehouse = warehouse_factory(engine)
    exposures, events = load(warehouse, world)
    variables = configuration(SLICED, inputs=["exposures", "outcomes"], protected_dimensions=["language"])
    warehouse.dbt("run", vars=variables, select="+due_actions")
    result = Checked(exposures, events, warehouse.mart("guardrail_checks"), warehouse.mart("due_actions"))
    warehouse.close()
    return result


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("language", ["all", "en", "sw"])
@pytest.mark.parametrize("metric", SLICED)
def test_slices_are_checked_and_share_the_error(sliced: Checked, metric: str, language: str, variation: str) -> None:
    exposures, events = sliced.exposures, sliced.events
    if language != "all":
        exposures = exposures[exposures.language == language]
    exposures = exposures[exposures.variation_id.isin(["control", variation])]
    looks = reference(SLICED[metric], exposures.replace({"variation_id": {variation: "treatment"}}), events,
                      SLICED_CHECKS)  # fmt: skip
    row = sliced.row("sliced", metric, language, variation)
    assert row.slice_name == ("all" if language == "all" else "language")
    compare(row, looks)


def test_harm_to_one_slice_is_a_breach_there_alone(sliced: Checked) -> None:
    assert len(sliced.checks) == SLICED_CHECKS
    breached = sliced.checks[sliced.checks.state == "breach"]
    assert breached[["metric_name", "slice_value", "variation_id"]].to_numpy().tolist() == [
        ["error_0", "sw", "treatment"]
    ]


def test_without_guardrails_there_are_no_checks(warehouse: harness.Warehouse) -> None:
    world = World()
    world.happen(world.expose("plain", "control", 50), "error", 5)
    world.happen(world.expose("plain", "treatment", 50), "error", 5)
    load(warehouse, world)
    variables = {**configuration(SLICED, inputs=["exposures", "outcomes"]), "guardrails": []}
    warehouse.dbt("run", vars=variables, select="+due_actions")
    assert warehouse.mart("guardrail_checks").empty
    assert warehouse.mart("due_actions").empty
