"""Published reference cases, run from raw rows to results.

fixtures/golden holds cases as sufficient statistics with the answers of GrowthBook's stats engine (gbstats) and of
tea-tasting. Each case becomes raw units whose counts, sums, squares and products are exactly the case's: any units with
these moments give the same answer. One experiment per case, all in one warehouse. What a case expects is checked twice:
against the published answer, and against `reference`, a computation of our own methods from the same moments with
SciPy. Where the two differ, DIFFERENCES says which numbers and why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
from scipy import stats

GOLDEN = Path(__file__).parent / "fixtures" / "golden"

EXPOSED_AT = "2024-02-01 00:00:00"
AFTER, BEFORE = "2024-02-02 00:00:00", "2024-01-31 00:00:00"

METRIC_OF = {
    "mean": "amount",
    "proportion": "share",
    "ratio": "per_item",
    "mean_cuped": "amount_cuped",
    "cuped_mean": "amount_cuped",
    "ratio_cuped": "per_item_cuped",
}
METRICS = [
    {"name": "amount", "type": "mean", "fact": "golden", "value": "y", "role": "goal"},
    {"name": "share", "type": "proportion", "fact": "golden", "where": "y > 0"},
    {"name": "per_item", "type": "ratio", "fact": "golden", "value": "y", "denominator": {"value": "d"}},
    {"name": "amount_cuped", "type": "mean", "fact": "golden", "value": "y", "cuped": True},
    {
        "name": "per_item_cuped",
        "type": "ratio",
        "fact": "golden",
        "value": "y",
        "denominator": {"value": "d"},
        "cuped": True,
    },
]

# Ten million units would cost more than the rest of the suite; sums and tails do not depend on n otherwise.
LEFT_OUT = {"mean_huge_n_rel": "ten million units"}
DUCKDB_ONLY = {"prop_rare_rel", "seq_prop_rel_big_5000", "mean_unequal_n_rel"}


def _variables(relative_method: str = "fieller", tuning: float = 5000) -> dict[str, Any]:
    return {
        "inputs": ["exposures", "experiments"],
        "facts": [{"name": "golden", "relation": "raw.golden", "unit_column": "unit", "time_column": "happened_at"}],
        "metrics": METRICS,
        "analysis": {"relative_method": relative_method, "sequential_tuning": tuning, "correction": "none"},
    }


# Moments and units.


@dataclass(frozen=True)
class Arm:
    """Count, means and covariances (n - 1) of y, d, x, w: value, denominator, and both before exposure."""

    n: int
    mean: tuple[float, ...]
    cov: tuple[tuple[float, ...], ...]
    is_binary: bool = False
    rows: tuple[tuple[int, ...], ...] = ()


def _arm(sums: dict[str, float], is_binary: bool = False) -> Arm:
    """From GrowthBook's columns of raw sums; what a case doesn't mention is zero. Exact arithmetic: raw double sums
    cancel."""
    n = int(sums["users"])
    get = {key: Fraction(value) for key, value in sums.items()}

    def total(name: str) -> Fraction:
        return get.get(name, Fraction(0))

    first = [total(name) for name in ("main_sum", "denominator_sum", "covariate_sum", "denominator_pre_sum")]
    second = {
        (0, 0): "main_sum_squares",
        (1, 1): "denominator_sum_squares",
        (2, 2): "covariate_sum_squares",
        (3, 3): "denominator_pre_sum_squares",
        (0, 1): "main_denominator_sum_product",
        (0, 2): "main_covariate_sum_product",
        (0, 3): "main_post_denominator_pre_sum_product",
        (1, 2): "main_pre_denominator_post_sum_product",
        (2, 3): "main_pre_denominator_pre_sum_product",
        (1, 3): "denominator_post_denominator_pre_sum_product",
    }
    cov = np.zeros((4, 4))
    if n > 1:
        for (i, j), name in second.items():
            if name in sums:
                cov[i, j] = cov[j, i] = float((total(name) - first[i] * first[j] / n) / (n - 1))
    constant = np.diag(cov) <= 0
    cov[constant, :] = cov[:, constant] = 0.0
    mean = tuple(float(value / n) if n else 0.0 for value in first)
    rows: tuple[tuple[int, ...], ...] = ()
    if is_binary:
        both, only_y = int(sums.get("main_covariate_sum_product", 0)), int(sums["main_sum"])
        only_x = int(sums.get("covariate_sum", 0)) - both
        only_y -= both
        rows = ((1, 1, both), (1, 0, only_y), (0, 1, only_x), (0, 0, n - both - only_y - only_x))
    return Arm(n, mean, tuple(map(tuple, cov.tolist())), is_binary, rows)


def _tea_arm(sums: dict[str, float]) -> Arm:
    """From tea-tasting's columns; y by its two-pass moments, since raw sums of a large mean lose them."""
    names = {
        "n": "users",
        "sum_y": "main_sum",
        "sum_yy": "main_sum_squares",
        "sum_x": "covariate_sum",
        "sum_xx": "covariate_sum_squares",
        "sum_xy": "main_covariate_sum_product",
        "sum_d": "denominator_sum",
        "sum_dd": "denominator_sum_squares",
        "sum_yd": "main_denominator_sum_product",
    }
    arm = _arm({ours: sums[theirs] for theirs, ours in names.items()})
    cov = np.array(arm.cov)
    cov[0, 0] = sums["var_y_twopass"]
    if cov[0, 0] == 0:
        cov[0, :] = cov[:, 0] = 0.0
    return Arm(arm.n, (sums["mean_y_twopass"], *arm.mean[1:]), tuple(map(tuple, cov.tolist())))


def _only(metric: str, arm: Arm) -> Arm:
    """The arm with the moments that a metric uses."""
    used = {"amount": [0], "amount_cuped": [0, 2], "per_item": [0, 1]}.get(metric)
    if used is None:
        return arm
    keep = np.zeros(4)
    keep[used] = 1
    cov = np.array(arm.cov) * np.outer(keep, keep)
    return Arm(arm.n, tuple((np.array(arm.mean) * keep).tolist()), tuple(map(tuple, cov.tolist())))


def _units(arm: Arm) -> np.ndarray:
    """Units with exactly the arm's moments: centred orthonormal columns, given the covariance and the mean."""
    if arm.is_binary:
        columns = [np.repeat([row[position] for row in arm.rows], [row[2] for row in arm.rows]) for position in (0, 1)]
        zero = np.zeros(arm.n)
        return np.column_stack([columns[0], zero, columns[1], zero]).astype(float)
    values = np.tile(np.array(arm.mean), (arm.n, 1))
    free = min(4, arm.n - 1)
    if free < 1:
        return values
    noise = np.random.default_rng(arm.n).standard_normal((arm.n, free))
    noise -= noise.mean(axis=0)
    basis, _ = np.linalg.qr(noise)
    # Scaled to correlations first: the moments may differ by many orders of magnitude.
    cov = np.array(arm.cov)
    scale = np.sqrt(np.where(np.diag(cov) > 0, np.diag(cov), 1.0))
    size, vectors = np.linalg.eigh(cov / np.outer(scale, scale))
    root = (vectors * np.sqrt(np.maximum(size, 0))) * scale[:, None]
    deviations = math.sqrt(arm.n - 1) * basis @ root[:, ::-1][:, :free].T
    deviations[:, np.diag(cov) <= 0] = 0.0
    return values + deviations - deviations.mean(axis=0)


# The same methods from the moments, with numpy and SciPy.


@dataclass
class Reference:
    value_control: float
    value_treatment: float
    variances: np.ndarray
    effect: float
    se: float
    dof: float
    p_value: float
    half_width: float
    delta: tuple[float, float] | None = None
    fieller: tuple[float, float] | None = None


def _linear_forms(metric: str, arm: Arm) -> tuple[float, float, np.ndarray]:
    """The arm's value and covariate value, and the 2 x 2 covariance of one unit's share in both."""
    mean, cov = np.array(arm.mean), np.array(arm.cov)
    if metric == "share":
        return mean[0], 0.0, np.array([[mean[0] * (1 - mean[0]), 0.0], [0.0, 0.0]])
    if metric in ("amount", "amount_cuped"):
        gradient = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0]])
        values = mean[0], mean[2]
    else:
        ratio = mean[0] / mean[1]
        before = mean[2] / mean[3] if mean[3] else 0.0
        after_row = [1 / mean[1], -ratio / mean[1], 0, 0]
        before_row = [0, 0, 1 / mean[3], -before / mean[3]] if mean[3] else [0, 0, 0, 0]
        gradient = np.array([after_row, before_row])
        values = ratio, before
    if not metric.endswith("_cuped"):
        gradient[1] = 0.0
    return values[0], values[1], gradient @ cov @ gradient.T


def reference(metric: str, control: Arm, treatment: Arm, alpha: float) -> Reference:
    y_a, x_a, s_a = _linear_forms(metric, control)
    y_b, x_b, s_b = _linear_forms(metric, treatment)
    n_a, n_b = control.n, treatment.n
    n = n_a + n_b
    theta = 0.0
    if metric == "amount_cuped":
        between = n_a * n_b / n
        top = (n_a - 1) * s_a[0, 1] + (n_b - 1) * s_b[0, 1] + between * (x_a - x_b) * (y_a - y_b)
        bottom = (n_a - 1) * s_a[1, 1] + (n_b - 1) * s_b[1, 1] + between * (x_a - x_b) ** 2
        theta = top / bottom if bottom > 0 else 0.0
    elif metric == "per_item_cuped" and s_a[1, 1] + s_b[1, 1] > 0:
        theta = (s_a[0, 1] + s_b[0, 1]) / (s_a[1, 1] + s_b[1, 1])
    # The two adjusted values as linear forms of (y_a, x_a, y_b, x_b).
    forms = np.array([[1, -theta * n_b / n, 0, theta * n_b / n], [0, theta * n_a / n, 1, -theta * n_a / n]])
    joint = np.zeros((4, 4))
    joint[:2, :2] = s_a / n_a
    joint[2:, 2:] = s_b / n_b
    a, b = forms @ np.array([y_a, x_a, y_b, x_b])
    v = forms @ joint @ forms.T
    slope = np.array([1, -theta])
    own_a, own_b = slope @ s_a @ slope / n_a, slope @ s_b @ slope / n_b
    se = math.sqrt(own_a + own_b)
    dof = (own_a + own_b) ** 2 / (own_a**2 / (n_a - 1) + own_b**2 / (n_b - 1))
    critical = stats.t.isf(alpha / 2, dof)
    answer = Reference(
        a, b, v, b - a, se, dof, 2 * stats.t.sf(abs(b - a) / se, dof), half_width=critical * se
    )
    if a != 0:
        error = math.sqrt(max(v[1, 1] / a**2 + b**2 * v[0, 0] / a**4 - 2 * b * v[0, 1] / a**3, 0))
        answer.delta = ((b - a) / abs(a) - critical * error, (b - a) / abs(a) + critical * error)
    t2 = critical**2
    if a * a - t2 * v[0, 0] > 0:
        roots = np.roots([a * a - t2 * v[0, 0], -2 * (a * b - t2 * v[0, 1]), b * b - t2 * v[1, 1]]).real
        answer.fieller = tuple(sorted(np.sign(a) * (roots - 1)))
    return answer


def confidence_sequence(n: int, se: float, effect: float, alpha: float, tuning: float) -> tuple[float, float]:
    """Half-width and p-value of Waudby-Smith et al., as gbstats writes them."""
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / tuning
    scale = n * rho2
    half = se * math.sqrt(n) * math.sqrt(2 * (scale + 1) * math.log(math.sqrt(scale + 1) / alpha) / (n * n * rho2))
    exponent = rho2 * n * (effect / se) ** 2 / (2 * (scale + 1))
    return half, min(1.0, math.sqrt(scale + 1) * math.exp(-exponent) if exponent < 700 else 0.0)


# Cases.


@dataclass
class Case:
    id: str
    metric: str
    control: Arm
    treatment: Arm
    alpha: float
    expected: dict[str, Any]
    difference: str = "absolute"
    test: str = "two_sided"
    tuning: float | None = None
    experiment: str = ""
    tags: set[str] = field(default_factory=set)


def _load(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDEN / name).read_text())


@cache
def cases() -> dict[str, Case]:
    found: list[Case] = []
    for item in _load("gbstats.json"):
        if item["id"] in LEFT_OUT:
            continue
        is_binary = item["statistic"] == "proportion" or item["params"].get("main_type") == "binomial"
        found.append(
            Case(
                id=item["id"],
                metric=METRIC_OF[item["statistic"]],
                control=_arm(item["a"], is_binary),
                treatment=_arm(item["b"], is_binary),
                # A one-sided bound at alpha is a two-sided one at twice alpha.
                alpha=item["alpha"] * (2 if item["test"].startswith("one_sided") else 1),
                expected=item["expected"],
                difference=item["difference"],
                test=item["test"],
                tuning=item["params"].get("sequential_tuning_parameter"),
                tags={"gbstats"},
            )
        )
    for item in _load("tea_tasting.json"):
        options = item["options"]
        if set(options) - {"confidence_level"}:
            continue  # equal variances, normal tails and one side: options that this package doesn't have
        alpha = round(1 - options.get("confidence_level", 0.95), 10)
        arms = {"control": _tea_arm(item["control"]), "treatment": _tea_arm(item["treatment"])}
        name = f"tea_{item['case']}_{item['metric']}" + ("_99" if alpha == 0.01 else "")
        common = {"metric": METRIC_OF[item["metric"]], **arms, "alpha": alpha}
        found.append(Case(id=name, expected=item.get("tea_tasting") or {}, tags={"tea"}, **common))
        for difference, answer in item.get("gbstats", {}).items():
            expected = {**answer, "std_err": answer["se"], "p_value": answer["pvalue"], "error": answer["error_message"]}
            found.append(
                Case(id=f"{name}_gbstats_{difference}", expected=expected, difference=difference, tags={"gbstats"}, **common)
            )
    arms_of = {item["case"]: item for item in _load("tea_tasting.json")}
    for item in _load("confseq.json"):
        if item["difference"] == "relative":
            continue  # the package publishes an anytime-valid interval for the absolute effect only
        expected = item["gbstats"]
        found.append(
            Case(
                id=f"confseq_{item['case']}_{item['metric']}_{item['alpha']}_{item['n_star']}",
                metric=METRIC_OF[item["metric"]],
                control=_tea_arm(arms_of[item["case"]]["control"]),
                treatment=_tea_arm(arms_of[item["case"]]["treatment"]),
                alpha=item["alpha"],
                expected={
                    **expected,
                    "std_err": expected["se"],
                    "p_value": expected["pvalue"],
                    "error": expected["error_message"],
                },
                test="sequential",
                tuning=item["n_star"],
                tags={"gbstats"},
            )
        )
    experiments: dict[Any, str] = {}
    for case in found:
        if case.control.n + case.treatment.n < 10:
            # So few units have no room for moments that the case doesn't mention.
            case.control, case.treatment = (_only(case.metric, arm) for arm in (case.control, case.treatment))
        key = (case.control, case.treatment, case.alpha)
        case.experiment = experiments.setdefault(key, f"case_{len(experiments) + 1:03d}")
    assert len({case.id for case in found}) == len(found)
    return {case.id: case for case in found}


# The warehouse.


def _frames(engine: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Registry, exposures and fact rows of every case."""
    registry, exposures, facts = [], [], []
    seen: set[str] = set()
    for case in cases().values():
        if case.experiment in seen or (engine == "postgres" and case.id in DUCKDB_ONLY):
            continue
        seen.add(case.experiment)
        registry.append((case.experiment, "control", case.alpha))
        for variation, arm in (("control", case.control), ("treatment", case.treatment)):
            units = _units(arm)
            # A registered experiment keeps its control when nobody has seen it; a treatment needs a unit.
            names = np.char.add(f"{case.experiment}-{variation}-", np.arange(arm.n).astype(str))
            exposures.append(pd.DataFrame({"unit_id": names, "variation_id": variation, "experiment_id": case.experiment}))
            for moment, columns in ((AFTER, (0, 1)), (BEFORE, (2, 3))):
                used = (units[:, columns[0]] != 0) | (units[:, columns[1]] != 0)
                frame = pd.DataFrame({"unit": names[used], "y": units[used, columns[0]], "d": units[used, columns[1]]})
                facts.append(frame.assign(happened_at=moment))
    fact = pd.concat(facts, ignore_index=True)
    exposure = pd.concat(exposures, ignore_index=True)
    exposure["exposed_at"] = pd.Timestamp(EXPOSED_AT)
    fact["happened_at"] = pd.to_datetime(fact["happened_at"])
    return pd.DataFrame(registry, columns=["experiment_id", "control_variation_id", "alpha"]), exposure, fact


class Results:
    """The results of the golden warehouse, by relative method and tuning; built when asked for."""

    def __init__(self, warehouse: harness.Warehouse) -> None:
        self.warehouse = warehouse
        self._marts: dict[tuple[str, float], dict[tuple[str, str], dict[str, Any]]] = {}

    def row(self, case: Case, relative_method: str = "fieller", tuning: float = 5000) -> dict[str, Any]:
        key = (relative_method, tuning)
        if key not in self._marts:
            # Only the last model depends on the two options.
            select = "experiment_results" if self._marts else None
            self.warehouse.dbt("run", vars=_variables(relative_method, tuning), select=select)
            mart = self.warehouse.mart("experiment_results").set_index(["experiment_id", "metric_name"])
            assert mart.index.is_unique
            self._marts[key] = mart.replace({np.nan: None}).to_dict("index")
        return self._marts[key][case.experiment, case.metric]


@pytest.fixture(scope="module")
def results(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> Results:
    warehouse = warehouse_factory(engine)
    registry, exposures, facts = _frames(engine)
    warehouse.load("experiments", registry)
    warehouse.load("exposures", exposures)
    warehouse.load("golden", facts)
    item = Results(warehouse)
    item.row(next(iter(cases().values())))
    return item


def _near(actual: float | None, wanted: float, relative: float, scale: float = 0.0) -> bool:
    return actual is not None and abs(actual - wanted) <= relative * max(abs(wanted), scale)


# What differs from the published answer, and why. Values are checked against `reference` all the same.
