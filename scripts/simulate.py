"""Evidence over time, simulated: experiments that are looked at every day go through dbt, and what was said is counted.

    python scripts/simulate.py                       everything; resumes where an earlier run stopped
    python scripts/simulate.py --family looks        one family of cells
    python scripts/simulate.py --experiments 40      a small sample of every cell
    python scripts/simulate.py --document            write the results so far into docs/calibration.md

Every experiment lasts 28 days and every unit is exposed once. One run of dbt analyses many experiments of one family at
all of their days; `experiment_results_daily` and `guardrail_checks` are then held against the truth. Records have the
form of scripts/calibrate.py, with plain counts that add up. Seeds follow from the family and the number of the run.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import calibrate
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

MARKERS = ("<!-- results over time -->", "<!-- end of results over time -->")
DAYS = 28
START = pd.Timestamp("2024-03-04")
DAY_SECONDS = 86_400
# Exposures end this long before midnight, so that what follows at once is on the same day.
QUIET_SECONDS = 7_200


@dataclass(frozen=True)
class Metric:
    """A simulated metric. `effect` is what a treatment adds to the value."""

    label: str
    # "rate": share of units with an event. "even": the same, as many in every experiment. "mean": lognormal value.
    # "cuped": the same with a covariate. "revenue": lognormal where there is an event, as of a share `level` of the
    # units. "daily": events of every day, as a habit.
    kind: str
    level: float
    effect: float = 0.0
    # Events come this many days after exposure at most, evenly; none: at once.
    delay_days: float = 0.0
    # The guardrail's margin; none: the metric is no guardrail.
    margin: float | None = None
    direction: str = "decrease"
    # Of daily events: the effect falls to a third within so many days of exposure; none: it stays.
    wears_off_days: float | None = None

    @property
    def is_rate(self) -> bool:
        return self.kind in ("rate", "even")


@dataclass(frozen=True)
class Stage:
    """Days with the same split: units a day in each variation, control first, and what the metrics' levels are
    multiplied by."""

    days: int
    units: dict[str, int]
    factor: float = 1.0


@dataclass(frozen=True)
class Family:
    """Metrics that share units, the stages that they go through, and how many experiments are wanted."""

    label: str
    metrics: dict[str, Metric]
    stages: tuple[Stage, ...]
    experiments: int
    # In the small sample; none: not part of it.
    quick: int = 0
    # Values of a protected slice.
    slices: int = 0
    # Whether the ramp is written down in experiment_phases.
    has_phases: bool = False
    units_per_run: int = 1_400_000

    @property
    def variations(self) -> list[str]:
        return list(self.stages[0].units)

    @property
    def units(self) -> int:
        """Units of one experiment."""
        return sum(stage.days * sum(stage.units.values()) for stage in self.stages)

    @property
    def checks(self) -> int:
        """Guardrail checks of one experiment."""
        guardrails = sum(metric.margin is not None for metric in self.metrics.values())
        return guardrails * (len(self.variations) - 1) * (1 + self.slices)


def _even(control: int, *treatments: int) -> tuple[Stage, ...]:
    units = {"control": control} | {f"treatment_{number}": n for number, n in enumerate(treatments, 1)}
    return (Stage(DAYS, units),)


def _rate(level: float, **more: Any) -> Metric:
    return Metric(f"rate {level:g}".replace("0.", "."), "rate", level, **more)


def _ramp(**more: Any) -> Family:
    """1%, 10%, 50% while the base rate falls: pooled, one percentage point of harm looks like a benefit."""
    days, units, stages = (9, 9, 10), 1_000, []
    for length, percent, base in zip(days, (1, 10, 50), (0.30, 0.27, 0.22), strict=True):
        treated = units * percent // 100
        stages.append(Stage(length, {"control": units - treated, "treatment_1": treated}, base / 0.30))
    metrics = {"harmed": Metric("rate .30 to .22", "rate", 0.30, effect=0.01, margin=0.005)}
    return Family(metrics=metrics, stages=tuple(stages), **more)


_AT_MARGIN = {
    "rate_2000": _rate(0.2, margin=0.0),
    "rate_0500_at_margin": _rate(0.05, effect=0.01, margin=0.01),
    "rate_0100": _rate(0.01, margin=0.0),
    "mean_sd1": Metric("mean, lognormal sd 1", "mean", 1.0, margin=0.0),
    "mean_sd2": Metric("mean, lognormal sd 2", "mean", 2.0, margin=0.0),
}
# Harm is a low value here: few units of a skewed metric are low and look alike, until one of them is high.
_CANARY = {
    "rate_0500": _rate(0.05, margin=0.0, direction="increase"),
    "rate_0100": _rate(0.01, margin=0.0, direction="increase"),
    "mean_sd1": Metric("mean, lognormal sd 1", "mean", 1.0, margin=0.0, direction="increase"),
    "mean_sd2": Metric("mean, lognormal sd 2", "mean", 2.0, margin=0.0, direction="increase"),
    "revenue": Metric("mean, 3% above zero", "revenue", 0.03, margin=0.0, direction="increase"),
}
_RARE = {
    "rate_0005": _rate(0.0005, margin=0.0),
    "rate_0010": _rate(0.001, margin=0.0),
    "rate_0020": _rate(0.002, margin=0.0),
    "rate_0020_late": Metric("rate .002, late", "rate", 0.002, delay_days=DAYS, margin=0.0),
    "rate_0010_at_margin": _rate(0.001, effect=0.001, margin=0.001),
}

FAMILIES = {
    "looks": Family(
        label="looks",
        metrics={
            "rate_2000": _rate(0.2),
            "rate_0100": _rate(0.01),
            "mean_sd1": Metric("mean, lognormal sd 1", "mean", 1.0),
            "cuped": Metric("mean, CUPED", "cuped", 0.8),
            "rate_2000_lift": _rate(0.2, effect=0.05),
        },
        stages=_even(40, 40),
        experiments=1_000,
        quick=100,
        units_per_run=560_000,
    ),
    "guardrails": Family(
        label="5 guardrails, 2 variations",
        metrics=_AT_MARGIN,
        stages=_even(40, 40, 40),
        experiments=500,
        quick=100,
        units_per_run=840_000,
    ),
    "guardrails_rare": Family(
        label="5 rare guardrails, 2 variations",
        metrics=_RARE,
        stages=_even(150, 150, 150),
        experiments=400,
        units_per_run=1_260_000,
    ),
    "harm_of_20": Family(
        label="1 guardrail",
        metrics={"rate_2000": _rate(0.2, effect=0.01, margin=0.0)},
        stages=_even(714, 714),
        experiments=100,
        quick=20,
        units_per_run=2_000_000,
    ),
    "harm_of_05": Family(
        label="1 guardrail",
        metrics={"rate_0500": _rate(0.05, effect=0.01, margin=0.0)},
        stages=_even(714, 714),
        experiments=100,
        units_per_run=2_000_000,
    ),
    "ramp_declared": _ramp(label="ramp, phases declared", has_phases=True, experiments=200, quick=20),
    "guardrails_rare_uneven": Family(
        label="5 rare guardrails, 2 variations, 98:1:1",
        metrics=_RARE,
        stages=_even(1_960, 20, 20),
        experiments=200,
        units_per_run=1_400_000,
    ),
    "guardrails_uneven": Family(
        label="5 guardrails, 2 variations, 98:1:1",
        metrics=_CANARY,
        stages=_even(490, 10, 10),
        experiments=300,
        units_per_run=1_428_000,
    ),
    "rare_looks": Family(
        label="looks, rare events",
        metrics={
            f"rate_{round(level * 1e4):04d}{suffix}": Metric(
                f"rate {level:g}".replace("0.", ".") + suffix.replace("_", ", "), "rate", level, delay_days=delay
            )
            for level in (0.001, 0.002, 0.005, 0.01)
            for delay, suffix in ((0.0, ""), (float(DAYS), "_late"))
        },
        stages=_even(100, 100),
        experiments=1_000,
        units_per_run=1_400_000,
    ),
    "guardrails_slices": Family(
        label="5 guardrails, 2 variations, 3 protected slices",
        metrics=_AT_MARGIN,
        stages=_even(60, 60, 60),
        experiments=200,
        slices=3,
        units_per_run=504_000,
    ),
    "harm_of_10": Family(
        label="4 guardrails, 2 variations",
        metrics={
            "rate_2000": _rate(0.2, effect=0.01, margin=0.0),
            "rate_2000_margin": _rate(0.2, effect=0.01, margin=0.002),
            "rate_0500": _rate(0.05, effect=0.01, margin=0.0),
            "rate_0500_margin": _rate(0.05, effect=0.01, margin=0.002),
        },
        stages=_even(714, 714, 714),
        experiments=60,
        units_per_run=1_200_000,
    ),
    "from_zero": Family(
        label="6 guardrails",
        metrics={
            f"{name}_{round(margin * 1e3)}": Metric(
                f"{control} against {treated}", "even", control / 9_996, (treated - control) / 9_996, margin=margin
            )
            for name, control, treated in (("zero", 0, 300), ("ten", 10, 120))
            for margin in (0.0, 0.001, 0.005)
        },
        stages=_even(357, 357),
        experiments=1,
        quick=1,
    ),
    "novelty": Family(
        label="novelty",
        metrics={
            "none": Metric("no effect", "daily", 0.3),
            "stays": Metric("an effect that stays", "daily", 0.3, effect=0.06, direction="increase"),
            "wears_off": Metric(
                "an effect that wears off", "daily", 0.3, effect=0.2, direction="increase", wears_off_days=3.0
            ),
        },
        stages=_even(40, 40),
        experiments=200,
        units_per_run=112_000,
    ),
    "ramp_undeclared": _ramp(label="ramp, phases not declared", experiments=200),
}


def variables(name: str) -> dict[str, Any]:
    """The package's configuration for a family."""
    family = FAMILIES[name]
    metrics, guardrails = [], []
    for metric_name, metric in family.metrics.items():
        config: dict[str, Any] = {
            "name": metric_name,
            "fact": "simulated",
            "where": f"name = '{metric_name}'",
            "direction": metric.direction,
            "role": "guardrail" if metric.margin is not None else "goal" if metric.kind == "daily" else "secondary",
        }
        if metric.is_rate:
            config["type"] = "proportion"
        else:
            config |= {"type": "mean", "value": "value", "cuped": metric.kind == "cuped"}
        metrics.append(config)
        if metric.margin is not None:
            guardrails.append({"metric": metric_name, "margin_absolute": metric.margin, "action": "rollback"})
    return {
        "raw_schema": "raw",
        "inputs": ["exposures"] + ["experiment_phases"] * family.has_phases,
        "protected_dimensions": ["language"] * bool(family.slices),
        "facts": [
            {"name": "simulated", "relation": "raw.simulated", "unit_column": "unit_id", "time_column": "occurred_at"}
        ],
        "metrics": metrics,
        "guardrails": guardrails,
        "analysis": {"alpha": calibrate.ALPHA},
    }


def simulate(connection: duckdb.DuckDBPyConnection, name: str, experiments: int, run: int) -> None:
    """Fills raw.exposures, raw.simulated and, for a declared ramp, raw.experiment_phases."""
    family = FAMILIES[name]
    generator = np.random.default_rng([calibrate.SEED, zlib.crc32(name.encode()), run])
    connection.execute("create schema if not exists raw")

    # One experiment's units by day, stage and variation; all experiments have the same.
    days, variations, factors = [], [], []
    stage_of_day = [stage for stage in family.stages for _ in range(stage.days)]
    for day, stage in enumerate(stage_of_day):
        for variation, units in enumerate(stage.units.values()):
            days.append(np.full(units, day, np.int16))
            variations.append(np.full(units, variation, np.int8))
            factors.append(np.full(units, stage.factor))
    variation = np.tile(np.concatenate(variations), experiments)
    factor = np.tile(np.concatenate(factors), experiments)
    total = variation.size
    seconds = np.tile(np.concatenate(days), experiments).astype(np.float64) * DAY_SECONDS
    seconds += generator.random(total) * (DAY_SECONDS - QUIET_SECONDS)
    is_treated = variation > 0

    exposures = pa.table(
        {
            "unit_id": np.arange(total, dtype=np.int32),
            "experiment": np.repeat(np.arange(experiments, dtype=np.int32), family.units),
            "variation": variation,
            "seconds": seconds,
            "slice": generator.integers(0, max(family.slices, 1), total, dtype=np.int8),
        }
    )
    connection.register("drawn", exposures)
    names = ", ".join(f"'{item}'" for item in family.variations)
    connection.execute(
        f"""
        create or replace table raw.exposures as
        select
            'x' || experiment as experiment_id,
            [{names}][variation + 1] as variation_id,
            unit_id,
            timestamp '{START}' + to_microseconds((seconds * 1e6)::bigint) as exposed_at,
            'language_' || slice as language
        from drawn
        """
    )
    connection.unregister("drawn")
    # A row of nobody a day later completes the last day.
    connection.execute(
        f"""
        create or replace table raw.simulated as
        select
            -1::integer as unit_id,
            timestamp '{START}' + interval {DAYS} days + interval 12 hours as occurred_at,
            null::varchar as name,
            null::double as value
        """
    )
    for metric_name, metric in family.metrics.items():
        for table in _draw_metric(generator, metric, seconds, is_treated, factor):
            connection.register("drawn", table)
            connection.execute(
                f"""
                insert into raw.simulated
                select
                    unit_id, timestamp '{START}' + to_microseconds((seconds * 1e6)::bigint), '{metric_name}', value
                from drawn
                where seconds < {DAYS * DAY_SECONDS}
                """
            )
            connection.unregister("drawn")
    if family.has_phases:
        _declare(connection, family, experiments)


def _draw_metric(
    generator: np.random.Generator, metric: Metric, seconds: np.ndarray, is_treated: np.ndarray, factor: np.ndarray
) -> Iterator[pa.Table]:
    total = seconds.size
    if metric.kind == "daily":
        yield from _draw_habit(generator, metric, seconds, is_treated)
        return
    if metric.is_rate:
        share = metric.level * factor + metric.effect * is_treated
        if metric.kind == "even":
            # The running sum of the shares passes a whole number as often as there are events.
            runs = np.where(is_treated, np.cumsum(share * is_treated), np.cumsum(share * ~is_treated)) + 0.5
            drawn = np.floor(runs) > np.floor(runs - share)
        else:
            drawn = generator.random(total) < share
        unit = np.flatnonzero(drawn).astype(np.int32)
        later = 60 + generator.random(unit.size) * max(metric.delay_days * DAY_SECONDS, 3_600)
        yield pa.table({"unit_id": unit, "seconds": seconds[unit] + later, "value": np.ones(unit.size)})
        return
    if metric.kind == "revenue":
        unit = np.flatnonzero(generator.random(total) < metric.level).astype(np.int32)
        yield pa.table(
            {"unit_id": unit, "seconds": seconds[unit] + 60, "value": np.exp(generator.standard_normal(unit.size))}
        )
        return
    unit = np.arange(total, dtype=np.int32)
    noise = generator.standard_normal(total)
    if metric.kind == "cuped":
        shared = generator.standard_normal(total)
        before = np.exp(metric.level * shared)
        yield pa.table({"unit_id": unit, "seconds": seconds - 2 * DAY_SECONDS, "value": before})
        noise = calibrate.MEAN_LOG_RHO * shared + math.sqrt(1 - calibrate.MEAN_LOG_RHO**2) * noise
    value = np.exp(metric.level * noise) + metric.effect * is_treated
    yield pa.table({"unit_id": unit, "seconds": seconds + 60, "value": value})


def _draw_habit(
    generator: np.random.Generator, metric: Metric, seconds: np.ndarray, is_treated: np.ndarray
) -> Iterator[pa.Table]:
    """Events on each day since exposure; units differ in how many they have."""
    taste = generator.gamma(2.0, 0.5, seconds.size)
    for day in range(DAYS):
        fading = math.exp(-day / metric.wears_off_days) if metric.wears_off_days else 1.0
        events = generator.poisson(taste * metric.level + metric.effect * fading * is_treated)
        events[seconds + day * DAY_SECONDS >= DAYS * DAY_SECONDS] = 0
        unit = np.flatnonzero(events).astype(np.int32)
        yield pa.table(
            {"unit_id": unit, "seconds": seconds[unit] + day * DAY_SECONDS + 60, "value": events[unit].astype(float)}
        )


def _declare(connection: Any, family: Family, experiments: int) -> None:
    rows, day = [], 0
    for stage in family.stages:
        rows += [(str(START + pd.Timedelta(days=day)), name, float(units)) for name, units in stage.units.items()]
        day += stage.days
    values = ", ".join(f"(timestamp '{at}', '{name}', {weight})" for at, name, weight in rows)
    connection.execute(
        f"""
        create or replace table raw.experiment_phases as
        select 'x' || number as experiment_id, phase_started_at, variation_id, expected_weight
        from (values {values}) as phases(phase_started_at, variation_id, expected_weight)
        cross join (select unnest(range({experiments})) as number)
        """
    )


def count(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, dict[str, float]]:
    """Counts of one run by cell, ready to be added to those of other runs. The cell "all" is the whole experiment."""
    family = FAMILIES[name]
    daily = connection.sql(
        """
        select
            experiment_id, metric_name, variation_id, as_of_date, status, adjustment, effect_absolute, verdict,
            p_value, sequential_p_value, sequential_ci_lower_absolute, sequential_ci_upper_absolute
        from main_evalhouse.experiment_results_daily
        where dimension_name = 'all'
        """
    ).df()
    final = connection.sql(
        "from main_evalhouse.experiment_results_daily where dimension_name = 'all' qualify as_of_date = max(as_of_date)"
        " over ()"
    ).df()
    checks = connection.sql("from main_evalhouse.guardrail_checks").df()
    daily["day"] = (daily.as_of_date - START).dt.days + 1
    if not len(daily) or daily.day.max() != DAYS:
        raise RuntimeError(f"{name}: the last of {DAYS} looks is missing")
    health = connection.sql("from main_evalhouse.experiment_health").df() if _has_health(family) else None
    # A pass is final only on the last day; that it was ever shown is in the evidence.
    passes = connection.sql(
        """
        select experiment_id, metric_name, variation_id, dimension_name, min(contrast_upper) < 0 as passed_ever
        from main_evalhouse.int_guardrail_evidence
        where look_date in (select as_of_date from main_evalhouse.experiment_results_daily)
        group by all
        """
    ).df()
    checks["day"] = (checks.first_breach_at - START).dt.total_seconds() / DAY_SECONDS
    cells = {}
    for metric_name, metric in family.metrics.items():
        cells[metric_name] = _count_metric(
            metric,
            daily[daily.metric_name == metric_name],
            final[final.metric_name == metric_name],
            checks[(checks.metric_name == metric_name) & (checks.slice_name == "all")],
            passes[(passes.metric_name == metric_name) & (passes.dimension_name == "all")],
        )
    if family.checks:
        by_experiment = checks.groupby("experiment_id")
        cells["all"] = {
            "series": by_experiment.ngroups,
            "breached": int(by_experiment.first_breach_at.count().gt(0).sum()),
            "checks": len(checks),
            "checks_breached": int(checks.first_breach_at.notna().sum()),
            "no_data": int((checks.state == "no_data").sum()),
        }
    if len(family.stages) > 1:
        cells["pooled"] = _count_pooled(connection, family)
    if health is not None:
        for check in ("novelty", "ramp_reversal"):
            rows = health[health.check_name == check]
            for scope, status in rows.groupby("scope").status:
                counts = {f"status_{name}": int(number) for name, number in status.value_counts().items()}
                cells[f"{check}:{scope}"] = {"series": len(status), **counts}
    return cells


def _has_health(family: Family) -> bool:
    """Whether experiment_health is read too."""
    return len(family.stages) > 1 or any(metric.kind == "daily" for metric in family.metrics.values())


def _days(prefix: str, days: pd.Series) -> dict[str, int]:
    return {f"{prefix}_{int(day)}": int(number) for day, number in days.value_counts().items()}


def _count_metric(
    metric: Metric, daily: pd.DataFrame, final: pd.DataFrame, checks: pd.DataFrame, passes: pd.DataFrame
) -> dict[str, float]:
    series = daily.groupby(["experiment_id", "variation_id"])
    key = [daily.experiment_id, daily.variation_id]
    harmed = daily.effect_absolute > 0
    missed = (daily.sequential_ci_lower_absolute > metric.effect) | (daily.sequential_ci_upper_absolute < metric.effect)

    def ever(condition: pd.Series) -> int:
        return int(condition.groupby(key).any().sum())

    def first(condition: pd.Series) -> pd.Series:
        return daily[condition].groupby(["experiment_id", "variation_id"]).day.min()

    bias = final.effect_absolute - metric.effect
    counts = {
        "series": series.ngroups,
        "looks": len(daily),
        "looks_ok": int((daily.status == "ok").sum()),
        "looks_exact": int((daily.adjustment == "exact").sum()),
        "naive_ever": ever(daily.p_value < calibrate.ALPHA),
        "sequential_ever": ever(daily.sequential_p_value < calibrate.ALPHA),
        "interval_missed_ever": ever(missed),
        "fixed": int((final.p_value < calibrate.ALPHA).sum()),
        "fixed_missed": int(
            ((final.ci_lower_absolute > metric.effect) | (final.ci_upper_absolute < metric.effect)).sum()
        ),
        "better": int((final.ci_upper_absolute < 0).sum()),
        "worse": int((final.ci_lower_absolute > 0).sum()),
        "better_ever": ever(daily.verdict == "better"),
        "final": len(final),
        "bias": float(bias.sum()),
        "squared_bias": float((bias**2).sum()),
        "squared_error_claimed": float((final.se_absolute**2).sum()),
        "checks": len(checks),
        "breached": int(checks.first_breach_at.notna().sum()),
        "passed": int((checks.state == "pass").sum()),
        "passed_ever": int(passes.passed_ever.sum()),
    }
    if metric.effect:
        counts |= _days("breach_day", checks.day.dropna())
        counts |= _days("naive_day", first(harmed & (daily.p_value < calibrate.ALPHA)))
        counts |= _days("sequential_day", first(harmed & (daily.sequential_p_value < calibrate.ALPHA)))
    return counts


def _count_pooled(connection: duckdb.DuckDBPyConnection, family: Family) -> dict[str, float]:
    """The plain difference of shares, as it would be without phases."""
    (name,) = family.metrics
    arms = connection.execute(
        """
        select experiment_id, variation_id, count(*) as units, count(simulated.unit_id) as events
        from raw.exposures
        left join raw.simulated on exposures.unit_id = simulated.unit_id and simulated.name = ?
        group by all
        """,
        [name],
    ).df()
    control, treatment = (
        arms[arms.variation_id == variation].set_index("experiment_id").sort_index() for variation in family.variations
    )
    effect = treatment.events / treatment.units - control.events / control.units
    variance = sum(arm.events / arm.units * (1 - arm.events / arm.units) / arm.units for arm in (control, treatment))
    return {
        "series": len(effect),
        "final": len(effect),
        "bias": float((effect - family.metrics[name].effect).sum()),
        "better": int((effect / np.sqrt(variance) < -1.96).sum()),
        "fixed_missed": int(((effect - family.metrics[name].effect).abs() > 1.96 * np.sqrt(variance)).sum()),
    }


def plan(experiments: int | None, families: Iterable[str], is_quick: bool = False) -> Iterator[dict[str, Any]]:
    """The runs of dbt that are wanted, in the keys of scripts/calibrate.py."""
    for name in families:
        family = FAMILIES[name]
        left = family.quick if is_quick else family.experiments
        left = min(experiments or left, left)
        most = max(1, family.units_per_run // family.units)
        run = 0
        while left > 0:
            yield {"family": name, "n": family.units, "run": run, "experiments": min(most, left)}
            left -= most
            run += 1


def run_all(results: Path, directory: Path, wanted: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    runs = calibrate.load_results(results)
    done = {tuple(run[key] for key in calibrate.RUN_KEYS) for run in runs}
    wanted = list(wanted)
    started = time.time()
    for number, item in enumerate(wanted, 1):
        if tuple(item[key] for key in calibrate.RUN_KEYS) in done:
            continue
        begun = time.time()
        name = item["family"]
        work = directory / name
        work.mkdir(parents=True, exist_ok=True)
        database = work / "simulation.duckdb"
        for leftover in work.glob("simulation.duckdb*"):
            leftover.unlink()
        with duckdb.connect(str(database)) as connection:
            simulate(connection, name, item["experiments"], item["run"])
        drawn = time.time()
        package = calibrate.digest(calibrate.ROOT)
        words = ["run", "--select", "+experiment_results_daily", "+guardrail_checks"]
        words += ["+experiment_health"] * _has_health(FAMILIES[name])
        calibrate.run_dbt(database, work / "target", variables(name), words)
        with duckdb.connect(str(database), read_only=True) as connection:
            cells = count(connection, name)
        database.unlink()
        runs.append({**item, "package": package, "seconds": round(time.time() - begun, 1), "cells": cells})
        calibrate.save_results(results, runs)
        print(
            f"{time.strftime('%H:%M:%S')} run {number}/{len(wanted)}: {name} #{item['run']}, {item['experiments']} "
            f"experiments, drawn in {drawn - begun:.0f} s, analysed in {time.time() - drawn:.0f} s, "
            f"total {time.time() - started:.0f} s",
            flush=True,
        )
    return runs


# What was found.


def judge(family: Family, cell: str, counts: Counter) -> list[str]:
    """The bars that a cell misses."""
    missed = []
    series = counts["series"]

    def at_most(bar: float, count: float, of: float, what: str, errors: int = 0) -> None:
        allowed = errors * math.sqrt(bar * (1 - bar) / of) if of else 0
        if of and count / of > bar + allowed:
            missed.append(f"{what} {count / of:.1%} above {bar:.1%}")

    alpha = calibrate.ALPHA
    if cell == "all":
        if all(metric.effect <= metric.margin for metric in family.metrics.values() if metric.margin is not None):
            at_most(alpha, counts["breached"], series, "false breach in an experiment")
    elif cell.startswith("novelty:"):
        is_fading = family.metrics[cell.partition(":")[2]].wears_off_days is not None
        warned = counts["status_warn"]
        if is_fading and warned < 0.8 * series:
            missed.append(f"novelty found in {warned / series:.1%}, below 80%")
        if not is_fading:
            at_most(0.01, warned, series, "novelty seen", 3)
    elif cell.startswith("ramp_reversal:"):
        if counts["status_warn"] + counts["status_fail"] < 0.95 * series:
            missed.append("ramp_reversal not reported")
    elif cell in family.metrics:
        metric = family.metrics[cell]
        if not metric.effect:
            at_most(alpha, counts["sequential_ever"], series, "always-valid p-value ever below .05 in")
        if not metric.delay_days and metric.kind not in ("even", "daily") and len(family.stages) == 1:
            at_most(alpha, counts["interval_missed_ever"], series, "always-valid interval ever without the truth in", 3)
        if metric.margin is not None and metric.effect >= metric.margin:
            at_most(alpha, counts["passed_ever"], counts["checks"], "false pass", 3)
        if len(family.stages) > 1:
            at_most(alpha / 2, counts["better"], series, "harm called better", 3)
            at_most(alpha, counts["fixed_missed"], series, "interval without the truth", 3)
    return missed


def _quantile_of_days(counts: Counter, prefix: str, of: float, share: float) -> str:
    """The day by which the share of the experiments has it."""
    reached = 0
    for day in range(1, DAYS + 1):
        reached += counts[f"{prefix}_{day}"]
        if reached >= share * of:
            return str(day)
    return f"> {DAYS}"


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _share(count: float, of: float) -> str:
    return f"{count / of:.1%}" if of else ""


def tables(runs: Iterable[dict[str, Any]]) -> tuple[dict[str, tuple[list[str], list[list[str]]]], list[str]]:
    """Heads and rows of tables by title, and the bars missed, as sentences."""
    looks, guarded, found, ramped, first, novel, failures = [], [], [], [], [], [], []
    totals = calibrate.add_up(runs)
    order = list(FAMILIES)
    for name, _, cell in sorted(totals, key=lambda key: order.index(key[0])):
        family, counts = FAMILIES[name], totals[name, FAMILIES[name].units, cell]
        metric = family.metrics.get(cell)
        label = metric.label if metric else cell
        failures += [f"{family.label}, {label}: {sentence}" for sentence in judge(family, cell, counts)]
        series = counts["series"]
        arms = " / ".join(f"{units * DAYS:,}" for units in family.stages[0].units.values())
        is_of_looks = metric is not None and not name.startswith(("harm_of", "ramp", "from_zero", "novelty"))
        is_exact = counts["looks_exact"] == counts["looks"]
        held = "none given" if is_exact else _share(series - counts["interval_missed_ever"], series)
        if is_of_looks and (not metric.effect or metric.margin is None):
            looks.append([
                label + (f" + {metric.effect:g}" if metric.effect else ""), arms, f"{series:,}",
                _share(counts["naive_ever"], series), _share(counts["fixed"], series),
                _share(counts["sequential_ever"], series), held,
                f"{counts['looks_exact'] / counts['looks']:.0%}",
            ])  # fmt: skip
        if cell == "all" and name.startswith("guardrails"):
            metrics = [totals[name, family.units, item] for item in family.metrics]
            passes = max(_ratio(item["passed_ever"], item["checks"]) for item in metrics)
            guarded.append([
                family.label, arms, f"{series:,}", str(family.checks), _share(counts["breached"], series),
                _share(counts["checks_breached"], counts["checks"]), f"{passes:.1%}",
            ])  # fmt: skip
        if metric and name.startswith("harm_of"):
            found.append([
                f"{label} + {metric.effect:g}, margin {metric.margin:g}", str(family.checks), f"{series:,}",
                _share(counts["fixed"], series), _share(counts["breached"], series),
                " / ".join(_quantile_of_days(counts, "breach_day", series, share) for share in (0.25, 0.5, 0.75)),
                _quantile_of_days(counts, "sequential_day", series, 0.5),
                _quantile_of_days(counts, "naive_day", series, 0.5),
            ])  # fmt: skip
        if name.startswith("ramp") and (metric or cell == "pooled"):
            spread = math.sqrt(max(counts["squared_bias"] / series - (counts["bias"] / series) ** 2, 0))
            ramped.append([
                family.label.removeprefix("ramp, ") + (", pooled by hand" if cell == "pooled" else ""), f"{series:,}",
                f"{100 * (0.01 + counts['bias'] / series):+.2f} pp", f"{100 * spread:.2f} pp" if metric else "",
                _share(series - counts["fixed_missed"], series), _share(counts["better"], series),
                _share(counts["better_ever"], series) if metric else "",
                _share(counts["breached"], series) if metric else "", _share(counts["passed_ever"], series) if metric
                else "",
            ])  # fmt: skip
        if metric and name == "from_zero":
            days = [_quantile_of_days(counts, "breach_day", 1, 1), _quantile_of_days(counts, "naive_day", 1, 1)]
            first.append([label, f"{metric.margin:g}", *days])
        if cell.startswith("novelty:"):
            metric = family.metrics[cell.partition(":")[2]]
            novel.append([metric.label, f"{series:,}", _share(counts["status_warn"], series)])
    texts = {
        "Looking every day": (
            ["metric", "n per arm", "experiments", "fixed test, any of 28 days", "fixed test, last day",
             "always-valid, any of 28 days", "always-valid interval held on all days", "exact"], looks
        ),
        "Guardrails without harm beyond the margin": (
            ["guardrails", "n per arm", "experiments", "checks in each", "a breach in an experiment",
             "a breach in a check", "false pass, worst metric"], guarded
        ),
        "Days to find a harm of one percentage point, 20,000 units per arm": (
            ["harm", "checks", "experiments", "fixed test at day 28", "breach by day 28", "day of breach, quartiles",
             "always-valid, median day", "fixed test every day, median day"], found
        ),
        "A ramp with one percentage point of harm": (
            ["", "experiments", "mean effect", "spread", "interval held", "called better", "on any day", "breach",
             "false pass"], ramped
        ),
        "Events from zero, evenly over 28 days": (
            ["of 9,996 each", "margin", "day of breach", "fixed test every day"], first
        ),
        "Novelty": (["28 days", "experiments", "warned"], novel),
    }  # fmt: skip
    return texts, failures


def _ratio(count: float, of: float) -> float:
    return count / of if of else 0.0


def write_document(runs: list[dict[str, Any]]) -> None:
    """Replaces what stands between the markers of the document."""
    texts, failures = tables(runs)
    known = {tuple(run[key] for key in calibrate.RUN_KEYS) for run in runs}
    wanted = [tuple(item[key] for key in calibrate.RUN_KEYS) for item in plan(None, FAMILIES)]
    packages = ", ".join(sorted({run["package"] for run in runs}))
    state = (
        f"{sum(item in known for item in wanted)} of {len(wanted)} runs of dbt, seed {calibrate.SEED}; code measured "
        f"(hash of models and macros): {packages}."
    )
    body = [state, *(f"### {title}\n\n{markdown(*table)}" for title, table in texts.items() if table[1])]
    body.append("\n".join(["Missed bars:", "", *(f"- {item}" for item in failures)]) if failures else "No bar missed.")
    calibrate.replace_in_document(MARKERS, "\n\n".join(body))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=calibrate.ROOT / "bench_results" / "over_time.json")
    parser.add_argument("--work-dir", type=Path, default=calibrate.ROOT / "bench_results" / "work" / "over_time")
    parser.add_argument("--experiments", type=int, help="at most so many a family")
    parser.add_argument("--family", action="append", choices=list(FAMILIES))
    parser.add_argument("--quick", action="store_true", help="the small sample of the benchmark's suite calibration")
    parser.add_argument("--table", action="store_true", help="only print what the results so far say")
    parser.add_argument("--document", action="store_true", help="the same, and write it into docs/calibration.md")
    arguments = parser.parse_args()
    if arguments.table or arguments.document:
        runs = calibrate.load_results(arguments.results)
    else:
        wanted = plan(arguments.experiments, arguments.family or FAMILIES, arguments.quick)
        runs = run_all(arguments.results, arguments.work_dir, wanted)
    if arguments.document:
        write_document(runs)
    texts, failures = tables(runs)
    for title, table in texts.items():
        if table[1]:
            print(title, "", markdown(*table), "", sep="\n")
    print(*(["Missed:", *failures] if failures else ["Every cell keeps its bars."]), sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
